"""
Async Process: rules on a request before it is sent.

Source: https://docs.planet.com/develop/apis/async-processing/ (limits, delivery)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.costs.surcharge import PU_PER_MB_TO_ANOTHER_CLOUD
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS, Service
from airflow_provider_sentinelhub.client.preflight.area import Area
from airflow_provider_sentinelhub.client.preflight.data import data_rule
from airflow_provider_sentinelhub.client.preflight.images import check_image_outputs
from airflow_provider_sentinelhub.client.preflight.regions import (
    check_sources,
    region_findings,
    surcharge,
)
from airflow_provider_sentinelhub.client.requests.crs import WGS84
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, Rule, mapping, objects, part
from airflow_provider_sentinelhub.client.requests.raster import Raster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

MAX_PX: Final = 10_000
"""Maximum width and height of an image."""
_SMALL_PX: Final = 2500
_WAYS = (
    "For larger images use SentinelHubBatchProcessOperator, which has no such limit; or map this operator over parts "
    "of the area"
)


def check_area(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find an area that is missing, or cannot be read.

    :param body: The request.
    :param deployment: Not used.
    """
    area = Area.of(body, "input", "bounds")
    if area.is_empty:
        yield InvalidParameter(area.field, None, "is required", "Add a bbox or a geometry.")
        return
    yield from area.check(objects(body, "input", "data"))


def check_size(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find an image that is too large, and one that is so small that it could be had at once.

    :param body: The request.
    :param deployment: Not used.
    """
    output = mapping(body, "output")
    raster = Raster.of(mapping(body, "input", "bounds"), output)
    if raster is None:
        return
    west, south, east, north = raster.box
    sides = (("width", "resx", raster.width, east - west), ("height", "resy", raster.height, north - south))
    for side, resolution, pixels, extent in sides:
        if pixels <= MAX_PX:
            continue
        if (step := output.get(resolution)) is None:
            rule = f"is more than {MAX_PX:,} pixels, the most in one request"
            yield InvalidParameter(f"output.{side}", pixels, rule, f"Write {MAX_PX} or less. {_WAYS}.")
        else:
            unit = "degrees" if raster.epsg == WGS84 else "metres"
            rule = f"makes the {side} {pixels:,} pixels, and {MAX_PX:,} is the most in one request; its unit is {unit}"
            yield InvalidParameter(f"output.{resolution}", step, rule, f"Write {extent / MAX_PX:.6g} or more. {_WAYS}.")
    if max(raster.width, raster.height) <= _SMALL_PX:
        fact = f"{raster.width:,} x {raster.height:,} pixels can be had at once, without the minimum charge of 10 PU"
        yield Advice("output", fact, "Consider SentinelHubProcessOperator.")


def check_deployment(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
    """
    Find what the deployment does not support, and what is far from it.

    :param body: The request.
    :param deployment: Where it will be sent; ``None`` if that is not known.
    """
    if deployment is None:
        return
    if Service.ASYNC_PROCESS in deployment.lacks:
        others = " or ".join(each.title for each in DEPLOYMENTS.values() if Service.ASYNC_PROCESS not in each.lacks)
        rule = "has no Async Process API"
        yield InvalidParameter("deployment", deployment.title, rule, f"Use a connection to {others}.")
    for path in (("output", "delivery"), ("evalscriptReference",)):
        if mapping(body, *path, "gs") and not deployment.delivers_to_gcs:
            rule = f"is on Google Cloud Storage, which {deployment.title} does not support"
            url = part(body, *path, "gs", "url")
            yield InvalidParameter(f"{'.'.join(path)}.gs.url", url, rule, "Use a bucket on S3.")
    region = part(body, "output", "delivery", "s3", "region")
    if isinstance(region, str):
        yield from region_findings(body, region, deployment, "output.delivery.s3.region")
    if mapping(body, "output", "delivery", "gs") and deployment.region:
        fact = "the bucket is on Google Cloud Storage"
        yield surcharge("output.delivery.gs.url", fact, PU_PER_MB_TO_ANOTHER_CLOUD, deployment)
    yield from check_sources("input.data", objects(body, "input", "data"), deployment)


RULES: Final[tuple[Rule, ...]] = (
    check_area,
    data_rule("input", "data"),
    check_size,
    check_image_outputs,
    check_deployment,
)
