"""The pixels of an image, and of its parts: no gap, no overlap, no difference of a bit between neighbours."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.process.calls import MAX_PX, parts_of, raster_of, request_of, sized
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.requests.raster import Raster
from tests.client.client_harness import image_document

COORDINATES = st.floats(-2e7, 2e7, allow_nan=False)
SPANS = st.floats(1e-3, 1e6)
PIXELS = st.integers(1, 5000)
BOXES = st.tuples(COORDINATES, COORDINATES, SPANS, SPANS).map(
    lambda given: (given[0], given[1], given[0] + given[2], given[1] + given[3])
)
RASTERS = st.builds(Raster, BOXES, st.just(32633), PIXELS, PIXELS)


@given(RASTERS, st.integers(1, 2500))
def test_parts_cover_the_image_once_and_share_their_sides(raster: Raster, side: int) -> None:
    side = max(side, raster.width // 12 + 1, raster.height // 12 + 1)
    cells = list(raster.cells(side))
    assert sum(each.width * each.height for each in cells) == raster.width * raster.height
    assert max(max(each.width, each.height) for each in cells) <= side
    assert max(each.width for each in cells) - min(each.width for each in cells) <= 1
    boxes = {(each.row, each.column): raster.box_of(each) for each in cells}
    for each in cells:
        west, south, east, north = boxes[each.row, each.column]
        right, below = boxes.get((each.row, each.column + each.width)), boxes.get((each.row + each.height, each.column))
        assert east == (right[0] if right else raster.box[2])
        assert south == (below[3] if below else raster.box[1])
        assert (west == raster.box[0]) or each.column
        assert (north == raster.box[3]) or each.row


@given(RASTERS)
def test_the_transform_ends_at_the_sides(raster: Raster) -> None:
    a, b, west, d, e, north = raster.transform
    assert b == d == 0
    assert math.isclose(west + a * raster.width, raster.box[2], abs_tol=1e-6)
    assert math.isclose(north + e * raster.height, raster.box[1], abs_tol=1e-6)


@pytest.mark.parametrize(
    ("output", "size"),
    [
        ({}, (256, 256)),
        ({"width": 10}, (10, 256)),
        ({"width": 10, "height": 20}, (10, 20)),
        # As in the service's published statistics of 544 m.
        ({"resx": 10, "resy": 10}, (54, 60)),
        ({"resx": 1e9, "resy": 1e9}, (1, 1)),
    ],
)
def test_the_size_of_an_image(output: dict[str, Any], size: tuple[int, int]) -> None:
    body = image_document(output=output)
    raster = raster_of(body)
    assert (raster.width, raster.height) == size
    assert sized(body)["output"] == {"width": size[0], "height": size[1]}
    assert raster.epsg == 32633


@pytest.mark.parametrize("bounds", [{}, {"bbox": [1, 2]}, {"bbox": [3, 0, 1, 1]}, {"geometry": {"coordinates": ["x"]}}])
def test_what_is_no_area_has_no_raster(bounds: Any) -> None:
    assert Raster.of(bounds, {}) is None
    assert Raster.of({"bbox": [0, 0, 1, 1]}, {"resx": "x", "resy": None}) is None


def test_a_part_has_its_own_box_and_the_geometry_of_the_whole() -> None:
    triangle = {"type": "Polygon", "coordinates": [[[0, 0], [4000, 0], [0, 4000], [0, 0]]]}
    bounds = {"geometry": triangle, "properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/32633"}}
    body = image_document(input__bounds=bounds, output={"width": 400, "height": 400})
    cells = parts_of(body, 100)
    # Four on the diagonal and six below it; three more are touched in a corner.
    assert len(cells) == 10 + 3
    raster, cell = raster_of(body), cells[-1]
    part = request_of(body, raster, cell)
    assert part["input"]["bounds"] == {**bounds, "bbox": [3000, 0, 4000, 1000]}
    assert part["output"] == {"width": 100, "height": 100}
    assert len(parts_of(body)) == 1


@pytest.mark.parametrize(("side", "size"), [(0, 100), (MAX_PX + 1, 100), (1, 200)])
def test_a_part_is_neither_too_large_nor_too_small(side: int, size: int) -> None:
    with pytest.raises(InvalidParameter, match=r"^part_size"):
        parts_of(image_document(output={"width": size, "height": size}), side)
