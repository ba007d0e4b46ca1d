"""Geometries of which statistics are asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely

from airflow_provider_sentinelhub.artifacts.features.sources import from_geometries
from airflow_provider_sentinelhub.artifacts.results.statistical import StatisticalRun
from airflow_provider_sentinelhub.artifacts.statistics.geometries import (
    Place,
    boxes_as_polygons,
    digest_of,
    pixel_counts,
    places_of,
)
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from tests.client.client_harness import statistical_document


def utm(width: float, height: float) -> str:
    return str(shapely.box(500_000, 5_000_000, 500_000 + width, 5_000_000 + height).wkt)


def places(*sizes: tuple[float, float]) -> list[Place]:
    return places_of(from_geometries({f"f{number}": utm(*size) for number, size in enumerate(sizes)}, epsg=32632))


def test_they_are_numbered_and_say_where_they_are() -> None:
    (first, second) = places((10, 20), (30, 40))
    assert [(each.feature_id, each.name, each.label) for each in (first, second)] == [(1, "f0", "f0"), (2, "f1", "f1")]
    request = first.request({"input": {"data": []}, "aggregation": {}})
    assert request["input"]["data"] == []
    assert request["input"]["bounds"]["properties"] == {"crs": "http://www.opengis.net/def/crs/EPSG/0/32632"}
    assert shapely.geometry.shape(request["input"]["bounds"]["geometry"]).bounds == (500000, 5000000, 500010, 5000020)


def test_longitude_and_latitude_have_a_name_of_their_own() -> None:
    (place,) = places_of(from_geometries("POLYGON Z ((8 41 5, 9 41 5, 9 42 5, 8 41 5))", epsg=4326))
    assert place.bounds["properties"] == {"crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}
    # Heights are nothing a request may hold.
    assert place.bounds["geometry"]["coordinates"] == [[[8.0, 41.0], [9.0, 41.0], [9.0, 42.0], [8.0, 41.0]]]
    assert (place.name, place.label) == (None, "1")


def test_without_a_geometry_there_is_nothing_to_ask() -> None:
    with pytest.raises(InvalidParameter, match="there are no geometries"):
        places_of(from_geometries([], epsg=4326))
    with pytest.raises(InvalidParameter, match="geometries = 'b': has no geometry"):
        places_of(from_geometries({"a": utm(1, 1), "b": "POLYGON EMPTY"}, epsg=32632))


def test_boxes_become_polygons_and_nothing_else_does() -> None:
    box = [1, 2, 3, 4]
    assert boxes_as_polygons(box) == shapely.box(*box)
    assert boxes_as_polygons([box, "x"]) == [shapely.box(*box), "x"]
    assert boxes_as_polygons({"a": tuple(box), "b": None}) == {"a": shapely.box(*box), "b": None}
    # What geopandas calls total_bounds.
    assert boxes_as_polygons(np.array(box)) == shapely.box(*box)
    assert boxes_as_polygons([np.array(box), [np.int64(side) for side in (1, 2, 3, 4)]])[1] == shapely.box(1, 2, 3, 4)
    for other in ("POINT (1 2)", ["POINT (1 2)"], [1, 2, 3], {"type": "Polygon", "coordinates": []}, None):
        assert boxes_as_polygons(other) == other


def test_a_digest_tells_geometries_names_and_order() -> None:
    several = [places((10, 20), (30, 40)), places((30, 40), (10, 20)), places((10, 20)), places((10, 21), (30, 40))]
    assert len({digest_of(each) for each in several}) == len(several)
    assert digest_of(several[0]) == digest_of(places((10, 20), (30, 40)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [(10, 5, 2), (1, 1, 1)]),
        ({"aggregation__resx": 3}, [(34, 5, 2), (1, 1, 1)]),
        ({"aggregation__resx": ..., "aggregation__resy": ...}, [(256, 256, 3)]),
        (
            {"aggregation__resx": ..., "aggregation__resy": ..., "aggregation__width": 30, "aggregation__height": 40},
            [(30, 40, 3)],
        ),
    ],
)
def test_pixels_are_those_of_the_box(changes: dict[str, Any], expected: list[tuple[int, int, int]]) -> None:
    assert pixel_counts(statistical_document(**changes), places((100, 50), (2, 3), (100, 50))) == expected


def test_each_geometry_has_a_file_of_its_own() -> None:
    named = [Place(number, name, {}) for number, name in enumerate(["a", "Feld #3", "a", None, "4", "é/x"], 1)]
    StatisticalRun(Storage(), "s3://bucket/folder", "run").check_names(named)
    StatisticalRun(Storage(), "file:///folder/<REQUEST_ID>/<IDENTIFIER>.json", "run").check_names(named[:2])
    with pytest.raises(InvalidParameter) as caught:
        StatisticalRun(Storage(), "s3://bucket/<REQUEST_ID>/<IDENTIFIER>.json", "run").check_names(named)
    assert [each.value for each in (caught.value, *caught.value.others)] == ["Feld #3", "a", "4"]
    assert "is what geometries 4 and 5 are called" in str(caught.value)
