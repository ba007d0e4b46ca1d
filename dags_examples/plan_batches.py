"""One batch for each region and month, planned with its number of tiles and its cost before anything is created."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from airflow_provider_sentinelhub.hooks.planning import PlannedBatch, months, plan_batches
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator

# Small areas: one or two tiles of the 20 km grid each.
REGIONS = {"golo": [9.21, 42.10, 9.22, 42.11], "tavignano": [9.26, 42.07, 9.27, 42.08]}

with DAG(
    "plan_batches",
    description="Maximum NDVI for each region and month",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "regions": Param(REGIONS, type=["object", "string"], description="Boxes by name, or the URL of a file"),
        "first_month": Param("2019-04", type="string"),
        "last_month": Param("2019-05", type="string"),
        "one_region": Param(default=False, type="boolean", description="Make all regions one"),
        "delivery_url": Param("s3://my-bucket/plan", type="string", description="Where the results go"),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
    # [START howto_plan_batches]
    @task
    def plan() -> list[PlannedBatch]:
        """Return one request for each region and month, with its tiles and its cost; both are in the log."""
        params = get_current_context()["params"]
        return plan_batches(
            params["regions"],
            months(params["first_month"], params["last_month"]),
            {
                "processRequest": {
                    "input": {"data": [{"type": "sentinel-2-l2a", "dataFilter": {"maxCloudCoverage": 70}}]},
                    # The operator reads the file, so the script is not in the XCom.
                    "evalscript": "evalscripts/max_ndvi.js",
                },
                "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
                "output": {
                    "type": "raster",
                    "delivery": {"s3": {"url": f"{params['delivery_url']}/{{region}}/{{period}}"}},
                },
            },
            one_region=params["one_region"],
            script_folder=Path(__file__).parent,
        )

    def request(batch: PlannedBatch) -> dict[str, Any]:
        """
        Return what the operator takes of a planned batch.

        :param batch: The batch.
        """
        return batch["request"]

    max_ndvi = SentinelHubBatchProcessOperator.partial(
        task_id="max_ndvi",
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        map_index_template="{{ task.request['description'] }}",
        max_active_tis_per_dagrun=10,
        retries=2,
    ).expand(request=plan().map(request))
    # [END howto_plan_batches]

    @task
    def delivered(results: Any) -> int:
        """
        Add up the delivered tiles of all batches.

        :param results: One result for each batch.
        """
        return sum(result["delivered"] for result in results)

    delivered(max_ndvi.output)
