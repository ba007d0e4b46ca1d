"""BYOC: files become tiles of a collection, each once, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import rasterio
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.transform import Affine

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets
from airflow_provider_sentinelhub.hooks.byoc import SentinelHubByocHook
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.operators.byoc import SentinelHubByocIngestOperator
from airflow_provider_sentinelhub.sensors.byoc import SentinelHubByocSensor
from tests.airflow.airflow_harness import Comms, RunTask, first_event, request

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.process import Simulator

SENSED = "2026-06-01T10:30:00Z"


@pytest.fixture(scope="module")
def cog() -> bytes:
    """A small cloud optimised GeoTIFF of one 16-bit band."""
    place = Affine(10, 0, 500_000, 0, -10, 4_600_000)
    with MemoryFile(ext=".tif") as memory:
        with memory.open(
            driver="GTiff", width=300, height=300, count=1, dtype="uint16", crs="EPSG:32632", transform=place
        ):
            pass
        with rasterio.open(memory.name) as source, MemoryFile(ext=".tif") as written:
            copy(source, written.name, driver="COG", compress="DEFLATE", blocksize=256)
            return bytes(written.read())


@dataclass(frozen=True)
class Folder:
    """A folder in the bucket. Written through the S3 server, which would see files on disk only after a while."""

    url: str
    cog: bytes

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def put(self, path: str, content: bytes | None = None) -> None:
        open_buckets("aws_default", None).upload(self.cog if content is None else content, f"{self.url}/{path}")

    def fill(self, tiles: int, bands: tuple[str, ...] = ("B4", "B8")) -> None:
        for number in range(tiles):
            for band in bands:
                self.put(f"t{number:03}/{band}.tif")


@pytest.fixture
def folder(sim: Simulator, cog: bytes) -> Folder:
    return Folder(f"s3://{sim.ready.bucket}/{uuid.uuid4()}", cog)


def ingest(**kwargs: Any) -> SentinelHubByocIngestOperator:
    usual = {"collection_name": f"c-{uuid.uuid4()}", "poll_interval": 0.05, "deferrable": False}
    return SentinelHubByocIngestOperator(task_id="ingest", **{**usual, **kwargs})


def changes(sim: Simulator) -> int:
    """How many requests to BYOC were not reads."""
    counts = sim.requests()["counts"]
    return sum(count for name, count in counts.items() if "/byoc/" in name and not name.startswith("GET"))


def spent(sim: Simulator, before: float) -> float:
    return before - float(sim.admin("GET", "/account")["pu_balance"])


def balance(sim: Simulator) -> float:
    return float(sim.admin("GET", "/account")["pu_balance"])


# ------------------------------------------------------------------------------------------------------- from a folder


def test_a_folder_becomes_a_collection_and_a_clear_pays_for_nothing(
    sim: Simulator, run_task: RunTask, comms: Comms, folder: Folder
) -> None:
    folder.fill(3)
    before = balance(sim)
    operator = ingest(source=folder.url, sensing_time=SENSED)
    run = run_task(operator)
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert {name: result[name] for name in ("outcome", "total", "ingested", "failed", "cost_pu")} == {
        "outcome": "DONE",
        "total": 3,
        "ingested": 3,
        "failed": 0,
        "cost_pu": 4,
    }
    assert result["data_type"] == f"byoc-{result['collection_id']}"
    assert spent(sim, before) == 4
    hook = SentinelHubByocHook()
    tiles = list(hook.tiles(result["data_type"]))
    assert sorted(tile.path for tile in tiles) == [f"{folder.name}/t00{number}/(BAND).tif" for number in range(3)]
    assert all(
        tile.sensing_time is not None and tile.sensing_time.isoformat() == "2026-06-01T10:30:00+00:00" for tile in tiles
    )
    assert {*hook.get_collection(result["collection_id"]).additional_data.bands} == {"B4", "B8"}
    # One more tile, and the same task again: one more is registered.
    folder.put("t003/B4.tif")
    folder.put("t003/B8.tif")
    again = run_task(operator, try_number=2, max_tries=1)
    assert again.state == "success", again.error
    assert (comms.xcoms["return_value"]["ingested"], comms.xcoms["return_value"]["cost_pu"]) == (4, 1)
    assert spent(sim, before) == 5


def test_a_deferred_task_waits_in_pages(sim: Simulator, run_task: RunTask, comms: Comms, folder: Folder) -> None:
    folder.fill(4, ("B4",))
    operator = ingest(source=folder.url, deferrable=True)
    first = run_task(operator)
    assert first.state == "deferred", first.error
    assert json.dumps(first.message.trigger_kwargs).count("t00") == 1
    from airflow.sdk.serde import deserialize

    event = asyncio.run(first_event(first.trigger, comms))
    assert event["kind"] == "ready"
    known: Any = deserialize(first.message.next_kwargs)
    run = run_task(operator, next_method="execute_complete", next_kwargs={"event": event, **known})
    assert run.state == "success", run.error
    assert comms.xcoms["return_value"]["ingested"] == 4
    assert comms.xcoms["return_value"]["cost_pu"] == 5
    # No tile was read alone.
    assert not [name for name in sim.requests()["counts"] if "/tiles/" in name]


@pytest.mark.parametrize("on_partial", ["fail", "warn"])
def test_files_that_break_a_rule_are_named_before_anything_is_paid(
    sim: Simulator, run_task: RunTask, comms: Comms, folder: Folder, on_partial: str
) -> None:
    folder.fill(2)
    folder.put("t001/B8.tif", b"not an image" * 100)
    folder.put("t002/B4.tif")
    collection = SentinelHubByocHook().create_collection({"name": folder.name, "s3Bucket": sim.ready.bucket})
    before = changes(sim)
    run = run_task(ingest(source=folder.url, collection_name=None, collection_id=collection.id, on_partial=on_partial))
    if on_partial == "fail":
        assert run.state == "failed"
        assert f"{folder.name}/t001/B8.tif is not a GeoTIFF" in str(run.error)
        assert f"lacks the file {folder.name}/t002/B8.tif" in str(run.error)
        assert changes(sim) == before
        return
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["ingested"], result["failed"], result["cost_pu"]) == ("PARTIAL", 1, 2, 1)


def test_files_that_break_a_rule_create_no_collection(sim: Simulator, run_task: RunTask, folder: Folder) -> None:
    folder.fill(1)
    folder.put("t000/B8.tif", b"not an image" * 100)
    run = run_task(ingest(source=folder.url))
    assert run.state == "failed"
    assert "is not a GeoTIFF" in str(run.error)
    assert changes(sim) == 0


def test_tiles_that_the_service_fails_are_reported_and_reingested(
    sim: Simulator, run_task: RunTask, comms: Comms, folder: Folder
) -> None:
    folder.fill(2)
    folder.put("t001/B8.tif", b"not an image" * 100)
    operator = ingest(source=folder.url, check_files=False)
    run = run_task(operator)
    assert run.state == "failed"
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["ingested"], result["failed"], result["cost_pu"]) == ("PARTIAL", 1, 1, 3)
    assert "is not a valid GeoTIFF" in str(result["error_groups"])
    assert result["failed_names"] == [f"{folder.name}/t001/(BAND).tif"]
    import pyarrow.parquet as pq

    table = pq.read_table(sim.bucket_folder / result["tiles_url"].partition(f"{sim.ready.bucket}/")[2]).to_pylist()
    assert [row["status"] for row in table] == ["INGESTED", "FAILED"]
    folder.put("t001/B8.tif")
    again = run_task(operator, try_number=2, max_tries=1)
    assert again.state == "success", again.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["ingested"], result["cost_pu"]) == ("DONE", 2, 1)


def test_a_bucket_without_policy_fails_all_tiles(
    sim: Simulator, run_task: RunTask, comms: Comms, folder: Folder
) -> None:
    folder.fill(2)
    sim.set_script({"buckets_without_policy": [sim.ready.bucket]})
    run = run_task(ingest(source=folder.url, on_partial="warn"))
    assert run.state == "failed"
    assert "AccessDenied" in str(run.error)
    assert comms.xcoms["return_value"]["outcome"] == "FAILED"


def test_bands_in_the_names_of_files_and_times_in_paths(
    sim: Simulator, run_task: RunTask, comms: Comms, folder: Folder
) -> None:
    for day in ("20260601", "20260602"):
        for band in ("red", "nir"):
            folder.put(f"{day}_{band}_10m.tif")
    folder.put("readme.tif", b"-")
    run = run_task(
        ingest(
            source=folder.url,
            file_pattern=r"\d{8}_(?P<band>\w+?)_10m\.tif$",
            sensing_time_pattern=r"/(?P<time>\d{8})_",
            bands={
                "B4": {"source": "red", "bitDepth": 16, "sampleFormat": "UINT"},
                "B8": {"source": "nir", "bitDepth": 16, "sampleFormat": "UINT"},
            },
        )
    )
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    tiles = list(SentinelHubByocHook().tiles(result["collection_id"], sort="path:asc"))
    assert [tile.path for tile in tiles] == [f"{folder.name}/{day}_(BAND)_10m.tif" for day in ("20260601", "20260602")]
    assert [str(tile.sensing_time)[:10] for tile in tiles] == ["2026-06-01", "2026-06-02"]


# --------------------------------------------------------------------------------------------------------- money, kills


def test_lost_answers_create_one_collection_and_each_tile_once(
    sim: Simulator, run_task: RunTask, comms: Comms, folder: Folder
) -> None:
    folder.fill(3, ("B4",))
    sim.set_script({"endpoints": [{"method": "POST", "path": "/byoc/", "action": "drop_after", "count": 3}]})
    before = balance(sim)
    operator = ingest(source=folder.url)
    for attempt in (1, 2):
        run = run_task(operator, try_number=attempt, max_tries=1)
        if run.state == "success":
            break
    assert run.state == "success", run.error
    collections = [each for each in SentinelHubByocHook().collections() if each.name == operator.collection_name]
    assert len(collections) == 1
    assert len(list(SentinelHubByocHook().tiles(collections[0].id))) == 3
    assert spent(sim, before) == 4


def test_a_kill_between_request_and_record(sim: Simulator, run_task: RunTask, comms: Comms, folder: Folder) -> None:
    folder.fill(3, ("B4",))
    operator = ingest(source=folder.url)
    # As left by an attempt that died after its second tile: nothing of it is recorded anywhere.
    hook = SentinelHubByocHook()
    before = balance(sim)
    made = hook.create_collection({"name": operator.collection_name, "s3Bucket": sim.ready.bucket})
    for number in range(2):
        hook.create_tile(made.id, {"path": f"{folder.name}/t00{number}/(BAND).tif"})
    run = run_task(operator, try_number=2, max_tries=1)
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["collection_id"], result["ingested"], result["cost_pu"]) == (made.id, 3, 1)
    assert spent(sim, before) == 4


def test_too_many_tiles_for_the_limit(sim: Simulator, run_task: RunTask, folder: Folder) -> None:
    folder.fill(3, ("B4",))
    run = run_task(ingest(source=folder.url, max_pu=2))
    assert run.state == "failed"
    assert "3 tiles would cost 3 PU, and max_pu is 2" in str(run.error)
    assert changes(sim) == 0


# ------------------------------------------------------------------------------------------------------- from a batch


def test_what_a_batch_delivered_becomes_a_collection(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    script = """//VERSION=3
    function setup() { return {input: ["B04"], output: [{id: "red", bands: 1, sampleType: "UINT8"},
      {id: "mask", bands: 1, sampleType: "UINT8"}]}; }
    function evaluatePixel(s) { return {red: [s.B04], mask: [1]}; }"""
    responses = [{"identifier": name, "format": {"type": "image/tiff"}} for name in ("red", "mask")]
    asked = request(
        sim.ready, processRequest__evalscript=script, processRequest__output={"responses": responses},
        output__cogOutput=True,
    )  # fmt: skip
    run = run_task(
        SentinelHubBatchProcessOperator(task_id="batch", request=asked, deferrable=False, poll_interval=0.05)
    )
    assert run.state == "success", run.error
    report_url = comms.xcoms["return_value"]["report_url"]
    run = run_task(ingest(source=report_url, sensing_time=SENSED))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["ingested"], result["cost_pu"]) == (4, 5)
    assert len(json.dumps(result)) < 4000
    hook = SentinelHubByocHook()
    assert {*hook.get_collection(result["collection_id"]).additional_data.bands} == {"red", "mask"}
    assert all(tile.path.endswith("/(BAND).tif") for tile in hook.tiles(result["collection_id"]))


@pytest.mark.parametrize("existing", [False, True])
def test_a_batch_adds_to_a_collection_itself(
    sim: Simulator, run_task: RunTask, comms: Comms, *, existing: bool
) -> None:
    hook = SentinelHubByocHook()
    asked = request(sim.ready, output__cogOutput=True, output__createCollection=True)
    if existing:
        made = hook.create_collection({"name": "mine", "s3Bucket": sim.ready.bucket})
        asked["output"]["collectionId"] = made.id
        del asked["output"]["createCollection"]
    run = run_task(
        SentinelHubBatchProcessOperator(task_id="batch", request=asked, deferrable=False, poll_interval=0.05)
    )
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert result["data_type"] == f"byoc-{result['collection_id']}"
    if existing:
        assert result["collection_id"] == made.id
    waiting = SentinelHubByocSensor(
        task_id="wait", collection_id=result["data_type"], at_least=4, poke_interval=0.1, deferrable=False
    )
    run = run_task(waiting)
    assert run.state == "success", run.error
    assert comms.xcoms["return_value"]["ingested"] == 4


# -------------------------------------------------------------------------------------------------------------- sensor


def test_the_sensor_waits_deferred_for_tiles_of_others(
    sim: Simulator, run_task: RunTask, comms: Comms, folder: Folder
) -> None:
    folder.fill(2, ("B4",))
    hook = SentinelHubByocHook()
    made = hook.create_collection({"name": "others", "s3Bucket": sim.ready.bucket})
    waiting = SentinelHubByocSensor(
        task_id="wait",
        collection_id=made.id,
        path_prefix=f"{folder.name}/t",
        at_least=2,
        deferrable=True,
        poll_interval=0.05,
    )
    first = run_task(waiting)
    assert first.state == "deferred", first.error
    for number in range(2):
        hook.create_tile(made.id, {"path": f"{folder.name}/t00{number}/(BAND).tif"})
    hook.create_tile(made.id, {"path": f"{folder.name}/nothing/(BAND).tif"})
    event = asyncio.run(first_event(first.trigger, comms))
    run = run_task(waiting, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "success", run.error
    assert (comms.xcoms["return_value"]["total"], comms.xcoms["return_value"]["ingested"]) == (2, 2)


# ----------------------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"collection_id": "x"}, "collection_id"),
        (
            {"sensing_time_pattern": "(?P<time>x)", "sensing_time": SENSED},
            "sensing_time_pattern",
        ),
        ({"sensing_time": "{{ ds }}"}, "sensing_time"),
        ({"file_pattern": "no group"}, "file_pattern"),
    ],
)
def test_what_does_not_go_together_is_named_before_anything_is_sent(
    sim: Simulator, run_task: RunTask, given: dict[str, Any], field: str
) -> None:
    run = run_task(ingest(source=f"s3://{sim.ready.bucket}/f", **given))
    assert run.state == "failed"
    assert str(run.error).startswith(f"{field} = ")
    assert changes(sim) == 0


@pytest.mark.parametrize(
    ("given", "field"),
    [({"reingest": "some"}, "reingest"), ({"concurrency": 0}, "concurrency"), ({"cover": 1}, "cover")],
)
def test_wrong_parameters_are_named_when_the_dag_is_parsed(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidParameter, match=rf"^{field} = "):
        ingest(source="s3://b/f", **given)
