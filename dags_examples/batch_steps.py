"""
A batch in steps: create, analyse, start, wait, report, and stop if a step fails.

Use the main operator unless something of your own must happen in between, for example an approval before the start, or
a wait that another team owns.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubAnalyseBatchProcessOperator,
    SentinelHubBatchReportOperator,
    SentinelHubCreateBatchProcessOperator,
    SentinelHubStartBatchProcessOperator,
    SentinelHubStopBatchProcessOperator,
)
from airflow_provider_sentinelhub.sensors.batch_process import SentinelHubBatchProcessSensor

with DAG(
    "batch_in_steps",
    description="Maximum NDVI around Ponte Leccia, Corsica, one step after the other",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        # The corner that four tiles of the 20 km grid share.
        "bbox": Param([9.21, 42.07, 9.27, 42.11], type="array", description="West, south, east, north (CRS84)"),
        "delivery_url": Param("s3://my-bucket/steps", type="string", description="Where the results go"),
        "on_partial": Param("warn", enum=["fail", "warn"]),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_create_batch_process]
    create = SentinelHubCreateBatchProcessOperator(
        task_id="create",
        request={
            "processRequest": {
                "input": {
                    "bounds": {"bbox": "{{ params.bbox }}"},
                    "data": [
                        {
                            "type": "sentinel-2-l2a",
                            "dataFilter": {
                                "timeRange": {"from": "2019-04-01T00:00:00Z", "to": "2019-06-30T23:59:59Z"},
                            },
                        }
                    ],
                },
                "evalscript": "evalscripts/max_ndvi.js",
            },
            "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
            "output": {"type": "raster", "delivery": {"s3": {"url": "{{ params.delivery_url }}"}}},
        },
        retries=2,
    )
    # [END howto_operator_create_batch_process]

    # [START howto_operator_analyse_batch_process]
    analyse = SentinelHubAnalyseBatchProcessOperator(
        task_id="analyse",
        batch_task_id=create.output,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        retries=2,
    )
    # [END howto_operator_analyse_batch_process]

    # [START howto_operator_start_batch_process]
    start = SentinelHubStartBatchProcessOperator(task_id="start", batch_task_id=analyse.output, retries=2)
    # [END howto_operator_start_batch_process]

    wait = SentinelHubBatchProcessSensor(
        task_id="wait",
        batch_task_id=start.output,
        deferrable=True,
        on_partial="warn",
        poll_interval="{{ params.poll_interval }}",
        timeout=12 * 3600,
    )

    # [START howto_operator_batch_report]
    report = SentinelHubBatchReportOperator(
        task_id="report",
        batch_task_id=create.output,
        on_partial="{{ params.on_partial }}",
        retries=2,
    )
    # [END howto_operator_batch_report]

    # [START howto_operator_stop_batch_process]
    stop = SentinelHubStopBatchProcessOperator(
        task_id="stop",
        batch_task_id=create.output,
        trigger_rule="one_failed",
        retries=5,
    )
    # [END howto_operator_stop_batch_process]

    @task
    def table(result: Any) -> str:
        """Return the URL of the table of all features."""
        return str(result["report_url"])

    wait >> report
    [analyse, start, wait] >> stop
    table(report.output)
