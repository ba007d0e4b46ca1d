"""GeoPackages as the service reads and writes them, with nothing but SQLite."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import shapely
from pyproj import CRS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from shapely.geometry.base import BaseGeometry

APPLICATION_ID = 0x47504B47
USER_VERSION = 10300
# Bytes of the bounding box between a geometry's header and its WKB, by the code in the header.
ENVELOPE_BYTES = (0, 32, 48, 48, 64)

_TABLES = """
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
  description TEXT DEFAULT '', last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER);
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,
  geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name));
INSERT INTO gpkg_spatial_ref_sys VALUES
  ('Undefined Cartesian SRS', -1, 'NONE', -1, 'undefined', NULL),
  ('Undefined geographic SRS', 0, 'NONE', 0, 'undefined', NULL);
"""


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """
    One output of one feature.

    :param crs: EPSG code of the feature.
    :param output_id: Identifier of the output.
    :param identifier: Name of the feature.
    :param path: URL of the file.
    :param width: In pixels.
    :param height: In pixels.
    :param geometry: Outline in the feature's CRS.
    """

    crs: int
    output_id: str
    identifier: str
    path: str
    width: int
    height: int
    geometry: BaseGeometry


def manifest(rows: Iterable[ManifestRow]) -> bytes:
    """
    Write a feature manifest: one table ``feature_<EPSG>`` for each CRS.

    :param rows: One for each feature and output.
    :returns: The file.
    """
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {USER_VERSION}")
        database.executescript(_TABLES)
        # The GeoPackage standard requires WGS 84.
        _describe_crs(database, 4326)
        extents: dict[int, tuple[float, float, float, float]] = {}
        for row in rows:
            if row.crs not in extents:
                _create_table(database, row.crs)
                extents[row.crs] = row.geometry.bounds
            west, south, east, north = row.geometry.bounds
            known = extents[row.crs]
            extents[row.crs] = (
                min(known[0], west), min(known[1], south), max(known[2], east), max(known[3], north)
            )  # fmt: skip
            database.execute(
                f'INSERT INTO "feature_{row.crs}" (outputId, identifier, path, width, height, geometry) '  # noqa: S608 - the name is a number
                "VALUES (?, ?, ?, ?, ?, ?)",
                (row.output_id, row.identifier, row.path, row.width, row.height, blob(row.geometry, row.crs)),
            )
        for crs, extent in extents.items():
            database.execute(
                "UPDATE gpkg_contents SET min_x = ?, min_y = ?, max_x = ?, max_y = ? WHERE table_name = ?",
                (*extent, f"feature_{crs}"),
            )
        database.commit()
        return bytes(database.serialize())


def _describe_crs(database: sqlite3.Connection, crs: int) -> None:
    known = CRS.from_epsg(crs)
    database.execute(
        "INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES (?, ?, 'EPSG', ?, ?, NULL)",
        (known.name, crs, crs, known.to_wkt("WKT1_GDAL")),
    )


def _create_table(database: sqlite3.Connection, crs: int) -> None:
    _describe_crs(database, crs)
    name = f"feature_{crs}"
    database.execute(
        f'CREATE TABLE "{name}" (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, outputId TEXT, '
        "identifier TEXT, path TEXT, width INTEGER, height INTEGER, geometry GEOMETRY)"
    )
    database.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) VALUES (?, 'features', ?, ?)",
        (name, name, crs),
    )
    database.execute("INSERT INTO gpkg_geometry_columns VALUES (?, 'geometry', 'GEOMETRY', ?, 0, 0)", (name, crs))


def blob(geometry: BaseGeometry, crs: int) -> bytes:
    """
    Encode a geometry as GeoPackage does: a header with the bounding box, then WKB.

    :param geometry: Two-dimensional, not empty.
    :param crs: EPSG code.
    """
    west, south, east, north = geometry.bounds
    header = struct.pack("<2sBBi4d", b"GP", 0, 0b00000011, crs, west, east, south, north)
    return header + bytes(shapely.to_wkb(geometry, byte_order=1))


def unblob(data: bytes) -> BaseGeometry:
    """
    Decode a geometry.

    :param data: Header and WKB.
    :raises ValueError: It is not a GeoPackage geometry.
    """
    if len(data) < 8 or data[:2] != b"GP":  # noqa: PLR2004 - the shortest header
        raise ValueError("not a GeoPackage geometry")
    envelope = (data[3] >> 1) & 0b111
    if envelope >= len(ENVELOPE_BYTES):
        raise ValueError("unknown kind of bounding box")
    return shapely.from_wkb(data[8 + ENVELOPE_BYTES[envelope] :])


@dataclass(frozen=True, slots=True)
class InputRow:
    """
    One row of a GeoPackage given as input, unchecked.

    :param table: Table it is in.
    :param id: Its primary key.
    :param crs: Organisation's number of the CRS; ``None`` when it is not an EPSG one.
    :param identifier: What its column says.
    :param geometry: As encoded.
    :param width: In pixels, or ``None``.
    :param height: In pixels, or ``None``.
    :param resolution: In units of the CRS, or ``None``.
    """

    table: str
    id: int
    crs: int | None
    identifier: object
    geometry: bytes | None
    width: int | None
    height: int | None
    resolution: float | None


def read_input(path: Path, required: tuple[str, ...] = ("id", "identifier")) -> Iterator[InputRow]:
    """
    Yield the rows of all feature tables.

    :param path: The file.
    :param required: Columns every table must have.
    :raises ValueError: It is not a GeoPackage, or a table lacks a required column.
    """
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        try:
            tables = database.execute(
                "SELECT g.table_name, g.column_name, s.organization, s.organization_coordsys_id "
                "FROM gpkg_geometry_columns g JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id"
            ).fetchall()
        except sqlite3.DatabaseError as error:
            raise ValueError(f"the file is not a GeoPackage ({error})") from error
        if not tables:
            raise ValueError("the GeoPackage has no feature table")
        for table, column, organization, number in tables:
            crs = int(number) if str(organization).upper() == "EPSG" else None
            yield from _table_rows(database, table, column, crs, required)


def _table_rows(
    database: sqlite3.Connection, table: str, geometry: str, crs: int | None, required: tuple[str, ...]
) -> Iterator[InputRow]:
    quoted = _quoted(table)
    present = {row[1] for row in database.execute(f"PRAGMA table_info({quoted})")}
    for column in required:
        if column not in present:
            raise ValueError(f"table '{table}' has no column '{column}'")
    columns = [_quoted(name) if name in present else "NULL" for name in ("identifier", "width", "height", "resolution")]
    # The primary key, whatever its column is called.
    query = f"SELECT rowid, {_quoted(geometry)}, {', '.join(columns)} FROM {quoted} ORDER BY rowid"  # noqa: S608 - quoted
    for number, outline, identifier, *size in database.execute(query):
        yield InputRow(table, number, crs, identifier, outline, *size)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
