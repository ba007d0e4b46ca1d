"""
Process: one image of an area, in the answer.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Process.html
"""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

import io
import tarfile
from collections.abc import Iterator
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from airflow_provider_sentinelhub.simulator.evalscript import parse, require_version_first
from airflow_provider_sentinelhub.simulator.http.bodies import parse_body
from airflow_provider_sentinelhub.simulator.imagery.encoding import EXTENSIONS, Format, images
from airflow_provider_sentinelhub.simulator.problems import (
    AnalysisFailed,
    Problem,
    RenderingFailed,
    bad_payload,
    no_processing_units,
)
from airflow_provider_sentinelhub.simulator.statistics.parcels import MAX_PIXELS
from airflow_provider_sentinelhub.simulator.tasks.cost import feature_pu
from airflow_provider_sentinelhub.simulator.tasks.service import Service
from airflow_provider_sentinelhub.simulator.validation.findings import check_body
from airflow_provider_sentinelhub.simulator.validation.shapes import Filled, Pixels, Shape
from airflow_provider_sentinelhub.simulator.validation.single_images import (
    USERDATA,
    SingleInputShape,
    SizedOutputShape,
    check_single_image,
    formats_of,
    raster_of,
)

MINIMUM_PU = 0.005
TARS: Final = ("application/tar", "application/x-tar")


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


class _Output(SizedOutputShape):
    width: Pixels = 1
    height: Pixels = 1


class _Request(Shape):
    input: SingleInputShape
    output: _Output | None = None
    evalscript: Filled


def _answer(service: Service, payload: Any, accept: str) -> Response:
    check_body(payload, _Request, check_single_image)
    output = payload.get("output", {})
    kind, formats = _wanted(output, accept)
    feature, outline = raster_of(payload["input"]["bounds"], output, MAX_PIXELS)
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


def _wanted(output: dict[str, Any], accept: str) -> tuple[str, dict[str, Format]]:
    """Return the media type of the answer, and the formats of the outputs: the header has priority."""
    formats = formats_of(output)
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
