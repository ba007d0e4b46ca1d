"""Text in other encodings than UTF-8: read where a file names its encoding, and otherwise an error that names it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyogrio  # type: ignore[import-untyped,unused-ignore]
import pytest
import shapely
from pyarrow import parquet

from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage
from airflow_provider_sentinelhub.artifacts.features.features import Columns
from airflow_provider_sentinelhub.artifacts.features.problems import Rule
from airflow_provider_sentinelhub.artifacts.features.sources import from_file, from_geometries
from airflow_provider_sentinelhub.artifacts.features.writer import Size, write_geopackages
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from pathlib import Path

BOX = shapely.box(500_000, 4_600_000, 500_500, 4_600_250)
NAMES = ["Příbram", "Žatec"]


def shapefile(folder: Path, *, encoding: str = "CP1250", cpg: str | None, driver: int = 0, column: str) -> Path:
    path = folder / "fields.shp"
    geometries = np.array([BOX.wkb] * 2, dtype=object)
    fields = [np.array(NAMES, dtype=object)]
    more = {"geometry_type": "Polygon", "driver": "ESRI Shapefile", "crs": "EPSG:32632", "encoding": encoding}
    pyogrio.raw.write(path, geometries, fields, [column], **more)
    path.with_suffix(".cpg").unlink(missing_ok=True)
    if cpg is not None:
        path.with_suffix(".CPG").write_text(cpg)
    dbf = bytearray(path.with_suffix(".dbf").read_bytes())
    dbf[29] = driver
    path.with_suffix(".dbf").write_bytes(dbf)
    return path


@pytest.mark.parametrize("column", ["identifier", "název"])
@pytest.mark.parametrize(
    ("encoding", "cpg", "driver"),
    [
        ("CP1250", "ANSI 1250\n", 0),
        ("CP1250", "1250", 0),
        ("CP1250", "windows-1250", 0x57),
        ("CP1250", None, 0xC8),
        ("CP1250", "System", 0xC8),
        ("ISO-8859-2", "88592", 0),
        ("ISO-8859-2", "ISO 8859-2", 0x57),
        ("CP852", "OEM 852", 0xC8),
        ("CP852", None, 0x64),
        ("UTF-8", "65001", 0),
        ("UTF-8", None, 0x57),
    ],
)
def test_a_shapefile_names_its_encoding(
    tmp_path: Path, encoding: str, cpg: str | None, driver: int, column: str
) -> None:
    path = shapefile(tmp_path, encoding=encoding, cpg=cpg, driver=driver, column=column)
    (batch,) = from_file(path, columns=Columns(identifier=column))
    assert (batch.epsg, batch.identifiers) == (32632, NAMES)


@pytest.mark.parametrize(
    ("cpg", "driver", "why"),
    [
        (None, 0, "not in UTF-8, and there is no fields.cpg that names its encoding"),
        # GDAL takes it for Latin-1, and makes Pøíbram of it.
        (None, 0x57, "not in UTF-8, and there is no fields.cpg that names its encoding"),
        ("System", 0, "not in UTF-8, and fields.cpg says 'System', which names no encoding"),
        ("UTF-8", 0xC8, "not in UTF-8, which fields.cpg names"),
    ],
)
def test_a_shapefile_that_names_none_is_not_guessed_at(tmp_path: Path, cpg: str | None, driver: int, why: str) -> None:
    with pytest.raises(InvalidParameter) as found:
        list(from_file(shapefile(tmp_path, cpg=cpg, driver=driver, column="identifier")))
    assert str(found.value) == (
        f"columns.identifier = {NAMES[0].encode('cp1250')!r}: fields.shp, layer 'fields' has 2 names {why}: row 1 "
        f"({NAMES[0].encode('cp1250')!r}); row 2 ({NAMES[1].encode('cp1250')!r}). Write the number of its code page, "
        "e.g. 1250, into fields.cpg beside it."
    )
    with pytest.raises(InvalidParameter, match=r"has names of columns not in UTF-8"):
        list(from_file(shapefile(tmp_path, cpg=cpg, driver=driver, column="název")))


def text_file(folder: Path, suffix: str, encoding: str) -> Path:
    feature = {"type": "Feature", "properties": {"identifier": NAMES[0]}, "geometry": shapely.geometry.mapping(BOX)}
    texts = {
        ".csv": f'identifier,wkt\n{NAMES[0]},"{BOX.wkt}"\n',
        ".geojson": json.dumps({"type": "FeatureCollection", "features": [feature]}, ensure_ascii=False),
    }
    (folder / f"fields{suffix}").write_bytes(texts[suffix].encode(encoding))
    return folder / f"fields{suffix}"


@pytest.mark.parametrize("suffix", [".csv", ".geojson"])
def test_a_text_file_says_its_encoding_by_its_mark_only(tmp_path: Path, suffix: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        (batch,) = from_file(text_file(tmp_path, suffix, encoding), epsg=32632)
        assert batch.identifiers == [NAMES[0]]
    with pytest.raises(InvalidParameter, match=rf"has 1 name not in UTF-8: row 1 .* -t UTF-8 fields\{suffix}\.$"):
        list(from_file(text_file(tmp_path, suffix, "cp1250"), epsg=32632))
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(text_file(tmp_path, suffix, "utf-16").read_bytes()[:-1])
    with pytest.raises(InvalidParameter, match=rf"^source = 'cut\{suffix}': has text or names of columns not in UTF-8"):
        list(from_file(path, epsg=32632))


def test_names_that_are_not_utf_8_do_not_become_the_same(tmp_path: Path) -> None:
    path = tmp_path / "fields.gpkg"
    write_geopackages(from_geometries({"a": BOX, "b": BOX, NAMES[0]: BOX}, epsg=32632), path, size=Size(5, 5))
    assert check_geopackage(path) == ()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE features_32632 SET identifier = CAST(x'42f8' AS TEXT) WHERE id = 1")
        database.execute("UPDATE features_32632 SET identifier = CAST(x'42f9' AS TEXT) WHERE id = 2")
    for validity in (True, False):
        assert [(found.rule, found.count) for found in check_geopackage(path, validity=validity)] == [
            (Rule.IDENTIFIER_ENCODING, 2)
        ]
    with pytest.raises(InvalidParameter, match=r"has 2 names not in UTF-8: row 1 \(b'B\\xf8'\); row 2 \(b'B\\xf9'\)\."):
        list(from_file(path))


def test_half_a_character_is_no_text(tmp_path: Path) -> None:
    feature = {"type": "Feature", "properties": {"identifier": "a\ud800"}, "geometry": shapely.geometry.mapping(BOX)}
    with pytest.raises(InvalidParameter, match=r"has 1 name not in UTF-8: row 1 \(b'a\\xed\\xa0\\x80'\)"):
        write_geopackages(from_geometries([feature], epsg=32632), tmp_path / "a.gpkg")
    (batch,) = from_geometries({"č": BOX, b"\xc4\x8d2": BOX}, epsg=32632)
    assert batch.identifiers == ["č", "č2"]


def test_parquet_whose_text_is_not_utf_8_is_named(tmp_path: Path) -> None:
    garbled = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 2], np.int32)), pa.py_buffer(b"B\xf8")]
    )
    parquet.write_table(pa.table({"identifier": garbled, "geometry": [BOX.wkb]}), tmp_path / "a.parquet")
    with pytest.raises(InvalidParameter, match=r"a\.parquet has 1 name not in UTF-8: row 1 \(b'B\\xf8'\)\."):
        list(from_file(tmp_path / "a.parquet", epsg=32632))
