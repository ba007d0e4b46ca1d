"""Weekly NDVI of a few fields at once, without a batch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.statistical import SentinelHubStatisticalOperator

FIELDS = {
    "orchard": "POLYGON((9.215 42.075, 9.225 42.075, 9.225 42.082, 9.215 42.075))",
    "vineyard": "POLYGON((9.24 42.09, 9.252 42.091, 9.25 42.099, 9.241 42.098, 9.24 42.09))",
    "two plots": "MULTIPOLYGON(((9.26 42.1, 9.263 42.1, 9.263 42.103, 9.26 42.1)), "
    "((9.265 42.1, 9.268 42.1, 9.268 42.103, 9.265 42.1)))",
}

with DAG(
    "field_statistics",
    description="Weekly NDVI of some fields, as one table",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "time_from": Param("2025-03-31T00:00:00Z", type="string"),
        "time_to": Param("2025-09-29T00:00:00Z", type="string"),
        "delivery_url": Param("s3://my-bucket/fields", type="string", description="Where the answers and the table go"),
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_statistical]
    weekly_ndvi = SentinelHubStatisticalOperator(
        task_id="weekly_ndvi",
        request={
            "input": {"data": [{"type": "sentinel-2-l2a", "dataFilter": {"mosaickingOrder": "leastCC"}}]},
            "aggregation": {
                "timeRange": {"from": "{{ params.time_from }}", "to": "{{ params.time_to }}"},
                "aggregationInterval": {"of": "P7D"},
                # Degrees, the unit of the fields' coordinates.
                "resx": 0.0001,
                "resy": 0.0001,
                "evalscript": "evalscripts/ndvi_statistics.js",
            },
            "calculations": {"ndvi": {"statistics": {"default": {"percentiles": {"k": [10, 50, 90]}}}}},
        },
        geometries=FIELDS,
        epsg=4326,
        output_url="{{ params.delivery_url }}",
        max_pu=50,
        retries=2,
    )
    # [END howto_operator_statistical]

    # [START howto_statistical_table]
    @task
    def greenest(result: dict[str, Any]) -> dict[str, Any]:
        """Return the field that was greenest on average, over the weeks with data."""
        table = SentinelHubBatchHook("batch-statistical").statistics(
            result["statistics_url"], columns=["identifier", "mean"]
        )
        fields = table.drop_null().group_by("identifier").aggregate([("mean", "mean"), ("mean", "count")]).to_pylist()
        best = max(fields, key=lambda field: field["mean_mean"])
        return {"field": best["identifier"], "ndvi": round(best["mean_mean"], 4), "weeks": best["mean_count"]}

    # [END howto_statistical_table]

    weekly_ndvi >> greenest(weekly_ndvi.output)  # type: ignore[arg-type]  # a dict once it is pulled
