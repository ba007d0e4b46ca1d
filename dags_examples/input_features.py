"""A batch over your own fields, instead of the tiles of a grid."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, Param

from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.operators.input_features import SentinelHubInputFeaturesOperator

FIELDS = {
    "orchard": "POLYGON((9.215 42.075, 9.225 42.075, 9.225 42.082, 9.215 42.075))",
    "vineyard": "POLYGON((9.24 42.09, 9.252 42.091, 9.25 42.099, 9.241 42.098, 9.24 42.09))",
    "two plots": "MULTIPOLYGON(((9.26 42.1, 9.263 42.1, 9.263 42.103, 9.26 42.1)), "
    "((9.265 42.1, 9.268 42.1, 9.268 42.103, 9.265 42.1)))",
}

with DAG(
    "fields_max_ndvi",
    description="Maximum NDVI of some fields",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "input_url": Param("s3://my-bucket/input/fields.gpkg", type="string", description="Where the fields go"),
        "delivery_url": Param("s3://my-bucket/fields", type="string", description="Where the results go"),
        "poll_interval": Param(60, type="number", minimum=0.2),
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_input_features]
    fields = SentinelHubInputFeaturesOperator(
        task_id="fields",
        geometries=FIELDS,
        epsg=4326,
        resolution=0.0001,
        url="{{ params.input_url }}",
        retries=2,
    )

    max_ndvi = SentinelHubBatchProcessOperator(
        task_id="max_ndvi",
        request={
            "processRequest": {
                "input": {
                    "data": [
                        {
                            "type": "sentinel-2-l2a",
                            "dataFilter": {
                                "timeRange": {"from": "2019-04-01T00:00:00Z", "to": "2019-06-30T23:59:59Z"},
                            },
                        }
                    ],
                },
                "evalscript": "evalscripts/max_ndvi.js",
            },
            "input": {"type": "geopackage", "features": {"s3": {"url": "{{ ti.xcom_pull('fields')['url'] }}"}}},
            "output": {"type": "raster", "delivery": {"s3": {"url": "{{ params.delivery_url }}"}}},
        },
        deferrable=True,
        poll_interval="{{ params.poll_interval }}",
        retries=2,
    )

    fields >> max_ndvi
    # [END howto_operator_input_features]
