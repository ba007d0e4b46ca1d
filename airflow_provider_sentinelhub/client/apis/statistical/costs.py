"""Statistical: what a request says about its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.costs.estimate import of_statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.costs.estimate import Price

_MINIMUM_PU = 0.01


def price(body: Mapping[str, Any]) -> Price:
    """
    Return what a request says about its cost, before any feature is read.

    :param body: The request, as JSON of any shape.
    """
    return of_statistics(body, minimum_pu=_MINIMUM_PU, each_answered=True)
