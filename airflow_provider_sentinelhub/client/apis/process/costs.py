"""Process: what a request says about its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.process.calls import formats_of
from airflow_provider_sentinelhub.client.costs.estimate import of_image
from airflow_provider_sentinelhub.client.requests.findings import mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.costs.estimate import Price

# https://docs.sentinel-hub.com/api/latest/api/overview/processing-unit/
_MINIMUM_PU = 0.005


def price(body: Mapping[str, Any]) -> Price:
    """
    Return what a request says about its cost, before its size is known.

    :param body: The request, as JSON of any shape.
    """
    written = [{"identifier": name, "format": {"type": kind}} for name, kind in formats_of(body).items()]
    output = {**mapping(body, "output"), "responses": written}
    return of_image({**body, "output": output}, minimum_pu=_MINIMUM_PU)
