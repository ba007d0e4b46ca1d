"""Features from where users have them into GeoPackages the service takes."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import tracemalloc
import zipfile
from contextlib import closing
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyogrio  # type: ignore[import-untyped,unused-ignore]
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.features import archive
from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage
from airflow_provider_sentinelhub.artifacts.features.features import Columns
from airflow_provider_sentinelhub.artifacts.features.problems import Rule
from airflow_provider_sentinelhub.artifacts.features.sources import from_file, from_geometries, from_rows
from airflow_provider_sentinelhub.artifacts.features.writer import Size, WrittenGeoPackage, write_geopackages
from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidParameter
from airflow_provider_sentinelhub.simulator.bucket import geopackage as simulator
from airflow_provider_sentinelhub.simulator.features import features as simulated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOX = shapely.box(500_000, 4_600_000, 500_500, 4_600_250)
PAIR = shapely.MultiPolygon([BOX, shapely.box(500_600, 4_600_000, 500_700, 4_600_100)])
DEGREES = shapely.box(9, 42, 9.01, 42.01)


def moved(number: int) -> shapely.Polygon:
    return shapely.box(500_000 + number, 4_600_000, 500_100 + number, 4_600_100)


def rows(path: Path, table: str = "features_32632") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database:
        found = database.execute(
            f"SELECT id, identifier, width, height, resolution, geometry FROM {table} ORDER BY id"  # noqa: S608
        )
        return [(*row, simulator.unblob(blob)) for *row, blob in found]


@pytest.mark.parametrize(
    "given",
    [
        BOX,
        BOX.wkt,
        f" srid=32632; {BOX.wkt}",
        BOX.wkb,
        BOX.wkb_hex,
        f"\\x{BOX.wkb_hex}",
        bytearray(BOX.wkb),
        memoryview(BOX.wkb),
        simulator.blob(BOX, 32632),
        shapely.to_wkb(shapely.set_srid(BOX, 32632), include_srid=True),
        shapely.to_wkb(shapely.set_srid(BOX, 32632), include_srid=True, hex=True),
        shapely.to_wkb(BOX, byte_order=0),
        json.loads(shapely.to_geojson(BOX)),
        shapely.force_3d(BOX, 7.0),
    ],
    ids=lambda given: type(given).__name__,
)
def test_a_geometry_may_come_in_any_form(tmp_path: Path, given: Any) -> None:
    # Beside another form, and alone: the two are read in different ways.
    for geometries in ([given], [given, PAIR.wkt]):
        write_geopackages(from_geometries(geometries, epsg=32632), tmp_path / "a.gpkg", size=Size(resolution=10))
        assert rows(tmp_path / "a.gpkg")[0] == (1, "0000001", None, None, 10.0, BOX)
        assert check_geopackage(tmp_path / "a.gpkg") == ()


def test_geometries_say_themselves_where_they_are(tmp_path: Path) -> None:
    geometries = {
        "ewkt": f"SRID=32633;{BOX.wkt}",
        "ewkb": shapely.to_wkb(shapely.set_srid(DEGREES, 4326), include_srid=True),
        "other": f"SRID=32632;{BOX.wkt}",
    }
    (written,) = write_geopackages(from_geometries(geometries), tmp_path / "a.gpkg")
    assert written == WrittenGeoPackage(tmp_path / "a.gpkg", 3, (4326, 32632, 32633))
    assert [rows(written.path, f"features_{epsg}")[0][:2] for epsg in written.layers] == [
        (1, "ewkb"),
        (2, "other"),
        (3, "ewkt"),
    ]
    found = simulated.from_geopackage(written.path, {"width": 5, "height": 5}, None)
    assert {each.name: each.crs for each in found} == {"ewkt": 32633, "ewkb": 4326, "other": 32632}


def test_polygons_and_multipolygons_stay_what_they_are(tmp_path: Path) -> None:
    write_geopackages(from_geometries([BOX, PAIR], epsg=32632), tmp_path / "a.gpkg", size=Size(5, 5))
    assert [row[-1] for row in rows(tmp_path / "a.gpkg")] == [BOX, PAIR]
    assert check_geopackage(tmp_path / "a.gpkg") == ()


@pytest.mark.parametrize(
    ("row", "size", "expected"),
    [
        ((None, None, None), Size(), (None, None, None)),
        ((None, None, None), Size(width=7, height=8), (7, 8, None)),
        ((None, None, None), Size(resolution=20), (None, None, 20.0)),
        ((None, None, None), Size(resolution=20, in_pixels=True), (25, 13, None)),
        ((None, None, None), Size(resolution=250 / 3, in_pixels=True), (6, 3, None)),
        ((None, None, None), Size(resolution=9999, in_pixels=True), (None, None, 9999.0)),
        ((3.0, 4.0, float("nan")), Size(resolution=20), (3, 4, None)),
        ((None, None, 50), Size(width=7, height=8), (None, None, 50.0)),
        ((None, None, 50), Size(resolution=20, in_pixels=True), (10, 5, None)),
    ],
)
def test_a_feature_has_its_own_size_or_the_one_given(
    tmp_path: Path, row: tuple[Any, ...], size: Size, expected: tuple[Any, ...]
) -> None:
    batches = from_rows([("a", BOX.wkb, *row)], ("identifier", "geom", "Width", "height", "RESOLUTION"), epsg=32632)
    write_geopackages(batches, tmp_path / "a.gpkg", size=size)
    assert rows(tmp_path / "a.gpkg")[0][2:5] == expected


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (Decimal(7), 7),
        (Decimal("7.0"), 7),
        (np.int64(7), 7),
        (np.float32(7), 7),
        ("7", 7),
        (Decimal("NaN"), None),
        (1 << 70, float(1 << 70)),
        ([7], "[7]"),
        (date(2026, 1, 1), "2026-01-01"),
    ],
    ids=str,
)
def test_a_size_may_be_any_number_and_what_is_none_is_named(tmp_path: Path, given: Any, written: Any) -> None:
    batches = from_rows([("a", BOX.wkb, given, given)], ("identifier", "geom", "width", "height"), epsg=32632)
    write_geopackages(batches, tmp_path / "a.gpkg", size=Size(7, 7))
    assert rows(tmp_path / "a.gpkg")[0][2] == (7 if written is None else written)
    found = [problem.rule for problem in check_geopackage(tmp_path / "a.gpkg")]
    assert found == ([] if written in (7, None) else [Rule.SIZE_NUMBER])


@pytest.mark.parametrize("given", [Decimal("0.5"), np.float32(0.5), 0.5, "0.5"], ids=repr)
def test_a_resolution_may_be_any_number(tmp_path: Path, given: Any) -> None:
    for in_pixels, expected in ((False, (None, None, 0.5)), (True, (1000, 500, None))):
        batches = from_rows([("a", BOX.wkb, given)], ("identifier", "geom", "resolution"), epsg=32632)
        write_geopackages(batches, tmp_path / "a.gpkg", size=Size(resolution=10, in_pixels=in_pixels))
        assert rows(tmp_path / "a.gpkg")[0][2:5] == expected


@pytest.mark.parametrize("in_pixels", [False, True])
@pytest.mark.parametrize("resolution", [None, float("inf")])
def test_what_has_no_end_is_named(tmp_path: Path, resolution: float | None, in_pixels: bool) -> None:
    endless = "POLYGON((500000 4600000, inf 4600000, inf 4600100, 500000 4600000))"
    size = Size(resolution=10, in_pixels=in_pixels)
    given = [("a", endless if resolution is None else BOX.wkt, resolution)]
    write_geopackages(from_rows(given, ("identifier", "wkt", "resolution"), epsg=32632), tmp_path / "a.gpkg", size=size)
    found = {problem.rule for problem in check_geopackage(tmp_path / "a.gpkg")}
    assert (Rule.VALID if resolution is None else Rule.RESOLUTION) in found


@pytest.mark.parametrize("in_pixels", [False, True])
def test_a_feature_of_as_many_pixels_as_it_may_have_is_taken(tmp_path: Path, in_pixels: bool) -> None:
    # In binary 1.05 - 0.7 is a hair more than 0.35.
    batches = from_geometries([shapely.box(0.7, 0.7, 1.05, 1.05)], epsg=4326)
    write_geopackages(batches, tmp_path / "a.gpkg", size=Size(resolution=0.0001, in_pixels=in_pixels))
    assert check_geopackage(tmp_path / "a.gpkg") == ()


@pytest.mark.parametrize(
    "size",
    [
        {"width": 5},
        {"height": 5},
        {"width": 5, "height": 5, "resolution": 1},
        {"resolution": 0},
        {"resolution": float("inf")},
        {"resolution": -1},
    ],
)
def test_a_size_that_contradicts_itself_is_refused(size: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        Size(**size)


@pytest.mark.parametrize(
    ("value", "name"), [(7, "7"), (7.0, "7"), (7.5, "7.5"), ("a/b", "a/b"), (True, "True"), ("ü", "ü")]
)
def test_names_become_text(tmp_path: Path, value: Any, name: str) -> None:
    write_geopackages(from_geometries({value: BOX}, epsg=32632), tmp_path / "a.gpkg", size=Size(5, 5))
    assert rows(tmp_path / "a.gpkg")[0][1] == name


def test_columns_are_found_by_the_names_given(tmp_path: Path) -> None:
    columns = Columns(identifier="Parcel", geometry="shape", width="w", height="h", epsg="srid")
    names = ("parcel", "identifier", "SHAPE", "geometry", "w", "h", "srid")
    given = [(f"p{n}", "no", moved(n).wkb, "no", 10 + n, 20, 32632 + n % 2) for n in range(4)]
    write_geopackages(from_rows(given, names, columns=columns), tmp_path / "a.gpkg")
    assert rows(tmp_path / "a.gpkg") == [(1, "p0", 10, 20, None, moved(0)), (2, "p2", 12, 20, None, moved(2))]
    assert rows(tmp_path / "a.gpkg", "features_32633")[0][:4] == (3, "p1", 11, 20)


def test_a_cursor_is_read_to_the_end(tmp_path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE parcels (name TEXT, wkt TEXT)")
        database.executemany("INSERT INTO parcels VALUES (?, ?)", ((f"p{n}", moved(n).wkt) for n in range(25_000)))
        cursor = database.execute("SELECT name AS identifier, wkt FROM parcels")
        batches = from_rows(cursor, [column[0] for column in cursor.description], epsg=32632)
        (written,) = write_geopackages(batches, tmp_path / "a.gpkg", size=Size(resolution=10))
    assert written.features == 25_000
    assert rows(written.path)[-1] == (25_000, "p24999", None, None, 10.0, moved(24_999))
    assert check_geopackage(written.path) == ()


def test_what_is_too_much_for_one_file_goes_into_the_next(tmp_path: Path) -> None:
    def batches() -> Iterator[Any]:
        yield from from_geometries((moved(n) for n in range(12)), epsg=32632)
        yield from from_geometries([moved(12)], epsg=32633)

    written = write_geopackages(batches(), tmp_path / "a.gpkg", size=Size(5, 5), max_features=5)
    assert [(file.path.name, file.features, file.layers) for file in written] == [
        ("a.gpkg", 5, (32632,)),
        ("a-2.gpkg", 5, (32632,)),
        ("a-3.gpkg", 3, (32632, 32633)),
    ]
    assert [row[1] for file in written for row in rows(file.path)] == [f"{n:07d}" for n in range(1, 13)]
    assert rows(written[2].path, "features_32633") == [(3, "0000013", 5, 5, None, moved(12))]


@given(st.lists(st.integers(0, 7), max_size=8), st.integers(1, 9))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_feature_is_lost_between_files(tmp_path: Path, sizes: list[int], most: int) -> None:
    names = iter(range(10_000))
    parts = [{str(next(names)): moved(n) for n in range(size)} for size in sizes]
    batches = (batch for part in parts for batch in from_geometries(part, epsg=32632))
    written = write_geopackages(batches, tmp_path / "a.gpkg", size=Size(5, 5), max_features=most)
    found = [(row[1], row[-1]) for file in written for row in rows(file.path)]
    assert found == [item for part in parts for item in part.items()]
    assert all(file.features == most for file in written[:-1])


def test_no_features_make_no_file(tmp_path: Path) -> None:
    assert write_geopackages(from_geometries([]), tmp_path / "a.gpkg") == ()
    assert list(tmp_path.iterdir()) == []


def test_a_geopackage_is_read_layer_by_layer(tmp_path: Path) -> None:
    batches = [*from_geometries({"a": BOX}, epsg=32632), *from_geometries({"b": DEGREES}, epsg=4326)]
    write_geopackages(batches, tmp_path / "a.gpkg", size=Size(5, 5))
    write_geopackages(from_file(tmp_path / "a.gpkg"), tmp_path / "b.gpkg")
    assert rows(tmp_path / "b.gpkg") == [(1, "a", 5, 5, None, BOX)]
    assert rows(tmp_path / "b.gpkg", "features_4326") == [(2, "b", 5, 5, None, DEGREES)]
    (written,) = write_geopackages(from_file(tmp_path / "a.gpkg", layer="features_4326"), tmp_path / "c.gpkg")
    assert (written.features, written.layers) == (1, (4326,))


CRS84 = {"id": {"authority": "OGC", "code": "CRS84"}}


@pytest.mark.parametrize(
    ("described", "epsg"),
    [
        ({"crs": {"id": {"authority": "EPSG", "code": 32632}}}, 32632),
        ({"crs": CRS84}, 4326),
        ({}, 4326),
        (None, 3035),
    ],
    ids=["EPSG", "CRS84", "absent", "given"],
)
def test_a_geoparquet_says_where_it_is(tmp_path: Path, described: dict[str, Any] | None, epsg: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({"where": [BOX.wkb, PAIR.wkb], "Field": ["a", "b"], "crop": [1, 2], "resolution": [10.0, None]})
    if described is not None:
        geo = {"version": "1.1.0", "primary_column": "where", "columns": {"where": {"encoding": "WKB", **described}}}
        table = table.replace_schema_metadata({"geo": json.dumps(geo)})
    parquet.write_table(table, tmp_path / "a.parquet")
    columns = Columns(identifier="field", geometry=None if described is not None else "where")
    batches = from_file(tmp_path / "a.parquet", columns=columns, epsg=None if described is not None else 3035)
    (written,) = write_geopackages(batches, tmp_path / "a.gpkg", size=Size(resolution=20))
    assert written.layers == (epsg,)
    assert rows(written.path, f"features_{epsg}") == [(1, "a", None, None, 10.0, BOX), (2, "b", None, None, 20.0, PAIR)]


def feature(**properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "id": "f1", "properties": properties, "geometry": json.loads(shapely.to_geojson(BOX))}


@pytest.mark.parametrize(
    "make", [list, tuple, iter, lambda some: {"type": "FeatureCollection", "features": some}, json.dumps]
)
def test_features_have_the_names_in_their_properties(make: Any) -> None:
    some = [feature(Identifier="a", width=7, height=8), feature(identifier=None, parcel="p")]
    (batch,) = from_geometries(make([feature(identifier="a", width=7, height=8)]), epsg=32632)
    assert (batch.identifiers, batch.widths, batch.heights) == (["a"], [7], [8])
    (batch,) = from_geometries(make(some[1:]), epsg=32632, columns=Columns(identifier="parcel"))
    assert batch.identifiers == ["p"]
    (batch,) = from_geometries(make(some[1:]), epsg=32632, columns=Columns(identifier="id"))
    assert batch.identifiers == ["f1"]


def test_a_feature_without_geometry_or_properties_is_one_all_the_same() -> None:
    bare = {"type": "Feature", "properties": None, "geometry": None}
    (batch,) = from_geometries([bare, feature(identifier="b", geometry="mine"), BOX], epsg=32632)
    assert (batch.identifiers, batch.geometries.tolist()) == ([None, "b", None], [None, BOX, BOX])
    (batch,) = from_geometries(feature(identifier="b"), epsg=32632)
    assert batch.identifiers == ["b"]
    (batch,) = from_geometries({"a": feature(identifier="b", width=7), "c": BOX.wkt}, epsg=32632)
    assert (batch.identifiers, batch.widths) == (["a", "c"], [7, None])


def said_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    # pyogrio logs what it does as well.
    return [each.getMessage() for each in caplog.records if each.name.startswith("airflow_provider_sentinelhub")]


def of_gdal(path: Path, driver: str) -> None:
    geometries = np.array([BOX.wkb], dtype=object)
    columns = [np.array([value], dtype=object) for value in ("p1", "Meier")] + [np.array([7])]
    more = {"geometry_type": "Polygon", "driver": driver, "crs": "EPSG:32632"}
    pyogrio.raw.write(path, geometries, columns, ["parcel", "owner", "number"], **more)


@pytest.mark.parametrize(
    ("name", "driver"), [("a.gpkg", "GPKG"), ("a.shp", "ESRI Shapefile"), ("a.geojson", "GeoJSON")]
)
def test_columns_that_could_have_the_names_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, driver: str
) -> None:
    of_gdal(tmp_path / name, driver)
    (batch,) = from_file(tmp_path / name)
    assert batch.identifiers is None
    (said,) = said_in(caplog)
    assert said == (
        f"{name}, layer 'a' has no column identifier, so its features have numbers and no names. Columns of text that "
        "could have the names: parcel, owner. Name one with columns={'identifier': 'parcel'}."
    )
    caplog.clear()
    (batch,) = from_file(tmp_path / name, columns=Columns(identifier="parcel"))
    assert (batch.identifiers, said_in(caplog)) == (["p1"], [])


def test_columns_of_rows_that_could_have_the_names_are_named(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    list(from_rows([(BOX.wkt, 1, "p1", None), (BOX.wkt, 2, None, None)], ("wkt", "n", "parcel", "x"), epsg=32632))
    list(from_geometries([feature(crop="rye")], epsg=32632))
    parquet.write_table(pa.table({"geometry": [BOX.wkt], "n": [1], "plot": ["p1"]}), tmp_path / "a.parquet")
    list(from_file(tmp_path / "a.parquet", epsg=32632))
    assert [message.partition(": ")[2].partition(".")[0] for message in said_in(caplog)] == [
        "parcel",
        "id, crop",
        "plot",
    ]
    caplog.clear()
    list(from_geometries([BOX.wkt], epsg=32632))
    list(from_rows([(BOX.wkt, "p1", "a")], ("wkt", "parcel", "IDENTIFIER"), epsg=32632))
    assert said_in(caplog) == []


def packed(path: Path, folder: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("readme.txt", "of the cadastre")
        archive.writestr("__MACOSX/export/._a.shp", "of macOS")
        for file in folder.iterdir():
            for name in names:
                archive.write(file, f"{name}{file.suffix}")
    return path


@pytest.mark.parametrize(
    ("name", "driver"), [("a.gpkg", "GPKG"), ("a.shp", "ESRI Shapefile"), ("a.geojson", "GeoJSON")]
)
def test_a_zip_may_have_a_folder_inside(tmp_path: Path, name: str, driver: str) -> None:
    (tmp_path / "files").mkdir()
    of_gdal(tmp_path / "files" / name, driver)
    for inside in ("a", "export/2026/a"):
        path = packed(tmp_path / "fields.zip", tmp_path / "files", inside)
        (batch,) = from_file(path, columns=Columns(identifier="parcel"))
        assert (batch.epsg, batch.identifiers) == (32632, ["p1"])
    path = packed(tmp_path / "fields.zip", tmp_path / "files", "north/a", "south/b")
    assert len(list(from_file(path))) == 2
    assert len(list(from_file(path, layer="b"))) == 1
    with pytest.raises(InvalidParameter, match=r"has several files with features: north/a\..*, south/b\..*layer="):
        list(from_file(path, layer="c"))
    path = packed(tmp_path / "fields.zip", tmp_path / "files", "north/a", "north/a/a")
    assert len(list(from_file(path, layer="a"))) == 2
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a.kml", "")
    with pytest.raises(InvalidParameter, match=r"has several files with features: a\.kml, north/a"):
        list(from_file(path, layer="c"))


def test_a_zip_of_a_password_or_of_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    of_gdal(tmp_path / "files" / "a.geojson", "GeoJSON")
    path = packed(tmp_path / "fields.zip", tmp_path / "files", "a")
    locked = bytearray(path.read_bytes())
    # The flag of encryption, in the directory and before the content of each file.
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for start in (found.start() for found in re.finditer(mark, bytes(locked))):
            locked[start + flags] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(InvalidParameter, match=r"cannot be unpacked \(.*password.*\)\. Pack it again"):
        list(from_file(tmp_path / "locked.zip"))
    monkeypatch.setattr(archive, "MAX_BYTES", 100)
    with pytest.raises(InvalidParameter, match=r"unpacks to [\d,]+ bytes, and at most 100 are read"):
        list(from_file(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_zip_is_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "fields.zip"
    with zipfile.ZipFile(path, "w", method) as packer:
        packer.writestr("é.geojson", bytes(range(256)) * 20)
    intact = path.read_bytes()
    content, directory = intact.index(b".geojson") + 8, intact.index(b"PK\x01\x02")
    for damaged in (
        intact[:content] + b"\x5a" * 40 + intact[content + 40 :],
        intact.replace("é".encode(), b"\xff\xfe"),
        # The content would begin before the file.
        intact[:-6] + b"\xff\xff\xff\x7f" + intact[-2:],
        intact[:directory],
    ):
        path.write_bytes(damaged)
        with pytest.raises(InvalidParameter, match=r"cannot be unpacked \("):
            list(from_file(path))


def test_a_zip_with_a_long_name_is_refused_and_one_with_many_files_is_read(tmp_path: Path) -> None:
    path = tmp_path / "fields.zip"
    with zipfile.ZipFile(path, "w") as packer:
        packer.writestr(f"{'a' * 300}.geojson", "{}")
    with pytest.raises(InvalidParameter, match=r"cannot be unpacked \(.*File name too long.*with shorter names"):
        list(from_file(path))
    with zipfile.ZipFile(path, "w") as packer:
        for number in range(5000):
            packer.writestr(f"{number}.txt", "")
        for number in range(500):
            packer.writestr(f"{number}.kml", "")
    with archive.unpacked(path, None) as files:
        assert len(files) == 500


def test_without_gdal_the_user_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(InvalidConfiguration, match=r"needs pyogrio.*: pip install .*\[geo\]'\."):
        list(from_file(tmp_path / "a.geojson"))


def test_geojson(tmp_path: Path) -> None:
    features = [
        {"type": "Feature", "geometry": json.loads(shapely.to_geojson(DEGREES)), "properties": {"name": n, "width": 5}}
        for n in ("a", "b")
    ]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    batches = from_file(tmp_path / "a.geojson", columns=Columns(identifier="name"))
    write_geopackages(batches, tmp_path / "a.gpkg")
    assert [row[:5] for row in rows(tmp_path / "a.gpkg", "features_4326")] == [
        (1, "a", 5, None, None),
        (2, "b", 5, None, None),
    ]
    assert rows(tmp_path / "a.gpkg", "features_4326")[0][-1].equals(DEGREES)


@pytest.mark.parametrize("properties", [{}, {"field_id": 7}])
def test_geojson_needs_no_columns(tmp_path: Path, properties: dict[str, Any]) -> None:
    geometry = json.loads(shapely.to_geojson(DEGREES))
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature] * 2}))
    write_geopackages(from_file(tmp_path / "a.geojson"), tmp_path / "a.gpkg", size=Size(5, 5))
    assert [row[:4] for row in rows(tmp_path / "a.gpkg", "features_4326")] == [
        (1, "0000001", 5, 5),
        (2, "0000002", 5, 5),
    ]
    (tmp_path / "empty.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    assert list(from_file(tmp_path / "empty.geojson")) == []


def test_heights_are_left_out(tmp_path: Path) -> None:
    geometry = json.loads(shapely.to_geojson(shapely.force_3d(DEGREES, 5)))
    feature = {"type": "Feature", "geometry": geometry, "properties": {}}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    batches = [*from_file(tmp_path / "a.geojson"), *from_geometries([f"SRID=4979;{DEGREES.wkt}"])]
    (written,) = write_geopackages(batches, tmp_path / "a.gpkg", size=Size(5, 5))
    assert (written.layers, written.features, check_geopackage(written.path)) == ((4326,), 2, ())
    assert not rows(written.path, "features_4326")[0][-1].has_z


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize("crs", ["EPSG:32632", None])
def test_shapefile(tmp_path: Path, crs: str | None) -> None:
    pyogrio.raw.write(
        tmp_path / "a.shp",
        np.array([BOX.wkb], dtype=object),
        [np.array([12])],
        ["number"],
        geometry_type="Polygon",
        crs=crs,
        driver="ESRI Shapefile",
    )
    batches = from_file(tmp_path / "a.shp", columns=Columns(identifier="number"), epsg=None if crs else 32632)
    write_geopackages(batches, tmp_path / "a.gpkg", size=Size(5, 5))
    assert rows(tmp_path / "a.gpkg")[0][:5] == (1, "12", 5, 5, None)
    assert rows(tmp_path / "a.gpkg")[0][-1].equals(BOX)


def test_memory_does_not_grow_with_the_number_of_features(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            batches = from_rows(((f"p{n}", moved(n).wkb) for n in range(count)), ("identifier", "wkb"), epsg=32632)
            write_geopackages(batches, tmp_path / "a.gpkg", size=Size(5, 5))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(60_000) < 1.2 * peak(20_000)
