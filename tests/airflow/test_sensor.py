from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubCreateBatchProcessOperator,
    SentinelHubStartBatchProcessOperator,
)
from airflow_provider_sentinelhub.sensors.batch_process import SentinelHubBatchProcessSensor
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import Comms, RunTask, first_event, request


@pytest.fixture
def started(sim: Simulator, run_task: RunTask, comms: Comms) -> Any:
    """Starts a task as somebody else would, and returns its id."""

    def start(script: dict[str, Any] | None = None) -> str:
        sim.set_script(script or {})
        run_task(SentinelHubCreateBatchProcessOperator(task_id="create", request=request(sim.ready)))
        task_id: str = comms.xcoms["return_value"]
        run_task(SentinelHubStartBatchProcessOperator(task_id="start", batch_task_id=task_id))
        return task_id

    return start


def sensor(task_id: str, **kwargs: Any) -> SentinelHubBatchProcessSensor:
    options = {"poke_interval": 0.2, "progress_interval": 0, "deferrable": False, **kwargs}
    return SentinelHubBatchProcessSensor(task_id="wait", batch_task_id=task_id, **options)


def test_blocking_sensor_reports(started: Any, run_task: RunTask, comms: Comms) -> None:
    run = run_task(sensor(started()))
    assert run.state == "success", run.error
    assert comms.xcoms["return_value"]["outcome"] == "DONE"


def test_deferred_sensor_reports(started: Any, run_task: RunTask, comms: Comms) -> None:
    waiting = sensor(started(), deferrable=True)
    first = run_task(waiting)
    assert first.state == "deferred", first.error
    event = asyncio.run(first_event(first.trigger, comms))
    run = run_task(waiting, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "success", run.error
    assert comms.xcoms["return_value"]["delivered"] == 4


def test_what_may_differ_from_run_to_run_is_templated(started: Any, run_task: RunTask) -> None:
    waiting = sensor(
        "{{ params.id }}", deferrable=True, poll_interval="{{ params.pause }}", progress_interval="{{ params.pause }}"
    )
    task_id = started({"timing": {"feature_seconds": 100_000}})
    first = run_task(waiting, params={"id": task_id, "pause": 7})
    assert first.state == "deferred", first.error
    trigger = first.trigger
    assert (trigger.batch_task_id, trigger.poll_interval, trigger.progress_interval) == (task_id, 7.0, 7.0)


def test_never_defers_for_a_task_that_has_ended(started: Any, run_task: RunTask, comms: Comms) -> None:
    task_id = started()
    run_task(sensor(task_id))
    assert run_task(sensor(task_id, deferrable=True)).state == "success"


def test_failed_features(started: Any, run_task: RunTask, comms: Comms) -> None:
    task_id = started({"features": [{"outcome": "fatal", "indexes": [1], "error": "too cloudy"}]})
    run = run_task(sensor(task_id))
    assert run.state == "failed"
    assert "too cloudy" in str(run.error)
    assert run_task(sensor(task_id, on_partial="warn")).state == "success"
    assert comms.xcoms["return_value"]["outcome"] == "PARTIAL"


def test_failed_task(started: Any, run_task: RunTask, comms: Comms) -> None:
    run = run_task(sensor(started({"tasks": [{"analysis_error": "no such band"}]})))
    assert run.state == "failed"
    assert "no such band" in str(run.error)


def test_timeout_leaves_somebody_elses_task_running(
    sim: Simulator, started: Any, run_task: RunTask, comms: Comms
) -> None:
    task_id = started({"timing": {"feature_seconds": 100_000}})
    waiting = sensor(task_id, deferrable=True, timeout=0.5)
    event = asyncio.run(first_event(run_task(waiting).trigger, comms))
    run = run_task(waiting, next_method="execute_complete", next_kwargs={"event": event})
    assert type(run.error).__name__ == "AirflowSensorTimeout"
    assert sim.call("GET", f"/batch/v2/process/{task_id}").body["userAction"] == "START"


def test_unknown_task_says_so(sim: Simulator, run_task: RunTask) -> None:
    run = run_task(sensor("11111111-2222-3333-4444-555555555555"))
    assert run.state == "failed"
    assert "11111111-2222-3333-4444-555555555555" in str(run.error)
    assert "belongs to this account" in str(run.error)
