"""What the client's tests share: a document that is right, changes to it, and a server that misbehaves on purpose."""

from __future__ import annotations

import contextlib
import copy
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.http.call import Call
from airflow_provider_sentinelhub.client.http.deployments import Service, ServiceAddress
from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
from airflow_provider_sentinelhub.client.lifecycle.tiling_grids import GridDescription, tiling_grid

MARKER = 'pa"ss/wo\\rd+MARKER=='

CREATE = BATCH_V2.calls.create({"secret": MARKER}, (MARKER,))
READ = BATCH_V2.calls.get("6aa8765a")


def grid_call(grid_id: int) -> Call[GridDescription]:
    """A call that only reads, and no task."""
    return tiling_grid(Service.BATCH_V2, grid_id)


def describe_call(task_id: str, description: str) -> Call[dict[str, Any]]:
    """What a user's click on the description of a task sends; the provider itself never changes one."""
    path, what = BATCH_V2.calls.path_of(task_id), f"update batch task {task_id}"
    return Call("PUT", Service.BATCH_V2, path, dict, what, body={"description": description})


def everything_said(error: BaseException) -> str:
    """All that a log, a traceback or a serialised error could show."""
    parts = [str(error), repr(error), repr(error.args), repr(vars(error)), *traceback.format_exception(error)]
    return "\n".join(parts)


def build_document(**changes: Any) -> dict[str, Any]:
    """A valid request; ``a__b=value`` changes ``request["a"]["b"]``, and ``...`` removes it."""
    request: dict[str, Any] = {
        "processRequest": {
            "input": {"bounds": {"bbox": [8.5, 41.3, 9.6, 43.1]}, "data": [{"type": "sentinel-2-l2a"}]},
            "output": {"responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]},
            "evalscript": "//VERSION=3",
        },
        "input": {"type": "tiling-grid", "id": 0, "resolution": 10.0},
        "output": {"type": "raster", "delivery": {"s3": {"url": "s3://bucket/folder"}}},
    }
    return _changed(request, changes)


def batch_v1_document(**changes: Any) -> dict[str, Any]:
    """A valid request of Batch Processing V1, changed as by :func:`build_document`."""
    request = {
        "processRequest": build_document()["processRequest"],
        "tilingGrid": {"id": 0, "resolution": 10.0},
        "output": {"defaultTilePath": "s3://bucket/<requestId>/<tileName>/<outputId>.<format>"},
    }
    return _changed(request, changes)


def _changed(request: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for path, value in changes.items():
        target: Any = request
        *steps, last = path.split("__")
        for step in steps:
            target = target[int(step) if isinstance(target, list) else step]
        if value is ...:
            del target[last]
        else:
            target[last] = copy.deepcopy(value)
    return request


NDVI = """//VERSION=3
function setup() {
  return {
    input: [{bands: ["B04", "B08", "dataMask"]}],
    output: [{id: "ndvi", bands: 1, sampleType: "FLOAT32"}, {id: "dataMask", bands: 1}]
  };
}
function evaluatePixel(s) {
  return {ndvi: [(s.B08 - s.B04) / (s.B08 + s.B04)], dataMask: [s.dataMask]};
}
"""


def _statistics() -> dict[str, Any]:
    return {
        "aggregation": {
            "timeRange": {"from": "2024-04-01T00:00:00Z", "to": "2024-09-30T00:00:00Z"},
            "aggregationInterval": {"of": "P7D"},
            "resx": 10.0,
            "resy": 10.0,
            "evalscript": NDVI,
        },
        "calculations": {
            "ndvi": {
                "histograms": {"default": {"nBins": 10, "lowEdge": -1, "highEdge": 1.0}},
                "statistics": {"default": {"percentiles": {"k": [5.0, 50.0, 95.0]}}},
            }
        },
    }


def statistical_document(**changes: Any) -> dict[str, Any]:
    """A valid Statistical request, changed as by :func:`build_document`."""
    bounds = {
        "bbox": [414315.0, 4958219.0, 414859.0, 4958819.0],
        "properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/32633"},
    }
    return _changed({"input": {"bounds": bounds, "data": [{"type": "sentinel-2-l2a"}]}, **_statistics()}, changes)


def image_document(**changes: Any) -> dict[str, Any]:
    """A valid Process request, changed as by :func:`build_document`."""
    request = statistical_document()
    output = {"resx": 10.0, "resy": 10.0, "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]}
    return _changed({"input": request["input"], "output": output, "evalscript": NDVI}, changes)


def batch_statistical_document(**changes: Any) -> dict[str, Any]:
    """A valid Batch Statistical request, changed as by :func:`build_document`."""
    features = {"s3": {"url": "s3://bucket/parcels.gpkg"}}
    request = {
        "input": {"features": features, "data": [{"type": "sentinel-2-l2a"}]},
        **_statistics(),
        "output": {"s3": {"url": "s3://bucket/statistics"}},
    }
    return _changed(request, changes)


def make_task(**fields: Any) -> BatchTask:
    return BatchTask.model_validate({"id": "t-1", "status": "CREATED", "userAction": "NONE", **fields})


@dataclass
class Seen:
    """A request that reached a :func:`serving` server."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Plan:
    """What a :func:`serving` server answers, and what it saw."""

    base_url: str = ""
    seen: list[Seen] = field(default_factory=list)

    @property
    def address(self) -> ServiceAddress:
        return ServiceAddress.of(
            deployment="custom", base_url=self.base_url, token_url=f"{self.base_url}/token", layout="new"
        )


Answering = Callable[[Seen, BaseHTTPRequestHandler], tuple[int, dict[str, str], bytes] | None]


@contextlib.contextmanager
def serving(answering: Answering) -> Iterator[Plan]:
    """Run a tiny server; ``answering`` gives (status, headers, body), or ``None`` after using the socket itself."""
    plan = Plan()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()

        def do_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, self.path, headers, self.rfile.read(length))
            plan.seen.append(seen)
            answer = answering(seen, self)
            if answer is None:
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_any  # noqa: N815 - named by the standard library

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the standard library
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    plan.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield plan
    finally:
        server.shutdown()
        server.server_close()


def ids(calls: list[Call[Any]]) -> list[str]:
    return [call.what for call in calls]
