"""
GeoPackages that the service accepts as input, written with SQLite alone.

One feature table for each coordinate reference system, with the columns ``id``, ``identifier``, ``width``, ``height``,
``resolution`` and ``geometry``. The same rows give the same file, byte by byte.

Source: https://docs.planet.com/develop/apis/batch-processing/ (input GeoPackage) and
https://www.geopackage.org/spec130/ (contents, geometry columns, geometry encoding).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.geopackage.crs import (
    CrsDefinition,
    built_in_definition,
    crs_definition,
)
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import quoted
from airflow_provider_sentinelhub.client.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.geopackage.blobs import Extent

WHAT = "GeoPackage"
MAX_FEATURES = 700_000
"""Features that the service accepts in one GeoPackage."""
MAX_BYTES = 16 * 1024**3
"""Largest input GeoPackage that is read: 24 kB for each of so many features."""
APPLICATION_ID = 0x47504B47
USER_VERSION = 10300
GEOMETRY = "geometry"

_DESCRIPTION = {"srs_name", "organization", "organization_coordsys_id", "definition"}
# With the current time, two files of the same features would differ.
_LAST_CHANGE = "2000-01-01T00:00:00.000Z"
_WGS84 = 4326
# For rows of some hundred bytes this is faster than SQLite's default of 4096.
_PAGE_BYTES = 16_384
_OF_THIS_MACHINE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}
_TABLES = """
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
  description TEXT DEFAULT '', last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,
  geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name), CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
INSERT INTO gpkg_spatial_ref_sys VALUES
  ('Undefined Cartesian SRS', -1, 'NONE', -1, 'undefined', 'undefined Cartesian coordinate reference system'),
  ('Undefined geographic SRS', 0, 'NONE', 0, 'undefined', 'undefined geographic coordinate reference system');
"""


@contextmanager
def new_geopackage(path: Path) -> Iterator[sqlite3.Connection]:
    """
    Open a GeoPackage for writing; the complete file appears when the block ends, and replaces an older one.

    Where no layer was added there is no file afterwards: the service accepts no GeoPackage without a feature table.

    :param path: Where it will be.
    :raises StorageUnavailable: This machine has no disk space left, or the folder cannot be written to.
    """
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(f"{part.absolute().as_uri()}?mode=rwc", uri=True)) as connection:
            connection.text_factory = partial(str, encoding="utf-8", errors="replace")
            # An incomplete file is only ever a .part, so nothing needs to be synced; the journal undoes an index that
            # turns out to be impossible.
            connection.execute("PRAGMA journal_mode=MEMORY")
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={USER_VERSION}")
            connection.executescript(_TABLES)
            # The standard requires it in every file.
            _describe(connection, _WGS84)
            connection.commit()
            yield connection
            connection.commit()
            (layers,) = connection.execute("SELECT count(*) FROM gpkg_contents").fetchone()
        if layers:
            part.replace(path)
        else:
            path.unlink(missing_ok=True)
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _OF_THIS_MACHINE:
            raise
        raise StorageUnavailable(
            f"Could not write {path.name}: SQLite says: {error}. Free space on this worker, or choose another folder."
        ) from error
    finally:
        part.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Layer:
    """
    A feature table being written.

    :param table: Its name.
    :param epsg: EPSG code of its coordinates, which is also the srs_id in the file.
    """

    table: str
    epsg: int

    @property
    def insert(self) -> str:
        """SQL that takes ``id``, ``identifier``, ``width``, ``height``, ``resolution`` and the geometry."""
        return f"INSERT INTO main.{quoted(self.table)} VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - quoted


def add_layer(connection: sqlite3.Connection, epsg: int) -> Layer:
    """
    Add the feature table of a coordinate reference system.

    :param connection: From :func:`new_geopackage`; GeoPackages attached to it may define the system.
    :param epsg: EPSG code.
    :raises InvalidConfiguration: Describing the system needs pyproj, which is not installed.
    """
    layer = Layer(f"features_{epsg}", epsg)
    _describe(connection, epsg)
    # The geometry comes last, so that a search for identifiers reads no pages of coordinates.
    connection.execute(
        f"CREATE TABLE {quoted(layer.table)} (id INTEGER PRIMARY KEY NOT NULL, identifier TEXT NOT NULL, "
        f"width INTEGER, height INTEGER, resolution REAL, {GEOMETRY} GEOMETRY)"
    )
    connection.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change, srs_id) "
        "VALUES (?, 'features', ?, ?, ?)",
        (layer.table, layer.table, _LAST_CHANGE, epsg),
    )
    # GEOMETRY and not POLYGON: polygons and multipolygons stand side by side.
    connection.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, ?, 'GEOMETRY', ?, 0, 0)", (layer.table, GEOMETRY, epsg)
    )
    return layer


def finish_layer(connection: sqlite3.Connection, layer: Layer, extent: Extent | None) -> None:
    """
    Record the extent of a layer, and index its identifiers.

    :param connection: From :func:`new_geopackage`.
    :param layer: The layer; nothing more is added to it.
    :param extent: In its coordinates; ``None`` where no feature has a geometry.
    """
    if extent is not None:
        connection.execute(
            "UPDATE gpkg_contents SET min_x = ?, min_y = ?, max_x = ?, max_y = ? WHERE table_name = ?",
            (*extent, layer.table),
        )
    # With repeated names there is no index, and the check names them. Sorting all names at the end is faster than
    # inserting each into an index.
    with suppress(sqlite3.IntegrityError):
        index = quoted(f"{layer.table}_identifier")
        connection.execute(f"CREATE UNIQUE INDEX main.{index} ON {quoted(layer.table)} (identifier)")


def _describe(connection: sqlite3.Connection, epsg: int) -> None:
    name, wkt = built_in_definition(epsg) or _attached_definition(connection, epsg) or crs_definition(epsg)
    connection.execute(
        "INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES (?, ?, 'EPSG', ?, ?, NULL)", (name, epsg, epsg, wkt)
    )


def _attached_definition(connection: sqlite3.Connection, epsg: int) -> CrsDefinition | None:
    """
    Return the definition that a GeoPackage attached to the connection has; ``None`` where there is none.

    The features of a rerun come from such files. Their system was accepted before the first task was paid for, and
    must not need a further package after that.
    """
    for _, schema, _ in connection.execute("PRAGMA database_list").fetchall():
        columns = connection.execute("SELECT name FROM pragma_table_info('gpkg_spatial_ref_sys', ?)", (schema,))
        if schema == "main" or not {name for (name,) in columns} >= _DESCRIPTION:
            continue
        found = connection.execute(
            f"SELECT srs_name, definition FROM {quoted(schema)}.gpkg_spatial_ref_sys "  # noqa: S608 - quoted
            "WHERE upper(organization) = 'EPSG' AND CAST(organization_coordsys_id AS INTEGER) = ?",
            (epsg,),
        ).fetchone()
        if found and all(isinstance(text, str) for text in found):
            return CrsDefinition(*found)
    return None
