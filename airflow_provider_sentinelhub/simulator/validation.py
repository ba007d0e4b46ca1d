"""What the service checks when a task is created: everything but the evalscript."""

from __future__ import annotations

import copy
import re
from typing import Any

from airflow_provider_sentinelhub.simulator.delivery import EXTENSIONS, PLACEHOLDERS
from airflow_provider_sentinelhub.simulator.features import MAX_PIXELS, area_of
from airflow_provider_sentinelhub.simulator.findings import Findings, check_access, check_body, check_data, fill_data
from airflow_provider_sentinelhub.simulator.grids import GRIDS

CRS84 = "urn:ogc:def:crs:OGC::CRS84"
RESAMPLING = frozenset({"nearest", "average", "gauss", "cubic", "cubicspline", "lanczos", "average_magphase", "mode"})
DTYPES = frozenset({"|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<f4", ">f4", "<f8", ">f8"})


def check(request: Any) -> dict[str, Any]:
    """
    Check the body of a create call and fill in the defaults.

    :param request: Parsed JSON.
    :returns: A copy with defaults.
    :raises Problem: 400 with all violations found.
    """
    check_body(request, _check_parts)
    return _with_defaults(request)


def _check_parts(request: dict[str, Any], findings: Findings) -> None:
    _check_process_request(findings.part(request, "processRequest", ""), request, findings)
    _check_input(findings.part(request, "input", ""), findings)
    _check_output(findings.part(request, "output", ""), request, findings)


def _check_process_request(part: dict[str, Any], request: dict[str, Any], findings: Findings) -> None:
    if not isinstance(part.get("evalscript"), str) or not part["evalscript"].strip():
        findings.add("processRequest->evalscript", "evalscript must be provided")
    source = findings.part(part, "input", "processRequest")
    check_data(source, "processRequest->input", findings)
    try:
        area = area_of(source.get("bounds"))
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        findings.add("processRequest->input->bounds", f"Invalid bounds: {error}")
    else:
        grid = isinstance(request.get("input"), dict) and request["input"].get("type") == "tiling-grid"
        if area is None and grid:
            findings.add("processRequest->input->bounds", "bounds must be set for a tiling grid")
    _check_responses(part.get("output", {}), request, findings)


def _check_responses(output: Any, request: dict[str, Any], findings: Findings) -> None:
    path = "processRequest->output"
    if not isinstance(output, dict):
        findings.add(path, "must be an object")
        return
    for name in ("width", "height", "resx", "resy"):
        if name in output:
            findings.add(f"{path}->{name}", f"{name} cannot be set in a batch request")
    zarr = isinstance(request.get("output"), dict) and request["output"].get("type") == "zarr"
    allowed = {"zarr/array"} if zarr else set(EXTENSIONS)
    identifiers: set[str] = set()
    for number, response in enumerate(output.get("responses", [])):
        where = f"{path}->responses[{number}]"
        kind = response.get("format", {}).get("type")
        identifier = response.get("identifier", "default")
        if kind not in allowed:
            findings.add(f"{where}->format->type", f"format {kind} is not supported, use one of {sorted(allowed)}")
        if (identifier == "userdata") != (kind == "application/json"):
            findings.add(f"{where}->identifier", "userdata must have the format application/json, and nothing else may")
        if identifier in identifiers:
            findings.add(f"{where}->identifier", f"identifier {identifier} is used twice")
        identifiers.add(identifier)


def _check_input(part: dict[str, Any], findings: Findings) -> None:
    kind = part.get("type")
    if kind == "tiling-grid":
        _check_grid(part, findings)
    elif kind == "geopackage":
        check_access(findings.part(part, "features", "input"), "input->features", findings)
        _check_defaults(part.get("defaults", {}), findings)
    elif part:
        findings.add("input->type", "type must be one of tiling-grid, geopackage")


def _check_grid(part: dict[str, Any], findings: Findings) -> None:
    grid = GRIDS.get(part.get("id", -1)) if isinstance(part.get("id"), int) else None
    if grid is None:
        findings.add("input->id", f"Tiling grid with id {part.get('id')} does not exist.")
    elif part.get("resolution") not in grid.resolutions:
        findings.add(
            "input->resolution",
            f"resolution {part.get('resolution')} is not supported by tiling grid {grid.id}, "
            f"use one of {list(grid.resolutions)}",
        )
    for name in ("bufferX", "bufferY"):
        if not isinstance(part.get(name, 0), int) or not 0 <= part.get(name, 0) < 1 << 15:
            findings.add(f"input->{name}", f"{name} must be a non-negative 16-bit integer")


def _check_defaults(defaults: dict[str, Any], findings: Findings) -> None:
    for name in ("width", "height"):
        if name in defaults and not (isinstance(defaults[name], int) and 1 <= defaults[name] <= MAX_PIXELS):
            findings.add(f"input->defaults->{name}", f"{name} must be between 1 and {MAX_PIXELS}")
    if "resolution" in defaults and not defaults["resolution"] > 0:
        findings.add("input->defaults->resolution", "resolution must be greater than 0")


def _check_output(part: dict[str, Any], request: dict[str, Any], findings: Findings) -> None:
    if not part:
        return
    check_access(findings.part(part, "delivery", "output"), "output->delivery", findings)
    if part.get("type") not in {"raster", "zarr"}:
        findings.add("output->type", "type must be one of raster, zarr")
        return
    if findings.found:
        return
    responses = request["processRequest"].get("output", {}).get("responses", [])
    if part["type"] == "raster":
        _check_template(part["delivery"]["s3"]["url"], max(1, len(responses)), findings)
        _check_cog(part, findings)
    else:
        _check_zarr(part, request["input"], findings)


def _check_template(url: str, outputs: int, findings: Findings) -> None:
    if "<" not in url:
        return
    path = "output->delivery->s3->url"
    for name in re.findall(r"<([^<>]*)>", url):
        if name not in PLACEHOLDERS:
            findings.add(path, f"unknown placeholder <{name}>")
    if "<tileName>" not in url:
        findings.add(path, "the template must contain <tileName>")
    if outputs > 1 and "<outputId>" not in url:
        findings.add(path, "the template must contain <outputId> when there are several outputs")


def _check_cog(part: dict[str, Any], findings: Findings) -> None:
    if part.get("createCollection") and not part.get("cogOutput"):
        findings.add("output->createCollection", "cogOutput must be true to create a collection")
    algorithm = part.get("cogParameters", {}).get("resamplingAlgorithm", "average")
    if algorithm not in RESAMPLING:
        findings.add("output->cogParameters->resamplingAlgorithm", f"unknown algorithm {algorithm}")


def _check_zarr(part: dict[str, Any], source: dict[str, Any], findings: Findings) -> None:
    if findings.part(part, "group", "output").get("zarr_format") != 2:  # noqa: PLR2004 - the only version there is
        findings.add("output->group->zarr_format", "zarr_format must be 2")
    if set(re.findall(r"<([^<>]*)>", part["delivery"]["s3"]["url"])) - {"requestId"}:
        findings.add("output->delivery->s3->url", "the path of a Zarr may contain <requestId> only")
    grid = GRIDS.get(source.get("id", -1)) if source.get("type") == "tiling-grid" else None
    if grid is None or grid.crs is None:
        findings.add("input", "Zarr output is supported for WGS84 and LAEA tiling grids only")
    arrays = {"arrayParameters": part.get("arrayParameters", {}), **part.get("arrayOverrides", {})}
    for name, array in arrays.items():
        if "dtype" in array and array["dtype"] not in DTYPES:
            findings.add(f"output->{name}->dtype", f"unknown dtype {array['dtype']}")
        chunks = array.get("chunks")
        if chunks is not None and (len(chunks) != 3 or chunks[0] != 1):  # noqa: PLR2004 - time, y, x
            findings.add(f"output->{name}->chunks", "chunks must be three numbers, the first of them 1")
        elif chunks and grid and any(round(grid.size / source["resolution"]) % each for each in chunks[1:]):
            findings.add(f"output->{name}->chunks", "chunks must divide the tile evenly")


def _with_defaults(request: dict[str, Any]) -> dict[str, Any]:
    filled = copy.deepcopy(request)
    process = filled["processRequest"]
    bounds = process["input"].get("bounds", {})
    if isinstance(bounds.get("geometry"), dict):
        bounds["geometry"].setdefault("crs", {"type": "name", "properties": {"name": CRS84}})
    fill_data(process["input"]["data"])
    output = process.setdefault("output", {})
    default_format = "zarr/array" if filled["output"]["type"] == "zarr" else "image/tiff"
    responses = output.get("responses") or [{"identifier": "default", "format": {"type": default_format}}]
    output["responses"] = responses
    for response in responses:
        response.setdefault("identifier", "default")
        response.setdefault("logo", False)
    if "resolution" in filled["input"]:
        filled["input"]["resolution"] = float(filled["input"]["resolution"])
    if filled["output"]["type"] == "raster":
        for name in ("overwrite", "skipExisting", "cogOutput", "createCollection"):
            filled["output"].setdefault(name, False)
    filled.setdefault("instanceType", "normal")
    return filled
