"""
The service's tiling grids.

Identifiers, tile sizes, resolutions and extents are the service's. The exact positions of tiles are reconstructed, see
``docs/simulator.md``: UTM tiles lie on the MGRS 100 km squares as Sentinel-2 products do, the square's
upper-left corner moved outwards to a multiple of 60 m counted from the equator, except for tiles of 10 km. As with
Sentinel-2, the tiles of a zone reach across its edges. Where they cover all that a tile has of the zone to the east,
that tile does not exist.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchV2.html (tiling grids)
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
# From this EPSG code on, UTM zones are southern ones.
SOUTH = 32700
LAEA = 3035
SQUARE_M = 100_000
CENTRAL_EASTING = 500_000
ALIGNMENT_M = 60
# Degrees between the vertices added to an outline before it is projected: its straight edges become curves.
DENSIFY_DEG = 0.25
# Europe with Turkey, Iceland, Svalbard, the Azores and the Canary Islands: what EPSG:3035 is for.
EUROPE = box(-35.58, 24.6, 44.83, 84.73)
METRES_PER_DEGREE = 111_320


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
    :param latitude: For UTM grids: where they end, north and south.
    """

    id: int
    name: str
    size: float
    resolutions: tuple[float, ...]
    unit: str
    crs: int | None
    per_square: int = 0
    latitude: float = 90

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
        Grid(0, "20km grid", 20_040, (10.0, 20.0, 60.0), "METRE", None, 5, 80.7),
        Grid(1, "10km grid", 10_000, (10.0, 20.0), "METRE", None, 10, 80.6),
        Grid(2, "100km grid", 100_080, (60.0, 120.0, 240.0, 360.0), "METRE", None, 1, 81),
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
    area = area.intersection(box(-180, -grid.latitude, 180, grid.latitude))
    if area.area == 0:
        return
    west, south, east, north = area.bounds
    # Tiles reach that far across the edge of their zone, at most.
    reach = 1.1 * grid.size / METRES_PER_DEGREE / math.cos(math.radians(max(-south, north)))
    for zone in range(max(1, _zone_at(west - reach)), min(60, _zone_at(east + reach)) + 1):
        left = _west_of(zone)
        for is_north, low, high in ((False, south, 0.0), (True, 0.0, north)):
            if low >= high:
                continue
            part = area.intersection(box(left - reach, low, left + 6 + reach, high))
            if part.is_empty or part.area == 0:
                continue
            crs = (32600 if is_north else 32700) + zone
            shape = project(shapely.segmentize(part, DENSIFY_DEG), WGS84, crs)
            for tile in _overlapping(_square_tiles(grid, zone, crs, shape.bounds), shape):
                if _is_of_zone(grid, tile):
                    yield tile


def _zone_at(longitude: float) -> int:
    return math.floor((longitude + 180) / 6) + 1


def _west_of(zone: int) -> int:
    return -180 + 6 * (zone - 1)


@lru_cache(maxsize=65_536)
def _is_of_zone(grid: Grid, tile: Tile) -> bool:
    zone = _zone(tile.crs, grid.latitude)
    if not zone.intersects(tile.outline):
        return False
    if zone.contains(tile.outline) or tile.west > CENTRAL_EASTING or tile.crs % 100 == 1:
        return True
    own = zone.intersection(tile.outline)
    west = tile.crs - 1
    there = project(shapely.segmentize(own, SQUARE_M / 10), tile.crs, west)
    neighbours = _overlapping(_square_tiles(grid, west % 100, west, there.bounds), there)
    return not shapely.union_all([each.outline for each in neighbours if _is_of_zone(grid, each)]).covers(there)


@lru_cache(maxsize=256)
def _zone(crs: int, latitude: float) -> BaseGeometry:
    """Return a UTM zone's own six degrees, in its coordinates."""
    left = _west_of(crs % 100)
    low, high = (0, latitude) if crs < SOUTH else (-latitude, 0)
    # Several threads use it, so it is not prepared: that would change it at its first use.
    return project(shapely.segmentize(box(left, low, left + 6, high), DENSIFY_DEG), WGS84, crs)


def _square_tiles(grid: Grid, zone: int, crs: int, bounds: tuple[float, ...]) -> Iterator[Tile]:
    west, south, east, north = bounds
    equator = 10_000_000 if crs >= SOUTH else 0
    to_degrees = transformer(crs, WGS84)
    # Tiles of 10 km fill their square; if it were moved, there would be gaps of 20 m between them.
    step = ALIGNMENT_M if grid.size % ALIGNMENT_M == 0 else SQUARE_M
    # Tiles reach a little beyond their square, so include the neighbours to the west and north.
    for column in range(max(1, math.floor(west / SQUARE_M) - 1), min(8, math.floor(east / SQUARE_M)) + 1):
        for row in range(math.floor(north / SQUARE_M) + 1, math.floor(south / SQUARE_M) - 1, -1):
            centre = ((column + 0.5) * SQUARE_M, (row + 0.5) * SQUARE_M)
            square = square_name(zone, column, row, to_degrees.transform(*centre)[1])
            left = math.floor(column * SQUARE_M / step) * step
            top = math.ceil(((row + 1) * SQUARE_M - equator) / step) * step + equator
            for i in _between(left, grid, west, east):
                for j in _between(-top, grid, -north, -south):
                    name = f"{square}_{i}_{j}"
                    yield Tile(name, crs, left + i * grid.size, top - j * grid.size, grid.size)


def _between(start: float, grid: Grid, low: float, high: float) -> range:
    first, last = math.floor((low - start) / grid.size), math.floor((high - start) / grid.size)
    return range(max(0, first), min(grid.per_square - 1, last) + 1)


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
    area = area.intersection(EUROPE)
    if area.area == 0:
        return
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
