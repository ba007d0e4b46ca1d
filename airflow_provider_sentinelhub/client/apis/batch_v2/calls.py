"""
Batch Processing V2: every endpoint, as functions that build Calls and do no I/O.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.batch_v2.answers import GridPage
from airflow_provider_sentinelhub.client.apis.batch_v2.models import BatchV2Request
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.call import Call
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle.task_calls import TaskCalls
from airflow_provider_sentinelhub.client.models import from_text, validated
from airflow_provider_sentinelhub.client.requests.findings import part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.lifecycle.rerun import Rerun

_SERVICE = Service.BATCH_V2
TASKS = TaskCalls(_SERVICE, "/process")


def check(request: Any) -> dict[str, Any]:
    """
    Check the shape of a request, and return the JSON to send.

    What else can be known about it before it is sent, :mod:`airflow_provider_sentinelhub.client.preflight` knows.

    :param request: The service's own request as a dict, or as the JSON text of one.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    return validated(BatchV2Request, from_text(request)).body()


def tagged(body: Mapping[str, Any], tag: str) -> dict[str, Any]:
    """
    Return a request with a tag in its description, after the user's own text.

    :param body: The request.
    :param tag: The tag.
    """
    text = body.get("description")
    return {**body, "description": f"{text} | {tag}" if text else tag}


def tag_of(request: Mapping[str, Any]) -> str:
    """
    Return the text that has the tag in it, where a request has one: its description.

    :param request: The request as the service describes it.
    """
    return str(request.get("description") or "")


def untagged(request: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a request without its description.

    :param request: The request as the service describes it.
    """
    return {key: value for key, value in request.items() if key != "description"}


def delivery_url(request: Mapping[str, Any]) -> str:
    """
    Return where results go, as a request says it.

    :param request: The request as the service describes it.
    """
    delivery = part(request, "output", "delivery")
    return str(part(delivery, "s3", "url") or part(delivery, "gs", "url") or "")


def check_rerun(body: Mapping[str, Any]) -> None:
    """
    Check that features of a request could be run again alone.

    :param body: The request.
    :raises InvalidParameter: They could not.
    """
    if body.get("output", {}).get("type") == "zarr":
        raise InvalidParameter(
            "on_partial",
            "rerun",
            "works with raster output only: failed features are run again from a GeoPackage, and the service writes "
            "Zarr on its own grids only",
            "Use on_partial='fail' or 'warn', or deliver rasters.",
        )


def rerun(body: Mapping[str, Any], what: Rerun) -> dict[str, Any]:
    """
    Return the request that runs some features of another one again.

    It asks for the same, of fewer features, at the same places. What failed may have left files there, so they are
    overwritten. A collection is made once, so a rerun makes none.

    :param body: The other request as it was sent, or as the service describes it.
    :param what: The features, and where to write: a template in which no ``<requestId>`` is left.
    """
    again = copy.deepcopy(dict(body))
    again.pop("instanceType", None)
    output = again["output"]
    (kind, bucket), *_ = output["delivery"].items()
    place = {key: bucket[key] for key in ("region",) if key in bucket}
    output["delivery"] = {kind: {"url": what.delivery_url, **place}}
    output["overwrite"] = True
    for name in ("skipExisting", "createCollection"):
        output.pop(name, None)
    # A GeoPackage's rows are repeated as they are; what they lack came from here.
    given = again["input"].get("defaults") if again["input"].get("type") == "geopackage" else None
    defaults = {"defaults": given} if given else {}
    again["input"] = {"type": "geopackage", "features": {kind: {"url": what.features_url, **place}}, **defaults}
    return again


def features_url(request: Mapping[str, Any]) -> str | None:
    """
    Return where the GeoPackage lies that a request takes its features from; ``None`` for one on a tiling grid.

    :param request: The request, also as the service describes it.
    """
    urls = [part(request, "input", "features", kind, "url") for kind in ("s3", "gs")]
    return next((str(url) for url in urls if url), None)


def tiling_grids(count: int) -> Call[GridPage]:
    """
    List the first tiling grids.

    :param count: How many.
    """
    query = {"count": str(count)}
    return Call("GET", _SERVICE, "/tilinggrids", GridPage.model_validate, "list the tiling grids", query=query)
