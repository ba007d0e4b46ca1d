"""
How many tiles of a tiling grid an area meets, counted without asking the service.

The tiles of the WGS84 grid and of the LAEA grids lie at multiples of their size. Those of the UTM grids are laid into
the 100 km squares of MGRS, which is how the products of Sentinel-2 lie; the service's documentation does not give their
exact positions, so along the edges of an area and of UTM zones the count may be off by some tiles.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchV2.html (tiling grids), for UTM: Karney
(2011), Transverse Mercator with an accuracy of a few nanometers, and for LAEA: Snyder (1987), Map projections
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.requests.crs import WGS84
from airflow_provider_sentinelhub.client.requests.extent import area_km2, in_degrees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shapely.geometry.base import BaseGeometry

    from airflow_provider_sentinelhub.client.requests.tiling_grids import TilingGrid

MAX_COUNTED: Final = 50_000
"""Where an area's bounding box has more tiles, their number follows from the area's size."""

_KM_OF_A_DEGREE: Final = 111.0
# Degrees between the vertices of an outline before it is projected: its straight edges become curves.
_DENSE_DEG: Final = 0.25
_SQUARE_M: Final = 100_000.0
_ALIGNMENT_M: Final = 60.0
_SIX_DEGREES: Final = 6
_FALSE_NORTHING_M: Final = 10_000_000.0
_E: Final = 0.0818191908426
_RECTIFYING_RADIUS_M: Final = 6_367_449.1458 * 0.9996
_ALPHA: Final = (8.377318206244698e-4, 7.608527773572307e-7, 1.197645503329453e-9)
_RADIUS_M: Final = 6_378_137.0
_LAEA_CENTRE: Final = (10.0, 52.0)
_LAEA_FALSE_M: Final = (4_321_000.0, 3_210_000.0)


def count_tiles(grid: TilingGrid, area: BaseGeometry, epsg: int | None = WGS84) -> int:
    """
    Return how many tiles of a grid overlap an area, without those that only touch it.

    :param grid: The grid.
    :param area: The area: valid and not empty.
    :param epsg: EPSG code of its coordinates. Default: longitude and latitude.
    """
    shape, side_km = in_degrees(area, epsg), _side_km(grid)
    if shape is None or shape.is_empty:
        return _by_size(area_km2([area], epsg), side_km)
    shape = shape.intersection(_box(grid.extent))
    if shape.area == 0:
        return 0
    if area_km2([shape.envelope], WGS84) > MAX_COUNTED * side_km**2:
        return _by_size(area_km2([shape], WGS84), side_km)
    if grid.crs == "UTM":
        return sum(_in_zone(grid, part, zone) for zone, part in _zones(shape))
    if grid.crs == "EPSG:4326":
        return _overlapping(shape, *_lattice(shape.bounds, grid.tile_size), grid.tile_size)
    projected = _projected(shape, _laea)
    return _overlapping(projected, *_lattice(projected.bounds, grid.tile_size), grid.tile_size)


def _by_size(km2: float, side_km: float) -> int:
    return math.ceil((math.sqrt(km2) / side_km + 1) ** 2)


def _side_km(grid: TilingGrid) -> float:
    return grid.tile_size * _KM_OF_A_DEGREE if grid.crs == "EPSG:4326" else grid.tile_size / 1000


def _box(sides: tuple[float, ...]) -> BaseGeometry:
    import shapely

    return shapely.box(*sides)


def _lattice(bounds: tuple[float, ...], step: float) -> tuple[Any, Any]:
    """Return the lower left corners of all tiles that meet a box."""
    import numpy as np

    west, south, east, north = bounds
    columns = np.arange(math.floor(west / step), math.ceil(east / step)) * step
    rows = np.arange(math.floor(south / step), math.ceil(north / step)) * step
    left, bottom = np.meshgrid(columns, rows)
    return left.ravel(), bottom.ravel()


def _overlapping(shape: BaseGeometry, left: Any, bottom: Any, size: float) -> int:
    import shapely

    shapely.prepare(shape)
    tiles = shapely.box(left, bottom, left + size, bottom + size)
    return int((shapely.intersects(shape, tiles) & ~shapely.touches(shape, tiles)).sum())


def _zones(shape: BaseGeometry) -> Iterator[tuple[int, BaseGeometry]]:
    """Yield an area's parts by UTM zone; the southern ones are negative."""
    west, south, east, north = shape.bounds
    first, last = (min(60, max(1, math.floor((side + 180) / _SIX_DEGREES) + 1)) for side in (west, east))
    for zone in range(first, last + 1):
        left = -180 + _SIX_DEGREES * (zone - 1)
        for sign, low, high in ((-1, min(south, 0.0), min(north, 0.0)), (1, max(south, 0.0), max(north, 0.0))):
            part = shape.intersection(_box((left, low, left + _SIX_DEGREES, high))) if low < high else None
            if part is not None and part.area > 0:
                yield sign * zone, part


def _in_zone(grid: TilingGrid, part: BaseGeometry, zone: int) -> int:
    import numpy as np

    equator = _FALSE_NORTHING_M if zone < 0 else 0.0
    shape = _projected(part, lambda points: _utm(points, abs(zone), equator))
    west, south, east, north = shape.bounds
    per_square = round(_SQUARE_M / grid.tile_size)
    # Tiles of 10 km fill their square. Larger ones reach beyond it, from a corner moved outwards to a multiple of 60 m.
    step = _SQUARE_M if grid.tile_size * per_square == _SQUARE_M else _ALIGNMENT_M
    columns = np.arange(math.floor(west / _SQUARE_M) - 1, math.floor(east / _SQUARE_M) + 1)
    rows = np.arange(math.floor(south / _SQUARE_M), math.floor(north / _SQUARE_M) + 2)
    inside = np.arange(per_square) * grid.tile_size
    left = (np.floor(columns * _SQUARE_M / step) * step)[:, None] + inside
    top = (np.ceil(((rows + 1) * _SQUARE_M - equator) / step) * step + equator)[:, None] - inside
    left, top = (
        left[(left < east) & (left + grid.tile_size > west)],
        top[(top > south) & (top - grid.tile_size < north)],
    )
    lefts, tops = np.meshgrid(left, top)
    return _overlapping(shape, lefts.ravel(), tops.ravel() - grid.tile_size, grid.tile_size)


def _projected(shape: BaseGeometry, project: Callable[[Any], Any]) -> BaseGeometry:
    import shapely

    return shapely.transform(shapely.segmentize(shape, _DENSE_DEG), project)


def _utm(points: Any, zone: int, equator: float = 0.0) -> Any:
    import numpy as np

    longitude, latitude = np.radians(points).T
    across = longitude - math.radians(_SIX_DEGREES * zone - 183)
    tangent = np.tan(latitude)
    sigma = np.sinh(_E * np.arctanh(_E * np.sin(latitude)))
    conformal = tangent * np.hypot(1, sigma) - sigma * np.hypot(1, tangent)
    xi = np.arctan2(conformal, np.cos(across))
    eta = np.arcsinh(np.sin(across) / np.hypot(conformal, np.cos(across)))
    up = xi + sum(a * np.sin(2 * j * xi) * np.cosh(2 * j * eta) for j, a in enumerate(_ALPHA, start=1))
    right = eta + sum(a * np.cos(2 * j * xi) * np.sinh(2 * j * eta) for j, a in enumerate(_ALPHA, start=1))
    return np.column_stack([500_000.0 + _RECTIFYING_RADIUS_M * right, equator + _RECTIFYING_RADIUS_M * up])


def _laea(points: Any) -> Any:
    import numpy as np

    longitude, latitude = np.radians(points).T
    centre, first = map(math.radians, _LAEA_CENTRE)
    most = float(_authalic(1.0))
    beta, beta_1 = np.arcsin(_authalic(np.sin(latitude)) / most), math.asin(float(_authalic(math.sin(first))) / most)
    radius, across = _RADIUS_M * math.sqrt(most / 2), longitude - centre
    scale = _RADIUS_M * math.cos(first) / math.sqrt(1 - (_E * math.sin(first)) ** 2) / (radius * math.cos(beta_1))
    cosine = np.cos(beta) * np.cos(across)
    chord = radius * np.sqrt(2 / (1 + math.sin(beta_1) * np.sin(beta) + math.cos(beta_1) * cosine))
    x = chord * scale * np.cos(beta) * np.sin(across)
    y = chord / scale * (math.cos(beta_1) * np.sin(beta) - math.sin(beta_1) * cosine)
    return np.column_stack([x, y]) + _LAEA_FALSE_M


def _authalic(sine: Any) -> Any:
    import numpy as np

    return (1 - _E**2) * (sine / (1 - (_E * sine) ** 2) + np.arctanh(_E * sine) / _E)
