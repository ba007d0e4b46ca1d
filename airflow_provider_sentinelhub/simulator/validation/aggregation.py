"""Checks of requests for statistics, whichever API they are for: everything but the evalscript."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.statistics.intervals import BEHAVIOURS, Step, moment
from airflow_provider_sentinelhub.simulator.statistics.parcels import MAX_PIXELS

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.validation.findings import Findings

PATH = "aggregation"


def check_aggregation(part: dict[str, Any], findings: Findings) -> None:
    """
    Check times and raster.

    :param part: ``aggregation``.
    :param findings: Takes the violations.
    """
    if part:
        _check_times(part, findings)
        _check_raster(part, findings)


def _check_times(part: dict[str, Any], findings: Findings) -> None:
    period = findings.part(part, "timeRange", PATH)
    times = {}
    for side in ("from", "to") if period else ():
        try:
            times[side] = moment(period.get(side))
        except ValueError as error:
            findings.add(f"{PATH}->timeRange->{side}", f"{side} is not a valid time: {error}")
    if len(times) == 2 and times["from"] >= times["to"]:  # noqa: PLR2004 - both of them
        findings.add(f"{PATH}->timeRange", "from must be before to")
    every = findings.part(part, "aggregationInterval", PATH)
    if not every:
        return
    try:
        Step.parse(every.get("of"))
    except ValueError as error:
        findings.add(f"{PATH}->aggregationInterval->of", f"invalid aggregation interval: {error}")
    if every.get("lastIntervalBehavior", "SKIP") not in BEHAVIOURS:
        findings.add(
            f"{PATH}->aggregationInterval->lastIntervalBehavior",
            f"lastIntervalBehavior must be one of {sorted(BEHAVIOURS)}",
        )


def _check_raster(part: dict[str, Any], findings: Findings) -> None:
    size, resolution = ({name for name in names if name in part} for names in (("width", "height"), ("resx", "resy")))
    if size and resolution:
        findings.add(PATH, "Only width and height or resx and resy can be set at the same time.")
    for name in sorted(size):
        if not (isinstance(part[name], int) and 1 <= part[name] <= MAX_PIXELS):
            findings.add(f"{PATH}->{name}", f"{name} must be between 1 and {MAX_PIXELS}")
    for name in sorted(resolution):
        if not (_is_number(part[name]) and part[name] > 0):
            findings.add(f"{PATH}->{name}", f"{name} must be greater than 0")
    if len(resolution) == 1:
        findings.add(PATH, "resx and resy must be set together")


def check_calculations(calculations: Any, findings: Findings) -> None:
    """
    Check percentiles and histograms; the analysis compares their outputs with the evalscript.

    :param calculations: ``calculations`` by output.
    :param findings: Takes the violations.
    """
    if not isinstance(calculations, dict):
        findings.add("calculations", "must be an object")
        return
    for output, wanted in calculations.items():
        path = f"calculations->{output}"
        for band, each in wanted.get("statistics", {}).items():
            _check_percentiles(each.get("percentiles"), f"{path}->statistics->{band}->percentiles", findings)
        for band, each in wanted.get("histograms", {}).items():
            _check_histogram(each, f"{path}->histograms->{band}", findings)


def _check_percentiles(percentiles: Any, path: str, findings: Findings) -> None:
    if percentiles is None:
        return
    listed = percentiles.get("k")
    # 0..1 in the reference, 0..100 in all the examples: percentages are what is computed.
    if not isinstance(listed, list) or not listed or not all(_is_number(k) and 0 <= k <= 100 for k in listed):  # noqa: PLR2004 - see above
        findings.add(f"{path}->k", "k must be a list of numbers between 0 and 100")


def _check_histogram(given: dict[str, Any], path: str, findings: Findings) -> None:
    ways = {name for name in ("bins", "nBins", "binWidth") if name in given}
    if len(ways) != 1:
        findings.add(path, "exactly one of bins, nBins and binWidth must be set")
        return
    for name in ({"nBins", "binWidth", "lowEdge", "highEdge"} & given.keys()) - {"bins"}:
        if not _is_number(given[name]):
            findings.add(f"{path}->{name}", f"{name} must be a number")
            return
    if "bins" in given:
        bins = given["bins"]
        ordered = isinstance(bins, list) and all(map(_is_number, bins)) and sorted(set(bins)) == bins
        if not ordered or len(bins) < 2:  # noqa: PLR2004 - one bin
            findings.add(f"{path}->bins", "bins must be at least two numbers in ascending order")
    elif "nBins" in given and not (given["nBins"] >= 1 and given["nBins"] == int(given["nBins"])):
        findings.add(f"{path}->nBins", "nBins must be a whole number greater than 0")
    elif "binWidth" in given and not given["binWidth"] > 0:
        findings.add(f"{path}->binWidth", "binWidth must be greater than 0")
    if {"lowEdge", "highEdge"} <= given.keys() and given["lowEdge"] >= given["highEdge"]:
        findings.add(path, "lowEdge must be lower than highEdge")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def fill_aggregation(aggregation: dict[str, Any]) -> None:
    """
    Fill in the defaults.

    :param aggregation: A checked ``aggregation``; changed in place.
    """
    aggregation["aggregationInterval"].setdefault("lastIntervalBehavior", "SKIP")
