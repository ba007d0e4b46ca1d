"""What is unusually large is not started by mistake, and the log says what is asked for, and where."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from typing import Any

import pytest

from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubAnalyseBatchProcessOperator,
    SentinelHubBatchProcessOperator,
    SentinelHubCreateBatchProcessOperator,
    SentinelHubStartBatchProcessOperator,
)
from airflow_provider_sentinelhub.operators.batch_statistical import SentinelHubBatchStatisticalOperator
from airflow_provider_sentinelhub.operators.statistical import SentinelHubStatisticalOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import Comms, Run, RunTask, first_event, request
from tests.airflow.statistical_harness import NDVI, parcels, statistical_request

# West, east, south, north: the corner of a field in Slovenia becomes half of the Near East.
SWAPPED = [14.4, 14.6, 46.0, 46.1]
START = "POST /batch/v2/process/{id}/start"
ANALYSE = "POST /batch/v2/process/{id}/analyse"


def operator(sim: Simulator, **kwargs: Any) -> SentinelHubBatchProcessOperator:
    options = {"request": request(sim.ready), "poll_interval": 0.1, "progress_interval": 0, **kwargs}
    return SentinelHubBatchProcessOperator(task_id="t", **options)


def continent(sim: Simulator) -> dict[str, Any]:
    grid = {"type": "tiling-grid", "id": 2, "resolution": 360}
    return request(sim.ready, processRequest__input__bounds__bbox=SWAPPED, input=grid)


def run_through(run_task: RunTask, comms: Comms, op: Any) -> Run:
    run = run_task(op)
    while run.state == "deferred":
        event = asyncio.run(first_event(run.trigger, comms))
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    return run


def give_connection(monkeypatch: pytest.MonkeyPatch, sim: Simulator, max_pu: object) -> None:
    given = json.loads(sim.ready.airflow_connections()["AIRFLOW_CONN_SENTINELHUB_DEFAULT"])
    given["extra"]["max_pu"] = max_pu
    monkeypatch.setenv("AIRFLOW_CONN_SENTINELHUB_DEFAULT", json.dumps(given))


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_continent_is_analysed_and_not_started(
    sim: Simulator, run_task: RunTask, comms: Comms, deferrable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = run_through(run_task, comms, operator(sim, request=continent(sim), deferrable=deferrable))
    assert run.state == "failed"
    assert type(run.error).__name__ == "AirflowFailException"
    said = str(run.error)
    assert " features of 10,487,533 km2, centre at longitude 30.2, latitude 30.35; longitude 14.4 to 46," in said
    assert (
        "without max_pu nothing of more than 10,000 PU or 1,000,000 km2 is started. It was not started and is" in said
    )
    assert "If this is what you want, write max_pu=" in said
    assert START not in sim.requests()["counts"]
    task = sim.call("GET", f"/batch/v2/process/{comms.xcoms['sentinelhub_task_id']}").body
    assert (task["status"], task.get("costPU", 0)) == ("ANALYSIS_DONE", 0)
    assert "Area of interest: 10,487,533 km2, centre at longitude 30.2" in caplog.text
    assert "If that was meant, write [14.4, 46.0, 14.6, 46.1]." in caplog.text


def test_it_is_started_where_max_pu_allows_it(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    op = operator(sim, request=continent(sim), deferrable=True, max_pu=100_000)
    run = run_task(op)
    event = asyncio.run(first_event(run.trigger, comms))
    run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert (run.state, run.trigger.goal) == ("deferred", "run")


def test_what_is_small_is_started_at_once(
    sim: Simulator, run_task: RunTask, comms: Comms, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert run_through(run_task, comms, operator(sim, deferrable=True)).state == "success"
    assert ANALYSE not in sim.requests()["counts"]
    said = "Area of interest: 22 km2, centre at longitude 9.24, latitude 42.09; longitude 9.21 to 9.27, latitude 42.07"
    assert said in caplog.text


@pytest.mark.parametrize("max_pu", [5, "5"])
def test_the_limit_of_the_connection_holds_where_the_operator_has_none(
    sim: Simulator, run_task: RunTask, comms: Comms, monkeypatch: pytest.MonkeyPatch, max_pu: object
) -> None:
    give_connection(monkeypatch, sim, max_pu)
    run = run_through(run_task, comms, operator(sim, deferrable=True))
    assert run.state == "failed"
    assert "more than max_pu = 5 of connection 'sentinelhub_default'. It was not started" in str(run.error)
    assert "Area: 22 km2" in str(run.error)
    assert START not in sim.requests()["counts"]


def test_the_limit_of_the_operator_wins(
    sim: Simulator, run_task: RunTask, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_connection(monkeypatch, sim, 5)
    assert run_through(run_task, comms, operator(sim, deferrable=True, max_pu=200)).state == "success"
    give_connection(monkeypatch, sim, 1000)
    run = run_through(run_task, comms, operator(sim, deferrable=True, max_pu=5))
    assert "more than max_pu = 5. It was not started" in str(run.error)


def test_the_limit_of_the_connection_stops_what_runs(
    sim: Simulator, run_task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_connection(monkeypatch, sim, 123)
    assert run_task(operator(sim, deferrable=True)).trigger.max_pu == 123


def test_features_are_counted_and_placed(
    sim: Simulator, run_task: RunTask, comms: Comms, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    body = statistical_request(sim, parcels(sim, 4))
    op = SentinelHubBatchStatisticalOperator(
        task_id="t", request=body, deferrable=True, poll_interval=0.1, progress_interval=0
    )
    assert run_through(run_task, comms, op).state == "success"
    said = "Input features: 4 features, 0.04 km2, centre at longitude 9.004, latitude 46.5; longitude 9 to 9.007"
    assert said in caplog.text
    assert not [name for name in sim.requests()["counts"] if name.endswith("/analyse")]


def test_features_nobody_has_read_are_analysed_first(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    body = statistical_request(sim, parcels(sim, 4))
    op = SentinelHubBatchStatisticalOperator(
        task_id="t", request=body, deferrable=True, poll_interval=0.1, progress_interval=0, check_features=False
    )
    assert run_through(run_task, comms, op).state == "success"
    assert [name for name in sim.requests()["counts"] if name.endswith("/analyse")]


def statistics(sim: Simulator, box: list[float], **kwargs: Any) -> SentinelHubStatisticalOperator:
    years = {"from": "2016-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    step = (box[2] - box[0]) / 2000
    body = {
        "input": {"data": [{"type": "sentinel-2-l2a"}]},
        "aggregation": {
            "timeRange": years, "aggregationInterval": {"of": "P1D"}, "resx": step, "resy": step, "evalscript": NDVI,
        },
    }  # fmt: skip
    west, south, east, north = box
    ring = f"POLYGON (({west} {south}, {east} {south}, {east} {north}, {west} {north}, {west} {south}))"
    url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}"
    options: dict[str, Any] = {"request": body, "geometries": {"a": ring}, "output_url": url, "epsg": 3035, **kwargs}
    return SentinelHubStatisticalOperator(task_id="t", **options)


def asked(sim: Simulator) -> int:
    return int(sim.requests()["counts"].get("POST /statistics/v1", 0))


def test_statistics_of_many_years_are_not_asked(sim: Simulator, run_task: RunTask) -> None:
    run = run_task(statistics(sim, [4_000_000, 3_000_000, 4_020_000, 3_020_000]))
    assert run.state == "failed"
    assert "Statistics of 1 geometry would cost about" in str(run.error)
    assert "PU for 1 features of 400 km2, centre at 4010000, 3010000 in EPSG:3035" in str(run.error)
    assert "without max_pu nothing of more than 10,000 PU or 1,000,000 km2 is started. Nothing was requested." in str(
        run.error
    )
    assert asked(sim) == 0


def test_the_limit_of_the_connection_holds_for_statistics(
    sim: Simulator, run_task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_connection(monkeypatch, sim, 700)
    run = run_task(statistics(sim, [4_000_000, 3_000_000, 4_020_000, 3_020_000]))
    assert "more than max_pu = 700 of connection 'sentinelhub_default'. Nothing was requested. Area: 400 km2" in str(
        run.error
    )
    assert asked(sim) == 0


def test_the_start_operator_holds_to_the_same(
    sim: Simulator, run_task: RunTask, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: dict[str, Any] = {"poll_interval": 0.1, "progress_interval": 0, "deferrable": False}

    def start(body: dict[str, Any], *, analysed: bool, **parameters: Any) -> str:
        run_task(SentinelHubCreateBatchProcessOperator(task_id=f"create-{uuid.uuid4()}", request=body))
        batch = comms.xcoms["return_value"]
        if analysed:
            run_task(SentinelHubAnalyseBatchProcessOperator(task_id="analyse", batch_task_id=batch, **waiting))
        run = run_task(SentinelHubStartBatchProcessOperator(task_id="start", batch_task_id=batch, **parameters))
        started = sim.call("GET", f"/batch/v2/process/{batch}").body["userAction"] == "START"
        assert started == (run.state == "success")
        return "" if started else str(run.error)

    assert "10,487,533 km2" in start(continent(sim), analysed=True)
    assert "so what it would cost is not known yet; without max_pu nothing of" in start(continent(sim), analysed=False)
    assert start(request(sim.ready), analysed=False) == ""
    assert "more than max_pu = 5. It was not started" in start(request(sim.ready), analysed=True, max_pu=5)
    give_connection(monkeypatch, sim, 7)
    assert "not known yet; max_pu = 7 of connection 'sentinelhub_default'." in start(request(sim.ready), analysed=False)
    assert start(request(sim.ready), analysed=True, max_pu="{{ 200 }}") == ""


@pytest.mark.parametrize(("bbox", "warned"), [([9.0, 46.4, 9.1, 46.6], False), ([46.4, 9.0, 46.6, 9.1], True)])
def test_features_outside_of_the_area_are_pointed_out(
    sim: Simulator, bbox: list[float], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    features = {
        "type": "geopackage", "features": {"s3": {"url": parcels(sim, 4)}}, "defaults": {"width": 10, "height": 10},
    }  # fmt: skip
    hook = SentinelHubBatchHook()
    hook.check_features(hook.prepare(request(sim.ready, input=features, processRequest__input__bounds__bbox=bbox)))
    assert "Input features: 4 features, 0.04 km2" in caplog.text
    assert ("The features lie outside of the area of interest" in caplog.text) == warned


def test_what_is_small_is_started_without_the_bucket(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    run_task(SentinelHubCreateBatchProcessOperator(task_id="create", request=request(sim.ready)))
    batch = comms.xcoms["return_value"]
    waiting: dict[str, Any] = {"poll_interval": 0.1, "progress_interval": 0, "deferrable": False}
    run_task(SentinelHubAnalyseBatchProcessOperator(task_id="analyse", batch_task_id=batch, **waiting))
    # Each task instance has a record of its own.
    comms.state.clear()
    without = {"batch_task_id": batch, "aws_conn_id": "no_such_connection"}
    run = run_task(SentinelHubStartBatchProcessOperator(task_id="limited", max_pu=200, **without))
    assert "There is no connection 'no_such_connection'" in str(run.error)
    run = run_task(SentinelHubStartBatchProcessOperator(task_id="start", **without))
    assert run.state == "success", run.error
