"""
Rules on deployments and regions: what a deployment supports, where buckets and data are, and what transfer costs.

Sources: https://docs.planet.com/develop/apis/batch-processing/ (deployments, data sources restrictions),
https://docs.planet.com/develop/apis/batch-statistical/ (deployments),
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html (delivery to other regions)
and https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Data.html
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.costs.surcharge import PU_PER_MB_TO_ANOTHER_REGION
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS, Service
from airflow_provider_sentinelhub.client.preflight.formats import makes_collection
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, Rule, objects, part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+")
_CDSE = "cdse"
_AWS = ("aws-eu-central-1", "aws-us-west-2")
OWN_DATA = "; a batch can only read data of its own deployment"
"""The consequence of data in another deployment for a task."""

# Collections by prefix, and the deployments whose documentation lists them.
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


def statistics_region(service: Service, title: str, elsewhere: str = "") -> Rule:
    """
    Return the rule that finds what the deployment does not support, and what is far from it, for statistics.

    :param service: The API.
    :param title: Its name.
    :param elsewhere: The consequence of data in another deployment.
    """

    def check_region(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
        if deployment is None:
            return
        if service in deployment.lacks:
            others = " or ".join(
                each.title for each in DEPLOYMENTS.values() if each.base_url and service not in each.lacks
            )
            rule = f"has no {title} API"
            yield InvalidParameter("deployment", deployment.title, rule, f"Use a connection to {others}.")
        region = part(body, "output", "s3", "region")
        if isinstance(region, str):
            yield from region_findings(body, region, deployment, "output.s3.region")
        yield from check_sources("input.data", objects(body, "input", "data"), deployment, elsewhere)

    return check_region


def region_findings(body: Json, region: str, deployment: Deployment, field: str) -> Iterator[Finding]:
    """
    Find the consequences of delivering to a bucket on S3 in a region.

    :param body: The request.
    :param region: Region of the bucket.
    :param deployment: Where the request will be sent.
    :param field: Path of the region in the request.
    """
    if not deployment.region or region == deployment.region:
        return
    if not _REGION.fullmatch(region):
        meant = get_close_matches(region.lower(), [deployment.region], n=1, cutoff=0.8)
        fix = f"Write {meant[0]}." if meant else f"Write it as AWS does, e.g. {deployment.region}."
        yield InvalidParameter(field, region, "is not the name of a region", fix)
        return
    if collection := makes_collection(body):
        rule = f"is not {deployment.region}, the region of {deployment.title}, but {collection} requires that"
        yield InvalidParameter(field, region, rule, f"Deliver to a bucket in {deployment.region}.")
        return
    yield surcharge(field, f"the bucket is in {region}", PU_PER_MB_TO_ANOTHER_REGION, deployment)


def surcharge(field: str, fact: str, pu_per_mb: float, deployment: Deployment) -> Advice:
    """
    Return the warning that delivery is not free.

    :param field: Path of the location in the request.
    :param fact: Where the bucket is.
    :param pu_per_mb: Processing units (PU) per MB.
    :param deployment: Where the request will be sent.
    """
    return Advice(
        field,
        f"{fact}, the service in {deployment.region}; it charges {pu_per_mb:g} PU for each MB it delivers there, "
        f"{pu_per_mb * 1000:,.0f} PU for each GB",
        f"Deliver to a bucket on S3 in {deployment.region}, where delivery is free.",
    )


def check_sources(data: str, sources: list[Json], deployment: Deployment, why: str = "") -> Iterator[Finding]:
    """
    Find data sources that only another deployment has.

    A task cannot read them, so that is an error. For a request that is answered at once it is a warning.

    :param data: Path of the data sources in the request.
    :param sources: The data sources.
    :param deployment: Where the request will be sent.
    :param why: The consequence for a task. Default: it is none.
    """
    for number, source in enumerate(sources):
        kind = str(source.get("type", ""))
        homes = next((homes for name, homes in _COLLECTIONS.items() if kind.lower().startswith(name)), None)
        if homes is not None and deployment.key in {_CDSE, *_AWS} and deployment.key not in homes:
            titles = " and ".join(DEPLOYMENTS[key].title for key in homes)
            field, fact = f"{data}.{number}.type", f"is documented for {titles}, not for {deployment.title}{why}"
            if why:
                fix = f"Send the request with a connection to {' or '.join(DEPLOYMENTS[key].title for key in homes)}."
                yield InvalidParameter(field, kind, fact, fix)
            else:
                yield Advice(field, f"{kind} {fact}", "Send the request to the deployment that has the data.")
