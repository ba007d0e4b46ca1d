"""How many tiles an area meets: the same as the service lays out, as far as its positions are documented."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from airflow_provider_sentinelhub.client.requests import tiles
from airflow_provider_sentinelhub.client.requests.tiling_grids import TILING_GRIDS
from airflow_provider_sentinelhub.simulator.features.grids import GRIDS
from airflow_provider_sentinelhub.simulator.features.grids import tiles as laid_out

boxes = st.builds(
    lambda west, south, across, up: shapely.box(west, south, west + across, south + up),
    st.floats(-20, 35),
    st.floats(35, 66),
    st.floats(0.01, 2),
    st.floats(0.01, 2),
)
areas = boxes | boxes.map(lambda box: box.centroid.buffer((box.bounds[3] - box.bounds[1]) / 2, quad_segs=3))


@pytest.mark.parametrize("grid", [3, 6, 7])
@given(area=areas)
@settings(max_examples=20, deadline=None)
def test_grids_whose_positions_are_documented(grid: int, area: shapely.Polygon) -> None:
    assert tiles.count_tiles(TILING_GRIDS[grid], area) == sum(1 for _ in laid_out(GRIDS[grid], area))


@pytest.mark.parametrize("grid", [0, 1, 2])
@given(area=areas)
@settings(max_examples=15, deadline=None)
def test_utm_grids(grid: int, area: shapely.Polygon) -> None:
    count, there = tiles.count_tiles(TILING_GRIDS[grid], area), sum(1 for _ in laid_out(GRIDS[grid], area))
    west, south, east, north = area.bounds
    # Tiles reach across the edges of zones, and the service does not lay those out that others cover.
    reach = 1.1 * GRIDS[grid].size / 111_320 / math.cos(math.radians(north))
    edges = (east + reach) // 6 - (west - reach) // 6
    assert abs(count - there) <= edges * (3 + (north - south) * 111_320 / GRIDS[grid].size)


def test_a_small_area_within_a_zone_is_exact() -> None:
    corsica = shapely.box(8.44, 41.31, 9.66, 43.1)
    assert tiles.count_tiles(TILING_GRIDS[0], corsica) == sum(1 for _ in laid_out(GRIDS[0], corsica)) == 66


@pytest.mark.parametrize("epsg", [32632, 32732, 3035])
def test_projections_are_those_of_proj(epsg: int) -> None:
    south = epsg == 32732
    points = np.array([[6.1, 0.1], [8.5, 41.3], [11.9, 63.0], [9.0, 80.0]]) * [1, -1 if south else 1]
    ours = tiles._laea(points) if epsg == 3035 else tiles._utm(points, 32, 10_000_000.0 * south)
    true = Transformer.from_crs(4326, epsg, always_xy=True).transform(*points.T)
    assert np.abs(ours - np.column_stack(true)).max() < 0.001


def test_an_area_in_another_system_or_too_large_is_estimated_from_its_size() -> None:
    utm = shapely.box(500_000, 4_600_000, 560_000, 4_700_000)
    assert tiles.count_tiles(TILING_GRIDS[0], utm, 32632) == pytest.approx(18, abs=6)
    laea = shapely.box(4_200_000, 2_100_000, 4_300_000, 2_200_000)
    assert tiles.count_tiles(TILING_GRIDS[7], laea, 3035) == 36
    world = shapely.box(-180, -80, 180, 80)
    assert tiles.count_tiles(TILING_GRIDS[1], world) == pytest.approx(5.02e6, rel=0.02)


def test_areas_beyond_a_grid_have_no_tiles() -> None:
    assert tiles.count_tiles(TILING_GRIDS[6], shapely.box(100, -10, 101, -9)) == 0
    assert tiles.count_tiles(TILING_GRIDS[0], shapely.box(0, 85, 1, 86)) == 0
