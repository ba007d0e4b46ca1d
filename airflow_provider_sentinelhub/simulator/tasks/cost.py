"""
Processing units, by the published formula.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.evalscript import Setup
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.statistics.intervals import Interval

MINIMUM_PU = 100.0
MINIMUM_BALANCE_PU = 1000.0
CHEAP_FROM_PIXELS = 10_000
DAYS_PER_SAMPLE = 3
TO_ANOTHER_REGION_PU = 0.03
TO_ANOTHER_CLOUD_PU = 0.1
MEGABYTE = 1_000_000


def feature_pu(
    width: int, height: int, setup: Setup, process_request: dict[str, Any], *, discounted: bool = True
) -> float:
    """
    Return what one feature costs.

    :param width: In pixels.
    :param height: In pixels.
    :param setup: Bands, outputs and mosaicking of the evalscript.
    :param process_request: ``processRequest``; its data sources change the price.
    :param discounted: Whether large features have their discount.
    """
    data = process_request["input"]["data"]
    wide = 2 if any(output.sample_type == "FLOAT32" for output in setup.outputs.values()) else 1
    batch = 1 / 3 if discounted and width * height >= CHEAP_FROM_PIXELS else 1
    return _sample_pu(width, height, setup, data) * wide * _samples(setup, data) * batch


def statistics_pu(feature: Feature, setup: Setup, intervals: list[Interval], data: list[dict[str, Any]]) -> float:
    """
    Return what the statistics of one feature cost; without an image the pixel type costs nothing.

    :param feature: Has the size in pixels.
    :param setup: Bands and mosaicking of the evalscript.
    :param intervals: Those that did not fail.
    :param data: The data sources.
    """
    samples = len(intervals)
    if setup.mosaicking != "SIMPLE":
        days = sum((each.end - each.start).total_seconds() for each in intervals) / 86_400
        samples = math.ceil(days / DAYS_PER_SAMPLE)
    return _sample_pu(feature.width, feature.height, setup, data) * samples


def transfer_pu(access: dict[str, Any], written: int, region: str) -> float:
    """
    Return what delivery to another region or cloud costs.

    :param access: Where results go: ``s3`` or ``gs`` of a request.
    :param written: Bytes that were delivered.
    :param region: Region of the deployment.
    """
    if access["url"].startswith("gs://"):
        return TO_ANOTHER_CLOUD_PU * written / MEGABYTE
    # The request's region is taken for that of the bucket: the S3 server has none.
    return TO_ANOTHER_REGION_PU * written / MEGABYTE if access.get("region", region) != region else 0.0


def _sample_pu(width: int, height: int, setup: Setup, data: list[dict[str, Any]]) -> float:
    area = max(0.01, width * height / 512**2)
    return area * max(1, setup.bands) / 3 * sum(_source_factor(each) for each in data)


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
    # Not the number of synthetic scenes: one acquisition every three days is what the service itself once assumed in
    # its estimates.
    period = data[0].get("dataFilter", {}).get("timeRange", {})
    try:
        start, end = (datetime.fromisoformat(str(period[side])) for side in ("from", "to"))
    except (KeyError, ValueError):
        return 1
    return max(1, round((end - start).total_seconds() / 86_400 / DAYS_PER_SAMPLE))
