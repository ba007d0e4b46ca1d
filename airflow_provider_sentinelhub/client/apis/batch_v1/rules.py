"""
Batch Processing V1: rules on a request before it is sent.

What the two versions share is found by the rules of V2 in the same request of V2, and told with the fields of V1.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html and its API reference
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.apis.batch_v1.calls import by_policy
from airflow_provider_sentinelhub.client.apis.batch_v1.convert import (
    OUTPUT,
    in_v2_form,
    place_of,
    renamed,
    url_of,
    v1_field,
)
from airflow_provider_sentinelhub.client.apis.batch_v2.rules import RULES as RULES_OF_V2
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.preflight.area import Area, grid_of
from airflow_provider_sentinelhub.client.preflight.outputs import EVALSCRIPT, RESPONSES, TIFF, Asked
from airflow_provider_sentinelhub.client.requests.crs import WGS84
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, Rule, mapping, objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment
    from airflow_provider_sentinelhub.client.requests.extent import Extent
    from airflow_provider_sentinelhub.client.requests.tiling_grids import TilingGrid

REQUEST_ID: Final = "<requestId>"
MANY_FILES: Final = 5_000
"""From this number of files on, the service does not look for files that exist already."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_COLLECTION: Final = ("createCollection", "collectionId")
_FREE_COG: Final = "resamplingAlgorithm"
_KM_OF_DEGREE: Final = 111.2
_M2_OF_KM2: Final = 1e6


def check_end(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Say that the service has announced the end of this API.

    :param body: Not used.
    :param deployment: Not used.
    """
    fact = (
        "is for Batch Processing V1, and the service has announced its end: it is no longer in the reference of the "
        "AWS deployments (2026), and was last seen on Copernicus Data Space Ecosystem in March 2025, as deprecated"
    )
    yield Advice("request", fact, "Convert it to Batch Processing V2 with: airflow sentinelhub convert.")


def check_policy(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
    """
    Say which policy the bucket needs, because a request has no credentials.

    :param body: The request.
    :param deployment: Where it will be sent; ``None`` if that is not known.
    """
    if where := place_of(body):
        account = deployment.account if deployment else ""
        who = f"the service (arn:aws:iam::{account}:root)" if account else "the service"
        fact = (
            f"{who} delivers by the policy of the bucket, because requests of Batch Processing V1 hold no credentials"
        )
        actions = "s3:GetBucketLocation, s3:ListBucket, s3:GetObject and s3:PutObject"
        yield Advice(where, fact, f"Let that policy allow it {actions}, see docs/roles.md.")


def check_storage(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find results that are to be delivered to another storage than S3.

    :param body: The request.
    :param deployment: Not used.
    """
    for field, url in by_policy(body):
        if url.startswith("gs://"):
            rule = "is on Google Cloud Storage, to which Batch Processing V1 does not deliver"
            yield InvalidParameter(field, url, rule, "Use a bucket on S3.")


def check_many_files(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find a task that is too large for the service to look for files that exist already, and would need that.

    :param body: The request.
    :param deployment: Not used.
    """
    where, url, output = place_of(body), url_of(body), mapping(body, OUTPUT)
    is_shared = isinstance(url, str) and "<" in url and REQUEST_ID not in url
    if not where.startswith(OUTPUT) or not is_shared:
        return
    if output.get("overwrite") is True and output.get("skipExisting") is not True:
        return
    as_v2 = in_v2_form(body)
    grid, extent = grid_of(as_v2), Area.of(as_v2, "processRequest", "input", "bounds").extent
    if grid is None or extent is None:
        return
    files = _least_tiles(extent, grid) * len(Asked(as_v2).formats)
    if files >= MANY_FILES:
        rule = (
            f"may be the path of other tasks as well, and this one writes some {files:,} files or more: with "
            f"{MANY_FILES:,} or more the service cannot find out whether they exist"
        )
        fix = (
            f"Add {REQUEST_ID}, give a folder without placeholders, or set overwrite to true and skipExisting to false."
        )
        yield InvalidParameter(where, url, rule, fix)


def check_paths(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find paths for outputs that the request does not ask for.

    :param body: The request.
    :param deployment: Not used.
    """
    known = Asked(in_v2_form(body)).formats
    for number, each in enumerate(objects(body, OUTPUT, "responses")):
        name = each.get("identifier")
        if isinstance(name, str) and "{" not in name and name not in known:
            rule = "is not an output that processRequest.output.responses asks for"
            fix = f"Write one of {', '.join(known)}, or remove this path."
            yield InvalidParameter(f"{OUTPUT}.responses.{number}.identifier", name, rule, fix)


def _least_tiles(extent: Extent, grid: TilingGrid) -> int:
    """Return how many tiles an area fills; it usually meets more."""
    if grid.crs == f"EPSG:{WGS84}":
        if extent.epsg != WGS84:
            return 0
        # A degree of longitude is longest where the area is nearest to the equator.
        nearest = 0.0 if extent.sides[1] <= 0 <= extent.sides[3] else min(abs(extent.sides[1]), abs(extent.sides[3]))
        km2 = _KM_OF_DEGREE**2 * math.cos(math.radians(nearest)) * grid.tile_size**2
    else:
        km2 = grid.tile_size**2 / _M2_OF_KM2
    return int(extent.km2 / km2)


def check_collection(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find what a batch collection does not allow.

    :param body: The request.
    :param deployment: Not used.
    """
    output = mapping(body, OUTPUT)
    given = [name for name in _COLLECTION if output.get(name)]
    if not given:
        return
    field, value = f"{OUTPUT}.{given[0]}", output[given[0]]
    if len(given) > 1:
        rule = "is a new batch collection, and output.collectionId names one that exists"
        yield InvalidParameter(field, value, rule, "Give one of the two.")
    number = output.get("collectionId")
    if isinstance(number, str) and "{" not in number and not _UUID.fullmatch(number):
        fix = "Write the id without the prefix batch-."
        yield InvalidParameter("output.collectionId", number, "is not the id (UUID) of a batch collection", fix)
    if output.get("cogOutput") is not True:
        yield InvalidParameter(field, value, "needs cloud optimised GeoTIFFs", "Set output.cogOutput to true.")
    for name in mapping(output, "cogParameters"):
        if name != _FREE_COG:
            rule = f"must not be given with output.{given[0]}, which allows {_FREE_COG} only"
            yield InvalidParameter(f"output.cogParameters.{name}", output["cogParameters"][name], rule, "Remove it.")
    yield from _check_bands(body)


def _check_bands(body: Json) -> Iterator[InvalidParameter]:
    asked = Asked(in_v2_form(body))
    for name, kind in asked.formats.items():
        if kind != TIFF:
            rule = f"is {kind}, and a batch collection has outputs of the format {TIFF} only"
            yield InvalidParameter(RESPONSES, name, rule, "Remove this response.")
    for each in asked.outputs:
        if each.bands is not None and each.bands > 1:
            rule = f"is too many for a batch collection, which has one band for each output; it is that of {each.id}"
            yield InvalidParameter(EVALSCRIPT, f"bands: {each.bands}", rule, "Write an output for each band.")


def _told_in_v1(rule: Rule) -> Rule:
    def check_as_v2(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
        as_v2 = in_v2_form(body)
        output = {name: value for name, value in mapping(as_v2, OUTPUT).items() if name not in _COLLECTION}
        # Collections of V2 are others, with rules of their own.
        for found in rule({**as_v2, OUTPUT: output} if output else as_v2, deployment):
            if isinstance(found, Advice):
                yield Advice(v1_field(body, found.field), found.fact, found.fix)
            else:
                yield renamed(body, found)

    return check_as_v2


RULES: Final[tuple[Rule, ...]] = (
    check_end,
    *(_told_in_v1(rule) for rule in RULES_OF_V2),
    check_storage,
    check_many_files,
    check_paths,
    check_collection,
    check_policy,
)
