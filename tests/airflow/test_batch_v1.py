"""Batch Processing V1 in Airflow: one remote task for each intent, the service's own restart, and reports."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_sentinelhub.client.lifecycle.spec import Goal
from airflow_provider_sentinelhub.operators.base import Killed
from airflow_provider_sentinelhub.operators.batch_process_v1 import (
    SentinelHubAnalyseBatchProcessV1Operator,
    SentinelHubBatchProcessV1Operator,
    SentinelHubBatchProcessV1ReportOperator,
    SentinelHubCancelBatchProcessV1Operator,
    SentinelHubCreateBatchProcessV1Operator,
    SentinelHubEstimateBatchProcessV1Operator,
    SentinelHubRestartPartialBatchProcessV1Operator,
    SentinelHubStartBatchProcessV1Operator,
)
from airflow_provider_sentinelhub.sensors.batch_process_v1 import SentinelHubBatchProcessV1Sensor
from tests.airflow.airflow_harness import BBOX, CRS84, EVALSCRIPT, Comms, Run, RunTask, first_event

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.process import Simulator

PROCESS = "POST /api/v1/batch/process"
START, CANCEL, ANALYSE, RESTART = (
    f"{PROCESS}/{{id}}/{name}" for name in ("start", "cancel", "analyse", "restartpartial")
)


def request(sim: Simulator, **fields: Any) -> dict[str, Any]:
    """Four tiles of the 20 km grid at 60 m."""
    return {
        "processRequest": {
            "input": {
                "bounds": {"bbox": list(BBOX), "properties": {"crs": CRS84}},
                "data": [{"type": "sentinel-2-l2a"}],
            },
            "output": {"responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]},
            "evalscript": EVALSCRIPT,
        },
        "tilingGrid": {"id": 0, "resolution": 60},
        "output": {"defaultTilePath": f"s3://{sim.ready.bucket}/{uuid.uuid4()}/<requestId>/<tileName>/<outputId>.tif"},
        **fields,
    }


def operator(sim: Simulator, **kwargs: Any) -> SentinelHubBatchProcessV1Operator:
    options = {"request": request(sim), "poll_interval": 0.05, "progress_interval": 0, "deferrable": False, **kwargs}
    return SentinelHubBatchProcessV1Operator(task_id="v1", **options)


def run_through(run_task: RunTask, comms: Comms, op: Any, **kwargs: Any) -> Run:
    run = run_task(op, **kwargs)
    while run.state == "deferred":
        event = asyncio.run(first_event(run.trigger, comms))
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event}, **kwargs)
    return run


def calls(sim: Simulator) -> dict[str, int]:
    counts = sim.requests()["counts"]
    return {path.removeprefix(PROCESS): counts.get(path, 0) for path in (PROCESS, ANALYSE, START, RESTART, CANCEL)}


@pytest.mark.parametrize("deferrable", [False, True])
def test_it_is_created_started_and_reported_on(
    sim: Simulator, run_task: RunTask, comms: Comms, deferrable: bool
) -> None:
    run = run_through(run_task, comms, operator(sim, deferrable=deferrable))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["status"], result["total"], result["delivered"]) == ("DONE", "DONE", 4, 4)
    assert result["cost_pu"] > 0
    assert result["restarts"] == 0
    assert calls(sim) == {"": 1, "/{id}/analyse": 0, "/{id}/start": 1, "/{id}/restartpartial": 0, "/{id}/cancel": 0}


# So long in simulated seconds that a restart is seen, and does not seem to have failed again.
SLOW = {"finalising_seconds": 1800}
FAILS_ONCE = {"outcome": "fatal", "indexes": [1, 2], "first_attempts": 1, "error": "Internal error."}


def test_failed_tiles_are_restarted_in_the_same_task(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [FAILS_ONCE]})
    run = run_through(run_task, comms, operator(sim, on_partial="restart", deferrable=True))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["status"], result["delivered"], result["failed"], result["restarts"]) == ("DONE", 4, 0, 1)
    assert result["task_ids"] == [result["task_id"]]
    assert calls(sim) == {"": 1, "/{id}/analyse": 0, "/{id}/start": 1, "/{id}/restartpartial": 1, "/{id}/cancel": 0}


def test_a_tile_that_always_fails_is_named_with_its_cause(
    sim: Simulator, run_task: RunTask, comms: Comms, caplog: pytest.LogCaptureFixture
) -> None:
    failing = {"outcome": "fatal", "indexes": [3], "error": "Internal error."}
    sim.set_script({"features": [failing], "timing": SLOW})
    run = run_through(run_task, comms, operator(sim, on_partial="restart", max_restarts=2))
    assert run.state == "failed"
    assert "is PARTIAL: 1 of 4 features were not delivered (1 failed" in str(run.error)
    assert "Internal error" in str(run.error)
    (name,) = comms.xcoms["return_value"]["failed_names"]
    assert name in str(run.error)
    assert (comms.xcoms["return_value"]["restarts"], calls(sim)["/{id}/restartpartial"]) == (2, 2)


def test_partial_is_accepted_without_a_restart(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [FAILS_ONCE]})
    run = run_through(run_task, comms, operator(sim, on_partial="warn"))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["status"], result["failed"]) == ("PARTIAL", "PARTIAL", 2)
    assert calls(sim)["/{id}/restartpartial"] == 0


def test_a_restart_that_somebody_else_has_begun_is_waited_for(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    # The first answer to the restart is lost; the second request finds the task in another status.
    lost = {"path": "restartpartial$", "action": "drop_after", "count": 1}
    sim.set_script({"features": [FAILS_ONCE], "endpoints": [lost]})
    run = run_through(run_task, comms, operator(sim, on_partial="restart"))
    assert run.state == "success", run.error
    assert (comms.xcoms["return_value"]["status"], comms.xcoms["return_value"]["restarts"]) == ("DONE", 1)
    assert calls(sim)["/{id}/restartpartial"] == 2


def test_a_restart_that_would_cost_too_much_is_not_sent(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [FAILS_ONCE]})
    fine = request(sim, tilingGrid={"id": 0, "resolution": 10})
    assert run_task(operator(sim, request=fine)).state == "failed"
    task_id, spent = comms.xcoms["return_value"]["task_id"], comms.xcoms["return_value"]["cost_pu"]
    limited = SentinelHubRestartPartialBatchProcessV1Operator(
        task_id="restart", batch_task_id=task_id, max_pu=spent + 1, deferrable=False
    )
    run = run_task(limited)
    assert "They were not restarted: that would cost about" in str(run.error)
    assert calls(sim)["/{id}/restartpartial"] == 0


def test_nothing_is_started_above_max_pu(sim: Simulator, run_task: RunTask) -> None:
    fine = request(sim, tilingGrid={"id": 0, "resolution": 10})
    run = run_task(operator(sim, request=fine, max_pu=1))
    assert type(run.error).__name__ == "AirflowFailException"
    assert "more than max_pu = 1" in str(run.error)
    assert "valueEstimate" in str(run.error)
    assert calls(sim)["/{id}/start"] == 0


def test_a_clear_restarts_what_failed_and_pays_for_nothing_twice(
    sim: Simulator, run_task: RunTask, comms: Comms
) -> None:
    sim.set_script({"features": [FAILS_ONCE]})
    op = operator(sim)
    assert run_through(run_task, comms, op).state == "failed"
    run = run_through(run_task, comms, op, max_tries=1, try_number=2)
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["status"], result["delivered"], result["restarts"]) == ("DONE", 4, 1)
    assert calls(sim) == {"": 1, "/{id}/analyse": 0, "/{id}/start": 1, "/{id}/restartpartial": 1, "/{id}/cancel": 0}


def test_a_cancelled_task_is_replaced_after_a_clear(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"timing": {"feature_seconds": 3600}})
    op = operator(sim, deferrable=True)
    assert run_task(op).state == "deferred"
    task_id = comms.xcoms["sentinelhub_task_id"]
    op.hook.act(op.hook.get(task_id), Goal.RUN)
    cancelled = run_task(SentinelHubCancelBatchProcessV1Operator(task_id="cancel", batch_task_id=task_id))
    assert cancelled.state == "success", cancelled.error
    run = run_through(run_task, comms, op)
    assert run.state == "failed"
    assert f"Task {task_id} was CANCELED by a user" in str(run.error)
    assert "It cannot be started again" in str(run.error)
    sim.set_script({})
    run = run_through(run_task, comms, op, max_tries=1, try_number=2)
    assert run.state == "success", run.error
    assert comms.xcoms["return_value"]["task_id"] != task_id


def test_each_step_alone(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [FAILS_ONCE]})
    waits: dict[str, Any] = {"poll_interval": 0.05, "progress_interval": 0, "deferrable": False}

    def done(op: Any) -> Any:
        run = run_task(op)
        assert run.state == "success", run.error
        return comms.xcoms["return_value"]

    task_id = done(SentinelHubCreateBatchProcessV1Operator(task_id="create", request=request(sim)))
    assert done(SentinelHubAnalyseBatchProcessV1Operator(task_id="a", batch_task_id=task_id, **waits)) == task_id
    estimate = done(SentinelHubEstimateBatchProcessV1Operator(task_id="e", batch_task_id=task_id, **waits))
    assert (estimate["features"], estimate["pu"] > 0) == (4, True)
    assert any("reserved" in said for said in estimate["assumptions"])
    done(SentinelHubStartBatchProcessV1Operator(task_id="s", batch_task_id=task_id))
    sensor = SentinelHubBatchProcessV1Sensor(
        task_id="wait", batch_task_id=task_id, on_partial="warn", poke_interval=0.05, deferrable=False
    )
    assert done(sensor)["failed"] == 2
    restarted = done(SentinelHubRestartPartialBatchProcessV1Operator(task_id="restart", batch_task_id=task_id, **waits))
    assert (restarted["status"], restarted["delivered"], restarted["restarts"]) == ("DONE", 4, 1)
    report = done(SentinelHubBatchProcessV1ReportOperator(task_id="report", batch_task_id=task_id))
    assert (report["delivered"], report["report_url"]) == (4, restarted["report_url"])


def test_the_report_has_a_row_for_each_tile(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    from io import BytesIO

    import pyarrow.parquet as pq
    import shapely

    sim.set_script({"features": [{"outcome": "fatal", "indexes": [0], "error": "Internal error."}]})
    op = operator(sim, on_partial="warn")
    assert run_through(run_task, comms, op).state == "success"
    result = comms.xcoms["return_value"]
    rows = pq.read_table(BytesIO(op.hook.storage.read(result["report_url"]))).to_pylist()
    assert [row["outcome"] for row in rows].count("DELIVERED") == 3
    (failed,) = [row for row in rows if row["outcome"] == "FAILED"]
    assert (failed["name"], failed["epsg"]) == (result["failed_names"][0], 4326)
    for row in rows:
        assert shapely.from_wkb(row["geometry"]).intersects(shapely.box(*BBOX))
        (output,) = row["outputs"]
        assert op.hook.storage.exists(output["path"]) == (row["outcome"] == "DELIVERED")


def test_tiles_are_counted_while_it_runs(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [FAILS_ONCE], "timing": SLOW})
    run = run_task(operator(sim, deferrable=True, progress_interval=0.01))
    assert run.state == "deferred", run.error
    asyncio.run(first_event(run.trigger, comms))
    progress = comms.xcoms["sentinelhub_progress"]
    assert {name: progress["features"][name] for name in ("total", "delivered", "failed")} == {
        "total": 4,
        "delivered": 2,
        "failed": 2,
    }


def test_nothing_is_restarted_after_the_deadline(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [FAILS_ONCE]})
    op = operator(sim, on_partial="restart", deferrable=True, timeout=3600)
    run = run_task(op)
    event = {**asyncio.run(first_event(run.trigger, comms)), "deadline": 1.0}
    comms.state["sentinelhub_batch"] = {**comms.state["sentinelhub_batch"], "deadline": 1.0}
    run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert "They were not restarted, because the time limit has passed" in str(run.error)
    assert (calls(sim)["/{id}/restartpartial"], calls(sim)["/{id}/cancel"]) == (0, 0)
    run = run_through(run_task, comms, op, max_tries=1, try_number=2)
    assert (run.state, comms.xcoms["return_value"]["status"]) == ("success", "DONE"), run.error


def test_a_stopped_task_is_not_promised_to_continue(sim: Simulator, run_task: RunTask) -> None:
    sim.set_script({"timing": {"feature_seconds": 36000}})
    run = run_task(operator(sim, timeout=0.2))
    assert "one that was stopped is replaced by a new task" in str(run.error)


def test_a_clear_is_not_recommended_where_it_restarts_nothing(sim: Simulator, run_task: RunTask) -> None:
    sim.set_script({"features": [FAILS_ONCE]})
    op = operator(sim, max_restarts=0)
    assert "With max_restarts=0 nothing is restarted" in str(run_task(op).error)
    run_task(op, max_tries=1, try_number=2)
    assert calls(sim)["/{id}/restartpartial"] == 0


class KilledAfterTheRestart(dict[str, Any]):
    """A store of task states; the Airflow task is killed when it records that its restart was sent."""

    def __setitem__(self, key: str, value: Any) -> None:
        was_restarting = self.get(key, {}).get("is_restarting")
        super().__setitem__(key, value)
        if was_restarting and not value["is_restarting"]:
            raise Killed


def test_a_restart_of_the_task_of_another_is_stopped_by_a_kill(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [FAILS_ONCE]})
    op = operator(sim, on_partial="warn")
    assert run_task(op).state == "success"
    task_id = comms.xcoms["sentinelhub_task_id"]
    sim.set_script({"timing": SLOW})
    comms.state = KilledAfterTheRestart()
    restart = SentinelHubRestartPartialBatchProcessV1Operator(task_id="r", batch_task_id=task_id, deferrable=False)
    assert "was killed" in str(run_task(restart).error)
    assert (calls(sim)["/{id}/restartpartial"], calls(sim)["/{id}/cancel"]) == (1, 1)


def test_tiles_that_cannot_be_listed_do_not_hide_why_a_task_failed(sim: Simulator, run_task: RunTask) -> None:
    refused = {"path": "/tiles$", "status": 404}
    sim.set_script({"tasks": [{"analysis_error": "No tiles in this area."}], "endpoints": [refused]})
    assert "FAILED: No tiles in this area" in str(run_task(operator(sim)).error)


def test_a_bucket_without_a_policy_is_explained(sim: Simulator, run_task: RunTask) -> None:
    sim.set_script({"buckets_without_policy": [sim.ready.bucket]})
    run = run_task(operator(sim))
    assert "the policy of the bucket must let it in, see docs/roles.md" in str(run.error)


def test_a_task_whose_tiles_all_failed_may_be_run_again(sim: Simulator, run_task: RunTask) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "error": "Internal error."}]})
    run = run_task(operator(sim, on_partial="restart"))
    assert "FAILED: 4 tiles failed: Internal error. 4 of 4 features failed." in str(run.error)
    assert "Clear the Airflow task for a new task when the cause has passed." in str(run.error)
    assert calls(sim)["/{id}/restartpartial"] == 0
