"""What the simulator writes as Zarr, read with the library that users read it with."""

from __future__ import annotations

import copy
import itertools
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from obstore.store import LocalStore
from pyproj import Transformer

from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket, BucketFailed
from airflow_provider_sentinelhub.simulator.evalscript import Output
from airflow_provider_sentinelhub.simulator.features.features import Feature
from airflow_provider_sentinelhub.simulator.imagery import rasters
from airflow_provider_sentinelhub.simulator.imagery.rendering import Renderer
from airflow_provider_sentinelhub.simulator.imagery.zarr import ZarrGroup
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import EVALSCRIPT, upload

if TYPE_CHECKING:
    from pathlib import Path

    from hypothesis.strategies import DrawFn

Json = dict[str, Any]
Request = Callable[..., Json]
Run = Callable[[Json], Json]

TWO_OUTPUTS = """//VERSION=3
function setup() {
  return {
    input: ["B04"],
    output: [{ id: "ndvi", bands: 1, sampleType: "FLOAT32" }, { id: "count", bands: 1, sampleType: "UINT8" }],
  };
}
function evaluatePixel(sample) { return { ndvi: [sample.B04], count: [1] }; }
"""
GRID = {"type": "tiling-grid", "id": 6, "resolution": 100.0}
ARRAY: Json = {"dtype": "<u2", "order": "C", "chunks": [1, 500, 500], "fill_value": 0}
DEFAULT_COMPRESSOR = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}


def quick(tile: Feature, output: Output) -> Renderer:
    """Pixels for which no evalscript is run."""
    outputs = f'{{ id: "{output.id}", bands: 1, sampleType: "{output.sample_type}" }}'
    script = f'function setup() {{ return {{ input: ["B04"], output: {outputs} }}; }} function evaluatePixel() {{}}'
    return Renderer({"input": {"data": []}, "evalscript": script}, tile, "quick")


def in_three_tiles() -> Json:
    """A triangle in three of the four LAEA tiles that meet 4200 km east and 2100 km north."""
    to_degrees = Transformer.from_crs(3035, 4326, always_xy=True).transform
    corners = [(4_165_000, 2_065_000), (4_225_000, 2_065_000), (4_165_000, 2_125_000)]
    return {"type": "Polygon", "coordinates": [[to_degrees(*each) for each in (*corners, corners[0])]]}


def as_zarr(request: Json, *names: str, **changes: Any) -> Json:
    """Ask for a Zarr; ``changes`` are those of its output."""
    request["processRequest"]["output"]["responses"] = [
        {"identifier": name, "format": {"type": "zarr/array"}} for name in names or ("default",)
    ]
    request["processRequest"]["evalscript"] = TWO_OUTPUTS if names else EVALSCRIPT.replace("bands: 2", "bands: 1")
    request["output"] |= {"type": "zarr", "group": {"zarr_format": 2}, "arrayParameters": dict(ARRAY), **changes}
    return request


@pytest.fixture
def laea(request_for: Request) -> Json:
    """A request for one tile."""
    one = {"bbox": [9.25, 42.2, 9.26, 42.21]}
    return request_for(input=dict(GRID), processRequest__input__bounds=one)


def folder_of(sim: Simulator, task: Json) -> Path:
    url = task["request"]["output"]["delivery"]["s3"]["url"].replace("<requestId>", task["id"])
    return sim.bucket_folder / str(url).split("/", 3)[3]


def opened(folder: Path) -> zarr.Group:
    # Sees only what .zmetadata lists.
    return zarr.open_group(folder, mode="r", zarr_format=2, use_consolidated=True)


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    found = group[name]
    assert isinstance(found, zarr.Array)
    return found


def values(group: zarr.Group, name: str) -> Any:
    return np.asarray(array_of(group, name)[...])


def chunks(folder: Path, name: str) -> set[str]:
    return {file.name for file in (folder / name).iterdir() if not file.name.startswith(".")}


def test_the_array_holds_the_pixels_of_the_geotiffs(sim: Simulator, laea: Json, run: Run) -> None:
    laea["processRequest"]["input"]["bounds"] = {"geometry": in_three_tiles()}
    tiles = run(copy.deepcopy(laea))
    laea["output"]["delivery"]["s3"]["url"] += "/zarr"
    task = run(as_zarr(laea))
    assert (task["status"], task.get("error")) == ("DONE", None)
    folder = folder_of(sim, task)
    group = opened(folder)
    assert set(group.array_keys()) == {"default", "time", "y", "x"}
    data = array_of(group, "default")
    assert (data.shape, data.chunks, data.fill_value) == ((1, 2000, 2000), (1, 500, 500), 0)
    assert data.dtype == np.dtype("<u2")
    x, y = (values(group, name).tolist() for name in ("x", "y"))
    found = sorted((folder_of(sim, tiles) / tiles["id"]).rglob("*.tif"))
    assert [each.parent.name for each in found] == ["E41N20", "E41N21", "E42N20"]
    for path in found:
        with rasterio.open(path) as dataset:
            left, top = dataset.xy(0, 0)
            column, row = x.index(left), y.index(top)
            assert_array_equal(data[0, row : row + 1000, column : column + 1000], dataset.read(1))
    # The fourth tile is within the envelope of the others but outside of the area.
    assert_array_equal(data[0, :1000, 1000:], 0)
    outside = {f"0.{row}.{column}" for row in (0, 1) for column in (2, 3)}
    everywhere = {f"0.{row}.{column}" for row, column in itertools.product(range(4), repeat=2)}
    assert chunks(folder, "default") == everywhere - outside


def test_manifest_and_execution_database_list_the_tiles(sim: Simulator, laea: Json, run: Run) -> None:
    task = run(as_zarr(laea))
    folder = folder_of(sim, task)
    root = folder / task["id"]
    with closing(sqlite3.connect(root / f"featureManifest-{task['id']}.gpkg")) as database:
        rows = database.execute("SELECT outputId, identifier, path, width FROM feature_3035").fetchall()
    url = task["request"]["output"]["delivery"]["s3"]["url"]
    assert rows == [("default", "E42N21", url, 1000)]
    with closing(sqlite3.connect(root / f"execution-{task['id']}.sqlite")) as database:
        rows = database.execute("SELECT name, status, error, delivered FROM features").fetchall()
    assert rows == [("E42N21", "DONE", None, 1)]
    assert {file.name for file in folder.iterdir()} == {
        *(".zgroup", ".zattrs", ".zmetadata"),
        *("default", "time", "y", "x", task["id"]),
    }


def test_metadata_have_defaults_that_a_request_overrides(sim: Simulator, laea: Json, run: Run) -> None:
    request = as_zarr(
        laea,
        "ndvi",
        "count",
        group={"zarr_format": 2, "customAttributes": {"copyright": "us", "date_modified": "never"}},
        arrayParameters={"dtype": ">f8", "order": "C", "chunks": [1, 1000, 500], "fill_value": "NaN"},
        arrayOverrides={
            "count": {
                "dtype": "|u1",
                "chunks": [1, 500, 1000],
                "fill_value": 255,
                "compressor": {"id": "zlib", "level": 3},
                "customAttributes": {"units": "1", "_ARRAY_DIMENSIONS": ["t", "y", "x"]},
            }
        },
    )
    request["output"]["delivery"]["s3"]["url"] += "/<requestId>"
    folder = folder_of(sim, task := run(request))
    assert (task["status"], task.get("error"), folder.name) == ("DONE", None, task["id"])
    metadata = json.loads((folder / ".zmetadata").read_text())
    assert metadata["zarr_consolidated_format"] == 1
    assert metadata["metadata"] == {
        str(path.relative_to(folder)): json.loads(path.read_text())
        for path in folder.rglob(".z*")
        if path.name != ".zmetadata"
    }
    group = opened(folder)
    assert group.attrs["geospatial_bounds_crs"] == "EPSG:3035"
    assert group.attrs["geospatial_bounds"] == (
        "POLYGON ((4300000 2100000, 4300000 2200000, 4200000 2200000, 4200000 2100000, 4300000 2100000))"
    )
    assert (group.attrs["copyright"], group.attrs["date_modified"]) == ("us", "never")
    ndvi, count = array_of(group, "ndvi"), array_of(group, "count")
    assert dict(ndvi.attrs) == {"_ARRAY_DIMENSIONS": ["time", "y", "x"]}
    assert dict(count.attrs) == {"_ARRAY_DIMENSIONS": ["t", "y", "x"], "units": "1"}
    assert (ndvi.chunks, count.chunks) == ((1, 1000, 500), (1, 500, 1000))
    assert (ndvi.dtype, count.dtype) == (np.dtype(">f8"), np.dtype("|u1"))
    assert np.isnan(ndvi.fill_value)
    assert count.fill_value == 255
    assert metadata["metadata"]["ndvi/.zarray"]["compressor"] == DEFAULT_COMPRESSOR
    assert metadata["metadata"]["count/.zarray"]["compressor"] == {"id": "zlib", "level": 3}
    tile = Feature("E42N21", 3035, 1000, 1000, 4_200_000, 2_200_000, 100, 100)
    assert_array_equal(values(group, "ndvi")[0], rasters.pixels(tile, 1, "float32"))
    assert_array_equal(values(group, "count")[0], rasters.pixels(tile, 1, "uint8"))
    assert values(group, "time").tolist() == [datetime(2024, 7, 1, tzinfo=UTC).timestamp()]
    assert array_of(group, "time").attrs["units"] == "seconds since 1970-01-01T00:00:00Z"


def test_a_folder_that_is_not_empty_fails_the_analysis(sim: Simulator, laea: Json, run: Run) -> None:
    first = run(as_zarr(laea))
    assert first["status"] == "DONE"
    again = run(laea)
    assert again["status"] == "FAILED"
    assert "The folder of the Zarr must be empty" in again["error"]
    laea["output"]["delivery"]["s3"]["url"] += "/other"
    upload(sim.ready, str(folder_of(sim, {"request": laea, "id": ""}).relative_to(sim.bucket_folder)) + "/a.txt", b"a")
    assert "/other/a.txt already exists" in run(laea)["error"]


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("arrayParameters", {"compressor": {"id": "snappy"}}, "the compressor cannot be used: id must be one of blosc"),
        ("arrayParameters", {"compressor": {"id": "blosc", "cname": "x"}}, "the compressor cannot be used: "),
        ("arrayParameters", {"compressor": {"id": "zlib", "levels": 1}}, "the compressor cannot be used: "),
        ("arrayParameters", {"chunks": [1, 1, 50]}, "does not write Zarr with more than 10000 chunks in a tile"),
        ("arrayParameters", {"dtype": "|i1"}, "dtype |i1 does not fit sampleType UINT16"),
        # There are two tiles in the area, so they overlap.
        ("input", {"bufferX": 10}, "does not write Zarr of tiles with a buffer"),
    ],
)
def test_what_is_not_written_fails_the_analysis(laea: Json, run: Run, part: str, change: Json, told: str) -> None:
    laea["processRequest"]["input"]["bounds"] = {"geometry": in_three_tiles()}
    request = as_zarr(laea)
    {**request["output"], "input": request["input"]}[part].update(change)
    task = run(request)
    assert task["status"] == "FAILED"
    assert told in task["error"]


@st.composite
def groups(draw: DrawFn) -> tuple[Json, Output, list[Feature], Json]:
    """Some tiles of a grid of 6 x 4 pixels, and how they are written."""
    crs, step = draw(st.sampled_from([(3035, 400.0), (4326, 0.004)]))
    places = draw(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=5, unique=True))
    tiles = [Feature(f"{i}/{j}", crs, 6, 4, i * 6 * step, j * 4 * step, step, step) for i, j in places]
    sample_type, dtypes = draw(st.sampled_from([("UINT8", "|u1 <u2 >i2 <f4"), ("FLOAT32", "<f4 >f4 <f8 >f8")]))
    output = Output("ndvi", ("B0",), sample_type, None)
    pixel = rasters.pixels(tiles[0], 1, output.dtype)[draw(st.integers(0, 3)), draw(st.integers(0, 5))].item()
    array = {
        "dtype": draw(st.sampled_from(dtypes.split())),
        "chunks": [1, draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 2, 3, 6]))],
        "fill_value": draw(st.sampled_from([0, pixel])),
        "order": "C",
        "compressor": draw(st.sampled_from([DEFAULT_COMPRESSOR, {"id": "zstd", "level": 1}])),
    }
    return array, output, tiles, {"origin": draw(st.sampled_from(["topLeft", "bottomLeft"]))}


@settings(max_examples=30, deadline=None)
@given(groups())
def test_every_group_reads_back_as_its_pixels(
    tmp_path_factory: pytest.TempPathFactory, group: tuple[Json, Output, list[Feature], Json]
) -> None:
    array, output, tiles, coordinates = group
    folder = tmp_path_factory.mktemp("zarr")
    bucket = Bucket(LocalStore(folder))  # type: ignore[arg-type] # a folder in place of the bucket
    written = ZarrGroup({"group": {"zarr_format": 2, "coordinates": coordinates}, "arrayParameters": array}, "a/b")
    written.check(output)
    for key, content in written.metadata(tiles, [output], datetime(2024, 1, 1, tzinfo=UTC)).items():
        bucket.put(key, content)
    for tile in tiles:
        written.write(tile, quick(tile, output), [output.id], bucket)
    found = opened(folder / "a/b")
    names = ("lat", "lon") if tiles[0].crs == 4326 else ("y", "x")
    data, y, x = (values(found, name) for name in ("ndvi", *names))
    assert data.dtype == array["dtype"]
    assert (np.diff(x) > 0).all()
    assert ((np.diff(y) > 0) if coordinates["origin"] == "bottomLeft" else (np.diff(y) < 0)).all()
    expected = np.full((1, len(y), len(x)), array["fill_value"], array["dtype"])
    for tile in tiles:
        pixels = rasters.pixels(tile, 1, output.dtype)
        for row, column in itertools.product(range(4), range(6)):
            at_y = np.abs(y - (tile.north - (row + 0.5) * tile.step_y)).argmin()
            at_x = np.abs(x - (tile.west + (column + 0.5) * tile.step_x)).argmin()
            expected[0, at_y, at_x] = pixels[row, column]
    assert_array_equal(data, expected)
    _, high, wide = array["chunks"]
    fill = np.array(array["fill_value"]).astype(array["dtype"])
    assert chunks(folder / "a/b", "ndvi") == {
        f"0.{row}.{column}"
        for row, column in itertools.product(range(len(y) // high), range(len(x) // wide))
        if (expected[0, row * high : (row + 1) * high, column * wide : (column + 1) * wide] != fill).any()
    }


def test_a_tile_cannot_be_written_without_the_coordinates(tmp_path: Path) -> None:
    tile, output = Feature("a", 3035, 4, 4, 0, 0, 100, 100), Output("ndvi", ("B0",), "FLOAT32", None)
    group = ZarrGroup({"group": {"zarr_format": 2}, "arrayParameters": {**ARRAY, "chunks": [1, 4, 4]}}, "")
    bucket = Bucket(LocalStore(tmp_path))  # type: ignore[arg-type] # as above
    with pytest.raises(BucketFailed):
        group.write(tile, quick(tile, output), [output.id], bucket)


def test_an_output_cannot_have_the_name_of_a_coordinate() -> None:
    tile, output = Feature("a", 3035, 4, 4, 0, 0, 100, 100), Output("time", ("B0",), "FLOAT32", None)
    group = ZarrGroup({"group": {"zarr_format": 2}, "arrayParameters": ARRAY}, "")
    with pytest.raises(AnalysisFailed, match="has a coordinate of this name"):
        group.metadata([tile], [output], datetime(2024, 1, 1, tzinfo=UTC))


def test_chunks_must_divide_the_tile() -> None:
    tile, output = Feature("a", 3035, 4, 4, 0, 0, 100, 100), Output("ndvi", ("B0",), "FLOAT32", None)
    group = ZarrGroup({"group": {"zarr_format": 2}, "arrayParameters": {**ARRAY, "chunks": [1, 4, 3]}}, "")
    with pytest.raises(AnalysisFailed, match="chunks that do not divide the tile"):
        group.metadata([tile], [output], datetime(2024, 1, 1, tzinfo=UTC))
