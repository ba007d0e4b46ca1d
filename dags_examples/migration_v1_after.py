"""The batch of ``migration_v1_before.py`` with Batch Processing V2, after its migration from V1."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator

with DAG("migration_v1_after", schedule=None, params={"delivery_url": "s3://my-bucket/ndvi", "poll_interval": 60}):
    # [START howto_migration_after]
    max_ndvi = SentinelHubBatchProcessOperator(
        task_id="max_ndvi",
        request={
            "processRequest": {
                "input": {
                    "bounds": {"bbox": [9.21, 42.07, 9.27, 42.11]},
                    "data": [
                        {
                            "type": "sentinel-2-l2a",
                            "dataFilter": {"timeRange": {"from": "2019-04-01T00:00:00Z", "to": "2019-06-30T23:59:59Z"}},
                        }
                    ],
                },
                "output": {"responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]},
                "evalscript": "evalscripts/max_ndvi.js",
            },
            "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
            "output": {
                "type": "raster",
                "delivery": {"s3": {"url": "{{ params.delivery_url }}/<requestId>/<tileName>/<outputId>.tif"}},
            },
            "description": "Maximum NDVI",
        },
        on_partial="rerun",
        max_reruns=2,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
    )
    # [END howto_migration_after]
