"""Estimate the cost of a batch, and start it only if it is cheap enough. A batch that is not started costs nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubCreateBatchProcessOperator,
    SentinelHubEstimateBatchProcessOperator,
    SentinelHubStartBatchProcessOperator,
)
from airflow_provider_sentinelhub.sensors.batch_process import SentinelHubBatchProcessSensor

with DAG(
    "batch_if_affordable",
    description="Maximum NDVI of one area, if it costs little enough",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        # The corner that four tiles of the 20 km grid share.
        "bbox": Param([9.21, 42.07, 9.27, 42.11], type="array", description="West, south, east, north (CRS84)"),
        "delivery_url": Param("s3://my-bucket/affordable", type="string", description="Where the results go"),
        "most_pu": Param(500, type="number", description="Processing units it may cost at most"),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
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

    # [START howto_operator_estimate_batch_process]
    estimate = SentinelHubEstimateBatchProcessOperator(
        task_id="estimate",
        batch_task_id=create.output,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        retries=2,
    )

    @task.short_circuit
    def is_affordable(found: Any) -> bool:
        """Skip the rest of the DAG if the batch would cost too much."""
        return bool(found["pu"] <= get_current_context()["params"]["most_pu"])

    start = SentinelHubStartBatchProcessOperator(task_id="start", batch_task_id=create.output, retries=2)
    is_affordable(estimate.output) >> start
    # [END howto_operator_estimate_batch_process]

    SentinelHubBatchProcessSensor(
        task_id="wait",
        batch_task_id=start.output,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        timeout=12 * 3600,
    )
