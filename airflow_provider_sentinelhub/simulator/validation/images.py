"""Checks of requests for images, whichever API they are for: everything but the evalscript."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.features.features import area_of
from airflow_provider_sentinelhub.simulator.features.grids import GRIDS
from airflow_provider_sentinelhub.simulator.validation.findings import check_data, fill_data

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from airflow_provider_sentinelhub.simulator.validation.findings import Findings

CRS84 = "urn:ogc:def:crs:OGC::CRS84"
RESAMPLING = frozenset({"nearest", "average", "gauss", "cubic", "cubicspline", "lanczos", "average_magphase", "mode"})


def check_process_request(
    part: dict[str, Any], findings: Findings, *, formats: AbstractSet[str], on_grid: bool
) -> None:
    """
    Check the evalscript's presence, the input and the output of ``processRequest``.

    :param part: ``processRequest``.
    :param findings: Takes the violations.
    :param formats: Supported media types.
    :param on_grid: Whether the features are tiles of a grid, which need an area of interest.
    """
    if not isinstance(part.get("evalscript"), str) or not part["evalscript"].strip():
        findings.add("processRequest->evalscript", "evalscript must be provided")
    source = findings.part(part, "input", "processRequest")
    check_data(source, "processRequest->input", findings)
    try:
        area = area_of(source.get("bounds"))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        findings.add("processRequest->input->bounds", f"Invalid bounds: {error}")
    else:
        if area is None and on_grid:
            findings.add("processRequest->input->bounds", "bounds must be set for a tiling grid")
    _check_responses(part.get("output", {}), findings, formats)


def _check_responses(output: Any, findings: Findings, formats: AbstractSet[str]) -> None:
    path = "processRequest->output"
    if not isinstance(output, dict):
        findings.add(path, "must be an object")
        return
    for name in ("width", "height", "resx", "resy"):
        if name in output:
            findings.add(f"{path}->{name}", f"{name} cannot be set in a batch request")
    identifiers: set[str] = set()
    for number, response in enumerate(output.get("responses", [])):
        where = f"{path}->responses[{number}]"
        media_type = response.get("format", {}).get("type")
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

    :param part: Has ``id``, ``resolution``, ``bufferX`` and ``bufferY``.
    :param path: Path of it in the request.
    :param findings: Takes the violations.
    """
    grid = GRIDS.get(part.get("id", -1)) if isinstance(part.get("id"), int) else None
    if grid is None:
        findings.add(f"{path}->id", f"Tiling grid with id {part.get('id')} does not exist.")
    elif part.get("resolution") not in grid.resolutions:
        findings.add(
            f"{path}->resolution",
            f"resolution {part.get('resolution')} is not supported by tiling grid {grid.id}, "
            f"use one of {list(grid.resolutions)}",
        )
    for name in ("bufferX", "bufferY"):
        if not isinstance(part.get(name, 0), int) or not 0 <= part.get(name, 0) < 1 << 15:
            findings.add(f"{path}->{name}", f"{name} must be a non-negative 16-bit integer")


def check_cog(output: dict[str, Any], findings: Findings) -> None:
    """
    Check the parameters of Cloud Optimized GeoTIFFs and of a collection.

    :param output: ``output`` of the request.
    :param findings: Takes the violations.
    """
    if output.get("createCollection") and not output.get("cogOutput"):
        findings.add("output->createCollection", "cogOutput must be true to create a collection")
    algorithm = output.get("cogParameters", {}).get("resamplingAlgorithm", "average")
    if algorithm not in RESAMPLING:
        findings.add("output->cogParameters->resamplingAlgorithm", f"unknown algorithm {algorithm}")


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
