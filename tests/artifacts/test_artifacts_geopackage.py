from __future__ import annotations

import sqlite3
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pyogrio  # type: ignore[import-untyped,unused-ignore]
import pytest
import shapely
from pyproj import CRS

from airflow_provider_sentinelhub.artifacts.geopackage.blobs import blob_extent, blob_of_crs, geometry_blob
from airflow_provider_sentinelhub.artifacts.geopackage.crs import crs_definition, crs_projjson
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import add_layer, finish_layer, new_geopackage
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import attach
from airflow_provider_sentinelhub.artifacts.geopackage.tables import feature_tables
from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, StorageUnavailable
from airflow_provider_sentinelhub.client.requests.crs import SUPPORTED_EPSG
from airflow_provider_sentinelhub.simulator.bucket import geopackage as simulator
from tests.artifacts.artifact_files import gpkg_blob

if TYPE_CHECKING:
    from pathlib import Path

BOX = shapely.box(1, 2, 3, 4)


def write(path: Path, *codes: int) -> None:
    with new_geopackage(path) as connection:
        for number, epsg in enumerate(codes):
            layer = add_layer(connection, epsg)
            blob = geometry_blob(BOX.wkb, epsg, BOX.bounds)
            connection.execute(layer.insert, (number, f"feature {number}", 10, 20, None, blob))
            finish_layer(connection, layer, BOX.bounds)


def test_the_header_is_that_of_a_geopackage(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg", 32633, 3035)
    header = (tmp_path / "a.gpkg").read_bytes()[:100]
    assert header[68:72] == b"GPKG"
    assert int.from_bytes(header[60:64], "big") == 10300
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as database:
        contents = database.execute("SELECT table_name, min_x, min_y, max_x, max_y, srs_id FROM gpkg_contents")
        assert contents.fetchall() == [("features_32633", 1, 2, 3, 4, 32633), ("features_3035", 1, 2, 3, 4, 3035)]
        known = database.execute("SELECT srs_id FROM gpkg_spatial_ref_sys ORDER BY 1").fetchall()
        assert known == [(-1,), (0,), (3035,), (4326,), (32633,)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_gdal_opens_it(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg", 32633, 3035)
    assert [name for name, _ in pyogrio.list_layers(tmp_path / "a.gpkg")] == ["features_32633", "features_3035"]
    for epsg in (32633, 3035):
        info = pyogrio.read_info(tmp_path / "a.gpkg", layer=f"features_{epsg}")
        assert (info["crs"], info["features"], info["fid_column"]) == (f"EPSG:{epsg}", 1, "id")
        assert info["total_bounds"] == BOX.bounds


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").write_text("before")
    with suppress(LookupError), new_geopackage(tmp_path / "a.gpkg") as connection:
        add_layer(connection, 32633)
        raise LookupError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.gpkg", "before")]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg", 32633, 4326)
    write(tmp_path / "b.gpkg", 32633, 4326)
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"Could not write a\.gpkg"), new_geopackage(tmp_path / "no/a.gpkg"):
        pass


def test_a_file_is_found_again(tmp_path: Path) -> None:
    write(tmp_path / "a.gpkg", 32633, 3035)
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as database:
        tables = feature_tables(database)
    assert [(table.name, table.epsg, table.geometry) for table in tables] == [
        ("features_3035", 3035, "geometry"),
        ("features_32633", 32633, "geometry"),
    ]


def test_what_is_no_geopackage_has_no_tables() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        assert feature_tables(database) == ()


def test_a_geometry_is_encoded_as_the_standard_asks() -> None:
    blob = geometry_blob(BOX.wkb, 32633, BOX.bounds)
    assert blob == simulator.blob(BOX, 32633)
    assert blob_extent(blob) == BOX.bounds


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("envelope", [0, 1, 2, 3, 4])
def test_the_extent_is_read_from_the_envelope(envelope: int, little: bool) -> None:
    blob = gpkg_blob(BOX.wkb, 32633, envelope=envelope, little=little)
    assert blob_extent(blob) == (None if envelope == 0 else (0, 2, 1, 3))
    assert blob_of_crs(blob, 32633) is blob
    assert blob_of_crs(gpkg_blob(BOX.wkb, 5, envelope=envelope, little=little), 32633) == blob


def test_definitions_are_those_of_the_epsg_registry() -> None:
    for epsg in SUPPORTED_EPSG:
        name, wkt = crs_definition(epsg)
        expected = CRS.from_epsg(epsg)
        assert name == expected.name
        assert CRS.from_wkt(wkt) == CRS.from_wkt(expected.to_wkt("WKT1_GDAL", output_axis_rule=True))
        assert CRS.from_wkt(wkt).to_epsg() == epsg


def test_what_nearly_every_user_has_needs_no_pyproj(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyproj", None)
    for epsg in (4326, 3857, 3035, *range(32601, 32661), *range(32701, 32761)):
        assert crs_definition(epsg).wkt.endswith(f'AUTHORITY["EPSG","{epsg}"]]')
        assert epsg == 4326 or crs_projjson(epsg) is not None


def test_other_systems_need_pyproj_and_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyproj", None)
    error = r"EPSG:2154 needs pyproj, .*pip install 'airflow-provider-sentinelhub\[geo\]'"
    with pytest.raises(InvalidConfiguration, match=error), new_geopackage(tmp_path / "a.gpkg") as connection:
        add_layer(connection, 2154)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidConfiguration, match=error):
        crs_projjson(2154)


def test_what_the_service_does_not_know_is_left_to_the_check() -> None:
    assert crs_definition(4258) == ("EPSG:4258", "undefined")


def test_a_rerun_takes_the_definition_of_its_original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for epsg in (2154, 3035):
        with new_geopackage(tmp_path / f"{epsg}.gpkg") as connection:
            add_layer(connection, epsg)
    described = crs_definition(2154)
    with closing(sqlite3.connect(tmp_path / "3035.gpkg")) as other, other:
        other.execute("UPDATE gpkg_spatial_ref_sys SET definition = 'undefined'")
    monkeypatch.setitem(sys.modules, "pyproj", None)
    with new_geopackage(tmp_path / "rerun.gpkg") as connection:
        for epsg in (3035, 2154):
            attach(connection, tmp_path / f"{epsg}.gpkg", f"epsg_{epsg}")
        for epsg in (3035, 2154):
            add_layer(connection, epsg)
        found = connection.execute("SELECT srs_name, definition FROM main.gpkg_spatial_ref_sys WHERE srs_id = 2154")
        assert found.fetchall() == [described]
        found = connection.execute("SELECT definition FROM main.gpkg_spatial_ref_sys WHERE srs_id = 3035")
        assert found.fetchone() == (crs_definition(3035).wkt,)
