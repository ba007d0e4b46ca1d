"""How large an area is, and where; and boxes whose sides stand in another order."""

from __future__ import annotations

from typing import Any

import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from airflow_provider_sentinelhub.artifacts.results.preflight import examine
from airflow_provider_sentinelhub.client.apis.registry import request_type
from airflow_provider_sentinelhub.client.preflight.area import Area, check_order
from airflow_provider_sentinelhub.client.requests.bounds import inside_out, reordered
from airflow_provider_sentinelhub.client.requests.extent import Extent
from tests.client.client_harness import build_document

SWAPPED = [14.4, 14.6, 46.0, 46.1]
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"


@given(st.floats(-179, 178), st.floats(-79, 78), st.floats(0.01, 60), st.floats(0.01, 60))
def test_degrees_are_measured_to_a_hundredth(west: float, south: float, across: float, up: float) -> None:
    box = shapely.box(west, south, min(west + across, 180), min(south + up, 80))
    true, _ = Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(box, 0.1))
    assert Extent.of(box, 4326).km2 == pytest.approx(true / 1e6, rel=0.01)


@pytest.mark.parametrize(
    ("epsg", "box"),
    [
        (32633, (300_000, 5_000_000, 420_000, 5_100_000)),
        (32733, (300_000, 6_000_000, 420_000, 6_100_000)),
        (32601, (480_000, 9_000, 520_000, 90_000)),
        (3857, (1_600_000, 5_700_000, 1_800_000, 5_900_000)),
    ],
)
def test_metres_are_placed_in_degrees(epsg: int, box: tuple[float, float, float, float]) -> None:
    # The middle meridian of a zone and a polar bulge lie between the corners.
    outline = shapely.segmentize(shapely.box(*box), 1000)
    degrees = shapely.transform(outline, Transformer.from_crs(epsg, 4326, always_xy=True).transform, interleaved=False)
    true, _ = Geod(ellps="WGS84").geometry_area_perimeter(degrees)
    found = Extent.of(shapely.box(*box), epsg)
    assert found.sides == pytest.approx(degrees.bounds, abs=1e-3)
    assert found.km2 == pytest.approx(abs(true) / 1e6, rel=0.01)


def test_other_systems_are_placed_in_their_own_coordinates() -> None:
    found = Extent.of(shapely.box(4_000_000, 3_000_000, 4_100_000, 3_050_000), 3035)
    assert found.text() == (
        "5,000 km2, centre at 4050000, 3025000 in EPSG:3035; 4000000 to 4100000, 3000000 to 3050000"
    )


def test_a_continent_is_told_from_a_field() -> None:
    assert Extent.of(shapely.box(*SWAPPED), 4326).text() == (
        "10,487,533 km2, centre at longitude 30.2, latitude 30.35; longitude 14.4 to 46, latitude 14.6 to 46.1"
    )
    assert Extent.of(shapely.box(500_000, 5_000_000, 500_100, 5_000_100), 32633).text().startswith("0.01 km2")


def test_only_what_box_and_geometry_cover_is_counted() -> None:
    both = {"bbox": [0, 0, 2, 2], "geometry": shapely.geometry.mapping(shapely.box(1, 1, 5, 5))}
    area = Area("bounds", both)
    assert area.extent == Extent.of(shapely.box(1, 1, 2, 2), 4326)


def warnings(field: str = "", **bounds: Any) -> list[str]:
    document = build_document(processRequest__input__bounds=bounds)
    found = examine(request_type(document), document).findings.warnings
    return [str(each) for each in found if each.field.startswith("processRequest.input.bounds")]


def test_a_box_of_exchanged_sides_is_shown_as_it_was_meant() -> None:
    (said,) = warnings(bbox=SWAPPED)
    assert said == (
        "processRequest.input.bounds.bbox: [14.4, 14.6, 46.0, 46.1] spans 31.6 x 31.5 degrees as the service reads it, "
        "west, south, east, north; as west, east, south, north it would be 0.2 x 0.1. If that was meant, write "
        "[14.4, 46.0, 14.6, 46.1]."
    )
    assert warnings(bbox=[14.4, 46.0, 14.6, 46.1]) == []


@pytest.mark.parametrize(
    "box",
    [
        [8.44, 41.31, 9.66, 43.1],
        [-25, 34, 45, 72],
        [-180, -60, 180, 80],
        [5.8, 45.8, 10.5, 47.8],
        [45.0, 45.1, 45.2, 45.3],
        [0, 0, 10, 10],
        [-74, 40, -73, 41],
    ],
)
def test_places_on_earth_are_not_suspected(box: list[float]) -> None:
    assert warnings(bbox=box) == []


@given(st.tuples(st.floats(-170, 170), st.floats(-85, 85)), st.floats(0.01, 20), st.floats(0.01, 20))
def test_any_box_written_west_east_south_north_is_found(corner: tuple[float, float], across: float, up: float) -> None:
    west, south = corner
    meant = [west, south, west + across, south + up]
    written = [meant[0], meant[2], meant[1], meant[3]]
    size = (written[2] - written[0]) * (written[3] - written[1])
    # Beyond a hundred times the size, and not where it turns out inside out, which is an error.
    assume(min(written[2] - written[0], written[3] - written[1]) >= 1 and size >= 101 * across * up)
    (found,) = check_order("bbox", written, 4326)
    assert str(meant) in str(found)
    assert reordered(written) == meant


@pytest.mark.parametrize(
    ("box", "likely"),
    [
        ([9.6, 41.3, 8.5, 43.1], "[8.5, 41.3, 9.6, 43.1]"),
        ([46.0, 46.1, 14.4, 14.6], "[46.0, 14.4, 46.1, 14.6]"),
        ([500_000, 400_000, 510_000, 300_000], "[500000, 300000, 510000, 400000]"),
        # Across the 180th meridian.
        ([170, -20, -170, -10], None),
        ([1, 1, 1, 1], None),
    ],
)
def test_a_box_inside_out_is_shown_the_right_way(box: list[float], likely: str | None) -> None:
    tail = f", probably {likely}." if likely else "."
    assert inside_out(box) == f"Write [west, south, east, north]{tail}"


def test_latitudes_without_images() -> None:
    (said,) = warnings(bbox=[10, -70, 11, -69])
    assert (
        "is outside of the latitudes that Sentinel-2 covers, -56 to 84 degrees. Longitude comes first. If latitude came"
        in said
    )
    assert "write [-70.0, 10.0, -69.0, 11.0]" in said
    assert warnings(bbox=[10, -57, 11, -55]) == []


def test_a_place_beyond_a_grid_may_have_its_axes_exchanged() -> None:
    document = build_document(
        input={"type": "tiling-grid", "id": 7, "resolution": 10},
        processRequest__input__bounds={"bbox": [46, 14, 47, 15]},
    )
    (error,) = [
        each for each in examine(request_type(document), document).findings.errors if "has no tiles" in str(each)
    ]
    assert "Longitude comes first. If latitude came first here, write [14.0, 46.0, 15.0, 47.0]." in str(error)


def test_metres_are_suspected_as_well() -> None:
    crs = {"crs": f"{EPSG}3035"}
    assert len(warnings(bbox=[4_000_000, 4_010_000, 5_000_000, 5_010_000], properties=crs)) == 1
    assert warnings(bbox=[4_000_000, 3_000_000, 4_010_000, 3_010_000], properties=crs) == []
