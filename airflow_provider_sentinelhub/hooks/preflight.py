"""What a request says, and what the buckets it names say, looked at before a task is created."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import (
    ArtifactMissing,
    InvalidConfiguration,
    InvalidParameter,
    StorageUnavailable,
)
from airflow_provider_sentinelhub.hooks.budget import tell_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.requests.findings import Finding
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

log = logging.getLogger(__name__)

OPT_OUT = "If the service can reach it and Airflow cannot, switch this check off with check_bucket=False."


def check_request(hook: SentinelHubBatchHook, request: Any) -> dict[str, Any]:
    """
    Find everything that is wrong with a request without asking anybody, log what is worth knowing, return the JSON.

    :param hook: Knows the API and, from its connection, the deployment.
    :param request: The service's own request as a dict, or as JSON text.
    :returns: The JSON to send, without credentials.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    from airflow_provider_sentinelhub.artifacts.results.preflight import examine

    examined = examine(hook.api, request, hook.address.deployment, datetime.now(UTC))
    for warning in examined.findings.warnings:
        log.warning("%s", warning)
    body = examined.accepted()
    tell_size(body)
    return body


def check_buckets(hook: SentinelHubBatchHook, body: Mapping[str, Any]) -> None:
    """
    Ask the buckets of a request whether they are there, take results, hold the features, and where they are.

    Three round trips at most for the delivery: an object written and deleted again, and the region asked for where
    the deployment has one. One more for a GeoPackage. What is worth knowing is logged.

    :param hook: Reaches the buckets, with the connections the service is given as well.
    :param body: What :func:`check_request` returned.
    :raises InvalidParameter: Names each bucket that said no, what it said, and what to do.
    :raises InvalidConfiguration: Airflow itself may not use the connection.
    :raises StorageUnavailable: A bucket could not be asked; that may pass.
    """
    from airflow_provider_sentinelhub.client.requests.findings import Findings

    found = Findings.of(_ask(hook, body))
    for warning in found.warnings:
        log.warning("%s", warning)
    found.raise_errors()


def _ask(hook: SentinelHubBatchHook, body: Mapping[str, Any]) -> Iterator[Finding]:
    from airflow_provider_sentinelhub.artifacts.storage.probe import probe_write
    from airflow_provider_sentinelhub.client.requests.findings import mapping

    for path in hook.api.storages:
        for kind, bucket in mapping(body, *path).items():
            field, url = ".".join((*path, kind, "url")), bucket["url"]
            parameter = "aws_conn_id" if kind == "s3" else "gcp_conn_id"
            conn_id = getattr(hook, parameter)
            if conn_id is None:
                rule = f"is needed for {field} = {url!r}"
                yield InvalidParameter(parameter, None, rule, "Set it to the id of a connection.")
                continue
            try:
                if path[0] == "output":
                    probe_write(hook.storage, url)
                else:
                    hook.storage.head(url)
            except (StorageUnavailable, ArtifactMissing) as e:
                yield _refusal(field, url, conn_id, e, OPT_OUT)
            except InvalidConfiguration as e:
                raise InvalidConfiguration(f"{e} {OPT_OUT}") from e
            if path[0] == "output" and kind == "s3":
                yield from _check_region(hook, body, (*path, kind), bucket)


def check_writable(storage: Storage, field: str, url: str, conn_id: str | None) -> None:
    """
    Ask a bucket whether it takes what is going to be written there.

    :param storage: Reaches the bucket.
    :param field: Which parameter names the place.
    :param url: The place: a folder, or a template.
    :param conn_id: The connection that is used.
    :raises InvalidParameter: It said no.
    :raises StorageUnavailable: It could not be asked; that may pass.
    """
    from airflow_provider_sentinelhub.artifacts.storage.probe import probe_write

    try:
        probe_write(storage, url)
    except StorageUnavailable as e:
        raise _refusal(field, url, conn_id, e, "Let it write there, or write elsewhere.") from e


def _refusal(
    field: str, url: str, conn_id: str | None, error: StorageUnavailable | ArtifactMissing, fix: str
) -> InvalidParameter:
    """
    Return what a bucket's refusal means for a request.

    :raises StorageUnavailable: It was none: the bucket could not be asked.
    """
    from airflow_provider_sentinelhub.artifacts.storage.errors import answer_of

    if isinstance(error, ArtifactMissing):
        return InvalidParameter(field, url, "does not exist", "Write the GeoPackage first, or correct the URL.")
    if (answer := answer_of(error)) is None or not answer.is_refusal:
        raise error
    rule = f"the bucket says no to connection {conn_id!r}. {error}".rstrip(".")
    return InvalidParameter(field, url, rule, fix)


def _check_region(
    hook: SentinelHubBatchHook, body: Mapping[str, Any], path: tuple[str, ...], bucket: Mapping[str, Any]
) -> Iterator[Finding]:
    from airflow_provider_sentinelhub.artifacts.storage.probe import bucket_region
    from airflow_provider_sentinelhub.client.preflight.regions import region_findings

    deployment = hook.address.deployment
    if not deployment.region:
        return
    name = bucket["url"].partition("://")[2].partition("/")[0]
    region = bucket_region(name, hook.storage.options_for("s3").endpoint_url)
    if region is None:
        return
    field, stated = ".".join((*path, "region")), bucket.get("region")
    if region != (stated or deployment.region):
        said = "is not" if stated else "is absent, which stands for the deployment's own, and not for"
        rule = f"{said} {region}, where the bucket is"
        yield InvalidParameter(field, stated, rule, f'Write "region": "{region}" beside the url.')
    if region != stated:
        yield from region_findings(body, region, deployment, field=field)
