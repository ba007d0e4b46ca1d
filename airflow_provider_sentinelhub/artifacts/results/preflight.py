"""Everything that can be known about a request offline: the client's rules, and those on URLs and credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.results.registry import DELIVERIES
from airflow_provider_sentinelhub.artifacts.storage.layout import (
    OUTPUT_ID,
    REQUEST_ID,
    TILE_NAME,
    is_shared,
)
from airflow_provider_sentinelhub.artifacts.storage.location import Location, without_secrets
from airflow_provider_sentinelhub.client.apis.registry import other_request_type, request_type
from airflow_provider_sentinelhub.client.as_json import as_json
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.models import from_text
from airflow_provider_sentinelhub.client.preflight.examine import Examined
from airflow_provider_sentinelhub.client.preflight.examine import examine as examine_with
from airflow_provider_sentinelhub.client.requests.findings import (
    Advice,
    Finding,
    Findings,
    Json,
    each_of,
    mapping,
    part,
)

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_sentinelhub.client.http.deployments import Deployment
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec

SECRET_FIELDS = ("iamRoleARN", "accessKey", "secretAccessKey", "credentials")


def examine(
    api: ApiSpec, request: Any, deployment: Deployment | None = None, sent_at: datetime | None = None
) -> Examined:
    """
    Find everything that is wrong with a request, all at once, without asking anybody.

    :param api: The API it is for.
    :param request: The service's own request as a dict, or as the JSON text of one; evalscripts as text. Values of
        other libraries are converted, see :func:`airflow_provider_sentinelhub.client.as_json.as_json`.
    :param deployment: Where it is going to be sent; ``None`` where that is not known.
    :param sent_at: When it is sent; ``None`` where it is only looked at: then templates may yet be rendered, and
        periods in the future may yet begin.
    """
    try:
        request = as_json(from_text(request))
    except InvalidParameter as e:
        return Examined({}, Findings(each_of(e)))
    if (mistaken := mistaken_request(api, request)) is not None:
        return Examined({}, Findings((mistaken,)))

    def check_storages(body: Json, _: Deployment | None) -> Iterator[Finding]:
        for path in api.storages:
            for kind, bucket in mapping(body, *path).items():
                if isinstance(bucket, Mapping):
                    yield from _check_bucket(api, body, (*path, kind), bucket)
        for field, url in api.by_policy(body):
            yield from _check_delivery(api, body, field, url)

    return examine_with(request, api.check, (check_storages, *api.rules), deployment, sent_at)


def mistaken_request(api: ApiSpec, request: Any) -> InvalidParameter | None:
    """
    Return the error of a request for another API or for a single image; ``None`` where it is not, or may not be.

    :param api: The API it was given to.
    :param request: A request of any shape, or its JSON text.
    """
    asked = from_text(request)
    holder = api.script_holder
    if holder and isinstance(asked, Mapping) and "evalscript" in asked and holder not in asked:
        rule = f"has its evalscript at the top, like a request for a single image; {api.title} has it elsewhere"
        single = request_type(asked).operator
        fix = f"Write it in {holder}, as in the examples of {api.operator}, or use {single} for a single image."
        return InvalidParameter("request", list(asked), rule, fix)
    if (other := other_request_type(api, asked)) is None:
        return None
    rule = f"is a request of {other.title}, and this is {api.title}"
    fix = f"Use {other.operator}, or {other.or_else}." if other.or_else else f"Use {other.operator}."
    return InvalidParameter("request", list(asked), rule, fix)


def _check_bucket(api: ApiSpec, body: Json, path: tuple[str, ...], bucket: Json) -> Iterator[Finding]:
    for name in SECRET_FIELDS:
        if name in bucket:
            yield InvalidParameter(
                ".".join((*path, name)),
                "***",
                "must not be in a request, where everybody who can see the DAG can read it",
                "Put it in the connection named by aws_conn_id or gcp_conn_id; it is added when the request is sent.",
            )
    url = bucket.get("url")
    if isinstance(url, str):
        yield from _check_url(api, body, path, url)


def _check_url(api: ApiSpec, body: Json, path: tuple[str, ...], url: str) -> Iterator[Finding]:
    field, kind = ".".join((*path, "url")), path[-1]
    if kind in {"s3", "gs"} and url.startswith(("s3://", "gs://")) and not url.startswith(f"{kind}://"):
        fix = f"Write {kind}://bucket/folder, or put it under {url[:2]}."
        yield InvalidParameter(field, without_secrets(url), f"is under {kind} and must start with {kind}://", fix)
    elif path[0] == "output":
        yield from _check_delivery(api, body, field, url)
    else:
        try:
            Location.parse(url, field=field)
        except InvalidParameter as e:
            yield e


def _check_delivery(api: ApiSpec, body: Json, field: str, url: str) -> Iterator[Finding]:
    """Check where results go; warn of a place to which another task may deliver as well."""
    try:
        DELIVERIES[api.key](body, field, url)
    except InvalidParameter as e:
        yield e
        return
    if part(body, "output", "type") == "zarr" or field.startswith("zarrOutput"):
        if REQUEST_ID not in url:
            fact = f"does not hold {REQUEST_ID}, but a Zarr needs an empty folder, so no second task can deliver there"
            yield Advice(field, fact, f"Write e.g. s3://bucket/folder/{REQUEST_ID}.")
        return
    # What is skipped is not replaced. Statistics of several tasks never share a file name by accident.
    is_replaced = part(body, "output", "skipExisting") is not True and TILE_NAME in url
    if is_replaced and is_shared(url):
        fact = f"does not hold {REQUEST_ID}, so another run or DAG that delivers there replaces the files of this one"
        yield Advice(field, fact, f"Write e.g. s3://bucket/{REQUEST_ID}/{TILE_NAME}/{OUTPUT_ID}.tif.")
