"""The simulated Process API: formats, refusals, what is charged, and pixels that an evalscript has computed."""

from __future__ import annotations

import io
import json
import tarfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import upload

UTM = "http://www.opengis.net/def/crs/EPSG/0/32632"
SCRIPT = """//VERSION=3
function setup() {
  return {
    input: ["B04", "dataMask"],
    output: [{id: "default", bands: 3}, {id: "values", bands: 1, sampleType: "FLOAT32"}]
  };
}
function updateOutputMetadata(scenes, inputMetadata, outputMetadata) { outputMetadata.userData = {"seen": 1}; }
function evaluatePixel(s) { return {default: [1, 0.5, 0], values: [s.dataMask ? 7.5 : -1]}; }
"""
SPAN = {"from": "2025-06-01T00:00:00Z", "to": "2025-06-16T00:00:00Z"}


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> str:
        return str(json.loads(self.body)["error"]["message"])

    @property
    def image(self) -> Any:
        with MemoryFile(self.body) as memory, memory.open() as dataset:
            return dataset.read()


def image_request(**changes: Any) -> dict[str, Any]:
    bounds = {"bbox": [500_000, 4_650_000, 500_500, 4_650_300], "properties": {"crs": UTM}}
    data = [{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": SPAN}}]
    output = {"resx": 10, "resy": 10, **changes.pop("output", {})}
    return {"input": {"bounds": bounds, "data": data}, "output": output, "evalscript": SCRIPT, **changes}


def post(sim: Simulator, body: Any, *, accept: str = "*/*", path: str = "/process/v1", kind: str = "") -> Answered:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {sim.fetch_token()}", "Content-Type": kind or "application/json"}
    request = urllib.request.Request(sim.ready.base_url + path, content, {**headers, "Accept": accept}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Answered(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
    except urllib.error.HTTPError as error:
        return Answered(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


@pytest.fixture
def running(sim: Simulator) -> Simulator:
    sim.set_script({"pixels": "evalscript"})
    return sim


@pytest.mark.parametrize("path", ["/process/v1", "/api/v1/process"])
def test_the_script_computes_the_pixels_and_the_account_pays(running: Simulator, path: str) -> None:
    before = running.admin("GET", "/account")["pu_balance"]
    answer = post(running, image_request(), path=path)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert answer.image.shape == (3, 30, 50)
    # AUTO stretches 0 to 1.
    assert [int(np.unique(band).item()) for band in answer.image] == [255, 128, 0]
    spent = float(answer.headers["x-processingunits-spent"])
    # An output of 32 bits counts twice.
    assert spent == pytest.approx(0.01 / 3 * 2)
    assert running.admin("GET", "/account")["pu_balance"] == pytest.approx(before - spent)


def test_multipart_has_the_script_beside_the_request(running: Simulator) -> None:
    body = image_request()
    script = body.pop("evalscript")
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in (("request", json.dumps(body)), ("evalscript", script))
    )
    answer = post(running, f"{parts}--x--\r\n".encode(), kind="multipart/form-data; boundary=x")
    assert (answer.status, answer.image.shape) == (200, (3, 30, 50))


@pytest.mark.parametrize(
    ("accept", "driver", "dtype"),
    [
        ("image/tiff", "GTiff", "uint8"),
        ("image/jpeg", "JPEG", "uint8"),
        ("application/octet-stream", "PNG", "uint8"),
        ("text/html, image/tiff;q=0.9", "GTiff", "uint8"),
    ],
)
def test_the_header_has_priority_over_the_format(running: Simulator, accept: str, driver: str, dtype: str) -> None:
    answer = post(running, image_request(), accept=accept)
    with MemoryFile(answer.body) as memory, memory.open() as dataset:
        assert (dataset.driver, dataset.dtypes[0], dataset.shape) == (driver, dtype, (30, 50))
        if driver == "GTiff":
            assert dataset.transform == Affine(10, 0, 500_000, 0, -10, 4_650_300)
            assert dataset.crs.to_epsg() == 32632


def test_several_outputs_are_a_tar(running: Simulator) -> None:
    responses = [
        {"identifier": "values", "format": {"type": "image/tiff"}},
        {"identifier": "userdata", "format": {"type": "application/json"}},
    ]
    body = image_request(output={"responses": responses})
    answer = post(running, body, accept="application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        files = {each.name: archive.extractfile(each) for each in archive.getmembers()}
        values, userdata = files["values.tif"], files["userdata.json"]
        assert values is not None
        assert userdata is not None
        assert json.loads(userdata.read()) == {"seen": 1}
        assert set(np.unique(Answered(200, {}, values.read()).image)) <= {7.5, -1.0}
    refused = post(running, body, accept="image/png")
    assert (refused.status, "application/tar" in refused.message) == (400, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"output": {"resx": 0.1, "resy": 10}},
            "`width = 5000`, calculated from resx, is larger than allowed 2500.",
        ),
        ({"output": {"width": 10}}, "Only width and height or resx and resy can be set at the same time."),
        ({"output": {"responses": [{"format": {"type": "image/gif"}}]}}, "format image/gif is not supported"),
        ({"output": {"responses": [{"identifier": "x"}]}}, "Output x requested but missing from function setup()."),
        (
            {"output": {"responses": [{"identifier": "values"}]}},
            "image/png cannot have 1 bands of",
        ),
        ({"evalscript": "//VERSION=3\nfunction setup("}, "Evalscript error"),
        ({"evalscript": SCRIPT.replace("[1, 0.5, 0]", "nothing")}, "nothing"),
        ({"nonsense": 1}, "nonsense is not a known field"),
        ({"input": {"data": [{"type": "sentinel-2-l2a"}]}}, "input->bounds must not be null"),
    ],
)
def test_refusals(running: Simulator, changes: dict[str, Any], said: str) -> None:
    answer = post(running, image_request(**changes))
    assert (answer.status, said in answer.message) == (400, True), answer.message


def test_an_account_without_units_is_refused(running: Simulator) -> None:
    running.set_balance(0.001)
    answer = post(running, image_request())
    assert (answer.status, "Insufficient processing units" in answer.message) == (403, True)


@pytest.fixture
def collection(running: Simulator) -> Iterator[tuple[str, Any]]:
    """A BYOC collection with one tile, and the values of its file."""
    values = np.arange(1, 301 * 301, dtype=np.uint32).astype(np.uint16)[: 300 * 300].reshape(300, 300)
    folder = str(uuid.uuid4())
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 4_652_000)}
    shape = {"width": 300, "height": 300, "count": 1, "dtype": "uint16"}
    with MemoryFile() as memory:
        with memory.open(driver="COG", blocksize=256, compress="deflate", **shape, **place) as dataset:
            dataset.write(values, 1)
        upload(running.ready, f"{folder}/ndvi.tif", bytes(memory.read()))
    made = running.call("POST", "/byoc/v1/collections", {"name": "mine", "s3Bucket": running.ready.bucket}).body
    number = made["data"]["id"]
    tile = {"path": f"{folder}/(BAND).tif", "sensingTime": "2025-06-10T10:00:00Z"}
    assert running.call("POST", f"/byoc/v1/collections/{number}/tiles", tile).status in {200, 201}
    deadline = time.monotonic() + 30
    while True:
        (found,) = running.call("GET", f"/byoc/v1/collections/{number}/tiles").body["data"]
        if found["status"] == "INGESTED":
            break
        assert time.monotonic() < deadline, found
        assert found["status"] != "FAILED", found
        time.sleep(0.05)
    yield number, values
    running.call("DELETE", f"/byoc/v1/collections/{number}")


def test_an_image_of_a_collection_shows_what_lies_in_the_bucket(
    running: Simulator, collection: tuple[str, Any]
) -> None:
    number, values = collection
    script = """//VERSION=3
    function setup() { return {input: ["ndvi", "dataMask"], output: {bands: 2, sampleType: "UINT16"}}; }
    function evaluatePixel(s) { return [s.ndvi, s.dataMask]; }"""
    body = image_request(evalscript=script)
    body["input"]["bounds"]["bbox"] = [499_500, 4_651_000, 501_000, 4_652_000]
    body["input"]["data"][0]["type"] = f"byoc-{number}"
    answer = post(running, body, accept="image/tiff")
    assert answer.status == 200, answer.body
    assert (answer.image[0, :, 50:] == values[:100, :100]).all()
    assert answer.image[1, :, 50:].all()
    assert not answer.image[:, :, :50].any()
    body["input"]["data"][0]["dataFilter"]["timeRange"] = {**SPAN, "to": "2025-06-02T00:00:00Z"}
    assert not post(running, body, accept="image/tiff").image.any()
