"""Which scenes there are, and what they show, recomputed by hand from the documentation."""

from __future__ import annotations

import datetime as dt
import math
import re
import zlib

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.simulator.features.features import Feature
from airflow_provider_sentinelhub.simulator.imagery.sources import Block, source_of
from airflow_provider_sentinelhub.simulator.scenes import scenes
from airflow_provider_sentinelhub.simulator.scenes.collections import COLLECTIONS
from airflow_provider_sentinelhub.simulator.scenes.scenes import TooManyScenes, scenes_of

CORSICA = (8.8, 41.9, 9.4, 42.3)
EVERYWHERE = (-180.0, -90.0, 180.0, 90.0)
TURN = 2 * math.pi


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


JULY = at("2024-07-01"), at("2024-07-31T23:59:59")


def test_scenes_are_in_order_and_the_same_whatever_is_asked() -> None:
    found = scenes_of("sentinel-2-l2a", CORSICA, *JULY)
    assert [each.sensed for each in found] == sorted(each.sensed for each in found)
    assert len({each.id for each in found}) == len(found) > 10
    middle = at("2024-07-15")
    parts = scenes_of("sentinel-2-l2a", CORSICA, JULY[0], middle) + scenes_of(
        "sentinel-2-l2a", CORSICA, middle, JULY[1]
    )
    assert parts == found
    one = found[3]
    place = one.footprint.representative_point()
    again = scenes_of("sentinel-2-l2a", (place.x, place.y, place.x, place.y), one.sensed, one.sensed)
    assert one in again


def test_identifiers_are_those_of_products() -> None:
    product = r"S2[ABC]_MSIL2A_\d{8}T\d{6}_N0510_R\d{3}_T(\d\d[A-Z]{3})_\d{8}T\d{6}"
    for each in scenes_of("sentinel-2-l2a", CORSICA, at("2024-01-01"), at("2024-02-01")):
        found = re.fullmatch(product, each.id)
        assert found is not None
        assert found[1] == each.tile
        assert each.baseline == "05.10"
        assert 1 <= each.relative_orbit <= 143
        assert each.cloud_cover is not None
        assert 0 <= each.cloud_cover <= 100
        assert f"_R{each.relative_orbit:03d}_" in each.id
    radar = scenes_of("sentinel-1-grd", CORSICA, *JULY)
    assert radar
    assert all(
        re.fullmatch(r"S1A_IW_GRDH_1SDV_\d{8}T\d{6}_\d{8}T\d{6}_\d{6}_[0-9A-F]{6}_[0-9A-F]{4}", e.id) for e in radar
    )
    assert {each.cloud_cover for each in radar} == {None}


@settings(max_examples=15, deadline=None)
@given(st.floats(-179, 179).filter(lambda lon: abs(lon % 3 - 1.5) < 1.49), st.floats(-60, 75), st.integers(0, 1500))
def test_sentinel_2_sees_a_place_every_fifth_day(lon: float, lat: float, days: int) -> None:
    start = at("2018-01-01") + dt.timedelta(days=days)
    found = scenes_of("sentinel-2-l1c", (lon, lat, lon, lat), start, start + dt.timedelta(days=20, seconds=-1))
    # Where tiles overlap, a place is in several.
    of_place = [each for each in found if each.footprint.covers(shapely.Point(lon, lat))]
    seen = {each.sensed.date() for each in of_place}
    assert len(seen) == 4
    assert {(day.toordinal() + 2 * math.floor(lon / 3)) % 5 for day in seen} == {0}
    assert len({each.platform for each in of_place}) == 2
    assert len({each.relative_orbit for each in of_place}) == 1


def test_platforms_come_and_go() -> None:
    def names(year: int) -> set[str]:
        return {e.platform for e in scenes_of("sentinel-2-l2a", CORSICA, at(f"{year}-03-01"), at(f"{year}-05-01"))}

    assert names(2014) == set()
    assert names(2016) == {"sentinel-2a"}
    assert names(2020) == {"sentinel-2a", "sentinel-2b"}
    assert names(2025) == {"sentinel-2b", "sentinel-2c"}


def test_the_edge_of_an_orbit_cuts_a_tile() -> None:
    # The meridian of 9 degrees is between two strips.
    found = [e for e in scenes_of("sentinel-2-l2a", CORSICA, *JULY) if e.tile == "32TMM"]
    west, east = ({e.footprint for e in found if side * (e.footprint.centroid.x - 9) > 0} for side in (-1, 1))
    assert len(west) == len(east) == 1
    [left], [right] = west, east
    assert left.bounds[2] == right.bounds[0] == 9
    assert left.area > 5 * right.area


@pytest.mark.parametrize("kind", COLLECTIONS)
def test_every_collection_has_its_bands(kind: str) -> None:
    source = source_of({"type": kind})
    assert source is not None
    block = Block(Feature("a", 32632, 5, 4, 500_000, 4_650_000, 100, 100), 0, 4)
    lon, lat = block.places
    bounds = (lon.min(), lat.min(), lon.max(), lat.max())
    scene = source.scenes(bounds, *JULY)[0]
    found = source.read(scene, list(source.bands), block)
    assert found.keys() == source.bands.keys()
    for name, values in found.items():
        assert values.shape == (4, 5)
        assert values.dtype.name == source.bands[name].dtype
        assert np.isfinite(values).all()
    assert not COLLECTIONS[kind].has_clouds or 0 <= (scene.cloud_cover or 0) <= 100


def test_the_number_of_scenes_is_bounded() -> None:
    with pytest.raises(TooManyScenes):
        scenes_of("sentinel-3-olci", EVERYWHERE, at("2018-01-01"), at("2024-01-01"))
    assert scenes_of("sentinel-2-l2a", CORSICA, *reversed(JULY)) == []
    assert scenes_of("dem", CORSICA, *JULY) == scenes_of("hls", CORSICA, *JULY) == []


def by_hand(lon: float, lat: float, day: dt.date) -> dict[str, float]:
    """A pixel of Sentinel-2 L2A, step by step as docs/simulator.md says."""
    i, j = round(1e7 * lon) // 30000, round(1e7 * lat) // 20000
    h = (374761393 * i + 668265263 * j) % 2**32
    h = 1274126177 * (h ^ (h >> 13)) % 2**32
    h ^= h >> 16
    u, v = h / 2**32, 2654435761 * h % 2**32 / 2**32
    if u < 0.05:
        base, swing, shape = 0.05, 0.10, 1.0
    elif u < 0.60:
        base, swing, shape = 0.08, 0.85, 1 + 2 * v
    elif u < 0.80:
        base, swing, shape = 0.35, 0.40, 1.0
    else:
        base, swing, shape = 0.55, 0.35, 1.0
    level = math.sin(TURN * (1.3 * lon + 0.4 * lat)) * math.cos(TURN * (1.1 * lat - 0.3 * lon))
    level += 0.3 * math.sin(11 * TURN * lon) * math.cos(13 * TURN * lat)
    water = level > 0.8
    season = 0.5 - 0.5 * math.cos(TURN * (day.timetuple().tm_yday - 15) / 365)
    season = season if lat >= 0 else 1 - season
    green = base + swing * season**shape
    texture = 1 + 0.03 * math.sin(900 * TURN * lon) * math.cos(900 * TURN * lat)
    p1, p2, p3, p4, p5, p6 = (zlib.crc32(f"{day.isoformat()}/{n}".encode()) / 2**32 for n in range(1, 7))
    density = math.sin(TURN * (lon / 7.3 + p1)) * math.cos(TURN * (lat / 5.1 + p2))
    density += 0.5 * math.sin(TURN * (9 * lon + 3 * lat + p3)) * math.cos(TURN * (7 * lat - 4 * lon + p4))
    density += 0.25 * math.sin(TURN * (55 * lon + p5)) * math.cos(TURN * (61 * lat + p6))
    p = min(1, max(0, 0.4 + 0.8 * (density - 0.35)))
    c = min(1, max(0, 2 * (p - 0.3)))

    def dn(soil: float, town: float, vegetation: float, water_: float, cloud: float) -> float:
        bare = town if u < 0.05 else soil * (0.8 + 0.4 * v)
        ground = texture * (water_ if water else (1 - green) * bare + green * vegetation)
        return round(10000 * ((1 - c) * ground + c * cloud))

    scl = 9 if p >= 0.8 else 8 if p >= 0.4 else 7 if p >= 0.3 else 6 if water else 4 if green >= 0.3 else 5
    return {
        "B04": dn(0.17, 0.19, 0.03, 0.02, 0.67),
        "B08": dn(0.25, 0.23, 0.44, 0.01, 0.67),
        "SCL": scl,
        "CLM": float(p >= 0.4),
        "CLP": round(255 * p),
    }


@pytest.mark.parametrize(
    ("crs", "west", "north"), [(32632, 460_000, 4_650_000), (32733, 500_000, 6_200_000), (4326, 12, 50.8)]
)
def test_anybody_can_recompute_a_pixel(crs: int, west: float, north: float) -> None:
    step = 0.01 if crs == 4326 else 900
    block = Block(Feature("a", crs, 40, 30, west, north, step, step), 0, 30)
    source = source_of({"type": "S2L2A"})
    assert source is not None
    lon, lat = block.places
    bounds = (lon.min(), lat.min(), lon.max(), lat.max())
    compared: set[float] = set()
    for scene in source.scenes(bounds, at("2024-05-01"), at("2024-05-31"))[:6]:
        found = source.read(scene, ["B04", "B08", "SCL", "CLM", "CLP"], block)
        for row, column in zip(*np.nonzero(found["dataMask"][::7, ::9]), strict=True):
            place = float(lon[row * 7, column * 9]), float(lat[row * 7, column * 9])
            assert scene.footprint.contains(shapely.Point(place))
            expected = by_hand(*place, scene.sensed.date())
            assert {name: found[name][row * 7, column * 9] for name in expected} == expected
            compared.add(expected["SCL"])
        assert not found["B08"][found["dataMask"] == 0].any()
    assert compared


def test_the_cloud_cover_of_a_scene_is_that_of_its_pixels() -> None:
    source = source_of({"type": "sentinel-2-l2a"})
    assert source is not None
    # The tile 32TNM, whose upper left corner is at 499980, 4700040.
    block = Block(Feature("a", 32632, 120, 120, 499_980, 4_700_040, 915, 915), 0, 120)
    found = [each for each in scenes_of("sentinel-2-l2a", CORSICA, *JULY) if each.tile == "32TNM"]
    covers = []
    for scene in found:
        read = source.read(scene, ["CLM"], block)
        share = 100 * read["CLM"][read["dataMask"] == 1].mean()
        assert scene.cloud_cover == pytest.approx(share, abs=4)
        covers.append(share)
    assert max(covers) - min(covers) > 10


def test_neighbouring_strips_meet() -> None:
    left = scenes.scenes_of("sentinel-2-l2a", (8.9, 45, 8.9, 45), *JULY)[0]
    right = scenes.scenes_of("sentinel-2-l2a", (9.1, 45, 9.1, 45), *JULY)[0]
    assert left.relative_orbit + 1 <= right.relative_orbit <= left.relative_orbit + 2
