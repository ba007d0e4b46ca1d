"""How much of an area scenes cover together."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.catalog.coverage import (
    Condition,
    aoi_of,
    covered,
    footprint_of,
)
from airflow_provider_sentinelhub.client.errors import InvalidParameter

JUNE = "2026-06-01T00:00:00Z/2026-07-01T00:00:00Z"


def item(name: str, west: float, east: float, clouds: float | None = 0.0, south: float = 45, north: float = 46) -> Any:
    properties: dict[str, Any] = {"datetime": "2026-06-05T10:00:00Z", "platform": "sentinel-2b"}
    if clouds is not None:
        properties["eo:cloud_cover"] = clouds
    box = shapely.box(west, south, east, north)
    return {
        "id": name,
        "geometry": json.loads(shapely.to_geojson(box)),
        "properties": properties,
        "bbox": list(box.bounds),
    }


def s2(tile: str, baseline: int = 500, day: int = 5) -> str:
    return f"S2B_MSIL2A_202606{day:02}T100000_N{baseline:04}_R022_T{tile}_202606{day:02}T120000"


def condition(aoi: Any = (13, 45, 14, 46), **parameters: Any) -> Condition:
    return Condition.of("sentinel-2-l2a", JUNE, list(aoi) if isinstance(aoi, tuple) else aoi, **parameters)


def test_scenes_cover_an_area_together() -> None:
    scenes = [item(s2("33TUK"), 12.5, 13.25), item(s2("33TUL"), 13.2, 13.5), item(s2("33TVK"), 20, 21)]
    found = condition(min_coverage=0.5).judge(scenes)
    assert found.share == pytest.approx(0.5)
    assert (found.is_enough, found.scenes, found.found, found.dates) == (True, 2, 3, ("2026-06-05",))
    assert not condition(min_coverage=0.51).judge(scenes).is_enough
    assert condition().judge([]).share == 0


def test_neighbours_without_a_gap_cover_everything() -> None:
    edges = [12.9, 13.1 + 1e-13, 13.333333333, 13.7, 14.1]
    scenes = [item(s2(f"33TU{letter}"), *edges[n : n + 2]) for n, letter in enumerate("KLMN")]
    assert condition().judge(scenes).is_enough


def test_clouds_are_those_of_the_latest_version() -> None:
    early, late = item(s2("33TUK", 500), 13, 14, clouds=1), item(s2("33TUK", 511), 13, 14, clouds=90)
    for scenes in ([early, late], [late, early]):
        assert condition(max_cloud_cover=50).judge(scenes).scenes == 0
        found = condition(max_cloud_cover=95).judge(scenes)
        assert (found.scenes, found.found, found.ids) == (1, 1, (late["id"],))


def test_a_scene_without_clouds_counts_only_where_clouds_do_not_matter() -> None:
    scenes = [item("x", 13, 14, clouds=None)]
    assert condition().judge(scenes).scenes == 1
    assert condition(max_cloud_cover=100).judge(scenes).scenes == 0


def test_an_area_may_cross_the_180th_meridian() -> None:
    waiting = condition((179, -17, -179, -16))
    across = item("across", -180, 180, south=-17, north=-16)
    # As some write it: from 179.5 on to -179.
    across["geometry"]["coordinates"] = [[[179.5, -17], [-179, -17], [-179, -16], [179.5, -16], [179.5, -17]]]
    assert waiting.judge([across]).share == pytest.approx(0.75)
    assert waiting.judge([item("east", 179, 180, south=-17, north=-16)]).share == pytest.approx(0.5)
    assert waiting.search()["intersects"]["type"] == "MultiPolygon"


def test_areas_are_compared_on_an_equal_area_projection() -> None:
    # The southern half of the degrees from the equator to 60 degrees is 0.577 of the area.
    share = covered(shapely.box(0, 0, 10, 60), [shapely.box(0, 0, 10, 30)])
    assert share == pytest.approx(math.sin(math.radians(30)) / math.sin(math.radians(60)), rel=1e-3)


def test_holes_and_bow_ties_count_as_what_they_are() -> None:
    ring = shapely.Polygon([(0, 0), (3, 0), (3, 3), (0, 3)], [[(1, 1), (2, 1), (2, 2), (1, 2)]])
    assert covered(shapely.box(1, 1, 2, 2), [ring]) == 0
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}
    repaired = footprint_of(bow_tie)
    assert repaired is not None
    assert repaired.area == pytest.approx(2)
    for nothing in (None, {}, {"type": "Point", "coordinates": [1, 1]}, {"type": "Polygon", "coordinates": "x"}):
        assert footprint_of(nothing) is None


@pytest.mark.parametrize(
    "aoi",
    [
        [13, 45, 14, 46],
        "[13, 45, 14, 46]",
        shapely.box(13, 45, 14, 46),
        json.loads(shapely.to_geojson(shapely.box(13, 45, 14, 46))),
        {"type": "Feature", "geometry": json.loads(shapely.to_geojson(shapely.box(13, 45, 14, 46)))},
        {
            "type": "FeatureCollection",
            "features": [
                {"type": "Feature", "geometry": json.loads(shapely.to_geojson(shapely.box(west, 45, west + 0.6, 46)))}
                for west in (13, 13.4)
            ],
        },
    ],
)
def test_an_area_is_read_from_whatever_it_is(aoi: Any) -> None:
    assert aoi_of(aoi).equals(shapely.box(13, 45, 14, 46))


@pytest.mark.parametrize(
    ("aoi", "rule"),
    [
        ([13, 45, 13, 46], "has no area"),
        ([13, 45], "four numbers"),
        ({"type": "Point", "coordinates": [1, 2]}, "has no area"),
        ({"type": "Nothing"}, "not GeoJSON"),
        ("somewhere", "not GeoJSON"),
        (shapely.box(500000, 5000000, 500100, 5000100), "not in degrees"),
    ],
)
def test_what_is_no_area_is_refused(aoi: Any, rule: str) -> None:
    with pytest.raises(InvalidParameter, match=rule):
        condition(aoi)


def test_a_large_area_is_stored_with_few_points() -> None:
    rough = shapely.Point(10, 50).buffer(1, quad_segs=5000)
    scattered = shapely.union_all([shapely.box(x, y, x + 0.1, y + 0.1) for x in range(20) for y in range(20)])
    for area in (rough, scattered):
        waiting = condition(json.loads(shapely.to_geojson(area)))
        stored = waiting.boxed()
        assert (waiting.is_small, stored.is_small) == (False, True)
        assert len(json.dumps(stored.to_dict())) < 1_000
        assert Condition(**stored.to_dict()) == stored
        # So both find the same scenes.
        assert stored.search() == waiting.search()


def test_an_area_across_the_180th_meridian_has_to_be_cut() -> None:
    ring = [[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]
    with pytest.raises(InvalidParameter, match="more than 180 degrees wide"):
        condition({"type": "Polygon", "coordinates": [ring]})
    condition([179, 0, -179, 1])


def test_two_parts_of_a_tile_count_together_and_an_old_baseline_does_not() -> None:
    def part(west: float, made: int, baseline: int = 511) -> dict[str, Any]:
        name = f"S2C_MSIL2A_20260601T101031_N{baseline:04}_R022_T32TMN_20260601T{made}"
        where = shapely.box(west, 0, west + 1, 1)
        return {
            "id": name,
            "geometry": json.loads(shapely.to_geojson(where)),
            "properties": {"datetime": "2026-06-01T10:15:00Z", "platform": "sentinel-2c", "eo:cloud_cover": 5},
        }

    wanted = Condition.of("sentinel-2-l2a", "2026-06-01T00:00:00Z/2026-06-02T00:00:00Z", [0, 0, 2, 1])
    found = wanted.judge([part(0, 150000), part(1, 151000)])
    assert (found.scenes, found.is_enough) == (1, True)
    assert wanted.judge([part(0, 150000, 510), part(1, 151000)]).share == pytest.approx(0.5, abs=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.01, 3), st.floats(0.01, 3)), max_size=6))
def test_a_share_never_leaves_its_bounds_and_grows_with_scenes(boxes: list[tuple[float, ...]]) -> None:
    area, before = shapely.box(-1, -1, 1, 1), 0.0
    shapes: list[Any] = []
    for west, south, width, height in boxes:
        shapes.append(shapely.box(west, south, west + width, south + height))
        share = covered(area, shapes)
        assert before - 1e-9 <= share <= 1
        before = share
