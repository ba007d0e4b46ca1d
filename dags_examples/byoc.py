"""A batch becomes a collection that further requests can read."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Param

from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.operators.byoc import SentinelHubByocIngestOperator
from airflow_provider_sentinelhub.sensors.byoc import SentinelHubByocSensor

with DAG(
    "byoc",
    description="Maximum NDVI of a quarter, as a collection",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "time_from": Param("2019-04-01T00:00:00Z", type="string"),
        "time_to": Param("2019-06-30T23:59:59Z", type="string"),
        "delivery_url": Param("s3://my-bucket/ndvi", type="string"),
        "collection": Param("max-ndvi", type="string", description="Name of the collection"),
        "poll_interval": Param(60, type="number"),
    },
    tags=["sentinelhub"],
):
    max_ndvi = SentinelHubBatchProcessOperator(
        task_id="max_ndvi",
        request={
            "processRequest": {
                "input": {
                    "bounds": {"bbox": [9.21, 42.07, 9.27, 42.11]},
                    "data": [
                        {
                            "type": "sentinel-2-l2a",
                            "dataFilter": {
                                "timeRange": {"from": "{{ params.time_from }}", "to": "{{ params.time_to }}"}
                            },
                        }
                    ],
                },
                "evalscript": "evalscripts/max_ndvi.js",
            },
            "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
            "output": {
                "type": "raster",
                "delivery": {"s3": {"url": "{{ params.delivery_url }}"}},
                # A collection takes cloud optimised GeoTIFFs only.
                "cogOutput": True,
            },
        },
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
    )

    # [START howto_operator_byoc]
    ingest = SentinelHubByocIngestOperator(
        task_id="ingest",
        source="{{ ti.xcom_pull('max_ndvi')['report_url'] }}",
        collection_name="{{ params.collection }}",
        sensing_time="{{ params.time_from }}",
        max_pu=100,
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        retries=2,
    )
    # [END howto_operator_byoc]

    # [START howto_sensor_byoc]
    all_ingested = SentinelHubByocSensor(
        task_id="all_ingested",
        collection_id="{{ ti.xcom_pull('ingest')['data_type'] }}",
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
    )
    # [END howto_sensor_byoc]

    max_ndvi >> ingest >> all_ingested
