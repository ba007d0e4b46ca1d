"""Pixels of users' own collections: those of the files in the bucket, wherever the request's raster lies."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from airflow_provider_sentinelhub.simulator.apis.registry import TASK_APIS
from airflow_provider_sentinelhub.simulator.bucket.delivery import Keys
from airflow_provider_sentinelhub.simulator.features.features import Feature
from airflow_provider_sentinelhub.simulator.imagery.sources import Block, source_of
from airflow_provider_sentinelhub.simulator.problems import RenderingFailed
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import upload
from airflow_provider_sentinelhub.simulator.scenes.bands import MASK
from airflow_provider_sentinelhub.simulator.tasks.clock import Clock
from airflow_provider_sentinelhub.simulator.tasks.collections import Collections
from airflow_provider_sentinelhub.simulator.tasks.samples import register_collections
from airflow_provider_sentinelhub.simulator.tasks.service import Service
from airflow_provider_sentinelhub.simulator.tasks.store import Store
from airflow_provider_sentinelhub.simulator.tasks.tiles import Tile, TileStore

WEST, NORTH, SIDE = 500_000, 5_150_000, 300
COVER = shapely.box(9.0, 46.0, 9.1, 47.0)
BANDS = {"NDVI": {"source": "ndvi", "bandIndex": 1, "bitDepth": 16, "sampleFormat": "UINT", "noData": 0}}
VALUES = np.arange(1, SIDE * SIDE + 1, dtype=np.uint32).reshape(SIDE, SIDE).astype(np.uint16)


def cog(values: Any, west: float) -> bytes:
    place = Affine(10, 0, west, 0, -10, NORTH)
    shape = {"width": values.shape[1], "height": values.shape[0], "count": 1, "dtype": values.dtype}
    profile = {"crs": "EPSG:32632", "transform": place, "blocksize": 256, "compress": "deflate"}
    with MemoryFile() as memory:
        with memory.open(driver="COG", **shape, **profile) as dataset:
            dataset.write(values, 1)
        return bytes(memory.read())


@pytest.fixture
def data_type(sim: Simulator, tmp_path: Path) -> Iterator[str]:
    """A collection with two tiles, of which the second one lies 1,000 m to the east and is a week newer."""
    ready = sim.ready
    keys = Keys(ready.access_key_id, ready.secret_access_key, "", ready.s3_endpoint, "eu-central-1")
    store = Store(tmp_path / "state.sqlite")
    service = Service(store, Clock(1), keys, TASK_APIS)
    collections = Collections(service, "byoc")
    number, folder = str(uuid.uuid4()), str(uuid.uuid4())
    collections.save(
        {**collections.create("account", "mine", ready.bucket), "id": number, "additionalData": {"bands": BANDS}}
    )
    for at, date in enumerate(("2025-06-01T10:00:00Z", "2025-06-08T10:00:00Z")):
        upload(ready, f"{folder}/{at}/ndvi.tif", cog(VALUES + 1000 * at, WEST + 1000 * at))
        facts = {"sensingTime": date, "coverGeometry": shapely.geometry.mapping(COVER)}
        tile = Tile(str(uuid.uuid4()), number, f"{folder}/{at}/(BAND).tif", time.time(), "INGESTED", 0.0, facts)
        TileStore(store).add(tile)
    register_collections(service)
    yield f"byoc-{number}"
    store.close()


def read(data_type: str, feature: Feature, tile: int = 0, first: int = 0, rows: int | None = None) -> Any:
    source = source_of({"type": data_type})
    assert source is not None
    always = (dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(2030, 1, 1, tzinfo=dt.UTC))
    scene = source.scenes((9.0, 46.4, 9.1, 46.6), *always)[tile]
    return source.read(scene, ["NDVI", MASK], Block(feature, first, rows or feature.height - first))


def test_the_tiles_are_the_scenes_of_a_time_range(data_type: str) -> None:
    source = source_of({"type": data_type.upper().replace("BYOC", "byoc")})
    assert source is not None
    assert set(source.bands) == {"NDVI", MASK}
    assert source.bands["NDVI"].dtype == "uint16"
    here, june = (9.0, 46.4, 9.1, 46.6), dt.datetime(2025, 6, 1, tzinfo=dt.UTC)
    assert [scene.sensed.day for scene in source.scenes(here, june, june + dt.timedelta(30))] == [1, 8]
    assert [scene.sensed.day for scene in source.scenes(here, june, june + dt.timedelta(3))] == [1]
    assert source.scenes((20.0, 46.4, 21.0, 46.6), june, june + dt.timedelta(30)) == []
    with pytest.raises(RenderingFailed, match="not found"):
        source_of({"type": f"byoc-{uuid.uuid4()}"})


def test_a_pixel_is_that_of_the_file(data_type: str) -> None:
    feature = Feature("f", 32632, 40, 30, WEST + 500, NORTH - 700, 10.0, 10.0)
    found = read(data_type, feature)
    assert (found["NDVI"] == VALUES[70:100, 50:90]).all()
    assert found[MASK].all()
    later = read(data_type, feature, first=10, rows=5)
    assert (later["NDVI"] == VALUES[80:85, 50:90]).all()


def test_where_the_file_ends_there_is_no_data(data_type: str) -> None:
    feature = Feature("f", 32632, 40, 30, WEST - 100, NORTH + 50, 10.0, 10.0)
    found = read(data_type, feature)
    assert (found["NDVI"][5:, 10:] == VALUES[:25, :30]).all()
    assert not found[MASK][:5].any()
    assert not found[MASK][:, :10].any()
    assert not found["NDVI"][found[MASK] == 0].any()


def test_another_resolution_and_system_take_the_nearest_pixel(data_type: str) -> None:
    feature = Feature("f", 32632, 10, 10, WEST, NORTH, 50.0, 50.0)
    assert (read(data_type, feature)["NDVI"][:, 1] == VALUES[2:50:5, 7]).all()
    degrees = Feature("f", 4326, 20, 20, 9.002, 46.501, 0.0005, 0.0005)
    found = read(data_type, degrees)
    assert 0 < found[MASK].mean() <= 1


def test_requests_read_the_same_file_at_the_same_time(data_type: str) -> None:
    feature = Feature("f", 32632, 40, 30, WEST + 500, NORTH - 700, 10.0, 10.0)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: read(data_type, feature), range(8)):
            assert (found["NDVI"] == VALUES[70:100, 50:90]).all()
