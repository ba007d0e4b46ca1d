"""
Maximum NDVI over Corsica, April to June 2019, with Batch Processing V1: the service itself restarts failed tiles.

The service has announced the end of V1. Use V2 for new DAGs, see ``corsica_max_ndvi.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param

from airflow_provider_sentinelhub.operators.batch_process_v1 import SentinelHubBatchProcessV1Operator

with DAG(
    "corsica_max_ndvi_v1",
    description="Maximum NDVI over Corsica, one GeoTIFF per 20 km tile, with Batch Processing V1",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "bbox": Param([8.44, 41.31, 9.66, 43.1], type="array", description="West, south, east, north (CRS84)"),
        "time_from": Param("2019-04-01T00:00:00Z", type="string"),
        "time_to": Param("2019-06-30T23:59:59Z", type="string"),
        "delivery_url": Param("s3://my-bucket/corsica-v1", type="string", description="Where the results go"),
        "on_partial": Param("restart", enum=["fail", "warn", "restart", "restart_then_warn"]),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_batch_process_v1]
    max_ndvi = SentinelHubBatchProcessV1Operator(
        task_id="max_ndvi",
        request={
            "processRequest": {
                "input": {
                    "bounds": {
                        "bbox": "{{ params.bbox }}",
                        "properties": {"crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
                    },
                    "data": [
                        {
                            "type": "sentinel-2-l2a",
                            "dataFilter": {
                                "timeRange": {"from": "{{ params.time_from }}", "to": "{{ params.time_to }}"},
                                "maxCloudCoverage": 70,
                            },
                        }
                    ],
                },
                "output": {"responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]},
                "evalscript": "evalscripts/max_ndvi.js",
            },
            "tilingGrid": {"id": 0, "resolution": 60},
            "output": {"defaultTilePath": "{{ params.delivery_url }}"},
            "description": "Maximum NDVI over Corsica",
        },
        deferrable=True,
        on_partial="{{ params.on_partial }}",
        max_restarts=2,
        poll_interval="{{ params.poll_interval }}",
        progress_interval="{{ params.poll_interval }}",
        timeout=timedelta(hours=12),
        retries=2,
    )
    # [END howto_operator_batch_process_v1]
