"""
Statistics of one feature, whichever API they are for.

Sources: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Statistical.html and its examples
"""

from __future__ import annotations

import itertools
import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from airflow_provider_sentinelhub.simulator import evalscript
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed
from airflow_provider_sentinelhub.simulator.scenes.bands import MASK
from airflow_provider_sentinelhub.simulator.statistics import values
from airflow_provider_sentinelhub.simulator.statistics.evaluated import Evaluated, sensed
from airflow_provider_sentinelhub.simulator.statistics.intervals import Interval, Step, moment, split

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from airflow_provider_sentinelhub.simulator.evalscript import Output, Setup
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.imagery.rendering import Pixels

DEFAULT = "default"
NAN = "NaN"
SENTINEL_2 = "sentinel-2-"
# A quotient this close above a whole number is that number: 0.3 / 0.1 is not three in floating point.
TOLERANCE = 1e-9
# What the script may say about an interval, besides an error.
EMPTY = "no_data"
ABSENT = "absent"


class Values(Protocol):
    """Where the values of pixels come from."""

    def during(self, start: dt.datetime, end: dt.datetime) -> dict[str, list[NDArray[Any]]]:
        """
        Return valid values in an interval: for each output, those of each band.

        :param start: Beginning of the interval.
        :param end: Its end.
        """


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What to compute for every feature.

    :param setup: Of the evalscript.
    :param intervals: The intervals.
    :param calculations: ``calculations`` of the request.
    :param data: The data sources.
    :param script: The evalscript.
    :param pixels: How pixels are computed.
    """

    setup: Setup
    intervals: list[Interval]
    calculations: dict[str, Any]
    data: list[dict[str, Any]]
    script: str
    pixels: Pixels = "quick"

    @classmethod
    def of(cls, request: dict[str, Any], script: str, pixels: Pixels = "quick") -> Plan:
        """
        Read a checked request.

        :param request: Has ``aggregation``, maybe ``calculations``, and ``input`` with the data sources.
        :param script: The evalscript.
        :param pixels: How pixels are computed.
        :raises AnalysisFailed: The evalscript is wrong, or lacks an output of the request.
        """
        setup = evalscript.parse(script)
        calculations = request.get("calculations", {})
        _check_outputs(setup, calculations)
        aggregation = request["aggregation"]
        period, every = aggregation["timeRange"], aggregation["aggregationInterval"]
        intervals = split(
            moment(period["from"]), moment(period["to"]), Step.parse(every["of"]), every["lastIntervalBehavior"]
        )
        return cls(setup, intervals, calculations, request.get("input", {}).get("data", []), script, pixels)

    @property
    def has_gaps(self) -> bool:
        """Whether all data comes from Sentinel-2, which does not see a place every day."""
        kinds = [str(source.get("type")).lower() for source in self.data]
        return bool(kinds) and all(kind.startswith(SENTINEL_2) for kind in kinds)

    @property
    def outputs(self) -> list[Output]:
        """The outputs with statistics: all but the mask."""
        return [output for output in self.setup.outputs.values() if output.id != MASK]

    def settled(self, feature: Feature, outcomes: Sequence[str | None], *, empty: bool) -> list[str | None]:
        """
        Complete what the script says about intervals: those without an image are left out of the answer.

        :param feature: The feature.
        :param outcomes: What the script says about each.
        :param empty: Whether the script wants no data in any interval of the feature.
        """
        if empty:
            return [each or EMPTY for each in outcomes]
        seen = self._seen(feature)
        return [
            outcome or (None if seen(each) else ABSENT) for each, outcome in zip(self.intervals, outcomes, strict=True)
        ]

    def _seen(self, feature: Feature) -> Callable[[Interval], bool]:
        if self.pixels == "evalscript" and (moments := sensed(self, feature)) is not None:
            return lambda each: any(each.start <= moment < each.end for moment in moments)
        if self.has_gaps:
            return lambda each: values.is_seen(feature, each.start, each.end)
        return lambda _: True

    def answered(self, outcomes: Sequence[str | None]) -> list[Interval]:
        """
        Return the intervals that did not fail.

        :param outcomes: What the script says about each.
        """
        return [each for each, outcome in zip(self.intervals, outcomes, strict=True) if outcome in {None, EMPTY}]


def _check_outputs(setup: Setup, calculations: dict[str, Any]) -> None:
    if MASK not in setup.outputs:
        raise AnalysisFailed("Evalscript error: output dataMask is missing from function setup().")
    if len(setup.outputs) == 1:
        raise AnalysisFailed("Evalscript error: setup() must return an output besides dataMask.")
    for name, wanted in calculations.items():
        if name != DEFAULT and (name not in setup.outputs or name == MASK):
            raise AnalysisFailed(f"Output {name} requested in calculations but missing from function setup().")
        outputs = [each for each in setup.outputs.values() if name in {DEFAULT, each.id} and each.id != MASK]
        bands = {DEFAULT, *(band for each in outputs for band in each.names)}
        for part in ("histograms", "statistics"):
            for band in wanted.get(part, {}):
                if band not in bands:
                    raise AnalysisFailed(f"Band {band} requested in calculations but missing from output {name}.")


def answer(plan: Plan, feature: Feature, outcomes: Sequence[str | None]) -> dict[str, Any]:
    """
    Compute the statistics of a feature.

    :param plan: What to compute.
    :param feature: The feature.
    :param outcomes: What the script says about each interval.
    :returns: ``data``, ``status`` (PARTIAL when some intervals failed, FAILED when all did) and
        ``geometryPixelCount``, which is ``None`` where no interval has an entry.
    :raises RenderingFailed: The evalscript fails.
    """
    place = values.pixels(feature)
    with ExitStack() as stack:
        source = _values(plan, place, stack) if {None} & set(outcomes) else None
        data = [
            _entry(plan, place, source, interval, outcome)
            for interval, outcome in zip(plan.intervals, outcomes, strict=True)
            if outcome != ABSENT
        ]
    failed = sum("error" in entry for entry in data)
    [touched] = rounded([len(place.lon)], place.scale)
    return {
        "data": data,
        "status": "OK" if not failed else "FAILED" if failed == len(data) else "PARTIAL",
        "geometryPixelCount": touched if data else None,
    }


def _values(plan: Plan, place: values.Pixels, stack: ExitStack) -> Values:
    if plan.pixels == "evalscript":
        evaluated = stack.enter_context(Evaluated(plan, place))
        if evaluated.runs:
            return evaluated
    return values.Quick(place, plan.outputs)


def _entry(
    plan: Plan, place: values.Pixels, source: Values | None, interval: Interval, outcome: str | None
) -> dict[str, Any]:
    entry: dict[str, Any] = {"interval": interval.describe()}
    if outcome not in {None, EMPTY}:
        return {**entry, "error": {"type": outcome}}
    found: dict[str, list[NDArray[Any]]] = {}
    if source is not None and outcome is None:
        found = source.during(interval.start, interval.end)
    nothing = np.zeros(0)
    outputs: dict[str, Any] = {}
    for output in plan.outputs:
        # updateOutput() may have set another number of bands.
        listed = found.get(output.id, [nothing] * output.bands)
        bands = output.with_bands(len(listed)).names
        outputs[output.id] = {
            "bands": {name: _band(plan, output, name, place, each) for name, each in zip(bands, listed, strict=True)}
        }
    return {**entry, "outputs": outputs}


def _band(plan: Plan, output: Output, name: str, place: values.Pixels, found: NDArray[Any]) -> dict[str, Any]:
    wanted = plan.calculations.get(output.id, plan.calculations.get(DEFAULT, {}))
    statistics = _either(wanted.get("statistics", {}), name)
    result: dict[str, Any] = {"stats": _stats(found, place, statistics.get("percentiles", {}).get("k", []))}
    if bins := _either(wanted.get("histograms", {}), name):
        result["histogram"] = histogram(bins, found, place.scale)
    return result


def _either(by_band: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = by_band.get(name, by_band.get(DEFAULT, {}))
    return found


def _stats(found: NDArray[Any], place: values.Pixels, percentiles: Sequence[float]) -> dict[str, Any]:
    [valid] = rounded([len(found)], place.scale)
    stats: dict[str, Any] = dict.fromkeys(("min", "max", "mean", "stDev"), NAN)
    if len(found):
        exact = found.astype(np.float64)
        stats = {
            "min": float(found.min()),
            "max": float(found.max()),
            "mean": float(exact.mean()),
            "stDev": float(exact.std()),
        }
    stats |= {"sampleCount": place.total, "noDataCount": place.total - valid}
    if percentiles:
        ordered = np.sort(found)
        stats["percentiles"] = {str(float(k)): _percentile(ordered, k) for k in percentiles}
    return stats


def _percentile(ordered: NDArray[Any], k: float) -> float | str:
    if not len(ordered):
        return NAN
    # The nearest rank: the lowest value that at least k per cent of the values do not exceed.
    rank = max(1, int(np.ceil(k / 100 * len(ordered))))
    return float(ordered[rank - 1])


def edges(wanted: dict[str, Any], values: NDArray[Any]) -> list[float]:
    """
    Return the edges of the bins.

    :param wanted: ``bins``, or ``nBins`` or ``binWidth`` with or without ``lowEdge`` and ``highEdge``; those are the
        lowest and highest value when absent.
    :param values: The values; may be empty.
    :returns: One more than there are bins; empty when they depend on the values and there are none.
    """
    if "bins" in wanted:
        return list(wanted["bins"])
    if not ({"lowEdge", "highEdge"} <= set(wanted) or len(values)):
        return []
    low = wanted["lowEdge"] if "lowEdge" in wanted else float(values.min())
    high = wanted["highEdge"] if "highEdge" in wanted else max(low, float(values.max()))
    low = min(low, high)
    if "nBins" in wanted:
        number = int(wanted["nBins"])
        width = (high - low) / number
    else:
        width = wanted["binWidth"]
        number = max(1, math.ceil((high - low) / width - TOLERANCE))
    found = [low + each * width for each in range(number + 1)]
    # Values above a requested edge are in no bin; without one, the highest value is in the last bin.
    found[-1] = high if "nBins" in wanted or "highEdge" in wanted else max(found[-1], high)
    return found


def histogram(wanted: dict[str, Any], values: NDArray[Any], scale: float) -> dict[str, Any]:
    """
    Count values in bins. A bin includes its lower edge and not its upper one; the last bin includes both.

    :param wanted: See :func:`edges`.
    :param values: The values; may be empty.
    :param scale: How many pixels each stands for.
    """
    limits = edges(wanted, values)
    if len(limits) < 2:  # noqa: PLR2004 - one bin
        return {"bins": [], "overflowCount": 0, "underflowCount": 0}
    wide = np.asarray(limits, np.float64)
    exact = values.astype(np.float64)
    # Where all values are equal the bins have no width: all but the last are empty.
    counts = np.histogram(exact, wide)[0] if wide[-1] > wide[0] else _at_a_point(exact, wide)
    below = int((exact < wide[0]).sum())
    scaled = rounded([below, *counts.tolist(), len(exact) - below - int(counts.sum())], scale)
    bins = [
        {"lowEdge": low, "highEdge": high, "count": count}
        for low, high, count in zip(limits[:-1], limits[1:], scaled[1:-1], strict=True)
    ]
    return {"bins": bins, "overflowCount": scaled[-1], "underflowCount": scaled[0]}


def _at_a_point(values: NDArray[Any], limits: NDArray[Any]) -> NDArray[Any]:
    counts = np.zeros(len(limits) - 1, int)
    counts[-1] = (values == limits[0]).sum()
    return counts


def rounded(counts: list[int], scale: float) -> list[int]:
    """
    Scale counts to whole numbers whose sum is the rounded sum.

    :param counts: The counts.
    :param scale: The factor.
    """
    sums = [0]
    for each in counts:
        sums.append(sums[-1] + each)
    ends = [round(each * scale) for each in sums]
    return [after - before for before, after in itertools.pairwise(ends)]
