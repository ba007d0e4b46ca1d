"""What a task may cost, and what becomes of one that was stopped for lack of processing units."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubBatchProcessOperator,
    SentinelHubCreateBatchProcessOperator,
    SentinelHubEstimateBatchProcessOperator,
)
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import Comms, Run, RunTask, first_event, request


def operator(sim: Simulator, **kwargs: Any) -> SentinelHubBatchProcessOperator:
    options = {"request": request(sim.ready), "poll_interval": 0.1, "progress_interval": 0, **kwargs}
    return SentinelHubBatchProcessOperator(task_id="t", **options)


def run_through(run_task: RunTask, comms: Comms, op: SentinelHubBatchProcessOperator) -> tuple[Run, list[str]]:
    """Run an operator over all its deferrals; returns how it ended and why it was woken each time."""
    kinds = []
    run = run_task(op)
    while run.state == "deferred":
        event = asyncio.run(first_event(run.trigger, comms))
        kinds.append(event["kind"])
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    return run, kinds


def seen(sim: Simulator, comms: Comms) -> dict[str, Any]:
    body: dict[str, Any] = sim.call("GET", f"/batch/v2/process/{comms.xcoms['sentinelhub_task_id']}").body
    return body


@pytest.mark.parametrize("deferrable", [True, False])
def test_task_over_budget_is_never_started(sim: Simulator, run_task: RunTask, comms: Comms, deferrable: bool) -> None:
    run, _ = run_through(run_task, comms, operator(sim, deferrable=deferrable, max_pu=5))
    assert run.state == "failed"
    assert type(run.error).__name__ == "AirflowFailException"
    assert "would cost about 100.0 PU for 4 features, more than max_pu = 5" in str(run.error)
    assert seen(sim, comms)["status"] == "ANALYSIS_DONE"
    assert "POST /batch/v2/process/{id}/start" not in sim.requests()["counts"]


def test_the_budget_counts_delivery_to_another_region(
    sim: Simulator, run_task: RunTask, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(sim.ready.airflow_connections()["AIRFLOW_CONN_SENTINELHUB_DEFAULT"])
    connection["extra"]["deployment"] = "aws-eu-central-1"
    monkeypatch.setenv("AIRFLOW_CONN_SENTINELHUB_DEFAULT", json.dumps(connection))
    body = request(sim.ready)
    body["output"]["delivery"]["s3"]["region"] = "us-west-2"
    run, _ = run_through(run_task, comms, operator(sim, request=body, deferrable=False, max_pu=100.01))
    assert run.state == "failed"
    assert "for delivery (0 to" in str(run.error)
    assert "a bucket in the deployment's own region" in str(run.error)
    assert seen(sim, comms)["status"] == "ANALYSIS_DONE"


@pytest.mark.parametrize("deferrable", [True, False])
def test_task_within_budget_runs(sim: Simulator, run_task: RunTask, comms: Comms, deferrable: bool) -> None:
    run, _ = run_through(run_task, comms, operator(sim, deferrable=deferrable, max_pu="{{ 200 }}"))
    assert run.state == "success", run.error
    assert comms.xcoms["return_value"]["outcome"] == "DONE"


@pytest.mark.parametrize("deferrable", [True, False])
def test_task_that_costs_more_than_estimated_is_stopped(
    sim: Simulator, run_task: RunTask, comms: Comms, deferrable: bool
) -> None:
    sim.set_script({"timing": {"feature_seconds": 1200, "parallel": 1, "billing_seconds": 30}})
    op = Underestimated(
        task_id="t",
        request=expensive(sim),
        deferrable=deferrable,
        max_pu=1_000_000,
        poll_interval=0.1,
        progress_interval=0,
    )
    run, kinds = run_through(run_task, comms, op)
    assert run.state == "failed"
    assert "more than max_pu = 300" in str(run.error)
    assert "it was stopped" in str(run.error)
    assert seen(sim, comms)["userAction"] == "STOP"
    assert kinds == (["ready", "over_budget"] if deferrable else [])


EXPENSIVE = """//VERSION=3
function setup() {
  return {input: ["B02", "B03", "B04", "B05", "B06", "B07"], output: {bands: 1, sampleType: "FLOAT32"},
          mosaicking: "ORBIT"};
}
function evaluatePixel(samples) { return [samples.length]; }
"""


def expensive(sim: Simulator) -> dict[str, Any]:
    dates = {"timeRange": {"from": "2019-04-01T00:00:00Z", "to": "2019-06-30T00:00:00Z"}}
    return request(
        sim.ready,
        processRequest__evalscript=EXPENSIVE,
        processRequest__input__data=[{"type": "sentinel-2-l2a", "dataFilter": dates}],
        input__resolution=10,
    )


class Underestimated(SentinelHubBatchProcessOperator):
    """May start whatever the estimate says, but spend little: as where the estimate was far too low."""

    def budget(self) -> float:
        return 300.0


def estimate(sim: Simulator, run_task: RunTask, comms: Comms, body: dict[str, Any]) -> dict[str, Any]:
    run_task(SentinelHubCreateBatchProcessOperator(task_id="create", request=body))
    task_id = comms.xcoms["return_value"]
    options: dict[str, Any] = {"poll_interval": 0.1, "progress_interval": 0, "deferrable": False}
    run = run_task(SentinelHubEstimateBatchProcessOperator(task_id="estimate", batch_task_id=task_id, **options))
    assert run.state == "success", run.error
    found: dict[str, Any] = comms.xcoms["return_value"]
    return found


def test_estimate_operator_says_what_it_would_cost(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    found = estimate(sim, run_task, comms, request(sim.ready))
    assert (found["features"], found["pixels"]) == (4, 4 * 334 * 334)
    assert found["low_pu"] <= found["pu"] == 100
    assert sim.call("GET", f"/batch/v2/process/{found['task_id']}").body["status"] == "ANALYSIS_DONE"


OUT_OF_PU = {"tasks": [{"stop": {"reason": "OUT_OF_PU", "after_fraction": 0.5}, "count": 1}]}


@pytest.mark.parametrize("deferrable", [True, False])
def test_stop_for_lack_of_units_is_waited_out_where_asked(
    sim: Simulator, run_task: RunTask, comms: Comms, deferrable: bool
) -> None:
    sim.set_script({**OUT_OF_PU, "timing": {"out_of_pu_lock_seconds": 1200}})
    run, _ = run_through(run_task, comms, operator(sim, deferrable=deferrable, on_out_of_pu="wait"))
    assert run.state == "success", run.error
    history = [entry["event"] for entry in sim.task(comms.xcoms["sentinelhub_task_id"])["history"]]
    assert history.count("user START") == 2
    assert comms.xcoms["return_value"]["outcome"] == "DONE"


def test_stop_for_lack_of_units_fails_by_default(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script(OUT_OF_PU)
    run, _ = run_through(run_task, comms, operator(sim, deferrable=True))
    assert run.state == "failed"
    assert "ran out of processing units" in str(run.error)


def test_unhealthy_task_fails_with_its_feature_errors(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script(
        {
            "tasks": [{"stop": {"reason": "UNHEALTHY", "after_fraction": 0.6}}],
            "features": [{"outcome": "fatal", "error": "Band B99 does not exist"}],
        }
    )
    run, _ = run_through(run_task, comms, operator(sim, deferrable=True, on_out_of_pu="wait"))
    assert run.state == "failed"
    assert "too many features failed" in str(run.error)
    assert "Band B99 does not exist" in str(run.error)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"on_partial": "explode"}, "on_partial = 'explode': must be one of fail, warn"),
        ({"on_out_of_pu": "cry"}, "on_out_of_pu = 'cry': must be one of fail, wait"),
        ({"on_clear": "forget"}, "on_clear = 'forget': must be one of resume, new, adopt"),
        ({"max_pu": "lots"}, "max_pu = 'lots': must be a number"),
        ({"max_pu": -3}, "max_pu = -3: must be at least 1"),
        ({"poll_interval": "often"}, "poll_interval = 'often': must be a number"),
    ],
)
def test_bad_option_is_refused_when_the_dag_is_parsed(sim: Simulator, option: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(message)):
        operator(sim, **option)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"on_partial": "explode"}, "on_partial = 'explode': must be one of fail, warn"),
        ({"max_pu": "lots"}, "max_pu = 'lots': must be a number"),
        ({"max_reruns": -1}, "max_reruns = '-1': must be at least 0"),
    ],
)
def test_bad_templated_option_is_refused_before_anything_is_sent(
    sim: Simulator, run_task: RunTask, option: dict[str, Any], message: str
) -> None:
    ((name, value),) = option.items()
    run = run_task(operator(sim, **{name: "{{ params.given }}"}), params={"given": value})
    assert run.state == "failed"
    assert message in str(run.error)
    assert sim.requests()["total"] == 0


@pytest.mark.parametrize("forgotten", [True, False])
@pytest.mark.parametrize("on_clear", ["resume", "new", "adopt"])
def test_clear(sim: Simulator, run_task: RunTask, comms: Comms, on_clear: str, forgotten: bool) -> None:
    sim.set_script({"timing": {"feature_seconds": 100_000}})
    op = operator(sim, deferrable=True, on_clear=on_clear)
    run_task(op)
    old = comms.xcoms["sentinelhub_task_id"]
    sim.call("POST", f"/batch/v2/process/{old}/start")
    if forgotten:
        comms.state.clear()
    run_task(op, try_number=2, max_tries=1)
    new = comms.xcoms["sentinelhub_task_id"]
    action = sim.call("GET", f"/batch/v2/process/{old}").body["userAction"]
    assert (new == old, action) == ((False, "STOP") if on_clear == "new" else (True, "START"))
    # A retry of the cleared task continues with what it has.
    run_task(op, try_number=3, max_tries=1)
    assert comms.xcoms["sentinelhub_task_id"] == new


def test_changed_payload_stops_what_was_wanted_before(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"timing": {"feature_seconds": 100_000}})
    run_task(operator(sim, deferrable=True), max_tries=2)
    old = comms.xcoms["sentinelhub_task_id"]
    sim.call("POST", f"/batch/v2/process/{old}/start")
    run_task(operator(sim, deferrable=True), try_number=2, max_tries=2)
    assert sim.call("GET", f"/batch/v2/process/{old}").body["userAction"] == "STOP"


def test_execution_timeout_holds_while_deferred(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    from datetime import timedelta

    sim.set_script({"timing": {"feature_seconds": 100_000}})
    run, kinds = run_through(run_task, comms, operator(sim, deferrable=True, execution_timeout=timedelta(seconds=1)))
    assert kinds == ["late"]
    assert "did not finish within execution_timeout = 0:00:01" in str(run.error)
    assert seen(sim, comms)["userAction"] == "STOP"
