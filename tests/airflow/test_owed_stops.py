"""A stop that cannot be carried out now is owed: it is written down, and carried out as soon as the service answers."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_sentinelhub.client.lifecycle.spec import Goal
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.triggers.batch import SentinelHubBatchTrigger
from airflow_provider_sentinelhub.triggers.events import EventKind
from tests.airflow.airflow_harness import Comms, RunTask, first_event, request

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = {"timing": {"feature_seconds": 1_000_000}}
# The service is there, but for stops.
OUTAGE = {**LONG, "endpoints": [{"method": "POST", "path": "/stop$", "status": 503}]}
OWED = "sentinelhub_owed_stop:sentinelhub_default:"


def operator(sim: Simulator, **kwargs: Any) -> SentinelHubBatchProcessOperator:
    options = {"request": request(sim.ready), "poll_interval": 0.05, "progress_interval": 0, "deferrable": True}
    return SentinelHubBatchProcessOperator(task_id=kwargs.pop("task_id", "t"), **{**options, **kwargs})


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_sentinelhub.hooks.sentinel_hub._ATTEMPTS_IN_A_HURRY", 1)
    monkeypatch.setattr("airflow_provider_sentinelhub.triggers.batch._LATE_STOP_S", 1.0)
    owed_stops = "airflow_provider_sentinelhub.triggers.pay_owed_stops"
    for name, seconds in {"_STOP_S": 1.0, "_PAUSE_S": 0.1, "_LOOK_EVERY_S": 0.0, "_COMES_WITHIN_S": 0.2}.items():
        monkeypatch.setattr(f"{owed_stops}.{name}", seconds)


@pytest.fixture
def processed(sim: Simulator, run_task: RunTask, comms: Comms) -> Callable[..., SentinelHubBatchTrigger]:
    """Makes a trigger of a remote task that is being processed."""

    def make(**kwargs: Any) -> SentinelHubBatchTrigger:
        sim.set_script(LONG)
        comms.state.clear()  # a task instance of its own has a state of its own
        run = run_task(operator(sim, **kwargs))
        trigger: SentinelHubBatchTrigger = run.trigger
        trigger.task_instance = SimpleNamespace(  # type: ignore[assignment]  # its names are enough
            dag_id="unit",
            task_id=kwargs.get("task_id", "t"),
            run_id=run.ti.run_id,
            map_index=-1,
        )
        hook = SentinelHubBatchHook()
        hook.act(hook.get(trigger.batch_task_id), Goal.RUN)
        while action(sim, trigger.batch_task_id) != "START PROCESSING":
            time.sleep(0.02)
        return trigger

    return make


def action(sim: Simulator, task_id: str) -> str:
    body = sim.call("GET", f"/batch/v2/process/{task_id}").body
    return f"{body['userAction']} {body['status']}"


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - the service tells nobody
            await asyncio.sleep(0.05)


def owed(comms: Comms) -> list[str]:
    return [key.removeprefix(OWED) for key in comms.variables if key.startswith(OWED)]


async def test_a_kill_in_an_outage_is_carried_out_when_it_is_over(
    sim: Simulator, comms: Comms, processed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    trigger = processed()
    comms.ti_states = {"t": "failed"}
    sim.set_script(OUTAGE)
    await trigger.on_kill()
    assert owed(comms) == [trigger.batch_task_id]
    assert f"The stop of task {trigger.batch_task_id} is owed" in caplog.text
    assert sim.ready.client_secret not in repr(comms.variables)
    sim.set_script(LONG)
    await becomes(lambda: action(sim, trigger.batch_task_id) == "STOP STOPPED" and not owed(comms))


async def test_the_next_trigger_of_the_connection_pays_what_a_lost_triggerer_owed(
    sim: Simulator, comms: Comms, processed: Any
) -> None:
    trigger = processed()
    comms.ti_states = {"t": "failed", "next": "deferred"}
    other = processed(task_id="next")
    # All that a triggerer killed with signal 9 leaves behind.
    comms.variables[f"{OWED}{trigger.batch_task_id}"] = trigger._stop("killed").value
    comms.variables[f"{OWED}unreadable"] = "{"
    waiting = asyncio.ensure_future(first_event(other, comms, other.task_instance))
    await becomes(lambda: action(sim, trigger.batch_task_id).startswith("STOP"))
    await becomes(lambda: owed(comms) == ["unreadable"])
    assert action(sim, other.batch_task_id) == "START PROCESSING"
    waiting.cancel()


async def test_what_was_handed_over_is_stopped_only_where_the_airflow_task_ends(
    sim: Simulator, comms: Comms, processed: Any
) -> None:
    trigger = processed()
    comms.state.clear()
    other = processed(task_id="next")
    comms.ti_states = {"t": "queued", "next": "deferred"}
    comms.xcoms.clear()
    owed_stop = replace(trigger._stop("The Airflow task has ended"), once_ended=True)
    comms.variables[owed_stop.key] = owed_stop.value
    waiting = asyncio.ensure_future(first_event(other, comms, other.task_instance))
    # Much longer than an attempt after a kill is waited for.
    await asyncio.sleep(1.0)
    assert owed(comms) == [trigger.batch_task_id]
    assert action(sim, trigger.batch_task_id) == "START PROCESSING"
    comms.ti_states["t"] = "failed"
    await becomes(lambda: action(sim, trigger.batch_task_id).startswith("STOP") and not owed(comms))
    waiting.cancel()


def test_a_wait_for_what_runs_already_is_handed_over_to_the_trigger(
    sim: Simulator, run_task: RunTask, comms: Comms, processed: Any
) -> None:
    body = request(sim.ready)
    task_id = processed(request=body).batch_task_id
    assert owed(comms) == []  # what was not started costs nothing
    again = run_task(operator(sim, request=body), try_number=2, max_tries=2)
    assert owed(comms) == [task_id]
    assert json.loads(comms.variables[f"{OWED}{task_id}"])["once_ended"] is True
    trigger = again.trigger

    async def until_it_is_taken() -> None:
        waiting = asyncio.ensure_future(first_event(trigger, comms))
        await becomes(lambda: not owed(comms))
        waiting.cancel()

    asyncio.run(until_it_is_taken())
    assert action(sim, task_id) == "START PROCESSING"


async def test_a_task_that_runs_when_its_trigger_ends_is_handed_over_to_the_worker(
    sim: Simulator, comms: Comms, processed: Any
) -> None:
    trigger = processed()
    trigger.goal = "resume"
    event = await first_event(trigger, comms, trigger.task_instance)
    assert (event["kind"], event["status"]) == (EventKind.READY, "PROCESSING")
    assert owed(comms) == [trigger.batch_task_id]
    comms.ti_states = {"t": "failed"}
    await becomes(lambda: action(sim, trigger.batch_task_id).startswith("STOP") and not owed(comms))


def test_a_retry_takes_over_what_the_attempt_before_handed_over(
    sim: Simulator, run_task: RunTask, comms: Comms, processed: Any
) -> None:
    body = request(sim.ready)
    trigger = processed(request=body)
    sim.set_script({**LONG, "endpoints": [{"method": "GET", "status": 403}]})
    lost = {"kind": "lost", "batch_task_id": trigger.batch_task_id, "message": "refused"}
    run = run_task(operator(sim), next_method="execute_complete", next_kwargs={"event": lost}, max_tries=2)
    assert run.state in {"up_for_retry", "failed"}
    assert owed(comms) == [trigger.batch_task_id]
    sim.set_script(LONG)
    run_task(operator(sim, request=body, deferrable=True), try_number=2, max_tries=2)
    assert action(sim, trigger.batch_task_id) == "START PROCESSING"


async def test_a_trigger_that_may_read_no_xcom_waits_for_its_stop_to_be_crossed_out(
    sim: Simulator, comms: Comms, processed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetXCom

    monkeypatch.setattr("airflow_provider_sentinelhub.triggers.pay_owed_stops._COMES_WITHIN_S", 3.0)
    trigger = processed()
    comms.ti_states = {"t": "deferred"}
    answer = comms.asend

    async def as_on_3_4(message: Any) -> Any:
        if isinstance(message, GetXCom):
            detail = {"status_code": 403, "message": "Task instance is not a live attempt"}
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))
        return await answer(message)

    monkeypatch.setattr(comms, "asend", as_on_3_4)
    killing = asyncio.ensure_future(trigger.on_kill())
    await becomes(lambda: owed(comms) == [trigger.batch_task_id])
    # The trigger of the attempt after the clear, here or in another triggerer.
    comms.variables.pop(f"{OWED}{trigger.batch_task_id}")
    await killing
    assert action(sim, trigger.batch_task_id) == "START PROCESSING"
    await trigger.on_kill()
    assert action(sim, trigger.batch_task_id).startswith("STOP")


async def test_a_task_that_another_trigger_waits_for_is_not_stopped(
    sim: Simulator, comms: Comms, processed: Any
) -> None:
    trigger = processed()
    comms.xcoms.clear()
    comms.ti_states = {"t": "deferred"}
    again = type(trigger)(**trigger.serialize()[1])
    waiting = asyncio.ensure_future(first_event(again, comms, trigger.task_instance))
    await asyncio.sleep(0.2)
    await trigger.on_kill()
    assert action(sim, trigger.batch_task_id) == "START PROCESSING"
    assert owed(comms) == []
    waiting.cancel()


async def test_a_sensor_that_waits_for_it_does_not_keep_a_task_running(
    sim: Simulator, comms: Comms, processed: Any
) -> None:
    trigger = processed()
    comms.ti_states = {"t": "failed", "sensor": "deferred"}
    sensor = type(trigger)(**{**trigger.serialize()[1], "goal": "observe", "stop_on_kill": False})
    ti = SimpleNamespace(dag_id="unit", task_id="sensor", run_id=trigger.task_instance.run_id, map_index=-1)
    waiting = asyncio.ensure_future(first_event(sensor, comms, ti))
    await asyncio.sleep(0.2)
    await trigger.on_kill()
    assert action(sim, trigger.batch_task_id).startswith("STOP")
    waiting.cancel()


async def test_a_task_that_is_wanted_again_is_not_stopped(sim: Simulator, comms: Comms, processed: Any) -> None:
    trigger = processed()
    comms.ti_states = {"t": "deferred"}
    comms.variables[f"{OWED}{trigger.batch_task_id}"] = trigger._stop("killed").value
    waiting = asyncio.ensure_future(first_event(trigger, comms, trigger.task_instance))
    await becomes(lambda: not owed(comms))
    assert action(sim, trigger.batch_task_id) == "START PROCESSING"
    waiting.cancel()


def test_the_attempt_after_a_clear_takes_up_what_was_to_be_stopped(
    sim: Simulator, run_task: RunTask, comms: Comms, processed: Any
) -> None:
    body = request(sim.ready)
    trigger = processed(request=body)
    comms.variables[f"{OWED}{trigger.batch_task_id}"] = trigger._stop("killed").value
    comms.xcoms.clear()
    again = run_task(operator(sim, request=body), try_number=2, max_tries=1)
    assert again.trigger.batch_task_id == trigger.batch_task_id
    # Until its trigger is taken, and only for the case that nobody waits for it any more.
    assert json.loads(comms.variables[f"{OWED}{trigger.batch_task_id}"])["once_ended"] is True
    assert action(sim, trigger.batch_task_id) == "START PROCESSING"


@pytest.mark.parametrize(("state", "is_stopped"), [("failed", True), ("deferred", False), ("queued", False)])
def test_another_task_of_the_connection_pays(
    sim: Simulator, run_task: RunTask, comms: Comms, processed: Any, state: str, is_stopped: bool
) -> None:
    trigger = processed()
    comms.variables[f"{OWED}{trigger.batch_task_id}"] = trigger._stop("killed").value
    comms.ti_states = {"t": state}
    comms.xcoms["sentinelhub_task_id"] = trigger.batch_task_id
    # The store is that of one task instance.
    comms.state.clear()
    assert run_task(operator(sim, task_id="another")).state == "deferred"
    assert action(sim, trigger.batch_task_id).startswith("STOP" if is_stopped else "START")
    # Where an attempt is to come, it is for that one to say.
    assert owed(comms) == ([trigger.batch_task_id] if state == "queued" else [])


def test_a_connection_whose_id_goes_further_is_another_one(
    sim: Simulator, run_task: RunTask, comms: Comms, processed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = processed()
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", os.environ["AIRFLOW_CONN_SENTINELHUB_DEFAULT"])
    for conn_id in ("sentinelhub_default:eu", "sentinelhub_default", "x" * 250):
        stop = replace(trigger._stop("killed"), sentinelhub_conn_id=conn_id)
        assert len(stop.key) <= 250
        comms.variables[stop.key] = stop.value
    comms.ti_states = {"t": "failed"}
    comms.state.clear()
    assert run_task(operator(sim, task_id="another", sentinelhub_conn_id="other")).state == "deferred"
    assert len([key for key in comms.variables if "owed" in key]) == 3
    assert run_task(operator(sim, task_id="yet_another")).state == "deferred"
    assert len([key for key in comms.variables if "owed" in key]) == 2


def test_one_that_cannot_be_paid_keeps_none_of_the_others_waiting(
    sim: Simulator, run_task: RunTask, comms: Comms, processed: Any
) -> None:
    trigger = processed()
    good, refused = trigger._stop("killed"), replace(trigger._stop("killed"), batch_task_id="0-refused")
    odd = replace(trigger._stop("killed"), batch_task_id="0-odd", api="batch-v9")
    comms.variables |= {stop.key: stop.value for stop in (odd, refused, good)}
    comms.ti_states = {"t": "failed"}
    comms.state.clear()
    refusal = {"path": "/process/0-refused", "status": 403}
    sim.set_script({**LONG, "endpoints": [refusal]})
    assert run_task(operator(sim, task_id="another")).state == "deferred"
    assert action(sim, trigger.batch_task_id).startswith("STOP")
    assert owed(comms) == ["0-odd", "0-refused"]


def test_what_a_deleted_run_has_handed_over_is_stopped(
    sim: Simulator, run_task: RunTask, comms: Comms, processed: Any
) -> None:
    trigger = processed()
    stop = replace(trigger._stop("The Airflow task has ended"), once_ended=True)
    comms.variables[stop.key] = stop.value
    comms.ti_states = {}
    comms.state.clear()
    assert run_task(operator(sim, task_id="another")).state == "deferred"
    assert action(sim, trigger.batch_task_id).startswith("STOP")
    assert owed(comms) == []


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_deadline_in_an_outage_is_told_with_the_task_and_the_limit(
    sim: Simulator, run_task: RunTask, comms: Comms, deferrable: bool
) -> None:
    sim.set_script(OUTAGE)
    op = operator(sim, deferrable=deferrable, execution_timeout=timedelta(seconds=4))
    run = run_task(op)
    if deferrable:
        event = asyncio.run(first_event(run.trigger, comms))
        assert event["kind"] == EventKind.LATE
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "failed"
    assert type(run.error).__name__ == "AirflowFailException"
    task_id = comms.xcoms["sentinelhub_task_id"]
    assert f"Task {task_id} did not finish within execution_timeout = 0:00:04; the stop of task" in str(run.error)
    assert owed(comms) == [task_id]
    assert comms.xcoms["return_value"]["task_id"] == task_id
    assert json.loads(comms.variables[f"{OWED}{task_id}"])["why"] == "The deadline has passed"


async def test_the_deadline_of_a_trigger_holds_while_a_look_hangs(
    sim: Simulator, comms: Comms, processed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_sentinelhub.client.lifecycle.watch._LOOK_S", 0.1)
    trigger = processed()
    trigger.deadline = time.time() + 0.5
    sim.set_script({**LONG, "endpoints": [{"action": "delay", "delay_seconds": 30, "path": "/process"}]})
    async with asyncio.timeout(20):
        event = await first_event(trigger, comms, trigger.task_instance)
    assert event["kind"] == EventKind.LATE
    assert owed(comms) == [trigger.batch_task_id]
    sim.set_script(LONG)


def test_what_could_not_be_written_down_ends_with_its_triggerer(
    sim: Simulator, comms: Comms, processed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(msg: Any) -> None:
        raise ConnectionError("the API server is down")

    trigger = processed()
    with monkeypatch.context() as outage:
        outage.setattr(comms, "asend", unreachable)
        outage.setattr("airflow_provider_sentinelhub.triggers.pay_owed_stops._ASK_S", 0.2)
        asyncio.run(trigger.on_kill())
    comms.ti_states = {"t": "failed", "next": "deferred"}
    other = processed(task_id="next")

    async def wait() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await first_event(other, comms, other.task_instance)

    asyncio.run(wait())
    assert action(sim, trigger.batch_task_id) == "START PROCESSING"
