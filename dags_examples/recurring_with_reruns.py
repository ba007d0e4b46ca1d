"""
Recurring processing with reruns: failed features run again, and those that are still missing are named.

The first DAG runs every month. The second one is for trying again later.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, AssetAlias, Param, task

from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.operators.rerun_failed import SentinelHubRerunFailedOperator

with DAG(
    "monthly_ndvi",
    description="Maximum NDVI of a month; failed tiles are run again",
    schedule="@monthly",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        "bbox": Param([9.21, 42.07, 9.27, 42.11], type="array", description="West, south, east, north (CRS84)"),
        "delivery_url": Param("s3://my-bucket/ndvi", type="string", description="Where the results go"),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
    # [START howto_reruns]
    ndvi = SentinelHubBatchProcessOperator(
        task_id="ndvi",
        request={
            "processRequest": {
                "input": {
                    "bounds": {"bbox": "{{ params.bbox }}"},
                    "data": [
                        {
                            "type": "sentinel-2-l2a",
                            "dataFilter": {
                                "timeRange": {
                                    "from": "{{ (dag_run.run_after - macros.timedelta(days=31)).isoformat() }}",
                                    "to": "{{ dag_run.run_after.isoformat() }}",
                                }
                            },
                        }
                    ],
                },
                "evalscript": "evalscripts/max_ndvi.js",
            },
            "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
            "output": {
                "type": "raster",
                "delivery": {"s3": {"url": "{{ params.delivery_url }}/<requestId>/<tileName>/<outputId>.<format>"}},
            },
        },
        on_partial="rerun_then_warn",
        max_reruns=3,
        max_pu=2000,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        timeout=timedelta(days=1),
        retries=2,
        outlets=[AssetAlias("monthly_ndvi")],
    )
    # [END howto_reruns]

    # [START howto_map_over_failed]
    @task
    def missing(result: Any) -> list[dict[str, Any]]:
        """Read which features failed permanently, and why."""
        url = result.get("report_url")
        return SentinelHubBatchHook().failed_features(url, limit=100) if url else []

    @task
    def look_into(feature: dict[str, Any]) -> str:
        """Replace this with your own action for one feature: a ticket, another data source, a smaller tile."""
        return f"{feature['name']}: {feature['error']}"

    look_into.expand(feature=missing(ndvi.output))
    # [END howto_map_over_failed]


with DAG(
    "try_again",
    description="Run again what failed in a batch",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # Two runs at once would both look for reruns before either has created one.
    max_active_runs=1,
    params={
        "batch_task_id": Param("", type="string", description="Id of a batch task that has ended"),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_rerun_failed]
    again = SentinelHubRerunFailedOperator(
        task_id="again",
        batch_task_id="{{ params.batch_task_id }}",
        max_reruns=2,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        retries=2,
    )
    # [END howto_operator_rerun_failed]
