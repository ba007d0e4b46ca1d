"""
Maximum NDVI over Corsica, April to June 2019, as one Zarr: all tiles are parts of the same array.

Zarr is written on the WGS84 and LAEA grids only, to an empty folder. ``<requestId>`` in the delivery URL gives each
batch a folder of its own.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator

with DAG(
    "corsica_max_ndvi_zarr",
    description="Maximum NDVI over Corsica, one Zarr",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "bbox": Param([8.44, 41.31, 9.66, 43.1], type="array", description="West, south, east, north (CRS84)"),
        "time_from": Param("2019-04-01T00:00:00Z", type="string"),
        "time_to": Param("2019-06-30T23:59:59Z", type="string"),
        "delivery_url": Param("s3://my-bucket/corsica-zarr", type="string", description="Where the results go"),
        "on_partial": Param("warn", enum=["fail", "warn"], description="Features of a Zarr cannot be rerun"),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
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
                "output": {"responses": [{"identifier": "default", "format": {"type": "zarr/array"}}]},
                "evalscript": "evalscripts/max_ndvi.js",
            },
            # The LAEA grid of 100 km: six tiles of 1000 x 1000 pixels.
            "input": {"type": "tiling-grid", "id": 6, "resolution": 100},
            "output": {
                "type": "zarr",
                "delivery": {"s3": {"url": "{{ params.delivery_url }}/<requestId>"}},
                "group": {"zarr_format": 2},
                "arrayParameters": {"dtype": "<f4", "order": "C", "chunks": [1, 500, 500], "fill_value": -9999},
                "arrayOverrides": {"default": {"customAttributes": {"long_name": "Maximum NDVI", "units": "1"}}},
            },
            "description": "Maximum NDVI over Corsica, as Zarr",
        },
        deferrable=True,
        on_partial="{{ params.on_partial }}",
        poll_interval="{{ params.poll_interval }}",
        progress_interval="{{ params.poll_interval }}",
        timeout=timedelta(hours=12),
        retries=2,
    )

    # [START howto_hook_open_zarr]
    @task
    def mean_ndvi(result: Any) -> float:
        """
        Return the mean of all pixels that have a value; needs the extra ``zarr``.

        :param result: What the operator returned.
        """
        group = SentinelHubBatchHook().open_zarr(result)
        return float(group["default"].mean())

    mean_ndvi(max_ndvi.output)
    # [END howto_hook_open_zarr]
