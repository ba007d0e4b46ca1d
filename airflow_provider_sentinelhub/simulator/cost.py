"""
Processing units, by the published formula.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.evalscript import Setup

MINIMUM_PU = 100.0
MINIMUM_BALANCE_PU = 1000.0
CHEAP_FROM_PIXELS = 10_000
DAYS_PER_SAMPLE = 3


def feature_pu(width: int, height: int, setup: Setup, process_request: dict[str, Any]) -> float:
    """
    Return what one feature costs.

    :param width: In pixels.
    :param height: In pixels.
    :param setup: Bands, outputs and mosaicking of the evalscript.
    :param process_request: ``processRequest``: its data sources decide the rest.
    """
    data = process_request["input"]["data"]
    area = max(0.01, width * height / 512**2)
    wide = 2 if any(output.sample_type == "FLOAT32" for output in setup.outputs.values()) else 1
    sources = sum(_source_factor(each) for each in data)
    batch = 1 / 3 if width * height >= CHEAP_FROM_PIXELS else 1
    return area * max(1, setup.bands) / 3 * wide * _samples(setup, data) * sources * batch


def _source_factor(source: dict[str, Any]) -> float:
    processing = source.get("processing", {})
    factor = 1.0
    if str(processing.get("backCoeff", "")).endswith("_TERRAIN"):
        factor *= 2.5
    elif str(processing.get("orthorectify", "false")).lower() == "true":
        factor *= 2
    if processing.get("speckleFilter", {}).get("type", "NONE") != "NONE":
        factor *= 2
    return factor


def _samples(setup: Setup, data: list[dict[str, Any]]) -> int:
    if setup.mosaicking == "SIMPLE":
        return 1
    # How many acquisitions there are is a question to an archive the simulator does not have; one every three days is
    # what the service itself once assumed in its estimates.
    period = data[0].get("dataFilter", {}).get("timeRange", {})
    try:
        start, end = (datetime.fromisoformat(str(period[side])) for side in ("from", "to"))
    except (KeyError, ValueError):
        return 1
    return max(1, round((end - start).total_seconds() / 86_400 / DAYS_PER_SAMPLE))
