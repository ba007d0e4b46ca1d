"""
Maximum NDVI over Corsica, April to June 2019: one batch, no worker while waiting, every feature accounted for.

The request is Sentinel Hub's own: you can paste examples from its documentation. Dates, area and paths are templated.
The evalscript is in a file of its own and is sent as it is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param

from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator

with DAG(
    "corsica_max_ndvi",
    description="Maximum NDVI over Corsica, one GeoTIFF per 20 km tile",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "bbox": Param([8.44, 41.31, 9.66, 43.1], type="array", description="West, south, east, north (CRS84)"),
        "time_from": Param("2019-04-01T00:00:00Z", type="string"),
        "time_to": Param("2019-06-30T23:59:59Z", type="string"),
        "delivery_url": Param("s3://my-bucket/corsica", type="string", description="Where the results go"),
        "on_partial": Param("warn", enum=["fail", "warn", "rerun", "rerun_then_warn"]),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_batch_process]
    max_ndvi = SentinelHubBatchProcessOperator(
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
            "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
            "output": {"type": "raster", "delivery": {"s3": {"url": "{{ params.delivery_url }}"}}},
            "description": "Maximum NDVI over Corsica",
        },
        deferrable=True,
        on_partial="{{ params.on_partial }}",
        poll_interval="{{ params.poll_interval }}",
        progress_interval="{{ params.poll_interval }}",
        timeout=timedelta(hours=12),
        retries=2,
    )
    # [END howto_operator_batch_process]
