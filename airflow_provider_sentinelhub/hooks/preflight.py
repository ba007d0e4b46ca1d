"""Checks of a request and of the buckets it names, before a task is created."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow_provider_sentinelhub.client.errors import (
    ApiError,
    ArtifactMissing,
    InvalidConfiguration,
    InvalidParameter,
    NotFound,
    StorageUnavailable,
)
from airflow_provider_sentinelhub.client.requests.findings import Advice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_sentinelhub.artifacts.features.size import InputSize
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.http.call import Call
    from airflow_provider_sentinelhub.client.http.deployments import Deployment, ServiceAddress
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec
    from airflow_provider_sentinelhub.client.requests.findings import Finding

log = logging.getLogger(__name__)
T = TypeVar("T")

OPT_OUT = "If the service can reach it and Airflow cannot, switch this check off with check_bucket=False."


class Reaches(Protocol):
    """The part of a hook that the check of the buckets needs."""

    @property
    def api(self) -> ApiSpec:
        """The API."""

    @property
    def address(self) -> ServiceAddress:
        """Address of the service."""

    @property
    def storage(self) -> Storage:
        """The buckets."""

    def send(self, call: Call[T], /) -> T:
        """Send a Call."""

    @property
    def aws_conn_id(self) -> str | None:
        """The AWS connection."""

    @property
    def gcp_conn_id(self) -> str | None:
        """The Google Cloud connection."""


def check_request(api: ApiSpec, request: Any, deployment: Deployment) -> dict[str, Any]:
    """
    Find everything that is wrong with a request, without network; log warnings and return the JSON to send.

    :param api: The API.
    :param request: The service's own request as a dict, or as JSON text.
    :param deployment: The deployment it is sent to.
    :returns: The JSON to send, without credentials.
    :raises InvalidParameter: Names each invalid field, its value, the rule and the fix.
    """
    from airflow_provider_sentinelhub.artifacts.results.preflight import examine
    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec

    examined = examine(api, request, deployment, datetime.now(UTC))
    for warning in examined.findings.warnings:
        log.warning("%s", warning)
    body = examined.accepted()
    if isinstance(api, TaskApiSpec):
        tell_size(api, body)
    return body


def tell_size(api: ApiSpec, body: Mapping[str, Any], measured: InputSize | None = None) -> None:
    """
    Log the size and the location of a request's area: typing errors show there first.

    :param api: The API.
    :param body: The request.
    :param measured: Its input features, if they were read.
    """
    from airflow_provider_sentinelhub.client.preflight.area import Area

    area = Area.of(body, *api.input, "bounds").extent
    if measured is None and area is not None:
        log.info("Area of interest: %s", area.text())
    if measured is not None:
        log.info("Input features: %s", measured.text())
        if area is not None and measured.extent is not None and not area.meets(measured.extent):
            log.warning("The features lie outside of the area of interest, which is %s. Check both.", area.text())


def check_references(hook: Reaches, body: Mapping[str, Any]) -> None:
    """
    Read what a request refers to at the service, and check that the request fits it; warnings are logged.

    One request for each reference; they cost nothing. If one cannot be read, that is a warning.

    :param hook: Reaches the service.
    :param body: What :func:`check_request` returned.
    :raises InvalidParameter: Names what does not exist and what does not fit.
    """
    from airflow_provider_sentinelhub.client.requests.findings import Findings

    found = Findings.of(_look_up(hook, body))
    for warning in found.warnings:
        log.warning("%s", warning)
    found.raise_errors()


def _look_up(hook: Reaches, body: Mapping[str, Any]) -> Iterator[Finding]:
    for each in hook.api.lookups(body):
        try:
            answer = hook.send(each.call)
        except ApiError as e:
            # Another deployment, such as the simulator, need not have what is read here.
            if isinstance(e, NotFound) and hook.address.deployment.base_url:
                rule = f"does not exist on {hook.address.deployment.title}, or not in this account"
                yield InvalidParameter(each.field, each.value, rule, "Correct the id, or the connection.")
            else:
                fact = f"{each.value} could not be read, so the request was not compared with it. {e}".rstrip(".")
                yield Advice(each.field, fact, "Compare them yourself.")
        else:
            yield from each.compare(answer)


def check_buckets(hook: Reaches, body: Mapping[str, Any]) -> None:
    """
    Check that the buckets of a request exist, can be written, contain the input features, and are where it says.

    At most five round trips for the delivery: an object is written, read, listed and deleted, and the bucket's region
    is read if the deployment has one. One more for a GeoPackage. Warnings are logged.

    :param hook: Opens the buckets, with the connections whose credentials the service gets.
    :param body: What :func:`check_request` returned.
    :raises InvalidParameter: Names each bucket that refused access, its answer, and the fix.
    :raises InvalidConfiguration: Airflow cannot use the connection.
    :raises StorageUnavailable: A bucket could not be reached; a retry may help.
    """
    from airflow_provider_sentinelhub.client.requests.findings import Findings

    found = Findings.of(_ask(hook, body))
    for warning in found.warnings:
        log.warning("%s", warning)
    found.raise_errors()


def _ask(hook: Reaches, body: Mapping[str, Any]) -> Iterator[Finding]:
    from airflow_provider_sentinelhub.client.requests.findings import mapping

    for path in hook.api.storages:
        for kind, bucket in mapping(body, *path).items():
            is_written = path[0] == "output"
            yield from _reach(hook, ".".join((*path, kind, "url")), bucket["url"], is_written=is_written)
            if is_written and kind == "s3" and hook.aws_conn_id is not None:
                yield from _check_region(hook, body, (*path, kind), bucket)
    for field, url in hook.api.by_policy(body):
        yield from _reach(hook, field, url, is_written=True)


def _reach(hook: Reaches, field: str, url: str, *, is_written: bool) -> Iterator[Finding]:
    from airflow_provider_sentinelhub.artifacts.storage.probe import probe_bucket

    parameter = "gcp_conn_id" if url.startswith("gs://") else "aws_conn_id"
    conn_id = getattr(hook, parameter)
    if conn_id is None:
        rule = f"is needed for {field} = {url!r}"
        yield InvalidParameter(parameter, None, rule, "Set it to the id of a connection.")
        return
    try:
        if is_written:
            probe_bucket(hook.storage, url)
        else:
            hook.storage.head(url)
    except (StorageUnavailable, ArtifactMissing) as e:
        yield _refusal(field, url, conn_id, e, OPT_OUT)
    except InvalidConfiguration as e:
        raise InvalidConfiguration(f"{e} {OPT_OUT}") from e


def check_writable(storage: Storage, field: str, url: str, conn_id: str | None) -> None:
    """
    Check that a bucket can be written.

    :param storage: Opens the bucket.
    :param field: The parameter that names the URL.
    :param url: A folder, or a URL template.
    :param conn_id: The connection.
    :raises InvalidParameter: It refused access.
    :raises StorageUnavailable: It could not be reached; a retry may help.
    """
    from airflow_provider_sentinelhub.artifacts.storage.probe import probe_bucket

    try:
        probe_bucket(storage, url)
    except StorageUnavailable as e:
        raise _refusal(field, url, conn_id, e, "Grant it write access, or write elsewhere.") from e


def _refusal(
    field: str, url: str, conn_id: str | None, error: StorageUnavailable | ArtifactMissing, fix: str
) -> InvalidParameter:
    """
    Return the error for a bucket that refused access.

    :raises StorageUnavailable: It did not refuse: it could not be reached.
    """
    from airflow_provider_sentinelhub.artifacts.storage.errors import answer_of

    if isinstance(error, ArtifactMissing):
        return InvalidParameter(field, url, "does not exist", "Write the GeoPackage first, or correct the URL.")
    if (answer := answer_of(error)) is None or not answer.is_refusal:
        raise error
    rule = f"the bucket refused connection {conn_id!r}. {error}".rstrip(".")
    return InvalidParameter(field, url, rule, fix)


def _check_region(
    hook: Reaches, body: Mapping[str, Any], path: tuple[str, ...], bucket: Mapping[str, Any]
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
        said = "is not" if stated else "is absent, which means the deployment's own, and not for"
        rule = f"{said} {region}, where the bucket is"
        yield InvalidParameter(field, stated, rule, f'Write "region": "{region}" beside the url.')
    if region != stated:
        yield from region_findings(body, region, deployment, field=field)
