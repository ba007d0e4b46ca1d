from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sentinelhub.simulator.problems import Problem
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.tasks.lifecycle import ANALYSE_START_STOP, Task
from airflow_provider_sentinelhub.simulator.tasks.script import Timing

Json = dict[str, Any]
Request = Callable[..., Json]
Wait = Callable[..., Json]
Run = Callable[[Json], Json]

STATUSES = ("CREATED", "ANALYSING", "ANALYSIS_DONE", "PROCESSING", "DONE", "FAILED", "STOPPED")
ALLOWED = {
    ("CREATED", "NONE", "ANALYSE"),
    ("CREATED", "NONE", "START"),
    ("ANALYSING", "ANALYSE", "START"),
    ("ANALYSING", "ANALYSE", "STOP"),
    ("ANALYSING", "START", "STOP"),
    ("ANALYSIS_DONE", "ANALYSE", "START"),
    ("ANALYSIS_DONE", "ANALYSE", "STOP"),
    ("ANALYSIS_DONE", "START", "STOP"),
    ("PROCESSING", "START", "STOP"),
    ("STOPPED", "START", "START"),
    ("STOPPED", "STOP", "START"),
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("before", ["NONE", "ANALYSE", "START", "STOP"])
@pytest.mark.parametrize("action", ["ANALYSE", "START", "STOP"])
def test_every_action_in_every_status(status: str, before: str, action: str) -> None:
    task = Task(id="t", api="a", request={}, created=0, since=0, status=status, user_action=before)
    if (status, before, action) in ALLOWED:
        ANALYSE_START_STOP.act(task, action, 10, Timing())
        assert (task.user_action, task.user_action_updated) == (action, 10)
        assert task.status == ("ANALYSIS_DONE" if status == "STOPPED" else status)
        return
    with pytest.raises(Problem) as caught:
        ANALYSE_START_STOP.act(task, action, 10, Timing())
    assert caught.value.status == 400
    assert caught.value.message == f"Illegal to change userAction from {before} to {action} with task status {status}"
    assert task.user_action == before


@pytest.mark.parametrize(("reason", "minutes"), [("USER_ACTION", 30), ("UNHEALTHY", 30), ("OUT_OF_PU", 60)])
def test_a_stopped_task_is_locked_for_a_while(reason: str, minutes: int) -> None:
    task = Task(id="t", api="a", request={}, created=0, since=0, status="STOPPED", user_action="STOP")
    task.stopped_reason, task.stopped_at = reason, 1000.0
    with pytest.raises(Problem, match=f"after {minutes} minutes"):
        ANALYSE_START_STOP.act(task, "START", 1000 + minutes * 60 - 1, Timing())
    ANALYSE_START_STOP.act(task, "START", 1000 + minutes * 60, Timing())
    assert task.status == "ANALYSIS_DONE"
    assert task.stopped_reason is None


def test_only_resting_tasks_can_be_updated() -> None:
    def task(status: str, action: str) -> Task:
        return Task(id="t", api="a", request={}, created=0, since=0, status=status, user_action=action)

    assert ANALYSE_START_STOP.updatable(task("CREATED", "NONE"))
    assert ANALYSE_START_STOP.updatable(task("ANALYSIS_DONE", "ANALYSE"))
    assert ANALYSE_START_STOP.updatable(task("STOPPED", "STOP"))
    assert ANALYSE_START_STOP.updatable(task("DONE", "START"))
    assert not ANALYSE_START_STOP.updatable(task("CREATED", "START"))
    assert not ANALYSE_START_STOP.updatable(task("ANALYSING", "ANALYSE"))
    assert not ANALYSE_START_STOP.updatable(task("ANALYSIS_DONE", "START"))
    assert not ANALYSE_START_STOP.updatable(task("PROCESSING", "START"))


def create(sim: Simulator, request: Json) -> str:
    return str(sim.call("POST", "/batch/v2/process", request).body["id"])


def status_of(sim: Simulator, task_id: str) -> tuple[str, str]:
    task = sim.call("GET", f"/batch/v2/process/{task_id}").body
    return task["status"], task["userAction"]


def test_a_started_task_still_says_created_for_a_while_and_cannot_be_stopped(
    sim: Simulator, request_for: Request
) -> None:
    sim.stop_clock()
    task_id = create(sim, request_for())
    assert sim.call("POST", f"/batch/v2/process/{task_id}/start").status == 204
    assert status_of(sim, task_id) == ("CREATED", "START")
    refused = sim.call("POST", f"/batch/v2/process/{task_id}/stop")
    assert refused.body == {
        "error": {
            "status": 400,
            "reason": "Bad Request",
            "message": "Illegal to change userAction from START to STOP with task status CREATED",
            "code": "COMMON_BAD_PAYLOAD",
        }
    }
    assert sim.call("PUT", f"/batch/v2/process/{task_id}", {"description": "x"}).status == 409


def test_analyse_then_start(sim: Simulator, request_for: Request, wait: Wait) -> None:
    task_id = create(sim, request_for())
    sim.call("POST", f"/batch/v2/process/{task_id}/analyse")
    task = wait(task_id, "ANALYSIS_DONE")
    assert (task["userAction"], task["costPU"]) == ("ANALYSE", 0)
    assert sim.call("PUT", f"/batch/v2/process/{task_id}", {"description": "x"}).status == 200
    sim.call("POST", f"/batch/v2/process/{task_id}/start")
    assert wait(task_id, "DONE")["request"]["description"] == "x"
    events = [entry["event"] for entry in sim.task(task_id)["history"]]
    assert events == [
        "created", "user ANALYSE", "status ANALYSING", "status ANALYSIS_DONE", "user UPDATE", "user START",
        "status PROCESSING", "status DONE",
    ]  # fmt: skip
    assert sim.call("POST", f"/batch/v2/process/{task_id}/start").status == 400


def test_stop_and_start_again_resumes_what_is_left(sim: Simulator, request_for: Request, wait: Wait) -> None:
    sim.set_script({"timing": {"feature_seconds": 300, "parallel": 1}})
    task_id = create(sim, request_for())
    sim.call("POST", f"/batch/v2/process/{task_id}/start")
    wait(task_id, "PROCESSING")
    assert sim.call("POST", f"/batch/v2/process/{task_id}/stop").status == 204
    stopped = wait(task_id, "STOPPED")
    assert stopped["stoppedStatusReason"] == "USER_ACTION"
    assert stopped["completionPercentage"] < 100
    assert sim.call("POST", f"/batch/v2/process/{task_id}/start").status == 400
    sim.advance_clock(1800)
    assert sim.call("POST", f"/batch/v2/process/{task_id}/start").status == 204
    done = wait(task_id, "DONE")
    assert "stoppedStatusReason" not in done
    features = sim.task(task_id)["features"]
    assert [feature["status"] for feature in features] == ["DONE"] * 4


def test_a_stop_charges_what_is_being_processed(sim: Simulator, request_for: Request, wait: Wait) -> None:
    sim.set_script({"timing": {"feature_seconds": 1e6, "parallel": 2}})
    task_id = create(sim, request_for())
    sim.call("POST", f"/batch/v2/process/{task_id}/start")
    wait(task_id, "PROCESSING")
    sim.call("POST", f"/batch/v2/process/{task_id}/stop")
    stopped = wait(task_id, "STOPPED")
    # Two tiles of 334 x 334 pixels and two bands, at a third of the price.
    assert stopped["costPU"] == pytest.approx(2 * 334**2 / 512**2 * 2 / 3 / 3)
    assert stopped["completionPercentage"] == 0


def test_a_stop_during_the_analysis_waits_for_its_end(sim: Simulator, request_for: Request, wait: Wait) -> None:
    sim.set_script({"timing": {"analysis_seconds": 300}})
    task_id = create(sim, request_for())
    sim.call("POST", f"/batch/v2/process/{task_id}/start")
    wait(task_id, "ANALYSING")
    assert sim.call("POST", f"/batch/v2/process/{task_id}/stop").status == 204
    assert status_of(sim, task_id) == ("ANALYSING", "STOP")
    assert wait(task_id, "STOPPED")["stoppedStatusReason"] == "USER_ACTION"
    assert "status ANALYSIS_DONE" in [entry["event"] for entry in sim.task(task_id)["history"]]


def test_a_jump_of_the_clock_loses_no_step(sim: Simulator, request_for: Request, wait: Wait) -> None:
    task_id = create(sim, request_for())
    sim.stop_clock()
    sim.call("POST", f"/batch/v2/process/{task_id}/start")
    sim.advance_clock(86_400)
    task = wait(task_id, "DONE")
    assert task["lastUpdated"] > task["created"]


def test_completion_is_100_before_the_task_is_done(sim: Simulator, request_for: Request, wait: Wait) -> None:
    sim.set_script({"timing": {"finalising_seconds": 1e9}})
    task_id = create(sim, request_for())
    sim.call("POST", f"/batch/v2/process/{task_id}/start")
    wait(task_id, "PROCESSING")
    task: Json = {}
    while task.get("completionPercentage") != 100:
        task = sim.call("GET", f"/batch/v2/process/{task_id}").body
        assert task["status"] == "PROCESSING"
    sim.set_script({})
    assert wait(task_id, "DONE")


def test_an_empty_balance_stops_the_task(sim: Simulator, request_for: Request, wait: Wait) -> None:
    sim.set_script({"timing": {"feature_seconds": 600, "parallel": 1, "billing_seconds": 1}})
    task_id = create(sim, request_for())
    sim.call("POST", f"/batch/v2/process/{task_id}/start")
    wait(task_id, "PROCESSING")
    sim.set_balance(900)
    assert wait(task_id, "STOPPED")["stoppedStatusReason"] == "OUT_OF_PU"
    sim.advance_clock(1800)
    refused = sim.call("POST", f"/batch/v2/process/{task_id}/start")
    assert "60 minutes" in refused.body["error"]["message"]
