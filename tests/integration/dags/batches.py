"""Batches of four features, in every way an operator can run them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubBatchProcessOperator,
    SentinelHubCreateBatchProcessOperator,
    SentinelHubStartBatchProcessOperator,
)
from airflow_provider_sentinelhub.sensors.batch_process import SentinelHubBatchProcessSensor

START = datetime(2026, 1, 1, tzinfo=UTC)
EVALSCRIPT = """//VERSION=3
function setup() { return {input: ["B04"], output: {bands: 1, sampleType: "UINT8"}}; }
function evaluatePixel(s) { return [s.B04]; }
"""


def request(bbox: str = "{{ params.bbox }}") -> dict[str, Any]:
    return {
        "processRequest": {
            "input": {"bounds": {"bbox": bbox}, "data": [{"type": "sentinel-2-l2a"}]},
            "evalscript": EVALSCRIPT,
        },
        "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
        "output": {"type": "raster", "delivery": {"s3": {"url": "s3://sentinelhub/tests"}}},
        "description": "{{ params.description }}",
    }


# Around the corner that four tiles of the 20 km grid share.
PARAMS: dict[str, Any] = {"bbox": [9.21, 42.07, 9.27, 42.11], "description": "test"}
FAST: dict[str, Any] = {"poll_interval": 0.3, "progress_interval": 1, "retries": 2, "retry_delay": timedelta(0)}

with DAG("batch_deferred", schedule=None, start_date=START, params=PARAMS):
    SentinelHubBatchProcessOperator(task_id="batch", request=request(), deferrable=True, **FAST)

with DAG("batch_blocking", schedule=None, start_date=START, params=PARAMS):
    SentinelHubBatchProcessOperator(task_id="batch", request=request(), deferrable=False, **FAST)

with DAG("batch_timeout", schedule=None, start_date=START, params=PARAMS):
    SentinelHubBatchProcessOperator(task_id="batch", request=request(), deferrable=True, timeout=5, **FAST)

with DAG("batch_mapped", schedule=None, start_date=START, params=PARAMS):

    @task
    def areas() -> list[dict[str, Any]]:
        # What a mapped task gets from another task is not rendered again.
        description = get_current_context()["params"]["description"]
        boxes = ([9.21, 42.07, 9.22, 42.08], [9.26, 42.10, 9.27, 42.11])
        return [{**request(bbox=str(box)), "description": description} for box in boxes]

    SentinelHubBatchProcessOperator.partial(task_id="batch", deferrable=True, **FAST).expand(request=areas())

with DAG("batch_steps", schedule=None, start_date=START, params=PARAMS):
    create = SentinelHubCreateBatchProcessOperator(task_id="create", request=request())
    start = SentinelHubStartBatchProcessOperator(task_id="start", batch_task_id=create.output)
    wait = SentinelHubBatchProcessSensor(
        task_id="wait", batch_task_id=create.output, deferrable=True, poke_interval=0.3
    )
    start >> wait
