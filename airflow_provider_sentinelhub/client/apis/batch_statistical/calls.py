"""
Batch Statistical: its Calls, and its requests: check, tag, rerun. Nothing here does I/O.

Source: https://docs.planet.com/develop/apis/batch-statistical/reference/
"""

from __future__ import annotations

import base64
import contextlib
import copy
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.batch_statistical.models import BatchStatisticalRequest
from airflow_provider_sentinelhub.client.http.call import Call
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle.intent import TAG
from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask, TaskCalls
from airflow_provider_sentinelhub.client.models import from_text, validated
from airflow_provider_sentinelhub.client.requests.findings import part
from airflow_provider_sentinelhub.client.requests.intervals import cut, written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.lifecycle.spec import Rerun

TASKS = TaskCalls(Service.BATCH_STATISTICAL, "")

_COMMENT = "\n// "
_TAG_LINE = re.compile(rf"{_COMMENT}{TAG}[ \t\r]*(?=\n|\Z)")
_SCRIPT_NAME = re.compile(r"/airflow-([A-Za-z0-9_-]+)\.js$")


def check(request: Any) -> dict[str, Any]:
    """
    Check a request against the models, and return the JSON to send.

    Further checks are in :mod:`airflow_provider_sentinelhub.client.preflight` and in the API's ``rules``.

    :param request: The service's own request as a dict, or as the JSON text of one.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    return validated(BatchStatisticalRequest, from_text(request)).body()


def status(task_id: str) -> Call[BatchTask]:
    """
    Read a task without its request.

    :param task_id: Its id.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    path = f"{TASKS.path_of(task_id)}/status"
    return Call("GET", TASKS.service, path, BatchTask.model_validate, f"read the status of batch task {task_id}")


def tagged(body: Mapping[str, Any], tag: str) -> dict[str, Any]:
    """
    Return a request with a tag, as a comment in the last line of its evalscript.

    Requests of this API have no description. If the script is in a bucket, the tag is in its name, see
    :func:`script_name`, and the request is not changed.

    :param body: The request.
    :param tag: The tag.
    """
    aggregation = body["aggregation"]
    script = aggregation.get("evalscript")
    if script is None:
        return dict(body)
    return {**body, "aggregation": {**aggregation, "evalscript": f"{script.rstrip()}{_COMMENT}{tag}"}}


def script_name(tag: str) -> str:
    """
    Return the name in a bucket of a script that is too long for a request; it contains the tag.

    :param tag: The tag.
    """
    # A tag contains characters that the service does not accept in a key.
    return f"airflow-{base64.urlsafe_b64encode(tag.encode()).decode().rstrip('=')}.js"


def tag_of(request: Mapping[str, Any]) -> str:
    """
    Return the text that may contain the tag: the evalscript, or the name of its file.

    :param request: The request as the service returns it.
    """
    reference = part(request, "aggregation", "evalscriptReference", "s3", "url")
    if found := _SCRIPT_NAME.search(str(reference or "")):
        with contextlib.suppress(ValueError):
            return base64.urlsafe_b64decode(f"{found[1]}===").decode()
    return str(part(request, "aggregation", "evalscript") or "")


def untagged(request: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a request without the comments in its evalscript that contain only a tag.

    :param request: The request as the service returns it.
    """
    script = part(request, "aggregation", "evalscript")
    if not isinstance(script, str):
        return dict(request)
    return {**request, "aggregation": {**request["aggregation"], "evalscript": _TAG_LINE.sub("", script)}}


def delivery_url(request: Mapping[str, Any]) -> str:
    """
    Return the URL that results are delivered to.

    :param request: The request as the service returns it.
    """
    return str(part(request, "output", "s3", "url") or "")


def check_rerun(body: Mapping[str, Any]) -> None:
    """
    Check that single features of a request can be rerun: they always can.

    :param body: The request.
    """


def rerun(body: Mapping[str, Any], what: Rerun) -> dict[str, Any]:
    """
    Return the request that reruns some features of another request.

    If only single intervals of these features failed, the period is shortened to the span of these intervals, provided
    that it is divided into the same intervals.

    :param body: The other request, including its evalscript.
    :param what: The features, the delivery, and the intervals.
    """
    again = copy.deepcopy(dict(body))
    location = _location(again["output"])
    again["output"] = {"s3": {"url": what.delivery_url, **location}}
    again["input"]["features"] = {"s3": {"url": what.features_url, **location}}
    if what.span is not None:
        start, end = what.span
        shorter = {**again["aggregation"], "timeRange": {"from": written(start), "to": written(end)}}
        # Not so with months from the 31st on: one that starts on 28 February would then end on 28 March.
        alike = [each for each in cut(again["aggregation"]) if start <= each[0] and each[1] <= end]
        if alike and alike == cut(shorter) and alike[-1][1] == end:
            again["aggregation"] = shorter
    return again


def features_url(request: Mapping[str, Any]) -> str | None:
    """
    Return the URL of the GeoPackage that a request reads its features from; ``None`` if there is none.

    :param request: The request, also as the service returns it.
    """
    url = part(request, "input", "features", "s3", "url")
    return None if url is None else str(url)


def _location(storage: Mapping[str, Any]) -> dict[str, Any]:
    # Credentials are added when the request is sent; in answers of the service they are masked.
    return {key: storage["s3"][key] for key in ("region",) if key in storage["s3"]}
