"""Checks of requests for single images: size, formats, and the raster that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import shapely
from pydantic import Field

from airflow_provider_sentinelhub.simulator.features.features import Feature, outline_in_crs
from airflow_provider_sentinelhub.simulator.imagery.encoding import EXTENSIONS, PNG, USUAL_QUALITY, Format
from airflow_provider_sentinelhub.simulator.problems import violations
from airflow_provider_sentinelhub.simulator.statistics.parcels import parcel
from airflow_provider_sentinelhub.simulator.validation.findings import check_data
from airflow_provider_sentinelhub.simulator.validation.images import check_bounds
from airflow_provider_sentinelhub.simulator.validation.shapes import (
    BoundsShape,
    Filled,
    ImageInputShape,
    Positive,
    Shape,
)

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.validation.findings import Findings

USERDATA = "userdata"


class FormatShape(Shape):
    """Format of an output."""

    type: str
    quality: Annotated[int, Field(ge=0, le=100)] = USUAL_QUALITY


class ResponseShape(Shape):
    """One output."""

    identifier: Filled = "default"
    format: FormatShape = FormatShape(type=PNG)


class SizedOutputShape(Shape):
    """Resolution and formats; how many pixels there may be depends on the API."""

    resx: Positive = 1
    resy: Positive = 1
    responses: list[ResponseShape] | None = None


class SingleInputShape(ImageInputShape):
    """Area, which is required, and data."""

    bounds: BoundsShape


def check_single_image(request: dict[str, Any], findings: Findings) -> None:
    """
    Check data, area, size and formats of a request for a single image.

    :param request: The request, whose shape is right.
    :param findings: Takes the violations.
    """
    check_data(request["input"]["data"], "input->data", findings)
    check_bounds(request["input"]["bounds"], "input->bounds", findings, required=True)
    output = request.get("output", {})
    if {"width", "height"} & output.keys() and {"resx", "resy"} & output.keys():
        findings.add("output", "Only width and height or resx and resy can be set at the same time.")
    if ("resx" in output) != ("resy" in output):
        findings.add("output", "resx and resy must be set together.")
    identifiers: set[str] = set()
    for number, response in enumerate(output.get("responses", [])):
        where = f"output->responses[{number}]"
        name, media_type = response.get("identifier", "default"), response.get("format", {}).get("type", PNG)
        if media_type not in EXTENSIONS:
            findings.add(f"{where}->format->type", f"format {media_type} is not supported, use one of {[*EXTENSIONS]}")
        if (name == USERDATA) != (media_type == "application/json"):
            findings.add(f"{where}->identifier", "userdata must have the format application/json, and nothing else may")
        if name in identifiers:
            findings.add(f"{where}->identifier", f"identifier {name} is used twice")
        identifiers.add(name)


def formats_of(output: dict[str, Any]) -> dict[str, Format]:
    """
    Return the formats of the outputs, by identifier.

    :param output: ``output`` of a checked request.
    """
    return {
        each.get("identifier", "default"): Format(
            each.get("format", {}).get("type", PNG), each.get("format", {}).get("quality", USUAL_QUALITY)
        )
        for each in output.get("responses") or [{}]
    }


def raster_of(
    bounds: dict[str, Any], output: dict[str, Any], max_pixels: int
) -> tuple[Feature, shapely.Geometry | None]:
    """
    Return the raster, and the outline to which the image is cut: with both, the box is the image's extent.

    :param bounds: The area.
    :param output: ``output`` of a checked request.
    :param max_pixels: Maximum width and height.
    :raises Problem: 400 if it is larger.
    """
    outline, crs = outline_in_crs(bounds)
    box = shapely.box(*bounds["bbox"]) if "bbox" in bounds else shapely.box(*outline.bounds)
    feature = parcel(box, crs, output, None, "image")
    found = [
        {
            "parameter": f"output->{given}",
            "violation": f"`{side} = {size}`, calculated from {given}, is larger than allowed {max_pixels}.",
        }
        for side, given, size in (("width", "resx", feature.width), ("height", "resy", feature.height))
        if size > max_pixels
    ]
    if found:
        raise violations(found)
    return feature, outline if "geometry" in bounds else None
