from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_sentinelhub.client.errors import ServiceUnavailable
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.tasks.script import FeatureRule, Subject

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]
Request = Callable[..., Json]
Wait = Callable[..., Json]
Run = Callable[[Json], Json]
GRIDS = "/batch/v2/tilinggrids"


def folder_of(sim: Simulator, task: Json) -> Path:
    url = task["request"]["output"]["delivery"]["s3"]["url"]
    return sim.bucket_folder / str(url).split("/", 3)[3] / str(task["id"])


def execution(sim: Simulator, task: Json) -> dict[str, tuple[Any, ...]]:
    path = folder_of(sim, task) / f"execution-{task['id']}.sqlite"
    with closing(sqlite3.connect(path)) as database:
        return {row[0]: row[1:] for row in database.execute("SELECT name, status, error, delivered FROM features")}


def test_features_fail_by_name_index_and_pattern(sim: Simulator, request_for: Request, run: Run) -> None:
    rules = [
        {"names": ["32TNM_0_1"], "outcome": "fatal", "error": "Band B99 is missing."},
        {"indexes": [1], "outcome": "no_data"},
        {"pattern": ".*_1_1", "outcome": "undelivered"},
        {"names": ["32TNM_1_2"], "outcome": "pending"},
    ]
    sim.set_script({"features": rules})
    task = run(request_for())
    assert (task["status"], task["completionPercentage"]) == ("DONE", 100)
    assert execution(sim, task) == {
        "32TNM_0_1": ("FATAL", "Band B99 is missing.", 0),
        "32TNM_0_2": ("DONE", "No data", 0),
        "32TNM_1_1": ("DONE", None, 0),
        "32TNM_1_2": ("PENDING", None, 0),
    }
    assert not list(folder_of(sim, task).rglob("*.tif"))


def test_a_delivered_feature_may_lack_its_file(sim: Simulator, request_for: Request, run: Run) -> None:
    sim.set_script({"features": [{"indexes": [0], "outcome": "missing_file"}]})
    task = run(request_for())
    assert set(execution(sim, task).values()) == {("DONE", None, 1)}
    assert len(list(folder_of(sim, task).rglob("*.tif"))) == 3


def test_a_feature_fails_only_the_first_time(sim: Simulator, request_for: Request, run: Run) -> None:
    # In Finland, where no other test processes a tile.
    place = {"bbox": [25.15, 60.35, 25.151, 60.351]}
    rule = {"pattern": ".*", "outcome": "fatal", "first_tasks": 1}
    sim.set_script({"features": [rule]})
    request = request_for(processRequest__input__bounds=place)
    assert [row[0] for row in execution(sim, run(request)).values()] == ["FATAL"]
    assert [row[0] for row in execution(sim, run(request)).values()] == ["DONE"]


def test_a_fraction_picks_the_same_features_every_time() -> None:
    rule = FeatureRule(outcome="fatal", fraction=0.1, seed=7)
    names = [f"32TNM_{n // 10}_{n % 10}" for n in range(1000)]
    picked = [name for name in names if rule.fits(Subject(name))]
    assert 70 <= len(picked) <= 130
    assert picked == [name for name in names if rule.fits(Subject(name, index=5, text="other", earlier=3))]
    other = FeatureRule(outcome="fatal", fraction=0.1, seed=8)
    assert picked != [name for name in names if other.fits(Subject(name))]


def test_an_analysis_fails_as_often_as_the_script_says(sim: Simulator, request_for: Request, run: Run) -> None:
    sim.set_script({"tasks": [{"match": "doomed", "count": 1, "analysis_error": "Evalscript error: out of luck."}]})
    assert run(request_for())["status"] == "DONE"
    failed = run(request_for(description="doomed"))
    assert (failed["status"], failed["error"]) == ("FAILED", "Evalscript error: out of luck.")
    assert run(request_for(description="doomed"))["status"] == "DONE"


@pytest.mark.parametrize("reason", ["UNHEALTHY", "OUT_OF_PU"])
def test_the_service_stops_a_task_on_its_own(
    sim: Simulator, request_for: Request, run: Run, wait: Wait, reason: str
) -> None:
    sim.set_script({"tasks": [{"stop": {"reason": reason, "after_fraction": 0.5}}]})
    task = run(request_for())
    assert (task["status"], task["stoppedStatusReason"]) == ("STOPPED", reason)
    assert sorted(row[0] for row in execution(sim, task).values()) == ["DONE", "DONE", "PENDING", "PENDING"]
    sim.advance_clock(3600)
    assert sim.call("POST", f"/batch/v2/process/{task['id']}/start").status == 204
    assert wait(task["id"], "DONE")


def test_the_admin_stops_a_task(sim: Simulator, request_for: Request, wait: Wait) -> None:
    sim.set_script({"timing": {"feature_seconds": 1e6}})
    task_id = sim.call("POST", "/batch/v2/process", request_for()).body["id"]
    sim.call("POST", f"/batch/v2/process/{task_id}/start")
    wait(task_id, "PROCESSING")
    sim.admin("POST", f"/tasks/{task_id}/stop", {"reason": "UNHEALTHY"})
    assert wait(task_id, "STOPPED")["stoppedStatusReason"] == "UNHEALTHY"
    with pytest.raises(ServiceUnavailable, match="not PROCESSING"):
        sim.admin("POST", f"/tasks/{task_id}/stop", {})


def test_the_execution_database_is_missing_late_cut_or_foreign(sim: Simulator, request_for: Request, run: Run) -> None:
    rules: list[Json] = [
        {"match": mode, "execution_database": {"mode": mode}} for mode in ("missing", "truncated", "other_schema")
    ]
    rules.append({"match": "late", "execution_database": {"mode": "late", "seconds": 1e5}})
    sim.set_script({"tasks": rules, "timing": {"execution_seconds": 1e6}})
    missing = run(request_for(description="missing"))
    assert not list(folder_of(sim, missing).glob("execution*"))
    with pytest.raises(sqlite3.DatabaseError):
        execution(sim, run(request_for(description="truncated")))
    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        execution(sim, run(request_for(description="other_schema")))
    late = run(request_for(description="late"))
    assert not list(folder_of(sim, late).glob("execution*"))
    sim.advance_clock(1e5)
    deadline = time.monotonic() + 10
    while not list(folder_of(sim, late).glob("execution*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(execution(sim, late)) == 4


def test_an_endpoint_answers_with_an_error_so_many_times(sim: Simulator) -> None:
    sim.set_script({"endpoints": [{"method": "GET", "path": "/tilinggrids$", "count": 2, "skip": 1, "status": 503}]})
    assert [sim.call("GET", GRIDS).status for _ in range(4)] == [200, 503, 503, 200]
    assert sim.admin("GET", "/script")["endpoints"][0]["count"] == 0


def test_a_rate_limit_counts_in_milliseconds(sim: Simulator) -> None:
    sim.set_script({"endpoints": [{"path": "/tilinggrids", "count": 1, "status": 429, "retry_after_ms": 1500}]})
    answer = sim.call("GET", GRIDS)
    assert (answer.status, answer.headers["retry-after"]) == (429, "1500")
    assert answer.body["error"]["code"] == "RATE_LIMIT_EXCEEDED"


def test_a_body_may_be_anything(sim: Simulator) -> None:
    rules = [
        {
            "path": "tilinggrids",
            "count": 1,
            "status": 400,
            "body": {"error": {"status": 400, "message": "Request body should be non-empty."}},
        },
        {"path": "tilinggrids", "count": 1, "status": 502, "body": "<html>Bad Gateway</html>"},
        {"path": "tilinggrids", "count": 1, "status": 401, "body": ""},
    ]
    sim.set_script({"endpoints": rules})
    assert sim.call("GET", GRIDS).body["error"]["message"] == "Request body should be non-empty."
    assert sim.call("GET", GRIDS).body == "<html>Bad Gateway</html>"
    assert sim.call("GET", GRIDS).body is None


def test_a_connection_is_cut_before_or_after_the_service_acts(sim: Simulator, request_for: Request) -> None:
    def created() -> int:
        return len(sim.tasks())

    sim.call("GET", GRIDS)
    for action, more in (("drop_before", 0), ("drop_after", 1)):
        sim.set_script({"endpoints": [{"method": "POST", "path": "/process$", "count": 1, "action": action}]})
        before = created()
        with pytest.raises(OSError):  # noqa: PT011 - every broken connection looks a little different
            sim.call("POST", "/batch/v2/process", request_for())
        assert created() == before + more
    faults = [entry["fault"] for entry in sim.requests()["requests"] if entry["method"] == "POST"]
    assert faults == ["drop_before", "drop_after"]


def test_an_answer_is_delayed(sim: Simulator) -> None:
    sim.call("GET", GRIDS)
    sim.set_script({"endpoints": [{"path": "/tilinggrids", "count": 1, "action": "delay", "delay_seconds": 0.3}]})
    before = time.monotonic()
    assert sim.call("GET", GRIDS).status == 200
    assert time.monotonic() - before >= 0.3


def test_the_token_endpoint_fails_as_well(sim: Simulator) -> None:
    sim.set_script({"endpoints": [{"path": "/token$", "count": 1, "status": 500}]})
    with pytest.raises(KeyError):
        sim.fetch_token()
    assert sim.fetch_token()


def test_a_new_task_is_not_found_at_first(sim: Simulator, request_for: Request) -> None:
    sim.set_script({"timing": {"visible_after_seconds": 100}})
    sim.stop_clock()
    task_id = sim.call("POST", "/batch/v2/process", request_for()).body["id"]
    assert sim.call("GET", f"/batch/v2/process/{task_id}").status == 404
    assert sim.call("POST", f"/batch/v2/process/{task_id}/start").status == 404
    sim.advance_clock(100)
    assert sim.call("GET", f"/batch/v2/process/{task_id}").status == 200


def test_the_status_shown_lags_behind(sim: Simulator, request_for: Request) -> None:
    sim.set_script({"timing": {"status_lag_seconds": 50}})
    sim.stop_clock()
    task_id = sim.call("POST", "/batch/v2/process", request_for()).body["id"]
    sim.call("POST", f"/batch/v2/process/{task_id}/start")
    assert sim.call("GET", f"/batch/v2/process/{task_id}").body["userAction"] == "NONE"
    sim.set_script({"timing": {"status_lag_seconds": 5, "pickup_seconds": 1e6}})
    sim.advance_clock(10)
    assert sim.call("GET", f"/batch/v2/process/{task_id}").body["userAction"] == "START"


def test_a_script_with_a_typing_error_is_refused(sim: Simulator) -> None:
    with pytest.raises(ServiceUnavailable, match="400"):
        sim.set_script({"features": [{"outcom": "fatal"}]})
