from __future__ import annotations

import mgrs
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from shapely.geometry import box

from airflow_provider_sentinelhub.simulator.features.features import area_of, from_grid
from airflow_provider_sentinelhub.simulator.features.grids import GRIDS, project, square_name, tiles

CORSICA = [8.44, 41.31, 9.66, 43.1]


def test_corsica_is_covered_without_gaps_by_66_tiles_of_the_20_km_grid() -> None:
    area = area_of({"bbox": CORSICA})
    features = from_grid({"id": 0, "resolution": 60}, area)
    assert len(features) == 66
    assert {feature.crs for feature in features} == {32632}
    assert {(feature.width, feature.height) for feature in features} == {(334, 334)}
    assert {feature.name[:5] for feature in features} == {"32TML", "32TMM", "32TMN", "32TNL", "32TNM", "32TNN"}
    covered = shapely.union_all([feature.extent for feature in features])
    outline = project(shapely.segmentize(area, 0.01), 4326, 32632)
    assert covered.contains(outline)


@pytest.mark.parametrize(
    ("square", "inside", "corner"),
    [
        # Upper-left corners of Sentinel-2 products, the last one of a tile that the service delivered.
        ("31UDS", (2.2, 50.9), (399_960, 5_700_000)),
        ("32TPS", (10.9, 46.5), (600_000, 5_200_020)),
        ("36MZT", (35.9, -6.5), (799_980, 9_300_040)),
    ],
)
def test_squares_lie_where_sentinel_2_has_them(
    square: str, inside: tuple[float, float], corner: tuple[int, int]
) -> None:
    x, y = inside
    found = {tile.name: tile for tile in tiles(GRIDS[2], box(x, y, x + 0.01, y + 0.01))}
    tile = found[f"{square}_0_0"]
    assert (tile.west, tile.north, tile.size) == (*corner, 100_080)


def test_names_of_squares_agree_with_the_mgrs_package() -> None:
    library = mgrs.MGRS()
    compared = 0
    for zone in (1, 2, 3, 31, 32, 33, 59, 60):
        for crs, letter in ((32600 + zone, "N"), (32700 + zone, "S")):
            to_degrees = Transformer.from_crs(crs, 4326, always_xy=True)
            for column in range(1, 9):
                for row in range(1, 94, 4):
                    if letter == "S" and row < 12:
                        continue
                    x, y = (column + 0.5) * 100_000, (row + 0.5) * 100_000
                    lon, lat = to_degrees.transform(x, y)
                    if not (-180 + 6 * (zone - 1) < lon < -174 + 6 * (zone - 1)) or not -80 < lat < 84:
                        continue
                    expected = library.UTMToMGRS(zone, letter, x, y, MGRSPrecision=0)
                    if int(expected[:2]) != zone:
                        continue  # Norway and Svalbard, whose zones are wider or narrower
                    assert square_name(zone, column, row, lat) == expected
                    compared += 1
    assert compared > 500


def test_a_tile_of_sentinel_2_reaches_across_the_edge_of_its_zone() -> None:
    # The area of a real task, in zone 37, for which the service delivered this tile of zone 36.
    features = from_grid({"id": 2, "resolution": 360}, area_of({"bbox": [36.165, -6.774, 36.166, -6.773]}))
    assert [(feature.name, feature.crs, feature.west, feature.north) for feature in features] == [
        ("36MZT_0_0", 32736, 799_980, 9_300_040)
    ]


@pytest.mark.parametrize(
    ("x", "y", "names"),
    [
        (11.99, 41.85, {"32TQM", "33TTG"}),
        (6.3, 50.6, {"31UGS", "32ULB"}),
        # Sentinel-2 has no 33TTL.
        (12.2, 45.5, {"32TQR"}),
    ],
)
def test_tiles_of_sentinel_2_at_the_edge_of_a_zone(x: float, y: float, names: set[str]) -> None:
    found = from_grid({"id": 2, "resolution": 360}, area_of({"bbox": [x, y, x + 0.05, y + 0.05]}))
    assert {feature.name[:5] for feature in found} == names


@pytest.mark.parametrize("grid", [0, 1, 2])
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_the_tiles_of_all_zones_leave_no_gaps(grid: int, data: st.DataObject) -> None:
    edge = data.draw(st.integers(-29, 29)) * 6
    x, y = edge + data.draw(st.integers(-100, 100)) / 100, data.draw(st.integers(-8059, 8054)) / 100
    area = box(x, y, x + 0.1, y + 0.05)
    found = list(tiles(GRIDS[grid], area))
    for point in shapely.get_coordinates(shapely.segmentize(area, 0.02)):
        assert any(tile.outline.covers(project(shapely.Point(point), 4326, tile.crs)) for tile in found)
    for tile in found:
        left = 6 * (tile.crs % 100) - 186
        zone = box(left, -90, left + 6, 90)
        assert zone.intersects(project(shapely.segmentize(tile.outline, 1000), tile.crs, 4326))


@pytest.mark.parametrize(
    ("grid", "resolution", "bounds", "count"),
    [
        (6, 100, [-60, -10, -59.9, -9.9], 0),
        (7, 20, [60, 50, 60.01, 50.01], 0),
        (0, 60, [10, 80.75, 10.01, 80.8], 0),
        (0, 60, [10, 80.65, 10.01, 80.69], 1),
        (1, 20, [10, 80.65, 10.01, 80.69], 0),
        (2, 360, [9.1, 80.75, 9.11, 80.8], 1),
        (2, 360, [10, 81.1, 10.01, 81.2], 0),
        (0, 60, [10.2, -80.42, 10.21, -80.4], 1),
        (0, 60, [10, -80.8, 10.01, -80.75], 0),
    ],
)
def test_a_grid_ends_where_the_documentation_says(
    grid: int, resolution: float, bounds: list[float], count: int
) -> None:
    assert len(from_grid({"id": grid, "resolution": resolution}, area_of({"bbox": bounds}))) == count


def test_the_equator_divides_north_from_south() -> None:
    features = from_grid({"id": 2, "resolution": 360}, area_of({"bbox": [9.0, -0.1, 9.1, 0.1]}))
    assert {feature.crs for feature in features} == {32632, 32732}


@pytest.mark.parametrize(
    ("grid", "resolution", "bounds", "names"),
    [
        (1, 20, [9.15, 42.03, 9.16, 42.04], {"32TNM_1_4"}),
        (3, 0.0002, [4.5, 4.5, 5.5, 4.6], {"N04E004", "N04E005"}),
        (3, 0.0002, [-0.5, -0.5, 0.5, 0.5], {"S01W001", "S01E000", "N00W001", "N00E000"}),
        (6, 100, [9.15, 42.1, 9.16, 42.11], {"E42N21"}),
        (7, 20, [9.15, 42.1, 9.16, 42.11], {"E424N210"}),
    ],
)
def test_names_of_the_other_grids(grid: int, resolution: float, bounds: list[float], names: set[str]) -> None:
    features = from_grid({"id": grid, "resolution": resolution}, area_of({"bbox": bounds}))
    assert {feature.name for feature in features} == names
    expected = round(GRIDS[grid].size / resolution)
    assert {(feature.width, feature.height) for feature in features} == {(expected, expected)}


def test_a_tile_that_only_touches_the_area_is_not_part_of_it() -> None:
    features = from_grid({"id": 3, "resolution": 0.0002}, area_of({"bbox": [4, 4, 5, 5]}))
    assert [feature.name for feature in features] == ["N04E004"]


def test_an_area_may_be_given_in_any_crs_or_as_a_geometry() -> None:
    utm = area_of(
        {
            "bbox": [500_000, 4_600_000, 501_000, 4_601_000],
            "properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/32632"},
        }
    )
    assert utm is not None
    assert 9.0 <= utm.centroid.x <= 9.02
    polygon = {"type": "Polygon", "coordinates": [[[4.1, 4.1], [4.9, 4.1], [4.1, 4.9], [4.1, 4.1]]]}
    area = area_of({"geometry": polygon})
    assert area is not None
    assert [feature.name for feature in from_grid({"id": 3, "resolution": 0.0002}, area)] == ["N04E004"]
    assert area_of({}) is None
    with pytest.raises(ValueError, match="unknown CRS"):
        area_of({"bbox": [0, 0, 1, 1], "properties": {"crs": "EPSG:0"}})
