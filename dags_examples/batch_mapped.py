"""One batch for each area. The areas are known when the DAG is written, or found while it runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator

START = datetime(2026, 1, 1, tzinfo=UTC)
PERIOD = {"timeRange": {"from": "2019-04-01T00:00:00Z", "to": "2019-06-30T23:59:59Z"}}
# Small areas: one tile of the 20 km grid each.
AREAS = {"golo": [9.21, 42.10, 9.22, 42.11], "tavignano": [9.26, 42.07, 9.27, 42.08]}
PARAMS = {
    "delivery_url": Param("s3://my-bucket/areas", type="string", description="Where the results go"),
    "poll_interval": Param(60, type="number", minimum=0.2),
}


def request(area: str, bbox: list[float], delivery_url: str, evalscript: str) -> dict[str, Any]:
    """
    Return the request for one area.

    :param area: Its name.
    :param bbox: West, south, east, north.
    :param delivery_url: Where the results go.
    :param evalscript: The script, or the path of one.
    """
    return {
        "processRequest": {
            "input": {"bounds": {"bbox": bbox}, "data": [{"type": "sentinel-2-l2a", "dataFilter": PERIOD}]},
            "evalscript": evalscript,
        },
        "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
        "output": {"type": "raster", "delivery": {"s3": {"url": f"{delivery_url}/{area}"}}},
        "description": area,
    }


@task
def delivered(results: Any) -> int:
    """
    Add up the delivered tiles of all batches.

    :param results: One result for each batch.
    """
    return sum(result["delivered"] for result in results)


with DAG("batch_per_area", schedule=None, start_date=START, catchup=False, params=PARAMS, tags=["sentinelhub"]):
    # [START howto_operator_batch_process_mapped]
    batches = SentinelHubBatchProcessOperator.partial(
        task_id="max_ndvi",
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        map_index_template="{{ task.request['description'] }}",
        max_active_tis_per_dagrun=10,
        retries=2,
    ).expand(
        request=[
            request(area, bbox, "{{ params.delivery_url }}", "evalscripts/max_ndvi.js") for area, bbox in AREAS.items()
        ]
    )
    # [END howto_operator_batch_process_mapped]
    delivered(batches.output)


with DAG(
    "batch_per_area_at_run_time",
    schedule=None,
    start_date=START,
    catchup=False,
    params={**PARAMS, "areas": Param(AREAS, type="object", description="Name of each area and its bbox")},
    tags=["sentinelhub"],
):
    # [START howto_operator_batch_process_mapped_at_run_time]
    @task
    def requests() -> list[dict[str, Any]]:
        """Return one complete request for each area, because Airflow does not render what another task returned."""
        params = get_current_context()["params"]
        script = (Path(__file__).parent / "evalscripts" / "max_ndvi.js").read_text(encoding="utf-8")
        return [request(area, bbox, params["delivery_url"], script) for area, bbox in params["areas"].items()]

    found = SentinelHubBatchProcessOperator.partial(
        task_id="max_ndvi",
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        map_index_template="{{ task.request['description'] }}",
        max_active_tis_per_dagrun=10,
        retries=2,
    ).expand(request=requests())
    # [END howto_operator_batch_process_mapped_at_run_time]
    delivered(found.output)
