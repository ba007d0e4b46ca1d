"""All APIs, and how the API of a request is recognised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.apis.async_process.spec import ASYNC_PROCESS
from airflow_provider_sentinelhub.client.apis.batch_statistical.spec import BATCH_STATISTICAL
from airflow_provider_sentinelhub.client.apis.batch_v1.spec import BATCH_V1
from airflow_provider_sentinelhub.client.apis.batch_v2.calls import grids
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.apis.process.spec import PROCESS
from airflow_provider_sentinelhub.client.apis.statistical.spec import STATISTICAL
from airflow_provider_sentinelhub.client.requests.findings import Json, mapping, part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.http.call import Call
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec, TaskApiSpec

TASK_APIS: Final[Mapping[str, TaskApiSpec]] = {api.key: api for api in (BATCH_V2, BATCH_STATISTICAL, BATCH_V1)}
"""The asynchronous APIs by their key."""

APIS: Final[Mapping[str, ApiSpec]] = {**TASK_APIS, **{api.key: api for api in (STATISTICAL, PROCESS, ASYNC_PROCESS)}}
"""All APIs by their key."""

# Fields that only one version of Batch Processing has.
_SIGNS: Final = {
    BATCH_V1.key: (
        ("tilingGrid",),
        ("tilingGridId",),
        ("bucketName",),
        ("zarrOutput",),
        ("output", "defaultTilePath"),
        ("output", "responses"),
    ),
    BATCH_V2.key: (("input", "type"), ("output", "type"), ("output", "delivery")),
}


def harmless_call() -> Call[Any]:
    """Return a call that reads little, changes nothing and costs nothing: the first page of the tiling grids."""
    return grids(1)


def request_type(request: Any) -> ApiSpec:
    """
    Return the API a request is for: statistics have an ``aggregation``, Statistical requests have no ``output``.

    Only requests for a single image have their evalscript at the top; those of Async Process are delivered.

    A request with a misspelt ``aggregation`` is recognised by its other fields, and so is one of Batch Processing V1.

    :param request: JSON of any shape; if it looks like none of them, it counts as a Batch V2 request.
    """
    fields, given = mapping(request), mapping(request, "input")
    if {"evalscript", "evalscriptReference"} & fields.keys() and not {"processRequest", "aggregation"} & fields.keys():
        return ASYNC_PROCESS if "delivery" in mapping(request, "output") else PROCESS
    if "aggregation" not in fields and not _looks_like_statistics(fields, given):
        return BATCH_V1 if _has_signs(request, BATCH_V1) and part(given, "type") is None else BATCH_V2
    return BATCH_STATISTICAL if "features" in given or "output" in fields else STATISTICAL


def other_request_type(api: ApiSpec, request: Any) -> ApiSpec | None:
    """
    Return the other API a request is certainly for; ``None`` if there is no other, or it is not certain.

    :param api: The API the request was given to.
    :param request: JSON of any shape.
    """
    fields, given = mapping(request), mapping(request, "input")
    likely = request_type(request)
    if (api.key, likely.key) == (PROCESS.key, ASYNC_PROCESS.key):
        return likely
    if likely.key == api.key or ("processRequest" in fields) == ("aggregation" in fields):
        return None
    if {likely.key, api.key} == {BATCH_V1.key, BATCH_V2.key}:
        # A single wrong field does not make it a request of the other version.
        is_certain = _has_signs(request, likely) and not _has_signs(request, api)
        return likely if is_certain else None
    if {BATCH_V1.key, BATCH_V2.key} & {likely.key, api.key}:
        return likely
    # A single wrong field does not make it a request of another API.
    signs = {"features" in given, "bounds" not in given, "output" in fields}
    return likely if len(signs) == 1 else None


def _has_signs(request: Any, api: ApiSpec) -> bool:
    return any(part(request, *path) is not None for path in _SIGNS[api.key])


def _looks_like_statistics(fields: Json, given: Json) -> bool:
    # Batch Processing has its data in processRequest; a request with a top-level evalscript is for none of these APIs.
    return not {"processRequest", "evalscript"} & fields.keys() and ("data" in given or "calculations" in fields)
