"""
Weekly NDVI of every field parcel over a season: from a GeoPackage to one table, every parcel accounted for.

The parcels are checked and put into the bucket. The batch is submitted once and holds no worker while it runs. Only
failed parcels and weeks run again. All statistics are in one Parquet file at the end.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_statistical import SentinelHubBatchStatisticalOperator
from airflow_provider_sentinelhub.operators.input_features import SentinelHubInputFeaturesOperator
from airflow_provider_sentinelhub.operators.statistics_table import SentinelHubStatisticsTableOperator

with DAG(
    "parcel_statistics",
    description="Weekly NDVI of every parcel, as one table",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "parcels": Param("s3://my-bucket/parcels.gpkg", type="string", description="GeoPackage of the parcels"),
        "time_from": Param("2025-03-31T00:00:00Z", type="string"),
        "time_to": Param("2025-09-29T00:00:00Z", type="string"),
        "delivery_url": Param("s3://my-bucket/parcels", type="string", description="Where the results go"),
        "on_partial": Param("rerun_then_warn", enum=["fail", "warn", "rerun", "rerun_then_warn"]),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_batch_statistical]
    parcels = SentinelHubInputFeaturesOperator(
        task_id="parcels",
        source="{{ params.parcels }}",
        url="{{ params.delivery_url }}/input/{{ dag_run.run_after | ts_nodash }}.gpkg",
        # Metres, the unit of the parcels' coordinate reference system, as for resx and resy below.
        resolution=10,
        retries=2,
    )

    weekly_ndvi = SentinelHubBatchStatisticalOperator(
        task_id="weekly_ndvi",
        request={
            "input": {
                "features": {"s3": {"url": "{{ ti.xcom_pull('parcels')['url'] }}"}},
                "data": [{"type": "sentinel-2-l2a", "dataFilter": {"mosaickingOrder": "leastCC"}}],
            },
            "aggregation": {
                "timeRange": {"from": "{{ params.time_from }}", "to": "{{ params.time_to }}"},
                "aggregationInterval": {"of": "P7D"},
                "resx": 10,
                "resy": 10,
                "evalscript": "evalscripts/ndvi_statistics.js",
            },
            "calculations": {"ndvi": {"statistics": {"default": {"percentiles": {"k": [10, 50, 90]}}}}},
            "output": {"s3": {"url": "{{ params.delivery_url }}"}},
        },
        on_partial="{{ params.on_partial }}",
        max_reruns=3,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        progress_interval="{{ params.poll_interval }}",
        timeout=timedelta(days=2),
        retries=2,
    )
    # [END howto_operator_batch_statistical]

    # [START howto_statistics_table]
    @task
    def greenest_week(result: dict[str, Any]) -> dict[str, Any]:
        """Return the week in which the parcels were greenest, and the number of parcels with data in it."""
        hook = SentinelHubBatchHook("batch-statistical")
        columns = ["feature_id", "interval_from", "mean"]
        weeks = hook.statistics(result["statistics_url"], columns=columns).drop_null().group_by("interval_from")
        found = weeks.aggregate([("mean", "mean"), ("feature_id", "count_distinct")]).to_pylist()
        best = max(found, key=lambda week: week["mean_mean"])
        return {
            "week": best["interval_from"].date().isoformat(),
            "ndvi": round(best["mean_mean"], 4),
            "parcels": best["feature_id_count_distinct"],
        }

    # [END howto_statistics_table]

    # [START howto_operator_statistics_table]
    for_maps = SentinelHubStatisticsTableOperator(
        task_id="for_maps",
        statistics_url="{{ ti.xcom_pull('weekly_ndvi')['statistics_url'] }}",
        url="{{ params.delivery_url }}/maps/{{ dag_run.run_after | ts_nodash }}.parquet",
        wide=True,
        features_url="{{ ti.xcom_pull('parcels')['url'] }}",
        retries=2,
    )
    # [END howto_operator_statistics_table]

    parcels >> weekly_ndvi >> [greenest_week(weekly_ndvi.output), for_maps]  # type: ignore[arg-type]  # a dict when pulled
