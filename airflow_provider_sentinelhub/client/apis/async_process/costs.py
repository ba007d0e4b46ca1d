"""
Async Process: what a request says about its cost.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.apis.async_process.calls import formats_of
from airflow_provider_sentinelhub.client.costs.estimate import of_images
from airflow_provider_sentinelhub.client.requests.findings import mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.costs.estimate import Price

MINIMUM_PU: Final = 10.0
_DISCOUNT: Final = 2 / 3


def price(body: Mapping[str, Any]) -> Price:
    """
    Return what a request says about its cost, before its size is known.

    :param body: The request, as JSON of any shape.
    """
    written = [{"identifier": name, "format": {"type": kind}} for name, kind in formats_of(body).items()]
    output = mapping(body, "output")
    priced = of_images({**body, "output": {**output, "responses": written}}, output)
    return replace(priced, minimum=MINIMUM_PU, discount=_DISCOUNT)
