from __future__ import annotations

import mgrs
import pytest
import shapely
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


def test_a_zone_answers_for_its_own_six_degrees_only() -> None:
    features = from_grid({"id": 0, "resolution": 60}, area_of({"bbox": [5.9, 45.0, 6.1, 45.1]}))
    assert {feature.crs for feature in features} == {32631, 32632}
    for feature in features:
        west, _, east, _ = project(feature.extent, feature.crs, 4326).bounds
        assert west < 6 if feature.crs == 32631 else east > 6


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
