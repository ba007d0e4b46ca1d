"""DAGs that start when new imagery of Corsica appears: one batch for each day, or one for all of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, Variable, task

from airflow_provider_sentinelhub.assets import new_acquisitions
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.triggers.catalog import SentinelHubCatalogTrigger

START = datetime(2026, 1, 1, tzinfo=UTC)
# One tile of the 20 km grid.
AREA = [9.21, 42.10, 9.22, 42.11]
SCRIPT = (Path(__file__).parent / "evalscripts" / "max_ndvi.js").read_text(encoding="utf-8")
# Nobody gives parameters to a run that an asset starts, so an Airflow Variable says where the results go.
DELIVERY_URL = "{{ var.value.new_scenes_url }}"


# [START howto_catalog_watcher_asset]
scenes = Asset(
    "new_scenes",
    watchers=[
        AssetWatcher(
            name="new_scenes",
            trigger=SentinelHubCatalogTrigger(
                name="new_scenes",
                collection="sentinel-2-l2a",
                bbox=AREA,
                max_cloud_cover=40,
            ),
        )
    ],
)
# [END howto_catalog_watcher_asset]


def request(time_range: dict[str, str], delivery_url: str, evalscript: str) -> dict[str, Any]:
    """
    Return the request for what was acquired in a time range.

    :param time_range: From and to.
    :param delivery_url: Where the results go.
    :param evalscript: The script, or the path of one.
    """
    data = {"type": "sentinel-2-l2a", "dataFilter": {"timeRange": time_range}}
    return {
        "processRequest": {
            "input": {"bounds": {"bbox": AREA}, "data": [data]},
            "evalscript": evalscript,
        },
        "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
        "output": {"type": "raster", "delivery": {"s3": {"url": delivery_url}}},
    }


# [START howto_catalog_watcher_by_date]
with DAG("new_scenes_by_date", schedule=[scenes], start_date=START, catchup=False, tags=["sentinelhub"]):

    @task
    def requests(**context: Any) -> list[dict[str, Any]]:
        """Return one request for each day on which something was acquired."""
        found = new_acquisitions(context)
        url = Variable.get("new_scenes_url")
        return [request(day.time_range, f"{url}/{day.dates[0]}", SCRIPT) for day in found.by_date()]

    SentinelHubBatchProcessOperator.partial(
        task_id="max_ndvi",
        deferrable=True,
        poll_interval=10,
        max_active_tis_per_dagrun=10,
        retries=2,
    ).expand(request=requests())
# [END howto_catalog_watcher_by_date]


# [START howto_catalog_watcher_template]
with DAG(
    "new_scenes_at_once",
    schedule=[scenes],
    start_date=START,
    catchup=False,
    tags=["sentinelhub"],
    user_defined_macros={"new_acquisitions": new_acquisitions},
):
    SentinelHubBatchProcessOperator(
        task_id="max_ndvi",
        request=request(
            {
                "from": "{{ new_acquisitions().time_range['from'] }}",
                "to": "{{ new_acquisitions().time_range['to'] }}",
            },
            DELIVERY_URL + "/{{ new_acquisitions().dates[0] }}",
            "evalscripts/max_ndvi.js",
        ),
        deferrable=True,
        poll_interval=10,
        retries=2,
    )
# [END howto_catalog_watcher_template]
