"""
Maximum NDVI over Corsica, April to June 2019, as one Zarr, with Batch Processing V1.

The service has announced the end of V1. Use V2 for new DAGs, see ``corsica_max_ndvi_zarr.py``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_sentinelhub.hooks.batch_v1 import SentinelHubBatchV1Hook
from airflow_provider_sentinelhub.operators.batch_process_v1 import SentinelHubBatchProcessV1Operator

with DAG(
    "corsica_max_ndvi_zarr_v1",
    description="Maximum NDVI over Corsica, one Zarr, with Batch Processing V1",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "bbox": Param([8.44, 41.31, 9.66, 43.1], type="array", description="West, south, east, north (CRS84)"),
        "time_from": Param("2019-04-01T00:00:00Z", type="string"),
        "time_to": Param("2019-06-30T23:59:59Z", type="string"),
        "delivery_url": Param("s3://my-bucket/corsica-zarr-v1", type="string", description="Where the results go"),
        "on_partial": Param("restart", enum=["fail", "warn", "restart", "restart_then_warn"]),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_batch_process_v1_zarr]
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
                "output": {"responses": [{"identifier": "default", "format": {"type": "zarr/array"}}]},
                "evalscript": "evalscripts/max_ndvi.js",
            },
            # The LAEA grid of 100 km: six tiles of 1000 x 1000 pixels.
            "tilingGrid": {"id": 6, "resolution": 100},
            "zarrOutput": {
                "path": "{{ params.delivery_url }}/<requestId>",
                "group": {"zarr_format": 2},
                "arrayParameters": {"dtype": "<f4", "order": "C", "chunks": [1, 500, 500], "fill_value": -9999},
                "arrayOverrides": {"default": {"customAttributes": {"long_name": "Maximum NDVI", "units": "1"}}},
            },
            "description": "Maximum NDVI over Corsica, as Zarr",
        },
        deferrable=True,
        on_partial="{{ params.on_partial }}",
        max_restarts=2,
        poll_interval="{{ params.poll_interval }}",
        progress_interval="{{ params.poll_interval }}",
        timeout=timedelta(hours=12),
        retries=2,
    )
    # [END howto_operator_batch_process_v1_zarr]

    @task
    def mean_ndvi(result: Any) -> float:
        """
        Return the mean of all pixels that have a value; needs the extra ``zarr``.

        :param result: What the operator returned.
        """
        group = SentinelHubBatchV1Hook().open_zarr(result)
        return float(group["default"].mean())

    mean_ndvi(max_ndvi.output)
