"""Wait for a batch that somebody else started, and continue with its table of features."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_sentinelhub.sensors.batch_process import SentinelHubBatchProcessSensor

with DAG(
    "batch_watched",
    description="Wait for a batch task by its id",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "batch_task_id": Param("", type="string", description="Id of a batch task that was started elsewhere"),
        "on_partial": Param("fail", enum=["fail", "warn"]),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
    # [START howto_sensor_batch_process]
    wait = SentinelHubBatchProcessSensor(
        task_id="wait",
        batch_task_id="{{ params.batch_task_id }}",
        on_partial="{{ params.on_partial }}",
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        timeout=24 * 3600,
        retries=2,
    )
    # [END howto_sensor_batch_process]

    @task
    def missing(result: Any) -> list[str]:
        """Return the names of failed features."""
        return list(result["failed_names"])

    missing(wait.output)
