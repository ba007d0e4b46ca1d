"""
Quick pixels for statistics: a function of place, output, band and date, so that users can recompute them.

For the pixel whose centre lies at ``lon``, ``lat`` (degrees), in the interval that begins on the day ``d`` of the year
(1 to 366, UTC)::

    h       = crc32("<output>/<band>") / 2**32
    season  = 0.5 - 0.5 * cos(2 pi (d - 15) / 365), and 1 minus that south of the equator
    texture = sin(2 pi (250 lon + h)) * cos(2 pi (250 lat - h))
    value   = 0.10 + 0.65 season + 0.10 texture              where output or band has "ndvi" in its name
    value   = 0.05 + 0.20 h + 0.10 season + 0.04 texture     elsewhere

rounded to 32-bit floating point; outputs of whole numbers have the whole part of ``value`` times the top of their range
(250, 120, 10000, 10000 for UINT8, INT8, UINT16, INT16). A feature is south of the equator where its centre is.

A pixel counts if it overlaps the feature's outline, by however little.

Clouds are a function of date and place: with the interval's first day ``YYYY-MM-DD`` and the feature's centre,
``c = crc32("YYYY-MM-DD/<floor(10 lon)>/<floor(10 lat)>") / 2**32``. Where ``c < 0.125`` the whole interval is without
data; where ``c < 0.375``, the pixels with ``cos(2 pi (50 lon + c)) * cos(2 pi (50 lat - c)) > 0.5`` are.

Sentinel-2 sees a place every fifth day: ``(n + 2 floor(lon / 3)) mod 5 = 0``, where ``n`` is the number of the day from
0001-01-01 as 1, and ``lon`` the longitude of the feature's centre.
"""

from __future__ import annotations

import datetime as dt
import math
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from airflow_provider_sentinelhub.simulator.features.grids import WGS84, transformer
from airflow_provider_sentinelhub.simulator.imagery.rasters import TOP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from airflow_provider_sentinelhub.simulator.evalscript import Output
    from airflow_provider_sentinelhub.simulator.features.features import Feature

    Floats = NDArray[np.float64]

# Larger rasters are sampled: every n-th column and row.
MAX_SAMPLED = 10_000
CLOUDED = 0.125
PARTLY_CLOUDED = 0.375
TURN = 2 * math.pi
REVISIT_DAYS = 5
TOLERANCE = 1e-9
RESOLUTION = dt.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Pixels:
    """
    The pixels of a feature that overlap its outline.

    :param lon: Longitudes of their centres.
    :param lat: Latitudes of their centres.
    :param centre: Longitude and latitude of the feature's centre.
    :param sampled: How many pixels were sampled, including those outside.
    :param total: How many pixels the raster has.
    :param raster: The raster of the sampled pixels.
    :param inside: Which of them overlap the outline, row by row.
    """

    lon: Floats
    lat: Floats
    centre: tuple[float, float]
    sampled: int
    total: int
    raster: Feature
    inside: NDArray[np.bool_]

    @property
    def scale(self) -> float:
        """How many pixels each sampled one stands for."""
        return self.total / self.sampled


def pixels(feature: Feature) -> Pixels:
    """
    Find the pixels of a feature.

    :param feature: The feature.
    """
    every = max(1, math.ceil(math.sqrt(feature.width * feature.height / MAX_SAMPLED)))
    columns = np.arange(every // 2 if feature.width > every else 0, feature.width, every)
    rows = np.arange(every // 2 if feature.height > every else 0, feature.height, every)
    x, y = (
        each.ravel()
        for each in np.meshgrid(
            feature.west + (columns + 0.5) * feature.step_x, feature.north - (rows + 0.5) * feature.step_y
        )
    )
    inside = np.ones(len(x), bool)
    if feature.geometry is not None:
        inside = _overlapping(feature, shapely.make_valid(feature.geometry), x, y)
        x, y = x[inside], y[inside]
    lon, lat = (x, y) if feature.crs == WGS84 else transformer(feature.crs, WGS84).transform(x, y)
    sampled, total = len(columns) * len(rows), feature.width * feature.height
    return Pixels(lon, lat, feature.centre, sampled, total, _thinned(feature, columns, rows, every), inside)


def _thinned(feature: Feature, columns: NDArray[Any], rows: NDArray[Any], every: int) -> Feature:
    """Return a raster whose pixels have the centres of those that were sampled."""
    step_x, step_y = every * feature.step_x, every * feature.step_y
    return replace(
        feature,
        width=len(columns),
        height=len(rows),
        west=feature.west + (columns[0] + 0.5) * feature.step_x - step_x / 2,
        north=feature.north - (rows[0] + 0.5) * feature.step_y + step_y / 2,
        step_x=step_x,
        step_y=step_y,
    )


def _overlapping(feature: Feature, outline: BaseGeometry, x: Floats, y: Floats) -> NDArray[np.bool_]:
    shapely.prepare(outline)
    found: NDArray[np.bool_] = shapely.contains_xy(outline, x, y)
    # Only pixels whose centres lie outside need a closer look.
    others = np.flatnonzero(~found)
    across, down = feature.step_x / 2, feature.step_y / 2
    boxes = shapely.box(x[others] - across, y[others] - down, x[others] + across, y[others] + down)
    near = shapely.intersects(outline, boxes)
    shared = shapely.area(shapely.intersection(outline, boxes[near]))
    # Sides that lie on the edge of a pixel are not exactly there in floating point.
    found[others[near]] = shared > TOLERANCE * feature.step_x * feature.step_y
    return found


def season(day: dt.date, latitude: float) -> float:
    """
    Return the season: 0 in the middle of winter, 1 in the middle of summer.

    :param day: The day.
    :param latitude: Of the place.
    """
    north = 0.5 - 0.5 * math.cos(TURN * (day.timetuple().tm_yday - 15) / 365)
    return north if latitude >= 0 else 1 - north


def is_seen(feature: Feature, start: dt.datetime, end: dt.datetime) -> bool:
    """
    Say whether Sentinel-2 sees a feature in an interval.

    :param feature: The feature.
    :param start: Beginning of the interval, in UTC.
    :param end: Its end, not part of it.
    """
    shift = 2 * math.floor(feature.centre[0] / 3)
    first, last = start.toordinal() + shift, (end - RESOLUTION).toordinal() + shift
    return last // REVISIT_DAYS > (first - 1) // REVISIT_DAYS


def clear(place: Pixels, day: dt.date) -> NDArray[np.bool_]:
    """
    Return which pixels are not hidden by clouds.

    :param place: The pixels.
    :param day: First day of the interval.
    """
    lon, lat = place.centre
    chance = _hash(f"{day.isoformat()}/{math.floor(10 * lon)}/{math.floor(10 * lat)}")
    if chance < CLOUDED:
        return np.zeros(len(place.lon), bool)
    if chance < PARTLY_CLOUDED:
        clouds = np.cos(TURN * (50 * place.lon + chance)) * np.cos(TURN * (50 * place.lat - chance))
        visible: NDArray[np.bool_] = clouds <= 0.5  # noqa: PLR2004 - see the module
        return visible
    return np.ones(len(place.lon), bool)


@dataclass(frozen=True, slots=True)
class Band:
    """
    One band of one output at one place, with everything that does not depend on the date.

    :param name: Its name.
    :param place: The pixels.
    :param index: Whether it is a vegetation index.
    :param offset: ``h``.
    :param texture: See the module.
    :param dtype: Pixel type as numpy spells it.
    """

    name: str
    place: Pixels
    index: bool
    offset: float
    texture: Floats
    dtype: str

    @classmethod
    def of(cls, place: Pixels, output: Output, name: str) -> Band:
        """
        Prepare a band.

        :param place: The pixels.
        :param output: The output.
        :param name: Name of the band.
        """
        offset = _hash(f"{output.id}/{name}")
        texture = np.sin(TURN * (250 * place.lon + offset)) * np.cos(TURN * (250 * place.lat - offset))
        # Statistics have another default than images.
        dtype = "float32" if output.sample_type == "AUTO" else output.dtype
        return cls(name, place, "ndvi" in f"{output.id}/{name}".lower(), offset, texture, dtype)

    def values(self, day: dt.date, chosen: NDArray[np.bool_]) -> NDArray[Any]:
        """
        Return pixel values.

        :param day: First day of the interval.
        :param chosen: Which pixels.
        """
        now = season(day, self.place.centre[1])
        texture = self.texture[chosen]
        if self.index:
            values = 0.10 + 0.65 * now + 0.10 * texture
        else:
            values = 0.05 + 0.20 * self.offset + 0.10 * now + 0.04 * texture
        typed: NDArray[Any] = (values if self.dtype == "float32" else values * TOP[self.dtype]).astype(self.dtype)
        return typed


class Quick:
    """
    Values of all outputs, without running the evalscript.

    :param place: The pixels.
    :param outputs: The outputs with statistics.
    """

    def __init__(self, place: Pixels, outputs: Sequence[Output]) -> None:
        self._place = place
        self._bands = {each.id: [Band.of(place, each, name) for name in each.names] for each in outputs}

    def during(self, start: dt.datetime, end: dt.datetime) -> dict[str, list[NDArray[Any]]]:
        """
        Return valid values in an interval: for each output, those of each band.

        :param start: Beginning of the interval.
        :param end: Its end.
        """
        del end
        chosen = clear(self._place, start.date())
        return {name: [band.values(start.date(), chosen) for band in bands] for name, bands in self._bands.items()}


def _hash(text: str) -> float:
    return zlib.crc32(text.encode()) / 2**32
