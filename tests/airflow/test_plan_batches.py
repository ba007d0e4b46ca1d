"""Plans: one request for each region and period, its tiles and its cost, and what to do about minimum charges."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.features.sources import from_geometries
from airflow_provider_sentinelhub.artifacts.features.writer import Size
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks.input_features import make_input
from airflow_provider_sentinelhub.hooks.planning import MAX_BYTES, PlannedBatch, months, plan_batches
from tests.client.client_harness import batch_v1_document, build_document

SCRIPTS = Path(__file__).parents[2] / "dags_examples"
GOLO, TAVIGNANO = [9.21, 42.10, 9.22, 42.11], [9.26, 42.07, 9.27, 42.08]
Json = dict[str, Any]


def template(**changes: Any) -> Json:
    return build_document(
        **{"processRequest__input__bounds": ..., "input__resolution": 60, **changes},
    )


def plan(aoi: Any, periods: Any = None, request: Json | None = None, **more: Any) -> list[PlannedBatch]:
    return plan_batches(aoi, months("2024-01") if periods is None else periods, request or template(), **more)


def test_a_plan_has_complete_requests() -> None:
    found = plan({"golo": GOLO, "tavignano": TAVIGNANO}, months("2024-02", "2024-03"))
    assert [each["name"] for each in found] == [
        "golo 2024-02", "golo 2024-03", "tavignano 2024-02", "tavignano 2024-03",
    ]  # fmt: skip
    request = found[1]["request"]
    assert request["description"] == "golo 2024-03"
    assert request["processRequest"]["input"]["bounds"]["bbox"] == GOLO
    assert request["processRequest"]["input"]["data"] == [
        {
            "type": "sentinel-2-l2a",
            "dataFilter": {"timeRange": {"from": "2024-03-01T00:00:00Z", "to": "2024-03-31T23:59:59.999Z"}},
        }
    ]
    assert [each["tiles"] for each in found] == [1, 1, 1, 1]
    json.dumps(found)


def test_minimum_charges_are_told_with_what_helps() -> None:
    near = {"a": GOLO, "b": TAVIGNANO}
    for each in plan(near):
        assert each["estimate_pu"] == 100
        assert each["warning"].startswith("a task costs at least 100 PU, its tiles alone ")
        assert each["warning"].endswith("; as one region, all 2 would cost 100.0 PU instead of 200.0 PU")
    (one,) = plan(near, one_region=True)
    assert (one["name"], one["tiles"], one["estimate_pu"]) == ("all 2024-01", 2, 100)
    assert "as one region" not in one["warning"]
    (large,) = plan([8.44, 41.31, 9.66, 43.1], request=template(input__resolution=10))
    assert large["estimate_pu"] > 100
    assert large["warning"] == ""
    assert large["tiles"] == 66


@given(
    regions=st.dictionaries(
        st.text(max_size=6), st.tuples(st.floats(-20, 35), st.floats(36, 60)), min_size=1, max_size=5
    ),
    start=st.integers(2015 * 12, 2030 * 12),
    length=st.integers(0, 15),
)
@settings(max_examples=20, deadline=None)
def test_regions_and_periods_are_covered_exactly_once(regions: Any, start: int, length: int) -> None:
    first, last = (f"{number // 12:04}-{number % 12 + 1:02}" for number in (start, start + length))
    periods = months(first, last)
    boxes = {name: [x, y, x + 0.01, y + 0.01] for name, (x, y) in regions.items()}
    found = plan(boxes, periods, template(output__delivery__s3__url="s3://b/{region}/{period}/<tileName>.tif"))
    asked = [
        (tuple(process["bounds"]["bbox"]), process["data"][0]["dataFilter"]["timeRange"]["from"])
        for process in (each["request"]["processRequest"]["input"] for each in found)
    ]
    wanted = itertools.product((tuple(box) for box in boxes.values()), (start for start, _ in periods.values()))
    assert asked == list(wanted)
    ends = [tuple(map(datetime.fromisoformat, span)) for span in periods.values()]
    # Images have times in milliseconds: no image is in two months, none is between them.
    assert all(end + timedelta(milliseconds=1) == following for (_, end), (following, _) in itertools.pairwise(ends))
    assert len({each["name"] for each in found}) == len(found) == len(regions) * (length + 1)
    assert len({each["request"]["output"]["delivery"]["s3"]["url"] for each in found}) == len(found)


def test_names_are_filled_in_but_templates_and_scripts_are_not() -> None:
    script = "//VERSION=3\nfunction setup() {return {input: ['B04'], output: {bands: 1}}} // {region}"
    request = template(
        processRequest__evalscript=script,
        output__delivery__s3__url="s3://{{ var.value.bucket }}/{region}/{period}",
        description="{period} in {region}: {{ds}} {{region}}",
    )
    (found,) = plan({"Cap Corse / nord": GOLO}, {"spring": ("2024-03-01T00:00:00Z", "2024-06-01T00:00:00Z")}, request)
    assert found["request"]["output"]["delivery"]["s3"]["url"] == "s3://{{ var.value.bucket }}/Cap-Corse-nord/spring"
    assert found["request"]["description"] == "spring in Cap-Corse-nord: {{ds}} {{region}}"
    assert found["request"]["processRequest"]["evalscript"] == script


@pytest.mark.parametrize(
    ("aoi", "regions"),
    [
        (GOLO, ["area"]),
        ([GOLO, TAVIGNANO], ["region-1", "region-2"]),
        (shapely.Point(9.2, 42.1).buffer(0.01).wkt, ["area"]),
        ({"type": "Polygon", "coordinates": [[[9, 42], [9.1, 42], [9, 42.1], [9, 42]]]}, ["area"]),
        (
            {
                "type": "FeatureCollection",
                "features": [
                    {
                        "type": "Feature",
                        "properties": {"identifier": name},
                        "geometry": json.loads(shapely.to_geojson(shapely.box(*box))),
                    }
                    for name, box in (("a b", GOLO), ("a/b", TAVIGNANO))
                ],
            },
            ["a-b", "a-b-2"],
        ),
    ],
)
def test_forms_of_regions(aoi: Any, regions: list[str]) -> None:
    assert [each["name"].split()[0] for each in plan(aoi)] == regions


def test_regions_of_a_file_and_their_boxes(tmp_path: Path) -> None:
    shapes = {name: shapely.box(*box).buffer(0.01) for name, box in (("golo", GOLO), ("tavignano", TAVIGNANO))}
    url = (tmp_path / "regions.gpkg").as_uri()
    make_input(from_geometries(shapes, epsg=4326), url, storage=Storage(), size=Size(10, 10))
    exact, boxes = plan(url), plan(url, as_boxes=True)
    assert [each["name"] for each in exact] == ["golo 2024-01", "tavignano 2024-01"]
    assert "geometry" in exact[0]["request"]["processRequest"]["input"]["bounds"]
    assert "bbox" in boxes[0]["request"]["processRequest"]["input"]["bounds"]


def test_a_request_of_v1_and_a_script_in_a_file() -> None:
    request = batch_v1_document()
    request["processRequest"]["evalscript"] = "evalscripts/max_ndvi.js"
    (found,) = plan(GOLO, request=request, script_folder=SCRIPTS)
    assert found["request"]["processRequest"]["evalscript"] == "evalscripts/max_ndvi.js"
    assert found["request"]["tilingGrid"] == request["tilingGrid"]


SHARED = "s3://b/<tileName>/<outputId>.tif"
WINDING = shapely.Point(9, 42).buffer(1, quad_segs=6000)


@pytest.mark.parametrize(
    ("aoi", "periods", "changes", "message"),
    [
        ([9, 42, 8, 43], None, {}, "geometries = .*west must be less than east"),
        ([120, 42, 121, 43], None, {"input__id": 6, "input__resolution": 100}, "aoi.area.*meets no tile of the grid"),
        ({"a": "POINT (9 42)"}, None, {}, "aoi.a.*is not a polygon"),
        ([200, 42, 201, 43], None, {}, "aoi.1.*outside of longitudes"),
        (GOLO, [], {}, "periods = .*has no periods"),
        (GOLO, {"x": ("2024-01-01", "2024-02-01T00:00:00Z")}, {}, "periods.x.from = .*is a date without a time"),
        (GOLO, [("2024-02-01T00:00:00Z", "2024-01-01T00:00:00Z")], {}, "periods.1.*is not before"),
        (GOLO, ["2024-01"], {}, "periods.1 = .*must have a beginning and an end"),
        (GOLO, None, {"input": {"type": "geopackage"}}, "request.input = .*on a tiling grid"),
        (GOLO, None, {"input__resolution": 17}, "request.input.resolution = 17: must be one of 10, 20, 30, 60"),
        (GOLO, None, {"processRequest__input__data": []}, "request.processRequest.input.data = .*list of data sources"),
        (GOLO, None, {"processRequest__evalscript": "a.js"}, "evalscript = 'a.js'.*script_folder=Path"),
        (GOLO, months("2020-01", "2021-01"), {"output__delivery__s3__url": SHARED}, "is where 13 of these batches"),
        ([WINDING], months("2020-01", "2020-04"), {}, "more than the 1,000,000 of a plan.*as_boxes=True"),
        (GOLO, months("1900-01", "2000-01"), {}, "1,201 batches.*max_map_length = 1,024"),
    ],
)  # fmt: skip
def test_what_is_refused(aoi: Any, periods: Any, changes: Json, message: str) -> None:
    with pytest.raises(InvalidParameter, match=f"(?s){message}"):
        plan(aoi, periods, template(**changes))


def test_months_that_are_not() -> None:
    for first, last in (("2024-13", None), ("2024-1", None), ("2024-02", "2024-01")):
        with pytest.raises(InvalidParameter):
            months(first, last)


def test_a_year_of_a_country_fits() -> None:
    regions = {f"region {number}": [9 + number / 10, 42, 9.1 + number / 10, 42.1] for number in range(20)}
    found = plan(regions, months("2024-01", "2024-12"), template(processRequest__evalscript="evalscripts/max_ndvi.js"),
                 script_folder=SCRIPTS)  # fmt: skip
    assert len(found) == 240
    assert len(json.dumps(found)) < MAX_BYTES / 4
