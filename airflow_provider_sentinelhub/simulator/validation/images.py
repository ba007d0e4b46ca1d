"""Checks of requests for images, whichever API they are for: everything but the evalscript."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.bucket.delivery import PLACEHOLDERS
from airflow_provider_sentinelhub.simulator.features.features import UNREADABLE, area_of
from airflow_provider_sentinelhub.simulator.features.grids import GRIDS
from airflow_provider_sentinelhub.simulator.validation.findings import check_data, fill_data, is_elsewhere

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from airflow_provider_sentinelhub.simulator.validation.findings import Findings

COLLECTION_BLOCKS = (256, 2048)
CRS84 = "urn:ogc:def:crs:OGC::CRS84"


def check_process_request(
    part: dict[str, Any], findings: Findings, *, formats: AbstractSet[str], on_grid: bool
) -> None:
    """
    Check the input and the output of ``processRequest``.

    :param part: ``processRequest``, whose shape is right.
    :param findings: Takes the violations.
    :param formats: Supported media types.
    :param on_grid: Whether the features are tiles of a grid, which need an area of interest.
    """
    source = part["input"]
    check_data(source["data"], "processRequest->input->data", findings)
    check_bounds(source.get("bounds", {}), "processRequest->input->bounds", findings, required=on_grid)
    _check_responses(part.get("output", {}), findings, formats)


def check_bounds(bounds: dict[str, Any], path: str, findings: Findings, *, required: bool) -> None:
    """
    Check an area of interest.

    :param bounds: The bounds, whose shape is right.
    :param path: Path of them in the request.
    :param findings: Takes the violations.
    :param required: Whether there must be an area.
    """
    try:
        area = area_of(bounds)
    except UNREADABLE as error:
        findings.add(path, f"Invalid bounds: {error}")
    else:
        if area is None and required:
            findings.add(path, "bounds must be set")


def _check_responses(output: dict[str, Any], findings: Findings, formats: AbstractSet[str]) -> None:
    identifiers: set[str] = set()
    for number, response in enumerate(output.get("responses", [])):
        where = f"processRequest->output->responses[{number}]"
        media_type = response["format"]["type"]
        identifier = response.get("identifier", "default")
        if media_type not in formats:
            findings.add(
                f"{where}->format->type", f"format {media_type} is not supported, use one of {sorted(formats)}"
            )
        if (identifier == "userdata") != (media_type == "application/json"):
            findings.add(f"{where}->identifier", "userdata must have the format application/json, and nothing else may")
        if identifier in identifiers:
            findings.add(f"{where}->identifier", f"identifier {identifier} is used twice")
        identifiers.add(identifier)


def check_grid(part: dict[str, Any], path: str, findings: Findings) -> None:
    """
    Check a tiling grid.

    :param part: Has ``id`` and ``resolution``.
    :param path: Path of it in the request.
    :param findings: Takes the violations.
    """
    grid = GRIDS.get(part["id"])
    if grid is None:
        findings.add(f"{path}->id", f"Tiling grid with id {part['id']} does not exist.")
    elif part["resolution"] not in grid.resolutions:
        findings.add(
            f"{path}->resolution",
            f"resolution {part['resolution']} is not supported by tiling grid {grid.id}, "
            f"use one of {list(grid.resolutions)}",
        )


def check_template(url: str, path: str, outputs: int, findings: Findings) -> None:
    """
    Check where files go.

    :param url: A template, or a folder.
    :param path: Path of it in the request.
    :param outputs: Number of outputs.
    :param findings: Takes the violations.
    """
    if "<" not in url and ">" not in url:
        return
    names = re.findall(r"<([^<>]*)>", url)
    for name in names:
        if name not in PLACEHOLDERS:
            findings.add(path, f"unknown placeholder <{name}>")
    if 2 * len(names) != len(re.findall("[<>]", url)):
        findings.add(path, "the template has a < or > that is not of a placeholder")
    if not {"tileName", "tileId"} & set(names):
        findings.add(path, "the template must contain <tileName> or <tileId>")
    if outputs > 1 and "outputId" not in names:
        findings.add(path, "the template must contain <outputId> when there are several outputs")


def check_collection(output: dict[str, Any], formats: AbstractSet[str], findings: Findings) -> None:
    """
    Check what the results must be like that are added to a collection.

    :param output: ``output`` of the request.
    :param formats: Media types of its files.
    :param findings: Takes the violations.
    """
    for name in ("createCollection", "collectionId"):
        if not output.get(name):
            continue
        if not output.get("cogOutput") or "image/tiff" not in formats:
            findings.add(f"output->{name}", "cogOutput must be true, and a format image/tiff, for a collection")
        for side in ("blockxsize", "blockysize"):
            if not COLLECTION_BLOCKS[0] <= output.get("cogParameters", {}).get(side, 256) <= COLLECTION_BLOCKS[1]:
                findings.add(f"output->cogParameters->{side}", f"{side} must be from 256 to 2048 for a collection")
        if is_elsewhere(output["delivery"]):
            findings.add("output->delivery", "the bucket of a collection must be on S3, in the same region")


def fill_process_request(part: dict[str, Any], media_type: str) -> None:
    """
    Fill in the defaults of ``processRequest``.

    :param part: A checked ``processRequest``; changed in place.
    :param media_type: Of the one output where the request lists none.
    """
    bounds = part["input"].get("bounds", {})
    if isinstance(bounds.get("geometry"), dict):
        bounds["geometry"].setdefault("crs", {"type": "name", "properties": {"name": CRS84}})
    fill_data(part["input"]["data"])
    output = part.setdefault("output", {})
    output["responses"] = output.get("responses") or [{"identifier": "default", "format": {"type": media_type}}]
    for response in output["responses"]:
        response.setdefault("identifier", "default")
        response.setdefault("logo", False)
