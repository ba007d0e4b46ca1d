"""Files of tiles: grouped, judged by their headers, and outlined in few points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from airflow_provider_sentinelhub.artifacts.features.cover import MOST_POINTS, simplified
from airflow_provider_sentinelhub.artifacts.results.byoc_tiles import compiled, sensed_of, with_placeholder
from airflow_provider_sentinelhub.artifacts.storage.cogs import BrokenRule, CogHeader, check_same_grid, header_of
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, **changes: Any) -> str:
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": 300,
        "height": 200,
        "count": 1,
        "dtype": "uint16",
        "crs": "EPSG:32632",
        "transform": Affine(10, 0, 500_000, 0, -10, 4_600_000),
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        **changes,
    }
    with MemoryFile(ext=".tif") as memory:
        with memory.open(**profile):
            pass
        path.write_bytes(memory.read())
    return path.as_uri()


def test_a_header_says_what_the_file_is(tmp_path: Path) -> None:
    found = header_of(Storage(), write(tmp_path / "a.tif"))
    assert found == CogHeader(32632, (500_000, 4_598_000, 503_000, 4_600_000), (10, 10), 1, 16, "UINT")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"tiled": False, "blockxsize": None, "blockysize": 8}, "is not tiled internally"),
        ({"blockxsize": 128, "blockysize": 128}, "has internal tiles of 128 x 128 pixels"),
        ({"blockxsize": 256, "blockysize": 256}, "has no overviews"),
        ({"compress": "jpeg", "dtype": "uint8"}, "is compressed with"),
        ({"dtype": "float64"}, "has samples of 64 bits FLOAT"),
        ({"crs": "EPSG:2154"}, "is in EPSG:2154"),
        ({"crs": None}, "no system with an EPSG code"),
        ({"count": 11}, "has 11 bands pixel by pixel"),
    ],
)
def test_the_rule_that_a_file_breaks_is_named(tmp_path: Path, changes: dict[str, Any], rule: str) -> None:
    url = write(
        tmp_path / "a.tif", **{name: value for name, value in changes.items() if value is not None or name == "crs"}
    )
    with pytest.raises(BrokenRule, match=rule):
        header_of(Storage(), url)


@pytest.mark.parametrize("content", [b"", b"II", b"II*\0" + b"\xff" * 100, b"II*\0" + b"\xff" * 2_000_000])
def test_what_is_no_image_is_refused_within_bounds(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(BrokenRule):
        header_of(Storage(), (tmp_path / "a.tif").as_uri())
    with pytest.raises(BrokenRule, match="does not exist"):
        header_of(Storage(), (tmp_path / "b.tif").as_uri())


def test_files_of_a_tile_lie_within_a_pixel(tmp_path: Path) -> None:
    headers = [
        (name, header_of(Storage(), write(tmp_path / name, transform=Affine(10, 0, west, 0, -10, 4_600_000))))
        for name, west in (("a", 500_000), ("b", 500_010), ("c", 500_030))
    ]
    assert check_same_grid(headers[:2]) == ""
    assert "differs by more than one pixel" in check_same_grid(headers)


@pytest.mark.parametrize(
    ("keys", "path", "bands"),
    [
        ({"B4": "x/1/B4.tif", "B8": "x/1/B8.tif"}, "x/1/(BAND).tif", ("B4", "B8")),
        ({"a": "a/a/a.tif", "b": "a/a/b.tif"}, "a/a/(BAND).tif", ("a", "b")),
        ({"red": "red/31UDQ_10m.tif", "nir": "nir/31UDQ_10m.tif"}, "(BAND)/31UDQ_10m.tif", ("nir", "red")),
        ({"default": "x/31UDQ.tif"}, "x/(BAND).tif", ("31UDQ",)),
        # The output's name may occur elsewhere.
        ({"t": "b/tile/t.tif"}, "b/tile/(BAND).tif", ("t",)),
        ({"f": "f/f.tif"}, "f/(BAND).tif", ("f",)),
        ({"a": "x/a/data.tif"}, "x/(BAND)/data.tif", ("a",)),
        ({"a": "x/a/data.tif", "b": "x/b/data.tif"}, "x/(BAND)/data.tif", ("a", "b")),
        ({"tif": "x/tif.tif"}, "x/(BAND).tif", ("tif",)),
        ({"t": "x/tile.tif"}, "x/(BAND).tif", ("tile",)),
        ({"B4": "x/S2B4.tif", "B8": "x/S2B8.tif"}, "x/S2(BAND).tif", ("B4", "B8")),
    ],
)
def test_files_become_one_path(keys: dict[str, str], path: str, bands: tuple[str, ...]) -> None:
    assert with_placeholder(keys) == (path, bands)


def test_files_that_lie_apart_are_no_tile() -> None:
    with pytest.raises(InvalidParameter, match="do not only differ"):
        with_placeholder({"a": "x/a/1.tif", "b": "y/b/1.tif"})


@pytest.mark.parametrize(
    ("path", "pattern", "time"),
    [
        ("f/2026/06/01/(BAND).tif", r"/(?P<time>\d{4}/\d\d/\d\d)/", "2026-06-01T00:00:00.000Z"),
        ("f/20260601T103000_(BAND).tif", r"/(?P<time>\d{8}T\d{6})_", "2026-06-01T10:30:00.000Z"),
        ("f/2026-06-01T12:30:00+02:00/(BAND).tif", "f/(?P<time>[^/]+)/", "2026-06-01T10:30:00.000Z"),
    ],
)
def test_a_path_tells_the_time(path: str, pattern: str, time: str) -> None:
    assert sensed_of(path, compiled("sensing_time_pattern", pattern, "time")) == time


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(101, 1500), st.sampled_from([0.0, 0.002, 0.1]), st.booleans())
def test_a_cover_has_few_points_and_loses_nothing(seed: int, points: int, noise: float, apart: bool) -> None:
    random = np.random.default_rng(seed)
    angle = np.sort(random.uniform(0, 2 * np.pi, points))
    radius = 1000 * (1 + 0.3 * np.sin(5 * angle) + noise * random.normal(size=points))
    outline = shapely.make_valid(shapely.Polygon(np.c_[radius * np.cos(angle) + 5e5, radius * np.sin(angle) + 4e6]))
    if apart:
        outline = shapely.union_all([shapely.Point(*random.uniform(0, 1e4, 2)).buffer(200) for _ in range(20)])
    found = simplified(outline)
    assert found.covers(outline)
    assert outline.envelope.buffer(1e-6).covers(found)
    assert shapely.get_num_coordinates(found) <= MOST_POINTS
    assert found.is_valid
