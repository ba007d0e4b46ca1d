# ruff: noqa: INP001 - a DAG folder is not a package
"""A batch as a new user writes it: every parameter that is not needed is left at its default."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG

from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator

EVALSCRIPT = """//VERSION=3
function setup() {
  return {input: ["B02", "B03", "B04", "B08"], output: {bands: 3, sampleType: "UINT16"}, mosaicking: "ORBIT"};
}
function evaluatePixel(samples) { return [samples[0].B02, samples[0].B03, samples[0].B04]; }
"""
REQUEST = {
    "processRequest": {
        "input": {
            "bounds": {"bbox": "{{ params.bbox }}"},
            "data": [
                {
                    "type": "sentinel-2-l2a",
                    "dataFilter": {"timeRange": {"from": "2025-06-01T00:00:00Z", "to": "2025-07-01T00:00:00Z"}},
                }
            ],
        },
        "evalscript": EVALSCRIPT,
    },
    "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
    "output": {"type": "raster", "delivery": {"s3": {"url": "s3://sentinelhub/clicks"}}},
}

with DAG(
    "clicks",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    # South of Germany and the north of the Alps: 117 tiles.
    params={"bbox": [8.0, 46.5, 10.2, 48.6]},
):
    SentinelHubBatchProcessOperator(task_id="batch", request=REQUEST, deferrable=True, poll_interval=1)
