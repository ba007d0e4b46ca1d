"""The smallest useful DAG: one batch, and a task that continues with its result."""

# [START readme_dag]
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator

PERIOD = {"timeRange": {"from": "2019-04-01T00:00:00Z", "to": "2019-06-30T23:59:59Z"}}

with DAG("first_batch", schedule=None, params={"delivery_url": "s3://my-bucket/ndvi", "poll_interval": 60}):
    max_ndvi = SentinelHubBatchProcessOperator(
        task_id="max_ndvi",
        request={
            "processRequest": {
                "input": {
                    "bounds": {"bbox": [9.21, 42.07, 9.27, 42.11]},
                    "data": [{"type": "sentinel-2-l2a", "dataFilter": PERIOD}],
                },
                "evalscript": "evalscripts/max_ndvi.js",
            },
            "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
            "output": {"type": "raster", "delivery": {"s3": {"url": "{{ params.delivery_url }}"}}},
        },
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
    )

    @task
    def tell(result: Any) -> str:
        """Say how many tiles were delivered, and what they cost."""
        return f"{result['delivered']} of {result['total']} tiles delivered for {result['cost_pu']} PU"

    tell(max_ndvi.output)
# [END readme_dag]
