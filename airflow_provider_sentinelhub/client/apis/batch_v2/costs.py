"""Batch Processing V2: what a request says about its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.costs.factors import as_mapping
from airflow_provider_sentinelhub.client.costs.prices import of_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.costs.estimate import Price


def price(body: Mapping[str, Any]) -> Price:
    """
    Return what a request says about its cost, before any feature is looked at.

    :param body: The request, as JSON of any shape.
    """
    may_skip = as_mapping(body.get("output")).get("skipExisting") is True
    return of_images(as_mapping(body.get("processRequest")), may_skip=may_skip)
