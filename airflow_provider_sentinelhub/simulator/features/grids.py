"""
The service's tiling grids.

Identifiers, tile sizes and resolutions are the service's. The exact positions of tiles are reconstructed, see
``docs/simulator.md``: UTM tiles lie on the MGRS 100 km squares as Sentinel-2 products do, the square's
upper-left corner moved outwards to a multiple of 60 m counted from the equator.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html (tiling grids)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import shapely
from pyproj import Transformer
from shapely.geometry import box

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shapely.geometry.base import BaseGeometry

WGS84 = 4326
LAEA = 3035
SQUARE_M = 100_000
ALIGNMENT_M = 60
# Degrees between the vertices added to an outline before it is projected: its straight edges become curves.
DENSIFY_DEG = 0.25


@dataclass(frozen=True, slots=True)
class Grid:
    """
    One tiling grid.

    :param id: The service's number.
    :param name: The service's name.
    :param size: Width and height of a tile, in ``unit``.
    :param resolutions: Pixel sizes that the service supports, in ``unit``.
    :param unit: METRE or DEGREE.
    :param crs: EPSG code; ``None`` for the UTM grids, whose tiles each have their zone's.
    :param per_square: For UTM grids: tiles per side of a 100 km square.
    """

    id: int
    name: str
    size: float
    resolutions: tuple[float, ...]
    unit: str
    crs: int | None
    per_square: int = 0

    def describe(self) -> dict[str, Any]:
        """Return the JSON the service answers with."""
        return {
            "id": self.id,
            "name": self.name,
            "properties": {
                "tileWidth": float(self.size),
                "tileHeight": float(self.size),
                "resolutions": list(self.resolutions),
                "unit": self.unit,
            },
        }


GRIDS = {
    grid.id: grid
    for grid in (
        Grid(0, "20km grid", 20_040, (10.0, 20.0, 60.0), "METRE", None, 5),
        Grid(1, "10km grid", 10_000, (10.0, 20.0), "METRE", None, 10),
        Grid(2, "100km grid", 100_080, (60.0, 120.0, 240.0, 360.0), "METRE", None, 1),
        Grid(3, "WGS84 1 degree grid", 1, (0.0001, 0.0002), "DEGREE", WGS84),
        Grid(6, "LAEA 100km grid", 100_000, (40.0, 50.0, 100.0), "METRE", LAEA),
        Grid(7, "LAEA 20km grid", 20_000, (10.0, 20.0), "METRE", LAEA),
    )
}


@dataclass(frozen=True, slots=True)
class Tile:
    """
    One tile of a grid.

    :param name: As the service names it.
    :param crs: EPSG code.
    :param west: Left edge in units of the CRS.
    :param north: Upper edge in units of the CRS.
    :param size: Width and height in units of the CRS.
    """

    name: str
    crs: int
    west: float
    north: float
    size: float

    @property
    def outline(self) -> BaseGeometry:
        """The tile's rectangle, in its own CRS."""
        return box(self.west, self.north - self.size, self.west + self.size, self.north)


def tiles(grid: Grid, area: BaseGeometry) -> Iterator[Tile]:
    """
    Yield the tiles that overlap an area, without those that only touch it.

    :param grid: The grid.
    :param area: The area in longitude and latitude.
    """
    if grid.crs is None:
        yield from _utm_tiles(grid, area)
    elif grid.crs == WGS84:
        yield from _degree_tiles(grid, area)
    else:
        yield from _laea_tiles(grid, area)


def project(shape: BaseGeometry, source: int, target: int) -> BaseGeometry:
    """
    Transform a shape, x before y in both systems.

    :param shape: The shape.
    :param source: Its EPSG code.
    :param target: EPSG code of the result.
    """
    if source == target:
        return shape
    return shapely.transform(shape, transformer(source, target).transform, interleaved=False)


@lru_cache(maxsize=256)
def transformer(source: int, target: int) -> Transformer:
    """
    Return a transformer of coordinates, x before y in both systems.

    :param source: Their EPSG code.
    :param target: EPSG code of the result.
    """
    return Transformer.from_crs(source, target, always_xy=True)


def _overlapping(candidates: Iterator[Tile], shape: BaseGeometry) -> Iterator[Tile]:
    shapely.prepare(shape)
    for tile in candidates:
        outline = tile.outline
        if shape.intersects(outline) and not shape.touches(outline):
            yield tile


def _utm_tiles(grid: Grid, area: BaseGeometry) -> Iterator[Tile]:
    west, south, east, north = area.bounds
    for zone in range(max(1, math.floor((west + 180) / 6) + 1), min(60, math.ceil((east + 180) / 6)) + 1):
        left = -180 + 6 * (zone - 1)
        for is_north, low, high in ((False, max(south, -80.0), 0.0), (True, 0.0, min(north, 84.0))):
            if low >= high:
                continue
            # A zone covers only its own six degrees, or tiles of two zones would overlap.
            part = area.intersection(box(left, low, left + 6, high))
            if part.is_empty or part.area == 0:
                continue
            crs = (32600 if is_north else 32700) + zone
            shape = project(shapely.segmentize(part, DENSIFY_DEG), WGS84, crs)
            yield from _overlapping(_square_tiles(grid, zone, crs, shape.bounds), shape)


def _square_tiles(grid: Grid, zone: int, crs: int, bounds: tuple[float, ...]) -> Iterator[Tile]:
    west, south, east, north = bounds
    equator = 10_000_000 if crs >= 32700 else 0  # noqa: PLR2004 - the false northing of the south
    to_degrees = Transformer.from_crs(crs, WGS84, always_xy=True)
    # Tiles reach a little beyond their square, so include the neighbours to the west and north.
    for column in range(math.floor(west / SQUARE_M) - 1, math.floor(east / SQUARE_M) + 1):
        for row in range(math.floor(north / SQUARE_M) + 1, math.floor(south / SQUARE_M) - 1, -1):
            if not 1 <= column <= 8:  # noqa: PLR2004 - the columns MGRS has letters for
                continue
            centre = ((column + 0.5) * SQUARE_M, (row + 0.5) * SQUARE_M)
            square = square_name(zone, column, row, to_degrees.transform(*centre)[1])
            left = math.floor(column * SQUARE_M / ALIGNMENT_M) * ALIGNMENT_M
            top = math.ceil(((row + 1) * SQUARE_M - equator) / ALIGNMENT_M) * ALIGNMENT_M + equator
            for i in range(grid.per_square):
                for j in range(grid.per_square):
                    name = f"{square}_{i}_{j}"
                    yield Tile(name, crs, left + i * grid.size, top - j * grid.size, grid.size)


def square_name(zone: int, column: int, row: int, latitude: float) -> str:
    """
    Name a 100 km square, e.g. ``31UDS``.

    The ``mgrs`` package is no help: it moves a square whose centre lies beyond its zone's six degrees into the
    neighbouring zone. A test compares both where they apply.

    :param zone: UTM zone, 1 to 60.
    :param column: Easting of the square in units of 100 km, 1 to 8.
    :param row: Northing of the square in units of 100 km, false northing included.
    :param latitude: Of the square's centre, in degrees; decides the band.
    """
    band = "CDEFGHJKLMNPQRSTUVWXX"[max(0, min(20, math.floor((latitude + 80) / 8)))]
    columns = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")[zone % 3]
    rows = "ABCDEFGHJKLMNPQRSTUV"
    return f"{zone:02d}{band}{columns[column - 1]}{rows[(row + (0 if zone % 2 else 5)) % 20]}"


def _degree_tiles(grid: Grid, area: BaseGeometry) -> Iterator[Tile]:
    def candidates() -> Iterator[Tile]:
        west, south, east, north = area.bounds
        for lat in range(math.ceil(north) - 1, math.floor(south) - 1, -1):
            for lon in range(math.floor(west), math.ceil(east)):
                vertical = f"{'N' if lat >= 0 else 'S'}{abs(lat):02d}"
                horizontal = f"{'E' if lon >= 0 else 'W'}{abs(lon):03d}"
                yield Tile(vertical + horizontal, WGS84, lon, lat + 1, grid.size)

    yield from _overlapping(candidates(), area)


def _laea_tiles(grid: Grid, area: BaseGeometry) -> Iterator[Tile]:
    shape = project(shapely.segmentize(area, DENSIFY_DEG), WGS84, LAEA)
    # E40N30 for the 100 km grid, E400N302 for the 20 km grid: the lower-left corner, as INSPIRE names grid cells.
    unit = SQUARE_M if grid.size == SQUARE_M else 10_000

    def candidates() -> Iterator[Tile]:
        west, south, east, north = shape.bounds
        for row in range(math.ceil(north / grid.size) - 1, math.floor(south / grid.size) - 1, -1):
            for column in range(math.floor(west / grid.size), math.ceil(east / grid.size)):
                left, bottom = column * grid.size, row * grid.size
                name = f"E{left / unit:.0f}N{bottom / unit:.0f}"
                yield Tile(name, LAEA, left, bottom + grid.size, grid.size)

    yield from _overlapping(candidates(), shape)
