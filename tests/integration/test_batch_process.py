"""What only processes can show: a worker that is free while waiting, and what happens when something dies."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.airflow_names import Run, Task
from devtools.airflow_stack import AirflowStack

pytestmark = pytest.mark.integration

SLOW = {"timing": {"feature_seconds": 100_000}}


def trigger(airflow: AirflowStack, dag_id: str, **conf: Any) -> tuple[Run, str]:
    """Start a run whose remote tasks can be told from all others."""
    mark = uuid.uuid4().hex
    return airflow.api.trigger(dag_id, {"description": mark, **conf}), mark


def remote(sim: Simulator, mark: str) -> list[dict[str, Any]]:
    return [task for task in sim.tasks() if mark in task["description"]]


def starts(task: dict[str, Any]) -> int:
    return sum(entry["event"] == "user START" for entry in task["history"])


def wait_until_processing(airflow: AirflowStack, sim: Simulator, task: Task, mark: str) -> None:
    airflow.api.wait_for_task(task, {"deferred", "running"})
    deadline = time.monotonic() + 60
    while not any(found["status"] == "PROCESSING" for found in remote(sim, mark)):
        assert time.monotonic() < deadline, "the remote task never ran"
        time.sleep(0.1)


def wait_until_stopped(sim: Simulator, mark: str, within: float = 40) -> str:
    deadline = time.monotonic() + within
    while (status := remote(sim, mark)[0]["status"]) not in {"STOPPED", "DONE"} and time.monotonic() < deadline:
        time.sleep(0.2)
    return str(status)


@pytest.mark.parametrize("dag_id", ["batch_deferred", "batch_blocking"])
def test_batch_runs_to_its_report(airflow: AirflowStack, sim: Simulator, dag_id: str) -> None:
    run, mark = trigger(airflow, dag_id)
    assert airflow.api.wait_for_run(run) == "success"
    result = airflow.api.xcom(run.task("batch"))
    assert (result["outcome"], result["total"], result["delivered"]) == ("DONE", 4, 4)
    (task,) = remote(sim, mark)
    assert result["task_id"] == task["id"]
    assert starts(task) == 1


def test_worker_is_free_while_waiting(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script(SLOW)
    run, mark = trigger(airflow, "batch_deferred")
    # Processed, not only deferred: a task that is marked before its trigger starts it was never started.
    wait_until_processing(airflow, sim, run.task("batch"), mark)

    pool = airflow.api.pool()
    assert (pool["deferred_slots"], pool["running_slots"]) == (1, 0)
    assert airflow.task_process(run.task("batch")) is None
    other = airflow.api.trigger("stack_check")
    assert airflow.api.wait_for_run(other) == "success"

    airflow.api.set_state(run.task("batch"), "failed")
    assert wait_until_stopped(sim, mark) == "STOPPED"


def test_killed_triggerer_loses_nothing_and_repeats_nothing(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"timing": {"feature_seconds": 6000}})
    run, mark = trigger(airflow, "batch_deferred")
    wait_until_processing(airflow, sim, run.task("batch"), mark)

    airflow.kill("triggerer")
    airflow.restart("triggerer")

    assert airflow.api.wait_for_run(run) == "success"
    (task,) = remote(sim, mark)
    assert (starts(task), task["status"]) == (1, "DONE")
    assert airflow.api.task_instance(run.task("batch")).try_number == 1


def test_stalled_triggerer_stops_nothing_when_it_wakes_up(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"timing": {"feature_seconds": 20_000}})
    run, mark = trigger(airflow, "batch_deferred")
    wait_until_processing(airflow, sim, run.task("batch"), mark)

    airflow.pause("triggerer")
    time.sleep(3)
    airflow.resume("triggerer")

    assert airflow.api.wait_for_run(run) == "success"
    (task,) = remote(sim, mark)
    assert (starts(task), task["status"]) == (1, "DONE")


def test_task_killed_before_a_triggerer_takes_it_was_never_started(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script(SLOW)
    airflow.kill("triggerer")
    run, mark = trigger(airflow, "batch_deferred")
    airflow.api.wait_for_task(run.task("batch"), {"deferred"})
    airflow.api.set_state(run.task("batch"), "failed")
    airflow.restart("triggerer")
    assert airflow.api.wait_for_run(run) == "failed"
    (task,) = remote(sim, mark)
    assert (task["status"], starts(task)) == ("CREATED", 0)


@pytest.mark.parametrize("state", ["failed", "success"])
def test_marking_a_deferred_task_stops_the_remote_task(airflow: AirflowStack, sim: Simulator, state: str) -> None:
    sim.set_script(SLOW)
    run, mark = trigger(airflow, "batch_deferred")
    wait_until_processing(airflow, sim, run.task("batch"), mark)

    airflow.api.set_state(run.task("batch"), state)

    assert wait_until_stopped(sim, mark) == "STOPPED"
    assert len(remote(sim, mark)) == 1


def test_clearing_a_deferred_task_resumes_the_remote_task(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script(SLOW)
    run, mark = trigger(airflow, "batch_deferred")
    wait_until_processing(airflow, sim, run.task("batch"), mark)
    (old,) = remote(sim, mark)

    airflow.api.clear(run.task("batch"))

    waits_again(airflow, run.task("batch"), try_number=2)
    (task,) = remote(sim, mark)
    assert (task["id"], task["status"], starts(task)) == (old["id"], "PROCESSING", 1)
    airflow.api.set_state(run.task("batch"), "failed")
    assert wait_until_stopped(sim, mark) == "STOPPED"


def waits_again(airflow: AirflowStack, task: Task, try_number: int) -> None:
    give_up_at = time.monotonic() + 90
    while time.monotonic() < give_up_at:
        found = airflow.api.task_instance(task)
        if found.state == "deferred" and found.try_number == try_number:
            break
        time.sleep(0.3)
    # Whatever the old attempt's trigger was told has arrived by then.
    time.sleep(5)


def test_marking_a_blocking_task_failed_stops_the_remote_task(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script(SLOW)
    run, mark = trigger(airflow, "batch_blocking")
    wait_until_processing(airflow, sim, run.task("batch"), mark)

    airflow.api.set_state(run.task("batch"), "failed")

    assert wait_until_stopped(sim, mark) == "STOPPED"


def test_killed_worker_resumes_the_same_task(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"timing": {"feature_seconds": 6000}})
    run, mark = trigger(airflow, "batch_blocking")
    wait_until_processing(airflow, sim, run.task("batch"), mark)

    airflow.kill_task(run.task("batch"))

    assert airflow.api.wait_for_run(run) == "success"
    (task,) = remote(sim, mark)
    assert starts(task) == 1
    assert airflow.api.task_instance(run.task("batch")).try_number == 2


def test_deadline_holds_while_deferred(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script(SLOW)
    run, mark = trigger(airflow, "batch_timeout")
    assert airflow.api.wait_for_run(run) == "failed"
    assert wait_until_stopped(sim, mark) == "STOPPED"
    assert "did not finish within timeout = 5" in airflow.api.log(run.task("batch"))
    # The DAG has retries left.
    assert airflow.api.task_instance(run.task("batch")).try_number == 1
    assert len(remote(sim, mark)) == 1


def test_mapped_tasks_are_told_apart(airflow: AirflowStack, sim: Simulator) -> None:
    run, mark = trigger(airflow, "batch_mapped")
    assert airflow.api.wait_for_run(run) == "success"
    results = [airflow.api.xcom(run.task("batch", index)) for index in (0, 1)]
    assert len({result["task_id"] for result in results}) == 2
    assert {task["id"] for task in remote(sim, mark)} == {result["task_id"] for result in results}


def test_steps_and_sensor(airflow: AirflowStack, sim: Simulator) -> None:
    run, mark = trigger(airflow, "batch_steps")
    assert airflow.api.wait_for_run(run) == "success"
    (task,) = remote(sim, mark)
    assert airflow.api.xcom(run.task("create")) == airflow.api.xcom(run.task("start")) == task["id"]
    assert airflow.api.xcom(run.task("wait"))["outcome"] == "DONE"


def test_logs_and_xcoms_hold_no_secret(airflow: AirflowStack, sim: Simulator) -> None:
    run, _ = trigger(airflow, "batch_deferred")
    assert airflow.api.wait_for_run(run) == "success"
    text = airflow.api.log(run.task("batch")) + airflow.logs(10_000)
    text += repr(airflow.api.xcom(run.task("batch"))) + repr(airflow.api.task_state(run.task("batch")))
    for secret in (sim.ready.client_secret, sim.ready.secret_access_key):
        assert secret not in text
