"""Checks of requests for statistics, whichever API they are for: everything but the evalscript."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.statistics.intervals import moment

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.validation.findings import Findings

PATH = "aggregation"


def check_aggregation(part: dict[str, Any], findings: Findings) -> None:
    """
    Check times and raster.

    :param part: ``aggregation``, whose shape is right.
    :param findings: Takes the violations.
    """
    period = part["timeRange"]
    if moment(period["from"]) >= moment(period["to"]):
        findings.add(f"{PATH}->timeRange", "from must be before to")
    size, resolution = ({name for name in names if name in part} for names in (("width", "height"), ("resx", "resy")))
    if size and resolution:
        findings.add(PATH, "Only width and height or resx and resy can be set at the same time.")
    if len(resolution) == 1:
        findings.add(PATH, "resx and resy must be set together")


def check_calculations(calculations: dict[str, Any], findings: Findings) -> None:
    """
    Check histograms; the analysis compares their outputs with the evalscript.

    :param calculations: ``calculations`` by output, whose shape is right.
    :param findings: Takes the violations.
    """
    for output, wanted in calculations.items():
        for band, each in wanted.get("histograms", {}).items():
            _check_histogram(each, f"calculations->{output}->histograms->{band}", findings)


def _check_histogram(given: dict[str, Any], path: str, findings: Findings) -> None:
    ways = {name for name in ("bins", "nBins", "binWidth") if name in given}
    if len(ways) != 1:
        findings.add(path, "exactly one of bins, nBins and binWidth must be set")
    if "bins" in given and sorted(set(given["bins"])) != given["bins"]:
        findings.add(f"{path}->bins", "bins must be at least two numbers in ascending order")
    if {"lowEdge", "highEdge"} <= given.keys() and given["lowEdge"] >= given["highEdge"]:
        findings.add(path, "lowEdge must be lower than highEdge")


def fill_aggregation(aggregation: dict[str, Any]) -> None:
    """
    Fill in the defaults.

    :param aggregation: A checked ``aggregation``; changed in place.
    """
    aggregation["aggregationInterval"].setdefault("lastIntervalBehavior", "SKIP")
