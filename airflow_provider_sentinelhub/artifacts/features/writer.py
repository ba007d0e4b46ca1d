"""
Write features into GeoPackages that the service accepts as input.

One layer for each coordinate reference system, and several files where there are too many features for one.

Features that the service would refuse are written as well: :mod:`.check` finds everything that is wrong with a
GeoPackage, whatever wrote it.

Source: https://docs.planet.com/develop/apis/batch-processing/ (input GeoPackage).
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.geopackage.blobs import Extent, blob_header, extent_of, joined
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import (
    MAX_FEATURES,
    Layer,
    add_layer,
    finish_layer,
    new_geopackage,
)
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.features.features import Batch

ALMOST = 1e-6
"""Fraction of a pixel that is ignored as a rounding error."""
_ENDLESS = 10**15
_PLAIN = {int, float}
_TOP = 2.0**63


@dataclass(frozen=True, slots=True)
class Size:
    """
    The size of features that have none: width and height, or resolution, or neither where the request gives it.

    :param width: Pixels.
    :param height: Pixels.
    :param resolution: Units of the coordinate reference system.
    :param in_pixels: Write, in place of a resolution, the width and height that follow from it and the bounds of the
        feature, rounded up. Default ``False``: the resolution itself is written.
    :raises InvalidParameter: They contradict each other.
    """

    width: int | None = None
    height: int | None = None
    resolution: float | None = None
    in_pixels: bool = False

    def __post_init__(self) -> None:
        if (self.width is None) != (self.height is None):
            raise InvalidParameter(
                "width", self.width, "width and height go together", "Give both, or a resolution instead."
            )
        if self.width is not None and self.resolution is not None:
            raise InvalidParameter(
                "resolution", self.resolution, "width and height take precedence over it", "Give the one or the other."
            )
        for name, value in (("width", self.width), ("height", self.height), ("resolution", self.resolution)):
            if value is not None and not 0 < value < math.inf:
                raise InvalidParameter(name, value, "must be a number above 0", "Correct it, or leave it out.")


@dataclass(frozen=True, slots=True)
class WrittenGeoPackage:
    """
    A GeoPackage that was written.

    :param path: The file.
    :param features: How many features it has.
    :param layers: EPSG codes of its layers, in order of their first feature.
    """

    path: Path
    features: int
    layers: tuple[int, ...]


def write_geopackages(
    batches: Iterable[Batch],
    target: Path,
    *,
    size: Size | None = None,
    max_features: int = MAX_FEATURES,
) -> tuple[WrittenGeoPackage, ...]:
    """
    Write features into one GeoPackage, or into several where there are too many for one; in bounded memory.

    :param batches: The features, read once.
    :param target: File to write; further ones are ``<name>-2.gpkg``, ``<name>-3.gpkg`` beside it. All are replaced.
    :param size: Size of features that have none. Default: none is written, the request's ``input.defaults`` apply.
    :param max_features: Features in one file. Default: the service's limit of 700,000.
    :returns: The files, none where there are no features.
    :raises InvalidParameter: The source cannot be read.
    :raises StorageUnavailable: This machine has no disk space left.
    :raises InvalidConfiguration: A coordinate reference system needs pyproj, which is not installed.
    """
    written: list[WrittenGeoPackage] = []
    rest = _Rest(iter(batches))
    while rest.has_more():
        path = target if not written else target.with_name(f"{target.stem}-{len(written) + 1}{target.suffix}")
        with new_geopackage(path) as connection:
            file = _File(connection, size or Size(), rest.features)
            while file.features < max_features and rest.has_more():
                file.write(rest.take(max_features - file.features))
            layers = file.finish()
        rest.features += file.features
        written.append(WrittenGeoPackage(path, file.features, layers))
    return tuple(written)


class _Rest:
    """The batches that are still to be written; the first may be written in part."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self._batch: Batch | None = None
        self._start = 0
        self.features = 0

    def has_more(self) -> bool:
        while self._batch is None or self._start >= len(self._batch.geometries):
            self._batch, self._start = next(self._batches, None), 0
            if self._batch is None:
                return False
        return True

    def take(self, at_most: int) -> Batch:
        batch, start = self._batch, self._start
        assert batch is not None  # noqa: S101 - has_more was asked
        self._start = min(start + at_most, len(batch.geometries))
        return batch if (start, self._start) == (0, len(batch.geometries)) else batch.part(start, self._start)


@dataclass(slots=True)
class _File:
    connection: sqlite3.Connection
    size: Size
    written_before: int
    features: int = 0
    layers: dict[int, Layer] = field(default_factory=dict)
    extents: dict[int, Extent] = field(default_factory=dict)

    def write(self, batch: Batch) -> None:
        import shapely

        if batch.epsg not in self.layers:
            self.layers[batch.epsg] = add_layer(self.connection, batch.epsg)
        bounds = shapely.bounds(batch.geometries)
        if extent := extent_of(bounds):
            self.extents[batch.epsg] = joined(self.extents.get(batch.epsg), extent)
        count = len(batch.geometries)
        self.connection.executemany(
            self.layers[batch.epsg].insert,
            zip(
                range(self.features + 1, self.features + count + 1),
                self._names(batch),
                *_sizes(batch, self.size, bounds),
                _blobs(batch, bounds),
                strict=True,
            ),
        )
        self.features += count

    def finish(self) -> tuple[int, ...]:
        for epsg, layer in self.layers.items():
            finish_layer(self.connection, layer, self.extents.get(epsg))
        return tuple(self.layers)

    def _names(self, batch: Batch) -> list[str]:
        first = self.written_before + self.features + 1
        if batch.identifiers is None:
            # Names become folders, which then sort in this order.
            return [f"{number:07d}" for number in range(first, first + len(batch.geometries))]
        return [value if type(value) is str else _name(value) for value in batch.identifiers]


def _name(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN, a missing value in tables
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _blobs(batch: Batch, bounds: Any) -> list[bytes | None]:
    import numpy as np
    import shapely

    start = blob_header(batch.epsg)
    heads = np.empty((len(bounds), len(start) + 32), dtype=np.uint8)
    heads[:, : len(start)] = np.frombuffer(start, dtype=np.uint8)
    heads[:, len(start) :] = np.ascontiguousarray(bounds[:, [0, 2, 1, 3]], dtype="<f8").view(np.uint8)
    wkbs = shapely.to_wkb(batch.geometries, byte_order=1, output_dimension=2).tolist()
    whole = heads.view(f"V{heads.shape[1]}").ravel().tolist()
    return [None if wkb is None else head + wkb for head, wkb in zip(whole, wkbs, strict=True)]


def _sizes(batch: Batch, size: Size, bounds: Any) -> tuple[Iterable[Any], Iterable[Any], Iterable[Any]]:
    if batch.widths is None and batch.heights is None and batch.resolutions is None and not size.in_pixels:
        return tuple(repeat(value, len(bounds)) for value in (size.width, size.height, size.resolution))  # type: ignore[return-value]
    columns: list[Iterable[Any]] = [
        repeat(None, len(bounds)) if column is None else column
        for column in (batch.widths, batch.heights, batch.resolutions)
    ]
    rows = [_size(row, size, box) for *row, box in zip(*columns, bounds.tolist(), strict=True)]
    return tuple(zip(*rows, strict=True))  # type: ignore[return-value]


def _size(row: list[Any], size: Size, bounds: list[float]) -> tuple[Any, Any, Any]:
    """Return width, height and resolution of one feature: its own, or else the given ones."""
    width, height, resolution = (_number(value) for value in row)
    if width is not None or height is not None:
        return width, height, resolution
    if resolution is None:
        width, height, resolution = size.width, size.height, size.resolution
    if not size.in_pixels or not isinstance(resolution, (int, float)) or not 0 < resolution < math.inf:
        return width, height, resolution
    west, south, east, north = bounds
    across, down = east - west, north - south
    if not math.isfinite(across + down):
        # An empty geometry.
        return width, height, resolution
    if is_less_than_a_pixel(across, resolution) and is_less_than_a_pixel(down, resolution):
        # The check finds it by its resolution.
        return width, height, resolution
    return pixels(across, resolution), pixels(down, resolution), None


def pixels(length: float, resolution: float) -> int:
    """
    Return the number of pixels of a length, rounded up.

    :param length: Units of the coordinate reference system.
    :param resolution: In the same units.
    """
    try:
        return max(1, math.ceil(length / resolution - ALMOST))
    except (OverflowError, ValueError):
        # Coordinates may be infinite or NaN.
        return _ENDLESS


def is_less_than_a_pixel(length: Any, resolution: Any) -> Any:
    """
    Return whether a length is less than one pixel.

    :param length: Units of the coordinate reference system, or an array of them.
    :param resolution: In the same units.
    """
    return length < (1 - ALMOST) * resolution


def _number(value: Any) -> Any:
    """Return a number for SQLite, ``None`` for no value, and anything else as text, which the check names."""
    if value is None:
        return None
    number = value if type(value) in _PLAIN else _plain(value)
    if type(number) is float:
        if number.is_integer() and -_TOP < number < _TOP:
            return int(number)
        return number if number == number else None  # noqa: PLR0124 - NaN
    return str(number) if type(number) is int and not -_TOP <= number < _TOP else number


def _plain(value: Any) -> Any:
    # Databases return decimals, and numpy has numbers of its own.
    for kind in (operator.index, float):
        try:
            return kind(value)
        except (TypeError, ValueError, OverflowError):
            continue
    return str(value)
