"""What cannot be the id of a batch task ends the Airflow task, without a retry and without a call to the service."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubBatchReportOperator,
    SentinelHubStartBatchProcessOperator,
    SentinelHubStopBatchProcessOperator,
)
from airflow_provider_sentinelhub.operators.rerun_failed import SentinelHubRerunFailedOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import RunTask


@pytest.mark.parametrize("task_id", ["", "None", "../../oauth", "a b"])
@pytest.mark.parametrize(
    "operator",
    [
        SentinelHubRerunFailedOperator,
        SentinelHubBatchReportOperator,
        SentinelHubStartBatchProcessOperator,
        SentinelHubStopBatchProcessOperator,
    ],
)
def test_what_cannot_be_an_id_fails_the_task_at_once(
    operator: Any, task_id: str, sim: Simulator, run_task: RunTask
) -> None:
    run = run_task(operator(task_id="t", batch_task_id=task_id, retries=3))
    assert run.state == "failed"
    assert f"batch_task_id = {task_id!r}: is not the id of a batch task" in str(run.error)
    assert sum(count for call, count in sim.requests()["counts"].items() if "/batch/" in call) == 0
