"""
Async Process: one image of an area, delivered to a bucket.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/AsyncProcess.html
"""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket, BucketFailed, cannot_access
from airflow_provider_sentinelhub.simulator.evalscript import parse, require_version_first
from airflow_provider_sentinelhub.simulator.http.bodies import masked, parse_body
from airflow_provider_sentinelhub.simulator.imagery.encoding import EXTENSIONS, images
from airflow_provider_sentinelhub.simulator.problems import (
    AnalysisFailed,
    Problem,
    RenderingFailed,
    no_processing_units,
    not_found,
)
from airflow_provider_sentinelhub.simulator.tasks.clock import iso
from airflow_provider_sentinelhub.simulator.tasks.cost import CHEAP_FROM_PIXELS, feature_pu, transfer_pu
from airflow_provider_sentinelhub.simulator.tasks.service import Service
from airflow_provider_sentinelhub.simulator.validation.findings import Findings, check_access, check_body
from airflow_provider_sentinelhub.simulator.validation.shapes import Filled, Shape, StorageShape
from airflow_provider_sentinelhub.simulator.validation.single_images import (
    SingleInputShape,
    SizedOutputShape,
    check_single_image,
    formats_of,
    raster_of,
)

_LOG = logging.getLogger(__name__)
KIND: Final = "async-process"
MAX_PX: Final = 10_000
MINIMUM_PU: Final = 10.0
_DISCOUNT = 2 / 3
_PLACEHOLDERS = ("REQUEST_ID", "OUTPUT")
_DEFAULT = "/<REQUEST_ID>/<OUTPUT>"
_TICK_S = 0.05


@dataclass
class Accepted:
    """
    A request that was accepted.

    :param id: Its id.
    :param request: Its body.
    :param created: When, in simulated seconds since the epoch.
    :param status: RUNNING; ENDED while its results are not in the bucket yet; DELIVERED or FAILED.
    :param error: Text of its ``error.json``, decided when it was accepted.
    :param is_copied: Whether its copy is in the bucket.
    :param ended: When it ended; 0 before.
    :param cost_pu: What it cost.
    :param history: What happened to it.
    """

    id: str
    request: dict[str, Any]
    created: float
    status: str = "RUNNING"
    error: str | None = None
    is_copied: bool = False
    ended: float = 0.0
    cost_pu: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


class AsyncProcess:
    """The Async Process API. Its requests are no tasks: the service forgets them when they have ended."""

    def routers(self, service: Service) -> Iterator[APIRouter]:
        """
        Build the routes: the legacy layout and the new one.

        :param service: Has the script, the account and the state.
        """
        requests = _Requests(service)
        router = APIRouter()

        async def create(request: Request) -> dict[str, Any]:
            payload = parse_body(await request.body(), request.headers.get("content-type", ""), "")
            return await run_in_threadpool(requests.accept, payload)

        for path in ("/api/v1/async/process", "/async/v1/process"):
            router.add_api_route(path, create, methods=["POST"])
            router.add_api_route(f"{path}/{{request_id}}", requests.status, methods=["GET"])
        threading.Thread(target=requests.run, name="async-process", daemon=True).start()
        yield router


class _Output(SizedOutputShape):
    width: Annotated[int, Field(ge=1, le=MAX_PX)] = 1
    height: Annotated[int, Field(ge=1, le=MAX_PX)] = 1
    delivery: StorageShape


class _Request(Shape):
    input: SingleInputShape
    output: _Output
    evalscript: Filled = ""
    evalscript_reference: StorageShape | None = None


class _Requests:
    """All requests, and the thread that computes their images one after the other."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._all = {key: Accepted(**kept) for key, kept in service.store.kept(KIND).items()}

    def accept(self, payload: Any) -> dict[str, Any]:
        check_body(payload, _Request, _check_parts)
        feature, _ = raster_of(payload["input"]["bounds"], payload["output"], MAX_PX)
        accepted = Accepted(str(uuid.uuid4()), payload, self._service.clock.now())
        kind, access = _delivery(payload)
        try:
            bucket = self._service.bucket(access)
            script = self._script(payload)
        except BucketFailed as error:
            raise cannot_access(f"output->delivery->{kind}", str(error)) from error
        price = _price(feature.width, feature.height, payload, script)
        with self._service.lock:
            running = sum(each.status == "RUNNING" for each in self._all.values())
            if running >= self._service.script.async_requests:
                raise Problem(429, "COMMON_EXCEPTION", "Maximum number of concurrent async requests reached.")
            if self._service.balance < price:
                raise no_processing_units()
            rule = self._service.script.take_task_rule(f"{script}\n{access['url']}")
            if rule is not None:
                self._service.save_script()
                accepted.error = rule.analysis_error
            if not self._service.script.timing.async_copy_seconds:
                try:
                    self._copy(accepted, bucket)
                except BucketFailed as error:
                    raise cannot_access(f"output->delivery->{kind}", str(error)) from error
            self._note(accepted, "accepted")
            self._all[accepted.id] = accepted
        return {"id": accepted.id, "status": "RUNNING"}

    def status(self, request_id: str) -> dict[str, Any]:
        with self._service.lock:
            found = self._all.get(request_id)
            hidden_until = found.created + self._service.script.timing.visible_after_seconds if found else 0.0
            if found is None or found.status != "RUNNING" or self._service.clock.now() < hidden_until:
                raise not_found(f"Request {request_id}")
            return {"id": found.id, "status": found.status}

    def run(self) -> None:
        while True:
            time.sleep(_TICK_S)
            with self._service.lock:
                waiting = [each for each in self._all.values() if each.status in {"RUNNING", "ENDED"}]
            for each in waiting:
                try:
                    self._advance(each)
                except Exception as error:  # noqa: BLE001 - see below
                    # A request that silently hangs would look like a slow one.
                    _LOG.exception("request %s cannot continue", each.id)
                    self._end(each, "FAILED", f"error in the simulator: {error}")

    def _advance(self, accepted: Accepted) -> None:
        now, timing = self._service.clock.now(), self._service.script.timing
        if not accepted.is_copied and now >= accepted.created + timing.async_copy_seconds:
            self._copy(accepted, self._bucket(accepted))
            self._note(accepted, "copied")
        if accepted.status == "RUNNING" and now < accepted.created + timing.async_seconds:
            return
        if accepted.status == "RUNNING" and timing.async_lag_seconds:
            self._end(accepted, "ENDED", "ended")
        elif accepted.status == "RUNNING" or now >= accepted.ended + timing.async_lag_seconds:
            self._deliver(accepted)

    def _deliver(self, accepted: Accepted) -> None:
        bucket, request = self._bucket(accepted), accepted.request
        try:
            files = self._files(accepted)
        except (AnalysisFailed, RenderingFailed) as error:
            said = {"status": 400, "message": str(error), "code": "RENDERER_EXCEPTION"}
            self._put(accepted, bucket, {f"{_folder(accepted)}error.json": json.dumps(said).encode()})
            self._end(accepted, "FAILED", f"error: {error}")
            return
        if not self._put(accepted, bucket, files):
            return
        feature, _ = raster_of(request["input"]["bounds"], request["output"], MAX_PX)
        access = _delivery(request)[1]
        transfer = transfer_pu(access, bucket.written, self._service.keys.region)
        accepted.cost_pu = _price(feature.width, feature.height, request, self._script(request)) + transfer
        if accepted.is_copied:
            self._copy(accepted, bucket)
        with self._service.lock:
            self._service.balance -= accepted.cost_pu
        self._end(accepted, "DELIVERED", "delivered")

    def _files(self, accepted: Accepted) -> dict[str, bytes]:
        if accepted.error is not None:
            raise RenderingFailed(accepted.error)
        request, script = accepted.request, self._script(accepted.request)
        if self._service.script.strict:
            require_version_first(script)
        feature, outline = raster_of(request["input"]["bounds"], request["output"], MAX_PX)
        formats = formats_of(request["output"])
        found = images({**request, "evalscript": script}, feature, formats, self._service.script.pixels, outline)
        return {
            f"{_key(accepted).replace('<OUTPUT>', name)}.{EXTENSIONS[formats[name].media_type]}": content
            for name, content in found.items()
        }

    def _put(self, accepted: Accepted, bucket: Bucket, files: dict[str, bytes]) -> bool:
        try:
            for key, content in files.items():
                bucket.put(key, content)
        except BucketFailed as error:
            self._end(accepted, "FAILED", f"the bucket refused: {error}")
            return False
        return True

    def _copy(self, accepted: Accepted, bucket: Bucket) -> None:
        copy = {"id": accepted.id, "request": masked(accepted.request)}
        about = copy if not accepted.cost_pu else {**copy, "costPU": accepted.cost_pu}
        bucket.put(f"{_folder(accepted)}request-{accepted.id}.json", json.dumps(about).encode())
        accepted.is_copied = True

    def _bucket(self, accepted: Accepted) -> Bucket:
        return self._service.bucket(_delivery(accepted.request)[1])

    def _script(self, request: dict[str, Any]) -> str:
        if "evalscript" in request:
            return str(request["evalscript"])
        ((_, access),) = request["evalscriptReference"].items()
        try:
            return self._service.bucket(access).get(access["url"].partition("://")[2].partition("/")[2]).decode()
        except UnicodeDecodeError as error:
            raise BucketFailed("the evalscript is no text") from error

    def _end(self, accepted: Accepted, status: str, event: str) -> None:
        with self._service.lock:
            accepted.status = status
            accepted.ended = accepted.ended or self._service.clock.now()
            self._note(accepted, event)

    def _note(self, accepted: Accepted, event: str) -> None:
        accepted.history.append({"at": iso(self._service.clock.now()), "event": event})
        self._service.store.keep(KIND, accepted.id, asdict(accepted))


def _check_parts(request: dict[str, Any], findings: Findings) -> None:
    check_single_image(request, findings)
    check_access(request["output"]["delivery"], "output->delivery", findings, takes_gcs=True)
    if ("evalscript" in request) == ("evalscriptReference" in request):
        findings.add("evalscript", "either evalscript or evalscriptReference must be provided")
    elif "evalscriptReference" in request:
        check_access(request["evalscriptReference"], "evalscriptReference", findings, takes_gcs=True)
    if not findings.found:
        kind, access = _delivery(request)
        for name in re.findall(r"<([^<>]*)>", access["url"]):
            if name not in _PLACEHOLDERS:
                findings.add(f"output->delivery->{kind}->url", f"unknown placeholder <{name}>")


def _delivery(request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    ((kind, access),) = request["output"]["delivery"].items()
    return str(kind), access


def _key(accepted: Accepted) -> str:
    path = str(_delivery(accepted.request)[1]["url"]).partition("://")[2].partition("/")[2].rstrip("/")
    template = path if "<" in path else path + _DEFAULT
    return template.replace("<REQUEST_ID>", accepted.id).lstrip("/")


def _folder(accepted: Accepted) -> str:
    """Return where the files about a request are: before the first part of the path that has a placeholder left."""
    return re.sub("[^/]*<.*$", "", _key(accepted))


def _price(width: int, height: int, request: dict[str, Any], script: str) -> float:
    try:
        setup = parse(script)
    except AnalysisFailed:
        # It fails later, and then costs nothing.
        return 0.0
    cheaper = _DISCOUNT if width * height >= CHEAP_FROM_PIXELS else 1.0
    return max(MINIMUM_PU, cheaper * feature_pu(width, height, setup, request, discounted=False))
