"""
Rules on where things are: which deployment can do what, where buckets and data lie, and what the distance costs.

Sources: https://docs.planet.com/develop/apis/batch-processing/ (deployments, data sources restrictions),
https://docs.planet.com/develop/apis/batch-statistical/ (deployments),
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html (delivery to other regions)
and https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Data.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.cost_factors import PU_PER_MB_TO_ANOTHER_REGION
from airflow_provider_sentinelhub.client.deployments import DEPLOYMENTS, Service
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.preflight.area import grid_of
from airflow_provider_sentinelhub.client.preflight.findings import Advice, Finding, Json, Rule, mapping, objects, part
from airflow_provider_sentinelhub.client.preflight.raster import makes_collection

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.deployments import Deployment

PU_PER_MB_TO_ANOTHER_CLOUD = 0.1
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+")
_CDSE = "cdse"
_AWS = ("aws-eu-central-1", "aws-us-west-2")
_CDSE_RESOLUTION = 30.0
_OWN_DATA = "; a batch reads data of its own deployment only"
_TITLES = {Service.BATCH_STATISTICAL: "Batch Statistical", Service.STATISTICAL: "Statistical"}

# Collections by the way their names begin, and the deployments whose documentation lists them.
_COLLECTIONS = {
    "sentinel-1": ("aws-eu-central-1", _CDSE),
    "s1grd": ("aws-eu-central-1", _CDSE),
    "sentinel-2": ("aws-eu-central-1", _CDSE),
    "s2l": ("aws-eu-central-1", _CDSE),
    "sentinel-3": (_CDSE,),
    "sentinel-5p": (_CDSE,),
    "landsat-ot-l1": ("aws-us-west-2", _CDSE),
    "landsat": ("aws-us-west-2",),
    "modis": ("aws-us-west-2",),
    "hls": ("aws-us-west-2",),
}


def check_places(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
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
    data = ("processRequest", "input", "data")
    yield from _check_data(".".join(data), objects(body, *data), deployment, _OWN_DATA)


def statistics_places(service: Service) -> Rule:
    """
    Return the rule that finds what the deployment cannot do, and what is far from it, in requests for statistics.

    :param service: The API they are for.
    """

    def check_places(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
        if deployment is None:
            return
        if service in deployment.lacks:
            others = " or ".join(
                each.title for each in DEPLOYMENTS.values() if each.base_url and service not in each.lacks
            )
            rule = f"has no {_TITLES[service]} API"
            yield InvalidParameter("deployment", deployment.title, rule, f"Use a connection to {others}.")
        region = part(body, "output", "s3", "region")
        if isinstance(region, str):
            yield from region_findings(body, region, deployment, "output.s3.region")
        why = _OWN_DATA if service is Service.BATCH_STATISTICAL else ""
        yield from _check_data("input.data", objects(body, "input", "data"), deployment, why)

    return check_places


def region_findings(
    body: Json, region: str, deployment: Deployment, field: str = "output.delivery.s3.region"
) -> Iterator[Finding]:
    """
    Say what it means that results are delivered to a bucket on S3 in some region.

    :param body: The request.
    :param region: Region of the bucket.
    :param deployment: Where the request is going to be sent.
    :param field: Where a request says that region.
    """
    if not deployment.region or region == deployment.region:
        return
    if not _REGION.fullmatch(region):
        meant = get_close_matches(region.lower(), [deployment.region], n=1, cutoff=0.8)
        fix = f"Write {meant[0]}." if meant else f"Write it as Amazon does, e.g. {deployment.region}."
        yield InvalidParameter(field, region, "is not the name of a region", fix)
        return
    if collection := makes_collection(body):
        rule = f"is not {deployment.region}, the region of {deployment.title}, and {collection} needs that"
        yield InvalidParameter(field, region, rule, f"Deliver to a bucket in {deployment.region}.")
        return
    yield _surcharge(field, f"the bucket is in {region}", PU_PER_MB_TO_ANOTHER_REGION, deployment)


def _check_delivery(body: Json, deployment: Deployment) -> Iterator[Finding]:
    region = part(body, "output", "delivery", "s3", "region")
    if isinstance(region, str):
        yield from region_findings(body, region, deployment)
    if mapping(body, "output", "delivery", "gs") and deployment.region:
        fact = "the bucket is on Google Cloud Storage"
        yield _surcharge("output.delivery.gs.url", fact, PU_PER_MB_TO_ANOTHER_CLOUD, deployment)


def _surcharge(field: str, fact: str, pu_per_mb: float, deployment: Deployment) -> Advice:
    return Advice(
        field,
        f"{fact}, the service in {deployment.region}; it charges {pu_per_mb:g} PU for each MB it delivers there, "
        f"{pu_per_mb * 1000:,.0f} PU for each GB",
        f"Deliver to a bucket on S3 in {deployment.region}, where delivery is free.",
    )


def _check_data(data: str, sources: list[Json], deployment: Deployment, why: str = "") -> Iterator[Finding]:
    for number, source in enumerate(sources):
        kind = str(source.get("type", ""))
        homes = next((homes for name, homes in _COLLECTIONS.items() if kind.lower().startswith(name)), None)
        if homes is not None and deployment.key in {_CDSE, *_AWS} and deployment.key not in homes:
            titles = " and ".join(DEPLOYMENTS[key].title for key in homes)
            yield Advice(
                f"{data}.{number}.type",
                f"{kind} is documented for {titles}, not for {deployment.title}{why}",
                "Send the request to the deployment that has the data.",
            )
