"""
The prices of images and statistics, the same for all APIs.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_sentinelhub.client.costs import factors as factors_of
from airflow_provider_sentinelhub.client.costs.estimate import MINIMUM_PU, Price
from airflow_provider_sentinelhub.client.evalscript.setup import Setup, read_setup
from airflow_provider_sentinelhub.client.requests.findings import mapping, objects


def of_images(process: Mapping[str, Any], *, may_skip: bool) -> Price:
    """
    Return what a request for images says about its cost.

    :param process: What is read, computed and written for each feature, as JSON of any shape.
    :param may_skip: Whether features with existing results are skipped.
    """
    setup, sources = _setup(process), objects(process, "input", "data")
    written = objects(process, "output", "responses") or [{"identifier": "default"}]
    return Price(
        setup,
        (
            factors_of.bands(setup, len(sources)),
            factors_of.image_format(setup, written),
            factors_of.samples(setup, sources),
            factors_of.fusion(sources),
            factors_of.sentinel_1(sources),
        ),
        may_skip=may_skip,
        pixel_bytes=factors_of.bytes_of(setup, written),
    )


def of_statistics(body: Mapping[str, Any], *, minimum_pu: float = MINIMUM_PU, each_answered: bool = False) -> Price:
    """
    Return what a request for statistics says about its cost.

    :param body: The request, as JSON of any shape.
    :param minimum_pu: Minimum cost, in processing units.
    :param each_answered: Whether each geometry is a request of its own.
    """
    aggregation = mapping(body, "aggregation")
    setup, sources = _setup(aggregation), objects(body, "input", "data")
    return Price(
        setup,
        (
            factors_of.bands(setup, len(sources)),
            factors_of.statistics_format(setup),
            factors_of.statistics_samples(setup, aggregation),
            factors_of.fusion(sources, remote=each_answered),
            factors_of.sentinel_1(sources),
        ),
        minimum=minimum_pu,
        # By the rules this discount is for images only.
        discounted=False,
        each_answered=each_answered,
    )


def _setup(holder: Mapping[str, Any]) -> Setup:
    script = holder.get("evalscript")
    return read_setup(script if isinstance(script, str) else "")
