"""
The scenes of a collection: which there are, when they were sensed, what they show and how cloudy they are.

Orbits are simplified. The strip ``k = floor(lon / 3)`` of three degrees of longitude is one relative orbit,
``1 + (k + 60) * orbits // 120``. It is seen on the days with ``(n + 2 k) mod revisit = 0``, where ``n`` is the number
of the day from 0001-01-01 as 1; Sentinel-2 has a revisit of five days. ``(n + 2 k) // revisit`` is the number of the
visit. Platforms take turns, and visits whose platform was not in service do not exist. A scene is the part of a tile
that lies in one strip: the rest of the tile has no data.

Everything follows from place and day, so the same question always has the same answer.
"""

from __future__ import annotations

import datetime as dt
import math
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely.geometry import box

from airflow_provider_sentinelhub.simulator.features.grids import GRIDS, WGS84, project, tiles, transformer
from airflow_provider_sentinelhub.simulator.scenes import clouds
from airflow_provider_sentinelhub.simulator.scenes.collections import COLLECTIONS, Collection, Cut, Platform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    Bounds = tuple[float, float, float, float]

MAX_SCENES = 250_000
STRIP_DEG = 3
SLAB_DEG = 2
TILE_M = 109_800
# How far a Sentinel-2 tile reaches beyond the tile of the grid to the east and south, in degrees of latitude.
OVERLAP_DEG = 0.09
MGRS_GRID = GRIDS[2]
# A strip that has less of a tile than this makes no product of it; the next tile overlaps it by more.
SLIVER = 0.002
# Of a tile's side, for the share of clouds.
SAMPLES = 16
SECONDS_PER_DEGREE = 16.5
# Where a data take begins.
TOP_LATITUDE = 84
STAMP = "%Y%m%dT%H%M%S"
BASELINES = (
    (dt.date.min, "05.00"),
    (dt.date(2022, 1, 25), "04.00"),
    (dt.date(2022, 12, 6), "05.09"),
    (dt.date(2023, 12, 13), "05.10"),
    (dt.date(2024, 7, 23), "05.11"),
)
"""Processing baselines of Sentinel-2 by day of sensing; the years before were processed again."""


class TooManyScenes(ValueError):
    """There are more scenes than can be listed at once."""


@dataclass(frozen=True, slots=True)
class Scene:
    """
    One product of a collection.

    :param id: Identifier in the catalog.
    :param collection: ``data.type`` of the collection.
    :param platform: E.g. ``sentinel-2a``.
    :param sensed: When, in UTC.
    :param relative_orbit: Number of the orbit.
    :param tile: Name of the MGRS tile, e.g. ``32TNM``; empty where the collection has none.
    :param footprint: Where there is data, in longitude and latitude.
    :param cloud_cover: In per cent; ``None`` where clouds hide nothing.
    :param epsg: System of the tile's raster; 4326 where it has none.
    :param baseline: Processing baseline, e.g. ``05.11``; empty where there is none.
    :param direction: ``ascending`` or ``descending``.
    :param data_path: Where the product lies.
    :param number: Number of the product, which the service calls ``tileId``.
    """

    id: str
    collection: str
    platform: str
    sensed: dt.datetime
    relative_orbit: int
    tile: str
    footprint: BaseGeometry
    cloud_cover: float | None
    epsg: int = WGS84
    baseline: str = ""
    direction: str = "descending"
    data_path: str = ""
    number: int = 0

    @property
    def orbit(self) -> tuple[str, dt.date, int]:
        """What scenes of one overpass have in common."""
        return self.platform, self.sensed.date(), self.relative_orbit


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """
    The part of a tile that lies in one strip.

    :param strip: Number of the strip.
    :param tile: Name of the tile.
    :param epsg: Of the tile.
    :param footprint: In longitude and latitude.
    :param lon: Longitudes at which clouds are looked for.
    :param lat: Latitudes.
    """

    strip: int
    tile: str
    epsg: int
    footprint: BaseGeometry
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Seen:
    """
    What the identifier of a scene is made of, besides collection and tile.

    :param platform: Who saw it.
    :param take: When the data take began.
    :param sensed: When the scene was sensed.
    :param orbit: Relative orbit.
    :param baseline: Processing baseline.
    :param number: Number of the product.
    """

    platform: Platform
    take: dt.datetime
    sensed: dt.datetime
    orbit: int
    baseline: str
    number: int


def scenes_of(collection: str, west_south_east_north: Bounds, start: dt.datetime, end: dt.datetime) -> list[Scene]:
    """
    List the scenes whose footprint meets an area, in the order in which they were sensed.

    :param collection: ``data.type`` of the collection.
    :param west_south_east_north: The area, in degrees.
    :param start: Of the time range; part of it.
    :param end: Of the time range; part of it.
    :returns: The scenes; none for a collection without scenes.
    :raises TooManyScenes: There are more than :data:`MAX_SCENES`.
    """
    known = COLLECTIONS.get(collection)
    if known is None or known.cut is Cut.STATIC or end < start:
        return []
    first = max(start.astimezone(dt.UTC).date(), min(slot[0].since for slot in known.slots))
    last = end.astimezone(dt.UTC).date()
    if last < first:
        return []
    area = box(*west_south_east_north)
    visits = ((last - first).days + 1) / known.revisit_days
    found: list[Scene] = []
    pieces: list[_Piece] = []
    for piece in _pieces(known, west_south_east_north):
        if piece.footprint.intersects(area):
            pieces.append(piece)
        if len(pieces) * visits > MAX_SCENES:
            raise TooManyScenes(f"there are more than {MAX_SCENES} scenes")
    for piece in pieces:
        for day in _days(known, piece.strip, first, last):
            visit = (day.toordinal() + 2 * piece.strip) // known.revisit_days
            platform = known.platform(visit, day)
            if platform is None:
                continue
            scene = _scene(known, piece, platform, day, visit)
            if start <= scene.sensed <= end:
                found.append(scene)
    return sorted(found, key=lambda each: (each.sensed, each.id))


def strip_of(longitude: float) -> int:
    """
    Return the number of the strip at a longitude.

    :param longitude: In degrees.
    """
    return math.floor(longitude / STRIP_DEG)


def _days(collection: Collection, strip: int, first: dt.date, last: dt.date) -> Iterator[dt.date]:
    every = collection.revisit_days
    start = first.toordinal() + (-(first.toordinal() + 2 * strip)) % every
    for number in range(start, last.toordinal() + 1, every):
        yield dt.date.fromordinal(number)


def _pieces(collection: Collection, bounds: Bounds) -> Iterator[_Piece]:
    west, south, east, north = bounds
    if collection.cut is Cut.SLAB:
        for strip in range(strip_of(west), strip_of(east) + 1):
            for slab in range(math.floor(south / SLAB_DEG), math.floor(north / SLAB_DEG) + 1):
                yield _slab(strip, slab)
        return
    low, high = max(-80.0, south), min(83.0, north + OVERLAP_DEG)
    if low > high:
        return
    reach = OVERLAP_DEG / math.cos(math.radians(min(81.0, max(abs(low), abs(high)))))
    # The area may be a point, and tiles are only those that overlap an area.
    around = box(max(-180.0, west - reach), low, min(180.0, east + 1e-6), high + 1e-6)
    for tile in tiles(MGRS_GRID, around):
        yield from _cut(tile.name.partition("_")[0], tile.crs, tile.west, tile.north)


@lru_cache(maxsize=4096)
def _slab(strip: int, slab: int) -> _Piece:
    footprint = box(strip * STRIP_DEG, slab * SLAB_DEG, (strip + 1) * STRIP_DEG, (slab + 1) * SLAB_DEG)
    lon, lat = _samples(footprint.bounds)
    return _Piece(strip, "", WGS84, footprint, lon, lat)


@lru_cache(maxsize=4096)
def _cut(name: str, crs: int, west: float, north: float) -> tuple[_Piece, ...]:
    square = box(west, north - TILE_M, west + TILE_M, north)
    outline = project(shapely.segmentize(square, TILE_M / 6), crs, WGS84)
    x, y = _samples(square.bounds)
    lon, lat = transformer(crs, WGS84).transform(x, y)
    found = []
    left, _, right, _ = outline.bounds
    if right - left > 180:  # noqa: PLR2004 - across the 180th meridian, where the grid ends
        return ()
    for strip in range(strip_of(left), strip_of(right) + 1):
        footprint = outline.intersection(box(strip * STRIP_DEG, -90, (strip + 1) * STRIP_DEG, 90))
        if footprint.geom_type != "Polygon" or footprint.area < SLIVER * outline.area:
            continue
        inside = np.floor(lon / STRIP_DEG) == strip
        point = footprint.representative_point()
        some = (lon[inside], lat[inside]) if inside.any() else (np.array([point.x]), np.array([point.y]))
        found.append(_Piece(strip, name, crs, footprint, *some))
    return tuple(found)


def _samples(bounds: Bounds) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    west, south, east, north = bounds
    share = (np.arange(SAMPLES) + 0.5) / SAMPLES
    x, y = np.meshgrid(west + share * (east - west), south + share * (north - south))
    return x.ravel(), y.ravel()


# Lists of scenes are read page by page, and each page asks for the whole list.
@lru_cache(maxsize=20_000)
def _scene(collection: Collection, piece: _Piece, platform: Platform, day: dt.date, visit: int) -> Scene:
    orbit = 1 + (piece.strip + 60) * collection.orbits // 120
    direction = "ascending" if collection.ascends and visit // len(collection.slots) % 2 else "descending"
    take, sensed = _times(collection, piece, day, direction)
    text = (
        f"{collection.type}/{platform.short}/{day.isoformat()}/{piece.strip}/{piece.tile}/{piece.footprint.bounds[1]}"
    )
    number = zlib.crc32(text.encode())
    cover = None
    if collection.has_clouds:
        share = float((clouds.probability(piece.lon, piece.lat, day) >= clouds.CLOUD).mean())
        cover = round(100 * share, 2)
    baseline = _baseline(day) if collection.cut is Cut.MGRS else ""
    return Scene(
        id=_identifier(collection, piece, _Seen(platform, take, sensed, orbit, baseline, number)),
        collection=collection.type,
        platform=platform.name,
        sensed=sensed,
        relative_orbit=orbit,
        tile=piece.tile,
        footprint=piece.footprint,
        cloud_cover=cover,
        epsg=piece.epsg,
        baseline=baseline,
        direction=direction,
        data_path=f"s3://eodata/{collection.type}/{sensed:%Y/%m/%d}/{piece.tile or piece.strip}/{number:08x}",
        number=number,
    )


def _times(collection: Collection, piece: _Piece, day: dt.date, direction: str) -> tuple[dt.datetime, dt.datetime]:
    """Return when the data take began, and when the middle of the scene was sensed."""
    # Local time differs by an hour for every 15 degrees. Far east and west it would be another day.
    hour = (collection.hour - (piece.strip + 0.5) * STRIP_DEG / 15) % 24
    seconds = min(23.4, max(0.6, hour)) * 3600 + zlib.crc32(f"{day.isoformat()}/{piece.strip}".encode()) % 240
    take = dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(seconds=int(seconds))
    middle = (piece.footprint.bounds[1] + piece.footprint.bounds[3]) / 2
    way = (TOP_LATITUDE if direction == "descending" else -TOP_LATITUDE) - middle
    passed = abs(way) * SECONDS_PER_DEGREE % 1440
    return take, take + dt.timedelta(milliseconds=round(1000 * passed))


def _baseline(day: dt.date) -> str:
    return next(number for since, number in reversed(BASELINES) if day >= since)


def _identifier(collection: Collection, piece: _Piece, seen: _Seen) -> str:
    product, short, number = collection.product, seen.platform.short, seen.number
    if collection.cut is Cut.MGRS:
        # The archive of the first years was processed again.
        again = dt.timedelta(days=8 * 365) if seen.baseline == BASELINES[0][1] else dt.timedelta()
        made = seen.take + again + dt.timedelta(seconds=4 * 3600 + number % 14_400)
        version = f"N{seen.baseline.replace('.', '')}_R{seen.orbit:03d}"
        return f"{short}_{product}_{seen.take:{STAMP}}_{version}_T{piece.tile}_{made:{STAMP}}"
    if short.startswith("LC"):
        row = 1 + round((TOP_LATITUDE - piece.footprint.bounds[1]) / SLAB_DEG)
        made = seen.sensed + dt.timedelta(days=10)
        return f"{short}_{product}_{seen.orbit:03d}{row:03d}_{seen.sensed:%Y%m%d}_{made:%Y%m%d}_02_T1"
    period = f"{seen.sensed:{STAMP}}_{seen.sensed + dt.timedelta(seconds=25):{STAMP}}"
    if short.startswith("S1"):
        absolute = (seen.sensed.date() - seen.platform.since).days * 14 + seen.orbit
        return f"{short}_{product}_{period}_{absolute:06d}_{number % 0x100000:06X}_{number >> 16:04X}"
    return f"{short}_{product}_{period}_{seen.orbit:03d}_{number:08X}"
