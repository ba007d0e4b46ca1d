"""Credentials in requests: added when a request is sent, because a DAG must not hold them, and removed afterwards."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidRequest

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.deployments import Deployment
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec, TaskApiSpec


def with_credentials(
    api: ApiSpec,
    body: Mapping[str, Any],
    aws_conn_id: str | None,
    gcp_conn_id: str | None,
    deployment: Deployment,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """
    Return a copy of a request with the credentials of the connections, and those credentials.

    :param api: The API.
    :param body: A checked request.
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
                given = connections.s3_delivery_credentials(facts, deployment)
            else:
                facts = connections.ConnectionFacts.read(needed(gcp_conn_id, "gcp_conn_id"))
                given = connections.gcs_delivery_credentials(facts, deployment)
            bucket.update(given)
            secrets.extend(given.values())
    return complete, tuple(secrets)


def without_credentials(api: TaskApiSpec, request: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a copy of a request as the service describes it, without masked credentials and without its tag.

    :param api: The API.
    :param request: ``request`` of a task.
    """
    from airflow_provider_sentinelhub.artifacts.results.preflight import SECRET_FIELDS

    body = copy.deepcopy(api.untagged(request))
    for path in api.storages:
        for bucket in _storage_at(body, path).values():
            for name in SECRET_FIELDS:
                bucket.pop(name, None)
    return body


def explained(
    error: InvalidRequest, aws_conn_id: str | None, gcp_conn_id: str | None, *, role: str = "", account: str = ""
) -> InvalidRequest:
    """
    Return a refusal that names the connection whose credentials were refused; other refusals unchanged.

    :param error: The service's answer.
    :param aws_conn_id: The AWS connection.
    :param gcp_conn_id: The Google Cloud connection.
    :param role: The role that the service was given. Default: none.
    :param account: The AWS account with which the service assumes roles. Default: not known.
    """
    named = " ".join(found.parameter for found in error.violations)
    if "->s3" not in named and "->gs" not in named:
        return error
    used = aws_conn_id if "->s3" in named else gcp_conn_id
    given = (
        f"The service was given what connection {used!r} holds: check its role or keys, what they may do in this "
        "bucket, and the bucket's name and region."
    )
    if role and "->s3" in named:
        who = f"AWS account {account}" if account else "the service's AWS account"
        given += (
            f" The trust policy of {role} must let {who} assume it, with the id of your Sentinel Hub account as "
            "external id; see docs/roles.md."
        )
    if all(found.parameter.endswith("->url") for found in error.violations):
        given = f"Check that this is the address that was meant. {given}"
    return InvalidRequest(
        f"{error}\n{given}",
        status=error.status,
        code=error.code,
        violations=error.violations,
    )


def explained_by_policy(api: ApiSpec, body: Mapping[str, Any], error: InvalidRequest) -> InvalidRequest:
    """
    Return a refusal that names the policy of the bucket that was refused; other refusals unchanged.

    :param api: The API.
    :param body: The request.
    :param error: The service's answer.
    """
    named = {found.parameter.replace("->", ".") for found in error.violations}
    if not named & {field for field, _ in api.by_policy(body)}:
        return error
    return InvalidRequest(
        f"{error}\nThe service was given no credentials: the policy of the bucket must let it in, see docs/roles.md. "
        "Check the policy, and the bucket's name and region.",
        status=error.status,
        code=error.code,
        violations=error.violations,
    )


def role_in(api: ApiSpec, request: Mapping[str, Any]) -> str:
    """
    Return the role that a request names for a bucket; empty if it names none.

    :param api: The API.
    :param request: What :func:`with_credentials` returned.
    """
    buckets = (bucket for path in api.storages for bucket in _storage_at(request, path).values())
    return next((str(bucket["iamRoleARN"]) for bucket in buckets if "iamRoleARN" in bucket), "")


def needed(conn_id: str | None, parameter: str) -> str:
    """
    Return the id of a required connection.

    :param conn_id: The id, if the user gave one.
    :param parameter: The operator's parameter for it.
    :raises InvalidConfiguration: It was not given.
    """
    if conn_id is None:
        raise InvalidConfiguration(f"{parameter} is needed to reach the bucket. Set it to the id of a connection.")
    return conn_id


def _storage_at(body: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    place: Any = body
    for step in path:
        place = place.get(step) if isinstance(place, Mapping) else None
    return place if isinstance(place, dict) else {}
