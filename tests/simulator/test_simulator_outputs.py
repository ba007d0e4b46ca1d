from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from shapely.geometry import box

from airflow_provider_sentinelhub.simulator.bucket import geopackage
from airflow_provider_sentinelhub.simulator.features.features import Feature
from airflow_provider_sentinelhub.simulator.imagery import rasters
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import EVALSCRIPT

if TYPE_CHECKING:
    from pathlib import Path

ONE_TILE = [9.15, 42.0, 9.151, 42.001]
Json = dict[str, Any]
Request = Callable[..., Json]
Run = Callable[[Json], Json]


def folder_of(sim: Simulator, task: Json) -> Path:
    url = task["request"]["output"]["delivery"]["s3"]["url"]
    return sim.bucket_folder / str(url).split("/", 3)[3] / str(task["id"])


def execution(folder: Path, task: Json) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize((folder / f"execution-{task['id']}.sqlite").read_bytes())
        return database.execute("SELECT id, name, status, error, delivered FROM features ORDER BY id").fetchall()


@pytest.fixture
def done(request_for: Request, run: Run) -> Json:
    return run(request_for())


def test_a_task_ends_done_with_its_minimum_price(done: Json) -> None:
    assert (done["status"], done["completionPercentage"], done["costPU"]) == ("DONE", 100, 100.0)
    assert "error" not in done
    assert "stoppedStatusReason" not in done


def test_every_tile_is_a_georeferenced_tiff(sim: Simulator, done: Json) -> None:
    folder = folder_of(sim, done)
    files = sorted(folder.rglob("*.tif"))
    assert [file.parent.name for file in files] == ["32TNM_0_1", "32TNM_0_2", "32TNM_1_1", "32TNM_1_2"]
    for file in files:
        with rasterio.open(file) as dataset:
            assert dataset.crs.to_epsg() == 32632
            assert (dataset.width, dataset.height, dataset.count) == (334, 334, 2)
            assert dataset.dtypes == ("uint16", "uint16")
            assert dataset.nodata == 0
            assert (dataset.transform.a, dataset.transform.e) == (60.0, -60.0)
            assert dataset.transform.c % 60 == 0
            assert dataset.tags()["SYNTHETIC"] == "YES"
            assert len(np.unique(dataset.read(1))) > 100
        assert file == folder / file.parent.name / "default.tif"


def test_pixels_depend_on_the_place_only_so_neighbours_fit_together() -> None:
    left = Feature("a", 32632, 10, 10, 500_000, 4_600_000, 60, 60)
    right = Feature("b", 32632, 10, 10, 500_000 + 5 * 60, 4_600_000, 60, 60)
    for band in (1, 2):
        assert (rasters.pixels(left, band, "uint16")[:, 5:] == rasters.pixels(right, band, "uint16")[:, :5]).all()
    assert (rasters.pixels(left, 1, "uint16") != rasters.pixels(left, 2, "uint16")).any()


def test_the_manifest_is_a_geopackage_with_one_row_for_each_feature_and_output(
    sim: Simulator, request_for: Request, run: Run
) -> None:
    two = [{"identifier": "default", "format": {"type": "image/tiff"}}]
    two.append({"identifier": "userdata", "format": {"type": "application/json"}})
    task = run(request_for(processRequest__output__responses=two))
    folder = folder_of(sim, task)
    path = folder / f"featureManifest-{task['id']}.gpkg"
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA application_id").fetchone()[0] == 0x47504B47
        tables = database.execute("SELECT table_name, srs_id FROM gpkg_contents").fetchall()
        columns = [row[1] for row in database.execute("PRAGMA table_info(feature_32632)")]
        rows = database.execute("SELECT outputId, identifier, path, width, height, geometry FROM feature_32632")
        listed = rows.fetchall()
    assert tables == [("feature_32632", 32632)]
    assert columns == ["fid", "outputId", "identifier", "path", "width", "height", "geometry"]
    assert len(listed) == 2 * len(list(folder.rglob("*.tif")))
    for output, name, url, width, height, geometry in listed:
        assert (width, height) == (334, 334)
        assert (sim.bucket_folder / url.removeprefix(f"s3://{sim.ready.bucket}/")).is_file()
        if output == "default":
            with rasterio.open(folder / name / "default.tif") as dataset:
                assert geopackage.unblob(geometry).bounds == tuple(dataset.bounds)
        else:
            assert json.loads((folder / name / "userdata.json").read_text())["synthetic"] is True


def test_the_execution_database_names_every_feature(sim: Simulator, done: Json) -> None:
    folder = folder_of(sim, done)
    rows = execution(folder, done)
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert {row[1] for row in rows} == {file.parent.name for file in folder.rglob("*.tif")}
    assert {row[2:] for row in rows} == {("DONE", None, 1)}


def test_the_execution_database_grows_while_the_task_is_processed(
    sim: Simulator, request_for: Request, wait: Callable[..., Json]
) -> None:
    sim.set_script({"timing": {"feature_seconds": 400, "parallel": 1, "execution_seconds": 100}})
    task = sim.call("POST", "/batch/v2/process", request_for()).body
    sim.call("POST", f"/batch/v2/process/{task['id']}/start")
    wait(task["id"], "PROCESSING")
    states = set()
    path = folder_of(sim, task) / f"execution-{task['id']}.sqlite"
    while sim.call("GET", f"/batch/v2/process/{task['id']}").body["status"] == "PROCESSING":
        # The S3 server deletes the old file before it writes the new one.
        with contextlib.suppress(FileNotFoundError):
            states.add(tuple(row[2] for row in execution(path.parent, task)).count("DONE"))
    assert len(states) >= 3


def test_the_request_is_left_in_the_bucket_without_secrets(sim: Simulator, request_for: Request) -> None:
    task = sim.call("POST", "/batch/v2/process", request_for()).body
    left = json.loads((folder_of(sim, task) / f"request-{task['id']}.json").read_text())
    assert left["description"] == task["request"]["description"]
    assert sim.ready.secret_access_key not in json.dumps(left)


def test_a_template_decides_where_files_go(sim: Simulator, request_for: Request, run: Run) -> None:
    request = request_for()
    url = request["output"]["delivery"]["s3"]["url"]
    request["output"]["delivery"]["s3"]["url"] = f"{url}/tiles/<tileName>/x_<outputId>.<format>"
    task = run(request)
    assert task["status"] == "DONE"
    root = sim.bucket_folder / url.split("/", 3)[3] / "tiles"
    names = {file.name for file in root.iterdir() if file.is_file()}
    assert names == {
        f"request-{task['id']}.json",
        f"featureManifest-{task['id']}.gpkg",
        f"execution-{task['id']}.sqlite",
    }
    assert {file.name for file in root.rglob("*.tif")} == {"x_default.tif"}


@pytest.mark.parametrize("sample_type", ["UINT8", "INT16", "FLOAT32", "AUTO"])
def test_cogs_are_tiled_and_have_overviews(sim: Simulator, request_for: Request, run: Run, sample_type: str) -> None:
    request = request_for(output__cogOutput=True, input__resolution=20)
    script = request["processRequest"]["evalscript"].replace("UINT16", sample_type)
    request["processRequest"]["evalscript"] = script
    request["processRequest"]["input"]["bounds"]["bbox"] = ONE_TILE
    task = run(request)
    files = list(folder_of(sim, task).rglob("*.tif"))
    assert len(files) == 1
    with rasterio.open(files[0]) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.tags()["SYNTHETIC"] == "YES"
        assert dataset.block_shapes[0] == (256, 256)
        assert dataset.overviews(1)
        assert dataset.dtypes[0] == {"AUTO": "uint8"}.get(sample_type, sample_type.lower())


def test_buffers_widen_the_tile(sim: Simulator, request_for: Request, run: Run) -> None:
    place = {"bbox": ONE_TILE}
    plain = run(request_for(processRequest__input__bounds=place))
    wide = run(request_for(processRequest__input__bounds=place, input__bufferX=5, input__bufferY=10))
    with (
        rasterio.open(next(folder_of(sim, plain).rglob("*.tif"))) as small,
        rasterio.open(next(folder_of(sim, wide).rglob("*.tif"))) as large,
    ):
        assert (large.width, large.height) == (small.width + 10, small.height + 20)
        assert large.transform.c == small.transform.c - 300
        assert large.transform.f == small.transform.f + 600
        assert (large.read(1)[10:-10, 5:-5] == small.read(1)).all()


def test_existing_files_fail_the_analysis(sim: Simulator, request_for: Request, run: Run) -> None:
    request = request_for()
    request["output"]["delivery"]["s3"]["url"] += "/<tileName>.tif"
    assert run(request)["status"] == "DONE"
    again = run(request)
    assert again["status"] == "FAILED"
    assert "already exists" in again["error"]
    request["output"]["overwrite"] = True
    assert run(request)["status"] == "DONE"


def test_skip_existing_processes_only_what_is_missing(sim: Simulator, request_for: Request, run: Run) -> None:
    request = request_for(output__skipExisting=True)
    url = request["output"]["delivery"]["s3"]["url"]
    request["output"]["delivery"]["s3"]["url"] = f"{url}/<tileName>.tif"
    first = run(request)
    root = sim.bucket_folder / url.split("/", 3)[3]
    everything = execution(root, first)
    gone = min(root.glob("*.tif"))
    gone.unlink()
    # The S3 server reads the folder again after a second.
    time.sleep(1.2)
    second = run(request)
    assert [row[1] for row in execution(root, second)] == [gone.stem]
    assert gone.exists()
    nothing = run(request)
    assert (nothing["status"], nothing["costPU"]) == ("DONE", 0)
    assert len(everything) == 4


def make_geopackage(path: Path, rows: list[tuple[Any, ...]], crs: int = 32632) -> None:
    path.write_bytes(geopackage.manifest([]))
    with closing(sqlite3.connect(path)) as database, database:
        geopackage._describe_crs(database, crs)
        database.execute(
            "CREATE TABLE fields (id INTEGER PRIMARY KEY, identifier TEXT, geom POLYGON, width INTEGER, "
            "height INTEGER, resolution REAL)"
        )
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, srs_id) VALUES ('fields', 'features', ?)", (crs,)
        )
        database.execute("INSERT INTO gpkg_geometry_columns VALUES ('fields', 'geom', 'POLYGON', ?, 0, 0)", (crs,))
        database.executemany("INSERT INTO fields VALUES (?, ?, ?, ?, ?, ?)", rows)


def geopackage_request(sim: Simulator, request: Json, rows: list[tuple[Any, ...]], **more: Any) -> Json:
    folder = request["description"]
    (sim.bucket_folder / folder).mkdir(exist_ok=True)
    make_geopackage(sim.bucket_folder / folder / "in.gpkg", rows)
    access = {**request["output"]["delivery"]["s3"], "url": f"s3://{sim.ready.bucket}/{folder}/in.gpkg"}
    request["input"] = {"type": "geopackage", "features": {"s3": access}, **more}
    del request["processRequest"]["input"]["bounds"]
    return request


def square(x: float, y: float, size: float) -> bytes:
    return geopackage.blob(box(x, y, x + size, y + size), 32632)


def test_features_of_a_geopackage_are_processed(sim: Simulator, request_for: Request, run: Run) -> None:
    rows = [
        (1, "by-size", square(500_000, 4_600_000, 1000), 50, 40, None),
        (2, "by-resolution", square(510_000, 4_600_000, 1000), None, None, 10.0),
        (3, "by-default", square(520_000, 4_600_000, 1000), None, None, None),
    ]
    request = geopackage_request(sim, request_for(), rows, defaults={"resolution": 100})
    task = run(request)
    assert task["status"] == "DONE", task
    sizes = {}
    for file in folder_of(sim, task).rglob("*.tif"):
        with rasterio.open(file) as dataset:
            sizes[file.parent.name] = (dataset.width, dataset.height, dataset.transform.a)
    assert sizes == {"by-size": (50, 40, 20.0), "by-resolution": (100, 100, 10.0), "by-default": (10, 10, 100.0)}


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([(1, "a", square(0, 0, 10), 5, 5, None), (2, "a", square(0, 0, 10), 5, 5, None)], "not unique"),
        ([(1, None, square(0, 0, 10), 5, 5, None)], "identifier is missing"),
        ([(1, "a", square(0, 0, 10), None, None, None)], "neither width and height nor resolution"),
        ([(1, "a", square(0, 0, 10), 3501, 5, None)], "3500"),
        ([(1, "a", b"nonsense", 5, 5, None)], "not a GeoPackage geometry"),
    ],
)
def test_a_geopackage_that_breaks_a_rule_fails_the_analysis(
    sim: Simulator, request_for: Request, run: Run, rows: list[tuple[Any, ...]], text: str
) -> None:
    task = run(geopackage_request(sim, request_for(), rows))
    assert task["status"] == "FAILED"
    assert text in task["error"]


def test_comments_before_the_version_are_refused_only_if_the_script_is_strict(
    sim: Simulator, request_for: Request, run: Run
) -> None:
    request = request_for(processRequest__evalscript=f"// NDVI\n{EVALSCRIPT}")
    assert run(request)["status"] == "DONE"
    sim.set_script({"strict": True})
    request["output"]["overwrite"] = True
    assert "must start with //VERSION=3" in run(request)["error"]


def test_a_geopackage_that_is_not_there_fails_the_analysis(sim: Simulator, request_for: Request, run: Run) -> None:
    request = geopackage_request(sim, request_for(), [])
    request["input"]["features"]["s3"]["url"] += ".missing"
    assert "NoSuchKey" in run(request)["error"]


def test_a_zarr_request_is_checked(sim: Simulator, request_for: Request, run: Run) -> None:
    request = request_for(input={"type": "tiling-grid", "id": 6, "resolution": 100})
    output = request["output"]
    array: Json = {"dtype": "<u2", "order": "C", "chunks": [1, 500, 500], "fill_value": 0}
    output.update({"type": "zarr", "group": {"zarr_format": 2}, "arrayParameters": array})
    request["processRequest"]["output"]["responses"][0]["format"]["type"] = "zarr/array"
    # One array holds one band.
    assert "one band for each output" in run(request)["error"]
    request["processRequest"]["evalscript"] = EVALSCRIPT.replace("bands: 2", "bands: 1")
    for name, value in (("chunks", [1, 333, 500]), ("chunks", [2, 500, 500]), ("fill_value", 65_536), ("dtype", "u2")):
        refused = sim.call(
            "POST", "/batch/v2/process", {**request, "output": {**output, "arrayParameters": {**array, name: value}}}
        )
        assert refused.status == 400
        assert refused.body["error"]["errors"][0]["parameter"] == f"output->arrayParameters->{name}"
    del array["order"]
    missing = sim.call("POST", "/batch/v2/process", request)
    assert "order must be set for output default" in missing.body["error"]["message"]


@pytest.mark.parametrize(
    ("evalscript", "text"),
    [
        (EVALSCRIPT.replace("=3", "=2", 1), "version 2"),
        ("//VERSION=3\nfunction evaluatePixel() {}", "has no function setup()"),
        ("//VERSION=3\nfunction setup() { return {", "is not JavaScript (line 2, column"),
        (EVALSCRIPT.replace('"default"', '"other"'), "missing from function setup()"),
    ],
)
def test_a_wrong_evalscript_passes_create_and_fails_the_analysis(
    request_for: Request, run: Run, evalscript: str, text: str
) -> None:
    task = run(request_for(processRequest__evalscript=evalscript))
    assert task["status"] == "FAILED"
    assert text in task["error"]
