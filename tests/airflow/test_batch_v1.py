"""Batch Processing V1 in Airflow: one remote task for each intent, the service's own restart, and reports."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_sentinelhub.operators.batch_process_v1 import SentinelHubBatchProcessV1Operator
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
