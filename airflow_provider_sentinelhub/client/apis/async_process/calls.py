"""
Async Process: its Calls, and the check of its requests. Nothing here does I/O.

Source: https://docs.planet.com/develop/apis/async-processing/reference/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.apis.async_process.models import AcceptedRequest, AsyncProcessRequest
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.call import Call, Repeat
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle.tasks import ID
from airflow_provider_sentinelhub.client.models import from_text, validated
from airflow_provider_sentinelhub.client.requests.findings import mapping, objects

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATH: Final = "/process"
USUAL: Final = "image/png"
"""Format of an output whose response names none; documented for the Process API."""


def check(request: Any) -> dict[str, Any]:
    """
    Check a request against the models, and return the JSON to send.

    Further checks are in :mod:`airflow_provider_sentinelhub.client.preflight` and in the API's ``rules``.

    :param request: The service's own request as a dict, or as the JSON text of one.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    return validated(AsyncProcessRequest, from_text(request)).body()


def formats_of(body: Mapping[str, Any]) -> dict[str, str]:
    """
    Return the media types of a request's outputs by identifier, in its order.

    :param body: The request, as JSON of any shape.
    """
    listed = objects(body, "output", "responses") or [{}]
    return {str(each.get("identifier", "default")): str(mapping(each, "format").get("type", USUAL)) for each in listed}


def submit(body: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> Call[AcceptedRequest]:
    """
    Have an image computed. It starts at once, is charged, and cannot be cancelled.

    :param body: The request, including credentials.
    :param secrets: The credentials in it, which must not appear in messages.
    """
    return Call(
        "POST",
        Service.ASYNC_PROCESS,
        _PATH,
        AcceptedRequest.model_validate,
        "submit an Async Process request",
        body=body,
        repeat=Repeat.NEVER,
        secrets=secrets,
    )


def status(request_id: str) -> Call[AcceptedRequest]:
    """
    Read the status of a request. The service knows a request only while it runs: afterwards it answers 404.

    :param request_id: Its id.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    # An empty id would be another path.
    if not re.fullmatch(ID, request_id):
        rule = "is not the id of a request, which consists of letters, digits and hyphens"
        raise InvalidParameter("request_id", request_id, rule, "Give the id as the service returned it.")
    return Call(
        "GET",
        Service.ASYNC_PROCESS,
        f"{_PATH}/{request_id}",
        AcceptedRequest.model_validate,
        f"read Async Process request {request_id}",
    )
