"""
The feature tables of an existing GeoPackage, found and read with SQLite alone.

Source: https://www.geopackage.org/spec130/ (geometry columns).
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import quoted, table_columns

if TYPE_CHECKING:
    from collections.abc import Container


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """
    A feature table of an existing GeoPackage, unchecked.

    :param name: Its name.
    :param columns: Its columns: lower-case name to real name.
    :param geometry: Name of the geometry column.
    :param organization: Organization that defines the coordinate reference system, e.g. ``EPSG``; empty where unknown.
    :param code: Its code there.
    :param key: A unique expression for SQL. Default: the rowid.
    """

    name: str
    columns: dict[str, str]
    geometry: str
    organization: str
    code: int
    key: str = "rowid"

    @property
    def epsg(self) -> int | None:
        """EPSG code of its coordinates; ``None`` where it has none."""
        return self.code if self.organization.upper() == "EPSG" and self.code > 0 else None

    def column(self, name: str) -> str:
        """
        Return a column for SQL; ``NULL`` where the table has none of that name.

        :param name: In lower case.
        """
        return quoted(self.columns[name]) if name in self.columns else "NULL"

    def without(self, names: Container[str]) -> FeatureTable:
        """
        Return the table without some of its columns.

        :param names: Which, in lower case.
        """
        return replace(self, columns={name: real for name, real in self.columns.items() if name not in names})


def feature_tables(connection: sqlite3.Connection, layer: str | None = None) -> tuple[FeatureTable, ...]:
    """
    Return the feature tables of an open GeoPackage, in order of name; empty for any other file.

    :param connection: The open file, in the block of :func:`open_sqlite`.
    :param layer: Only this one. Default: all.
    """
    if not all(table_columns(connection, name) for name in ("gpkg_geometry_columns", "gpkg_spatial_ref_sys")):
        return ()
    rows = connection.execute(
        "SELECT g.table_name, g.column_name, coalesce(s.organization, ''), "
        "coalesce(CAST(s.organization_coordsys_id AS INTEGER), 0) "
        "FROM gpkg_geometry_columns g LEFT JOIN gpkg_spatial_ref_sys s ON s.srs_id = g.srs_id ORDER BY 1, 2"
    ).fetchall()
    tables = []
    for name, geometry, organization, code in rows:
        if layer not in {None, name}:
            continue
        # Users register views as layers; whether it accepts them is for the service to decide.
        columns = table_columns(connection, str(name), may_be_view=True)
        key = _key(connection, str(name), columns)
        tables.append(FeatureTable(str(name), columns, str(geometry), str(organization), int(code), key))
    return tuple(tables)


def text_columns(connection: sqlite3.Connection, table: FeatureTable) -> list[str]:
    """
    Return the columns that are declared as text.

    :param connection: The open GeoPackage.
    :param table: Its table.
    """
    declared = "SELECT name FROM pragma_table_info(?) WHERE upper(type) LIKE 'TEXT%' OR upper(type) LIKE '%CHAR%'"
    return [name for (name,) in connection.execute(declared, (table.name,)) if name.lower() in table.columns]


def _key(connection: sqlite3.Connection, table: str, columns: dict[str, str]) -> str:
    """Return a unique expression: the rows of a table WITHOUT ROWID have no rowid."""
    try:
        first = connection.execute(f"SELECT rowid FROM {quoted(table)} LIMIT 1").fetchone()  # noqa: S608 - quoted
    except sqlite3.OperationalError:
        first = (None,)
    return quoted(next(iter(columns.values()))) if columns and first == (None,) else "rowid"


def feature_name(connection: sqlite3.Connection, table: FeatureTable, row: Any) -> str:
    """
    Return the name of a feature for a message.

    :param connection: The open GeoPackage.
    :param table: Its table.
    :param row: Its key.
    """
    query = f"SELECT {table.column('identifier')} FROM {quoted(table.name)} WHERE {table.key} = ?"  # noqa: S608 - quoted
    (identifier,) = connection.execute(query, (row,)).fetchone()
    return identifier if isinstance(identifier, str) and identifier else f"row {row} of {table.name!r}"
