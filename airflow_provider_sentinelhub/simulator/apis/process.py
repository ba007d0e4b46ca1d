"""
Process: one image of an area, in the answer.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Process.html
"""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

import io
import tarfile
from collections.abc import Iterator
from typing import Annotated, Any, Final

import shapely
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from airflow_provider_sentinelhub.simulator.evalscript import parse, require_version_first
from airflow_provider_sentinelhub.simulator.features.features import Feature, outline_in_crs
from airflow_provider_sentinelhub.simulator.http.bodies import parse_body
from airflow_provider_sentinelhub.simulator.imagery.encoding import EXTENSIONS, PNG, USUAL_QUALITY, Format, images
from airflow_provider_sentinelhub.simulator.problems import (
    AnalysisFailed,
    Problem,
    RenderingFailed,
    bad_payload,
    no_processing_units,
    violations,
)
from airflow_provider_sentinelhub.simulator.statistics.parcels import MAX_PIXELS, parcel
from airflow_provider_sentinelhub.simulator.tasks.cost import feature_pu
from airflow_provider_sentinelhub.simulator.tasks.service import Service
from airflow_provider_sentinelhub.simulator.validation.findings import Findings, check_body, check_data
from airflow_provider_sentinelhub.simulator.validation.images import check_bounds
from airflow_provider_sentinelhub.simulator.validation.shapes import (
    BoundsShape,
    Filled,
    ImageInputShape,
    Pixels,
    Positive,
    Shape,
)

MINIMUM_PU = 0.005
TARS: Final = ("application/tar", "application/x-tar")
USERDATA = "userdata"


class Process:
    """The Process API, which has no tasks."""

    def routers(self, service: Service) -> Iterator[APIRouter]:
        """
        Build the routes: the legacy layout and the new one.

        :param service: Has the script and the account.
        """
        router = APIRouter()

        async def process(request: Request) -> Response:
            payload = parse_body(await request.body(), request.headers.get("content-type", ""), "")
            return await run_in_threadpool(_answer, service, payload, request.headers.get("accept", ""))

        for path in ("/api/v1/process", "/process/v1"):
            router.add_api_route(path, process, methods=["POST"])
        yield router


class _Format(Shape):
    type: str
    quality: Annotated[int, Field(ge=0, le=100)] = USUAL_QUALITY


class _Response(Shape):
    identifier: Filled = "default"
    format: _Format = _Format(type=PNG)


class _Output(Shape):
    width: Pixels = 1
    height: Pixels = 1
    resx: Positive = 1
    resy: Positive = 1
    responses: list[_Response] | None = None


class _Input(ImageInputShape):
    bounds: BoundsShape


class _Request(Shape):
    input: _Input
    output: _Output | None = None
    evalscript: Filled


def _answer(service: Service, payload: Any, accept: str) -> Response:
    check_body(payload, _Request, _check_parts)
    output = payload.get("output", {})
    kind, formats = _wanted(output, accept)
    feature, outline = _raster(payload["input"]["bounds"], output)
    try:
        if service.script.strict:
            require_version_first(payload["evalscript"])
        spent = max(
            MINIMUM_PU,
            feature_pu(feature.width, feature.height, parse(payload["evalscript"]), payload, discounted=False),
        )
        _check_balance(service, spent)
        files = images(payload, feature, formats, service.script.pixels, outline)
    except (AnalysisFailed, RenderingFailed) as error:
        raise Problem(400, "RENDERER_EXCEPTION", str(error)) from error
    _charge(service, spent)
    headers = {"X-ProcessingUnits-Spent": str(spent)}
    if kind in TARS:
        named = {f"{name}.{EXTENSIONS[formats[name].media_type]}": content for name, content in files.items()}
        return Response(_tar(named), media_type=kind, headers=headers)
    (content,) = files.values()
    return Response(content, media_type=kind, headers=headers)


def _check_parts(request: dict[str, Any], findings: Findings) -> None:
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


def _wanted(output: dict[str, Any], accept: str) -> tuple[str, dict[str, Format]]:
    """Return the media type of the answer, and the formats of the outputs: the header has priority."""
    formats = {
        each.get("identifier", "default"): Format(
            each.get("format", {}).get("type", PNG), each.get("format", {}).get("quality", USUAL_QUALITY)
        )
        for each in output.get("responses") or [{}]
    }
    listed = [each.partition(";")[0].strip().lower() for each in accept.split(",")]
    asked = next((each for each in listed if each in {*EXTENSIONS, *TARS}), None)
    if asked in TARS:
        return asked, formats
    if len(formats) > 1:
        raise bad_payload("Several responses are requested: the header Accept must be application/tar.")
    (name, own), *_ = formats.items()
    kind = asked or own.media_type
    if (name == USERDATA) != (kind == "application/json"):
        raise bad_payload(f"Output {name} cannot be returned as {kind}.")
    return kind, {name: Format(kind, own.quality)}


def _raster(bounds: dict[str, Any], output: dict[str, Any]) -> tuple[Feature, shapely.Geometry | None]:
    """Return the raster, and the outline to which the image is cut: with both, the box is the image's extent."""
    outline, crs = outline_in_crs(bounds)
    box = shapely.box(*bounds["bbox"]) if "bbox" in bounds else shapely.box(*outline.bounds)
    feature = parcel(box, crs, output, None, "image")
    found = [
        {
            "parameter": f"output->{given}",
            "violation": f"`{side} = {size}`, calculated from {given}, is larger than allowed {MAX_PIXELS}.",
        }
        for side, given, size in (("width", "resx", feature.width), ("height", "resy", feature.height))
        if size > MAX_PIXELS
    ]
    if found:
        raise violations(found)
    return feature, outline if "geometry" in bounds else None


def _check_balance(service: Service, spent: float) -> None:
    with service.lock:
        if service.balance < spent:
            raise no_processing_units()


def _charge(service: Service, spent: float) -> None:
    with service.lock:
        service.balance -= spent


def _tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
