"""What each API takes as its features: the same GeoPackage may be right for one and wrong for the other."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import shapely

from airflow_provider_sentinelhub.artifacts.features.problems import Rule
from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_blob
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import add_layer, finish_layer, new_geopackage
from airflow_provider_sentinelhub.artifacts.results.registry import RESULTS, check_input_features
from airflow_provider_sentinelhub.client.apis.batch_statistical.spec import BATCH_STATISTICAL
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2

if TYPE_CHECKING:
    from pathlib import Path

STATISTICS: dict[str, Any] = {"aggregation": {"resx": 10, "resy": 10}, "output": {"s3": {"url": "s3://b/f"}}}
RASTERS: dict[str, Any] = {"input": {"type": "geopackage", "defaults": {"resolution": 10}}}
SQUARE = shapely.box(500_000, 5_150_000, 500_100, 5_150_100)


def write(path: Path, *layers: tuple[int, list[tuple[int, str, Any]]]) -> Path:
    with new_geopackage(path) as connection:
        for epsg, rows in layers:
            layer = add_layer(connection, epsg)
            for number, name, shape in rows:
                blob = geometry_blob(shape.wkb, epsg, shape.bounds)
                connection.execute(layer.insert, (number, name, None, None, None, blob))
            finish_layer(connection, layer, None)
    return path


def rules(api: Any, path: Path, body: dict[str, Any]) -> list[Rule]:
    return [problem.rule for problem in check_input_features(api, path, body)]


def test_statistics_need_no_names_and_take_their_ids_from_any_key(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", (32632, [(1, "twice", SQUARE), (2, "twice", SQUARE)]))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE features_32632 RENAME COLUMN id TO fid")
    assert rules(BATCH_STATISTICAL, path, STATISTICS) == []
    assert rules(BATCH_V2, path, RASTERS) == [Rule.ID_COLUMN, Rule.IDENTIFIER_UNIQUE]
    by_name = {**STATISTICS, "output": {"s3": {"url": "s3://b/f/<IDENTIFIER>.json"}}}
    assert rules(BATCH_STATISTICAL, path, by_name) == [Rule.IDENTIFIER_UNIQUE]


def test_columns_that_could_have_the_names_of_statistics_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.gpkg", (32632, [(1, "p1", SQUARE)]))
    RESULTS["batch-statistical"].check_names(path, None)
    assert caplog.messages == []
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE features_32632 RENAME COLUMN identifier TO parcel")
    assert rules(BATCH_STATISTICAL, path, STATISTICS) == []
    RESULTS["batch-statistical"].check_names(path, None)
    (said,) = caplog.messages
    assert "a.gpkg has no column identifier" in said
    assert "could have the names: parcel." in said
    assert "identifier_column='parcel'" in said


def test_statistics_take_one_table(tmp_path: Path) -> None:
    degrees = shapely.box(9, 46, 9.001, 46.001)
    path = write(tmp_path / "a.gpkg", (32632, [(1, "a", SQUARE)]), (4326, [(1, "b", degrees)]))
    sized = {"input": {"type": "geopackage", "defaults": {"width": 10, "height": 10}}}
    assert rules(BATCH_V2, path, sized) == []
    in_pixels = {**STATISTICS, "aggregation": {"width": 10, "height": 10}}
    (problem,) = check_input_features(BATCH_STATISTICAL, path, in_pixels)
    assert (problem.rule, problem.count, problem.examples) == (Rule.ONE_TABLE, 2, ("features_32632", "features_4326"))
    assert "Put all features into one table" in str(problem.error(path))


def test_statistics_have_a_size_of_their_own(tmp_path: Path) -> None:
    wide = shapely.box(500_000, 5_150_000, 530_000, 5_150_100)
    path = write(tmp_path / "a.gpkg", (32632, [(1, "a", SQUARE), (2, "b", wide)]))
    assert rules(BATCH_V2, path, RASTERS) == []
    (problem,) = check_input_features(BATCH_STATISTICAL, path, STATISTICS)
    assert (problem.rule, problem.count, problem.examples) == (Rule.SAMPLES, 1, ("b (3000 x 10)",))
    coarser = {**STATISTICS, "aggregation": {"resx": 20, "resy": 10}}
    assert rules(BATCH_STATISTICAL, path, coarser) == []


def test_what_is_no_polygon_is_wrong_for_both(tmp_path: Path) -> None:
    crossing = shapely.Polygon([(500_000, 5_150_000), (500_100, 5_150_100), (500_100, 5_150_000), (500_000, 5_150_100)])
    path = write(tmp_path / "a.gpkg", (32632, [(1, "a", crossing), (2, "b", shapely.Point(500_000, 5_150_000))]))
    assert set(rules(BATCH_STATISTICAL, path, STATISTICS)) >= {Rule.VALID, Rule.POLYGON}
    assert set(rules(BATCH_V2, path, RASTERS)) >= {Rule.VALID, Rule.POLYGON}


def test_what_is_no_geopackage_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    path.write_text("no")
    assert rules(BATCH_STATISTICAL, path, STATISTICS) == [Rule.IS_GEOPACKAGE]


@pytest.mark.parametrize(("own", "step", "found"), [(0.1, 1000, [Rule.ONE_PIXEL]), (1000, 10, [])])
def test_statistics_do_not_look_at_sizes_for_images(tmp_path: Path, own: float, step: float, found: list[Rule]) -> None:
    path = write(tmp_path / "a.gpkg", (32632, [(1, "a", SQUARE)]))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE features_32632 SET resolution = ?", (own,))
    asked = {**STATISTICS, "aggregation": {"resx": step, "resy": step}}
    assert rules(BATCH_STATISTICAL, path, asked) == found
