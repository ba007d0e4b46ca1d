"""
A batch of Batch Processing V1, as it was before its migration to V2: see ``migration_v1_after.py``.

The service has announced the end of V1. Use V2 for new DAGs.
"""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_sentinelhub.operators.batch_process_v1 import SentinelHubBatchProcessV1Operator

with DAG("migration_v1_before", schedule=None, params={"delivery_url": "s3://my-bucket/ndvi", "poll_interval": 60}):
    # [START howto_migration_before]
    max_ndvi = SentinelHubBatchProcessV1Operator(
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
            "tilingGrid": {"id": 0, "resolution": 60},
            "output": {"defaultTilePath": "{{ params.delivery_url }}/<requestId>/<tileName>/<outputId>.tif"},
            "description": "Maximum NDVI",
        },
        on_partial="restart",
        max_restarts=2,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
    )
    # [END howto_migration_before]
