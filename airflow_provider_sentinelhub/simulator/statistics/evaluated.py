"""Pixels for statistics as the evalscript computes them, for one interval after the other."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from airflow_provider_sentinelhub.simulator.imagery.inputs import reads_of
from airflow_provider_sentinelhub.simulator.imagery.rendering import Renderer
from airflow_provider_sentinelhub.simulator.scenes.bands import MASK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from airflow_provider_sentinelhub.simulator.evalscript import Setup
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.statistics.intervals import Interval
    from airflow_provider_sentinelhub.simulator.statistics.values import Pixels

# An interval's end is not part of it, but that of a time range is.
RESOLUTION = dt.timedelta(microseconds=1)


class Asked(Protocol):
    """What to evaluate."""

    @property
    def setup(self) -> Setup:
        """Of the evalscript."""

    @property
    def data(self) -> list[dict[str, Any]]:
        """The data sources."""

    @property
    def script(self) -> str:
        """The evalscript."""

    @property
    def intervals(self) -> Sequence[Interval]:
        """The intervals."""


class Evaluated:
    """
    Values that the evalscript returns. Use it in a ``with`` statement.

    :param asked: What to evaluate.
    :param place: The pixels.
    :raises RenderingFailed: The script fails.
    """

    def __init__(self, asked: Asked, place: Pixels) -> None:
        self._place = place
        request = {"input": {"data": asked.data}, "evalscript": asked.script}
        self._renderer = Renderer(request, place.raster, sample_type="FLOAT32", period=_whole(asked))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._renderer.__exit__(kind, error, trace)

    @property
    def runs(self) -> bool:
        """Whether there are samples of all data sources, so that the script is run."""
        return self._renderer.runs

    def during(self, start: dt.datetime, end: dt.datetime) -> dict[str, list[NDArray[Any]]]:
        """
        Return valid values in an interval: for each output, those of each band.

        A pixel is valid where ``dataMask`` is not 0 and the value is a number. If ``dataMask`` has a band with the name
        of an output, it counts for that one, otherwise its first band does.

        :param start: Beginning of the interval.
        :param end: Its end.
        :raises RenderingFailed: The script fails.
        """
        self._renderer.during((start, end - RESOLUTION))
        found = self._renderer.render(0, self._place.raster.height)
        masks = found.pop(MASK)
        names = self._renderer.outputs[MASK].names
        valid: dict[str, list[NDArray[Any]]] = {}
        for output, bands in found.items():
            mask = masks[names.index(output) if output in names else 0].ravel()
            chosen = self._place.inside & (mask != 0)
            valid[output] = [each.ravel()[chosen & np.isfinite(each.ravel())] for each in bands]
        return valid


def sensed(asked: Asked, feature: Feature) -> list[dt.datetime] | None:
    """
    Return when there is imagery of a feature.

    :param asked: What to evaluate.
    :param feature: The feature.
    :returns: The moments; ``None`` where there are no samples of a data source.
    """
    reads = reads_of(asked.setup, asked.data, feature, _whole(asked))
    if reads is None:
        return None
    return [scene.sensed for read in reads for sample in read.samples for scene in sample]


def _whole(asked: Asked) -> tuple[dt.datetime, dt.datetime]:
    now = dt.datetime.now(dt.UTC)
    starts, ends = [each.start for each in asked.intervals], [each.end for each in asked.intervals]
    return min(starts, default=now), max(ends, default=now)
