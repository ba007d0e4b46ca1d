"""
Batch Processing V1 in steps: create, analyse, estimate, start, wait, report; restart failed tiles; cancel.

The service has announced the end of V1. Use V2 for new DAGs, see ``batch_steps.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from airflow_provider_sentinelhub.operators.batch_process_v1 import (
    SentinelHubAnalyseBatchProcessV1Operator,
    SentinelHubBatchProcessV1ReportOperator,
    SentinelHubCancelBatchProcessV1Operator,
    SentinelHubCreateBatchProcessV1Operator,
    SentinelHubEstimateBatchProcessV1Operator,
    SentinelHubRestartPartialBatchProcessV1Operator,
    SentinelHubStartBatchProcessV1Operator,
)
from airflow_provider_sentinelhub.sensors.batch_process_v1 import SentinelHubBatchProcessV1Sensor

with DAG(
    "batch_v1_in_steps",
    description="Maximum NDVI around Ponte Leccia, Corsica, with Batch Processing V1, one step after the other",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        # The corner that four tiles of the 20 km grid share.
        "bbox": Param([9.21, 42.07, 9.27, 42.11], type="array", description="West, south, east, north (CRS84)"),
        "delivery_url": Param("s3://my-bucket/steps-v1", type="string", description="Where the results go"),
        "most_pu": Param(500, type="number", description="Processing units it may cost at most"),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_create_batch_process_v1]
    create = SentinelHubCreateBatchProcessV1Operator(
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
            "tilingGrid": {"id": 0, "resolution": 60},
            "output": {"defaultTilePath": "{{ params.delivery_url }}"},
        },
        retries=2,
    )
    # [END howto_operator_create_batch_process_v1]

    # [START howto_operator_analyse_batch_process_v1]
    analyse = SentinelHubAnalyseBatchProcessV1Operator(
        task_id="analyse",
        batch_task_id=create.output,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        retries=2,
    )
    # [END howto_operator_analyse_batch_process_v1]

    # [START howto_operator_start_batch_process_v1]
    estimate = SentinelHubEstimateBatchProcessV1Operator(task_id="estimate", batch_task_id=analyse.output, retries=2)

    @task.short_circuit
    def is_affordable(found: Any) -> bool:
        """Skip the rest of the DAG if the batch would cost too much."""
        return bool(found["pu"] <= get_current_context()["params"]["most_pu"])

    start = SentinelHubStartBatchProcessV1Operator(task_id="start", batch_task_id=analyse.output, retries=2)
    is_affordable(estimate.output) >> start
    # [END howto_operator_start_batch_process_v1]

    # [START howto_sensor_batch_process_v1]
    wait = SentinelHubBatchProcessV1Sensor(
        task_id="wait",
        batch_task_id=start.output,
        on_partial="warn",
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        timeout=12 * 3600,
    )
    # [END howto_sensor_batch_process_v1]

    # [START howto_operator_restart_partial_batch_process_v1]
    restart = SentinelHubRestartPartialBatchProcessV1Operator(
        task_id="restart",
        batch_task_id=create.output,
        max_restarts=2,
        on_partial="warn",
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        retries=2,
    )
    # [END howto_operator_restart_partial_batch_process_v1]

    # [START howto_operator_batch_process_v1_report]
    report = SentinelHubBatchProcessV1ReportOperator(
        task_id="report",
        batch_task_id=create.output,
        on_partial="warn",
        retries=2,
    )
    # [END howto_operator_batch_process_v1_report]

    # [START howto_operator_cancel_batch_process_v1]
    cancel = SentinelHubCancelBatchProcessV1Operator(
        task_id="cancel",
        batch_task_id=create.output,
        trigger_rule="one_failed",
        retries=5,
    )
    # [END howto_operator_cancel_batch_process_v1]

    wait >> restart >> report
    [analyse, start, wait, restart] >> cancel
