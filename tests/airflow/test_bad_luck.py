"""Things that die at the worst moment: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest

from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import Comms, RunTask, first_event, request

SLOW = {"timing": {"feature_seconds": 100_000}}


def operator(sim: Simulator, **kwargs: Any) -> SentinelHubBatchProcessOperator:
    options = {"request": request(sim.ready), "poll_interval": 0.1, "progress_interval": 0, **kwargs}
    return SentinelHubBatchProcessOperator(task_id="t", **options)


def calls(sim: Simulator, action: str = "") -> int:
    path = f"POST /batch/v2/process/{{id}}/{action}" if action else "POST /batch/v2/process"
    return int(sim.requests()["counts"].get(path, 0))


def test_database_down_when_the_record_is_written(
    sim: Simulator, run_task: RunTask, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = comms.send

    def failing(msg: Any) -> Any:
        if type(msg).__name__ == "SetTaskStateStore":
            raise ConnectionError("the API server cannot reach its database")
        return working(msg)

    op = operator(sim, deferrable=False)
    monkeypatch.setattr(comms, "send", failing)
    first = run_task(op, max_tries=1)
    assert first.state == "failed"
    assert calls(sim, "start") == 0

    monkeypatch.setattr(comms, "send", working)
    second = run_task(op, try_number=2, max_tries=1)
    assert second.state == "success", second.error
    assert (calls(sim), calls(sim, "start")) == (1, 1)


def test_bucket_gone_when_the_report_is_read(
    sim: Simulator, run_task: RunTask, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    op = operator(sim, deferrable=True)
    event = asyncio.run(first_event(run_task(op, max_tries=1).trigger, comms))
    good = os.environ["AIRFLOW_CONN_AWS_DEFAULT"]
    connection = json.loads(good)
    connection["extra"]["endpoint_url"] = "http://127.0.0.1:9"
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    monkeypatch.setattr("airflow_provider_sentinelhub.artifacts.report.final_database.PATIENCE_S", 0.0)
    first = run_task(op, next_method="execute_complete", next_kwargs={"event": event}, max_tries=1)
    assert type(first.error).__name__ == "StorageUnavailable"  # which Airflow retries

    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", good)
    second = run_task(op, try_number=2, max_tries=1)
    assert second.state == "success", second.error
    assert comms.xcoms["return_value"]["delivered"] == 4
    assert (calls(sim), calls(sim, "start")) == (1, 1)


def test_token_revoked_while_waiting(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"timing": {"feature_seconds": 1200}})
    op = operator(sim, deferrable=True)
    trigger = run_task(op).trigger

    async def wait() -> dict[str, Any]:
        waiting = asyncio.ensure_future(first_event(trigger, comms))
        await asyncio.sleep(0.5)
        sim.revoke_tokens()
        sim._token = None  # the test's own was revoked too
        return await waiting

    assert asyncio.run(wait())["status"] == "DONE"
    assert calls(sim, "start") == 1


def test_tokens_revoked_are_replaced_once_for_all_waiting_tasks(
    sim: Simulator, run_task: RunTask, comms: Comms
) -> None:
    sim.set_script(SLOW)
    triggers = [run_task(operator(sim, deferrable=True), map_index=index).trigger for index in range(8)]
    assert len({trigger.batch_task_id for trigger in triggers}) == 8

    async def wait() -> int:
        waits = [asyncio.ensure_future(first_event(trigger, comms)) for trigger in triggers]
        await looks(sim, triggers, 2)
        before = sim.tokens_issued()
        # So that all are refused before there is a new one.
        sim.set_script({**SLOW, "endpoints": [{"path": "/token$", "action": "delay", "delay_seconds": 1.0}]})
        sim.revoke_tokens()
        sim._token = None  # the test's own was revoked too
        await looks(sim, triggers, 3)
        assert not any(each.done() for each in waits)
        for each in waits:
            each.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        return sim.tokens_issued() - before

    assert asyncio.run(wait()) == 1


async def looks(sim: Simulator, triggers: list[Any], times: int) -> None:
    """Wait until the service has answered each trigger so often."""
    sim.admin("DELETE", "/requests")
    paths = [f"/batch/v2/process/{trigger.batch_task_id}" for trigger in triggers]
    for _ in range(500):
        await asyncio.sleep(0.05)
        log = sim.requests()["requests"]
        if min(sum(seen["path"] == path and seen["status"] == 200 for seen in log) for path in paths) >= times:
            return
    raise AssertionError("the triggers do not look")


@pytest.mark.parametrize("fault", ["drop_after", "drop_before", "answer"])
@pytest.mark.parametrize("call", ["/process$", "/start$"])
@pytest.mark.parametrize("deferrable", [True, False])
def test_lost_answers(sim: Simulator, run_task: RunTask, comms: Comms, call: str, fault: str, deferrable: bool) -> None:
    sim.set_script({"endpoints": [{"method": "POST", "path": call, "count": 1, "action": fault}]})
    op = operator(sim, deferrable=deferrable)
    run = run_task(op)
    if deferrable:
        event = asyncio.run(first_event(run.trigger, comms))
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "success", run.error
    started = [
        task
        for task in sim.tasks()
        if f"#{task_digest(comms)}" in task["description"]
        and any(entry["event"] == "user START" for entry in task["history"])
    ]
    assert len(started) == 1
    assert sum(entry["event"] == "user START" for entry in started[0]["history"]) == 1


def task_digest(comms: Comms) -> str:
    return str(comms.state["sentinelhub_batch"]["digest"])


def test_trigger_that_crashes_again_and_again_ends_in_the_worker(
    sim: Simulator, run_task: RunTask, comms: Comms
) -> None:
    op = operator(sim, deferrable=True)
    run = run_task(op)
    for _ in range(3):
        assert run.state == "deferred"
        run = run_task(op, next_method="__fail__", next_kwargs={"error": "Trigger failure"})
    assert run.state == "deferred"
    run = run_task(op, next_method="__fail__", next_kwargs={"error": "Trigger failure"})
    assert run.state == "success", run.error
    assert (calls(sim), calls(sim, "start")) == (1, 1)


def test_missing_connection_is_named_and_not_tried_again(
    sim: Simulator, run_task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SENTINELHUB_DEFAULT")
    run = run_task(operator(sim))
    assert type(run.error).__name__ == "AirflowFailException"
    assert "There is no connection 'sentinelhub_default'. Create it under Admin, Connections" in str(run.error)


def test_event_of_another_trigger_is_not_taken_for_ours(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    op = operator(sim, deferrable=True)
    run_task(op)
    foreign = {"kind": "ready", "batch_task_id": "029b1560-3957-4f84-bf36-620977c4393b", "status": "DONE"}
    run = run_task(op, next_method="execute_complete", next_kwargs={"event": foreign})
    assert run.state == "deferred"
    assert run.trigger.batch_task_id == comms.xcoms["sentinelhub_task_id"]
