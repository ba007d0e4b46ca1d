"""One large image, computed by the service while nobody waits in a worker."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_sentinelhub.operators.async_process import SentinelHubAsyncProcessOperator

with DAG(
    "async_image",
    description="The maximum NDVI of a coast, as one GeoTIFF",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "time_from": Param("2025-06-01T00:00:00Z", type="string"),
        "time_to": Param("2025-06-15T00:00:00Z", type="string"),
        "delivery_url": Param("s3://my-bucket/images", type="string", description="Where the image goes"),
        "poll_interval": Param(60, type="number", description="Seconds between two checks"),
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_async_process]
    max_ndvi = SentinelHubAsyncProcessOperator(
        task_id="max_ndvi",
        request={
            "input": {
                "bounds": {"bbox": [9.2, 42.0, 9.5, 42.2]},
                "data": [
                    {
                        "type": "sentinel-2-l2a",
                        "dataFilter": {"timeRange": {"from": "{{ params.time_from }}", "to": "{{ params.time_to }}"}},
                    }
                ],
            },
            "output": {
                # Degrees, the unit of the bbox.
                "resx": 0.0001,
                "resy": 0.0001,
                "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}],
                "delivery": {"s3": {"url": "{{ params.delivery_url }}"}},
            },
            "evalscript": "evalscripts/max_ndvi.js",
        },
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        timeout=6 * 3600,
        max_pu=200,
        retries=2,
    )
    # [END howto_operator_async_process]

    # [START howto_async_process_result]
    @task
    def tell(result: dict[str, Any]) -> str:
        """Say where the image is, and what it cost."""
        cost = result["cost_pu"]
        return f"{result['output_urls']['default']}: {'?' if cost is None else f'{cost:.0f}'} PU"

    # [END howto_async_process_result]

    tell(max_ndvi.output)  # type: ignore[arg-type]  # a dict once it is pulled
