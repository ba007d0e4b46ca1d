"""
A record of the remote task that is lost, or that an older one has replaced.

Airflow's client sends a write to the task state store again when no answer came within seconds, and the first copy may
still arrive: after the record of a rerun, which it then replaces.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sentinelhub.client.lifecycle.spec import Goal
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.operators.rerun_failed import SentinelHubRerunFailedOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.triggers.events import BatchEvent, EventKind
from tests.airflow.airflow_harness import Comms, Run, RunTask, first_event
from tests.airflow.test_kills import handler_of_the_test_run, killed
from tests.airflow.test_reruns import Looks, calls, fatal, names, operator

__all__ = ["handler_of_the_test_run", "names"]

Lose = Callable[[Comms, dict[str, Any]], None]


def emptied(comms: Comms, older: dict[str, Any]) -> None:
    comms.state.clear()


def older_came_back(comms: Comms, older: dict[str, Any]) -> None:
    assert comms.state != older
    comms.state.update(older)


def older_id_came_back(comms: Comms, older: dict[str, Any]) -> None:
    # XComs are written in the same way.
    comms.xcoms["sentinelhub_task_id"] = older["sentinelhub_batch"]["id"]


def both_came_back(comms: Comms, older: dict[str, Any]) -> None:
    older_came_back(comms, older)
    older_id_came_back(comms, older)


lost = pytest.mark.parametrize("lose", [emptied, older_came_back, older_id_came_back, both_came_back])


def woken(run_task: RunTask, op: Any, event: dict[str, Any]) -> Run:
    return run_task(op, next_method="execute_complete", next_kwargs={"event": event})


def rerun(run_task: RunTask, comms: Comms, op: SentinelHubBatchProcessOperator, lose: Lose) -> Run:
    """Run a task whose features fail up to the wait for its rerun, whose record is then lost."""
    run = run_task(op)
    original, older = run.trigger.batch_task_id, {}
    while run.trigger.batch_task_id == original:
        older = dict(comms.state)
        run = woken(run_task, op, asyncio.run(first_event(run.trigger, comms)))
        assert run.state == "deferred", run.error
    lose(comms, older)
    return run


def to_the_end(run_task: RunTask, comms: Comms, op: SentinelHubBatchProcessOperator, run: Run) -> Run:
    while run.state == "deferred":
        run = woken(run_task, op, asyncio.run(first_event(run.trigger, comms)))
    return run


def event(kind: EventKind, trigger: Any) -> dict[str, Any]:
    told = BatchEvent(kind, trigger.batch_task_id, "CREATED", trigger.deadline, "", "")
    return told.to_payload()


@lost
def test_the_report_is_on_all_tasks(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str], lose: Lose
) -> None:
    sim.set_script({"features": [fatal(names[:1], 1)]})
    op = operator(sim, deferrable=True)
    run = rerun(run_task, comms, op, lose)
    run = to_the_end(run_task, comms, op, run)
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["delivered"], result["total"], len(result["task_ids"])) == (4, 4, 2)
    assert calls(sim) == calls(sim, "start") == 2


@lost
def test_what_was_spent_is_still_known(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str], lose: Lose
) -> None:
    sim.set_script({"features": [fatal(names[:1], 3), fatal(names[1:2], 1)]})
    # Two tasks at 100 PU each leave too little for a third one.
    op = operator(sim, deferrable=True, max_pu=250, on_partial="rerun_then_warn")
    run = rerun(run_task, comms, op, lose)
    run = to_the_end(run_task, comms, op, run)
    assert run.state == "success", run.error
    assert len(comms.xcoms["return_value"]["task_ids"]) == calls(sim) == calls(sim, "start") == 2


@lost
def test_a_wait_that_begins_again_keeps_budget_and_deadline(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str], lose: Lose
) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    op = operator(sim, deferrable=True, max_pu=350, timeout=600)
    before = rerun(run_task, comms, op, lose).trigger
    assert before.max_pu == 250
    after = woken(run_task, op, event(EventKind.READY, before)).trigger
    assert (after.batch_task_id, after.max_pu, after.deadline) == (before.batch_task_id, 250, before.deadline)


@pytest.mark.parametrize("lose", [emptied, older_came_back])
def test_out_of_time_leaves_what_there_is(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str], lose: Lose
) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    op = operator(sim, deferrable=True, timeout=600)
    trigger = rerun(run_task, comms, op, lose).trigger
    run = woken(run_task, op, event(EventKind.LATE, trigger))
    assert run.state == "failed"
    assert "after 1 rerun 2 of 4 features were not delivered" in str(run.error)
    assert "The last rerun was given up" in str(run.error)
    assert (calls(sim), calls(sim, "start")) == (2, 1)


@lost
def test_a_trigger_that_crashed(sim: Simulator, run_task: RunTask, comms: Comms, names: list[str], lose: Lose) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    op = operator(sim, deferrable=True, max_pu=350)
    before = rerun(run_task, comms, op, lose).trigger
    run = run_task(op, next_method="__fail__", next_kwargs={"error": "Trigger failure"})
    assert (run.trigger.batch_task_id, run.trigger.max_pu) == (before.batch_task_id, 250)


@lost
def test_the_next_attempt_comes_to_the_same_rerun(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str], lose: Lose
) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    op = operator(sim, deferrable=True, max_pu=350)
    before = rerun(run_task, comms, op, lose).trigger
    after = run_task(op, try_number=2).trigger
    assert (after.batch_task_id, after.max_pu) == (before.batch_task_id, 250)
    assert calls(sim) == 2


@lost
@pytest.mark.usefixtures("handler_of_the_test_run")
def test_a_kill_stops_the_rerun(sim: Simulator, run_task: RunTask, comms: Comms, names: list[str], lose: Lose) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    op = operator(sim, deferrable=True)
    trigger = rerun(run_task, comms, op, lose).trigger
    hook = SentinelHubBatchHook()
    sim.set_script({"timing": {"feature_seconds": 1_000_000}})
    hook.act(hook.get(trigger.batch_task_id), Goal.RUN)
    while hook.get(trigger.batch_task_id).status != "PROCESSING":
        time.sleep(0.05)
    op.deferrable = False
    comms.ti_states = {"t": "failed"}
    comms.sent.clear()

    def waits() -> bool:
        said = [message.value for message in list(comms.sent) if type(message).__name__ == "SetXCom"]
        return trigger.batch_task_id in said

    run = killed(lambda: woken(run_task, op, event(EventKind.READY, trigger)), waits, later=0.3)
    assert "was killed" in str(run.error)
    assert hook.get(trigger.batch_task_id).user_action == "STOP"


@lost
@pytest.mark.parametrize("on_clear", ["resume", "new", "adopt"])
def test_a_clear_means_the_rerun(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str], lose: Lose, on_clear: str
) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    op = operator(sim, deferrable=True, on_clear=on_clear)
    before = rerun(run_task, comms, op, lose).trigger.batch_task_id
    hook = SentinelHubBatchHook()
    sim.set_script({"timing": {"feature_seconds": 1_000_000}})
    hook.act(hook.get(before), Goal.RUN)
    after = run_task(op, try_number=2, max_tries=1).trigger.batch_task_id
    assert (hook.get(before).user_action == "STOP") is (on_clear == "new")
    assert (after == before) is (on_clear != "new")


def test_what_a_rival_left_behind_is_not_begun(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.set_script({"features": [fatal(names[:1], 1)]})
    op = operator(sim, deferrable=True)
    run = rerun(run_task, comms, op, emptied)
    state, xcoms = dict(comms.state), dict(comms.xcoms)
    hook = SentinelHubBatchHook()
    intent = hook.api.intent_of(hook.get(run.trigger.batch_task_id))
    assert intent is not None
    options: dict[str, Any] = {"poll_interval": 0.05, "progress_interval": 0, "deferrable": True}
    rival = SentinelHubRerunFailedOperator(task_id="rival", batch_task_id=intent.original, **options)
    with monkeypatch.context() as patch:
        patch.setattr(SentinelHubBatchHook, "reruns_of", Looks(SentinelHubBatchHook.reruns_of, blind=1))
        assert run_task(rival).trigger.batch_task_id == run.trigger.batch_task_id
    assert calls(sim) == 3
    comms.state, comms.xcoms = state, xcoms
    run = to_the_end(run_task, comms, op, run)
    assert run.state == "success", run.error
    assert (len(comms.xcoms["return_value"]["task_ids"]), calls(sim, "start")) == (2, 2)
