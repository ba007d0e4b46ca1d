"""Waits for clear scenes of an area, writes them into a table, and runs a batch over the month they are from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_sentinelhub.hooks.catalog import SentinelHubCatalogHook
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.operators.catalog import SentinelHubCatalogSearchOperator
from airflow_provider_sentinelhub.sensors.catalog import SentinelHubCatalogSensor

AOI = [9.21, 42.07, 9.27, 42.11]
MONTH = "{{ params.time_from }}/{{ params.time_to }}"

with DAG(
    "scenes_then_batch",
    description="A batch as soon as clear scenes cover its area",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "time_from": Param("2026-06-01T00:00:00Z", type="string"),
        "time_to": Param("2026-07-01T00:00:00Z", type="string"),
        "poll_interval": Param(900, type="number", minimum=0),
        "delivery_url": Param("s3://my-bucket/corsica", type="string", description="Where table and images go"),
    },
    tags=["sentinelhub"],
):
    # [START howto_sensor_catalog]
    clear_scenes = SentinelHubCatalogSensor(
        task_id="clear_scenes",
        collection="sentinel-2-l2a",
        datetime=MONTH,
        aoi=AOI,
        min_coverage=0.95,
        max_cloud_cover=60,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        timeout=7 * 24 * 3600,
    )
    # [END howto_sensor_catalog]

    # [START howto_operator_catalog_search]
    scenes = SentinelHubCatalogSearchOperator(
        task_id="scenes",
        request={
            "collections": ["sentinel-2-l2a"],
            "datetime": MONTH,
            "bbox": AOI,
            "filter": "eo:cloud_cover <= 60",
        },
        output_url="{{ params.delivery_url }}/scenes.parquet",
        on_empty="fail",
    )
    # [END howto_operator_catalog_search]

    batch = SentinelHubBatchProcessOperator(
        task_id="max_ndvi",
        request={
            "processRequest": {
                "input": {
                    "bounds": {"bbox": AOI},
                    "data": [
                        {
                            "type": "sentinel-2-l2a",
                            "dataFilter": {
                                "timeRange": {"from": "{{ params.time_from }}", "to": "{{ params.time_to }}"},
                                "maxCloudCoverage": 60,
                            },
                        }
                    ],
                },
                "output": {"responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]},
                "evalscript": "evalscripts/max_ndvi.js",
            },
            "input": {"type": "tiling-grid", "id": 0, "resolution": 60.0},
            "output": {"type": "raster", "delivery": {"s3": {"url": "{{ params.delivery_url }}"}}},
        },
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        max_pu=200,
    )

    # [START howto_hook_catalog]
    @task
    def platforms(scenes: dict[str, Any], time_from: str, time_to: str) -> dict[str, int]:
        """Count the scenes of each satellite, with or without clouds."""
        found: dict[str, int] = {}
        request = {"collections": [scenes["collection"]], "datetime": [time_from, time_to], "bbox": AOI}
        for item in SentinelHubCatalogHook().search(request):
            platform = item["properties"]["platform"]
            found[platform] = found.get(platform, 0) + 1
        return found

    # [END howto_hook_catalog]

    counted = platforms(scenes.output, "{{ params.time_from }}", "{{ params.time_to }}")  # type: ignore[arg-type]  # a dict once it is pulled
    clear_scenes >> scenes >> [batch, counted]
