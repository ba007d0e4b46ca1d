"""Requests as they are sent: checked, and with the credentials that a DAG must not hold."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidParameter

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.batch import BatchApi
    from airflow_provider_sentinelhub.client.deployments import Deployment

_SECRET_FIELDS = ("iamRoleARN", "accessKey", "secretAccessKey", "credentials")


def prepare(api: BatchApi, request: Any) -> dict[str, Any]:
    """
    Check a request, and return the JSON to send, without credentials.

    :param api: The API.
    :param request: The service's own request as a dict, or as JSON text.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    body = api.check(request)
    for path in api.storages:
        for kind, bucket in _storage_at(body, path).items():
            for name in _SECRET_FIELDS:
                if name in bucket:
                    raise InvalidParameter(
                        ".".join((*path, kind, name)),
                        "***",
                        "must not stand in a request, where everybody who can see the DAG can read it",
                        "Put it in the connection named by aws_conn_id or gcp_conn_id; it is added when the "
                        "request is sent.",
                    )
            _check_url(body, path, kind, bucket["url"])
    return body


def with_credentials(
    api: BatchApi,
    body: Mapping[str, Any],
    aws_conn_id: str | None,
    gcp_conn_id: str | None,
    deployment: Deployment,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """
    Return a copy of a request with the credentials of connections in it, and those credentials.

    :param api: The API.
    :param body: What :func:`prepare` returned.
    :param aws_conn_id: The AWS connection, for buckets on S3.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage.
    :param deployment: Where the request goes.
    :raises InvalidConfiguration: A connection is missing or holds nothing that the service could use.
    """
    from airflow_provider_sentinelhub.hooks import connections

    complete = copy.deepcopy(dict(body))
    secrets: list[str] = []
    for path in api.storages:
        for kind, bucket in _storage_at(complete, path).items():
            if kind == "s3":
                facts = connections.ConnectionFacts.read(needed(aws_conn_id, "aws_conn_id"))
                credentials = connections.s3_delivery_credentials(facts, deployment)
            else:
                facts = connections.ConnectionFacts.read(needed(gcp_conn_id, "gcp_conn_id"))
                credentials = connections.gcs_delivery_credentials(facts, deployment)
            bucket.update(credentials)
            secrets.extend(credentials.values())
    return complete, tuple(secrets)


def without_credentials(api: BatchApi, request: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a copy of a request as the service describes it, without masked credentials and description.

    :param api: The API.
    :param request: ``request`` of a task.
    """
    body = copy.deepcopy(dict(request))
    body.pop("description", None)
    for path in api.storages:
        for bucket in _storage_at(body, path).values():
            for name in _SECRET_FIELDS:
                bucket.pop(name, None)
    return body


def _check_url(body: Mapping[str, Any], path: tuple[str, ...], kind: str, url: str) -> None:
    from airflow_provider_sentinelhub.artifacts.layout import DeliveryUrl
    from airflow_provider_sentinelhub.artifacts.location import Location

    field = ".".join((*path, kind, "url"))
    if path[0] == "output":
        outputs = body["processRequest"].get("output", {}).get("responses") or [{}]
        DeliveryUrl.parse(url, field=field, outputs=len(outputs), zarr=body["output"].get("type") == "zarr")
    else:
        Location.parse(url, field=field)


def needed(conn_id: str | None, parameter: str) -> str:
    """
    Return the id of a connection that is needed.

    :param conn_id: What the user gave.
    :param parameter: The parameter it was given as.
    :raises InvalidConfiguration: It was not given.
    """
    if conn_id is None:
        raise InvalidConfiguration(f"{parameter} is needed to reach the bucket. Name a connection there.")
    return conn_id


def _storage_at(body: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    place: Any = body
    for step in path:
        place = place.get(step) if isinstance(place, Mapping) else None
    return place if isinstance(place, dict) else {}
