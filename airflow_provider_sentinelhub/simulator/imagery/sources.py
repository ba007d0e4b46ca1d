"""
Where samples come from, by ``data.type`` of a request.

A source lists the scenes of a data source and reads bands of one of them for a block of pixels. Public collections are
registered here; others register theirs when the simulator starts, see :func:`register`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import shapely
from shapely.geometry import box

from airflow_provider_sentinelhub.client.preflight.bands import kind_of
from airflow_provider_sentinelhub.simulator.features.grids import WGS84, transformer
from airflow_provider_sentinelhub.simulator.scenes.bands import MASK, Band
from airflow_provider_sentinelhub.simulator.scenes.collections import COLLECTIONS, Collection, Cut
from airflow_provider_sentinelhub.simulator.scenes.ground import Ground
from airflow_provider_sentinelhub.simulator.scenes.scenes import Scene, scenes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from airflow_provider_sentinelhub.simulator.features.features import Feature

    Bounds = tuple[float, float, float, float]

# Where a collection has no dates, its only scene has this one.
TIMELESS = dt.datetime(2011, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Block:
    """
    Some rows of a feature's raster.

    :param feature: The feature.
    :param first_row: First row, from 0.
    :param rows: Number of rows.
    """

    feature: Feature
    first_row: int
    rows: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.feature.width

    @property
    def bounds(self) -> Bounds:
        """Left, bottom, right and top in units of the feature's CRS."""
        each = self.feature
        top = each.north - self.first_row * each.step_y
        return each.west, top - self.rows * each.step_y, each.west + each.width * each.step_x, top

    @cached_property
    def places(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Longitudes and latitudes of the centres of pixels, each as rows of columns."""
        each = self.feature
        x = each.west + (np.arange(each.width) + 0.5) * each.step_x
        y = each.north - (np.arange(self.first_row, self.first_row + self.rows) + 0.5) * each.step_y
        across, down = np.meshgrid(x, y)
        if each.crs == WGS84:
            return across, down
        lon, lat = transformer(each.crs, WGS84).transform(across, down)
        return lon, lat

    @cached_property
    def ground(self) -> Ground:
        """The synthetic ground below the pixels."""
        return Ground(*self.places)

    def inside(self, outline: BaseGeometry) -> NDArray[np.bool_]:
        """
        Return which centres of pixels are inside an outline.

        :param outline: In longitude and latitude.
        """
        lon, lat = self.places
        if outline.contains(box(lon.min(), lat.min(), lon.max(), lat.max())):
            return np.ones(self.shape, bool)
        # A copy: other threads use the outline, and it would be changed.
        outline = shapely.from_wkb(shapely.to_wkb(outline))
        shapely.prepare(outline)
        found: NDArray[np.bool_] = shapely.contains_xy(outline, lon, lat)
        return found


@dataclass(frozen=True, slots=True)
class SourceBand:
    """
    A band of a data source.

    :param dtype: Type of its digital numbers, as numpy spells it.
    :param units: By unit, the number by which digital numbers are divided; the default unit first.
    """

    dtype: str
    units: Mapping[str, float]


class Source(Protocol):
    """One data source of a request."""

    @property
    def bands(self) -> Mapping[str, SourceBand]:
        """Its bands by name, ``dataMask`` included."""

    def scenes(self, bounds: Bounds, start: dt.datetime, end: dt.datetime) -> list[Scene]:
        """
        List its scenes, in the order in which they were sensed.

        :param bounds: West, south, east and north, in degrees.
        :param start: Of the time range.
        :param end: Of the time range.
        """

    def read(self, scene: Scene, bands: Sequence[str], block: Block) -> dict[str, NDArray[Any]]:
        """
        Read digital numbers.

        :param scene: One of its scenes.
        :param bands: Names of bands.
        :param block: For which pixels.
        :returns: By band and for ``dataMask``, in any case: rows of columns. Where the mask is 0, all bands are.
        """


class PublicSource:
    """
    A public collection over the synthetic ground.

    :param collection: The collection.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._bands = {name: Band(collection, name) for name in collection.bands}
        self._described = {name: SourceBand(each.dtype, each.units) for name, each in self._bands.items()}

    @property
    def bands(self) -> Mapping[str, SourceBand]:
        """Its bands by name."""
        return self._described

    def scenes(self, bounds: Bounds, start: dt.datetime, end: dt.datetime) -> list[Scene]:
        """
        List its scenes, in the order in which they were sensed.

        :param bounds: West, south, east and north, in degrees.
        :param start: Of the time range.
        :param end: Of the time range.
        """
        if self._collection.cut is not Cut.STATIC:
            return scenes_of(self._collection.type, bounds, start, end)
        kind = self._collection.type
        return [Scene(kind, kind, kind, TIMELESS, 0, "", box(-180, -90, 180, 90), None)]

    def read(self, scene: Scene, bands: Sequence[str], block: Block) -> dict[str, NDArray[Any]]:
        """
        Read digital numbers.

        :param scene: One of its scenes.
        :param bands: Names of bands.
        :param block: For which pixels.
        """
        mask = block.inside(scene.footprint)
        found: dict[str, NDArray[Any]] = {MASK: mask.astype(np.uint8)}
        view = block.ground.at(scene.sensed.date())
        for name in bands:
            if name != MASK:
                values = self._bands[name].read(view)
                found[name] = values if mask.all() else np.where(mask, values, np.zeros((), values.dtype))
        return found


def _public(source: PublicSource, data: dict[str, Any]) -> Source:
    # It is the same, whatever else the request says about it.
    del data
    return source


_SOURCES: dict[str, Callable[[dict[str, Any]], Source]] = {
    kind: partial(_public, PublicSource(collection)) for kind, collection in COLLECTIONS.items()
}


def register(prefix: str, opened: Callable[[dict[str, Any]], Source]) -> None:
    """
    Say where samples of a kind of data source come from.

    :param prefix: ``data.type``, or how it begins: then it ends in a hyphen, e.g. ``byoc-``.
    :param opened: Returns the source for an entry of ``input.data``.
    """
    _SOURCES[prefix] = opened


def source_of(data: dict[str, Any]) -> Source | None:
    """
    Return the source for a data source of a request.

    :param data: Entry of ``input.data``.
    :returns: The source; ``None`` where there are no samples of it.
    """
    kind = kind_of(data)
    # Of the public ones, some begin with another's name.
    fitting = [prefix for prefix in _SOURCES if kind == prefix or (prefix.endswith("-") and kind.startswith(prefix))]
    return _SOURCES[max(fitting, key=len)](data) if fitting else None
