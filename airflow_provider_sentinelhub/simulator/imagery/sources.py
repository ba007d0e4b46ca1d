"""
Where samples come from, by ``data.type`` of a request.

A source lists the scenes of a data source and reads bands of one of them for a block of pixels. Public collections are
registered here; others register theirs when the simulator starts, see :func:`register`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from airflow_provider_sentinelhub.simulator.features.grids import WGS84, transformer

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.scenes.scenes import Scene

    Bounds = tuple[float, float, float, float]

MASK = "dataMask"


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


_SOURCES: dict[str, Callable[[dict[str, Any]], Source]] = {}


def register(prefix: str, opened: Callable[[dict[str, Any]], Source]) -> None:
    """
    Say where samples of a kind of data source come from.

    :param prefix: How ``data.type`` begins, e.g. ``byoc-``; the longest one counts.
    :param opened: Returns the source for an entry of ``input.data``.
    """
    _SOURCES[prefix] = opened


def source_of(data: dict[str, Any]) -> Source | None:
    """
    Return the source for a data source of a request.

    :param data: Entry of ``input.data``.
    :returns: The source; ``None`` where there are no samples of it.
    """
    kind = str(data.get("type", "")).lower()
    fitting = [prefix for prefix in _SOURCES if kind.startswith(prefix)]
    return _SOURCES[max(fitting, key=len)](data) if fitting else None
