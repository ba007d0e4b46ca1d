"""
Batch Processing V2: what can be known about a request before it is sent.

Source: https://docs.planet.com/develop/apis/batch-processing/ (deployments, data sources restrictions)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from airflow_provider_sentinelhub.client.preflight.area import check_area, grid_of
from airflow_provider_sentinelhub.client.preflight.data import data_rule
from airflow_provider_sentinelhub.client.preflight.outputs import DATA, check_outputs
from airflow_provider_sentinelhub.client.preflight.raster import check_raster
from airflow_provider_sentinelhub.client.preflight.regions import (
    OWN_DATA,
    PU_PER_MB_TO_ANOTHER_CLOUD,
    check_sources,
    region_findings,
    surcharge,
)
from airflow_provider_sentinelhub.client.preflight.zarr import check_zarr
from airflow_provider_sentinelhub.client.requests.findings import Finding, Json, Rule, mapping, objects, part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

_CDSE = "cdse"
_AWS = ("aws-eu-central-1", "aws-us-west-2")
_CDSE_RESOLUTION = 30.0


def check_region(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
    """
    Find what the deployment cannot do, and what is far from it.

    :param body: The request.
    :param deployment: Where it is going to be sent; ``None`` where that is not known, and nothing is found.
    """
    if deployment is None:
        return
    grid, resolution = grid_of(body), part(body, "input", "resolution")
    if grid is not None and resolution == _CDSE_RESOLUTION and deployment.key in _AWS:
        others = ", ".join(f"{each:g}" for each in grid.resolutions if each != _CDSE_RESOLUTION)
        rule = f"exists on {DEPLOYMENTS[_CDSE].title} only, and this goes to {deployment.title}"
        yield InvalidParameter("input.resolution", resolution, rule, f"Choose one of {others}.")
    for place in (("output", "delivery"), ("input", "features")):
        if mapping(body, *place, "gs") and not deployment.delivers_to_gcs:
            rule = f"is on Google Cloud Storage, which {deployment.title} does not reach"
            url = part(body, *place, "gs", "url")
            yield InvalidParameter(f"{'.'.join(place)}.gs.url", url, rule, "Use a bucket on S3.")
    yield from _check_delivery(body, deployment)
    yield from check_sources(".".join(DATA), objects(body, *DATA), deployment, OWN_DATA)


def _check_delivery(body: Json, deployment: Deployment) -> Iterator[Finding]:
    region = part(body, "output", "delivery", "s3", "region")
    if isinstance(region, str):
        yield from region_findings(body, region, deployment, "output.delivery.s3.region")
    if mapping(body, "output", "delivery", "gs") and deployment.region:
        fact = "the bucket is on Google Cloud Storage"
        yield surcharge("output.delivery.gs.url", fact, PU_PER_MB_TO_ANOTHER_CLOUD, deployment)


RULES: Final[tuple[Rule, ...]] = (
    check_area,
    data_rule(*DATA),
    check_outputs,
    check_raster,
    check_zarr,
    check_region,
)
