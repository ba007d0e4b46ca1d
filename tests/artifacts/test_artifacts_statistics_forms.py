"""The wide form of the table, and the one with geometries."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pyproj
import pytest
import shapely
from pyarrow import parquet

from airflow_provider_sentinelhub.artifacts.features.sources import from_file
from airflow_provider_sentinelhub.artifacts.geopackage.crs import crs_projjson
from airflow_provider_sentinelhub.artifacts.statistics import load
from airflow_provider_sentinelhub.artifacts.statistics.geo import write_geoparquet
from airflow_provider_sentinelhub.artifacts.statistics.read import read_statistics
from airflow_provider_sentinelhub.artifacts.statistics.schema import VERSION_KEY
from airflow_provider_sentinelhub.artifacts.statistics.tables import check_tidy, load_table
from airflow_provider_sentinelhub.artifacts.statistics.wide import write_wide
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidParameter
from airflow_provider_sentinelhub.client.requests.crs import SUPPORTED_EPSG
from tests.artifacts.statistics_files import (
    DAYS,
    RERUN,
    TASK,
    answer,
    broken,
    data,
    lost,
    put,
    square,
    target_of,
    tasks_of,
    write_input,
)

FILES = {
    1: answer(1, [data(DAYS[0], 0.5, bands=("B0", "B1")), data(DAYS[1], 0.25, empty=True)]),
    2: answer(2, [data(DAYS[0], 0.75), lost(DAYS[1])]),
    3: broken(3),
}
MENDED = {2: answer(2, [data(DAYS[1], 0.125)])}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(load, "_RESULTS_IN_CHUNK", 1)
    url = (tmp_path / "bucket").as_uri()
    put(Storage(), url, TASK, FILES)
    put(Storage(), url, RERUN, MENDED)
    found = read_statistics(Storage(), tasks_of(url, TASK, RERUN), target_of(url), features=None, workdir=tmp_path)
    return Path(found.table_url.removeprefix("file://"))


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return found


def test_the_wide_form_has_a_row_for_each_feature_and_interval(table: Path, tmp_path: Path) -> None:
    target = tmp_path / "wide.parquet"
    assert write_wide(table, target) == 5
    found = rows(target)
    keys = [(row["feature_id"], str(row["interval_from"])[:10], row["error"], row["rerun"]) for row in found]
    assert keys == [
        (1, DAYS[0], None, 0),
        (1, DAYS[1], None, 0),
        (2, DAYS[0], None, 0),
        (3, "None", "EXECUTION_ERROR", 0),
        (2, DAYS[1], None, 1),
    ]
    assert [row["ndvi_B0_mean"] for row in found] == [0.5, None, 0.75, None, 0.125]
    assert [row["ndvi_B1_mean"] for row in found] == [0.5, None, None, None, None]
    assert [row["ndvi_B0_no_data_count"] for row in found] == [3, 100, 3, None, 3]
    assert [row["ndvi_B0_percentile_25"] for row in found] == [0.4, None, 0.65, None, 0.125 - 0.1]
    assert found[0]["ndvi_B1_histogram"][0] == {"low_edge": 0.0, "high_edge": 0.5, "count": 90}
    assert found[0]["ndvi_B1_histogram_overflow"] == 2


def test_wide_and_tidy_hold_the_same_numbers(table: Path, tmp_path: Path) -> None:
    target = tmp_path / "wide.parquet"
    write_wide(table, target)
    wide = {(row["feature_id"], row["interval_from"]): row for row in rows(target)}
    for row in rows(table):
        if row["band"] is None:
            continue
        prefix = f"{row['output']}_{row['band']}_"
        of_it = wide[row["feature_id"], row["interval_from"]]
        for name in ("min", "max", "mean", "st_dev", "sample_count", "histogram", "histogram_underflow"):
            assert of_it[prefix + name] == row[name]


@pytest.mark.parametrize("counts", [{}, {"underflow": 3, "overflow": 4}, {"underflowCount": 3, "overflowCount": 4}])
def test_a_histogram_is_there_however_its_ends_are_counted(tmp_path: Path, counts: dict[str, int]) -> None:
    entry = data()
    band = entry["outputs"]["ndvi"]["bands"]["B0"]
    band["histogram"] = {"bins": band["histogram"]["bins"], **counts}
    url = (tmp_path / "bucket").as_uri()
    put(Storage(), url, TASK, {1: answer(1, [entry])})
    found = read_statistics(Storage(), tasks_of(url, TASK), target_of(url), features=None, workdir=tmp_path)
    write_wide(Path(found.table_url.removeprefix("file://")), tmp_path / "wide.parquet")
    (row,) = rows(tmp_path / "wide.parquet")
    assert [each["count"] for each in row["ndvi_B0_histogram"]] == [90, 7]
    ends = (row["ndvi_B0_histogram_underflow"], row["ndvi_B0_histogram_overflow"])
    assert ends == ((3, 4) if counts else (None, None))


def test_percentiles_may_be_spelled_in_any_way(tmp_path: Path) -> None:
    entry = data()
    entry["outputs"]["ndvi"]["bands"]["B0"]["stats"]["percentiles"] = {"p50": 1.0, "50": 2.0, "50.0": 3.0, "5.0": 4.0}
    url = (tmp_path / "bucket").as_uri()
    put(Storage(), url, TASK, {1: answer(1, [entry])})
    found = read_statistics(Storage(), tasks_of(url, TASK), target_of(url), features=None, workdir=tmp_path)
    write_wide(Path(found.table_url.removeprefix("file://")), tmp_path / "wide.parquet")
    (row,) = rows(tmp_path / "wide.parquet")
    names = {name.rpartition("_")[2]: value for name, value in row.items() if "percentile" in name}
    assert list(names.items()) == [("5", 4.0), ("50", 2.0), ("50.0", 3.0), ("p50", 1.0)]


def test_columns_that_would_share_a_name_are_refused(tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    two = data(bands=("b_c",))
    two["outputs"] = {"a": two["outputs"]["ndvi"], "a_b": {"bands": {"c": two["outputs"]["ndvi"]["bands"]["b_c"]}}}
    put(Storage(), url, TASK, {1: answer(1, [two])})
    found = read_statistics(Storage(), tasks_of(url, TASK), target_of(url), features=None, workdir=tmp_path)
    with pytest.raises(InvalidParameter, match="several columns would have this name"):
        write_wide(Path(found.table_url.removeprefix("file://")), tmp_path / "wide.parquet")


def test_geometries_come_from_the_input(table: Path, tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2, 3, 4))
    write_wide(table, tmp_path / "wide.parquet")
    for source, count in ((table, 6), (tmp_path / "wide.parquet", 5)):
        target = tmp_path / "geo.parquet"
        assert write_geoparquet(source, features, target, features_url=features.as_uri()) == count
        found = rows(target)
        for row in found:
            assert shapely.from_wkb(row["geometry"]).bounds == square(row["feature_id"])[1]
        assert [{**row, "geometry": None} for row in found] == [{**row, "geometry": None} for row in rows(source)]
        assert parquet.read_schema(target).types[:-1] == parquet.read_schema(source).types
        described = json.loads(parquet.read_schema(target).metadata[b"geo"])
        assert (described["version"], described["primary_column"]) == ("1.1.0", "geometry")
        column = described["columns"]["geometry"]
        assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
        assert column["bbox"] == [501_000.0, 5_000_000.0, 503_100.0, 5_000_100.0]
        assert pyproj.CRS.from_json_dict(column["crs"]).to_epsg() == 32633


def test_names_of_the_table_come_from_the_column_that_is_named(tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2, 3, 4, 5))
    with closing(sqlite3.connect(features)) as connection, connection:
        connection.execute("ALTER TABLE features_32633 ADD COLUMN Parcel TEXT")
        connection.execute("UPDATE features_32633 SET Parcel = 'Žatec ' || id WHERE id <> 2")
    storage, url = Storage(), (tmp_path / "bucket").as_uri()
    unnamed = {**FILES, 1: {key: value for key, value in FILES[1].items() if key != "identifier"}, 5: b"{"}
    put(storage, url, TASK, unnamed)

    def read(column: str | None = None, rerun: tuple[str, ...] = ()) -> tuple[bool, dict[int, str], dict[int, str]]:
        tasks = tasks_of(url, TASK, *rerun)
        more: dict[str, Any] = {"features": features, "workdir": tmp_path, "identifier_column": column}
        found = read_statistics(storage, tasks, target_of(url), **more)
        with closing(sqlite3.connect(found.execution_db)) as database:
            report = dict(database.execute("SELECT id, name FROM features"))
        table = rows(Path(found.table_url.removeprefix("file://")))
        return found.is_published, {row["feature_id"]: row["identifier"] for row in table}, report

    assert read()[1] == {1: None, 2: "parcel-2", 3: "parcel-3", 5: "parcel-5"}
    chosen = {1: "Žatec 1", 2: "parcel-2", 3: "Žatec 3", 5: "Žatec 5"}
    assert read("parcel") == (True, chosen, {**chosen, 4: "Žatec 4"})
    # Whoever reads it next, e.g. for a report, need not know.
    assert read() == (False, chosen, {**chosen, 4: "Žatec 4"})
    put(storage, url, RERUN, MENDED)
    assert read(rerun=(RERUN,)) == (True, chosen, {**chosen, 4: "Žatec 4"})
    assert read("plot", rerun=(RERUN,))[1] == {1: None, 2: "parcel-2", 3: "parcel-3", 5: "parcel-5"}


def test_names_come_from_the_column_that_is_named(table: Path, tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2, 3))
    with closing(sqlite3.connect(features)) as connection, connection:
        connection.execute("ALTER TABLE features_32633 ADD COLUMN Parcel TEXT")
        connection.execute("UPDATE features_32633 SET Parcel = 'Žatec ' || id WHERE id < 3")
        connection.execute("UPDATE features_32633 SET height = 7 WHERE id = 3")
    write_wide(table, tmp_path / "wide.parquet")
    more: dict[str, Any] = {"features_url": features.as_uri(), "identifier_column": "parcel"}
    for source in (table, tmp_path / "wide.parquet"):
        write_geoparquet(source, features, tmp_path / "geo.parquet", **more)
        found = {row["feature_id"]: row["identifier"] for row in rows(tmp_path / "geo.parquet")}
        assert found == {1: "Žatec 1", 2: "Žatec 2", 3: "parcel-3"}
        write_geoparquet(source, features, tmp_path / "geo.parquet", **{**more, "identifier_column": "height"})
        assert {row["identifier"] for row in rows(tmp_path / "geo.parquet")} == {"parcel-1", "parcel-2", "7"}
    with pytest.raises(InvalidParameter, match=r"^identifier_column = 'plot': .* no such column, only \['Parcel', "):
        write_geoparquet(table, features, tmp_path / "geo.parquet", **{**more, "identifier_column": "plot"})
    with closing(sqlite3.connect(features)) as connection, connection:
        connection.execute("UPDATE features_32633 SET Parcel = CAST(x'42f8' AS TEXT)")
    with pytest.raises(InvalidParameter, match=r"has text in this column not in UTF-8: b'B\\xf8'\. "):
        write_geoparquet(table, features, tmp_path / "geo.parquet", **more)


def test_a_geopackage_of_other_features_is_refused(table: Path, tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 3))
    with closing(sqlite3.connect(features)) as connection, connection:
        connection.execute("UPDATE features_32633 SET identifier = 'elsewhere' WHERE id = 1")
    with pytest.raises(InvalidParameter) as caught:
        write_geoparquet(table, features, tmp_path / "geo.parquet", features_url="s3://b/fields.gpkg")
    assert str(caught.value) == (
        "features_url = 's3://b/fields.gpkg': is not the GeoPackage of these statistics: of their 3 features, 1 not in "
        "it (2 'parcel-2') and 1 with another identifier in it (1 'parcel-1': 'elsewhere'). Give the GeoPackage the "
        "statistics were computed for. If they were requested one by one, not as a batch, its ids must be 1, 2, 3 and "
        "so on."
    )


def test_a_feature_without_a_geometry_belongs_all_the_same(table: Path, tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2, 3))
    with closing(sqlite3.connect(features)) as connection, connection:
        connection.execute("UPDATE features_32633 SET geometry = NULL, identifier = '' WHERE id = 3")
    write_geoparquet(table, features, tmp_path / "geo.parquet", features_url=features.as_uri())
    found = rows(tmp_path / "geo.parquet")
    assert {row["feature_id"] for row in found if row["geometry"] is None} == {3}


@pytest.mark.parametrize(("content", "found"), [(b"", "it is empty"), (b"<html>", "so it is not an SQLite file")])
def test_what_is_no_geopackage_is_called_by_its_url(table: Path, tmp_path: Path, content: bytes, found: str) -> None:
    features = tmp_path / "features.gpkg"
    features.write_bytes(content)
    with pytest.raises(InvalidParameter, match=found) as caught:
        write_geoparquet(table, features, tmp_path / "geo.parquet", features_url="s3://b/fields.html")
    assert str(caught.value).startswith("features_url = 's3://b/fields.html': is no GeoPackage: ")
    assert "support" not in str(caught.value)


def test_only_the_tidy_table_has_other_forms(table: Path, tmp_path: Path) -> None:
    check_tidy(table, "s3://b/statistics.parquet")
    write_wide(table, tmp_path / "wide.parquet")
    with pytest.raises(InvalidParameter, match=r"must be the tidy table .* it has no column output, band, min"):
        check_tidy(tmp_path / "wide.parquet", "s3://b/wide.parquet")
    (tmp_path / "1.json").write_text("{}")
    with pytest.raises(InvalidParameter, match=r"statistics_url = 's3://b/1.json': .* is not a Parquet file"):
        check_tidy(tmp_path / "1.json", "s3://b/1.json")


def test_a_table_of_an_earlier_version_is_called_that(table: Path, tmp_path: Path) -> None:
    old = parquet.read_table(table).rename_columns({"rerun": "round"})
    old = old.replace_schema_metadata({VERSION_KEY: b"1-2a74a0f82c9b"})
    parquet.write_table(old, tmp_path / "old.parquet")
    with pytest.raises(InvalidParameter, match=r"has the schema 1-2a74a0f82c9b of another version of this package"):
        check_tidy(tmp_path / "old.parquet", "s3://b/old.parquet")


def test_a_table_is_asked_for_by_its_columns(table: Path) -> None:
    found = load_table(Storage(), table.as_uri(), ["mean", "band"])
    assert found.column_names == ["mean", "band"]
    with pytest.raises(InvalidParameter, match=r"columns = \['meen'\]: .* no such column\. Choose from feature_id, "):
        load_table(Storage(), table.as_uri(), ["mean", "meen"])
    with pytest.raises(InvalidParameter, match="statistics_url = None: must be the URL"):
        load_table(Storage(), None)  # type: ignore[arg-type]  # what a task that failed returned


def test_what_is_written_can_be_read_as_features(table: Path, tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2, 3))
    write_geoparquet(table, features, tmp_path / "geo.parquet", features_url=features.as_uri())
    (batch,) = from_file(tmp_path / "geo.parquet")
    assert batch.epsg == 32633
    assert len(batch.geometries) == 6


def test_a_system_that_does_not_exist_is_said_to_be_the_geopackages(table: Path, tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2, 3))
    with closing(sqlite3.connect(features)) as connection, connection:
        connection.execute(
            "UPDATE gpkg_spatial_ref_sys SET organization_coordsys_id = 999999 WHERE organization_coordsys_id = 32633"
        )
    with pytest.raises(InvalidParameter, match="is in EPSG:999999, and there is no such"):
        write_geoparquet(table, features, tmp_path / "geo.parquet", features_url="s3://b/f.gpkg")


def test_every_system_the_service_knows_can_be_described() -> None:
    for epsg in SUPPORTED_EPSG:
        found = crs_projjson(epsg)
        if found is None:
            assert epsg == 4326
        else:
            assert pyproj.CRS.from_json_dict(found).to_epsg() == epsg
            assert pyproj.CRS.from_json_dict(found) == pyproj.CRS.from_epsg(epsg)


def test_a_system_that_needs_pyproj_is_described_before_anything_is_read(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2, 3))
    with closing(sqlite3.connect(features)) as connection, connection:
        connection.execute("UPDATE gpkg_spatial_ref_sys SET organization_coordsys_id = 2154 WHERE srs_id = 32633")
    monkeypatch.setitem(sys.modules, "pyproj", None)
    with pytest.raises(InvalidConfiguration, match=r"EPSG:2154 needs pyproj, .*airflow-provider-sentinelhub\[geo\]"):
        write_geoparquet(table, features, tmp_path / "geo.parquet", features_url=features.as_uri())
    assert not (tmp_path / "geo.parquet").exists()
