"""
Statistics of one feature, as both statistical APIs give them.

Sources: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Statistical.html and its examples
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_sentinelhub.simulator import evalscript, values
from airflow_provider_sentinelhub.simulator.histogram import histogram, rounded
from airflow_provider_sentinelhub.simulator.intervals import Interval, Step, moment, split
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from airflow_provider_sentinelhub.simulator.evalscript import Output, Setup
    from airflow_provider_sentinelhub.simulator.features import Feature

MASK = "dataMask"
DEFAULT = "default"
NAN = "NaN"
# What the script may have in store for an interval, besides an error.
EMPTY = "no_data"
ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What is to be computed, whatever the feature.

    :param setup: Of the evalscript.
    :param intervals: The intervals.
    :param calculations: ``calculations`` of the request.
    """

    setup: Setup
    intervals: list[Interval]
    calculations: dict[str, Any]

    @classmethod
    def of(cls, request: dict[str, Any], script: str) -> Plan:
        """
        Read a checked request.

        :param request: Has ``aggregation`` and maybe ``calculations``.
        :param script: The evalscript.
        :raises AnalysisFailed: The evalscript is wrong, or does not have what the request asks for.
        """
        setup = evalscript.parse(script)
        calculations = request.get("calculations", {})
        _check_outputs(setup, calculations)
        aggregation = request["aggregation"]
        period, every = aggregation["timeRange"], aggregation["aggregationInterval"]
        intervals = split(
            moment(period["from"]), moment(period["to"]), Step.parse(every["of"]), every["lastIntervalBehavior"]
        )
        return cls(setup, intervals, calculations)

    @property
    def outputs(self) -> list[Output]:
        """The outputs there are statistics of."""
        return [output for output in self.setup.outputs.values() if output.id != MASK]

    def answered(self, outcomes: Sequence[str | None]) -> list[Interval]:
        """
        Return the intervals that did not fail.

        :param outcomes: What the script has in store for each.
        """
        return [each for each, outcome in zip(self.intervals, outcomes, strict=True) if outcome in {None, EMPTY}]


def _check_outputs(setup: Setup, calculations: dict[str, Any]) -> None:
    if MASK not in setup.outputs:
        raise AnalysisFailed("Evalscript error: output dataMask is missing from function setup().")
    if len(setup.outputs) == 1:
        raise AnalysisFailed("Evalscript error: setup() must return an output besides dataMask.")
    for name, wanted in calculations.items():
        if name == DEFAULT:
            continue
        if name not in setup.outputs or name == MASK:
            raise AnalysisFailed(f"Output {name} requested in calculations but missing from function setup().")
        bands = {DEFAULT, *setup.outputs[name].names}
        for part in ("histograms", "statistics"):
            for band in wanted.get(part, {}):
                if band not in bands:
                    raise AnalysisFailed(f"Band {band} requested in calculations but missing from output {name}.")


def answer(plan: Plan, feature: Feature, outcomes: Sequence[str | None]) -> dict[str, Any]:
    """
    Compute the statistics of a feature.

    :param plan: What is asked for.
    :param feature: Where.
    :param outcomes: What the script has in store for each interval.
    :returns: ``data`` and ``status``: PARTIAL when some intervals failed, FAILED when all did.
    """
    place = values.pixels(feature)
    bands = [[values.Band.of(place, output, name) for name in output.names] for output in plan.outputs]
    data: list[dict[str, Any]] = []
    for interval, outcome in zip(plan.intervals, outcomes, strict=True):
        if outcome == ABSENT:
            continue
        entry: dict[str, Any] = {"interval": interval.describe()}
        if outcome not in {None, EMPTY}:
            data.append({**entry, "error": {"type": outcome}})
            continue
        day = interval.start.date()
        chosen = values.clear(place, day) if outcome is None else np.zeros(len(place.lon), bool)
        entry["outputs"] = {
            output.id: {
                "bands": {band.name: _band(plan, output, band.name, place, band.values(day, chosen)) for band in listed}
            }
            for output, listed in zip(plan.outputs, bands, strict=True)
        }
        data.append(entry)
    failed = sum("error" in entry for entry in data)
    return {"data": data, "status": "OK" if not failed else "FAILED" if failed == len(data) else "PARTIAL"}


def _band(plan: Plan, output: Output, name: str, place: values.Pixels, found: NDArray[Any]) -> dict[str, Any]:
    wanted = plan.calculations.get(output.id, plan.calculations.get(DEFAULT, {}))
    statistics = _either(wanted.get("statistics", {}), name)
    scale = place.total / place.looked_at
    result: dict[str, Any] = {"stats": _stats(found, place, statistics.get("percentiles", {}).get("k", []))}
    if bins := _either(wanted.get("histograms", {}), name):
        result["histogram"] = histogram(bins, found, scale)
    return result


def _either(by_band: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = by_band.get(name, by_band.get(DEFAULT, {}))
    return found


def _stats(found: NDArray[Any], place: values.Pixels, percentiles: Sequence[float]) -> dict[str, Any]:
    [valid] = rounded([len(found)], place.total / place.looked_at)
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
