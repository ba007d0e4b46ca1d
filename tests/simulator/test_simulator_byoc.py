"""BYOC as the simulator serves it: its rules, its answers against the document, and the public client on it."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from sentinelhub.api.byoc import (
    ByocCollection,
    ByocCollectionAdditionalData,
    ByocCollectionBand,
    ByocTile,
    SentinelHubBYOC,
)
from sentinelhub.constants import CRS
from sentinelhub.geometry import BBox, Geometry

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import upload
from tests.contract.exchanges import validate
from tests.simulator import test_sentinelhub_py, test_simulator_contract
from tests.simulator.conftest import to_the_end

if TYPE_CHECKING:
    from collections.abc import Callable

document = test_simulator_contract.document
client = test_sentinelhub_py.client
BASE = "/api/v1/byoc/collections"
ENDED = {"INGESTED", "FAILED"}


def geotiff(**changes: Any) -> bytes:
    profile = {
        "driver": "GTiff",
        "width": 256,
        "height": 256,
        "count": 1,
        "dtype": "uint8",
        "crs": "EPSG:32632",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "transform": Affine(10, 0, 500_000, 0, -10, 4_600_000),
        **changes,
    }
    with MemoryFile(ext=".tif") as memory:
        with memory.open(**profile):
            pass
        return bytes(memory.read())


class Byoc:
    """A collection, and a folder of its own in the bucket."""

    def __init__(self, sim: Simulator, **given: Any) -> None:
        self.sim = sim
        self.folder = str(uuid.uuid4())
        made = sim.call("POST", BASE, {"name": self.folder, "s3Bucket": sim.ready.bucket, **given})
        assert made.status == 201, made.body
        self.id: str = made.body["data"]["id"]
        self.path = f"{BASE}/{self.id}"

    def put(self, name: str, content: bytes) -> None:
        upload(self.sim.ready, f"{self.folder}/{name}", content)

    def tile(self, path: str, **given: Any) -> Any:
        return self.sim.call("POST", f"{self.path}/tiles", {"path": f"{self.folder}/{path}", **given})

    def ended(self, tile_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while True:
            tile: dict[str, Any] = self.sim.call("GET", f"{self.path}/tiles/{tile_id}").body["data"]
            if tile["status"] in ENDED:
                return tile
            assert time.monotonic() < deadline, tile
            time.sleep(0.02)

    def ingested(self, path: str, **given: Any) -> dict[str, Any]:
        made = self.tile(path, **given)
        assert made.status == 201, made.body
        return self.ended(made.body["data"]["id"])

    def collection(self) -> dict[str, Any]:
        found: dict[str, Any] = self.sim.call("GET", self.path).body["data"]
        return found


@pytest.fixture
def byoc(sim: Simulator) -> Callable[..., Byoc]:
    sim.set_script({"timing": {"tile_seconds": 1}})
    return lambda **given: Byoc(sim, **given)


def test_the_first_tile_configures_the_bands(byoc: Callable[..., Byoc]) -> None:
    own = byoc()
    own.put("a/red.tif", geotiff(dtype="uint16", nodata=7))
    own.put("a/rgb.tif", geotiff(count=3, nodata=7))
    tile = own.ingested("a", sensingTime="2026-06-01T10:30:00+02:00")
    assert tile["status"] == "INGESTED", tile
    # The folder became a path.
    assert (tile["path"], tile["sensingTime"]) == (f"{own.folder}/a/(BAND).tif", "2026-06-01T08:30:00Z")
    found = own.collection()
    assert found["noData"] == 7
    assert found["isConfigured"]
    bands = found["additionalData"]["bands"].items()
    assert {name: (band["source"], band["bandIndex"], band["bitDepth"]) for name, band in bands} == {
        "red": ("red", 1, 16),
        "rgb_1": ("rgb", 1, 8),
        "rgb_2": ("rgb", 2, 8),
        "rgb_3": ("rgb", 3, 8),
    }
    assert found["additionalData"]["hasSensingTimes"] == "YES"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (geotiff(crs="EPSG:2154"), "the projection EPSG:2154 is not supported"),
        (geotiff(tiled=False, blockxsize=256, blockysize=8), "the internal tile size must be"),
        (geotiff(width=600, height=600), "it has no overviews"),
        (geotiff(compress="jpeg"), "compression JPEG is not supported"),
        (geotiff(dtype="float64"), "the sample type float64 is not supported"),
        (geotiff(dtype="uint16"), "has the bit depth 16, and band B1 has 8"),
        (geotiff(dtype="int8"), "has the sample format INT, and band B1 has UINT"),
        (b"text", "is not a valid GeoTIFF"),
        (None, "does not exist"),
    ],
)
def test_causes_of_failures(byoc: Callable[..., Byoc], content: bytes | None, cause: str) -> None:
    own = byoc(additionalData={"bands": {"B1": {"bitDepth": 8, "sampleFormat": "UINT"}}})
    if content is not None:
        own.put("B1.tif", content)
    tile = own.ingested("(BAND).tif")
    assert tile["status"] == "FAILED"
    assert cause in tile["additionalData"]["failedIngestionCause"]


def test_files_of_one_tile_lie_at_one_place(byoc: Callable[..., Byoc]) -> None:
    own = byoc()
    own.put("B1.tif", geotiff())
    own.put("B2.tif", geotiff(transform=Affine(10, 0, 500_100, 0, -10, 4_600_000)))
    assert "more than one pixel" in own.ingested("(BAND).tif")["additionalData"]["failedIngestionCause"]


def test_the_life_of_a_tile(byoc: Callable[..., Byoc], sim: Simulator) -> None:
    own = byoc()
    sim.stop_clock()
    made = own.tile("(BAND).tif").body["data"]
    assert made["status"] == "WAITING"
    again = own.tile("(BAND).tif")
    assert again.status == 409
    seen = [made["status"]]
    for _ in range(3):
        sim.advance_clock(1)
        deadline = time.monotonic() + 20
        while (now := sim.call("GET", f"{own.path}/tiles/{made['id']}").body["data"]["status"]) == seen[-1]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        seen.append(now)
    assert seen == ["WAITING", "QUEUED", "INGESTING", "FAILED"]
    own.put("B1.tif", geotiff())
    assert sim.call("POST", f"{own.path}/tiles/{made['id']}/reingest").status == 204
    assert sim.call("POST", f"{own.path}/tiles/{made['id']}/reingest").status == 400
    sim.run_clock()
    assert own.ended(made["id"])["status"] == "INGESTED"
    # Without a cover geometry it is that of the files again.
    assert sim.call("PUT", f"{own.path}/tiles/{made['id']}", {"sensingTime": "2026-06-01T00:00:00Z"}).status == 204
    assert sim.call("GET", f"{own.path}/tiles/{made['id']}").body["data"]["sensingTime"] == "2026-06-01T00:00:00Z"
    assert sim.call("DELETE", f"{own.path}/tiles/{made['id']}").status == 204
    assert sim.call("GET", f"{own.path}/tiles/{made['id']}").status == 404


def test_lists_are_paged_sorted_and_filtered(byoc: Callable[..., Byoc], sim: Simulator) -> None:
    own = byoc()
    sim.stop_clock()
    for name in "bca":
        own.tile(f"{name}/(BAND).tif")
    tiles = f"{own.path}/tiles"

    def names(query: str) -> list[str]:
        return [each["path"].split("/")[1] for each in sim.call("GET", f"{tiles}?{query}").body["data"]]

    assert names("sort=path:asc") == ["a", "b", "c"]
    assert names("sort=path:desc&count=2") == ["c", "b"]
    assert names("status=WAITING&count=1&sort=path:asc") == ["a"]
    assert names("status=FAILED") == []
    assert names(f"path={own.folder}/b/(BAND).tif") == ["b"]
    first = sim.call("GET", f"{tiles}?count=2&sort=path:asc").body
    assert first["links"]["next"].startswith(f"{sim.ready.base_url}/byoc/v1/collections/")
    assert names(f"count=2&sort=path:asc&viewtoken={first['links']['nextToken']}") == ["c"]
    for query in ("status=DONE", "sort=path", "count=101", "count=0", "viewtoken=x"):
        assert sim.call("GET", f"{tiles}?{query}").status == 400, query
    sim.run_clock()


def test_what_is_refused_and_what_is_charged(byoc: Callable[..., Byoc], sim: Simulator) -> None:
    own = byoc()
    before = sim.admin("GET", "/account")["pu_balance"]
    circle = [[x, x * x] for x in range(101)]
    for body in (
        {},
        {"path": "/a"},
        {"path": "a", "sensingTime": "2026-06-01"},
        {"path": "a", "coverGeometry": {"type": "Polygon", "coordinates": [[*circle, circle[0]]]}},
        {"path": "a", "coverGeometry": {"type": "Point", "coordinates": [0, 0]}},
    ):
        assert sim.call("POST", f"{own.path}/tiles", body).status == 400, body
    assert sim.call("POST", BASE, {"name": "n"}).status == 400
    assert sim.call("POST", f"{BASE}/{uuid.uuid4()}/tiles", {"path": "a"}).status == 404
    assert sim.admin("GET", "/account")["pu_balance"] == before
    assert own.tile("a").status == 201
    assert sim.admin("GET", "/account")["pu_balance"] == before - 1
    assert sim.call("PUT", own.path, {"name": "n", "s3Bucket": "another"}).status == 409
    sim.set_balance(0)
    assert own.tile("b").status == 403


def test_bands_are_renamed_and_tiles_copied(byoc: Callable[..., Byoc], sim: Simulator) -> None:
    own, target = byoc(), byoc()
    own.put("B1.tif", geotiff())
    own.ingested("(BAND).tif")
    bands = own.collection()["additionalData"]["bands"]
    changed = {"name": "n", "s3Bucket": sim.ready.bucket, "additionalData": {"bands": {"Red": bands["B1"]}}}
    assert sim.call("PUT", own.path, changed).status == 204
    assert {*own.collection()["additionalData"]["bands"]} == {"Red"}
    changed["additionalData"] = {"bands": {"Red": {**bands["B1"], "bitDepth": 16}}}
    assert sim.call("PUT", own.path, changed).status == 400
    for _ in range(2):
        assert sim.call("POST", f"{own.path}/copyTiles?toCollection={target.id}").status == 204
    copied = sim.call("GET", f"/byoc/v1/collections/{target.id}/tiles").body["data"]
    assert [(each["path"], each["status"]) for each in copied] == [(f"{own.folder}/(BAND).tif", "INGESTED")]


def test_a_killed_simulator_goes_on(tmp_path: Any) -> None:
    with Simulator.start(home=tmp_path, speed=600) as first:
        own = Byoc(first)
        own.put("B1.tif", geotiff())
        first.stop_clock()
        tile = own.tile("(BAND).tif").body["data"]["id"]
        first.kill()
    with Simulator.start(home=tmp_path, speed=600) as second:
        own.sim = second
        assert own.ended(tile)["status"] == "INGESTED"


def test_answers_are_those_of_the_document(document: dict[str, Any], byoc: Callable[..., Byoc], sim: Simulator) -> None:
    own = byoc()
    own.put("B1.tif", geotiff())
    made = own.tile("(BAND).tif", sensingTime="2026-06-01T10:30:00Z")
    base = f"{BASE}/{{collectionId}}"

    def check(path: str, method: str, status: str, answer: Any) -> None:
        schema = test_simulator_contract.answer_schema(document, path, method, status)
        validate(document, schema, answer)

    check(f"{base}/tiles", "post", "201", made.body)
    own.ended(made.body["data"]["id"])
    check(f"{base}/tiles/{{tileId}}", "get", "200", sim.call("GET", f"{own.path}/tiles/{made.body['data']['id']}").body)
    check(f"{base}/tiles", "get", "200", sim.call("GET", f"{own.path}/tiles?count=1").body)
    check(base, "get", "200", sim.call("GET", own.path).body)
    check(BASE, "get", "200", sim.call("GET", f"{BASE}?count=1").body)
    check(BASE, "post", "201", sim.call("POST", BASE, {"name": "n", "s3Bucket": "bucket"}).body)


@pytest.mark.parametrize("existing", [False, True])
def test_a_batch_adds_its_tiles(sim: Simulator, request_for: Any, byoc: Callable[..., Byoc], *, existing: bool) -> None:
    output: dict[str, Any] = {"output__cogOutput": True}
    if existing:
        kind = {"bitDepth": 16, "sampleFormat": "UINT", "source": "default"}
        own = byoc(additionalData={"bands": {"default": kind, "default2": {**kind, "bandIndex": 2}}})
        output["output__collectionId"] = own.id
    else:
        output["output__createCollection"] = True
    task = to_the_end(sim, "/batch/v2/process", request_for(**output))
    assert task["status"] == "DONE", task
    number = task["request"]["output"]["collectionId"]
    tiles = sim.call("GET", f"{BASE}/{number}/tiles").body["data"]
    assert len(tiles) == 4
    assert all(each["path"].endswith("/(BAND).tif") for each in tiles)


def test_a_batch_needs_a_collection_that_fits(sim: Simulator, request_for: Any, byoc: Callable[..., Byoc]) -> None:
    own = byoc(additionalData={"bands": {"other": {"bitDepth": 16, "sampleFormat": "UINT"}}})
    for number, said in ((own.id, "has other bands"), (str(uuid.uuid4()), "does not exist")):
        answer = sim.call("POST", "/batch/v2/process", request_for(output__cogOutput=True, output__collectionId=number))
        assert answer.status == 400
        assert said in str(answer.body)


def test_the_public_client(client: Any, sim: Simulator) -> None:
    sim.set_script({"timing": {"tile_seconds": 1}})
    byoc = SentinelHubBYOC(config=client.config)
    bands = {"B1": ByocCollectionBand(bit_depth=8, sample_format="UINT", source="B1", band_index=1)}
    made = byoc.create_collection(
        ByocCollection(
            name="public", s3_bucket=sim.ready.bucket, additional_data=ByocCollectionAdditionalData(bands=bands)
        )
    )
    collection = ByocCollection.from_dict(made)  # type: ignore[attr-defined]
    folder = str(uuid.uuid4())
    upload(sim.ready, f"{folder}/B1.tif", geotiff())
    cover = Geometry(BBox((9.0, 41.5, 9.01, 41.52), crs=CRS.WGS84).geometry, crs=CRS.WGS84)
    tile = byoc.create_tile(collection, ByocTile(path=f"{folder}/(BAND).tif", cover_geometry=cover))
    deadline = time.monotonic() + 30
    while (found := ByocTile.from_dict(byoc.get_tile(collection, tile["id"]))).status != "INGESTED":  # type: ignore[attr-defined]
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert found.tile_geometry.crs.epsg == 32632
    assert [each["path"] for each in byoc.iter_tiles(collection)] == [f"{folder}/(BAND).tif"]
    assert made["id"] in {each["id"] for each in byoc.iter_collections(search="public")}
    byoc.reingest_tile(collection, tile["id"])
    collection.name = "renamed"
    byoc.update_collection(collection)
    assert byoc.get_collection(collection)["name"] == "renamed"
    other = byoc.create_collection({"name": "copy", "s3Bucket": sim.ready.bucket})
    byoc.copy_tiles(collection, other["id"])
    byoc.delete_tile(collection, tile["id"])
    byoc.delete_collection(collection)
    byoc.delete_collection(other["id"])
