"""
Rules on raster output: cloud optimised GeoTIFFs (COG), and BYOC collections of them.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/ (raster output) and
https://docs.planet.com/develop/apis/batch-processing/ (ingesting results into BYOC)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.preflight.outputs import EVALSCRIPT, Asked
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, mapping, part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

TIFF_BLOCK = 16
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def makes_collection(body: Json) -> str:
    """
    Return the field of a request that adds its results to a BYOC collection; empty if it does not.

    :param body: The request.
    """
    if part(body, "output", "createCollection") is True:
        return "output.createCollection"
    return "output.collectionId" if part(body, "output", "collectionId") else ""


def check_raster(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find what COGs and collections do not allow.

    :param body: The request.
    :param deployment: Not used.
    """
    if part(body, "output", "type") != "raster":
        return
    asked = Asked(body)
    if part(body, "output", "overwrite") is True and part(body, "output", "skipExisting") is True:
        fact = "has no effect on features whose results all exist: output.skipExisting skips them"
        yield Advice("output.overwrite", fact, "To write everything again, remove skipExisting.")
    if part(body, "output", "cogOutput") is True:
        yield from _check_cog(asked)
    elif mapping(body, "output", "cogParameters"):
        fact = "is ignored, because output.cogOutput is not true"
        yield Advice("output.cogParameters", fact, "Set output.cogOutput to true, or remove it.")
    for name in ("blockxsize", "blockysize"):
        size = part(body, "output", "cogParameters", name)
        if isinstance(size, int) and (size < TIFF_BLOCK or size % TIFF_BLOCK):
            rule = f"must be a multiple of {TIFF_BLOCK}, as TIFF requires"
            yield InvalidParameter(f"output.cogParameters.{name}", size, rule, "Write e.g. 256, 512 or 1024.")
    if field := makes_collection(body):
        yield from _check_collection(asked, field)


def _check_cog(asked: Asked) -> Iterator[Finding]:
    for each in asked.outputs:
        if each.sample_type == "INT8":
            rule = f"is not allowed with output.cogOutput; it is that of output {each.id} in setup()"
            yield InvalidParameter(EVALSCRIPT, "sampleType: INT8", rule, "Use INT16, or remove cogOutput.")


def _check_collection(asked: Asked, field: str) -> Iterator[Finding]:
    value = part(asked.body, *field.split("."))
    if part(asked.body, "output", "cogOutput") is not True:
        rule = "needs cloud optimised GeoTIFFs"
        yield InvalidParameter(field, value, rule, "Set output.cogOutput to true.")
    number = part(asked.body, "output", "collectionId")
    if isinstance(number, str) and not _UUID.fullmatch(number):
        fix = "Write the id without the prefix byoc-."
        yield InvalidParameter("output.collectionId", number, "is not the id (UUID) of a collection", fix)
    if mapping(asked.body, "output", "delivery", "gs"):
        rule = "needs a bucket on S3, in the region of the deployment"
        yield InvalidParameter(field, value, rule, "Deliver to output.delivery.s3.")
    yield from _check_band_names(asked, field)


def _check_band_names(asked: Asked, field: str) -> Iterator[Finding]:
    """Find bands with the same name: the bands of an output ``result`` are named result, result2, result3."""
    owner: dict[str, str] = {}
    for each in asked.outputs:
        if each.id is None or each.bands is None:
            continue
        for band in range(1, each.bands + 1):
            name = each.id if band == 1 else f"{each.id}{band}"
            if owner.setdefault(name, each.id) != each.id:
                rule = f"would have the band {name} twice: of output {owner[name]} and of output {each.id}"
                yield InvalidParameter(field, part(asked.body, *field.split(".")), rule, "Rename one of the outputs.")
