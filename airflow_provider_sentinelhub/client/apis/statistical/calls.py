"""
The Statistical API: its Call, and the check of its requests. Nothing here does I/O.

Source: https://docs.planet.com/develop/apis/statistical/reference/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.statistical.answers import StatisticalAnswer
from airflow_provider_sentinelhub.client.apis.statistical.models import StatisticalRequest
from airflow_provider_sentinelhub.client.http.call import MIB, Call, Repeat
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.models import from_text, validated

if TYPE_CHECKING:
    from collections.abc import Mapping


def check(request: Any) -> dict[str, Any]:
    """
    Check a request against the models, and return the JSON to send.

    Further checks are in :mod:`airflow_provider_sentinelhub.client.preflight` and in the API's ``rules``.

    :param request: The service's own request as a dict, or as the JSON text of one.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    return validated(StatisticalRequest, from_text(request)).body()


def statistics(body: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> Call[StatisticalAnswer]:
    """
    Request statistics of one geometry.

    The status is 200 even if intervals failed: see :attr:`StatisticalAnswer.failed`.

    :param body: The request.
    :param secrets: Credentials in it, which must not appear in messages.
    """
    return Call(
        "POST",
        Service.STATISTICAL,
        "",
        StatisticalAnswer.model_validate,
        "compute statistics",
        body=body,
        # Only a 2xx answer is charged. At worst an answer that was lost is paid for twice, which costs less than losing
        # all answers before it.
        repeat=Repeat.ALWAYS,
        secrets=secrets,
        # The service computes the statistics before it answers, and charges for them even if we time out.
        patience_s=300.0,
        max_bytes=64 * MIB,
    )
