"""Async Process of the simulator, and the public client, unchanged, on it."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import rasterio
from sentinelhub.api.process import AsyncProcessRequest, SentinelHubRequest, get_async_running_status
from sentinelhub.config import SHConfig
from sentinelhub.constants import CRS, MimeType
from sentinelhub.data_collections import DataCollection
from sentinelhub.download.sentinelhub_client import SentinelHubDownloadClient
from sentinelhub.geometry import BBox

from airflow_provider_sentinelhub.simulator.process import Simulator

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """//VERSION=3
function setup() { return {input: ["B04"], output: {bands: 1, sampleType: "UINT16"}}; }
function evaluatePixel(s) { return [s.B04]; }
"""
PATHS = ("/async/v1/process", "/api/v1/async/process")


def request(sim: Simulator, **changes: Any) -> dict[str, Any]:
    ready = sim.ready
    keys = {"accessKey": ready.access_key_id, "secretAccessKey": ready.secret_access_key}
    url = f"s3://{ready.bucket}/{uuid.uuid4()}"
    body = {
        "input": {"bounds": {"bbox": [9.2, 42.0, 9.3, 42.1]}, "data": [{"type": "sentinel-2-l2a"}]},
        "output": {
            "width": 40,
            "height": 20,
            "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}],
            "delivery": {"s3": {"url": url, **keys}},
        },
        "evalscript": SCRIPT,
    }
    return {**body, "output": {**body["output"], **changes}}  # type: ignore[dict-item]  # the output is a dict


def folder(sim: Simulator, body: dict[str, Any]) -> Path:
    return sim.bucket_folder / str(body["output"]["delivery"]["s3"]["url"]).split("/", 3)[3]


def until_ended(sim: Simulator, request_id: str, path: str = PATHS[0]) -> None:
    deadline = time.monotonic() + 30
    while sim.call("GET", f"{path}/{request_id}").status == 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("path", PATHS)
def test_a_request_runs_is_forgotten_and_is_in_the_bucket(sim: Simulator, path: str) -> None:
    body = request(sim)
    accepted = sim.call("POST", path, body)
    assert (accepted.status, accepted.body["status"]) == (200, "RUNNING")
    request_id = accepted.body["id"]
    copy = folder(sim, body) / request_id / f"request-{request_id}.json"
    assert "costPU" not in json.loads(copy.read_text())
    until_ended(sim, request_id, path)
    assert sim.call("GET", f"{path}/{request_id}").status == 404
    known = json.loads(copy.read_text())
    assert known["costPU"] == 10
    assert sim.ready.secret_access_key not in copy.read_text()
    with rasterio.open(copy.parent / "default.tif") as image:
        assert (image.width, image.height, image.dtypes) == (40, 20, ("uint16",))


def test_a_request_that_fails_leaves_its_error_and_costs_nothing(sim: Simulator) -> None:
    body = {**request(sim), "evalscript": "//VERSION=3\nfunction setup() { return {}; }\nfunction evaluatePixel() {}"}
    sim.set_balance(1000)
    request_id = sim.call("POST", PATHS[0], body).body["id"]
    until_ended(sim, request_id)
    assert "setup()" in json.loads((folder(sim, body) / request_id / "error.json").read_text())["message"]
    assert sim.admin("GET", "/account")["pu_balance"] == 1000


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"width": 10_001}, "output->width"),
        ({"resx": 0.01}, "output"),
        ({"delivery": {}}, "output->delivery"),
        ({"delivery": {"s3": {"url": "s3://sentinelhub/<NO>", "accessKey": "a", "secretAccessKey": "b"}}}, "->url"),
    ],
)
def test_what_is_wrong_is_named(sim: Simulator, changes: dict[str, Any], field: str) -> None:
    answer = sim.call("POST", PATHS[0], request(sim, **changes))
    assert answer.status == 400
    assert field in answer.body["error"]["errors"][0]["parameter"]


def test_a_bucket_with_wrong_keys_is_refused_at_once(sim: Simulator) -> None:
    body = request(sim)
    body["output"]["delivery"]["s3"]["secretAccessKey"] = "wrong" * 5
    answer = sim.call("POST", PATHS[0], body)
    assert answer.status == 400
    assert answer.body["error"]["errors"][0]["parameter"] == "output->delivery->s3"


def test_requests_survive_a_restart(tmp_path: Path) -> None:
    with Simulator.start(home=tmp_path, speed=600, script={"timing": {"async_seconds": 600}}) as first:
        body = request(first)
        request_id = first.call("POST", PATHS[0], body).body["id"]
        first.kill()
        ports = [each.rpartition(":")[2] for each in (first.ready.base_url, first.ready.s3_endpoint)]
    with Simulator.start(home=tmp_path, speed=600, options=("--port", ports[0], "--s3-port", ports[1])) as second:
        assert second.call("GET", f"{PATHS[0]}/{request_id}").status == 200
        second.advance_clock(600)
        until_ended(second, request_id)
        assert (folder(second, body) / request_id / "default.tif").exists()
        assert [each["status"] for each in second.async_requests()] == ["DELIVERED"]


def test_the_public_client_submits_and_waits(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    SentinelHubDownloadClient.clear_cache()
    config = SHConfig(use_defaults=True)
    config.sh_base_url, config.sh_token_url = sim.ready.base_url, sim.ready.token_url
    config.sh_client_id, config.sh_client_secret = sim.ready.client_id, sim.ready.client_secret
    collection = DataCollection.SENTINEL2_L2A.define_from(f"AT {sim.ready.base_url}", service_url=sim.ready.base_url)
    target = f"async-{time.time_ns()}"
    submitted = AsyncProcessRequest(
        evalscript=SCRIPT,
        input_data=[SentinelHubRequest.input_data(collection, time_interval=("2024-07-01", "2024-07-31"))],
        responses=[AsyncProcessRequest.output_response("default", MimeType.TIFF)],
        delivery=AsyncProcessRequest.s3_specification(
            f"s3://{sim.ready.bucket}/{target}",
            access_key=sim.ready.access_key_id,
            secret_access_key=sim.ready.secret_access_key,
        ),
        bbox=BBox((9.2, 42.0, 9.3, 42.1), crs=CRS.WGS84),
        size=(40, 20),
        config=config,
    )
    (answer,) = submitted.get_data()
    assert answer["status"] == "RUNNING"
    assert get_async_running_status([answer["id"]], config) == {answer["id"]: True}
    until_ended(sim, answer["id"])
    assert get_async_running_status([answer["id"]], config) == {answer["id"]: False}
    assert (sim.bucket_folder / target / answer["id"] / "default.tif").exists()
