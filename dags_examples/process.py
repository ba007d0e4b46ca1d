"""Images by the Process API: one, one for each of some dates, and one that is too large for a single answer."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_provider_sentinelhub.operators.process import SentinelHubProcessOperator

UTM = "http://www.opengis.net/def/crs/EPSG/0/32632"

with DAG(
    "images",
    description="Sentinel-2 images of a bay, as files in a bucket",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    params={
        "date": Param("2025-06-14", type="string", format="date"),
        "resolution": Param(10, type="number", description="Metres of a pixel of the large image"),
        "delivery_url": Param("s3://my-bucket/images", type="string"),
    },
    tags=["sentinelhub"],
):
    # [START howto_operator_process]
    image = SentinelHubProcessOperator(
        task_id="image",
        request={
            "input": {
                "bounds": {"bbox": [514_000, 4_655_000, 519_120, 4_660_120], "properties": {"crs": UTM}},
                "data": [
                    {
                        "type": "sentinel-2-l2a",
                        "dataFilter": {
                            "timeRange": {
                                "from": "{{ macros.ds_add(params.date, -10) }}T00:00:00Z",
                                "to": "{{ params.date }}T23:59:59Z",
                            },
                            "mosaickingOrder": "leastCC",
                        },
                    }
                ],
            },
            "output": {"resx": 10, "resy": 10, "responses": [{"format": {"type": "image/png"}}]},
            "evalscript": "evalscripts/true_colour.js",
        },
        output_url="{{ params.delivery_url }}/{{ params.date }}.png",
        max_pu=10,
        retries=3,
    )
    # [END howto_operator_process]

    # [START howto_process_mapped]
    @task
    def weeks(params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Return what differs between the images of four weeks."""
        given = params or {}
        last = date.fromisoformat(given["date"])
        found = []
        for end in (last - timedelta(weeks=number) for number in range(4)):
            period = {"from": f"{end - timedelta(days=6)}T00:00:00Z", "to": f"{end}T23:59:59Z"}
            request = {
                "input": {
                    "bounds": {"bbox": [514_000, 4_655_000, 519_120, 4_660_120], "properties": {"crs": UTM}},
                    "data": [{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": period}}],
                },
                "output": {"resx": 20, "resy": 20, "responses": [{"format": {"type": "image/tiff"}}]},
                "evalscript": "evalscripts/ndvi_image.js",
            }
            found.append({"request": request, "output_url": f"{given['delivery_url']}/ndvi-{end}.tif"})
        return found

    ndvi = SentinelHubProcessOperator.partial(
        task_id="ndvi", max_pu=10, retries=3, max_active_tis_per_dagrun=4
    ).expand_kwargs(weeks())

    @task
    def cost(images: list[dict[str, Any]]) -> float:
        """Return what the images have cost, in processing units."""
        return round(sum(float(each["pu"]) for each in images), 4)

    cost(ndvi.output)  # type: ignore[arg-type]  # a list once it is pulled
    # [END howto_process_mapped]

    # [START howto_process_split]
    large = SentinelHubProcessOperator(
        task_id="large",
        request={
            "input": {
                "bounds": {"bbox": [500_000, 4_640_000, 530_000, 4_670_000], "properties": {"crs": UTM}},
                "data": [
                    {
                        "type": "sentinel-2-l2a",
                        "dataFilter": {
                            "timeRange": {"from": "{{ params.date }}T00:00:00Z", "to": "{{ params.date }}T23:59:59Z"}
                        },
                    }
                ],
            },
            "output": {
                "resx": "{{ params.resolution }}",
                "resy": "{{ params.resolution }}",
                "responses": [{"format": {"type": "image/tiff"}}],
            },
            "evalscript": "evalscripts/ndvi_image.js",
        },
        output_url="{{ params.delivery_url }}/large.tif",
        split=True,
        max_pu=50,
        retries=3,
    )
    # [END howto_process_split]
