"""Execution databases and manifests as the service writes them, and as it should not."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

TASK = "4fa0a2c1-6a4f-4a9e-9d5d-0d2b1f6f7a11"
COLUMNS = "id INTEGER, name TEXT, status TEXT, error TEXT, delivered BOOLEAN"
# id, name, status, error, delivered
Row = tuple[Any, ...]

METADATA = """
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
  description TEXT, last_change DATETIME, min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER);
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,
  geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL);
"""


def write_execution_db(
    path: Path, rows: Iterable[Row], *, columns: str = COLUMNS, table: str = "features", page_size: int = 4096
) -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA page_size={page_size}")
        database.execute(f"CREATE TABLE {table} ({columns})")
        places = ",".join("?" for _ in columns.split(","))
        database.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608
        database.commit()
    return path


@dataclass(frozen=True)
class ManifestEntry:
    identifier: str | None
    output_id: str = "default"
    path: str = "s3://bucket/folder/x.tif"
    width: int = 10
    height: int = 20
    crs: int = 32633
    geometry: bytes | None = None


def point_wkb(x: float, y: float) -> bytes:
    return struct.pack("<BIdd", 1, 1, x, y)


def gpkg_blob(wkb: bytes, srs: int, *, envelope: int = 0, little: bool = True) -> bytes:
    order = "<" if little else ">"
    doubles = (0, 4, 6, 6, 8)[envelope]
    header = struct.pack(f"{order}2sBBi", b"GP", 0, envelope << 1 | little, srs)
    return header + struct.pack(f"{order}{doubles}d", *range(doubles)) + wkb


def write_manifest(path: Path, entries: Iterable[ManifestEntry], *, geometry_column: str = "geometry") -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(METADATA)
        made = set()
        for entry in entries:
            table = f"feature_{entry.crs}"
            if entry.crs not in made:
                made.add(entry.crs)
                srs = (f"EPSG {entry.crs}", entry.crs, "EPSG", entry.crs, "undefined", None)
                database.execute("INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, ?)", srs)
                database.execute(
                    "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) "
                    "VALUES (?, 'features', ?, ?)",
                    (table, table, entry.crs),
                )
                database.execute(
                    "INSERT INTO gpkg_geometry_columns VALUES (?, ?, 'GEOMETRY', ?, 0, 0)",
                    (table, geometry_column, entry.crs),
                )
                database.execute(
                    f"CREATE TABLE {table} (fid INTEGER PRIMARY KEY AUTOINCREMENT, outputId TEXT, identifier TEXT, "
                    f"path TEXT, width INTEGER, height INTEGER, {geometry_column} BLOB)"
                )
            database.execute(
                f"INSERT INTO {table} VALUES (NULL, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (entry.output_id, entry.identifier, entry.path, entry.width, entry.height, entry.geometry),
            )
        database.commit()
    return path
