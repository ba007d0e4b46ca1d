"""
Batch Statistical: every endpoint, as functions that build Calls and do no I/O.

Source: https://docs.planet.com/develop/apis/batch-statistical/reference/
"""

from __future__ import annotations

import base64
import contextlib
import copy
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.batch_statistical.models import BatchStatisticalRequest
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle.intent import TAG
from airflow_provider_sentinelhub.client.lifecycle.task_calls import TaskCalls
from airflow_provider_sentinelhub.client.models import from_text, validated
from airflow_provider_sentinelhub.client.requests.findings import part
from airflow_provider_sentinelhub.client.requests.intervals import cut, written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.lifecycle.rerun import Rerun

TASKS = TaskCalls(Service.BATCH_STATISTICAL, "")

_COMMENT = "\n// "
_TAG_LINE = re.compile(rf"{_COMMENT}{TAG}[ \t\r]*(?=\n|\Z)")
_SCRIPT_NAME = re.compile(r"/airflow-([A-Za-z0-9_-]+)\.js$")


def check(request: Any) -> dict[str, Any]:
    """
    Check the shape of a request, and return the JSON to send.

    What else can be known about it before it is sent, :mod:`airflow_provider_sentinelhub.client.preflight` knows.

    :param request: The service's own request as a dict, or as the JSON text of one.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    return validated(BatchStatisticalRequest, from_text(request)).body()


def tagged(body: Mapping[str, Any], tag: str) -> dict[str, Any]:
    """
    Return a request with a tag in it: the last line of its evalscript, a comment.

    This API has no description. Where the script lies in a bucket, the tag is in the name it has there, see
    :func:`script_name`, and the request is left as it is.

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
    Return the name, in a bucket, of a script that is too long to stand in a request; it holds the tag.

    :param tag: The tag.
    """
    # Characters the service takes in a key; a tag has others.
    return f"airflow-{base64.urlsafe_b64encode(tag.encode()).decode().rstrip('=')}.js"


def tag_of(request: Mapping[str, Any]) -> str:
    """
    Return the text that has the tag in it, where a request has one: its evalscript, or the name of that.

    :param request: The request as the service describes it.
    """
    reference = part(request, "aggregation", "evalscriptReference", "s3", "url")
    if found := _SCRIPT_NAME.search(str(reference or "")):
        with contextlib.suppress(ValueError):
            return base64.urlsafe_b64decode(f"{found[1]}===").decode()
    return str(part(request, "aggregation", "evalscript") or "")


def untagged(request: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a request without the comments in its evalscript that hold nothing but a tag.

    :param request: The request as the service describes it.
    """
    script = part(request, "aggregation", "evalscript")
    if not isinstance(script, str):
        return dict(request)
    return {**request, "aggregation": {**request["aggregation"], "evalscript": _TAG_LINE.sub("", script)}}


def delivery_url(request: Mapping[str, Any]) -> str:
    """
    Return where results go, as a request says it.

    :param request: The request as the service describes it.
    """
    return str(part(request, "output", "s3", "url") or "")


def check_rerun(body: Mapping[str, Any]) -> None:
    """
    Check that features of a request could be run again alone: any can.

    :param body: The request.
    """


def rerun(body: Mapping[str, Any], what: Rerun) -> dict[str, Any]:
    """
    Return the request that runs some features of another one again.

    It asks for the same, of fewer features. Where these lost nothing but single intervals, it asks for no more than
    the span that holds them, provided that the intervals in it are cut as they were.

    :param body: The other request, with its evalscript in it.
    :param what: The features, where to write, and the intervals.
    """
    again = copy.deepcopy(dict(body))
    place = _place(again["output"])
    again["output"] = {"s3": {"url": what.delivery_url, **place}}
    again["input"]["features"] = {"s3": {"url": what.features_url, **place}}
    if what.span is not None:
        start, end = what.span
        shorter = {**again["aggregation"], "timeRange": {"from": written(start), "to": written(end)}}
        # Months from the 31st on are not: the one that begins on 28 February would end on 28 March if it were alone.
        alike = [each for each in cut(again["aggregation"]) if start <= each[0] and each[1] <= end]
        if alike and alike == cut(shorter) and alike[-1][1] == end:
            again["aggregation"] = shorter
    return again


def features_url(request: Mapping[str, Any]) -> str | None:
    """
    Return where the GeoPackage lies that a request takes its features from; ``None`` where it does not say.

    :param request: The request, also as the service describes it.
    """
    url = part(request, "input", "features", "s3", "url")
    return None if url is None else str(url)


def _place(storage: Mapping[str, Any]) -> dict[str, Any]:
    # Credentials are added anew when the request is sent; in answers of the service they are masked.
    return {key: storage["s3"][key] for key in ("region",) if key in storage["s3"]}
