"""Batch Processing V1: tiles with statuses, restarts, reserved processing units, collections."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import rasterio

from airflow_provider_sentinelhub.simulator.apis.batch_v1 import LIFECYCLE
from airflow_provider_sentinelhub.simulator.bucket.delivery import Template, tile_id
from airflow_provider_sentinelhub.simulator.caller import Answer, call
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import EVALSCRIPT, sample_tiles
from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
from airflow_provider_sentinelhub.simulator.tasks.script import FeatureRule, Subject, Timing
from tests.simulator.conftest import until

Json = dict[str, Any]
V1 = "/api/v1/batch"
PROCESS = f"{V1}/process"
CORSICA = [8.44, 41.31, 9.66, 43.1]
SINGLE = EVALSCRIPT.replace("bands: 2", "bands: 1")
AT_ONCE = dict.fromkeys(
    ("pickup_seconds", "analysis_seconds", "queue_seconds", "feature_seconds", "finalising_seconds", "stop_seconds"), 0
)
# One tile of 334 x 334 pixels and two bands, without the discount.
FULL_PU = 334**2 / 512**2 * 2 / 3


class V1Client:
    """Shortcuts for calls of one test, whose files go to a folder of its own."""

    def __init__(self, sim: Simulator, folder: str) -> None:
        self.sim = sim
        self.folder = folder

    def script(self, *features: Json, **others: Any) -> None:
        timing = {**AT_ONCE, **others.pop("timing", {})}
        self.sim.set_script({"timing": timing, "features": list(features), **others})

    def post(self, **changes: Any) -> Answer:
        return self.sim.call("POST", PROCESS, sample_tiles(self.sim.ready, self.folder, **changes))

    def create(self, **changes: Any) -> str:
        answer = self.post(**changes)
        assert answer.status == 201, answer.body
        return str(answer.body["id"])

    def do(self, task_id: str, action: str) -> int:
        return self.sim.call("POST", f"{PROCESS}/{task_id}/{action}").status

    def get(self, task_id: str) -> Json:
        body: Json = self.sim.call("GET", f"{PROCESS}/{task_id}").body
        return body

    def until(self, task_id: str, *statuses: str) -> Json:
        return until(self.sim, PROCESS, task_id, *statuses)

    def after(self, task_id: str, rounds: int) -> Json:
        """Wait for the end of a round of processing."""
        deadline = time.monotonic() + 30
        while True:
            events = self.events(task_id, "status")
            if events.count("status PROCESSING") == rounds and events[-1] != "status PROCESSING":
                return self.get(task_id)
            assert time.monotonic() < deadline, events
            time.sleep(0.02)

    def run(self, **changes: Any) -> Json:
        task_id = self.create(**changes)
        assert self.do(task_id, "start") == 204
        return self.until(task_id, "DONE", "PARTIAL", "FAILED")

    def tiles(self, task_id: str, query: str = "") -> list[Json]:
        found: list[Json] = self.sim.call("GET", f"{PROCESS}/{task_id}/tiles?{query}").body["data"]
        return found

    def events(self, task_id: str, start: str = "") -> list[str]:
        return [each["event"] for each in self.sim.task(task_id)["history"] if each["event"].startswith(start)]

    def balance(self) -> float:
        return float(self.sim.admin("GET", "/account")["pu_balance"])


@pytest.fixture
def v1(sim: Simulator, request: pytest.FixtureRequest) -> V1Client:
    client = V1Client(sim, f"{request.node.originalname}-{time.time_ns()}")
    client.script()
    return client


def test_nine_of_66_tiles_fail_and_are_restarted(v1: V1Client) -> None:
    v1.script({"indexes": [*range(9)], "outcome": "fatal", "error": "no memory", "first_attempts": 2})
    partial = v1.run(processRequest__input__bounds__bbox=CORSICA)
    task_id = partial["id"]
    assert (partial["status"], partial["tileCount"]) == ("PARTIAL", 66)
    assert partial["error"] == "9 tiles failed: no memory"
    assert v1.balance() == pytest.approx(1_000_000 - 57 * FULL_PU / 3)
    for rounds in (2, 3):
        v1.sim.stop_clock()
        assert v1.do(task_id, "restartpartial") == 204
        # Still PARTIAL for a moment, with all tiles waiting and the estimate of nine of them reserved.
        now = v1.get(task_id)
        assert (now["status"], now["userAction"]) == ("PARTIAL", "START")
        assert len(v1.tiles(task_id, "status=PENDING")) == 9
        assert v1.balance() == pytest.approx(1_000_000 - 57 * FULL_PU / 3 - 9 * FULL_PU)
        # Who restarts again is refused, and nothing is reserved twice.
        assert v1.do(task_id, "restartpartial") == 400
        assert v1.sim.call("PUT", f"{PROCESS}/{task_id}", {"description": "x"}).status == 409
        v1.sim.run_clock()
        done = v1.after(task_id, rounds)
    assert (done["status"], "error" in done) == ("DONE", False)
    shown = v1.tiles(task_id)
    assert {tile["status"] for tile in shown} == {"PROCESSED"}
    assert sum(tile["cost"] for tile in shown) == pytest.approx(66 * FULL_PU / 3)
    assert v1.balance() == pytest.approx(1_000_000 - 66 * FULL_PU / 3)
    refused = v1.sim.call("POST", f"{PROCESS}/{task_id}/restartpartial")
    assert (refused.status, refused.body["error"]["message"]) == (
        400, "Only requests with status PARTIAL can be restarted.",
    )  # fmt: skip
    assert v1.events(task_id, "user") == ["user START", "user RESTART", "user RESTART"]
    tried = [each["number"] for each in v1.sim.task(task_id)["attempts"]]
    assert tried == sorted([*range(1, 67), *range(1, 10), *range(1, 10)])


def test_a_tile_that_always_fails_stays_partial(v1: V1Client) -> None:
    v1.script({"indexes": [0], "outcome": "fatal", "error": "no memory"})
    task_id = v1.run()["id"]
    for rounds in (2, 3):
        assert v1.do(task_id, "restartpartial") == 204
        assert v1.after(task_id, rounds)["error"] == "1 tile failed: no memory"
    assert [tile["name"] for tile in v1.tiles(task_id, "status=FAILED")] == ["32TNM_0_1"]


def test_a_request_whose_tiles_all_fail_is_failed_and_costs_nothing(v1: V1Client) -> None:
    v1.script({"outcome": "fatal", "error": "no memory"})
    task = v1.run()
    assert (task["status"], task["error"]) == ("FAILED", "4 tiles failed: no memory")
    assert v1.balance() == 1_000_000
    assert v1.do(task["id"], "restartpartial") == 400
    assert v1.sim.call("DELETE", f"{PROCESS}/{task['id']}").status == 204


@pytest.mark.parametrize(("times", "status", "tries"), [(2, "DONE", 3), (3, "PARTIAL", 3)])
def test_a_stuck_tile_is_tried_three_times(v1: V1Client, times: int, status: str, tries: int) -> None:
    v1.script({"indexes": [3], "outcome": "stuck", "first_attempts": times})
    task = v1.run()
    assert task["status"] == status
    tried = [each for each in v1.sim.task(task["id"])["attempts"] if each["number"] == 4]
    assert len(tried) == tries
    assert [each["status"] for each in tried[:2]] == ["PENDING", "PENDING"]


def test_rules_count_attempts_within_a_task() -> None:
    rule = FeatureRule(outcome="fatal", first_attempts=2)
    assert [rule.decides(Subject("a", attempt=number)) for number in range(3)] == [True, True, False]


def test_statuses_of_tiles_as_time_passes(v1: V1Client) -> None:
    v1.script(timing={"feature_seconds": 1e6, "parallel": 1})
    task_id = v1.create(tilingGrid={"id": 1, "resolution": 20.0})
    assert v1.tiles(task_id) == []
    v1.do(task_id, "analyse")
    v1.until(task_id, "ANALYSIS_DONE")
    assert {tile["status"] for tile in v1.tiles(task_id)} == {"PENDING"}
    v1.do(task_id, "start")
    v1.until(task_id, "PROCESSING")
    assert [tile["status"] for tile in v1.tiles(task_id)][:4] == ["PROCESSING", "QUEUED", "SCHEDULED", "PENDING"][:4]
    for query in ("status=DONE", "count=0", "viewtoken=x"):
        assert v1.sim.call("GET", f"{PROCESS}/{task_id}/tiles?{query}").status == 400
    assert v1.do(task_id, "cancel") == 204
    v1.until(task_id, "CANCELED")


def test_a_request_is_answered_at_the_top_level(v1: V1Client) -> None:
    given = sample_tiles(v1.sim.ready, v1.folder)
    task = v1.sim.call("POST", PROCESS, given).body
    assert {key: task[key] for key in ("tilingGrid", "description")} == {
        "tilingGrid": given["tilingGrid"], "description": v1.folder,
    }  # fmt: skip
    assert (task["status"], task["userAction"], task["tileCount"]) == ("CREATED", "NONE", 4)
    assert (task["tileWidthPx"], task["tileHeightPx"]) == (334, 334)
    assert not {"valueEstimate", "error", "request", "costPU", "tilingGridId"} & task.keys()


def test_the_older_grid_and_a_buffer(v1: V1Client) -> None:
    older = v1.post(tilingGrid=..., tilingGridId=0, resolution=60).body
    assert (older["tilingGrid"], "resolution" in older) == ({"id": 0, "resolution": 60.0}, False)
    task = v1.run(tilingGrid={"id": 0, "resolution": 60, "bufferX": 3, "bufferY": 5})
    assert (task["status"], task["tileWidthPx"], task["tileHeightPx"]) == ("DONE", 334, 334)
    tile = v1.tiles(task["id"])[0]
    with rasterio.open(v1.sim.bucket_folder / v1.folder / task["id"] / tile["name"] / "default.tif") as image:
        assert (image.width, image.height) == (340, 344)
        assert [image.bounds.left + 180, image.bounds.bottom + 300] == tile["origin"]["coordinates"]
    assert tile["id"] == tile_id(tile["name"])


def test_the_estimate_is_reserved_at_the_start(v1: V1Client) -> None:
    v1.script(timing={"feature_seconds": 1e6, "parallel": 1})
    task_id = v1.create()
    v1.sim.set_balance(3 * FULL_PU)
    refused = v1.sim.call("POST", f"{PROCESS}/{task_id}/start")
    assert (refused.status, refused.body["error"]["code"]) == (403, "ACCESS_INSUFFICIENT_PROCESSING_UNITS")
    v1.sim.set_balance(5 * FULL_PU)
    assert v1.do(task_id, "start") == 204
    assert v1.balance() == pytest.approx(FULL_PU)
    started = v1.until(task_id, "PROCESSING")
    assert started["valueEstimate"] == pytest.approx(4 * FULL_PU)
    assert v1.do(task_id, "cancel") == 204
    v1.until(task_id, "CANCELED")
    assert v1.balance() == pytest.approx(5 * FULL_PU)


def test_the_estimate_assumes_a_sample_every_three_days(v1: V1Client) -> None:
    orbit = EVALSCRIPT.replace("return {\n    input", 'return {\n    mosaicking: "ORBIT",\n    input')
    task_id = v1.create(processRequest__evalscript=orbit)
    v1.do(task_id, "analyse")
    assert v1.until(task_id, "ANALYSIS_DONE")["valueEstimate"] == pytest.approx(10 * 4 * FULL_PU)


STATUSES = ("CREATED", "ANALYSING", "ANALYSIS_DONE", "PROCESSING", "DONE", "PARTIAL", "FAILED", "CANCELED")
ALLOWED = {
    ("CREATED", "NONE"): {"ANALYSE", "START", "CANCEL"},
    ("CREATED", "ANALYSE"): {"CANCEL"},
    ("CREATED", "START"): {"CANCEL"},
    ("ANALYSING", "ANALYSE"): {"START", "CANCEL"},
    ("ANALYSING", "START"): {"CANCEL"},
    ("ANALYSIS_DONE", "ANALYSE"): {"START", "CANCEL"},
    ("ANALYSIS_DONE", "START"): {"CANCEL"},
    ("PROCESSING", "START"): {"CANCEL"},
    ("PARTIAL", "START"): {"RESTART"},
    ("PARTIAL", "RESTART"): {"CANCEL"},
}


@pytest.mark.parametrize("status", STATUSES)
def test_every_action_in_every_status(status: str) -> None:
    for before in ("NONE", "ANALYSE", "START", "CANCEL", "RESTART"):
        task = Task(id="t", api="a", request={}, created=0, since=0, status=status, user_action=before)
        expected = ALLOWED.get((status, before), set())
        assert {each for each in ("ANALYSE", "START", "CANCEL", "RESTART") if LIFECYCLE.allows(task, each)} == expected
        if "CANCEL" not in expected:
            assert not LIFECYCLE.act(task, "CANCEL", 10, Timing())
            assert (task.user_action, task.history) == (before, [])


def test_start_goes_to_processing_at_once_and_a_broken_evalscript_fails(v1: V1Client) -> None:
    done = v1.run()
    assert done["status"] == "DONE"
    assert v1.events(done["id"]) == ["created", "user START", "status PROCESSING", "status DONE"]
    failed = v1.run(processRequest__evalscript="wrong")
    assert (failed["status"], "valueEstimate" in failed) == ("FAILED", False)
    assert failed["error"].startswith("Evalscript error")
    assert v1.balance() == pytest.approx(1_000_000 - 4 * FULL_PU / 3)


def test_a_cancel_during_the_analysis_waits_for_its_end(v1: V1Client) -> None:
    v1.script(timing={"analysis_seconds": 100})
    task_id = v1.create()
    v1.do(task_id, "analyse")
    v1.until(task_id, "ANALYSING")
    assert v1.do(task_id, "cancel") == 204
    assert v1.get(task_id)["userAction"] == "CANCEL"
    v1.until(task_id, "CANCELED")
    assert "status ANALYSIS_DONE" in v1.events(task_id)
    # Once more has no effect, and is no error.
    assert v1.do(task_id, "cancel") == 204
    assert v1.events(task_id, "user") == ["user ANALYSE", "user CANCEL"]
    assert v1.do(task_id, "start") == 400


def test_a_waiting_restart_can_be_canceled(v1: V1Client) -> None:
    v1.script({"indexes": [0], "outcome": "fatal"}, timing={"restart_seconds": 1e6})
    task_id = v1.run()["id"]
    assert v1.do(task_id, "restartpartial") == 204
    assert v1.do(task_id, "cancel") == 204
    v1.until(task_id, "CANCELED")
    assert v1.balance() == pytest.approx(1_000_000 - 3 * FULL_PU / 3)


def test_actions_are_404_right_after_create(v1: V1Client) -> None:
    v1.script(timing={"actions_after_seconds": 1000})
    task_id = v1.create()
    assert v1.get(task_id)["status"] == "CREATED"
    assert v1.do(task_id, "start") == 404
    v1.sim.advance_clock(1000)
    assert v1.do(task_id, "start") == 204


@pytest.mark.parametrize(
    ("delivery", "parameter"),
    [
        ({"bucketName": "sentinelhub"}, "bucketName"),
        ({"output": {"defaultTilePath": "s3://sentinelhub/x"}}, "output->defaultTilePath"),
    ],
)
def test_a_bucket_without_a_policy(v1: V1Client, delivery: Json, parameter: str) -> None:
    v1.script(buckets_without_policy=["sentinelhub"])
    changes = {"output": ..., **delivery}
    refused = v1.post(**changes)
    assert refused.status == 400
    assert refused.body["error"]["errors"] == [
        {"parameter": parameter, "violation": "Unable to access the S3 bucket: AccessDenied."}
    ]


def test_a_policy_that_is_gone_at_the_start(v1: V1Client) -> None:
    task_id = v1.create()
    v1.script(buckets_without_policy=["sentinelhub"])
    v1.do(task_id, "start")
    assert v1.until(task_id, "FAILED")["error"] == "Unable to access the S3 bucket: AccessDenied."
    assert v1.balance() == 1_000_000


def test_an_unknown_bucket_is_refused(v1: V1Client) -> None:
    refused = v1.post(output__defaultTilePath="s3://no-such-bucket")
    assert "NoSuchBucket" in refused.body["error"]["message"]


def test_bucket_name_is_short_for_the_usual_template(v1: V1Client) -> None:
    task = v1.run(output=..., bucketName=v1.sim.ready.bucket)
    assert (task["bucketName"], "output" in task) == (v1.sim.ready.bucket, False)
    names = {each["name"] for each in v1.tiles(task["id"])}
    assert {path.parent.name for path in (v1.sim.bucket_folder / task["id"]).rglob("default.tif")} == names


def test_outputs_with_paths_of_their_own(v1: V1Client) -> None:
    root = f"s3://{v1.sim.ready.bucket}/{v1.folder}"
    two = EVALSCRIPT.replace("nodataValue: 0 }", 'nodataValue: 0 }, { id: "mask", bands: 1 }')
    output = {
        "defaultTilePath": f"{root}/usual/<tileName>.<format>",
        "responses": [{"identifier": "mask", "tilePath": f"{root}/masks/<tileId>.tif"}],
    }
    responses = [{"identifier": name, "format": {"type": "image/tiff"}} for name in ("default", "mask")]
    changes = {"processRequest__evalscript": two, "processRequest__output__responses": responses}
    refused = v1.post(output={**output, "responses": []}, **changes)
    assert "<outputId>" in refused.body["error"]["message"]
    task = v1.run(output=output, **changes)
    assert task["status"] == "DONE", task
    names = [each["name"] for each in v1.tiles(task["id"])]
    assert sorted(path.name for path in (v1.sim.bucket_folder / v1.folder / "usual").iterdir()) == sorted(
        f"{name}.tif" for name in names
    )
    assert len([*(v1.sim.bucket_folder / v1.folder / "masks").iterdir()]) == 4
    again = v1.run(output=output, **changes)
    assert again["error"].endswith("already exists.")


def test_a_template_of_several_paths_has_their_common_root() -> None:
    template = Template.of("s3://b/a/x/<tileName>.tif", "t", {"mask": "s3://b/a/y/z/<tileName>.tif"})
    assert (template.root, template.output("n", "mask", "image/tiff")) == ("a", "a/y/z/n.tif")


def test_skipped_tiles_are_processed_ones_that_cost_nothing(v1: V1Client) -> None:
    path = {"defaultTilePath": f"s3://{v1.sim.ready.bucket}/{v1.folder}/<tileName>.tif", "skipExisting": True}
    first = v1.run(output=path, processRequest__input__bounds__bbox=[9.25, 42.1, 9.26, 42.105])
    assert [tile["name"] for tile in v1.tiles(first["id"])] == ["32TNM_1_1"]
    before = v1.balance()
    second = v1.run(output=path)
    assert (first["status"], second["status"]) == ("DONE", "DONE")
    costs = {tile["name"]: tile["cost"] > 0 for tile in v1.tiles(second["id"], "status=PROCESSED")}
    assert costs == {"32TNM_0_1": True, "32TNM_0_2": True, "32TNM_1_1": False, "32TNM_1_2": True}
    assert v1.balance() == pytest.approx(before - 3 * FULL_PU / 3)


@pytest.mark.parametrize(
    ("output", "status"),
    [
        ({"defaultTilePath": "s3://sentinelhub/x/<tileName>-<outputId>.tif"}, 400),
        (
            {
                "defaultTilePath": "s3://sentinelhub/x/<tileName>-<outputId>.tif",
                "overwrite": True,
                "skipExisting": True,
            },
            400,
        ),
        ({"defaultTilePath": "s3://sentinelhub/x/<tileName>-<outputId>.tif", "overwrite": True}, 201),
        ({"defaultTilePath": "s3://sentinelhub/x/<requestId>-<tileName>-<outputId>.tif"}, 201),
        ({"defaultTilePath": "s3://sentinelhub/x"}, 201),
    ],
)
def test_many_files_need_a_path_of_their_own(v1: V1Client, output: Json, status: int) -> None:
    responses = [{"identifier": f"band{number}", "format": {"type": "image/tiff"}} for number in range(1250)]
    answer = v1.post(processRequest__output__responses=responses, output=output)
    assert answer.status == status, answer.body


@pytest.mark.parametrize(
    ("changes", "parameter"),
    [
        ({"tilingGrid": ...}, "tilingGrid"),
        ({"tilingGrid__id": 4}, "tilingGrid->id"),
        ({"tilingGrid__resolution": 17}, "tilingGrid->resolution"),
        ({"tilingGridId": 0}, "tilingGrid"),
        ({"output": ...}, "output"),
        ({"bucketName": "sentinelhub"}, "output"),
        ({"output": {}}, "output->defaultTilePath"),
        ({"output": {"responses": [{"tilePath": "s3://other/<tileName>"}]}}, "output->defaultTilePath"),
        ({"output__defaultTilePath": "s3://sentinelhub/<what>"}, "output->defaultTilePath"),
        ({"output__createCollection": True}, "output->createCollection"),
        ({"output__collectionId": "x"}, "output->collectionId"),
        ({"output__responses": [{"identifier": "x", "tilePath": "s3://sentinelhub/<tileName>"}]},
         "output->responses[0]->identifier"),
        ({"input": {"type": "tiling-grid"}}, "input"),
        ({"processRequest__input__bounds": {}}, "processRequest->input->bounds"),
        ({"output": ..., "bucketName": "a/b?"}, "bucketName"),
    ],
)  # fmt: skip
def test_refused_requests(v1: V1Client, changes: Json, parameter: str) -> None:
    answer = v1.post(**changes)
    assert answer.status == 400
    assert parameter in [each["parameter"] for each in answer.body["error"]["errors"]]


def test_a_zarr_is_checked_like_that_of_other_apis(v1: V1Client) -> None:
    array = {"dtype": "<u2", "order": "C", "chunks": [1, 1000, 1000], "fill_value": 0}
    zarr = {"path": "s3://sentinelhub/zarr/<requestId>", "group": {"zarr_format": 2}, "arrayParameters": array}
    changes = {
        "output": ..., "zarrOutput": zarr, "tilingGrid": {"id": 6, "resolution": 50},
        "processRequest__output__responses": [{"identifier": "default", "format": {"type": "zarr/array"}}],
        "processRequest__evalscript": SINGLE,
    }  # fmt: skip
    assert v1.create(**changes)
    changes["zarrOutput"] = {**zarr, "arrayParameters": {**array, "chunks": [1, 7, 7]}}
    refused = v1.post(**changes, description="x")
    assert refused.body["error"]["errors"][0]["parameter"] == "zarrOutput->arrayParameters->chunks"


def test_multipart(v1: V1Client) -> None:
    request = sample_tiles(v1.sim.ready, v1.folder, processRequest__evalscript=...)
    parts = {"request": json.dumps(request), "evalscript": EVALSCRIPT}
    body = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in parts.items()
    )
    headers = {
        "Authorization": f"Bearer {v1.sim.fetch_token()}",
        "Content-Type": "multipart/form-data; boundary=b",
    }
    created = call("POST", v1.sim.ready.base_url + PROCESS, f"{body}--b--\r\n".encode(), headers)
    assert (created.status, created.body["processRequest"]["evalscript"]) == (201, EVALSCRIPT)


def test_put_and_delete(v1: V1Client) -> None:
    task_id = v1.create()
    path = f"{PROCESS}/{task_id}"
    assert v1.sim.call("PUT", path, {"description": "new"}).body["description"] == "new"
    refused: list[Any] = [{"description": 5}, {"status": "DONE"}, {"output": {"overwrite": True}}, [], {"output": None}]
    for wrong in refused:
        assert v1.sim.call("PUT", path, wrong).status == 400
    v1.sim.stop_clock()
    v1.script(timing={"queue_seconds": 15})
    v1.do(task_id, "start")
    assert [v1.sim.call(method, path, {}).status for method in ("PUT", "DELETE")] == [409, 409]
    v1.sim.run_clock()
    v1.until(task_id, "DONE")
    assert v1.sim.call("DELETE", path).status == 409
    other = v1.create()
    assert v1.sim.call("DELETE", f"{PROCESS}/{other}").status == 204
    assert v1.sim.call("GET", f"{PROCESS}/{other}").status == 404
    assert v1.events(other) == ["created", "user DELETE"]


def collection(v1: V1Client) -> str:
    given = {"name": v1.folder, "s3Bucket": v1.sim.ready.bucket}
    return str(v1.sim.call("POST", f"{V1}/collections", given).body["data"]["id"])


def cog(v1: V1Client, **output: Any) -> Json:
    path = f"s3://{v1.sim.ready.bucket}/{v1.folder}"
    return {
        "output": {"defaultTilePath": path, "cogOutput": True, **output},
        "processRequest__evalscript": output.pop("evalscript", SINGLE),
    }


def test_the_first_request_decides_on_the_bands_of_a_collection(v1: V1Client) -> None:
    made = collection(v1)
    path = f"{V1}/collections/{made}"
    empty = v1.sim.call("GET", path).body["data"]
    assert (empty.get("batchData"), empty["additionalData"].get("bands")) == (None, None)
    first = v1.create(**cog(v1, collectionId=made))
    shown = v1.sim.call("GET", path).body["data"]
    assert shown["batchData"] == {"tilingGridId": 0}
    assert shown["additionalData"]["bands"]["default"] == {
        "source": "default", "bandIndex": 1, "bitDepth": 16, "sampleFormat": "UINT", "noData": 0.0,
    }  # fmt: skip
    other = cog(v1)
    other["processRequest__evalscript"] = SINGLE.replace("UINT16", "FLOAT32")
    second = v1.create(**other)
    for answer in (
        v1.sim.call("PUT", f"{PROCESS}/{second}", {"output": {"collectionId": made}}),
        v1.post(**{**other, "output": {**other["output"], "collectionId": made}}),
    ):
        assert answer.status == 400
        assert answer.body["error"]["errors"][0]["parameter"] == "output->collectionId"
    third = v1.create(**cog(v1))
    linked = v1.sim.call("PUT", f"{PROCESS}/{third}", {"output": {"collectionId": made}}).body
    assert linked["output"]["collectionId"] == made
    listed = v1.sim.call("GET", f"{PROCESS}?collectionId={made}").body["data"]
    assert [each["id"] for each in listed] == [first, third]
    assert v1.sim.call("DELETE", path).status == 409
    assert "collectionId" not in v1.sim.call("PUT", f"{PROCESS}/{third}", {"output": {}}).body["output"]
    v1.do(first, "cancel")
    v1.until(first, "CANCELED")
    assert v1.sim.call("DELETE", path).status == 204
    assert v1.sim.call("GET", path).status == 404
    assert v1.sim.call("PUT", f"{PROCESS}/{third}", {"output": {"collectionId": made}}).status == 400


def test_a_request_makes_its_collection(v1: V1Client) -> None:
    task = v1.run(**cog(v1, createCollection=True))
    made = v1.sim.call("GET", f"{V1}/collections/{task['output']['collectionId']}").body["data"]
    assert (made["s3Bucket"], [*made["additionalData"]["bands"]]) == (v1.sim.ready.bucket, ["default"])
    several = cog(v1, createCollection=True)
    several["processRequest__evalscript"] = EVALSCRIPT
    assert v1.run(**several)["error"].startswith("Output default: the outputs for a collection must have one band")


def test_collections_are_listed_and_renamed(v1: V1Client) -> None:
    made = collection(v1)
    listed = v1.sim.call("GET", f"{V1}/collections?search={v1.folder}&count=1").body
    assert ([each["id"] for each in listed["data"]], "search=" in listed["links"]["@id"]) == ([made], True)
    # A client sends back all that it has got.
    known = {**listed["data"][0], "name": "new"}
    assert v1.sim.call("PUT", f"{V1}/collections/{made}", known).status == 204
    assert v1.sim.call("GET", f"{V1}/collections/{made}").body["data"]["name"] == "new"
    assert v1.sim.call("PUT", f"{V1}/collections/{made}", {"name": 5}).status == 400
    assert v1.sim.call("POST", f"{V1}/collections", []).status == 400


def test_lists(v1: V1Client) -> None:
    created = [v1.create() for _ in range(3)]
    path = f"{PROCESS}?search={v1.folder}"
    first = v1.sim.call("GET", f"{path}&count=2&sort=created:desc").body
    assert [each["id"] for each in first["data"]] == created[:0:-1]
    assert f"{PROCESS}?" in first["links"]["next"]
    last = v1.sim.call("GET", f"{path}&count=2&sort=created:desc&viewtoken={first['links']['nextToken']}").body
    assert [each["id"] for each in last["data"]] == created[:1]
    user = first["data"][0]["userId"]
    assert len(v1.sim.call("GET", f"{path}&userid={user}").body["data"]) == 3
    assert v1.sim.call("GET", f"{path}&userid=other").body["data"] == []
    assert v1.sim.call("GET", f"{path}&sort=name").status == 400
    others = v1.sim.call("GET", "/batch/v2/process").body["data"]
    assert not {each["id"] for each in others} & {*created}
