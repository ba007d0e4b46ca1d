"""
Batch Processing V2: its Calls, and its requests: check, rerun. Nothing here does I/O.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.batch_v2.models import BatchV2Request
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle.tasks import ID, TaskCalls
from airflow_provider_sentinelhub.client.models import from_text, validated
from airflow_provider_sentinelhub.client.requests.findings import part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.lifecycle.spec import Rerun

TASKS = TaskCalls(Service.BATCH_V2, "/process")


def check(request: Any) -> dict[str, Any]:
    """
    Check a request against the models, and return the JSON to send.

    Further checks are in :mod:`airflow_provider_sentinelhub.client.preflight` and in the API's ``rules``.

    :param request: The service's own request as a dict, or as the JSON text of one.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    return validated(BatchV2Request, from_text(request)).body()


def delivery_url(request: Mapping[str, Any]) -> str:
    """
    Return the URL that results are delivered to.

    :param request: The request as the service returns it.
    """
    delivery = part(request, "output", "delivery")
    return str(part(delivery, "s3", "url") or part(delivery, "gs", "url") or "")


def check_rerun(body: Mapping[str, Any]) -> None:
    """
    Check that single features of a request can be rerun.

    :param body: The request.
    :raises InvalidParameter: They cannot.
    """
    if body.get("output", {}).get("type") == "zarr":
        raise InvalidParameter(
            "on_partial",
            "rerun",
            "works with raster output only: failed features are rerun from a GeoPackage, and the service writes "
            "Zarr on its own grids only",
            "Use on_partial='fail' or 'warn', or deliver rasters.",
        )


def rerun(body: Mapping[str, Any], what: Rerun) -> dict[str, Any]:
    """
    Return the request that reruns some features of another request.

    It delivers to the same locations. Failed features may have left files there, so files are overwritten. A BYOC
    collection is created once, so not by a rerun.

    :param body: The other request as it was sent, or as the service returns it.
    :param what: The features and the delivery: a template without ``<requestId>``.
    """
    again = copy.deepcopy(dict(body))
    again.pop("instanceType", None)
    output = again["output"]
    (storage, bucket), *_ = output["delivery"].items()
    location = {key: bucket[key] for key in ("region",) if key in bucket}
    output["delivery"] = {storage: {"url": what.delivery_url, **location}}
    output["overwrite"] = True
    for name in ("skipExisting", "createCollection"):
        output.pop(name, None)
    # The rows of a GeoPackage are copied as they are; missing sizes come from the defaults.
    given = again["input"].get("defaults") if again["input"].get("type") == "geopackage" else None
    defaults = {"defaults": given} if given else {}
    again["input"] = {"type": "geopackage", "features": {storage: {"url": what.features_url, **location}}, **defaults}
    return again


def features_url(request: Mapping[str, Any]) -> str | None:
    """
    Return the URL of the GeoPackage that a request reads its features from; ``None`` for one on a tiling grid.

    :param request: The request, also as the service returns it.
    """
    urls = [part(request, "input", "features", storage, "url") for storage in ("s3", "gs")]
    return next((str(url) for url in urls if url), None)


def data_type(request: Mapping[str, Any]) -> str:
    """
    Return the ``type`` of a data source that reads the collection which results are added to; empty if there is none.

    :param request: The request as the service returns it.
    """
    number = part(request, "output", "collectionId")
    return f"byoc-{number}" if isinstance(number, str) and re.fullmatch(ID, number) else ""
