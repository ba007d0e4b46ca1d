"""APIs that cannot analyse, that start at once, or that cannot stop: what a task may cost is judged all the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_sentinelhub.client.apis import registry as apis
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.lifecycle.spec import Capabilities
from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubBatchProcessOperator,
    SentinelHubCreateBatchProcessOperator,
    SentinelHubEstimateBatchProcessOperator,
    SentinelHubStartBatchProcessOperator,
)
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.triggers.events import BatchEvent, EventKind
from tests.airflow.airflow_harness import Comms, Run, RunTask, first_event, request
from tests.airflow.test_money import expensive

Offers = Callable[[Capabilities], None]
Operator = SentinelHubBatchProcessOperator
NO_ANALYSIS = Capabilities(analyse=False)
AT_ONCE = Capabilities(analyse=False, start=False)
NO_STOP = Capabilities(stop=False)
CREATE = "POST /batch/v2/process"
START, STOP, ANALYSE = (f"{CREATE}/{{id}}/{action}" for action in ("start", "stop", "analyse"))


class Underestimated(SentinelHubBatchProcessOperator):
    """May start whatever the estimate says, but spend little."""

    def budget(self) -> float:
        return 300.0


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Capabilities], None]:
    """Puts an API that can do so much in the place of Batch Processing V2, which it is like otherwise."""

    def register(can: Capabilities) -> None:
        for registry in (apis.TASK_APIS, apis.APIS):
            monkeypatch.setitem(registry, BATCH_V2.key, replace(BATCH_V2, can=can))

    return register


def render(sim: Simulator, kind: type[Operator] = SentinelHubBatchProcessOperator, **kwargs: Any) -> Operator:
    options = {"request": request(sim.ready), "poll_interval": 0.05, "progress_interval": 0, **kwargs}
    return kind(task_id="t", **options)


def run_through(run_task: RunTask, comms: Comms, op: Operator) -> Run:
    run = run_task(op)
    while run.state == "deferred":
        event = asyncio.run(first_event(run.trigger, comms))
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    return run


def calls(sim: Simulator) -> dict[str, int]:
    counts = sim.requests()["counts"]
    return {path: counts.get(path, 0) for path in (CREATE, ANALYSE, START, STOP)}


@pytest.fixture(autouse=True)
def counted(sim: Simulator) -> None:
    sim.admin("DELETE", "/requests")


@pytest.mark.parametrize("can", [NO_ANALYSIS, AT_ONCE])
def test_nothing_is_created_that_would_cost_too_much(
    sim: Simulator, run_task: RunTask, offers: Offers, can: Capabilities
) -> None:
    offers(can)
    run = run_task(render(sim, max_pu=5, deferrable=False))
    assert type(run.error).__name__ == "AirflowFailException"
    assert "A task for this request would cost about 100.0 PU for" in str(run.error)
    assert "more than max_pu = 5. Nothing was created." in str(run.error)
    assert set(calls(sim).values()) == {0}


@pytest.mark.parametrize("can", [NO_ANALYSIS, AT_ONCE])
def test_nothing_large_is_created_without_a_limit(
    sim: Simulator, run_task: RunTask, offers: Offers, can: Capabilities
) -> None:
    offers(can)
    everywhere = request(sim.ready, processRequest__input__bounds__bbox=[-60, -50, 60, 70], input__resolution=10)
    run = run_task(render(sim, request=everywhere, deferrable=False))
    assert "without max_pu nothing of more than" in str(run.error)
    assert calls(sim)[CREATE] == 0


@pytest.mark.parametrize("max_pu", [200, None])
def test_what_cannot_be_analysed_is_started_where_it_is_within_the_limit(
    sim: Simulator, run_task: RunTask, comms: Comms, offers: Offers, max_pu: int | None
) -> None:
    offers(NO_ANALYSIS)
    run = run_task(render(sim, max_pu=max_pu, deferrable=False))
    assert run.state == "success", run.error
    assert comms.xcoms["return_value"]["outcome"] == "DONE"
    assert calls(sim) == {CREATE: 1, ANALYSE: 0, START: 1, STOP: 0}


def test_what_starts_at_once_is_created_and_waited_for(sim: Simulator, run_task: RunTask, offers: Offers) -> None:
    offers(AT_ONCE)
    run = run_task(render(sim, max_pu=200, deferrable=True))
    assert run.state == "deferred", run.error
    assert calls(sim) == {CREATE: 1, ANALYSE: 0, START: 0, STOP: 0}


def test_failed_features_are_rerun_without_an_analysis(
    sim: Simulator, run_task: RunTask, comms: Comms, offers: Offers
) -> None:
    offers(NO_ANALYSIS)
    sim.set_script({"features": [{"outcome": "fatal", "task": r"~\d+$"}]})
    run = run_task(render(sim, max_pu=250, on_partial="rerun", deferrable=False))
    assert run.state == "success", run.error
    assert calls(sim) == {CREATE: 2, ANALYSE: 0, START: 2, STOP: 0}


def test_each_step_alone(sim: Simulator, run_task: RunTask, comms: Comms, offers: Offers) -> None:
    offers(NO_ANALYSIS)
    # Creating it costs nothing, so the limit is the start's.
    assert run_task(SentinelHubCreateBatchProcessOperator(task_id="c", request=request(sim.ready))).state == "success"
    task_id = comms.xcoms["return_value"]
    waits: dict[str, Any] = {"poll_interval": 0.05, "progress_interval": 0, "deferrable": False}
    assert (
        run_task(SentinelHubEstimateBatchProcessOperator(task_id="e", batch_task_id=task_id, **waits)).state
        == "success"
    )
    assert comms.xcoms["return_value"]["pu"] == 100
    refused = run_task(SentinelHubStartBatchProcessOperator(task_id="s", batch_task_id=task_id, max_pu=5))
    assert "more than max_pu = 5. It was not started and is left as it is, CREATED; nothing was charged." in str(
        refused.error
    )
    assert (
        run_task(SentinelHubStartBatchProcessOperator(task_id="s", batch_task_id=task_id, max_pu=200)).state
        == "success"
    )
    assert calls(sim) == {CREATE: 1, ANALYSE: 0, START: 1, STOP: 0}


def test_what_starts_at_once_is_not_created_above_the_limit_of_the_connection(
    sim: Simulator, run_task: RunTask, offers: Offers, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers(AT_ONCE)
    connection = json.loads(sim.ready.airflow_connections()["AIRFLOW_CONN_SENTINELHUB_DEFAULT"])
    connection["extra"]["max_pu"] = 5
    monkeypatch.setenv("AIRFLOW_CONN_SENTINELHUB_DEFAULT", json.dumps(connection))
    run = run_task(SentinelHubCreateBatchProcessOperator(task_id="c", request=request(sim.ready)))
    assert "more than max_pu = 5 of connection 'sentinelhub_default'. Nothing was created." in str(run.error)
    assert calls(sim)[CREATE] == 0


@pytest.mark.parametrize("deferrable", [True, False])
def test_what_cannot_be_stopped_is_said_to_run_on(
    sim: Simulator, run_task: RunTask, comms: Comms, offers: Offers, deferrable: bool
) -> None:
    offers(NO_STOP)
    sim.set_script({"timing": {"feature_seconds": 1200, "parallel": 1, "billing_seconds": 30}})
    op = render(sim, Underestimated, request=expensive(sim), max_pu=1_000_000, deferrable=deferrable)
    run = run_through(run_task, comms, op)
    assert "more than max_pu = 300; it is PROCESSING and was left running: the service cannot stop it" in str(run.error)
    assert "it was stopped" not in str(run.error)
    assert calls(sim)[STOP] == 0
    assert not [key for key in comms.variables if "owed_stop" in key]


@pytest.mark.parametrize(
    ("is_started", "said"),
    [(True, "it was left running: the service cannot stop it"), (False, "it was never started")],
)
def test_what_cannot_be_stopped_is_left_at_the_deadline(
    sim: Simulator, run_task: RunTask, offers: Offers, is_started: bool, said: str
) -> None:
    offers(NO_STOP)
    sim.set_script({"timing": {"feature_seconds": 100_000}})
    op = render(sim, timeout=60, deferrable=True)
    task_id = run_task(op).trigger.batch_task_id
    if is_started:
        assert sim.call("POST", f"/batch/v2/process/{task_id}/start").status == 204
    late = BatchEvent(EventKind.LATE, task_id, "CREATED", None, "", "").to_payload()
    run = run_task(op, next_method="execute_complete", next_kwargs={"event": late})
    assert f"did not finish within timeout = 60; {said}" in str(run.error)
    assert calls(sim)[STOP] == 0
