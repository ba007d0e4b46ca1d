"""
The Statistical API, as functions that build Calls and do no I/O.

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
    Check the shape of a request, and return the JSON to send.

    What else can be known about it before it is sent, :mod:`airflow_provider_sentinelhub.client.preflight` knows.

    :param request: The service's own request as a dict, or as the JSON text of one.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    return validated(StatisticalRequest, from_text(request)).body()


def statistics(body: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> Call[StatisticalAnswer]:
    """
    Ask for statistics of one geometry.

    The answer comes with 200 even where intervals failed: look at :attr:`StatisticalAnswer.failed`.

    :param body: The request.
    :param secrets: Credentials in it, which no message may show.
    """
    return Call(
        "POST",
        Service.STATISTICAL,
        "",
        StatisticalAnswer.model_validate,
        "compute statistics",
        body=body,
        # It leaves nothing behind, and only an answer with 2xx is charged: after a 429 or 5xx nothing was. At worst an
        # answer that was lost on its way is paid for a second time, which is less than losing all that came before it.
        repeat=Repeat.ALWAYS,
        secrets=secrets,
        # It is computed while one waits, and what is given up too early is charged all the same.
        patience_s=300.0,
        max_bytes=64 * MIB,
    )
