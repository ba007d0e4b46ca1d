"""Batch Processing V2: what a request says about its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.costs.estimate import of_images
from airflow_provider_sentinelhub.client.requests.findings import mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.costs.estimate import Price


def price(body: Mapping[str, Any]) -> Price:
    """
    Return what a request says about its cost, before any feature is read.

    :param body: The request, as JSON of any shape.
    """
    return of_images(mapping(body, "processRequest"), mapping(body, "output"))
