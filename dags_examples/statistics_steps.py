"""
Statistics in steps: create, analyse, estimate, start, wait, report, stop if a step fails, and a rerun later.

Use the main operator unless something of your own must happen in between. Here, a batch that would cost more than
allowed is not started.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from airflow_provider_sentinelhub.operators.batch_statistical import (
    SentinelHubAnalyseBatchStatisticalOperator,
    SentinelHubBatchStatisticalReportOperator,
    SentinelHubCreateBatchStatisticalOperator,
    SentinelHubEstimateBatchStatisticalOperator,
    SentinelHubRerunFailedBatchStatisticalOperator,
    SentinelHubStartBatchStatisticalOperator,
    SentinelHubStopBatchStatisticalOperator,
)
from airflow_provider_sentinelhub.sensors.batch_statistical import SentinelHubBatchStatisticalSensor

POLL_INTERVAL = Param(60, type="number", minimum=0.2)

with DAG(
    "statistics_in_steps",
    description="Monthly NDVI of parcels, one step after the other",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "features_url": Param("s3://my-bucket/parcels.gpkg", type="string", description="GeoPackage in the bucket"),
        "delivery_url": Param("s3://my-bucket/parcels", type="string", description="Where the results go"),
        "most_pu": Param(500, type="number", description="Start nothing that would cost more"),
        "on_partial": Param("warn", enum=["fail", "warn"]),
        "poll_interval": POLL_INTERVAL,
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_create_batch_statistical]
    create = SentinelHubCreateBatchStatisticalOperator(
        task_id="create",
        request={
            "input": {
                "features": {"s3": {"url": "{{ params.features_url }}"}},
                "data": [{"type": "sentinel-2-l2a", "dataFilter": {"mosaickingOrder": "leastCC"}}],
            },
            "aggregation": {
                "timeRange": {"from": "2025-04-01T00:00:00Z", "to": "2025-10-01T00:00:00Z"},
                "aggregationInterval": {"of": "P1M"},
                "resx": 10,
                "resy": 10,
                "evalscript": "evalscripts/ndvi_statistics.js",
            },
            "output": {"s3": {"url": "{{ params.delivery_url }}"}},
        },
        retries=2,
    )
    # [END howto_operator_create_batch_statistical]

    # [START howto_operator_analyse_batch_statistical]
    analyse = SentinelHubAnalyseBatchStatisticalOperator(
        task_id="analyse",
        batch_task_id=create.output,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        retries=2,
    )
    # [END howto_operator_analyse_batch_statistical]

    # [START howto_operator_estimate_batch_statistical]
    estimate = SentinelHubEstimateBatchStatisticalOperator(
        task_id="estimate",
        batch_task_id=analyse.output,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        retries=2,
    )

    @task.short_circuit
    def is_affordable(found: Any) -> bool:
        """Skip the rest of the DAG if the statistics would cost too much."""
        return bool(found["pu"] <= get_current_context()["params"]["most_pu"])

    # [END howto_operator_estimate_batch_statistical]

    # [START howto_operator_start_batch_statistical]
    start = SentinelHubStartBatchStatisticalOperator(task_id="start", batch_task_id=create.output, retries=2)
    # [END howto_operator_start_batch_statistical]

    # [START howto_sensor_batch_statistical]
    wait = SentinelHubBatchStatisticalSensor(
        task_id="wait",
        batch_task_id=start.output,
        on_partial="warn",
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        timeout=24 * 3600,
        retries=2,
    )
    # [END howto_sensor_batch_statistical]

    # [START howto_operator_batch_statistical_report]
    report = SentinelHubBatchStatisticalReportOperator(
        task_id="report",
        batch_task_id=create.output,
        on_partial="{{ params.on_partial }}",
        # If cleared after a month, it finds that the batch was deleted, and reads the results in the bucket.
        delivery_url="{{ params.delivery_url }}",
        features_url="{{ params.features_url }}",
        retries=2,
    )
    # [END howto_operator_batch_statistical_report]

    # [START howto_operator_stop_batch_statistical]
    stop = SentinelHubStopBatchStatisticalOperator(
        task_id="stop",
        batch_task_id=create.output,
        trigger_rule="one_failed",
        retries=5,
    )
    # [END howto_operator_stop_batch_statistical]

    is_affordable(estimate.output) >> start
    wait >> report
    [analyse, start, wait] >> stop

with DAG(
    "statistics_again",
    description="Ask once more for the statistics a task has lost",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "batch_task_id": Param("", type="string", description="Id of a task that has ended"),
        "poll_interval": POLL_INTERVAL,
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_rerun_failed_batch_statistical]
    again = SentinelHubRerunFailedBatchStatisticalOperator(
        task_id="again",
        batch_task_id="{{ params.batch_task_id }}",
        max_reruns=2,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        retries=2,
    )
    # [END howto_operator_rerun_failed_batch_statistical]
