from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import STATISTICS_EVALSCRIPT, upload
from tests.simulator.statistics_support import BASE, create, folder_of, results

Json = dict[str, Any]
Request = Callable[..., Json]
Wait = Callable[..., Json]
Run = Callable[[Json], Json]


@pytest.mark.parametrize("prefix", ["/api/v1/statistics/batch", BASE])
@pytest.mark.parametrize("slash", ["", "/"])
def test_both_layouts_serve_everything(sim: Simulator, statistics_for: Request, prefix: str, slash: str) -> None:
    created = sim.call("POST", f"{prefix}{slash}", statistics_for())
    assert created.status == 201, created.body
    path = f"{prefix}/{created.body['id']}"
    assert sim.call("GET", f"{path}{slash}").body == created.body
    assert sim.call("GET", f"{path}/status{slash}").body["status"] == "CREATED"
    listed = sim.call("GET", f"{prefix}{slash}?count=1&sort=created:desc").body
    assert [task["id"] for task in listed["data"]] == [created.body["id"]]
    assert listed["links"]["@id"].startswith(f"{sim.ready.base_url}{BASE}?")
    for action in ("analyse", "start", "stop", "cancel"):
        assert sim.call("POST", f"{path}/{action}{slash}").status in {204, 400}
    for method in ("PUT", "DELETE"):
        assert sim.call(method, f"{path}{slash}", {}).status == 405
    assert sim.requests()["counts"][f"GET {prefix}/{{id}}"] == 1


def test_a_new_task_looks_as_documented(sim: Simulator, statistics_for: Request) -> None:
    task = sim.call("POST", BASE, statistics_for()).body
    assert (task["status"], task["userAction"], task["completionPercentage"], task["costPU"]) == (
        "CREATED",
        "NONE",
        0,
        0,
    )
    for part in (task["request"]["input"]["features"], task["request"]["output"]):
        assert (part["s3"]["accessKey"], part["s3"]["secretAccessKey"]) == ("*****", "*****")
    assert task["request"]["aggregation"]["aggregationInterval"]["lastIntervalBehavior"] == "SKIP"
    status = sim.call("GET", f"{BASE}/{task['id']}/status").body
    assert set(status) == {"id", "status", "completionPercentage", "costPU", "created"}
    assert str(uuid.UUID(task["userId"])) == task["userId"]


def test_tasks_of_one_api_are_unknown_to_the_other(
    sim: Simulator, request_for: Request, statistics_for: Request
) -> None:
    images = sim.call("POST", "/batch/v2/process", request_for()).body["id"]
    statistics = create(sim, statistics_for())
    assert sim.call("GET", f"{BASE}/{images}").status == 404
    assert sim.call("GET", f"/batch/v2/process/{statistics}").status == 404
    assert sim.call("POST", f"/batch/v2/process/{statistics}/start").status == 404
    newest = sim.call("GET", "/batch/v2/process?sort=created:desc&count=1").body["data"]
    assert [task["id"] for task in newest] == [images]


def test_lists_come_in_pages(sim: Simulator, statistics_for: Request) -> None:
    before = sim.call("GET", f"{BASE}?sort=created:desc&count=1").body["data"]
    created = [create(sim, statistics_for()) for _ in range(3)]
    query = f"{BASE}?sort=created:desc&count=2"
    first = sim.call("GET", query).body
    second = sim.call("GET", f"{query}&viewtoken={first['links']['nextToken']}").body
    seen = [task["id"] for page in (first, second) for task in page["data"]]
    assert seen == [*created[::-1], *(task["id"] for task in before)]
    assert sim.call("GET", f"{BASE}?sort=size").status == 400


def test_every_feature_has_a_file_and_the_folder_nothing_else(
    sim: Simulator, statistics_for: Request, run_statistics: Run
) -> None:
    request = statistics_for()
    task = run_statistics(request)
    assert (task["status"], task["completionPercentage"], task["costPU"]) == ("DONE", 100, 100.0)
    folder = folder_of(sim, request)
    found = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    assert found == [*(f"{task['id']}/{number}.json" for number in range(1, 5)), "parcels.gpkg"]
    one = results(sim, task)["1"]
    assert (one["id"], one["identifier"]) == (1, f"{folder.name}-1")
    assert one["response"]["status"] == "OK"
    data = one["response"]["data"]
    assert [entry["interval"]["from"] for entry in data] == [
        f"2024-{month:02}-{day:02}T00:00:00Z" for month, day in ((4, 1), (4, 8), (4, 15), (4, 22), (4, 29), (5, 6))
    ]
    stats = [entry["outputs"]["ndvi"]["bands"]["B0"]["stats"] for entry in data]
    assert {each["sampleCount"] for each in stats} == {400}
    assert set(stats[0]["percentiles"]) == {"5.0", "50.0", "95.0"}
    assert stats[0]["min"] <= stats[0]["percentiles"]["50.0"] <= stats[0]["max"]


def test_the_same_request_gives_the_same_values(sim: Simulator, statistics_for: Request, run_statistics: Run) -> None:
    request = statistics_for()
    assert results(sim, run_statistics(request)) == results(sim, run_statistics(request))


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("", "{task}/1.json"),
        ("/", "{task}/1.json"),
        ("/<REQUEST_ID>/<ID>.json", "{task}/1.json"),
        ("/<ID>_stats.json", "1_stats.json"),
        ("/<IDENTIFIER>/<REQUEST_ID>.json", "{folder}-1/{task}.json"),
    ],
)
def test_files_go_where_the_template_says(
    sim: Simulator, statistics_for: Request, run_statistics: Run, template: str, name: str
) -> None:
    request = statistics_for()
    folder = folder_of(sim, request)
    request["output"]["s3"]["url"] += template
    task = run_statistics(request)
    assert task["status"] == "DONE", task
    assert (folder / name.format(task=task["id"], folder=folder.name)).is_file()


def test_the_evalscript_may_be_in_the_bucket(sim: Simulator, statistics_for: Request, run_statistics: Run) -> None:
    request = statistics_for()
    access = request["output"]["s3"]
    script = folder_of(sim, request) / "evalscripts" / "tagged.js"
    upload(sim.ready, f"{folder_of(sim, request).name}/evalscripts/tagged.js", STATISTICS_EVALSCRIPT.encode())
    del request["aggregation"]["evalscript"]
    reference = {"s3": {**access, "url": f"{access['url']}/evalscripts/tagged.js"}}
    request["aggregation"]["evalscriptReference"] = reference
    sim.set_script({"tasks": [{"match": "tagged", "stop": {"reason": "UNHEALTHY", "after_fraction": 0.5}}]})
    task = run_statistics(request)
    assert (task["status"], task["stoppedStatusReason"]) == ("STOPPED", "UNHEALTHY")
    # It is read once: later changes of the file do not matter.
    script.unlink()
    sim.advance_clock(1800)
    assert sim.call("POST", f"{BASE}/{task['id']}/start").status == 204
    deadline = time.monotonic() + 30
    while sim.call("GET", f"{BASE}/{task['id']}/status").body["status"] != "DONE":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(results(sim, task)) == 4
    reference["s3"]["url"] += ".missing"
    missing = run_statistics(request)
    assert missing["status"] == "FAILED"
    assert "tagged.js.missing cannot be read: NoSuchKey" in missing["error"]


def test_a_task_that_runs_out_of_processing_units_is_locked_for_an_hour(
    sim: Simulator, statistics_for: Request, wait_statistics: Wait
) -> None:
    sim.set_script({"timing": {"feature_seconds": 100, "parallel": 1}})
    task_id = create(sim, statistics_for())
    sim.call("POST", f"{BASE}/{task_id}/start")
    wait_statistics(task_id, "PROCESSING")
    sim.set_balance(999)
    assert wait_statistics(task_id, "STOPPED")["stoppedStatusReason"] == "OUT_OF_PU"
    sim.set_balance(10_000)
    sim.stop_clock()
    sim.advance_clock(1800)
    early = sim.call("POST", f"{BASE}/{task_id}/start")
    assert early.status == 400
    assert "after 60 minutes" in early.body["error"]["message"]
    sim.advance_clock(1800)
    assert sim.call("POST", f"{BASE}/{task_id}/start").status == 204
    sim.run_clock()
    wait_statistics(task_id, "DONE")


@pytest.mark.parametrize("action", ["stop", "cancel"])
def test_a_stopped_task_can_continue_after_half_an_hour(
    sim: Simulator, statistics_for: Request, wait_statistics: Wait, action: str
) -> None:
    sim.set_script({"timing": {"feature_seconds": 100, "parallel": 1}})
    request = statistics_for()
    task_id = create(sim, request)
    assert sim.call("POST", f"{BASE}/{task_id}/{action}").status == 400
    sim.call("POST", f"{BASE}/{task_id}/start")
    wait_statistics(task_id, "PROCESSING")
    assert sim.call("POST", f"{BASE}/{task_id}/{action}").status == 204
    stopped = wait_statistics(task_id, "STOPPED")
    assert stopped["stoppedStatusReason"] == "USER_ACTION"
    assert "after 30 minutes" in sim.call("POST", f"{BASE}/{task_id}/start").body["error"]["message"]
    sim.advance_clock(1800)
    assert sim.call("POST", f"{BASE}/{task_id}/start").status == 204
    assert len(results(sim, wait_statistics(task_id, "DONE"))) == 4


DAY = 86_400


def test_tasks_nobody_touches_are_deleted(
    sim: Simulator, statistics_for: Request, request_for: Request, run_statistics: Run
) -> None:
    request = statistics_for()
    done = run_statistics(request)
    failed = run_statistics(statistics_for(aggregation__evalscript="wrong"))
    sim.stop_clock()
    created, images = create(sim, request), sim.call("POST", "/batch/v2/process", request_for()).body["id"]

    def status(task_id: str) -> int:
        return sim.call("GET", f"{BASE}/{task_id}").status

    tasks = (created, failed["id"], done["id"])
    sim.advance_clock(7 * DAY - 1)
    assert [status(task_id) for task_id in tasks] == [200, 200, 200]
    sim.advance_clock(1)
    assert [status(task_id) for task_id in tasks] == [404, 200, 200]
    sim.advance_clock(8 * DAY)
    assert [status(task_id) for task_id in tasks] == [404, 404, 200]
    sim.advance_clock(15 * DAY)
    assert [status(task_id) for task_id in tasks] == [404, 404, 404]
    assert sim.call("POST", f"{BASE}/{created}/start").status == 404
    newest = sim.call("GET", f"{BASE}?sort=created:desc").body["data"]
    assert not {task["id"] for task in newest} & set(tasks)
    # Results stay, and the other API deletes nothing.
    assert len(results(sim, done)) == 4
    assert sim.call("GET", f"/batch/v2/process/{images}").status == 200
    assert sim.task(created)["history"][-1]["event"] == "deleted"


def test_an_action_keeps_a_task_alive(sim: Simulator, statistics_for: Request, wait_statistics: Wait) -> None:
    sim.stop_clock()
    task_id = create(sim, statistics_for())
    sim.advance_clock(6 * DAY)
    sim.call("POST", f"{BASE}/{task_id}/analyse")
    sim.run_clock()
    wait_statistics(task_id, "ANALYSIS_DONE")
    sim.advance_clock(29 * DAY)
    assert sim.call("GET", f"{BASE}/{task_id}").status == 200
    sim.advance_clock(DAY + 60)
    assert sim.call("GET", f"{BASE}/{task_id}").status == 404
