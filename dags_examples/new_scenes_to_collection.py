"""From a new scene to a published collection: a scene appears, a batch runs, and requests can read its results."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_sentinelhub.assets import new_acquisitions
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.operators.byoc import SentinelHubByocIngestOperator
from airflow_provider_sentinelhub.operators.process import SentinelHubProcessOperator
from airflow_provider_sentinelhub.triggers.catalog import SentinelHubCatalogTrigger

# The valley of Corte in Corsica, in degrees: west, south, east, north.
AREA = [9.21, 42.07, 9.27, 42.11]
# Nobody gives parameters to a run that an asset starts, so an Airflow Variable says where the results go.
DELIVERY_URL = "{{ var.value.new_scenes_url }}"
# How often the catalog is searched, in seconds. Each search costs at least 0.01 PU.
LOOK_EVERY = float(os.environ.get("NEW_SCENES_LOOK_EVERY", "600"))
POLL_INTERVAL = float(os.environ.get("NEW_SCENES_POLL_INTERVAL", "60"))

# [START howto_new_scenes_watch]
scenes = Asset(
    "scenes_of_corte",
    watchers=[
        AssetWatcher(
            name="scenes_of_corte",
            trigger=SentinelHubCatalogTrigger(
                name="scenes_of_corte",
                collection="sentinel-2-l2a",
                bbox=AREA,
                max_cloud_cover=60,
                poll_interval=LOOK_EVERY,
            ),
        )
    ],
)
# [END howto_new_scenes_watch]

with DAG(
    "new_scenes_to_collection",
    description="Maximum NDVI of the month before each new scene, as a collection",
    schedule=[scenes],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # Runs that add to one collection follow each other.
    max_active_runs=1,
    tags=["sentinelhub"],
):
    # [START howto_new_scenes_month]
    @task
    def month(**context: Any) -> dict[str, str]:
        """Return the month that ends with the newest scene of this run."""
        newest = new_acquisitions(context)[-1]
        sensed = datetime.fromisoformat(newest.sensed)
        return {"from": (sensed - timedelta(days=30)).isoformat(), "to": sensed.isoformat()}

    # [END howto_new_scenes_month]

    # [START howto_new_scenes_batch]
    max_ndvi = SentinelHubBatchProcessOperator(
        task_id="max_ndvi",
        request={
            "processRequest": {
                "input": {
                    "bounds": {"bbox": AREA},
                    "data": [
                        {
                            "type": "sentinel-2-l2a",
                            "dataFilter": {"timeRange": "{{ ti.xcom_pull('month') }}"},
                        }
                    ],
                },
                "evalscript": "evalscripts/max_ndvi.js",
            },
            "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
            "output": {
                "type": "raster",
                "delivery": {"s3": {"url": DELIVERY_URL}},
                # A collection takes cloud optimised GeoTIFFs only.
                "cogOutput": True,
            },
        },
        max_pu=1000,
        deferrable=True,
        poll_interval=POLL_INTERVAL,
        retries=2,
    )
    # [END howto_new_scenes_batch]

    # [START howto_new_scenes_collection]
    publish = SentinelHubByocIngestOperator(
        task_id="publish",
        source="{{ ti.xcom_pull('max_ndvi')['report_url'] }}",
        collection_name="max-ndvi-of-corte",
        sensing_time="{{ ti.xcom_pull('month')['to'] }}",
        max_pu=100,
        deferrable=True,
        poll_interval=POLL_INTERVAL,
        retries=2,
    )
    # [END howto_new_scenes_collection]

    # [START howto_new_scenes_image]
    image = SentinelHubProcessOperator(
        task_id="image",
        request={
            "input": {
                "bounds": {"bbox": AREA},
                "data": [{"type": "{{ ti.xcom_pull('publish')['data_type'] }}"}],
            },
            "output": {"width": 512, "height": 460, "responses": [{"format": {"type": "image/png"}}]},
            "evalscript": "evalscripts/collection_ndvi.js",
        },
        # Named after the batch: the request is the same in every run, but not what the collection holds.
        output_url=f"{DELIVERY_URL}/{{{{ ti.xcom_pull('max_ndvi')['task_id'] }}}}.png",
        max_pu=10,
        retries=3,
    )
    # [END howto_new_scenes_image]

    month() >> max_ndvi >> publish >> image
