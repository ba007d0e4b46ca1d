"""
``featureManifest-<id>.gpkg``: which outputs each feature has, and where it lies.

A GeoPackage with one table ``feature_<crs-id>`` per coordinate reference system, one row per feature and output.
Written at the end of the analysis; ``identifier`` here is ``name`` in the execution database.

Source: https://docs.planet.com/develop/apis/batch-processing/ (feature manifest) and
https://www.geopackage.org/spec130/ (contents, geometry columns, geometry encoding).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import (
    corrupt,
    generated_columns,
    open_sqlite,
    quoted,
    table_columns,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

WHAT = "feature manifest"
MAX_BYTES = 16 * 1024**3
"""Bytes of a feature manifest that is read: with 700,000 features, 24 kB for each."""


@dataclass(frozen=True, slots=True)
class ManifestTable:
    """
    One table of a manifest.

    :param name: Its name, e.g. ``feature_32633``.
    :param columns: Its columns: lower-case name to real name.
    :param geometry: Name of the geometry column, if it is registered.
    :param epsg: EPSG code of its coordinates, if the GeoPackage names one.
    """

    name: str
    columns: dict[str, str]
    geometry: str | None
    epsg: int | None


def manifest_tables(connection: sqlite3.Connection, path: Path) -> tuple[ManifestTable, ...]:
    """
    Find the feature tables of an open manifest, in order of name.

    :param connection: The open file.
    :param path: The file, for the error message.
    :raises ArtifactCorrupt: There is none, or one lacks ``identifier``, ``outputId`` or ``path``.
    """
    metadata = [table_columns(connection, name) for name in ("gpkg_contents", "gpkg_geometry_columns")]
    if not all(metadata) or not table_columns(connection, "gpkg_spatial_ref_sys"):
        raise corrupt(path, WHAT, "it lacks the tables gpkg_contents, gpkg_geometry_columns or gpkg_spatial_ref_sys")
    rows = connection.execute(
        "SELECT c.table_name, g.column_name, CASE WHEN upper(s.organization) = 'EPSG' "
        "THEN s.organization_coordsys_id END "
        "FROM gpkg_contents c LEFT JOIN gpkg_geometry_columns g ON lower(g.table_name) = lower(c.table_name) "
        "LEFT JOIN gpkg_spatial_ref_sys s ON s.srs_id = coalesce(g.srs_id, c.srs_id) "
        "WHERE c.data_type = 'features' AND lower(c.table_name) LIKE 'feature\\_%' ESCAPE '\\' ORDER BY 1"
    ).fetchall()
    if not rows:
        raise corrupt(path, WHAT, "it registers no table feature_<crs-id>")
    tables = []
    for name, geometry, epsg in rows:
        columns = table_columns(connection, name)
        missing = [column for column in ("identifier", "outputId", "path") if column.lower() not in columns]
        if missing:
            others = f"only {sorted(columns)[:20]}{generated_columns(connection, name)}"
            raise corrupt(path, WHAT, f"its table {name!r} has no column {missing}, {others}")
        known = geometry if geometry and geometry.lower() in columns else None
        tables.append(ManifestTable(name, columns, known, epsg if isinstance(epsg, int) else None))
    return tuple(tables)


def manifest_rows_sql(tables: tuple[ManifestTable, ...], schema: str = "main") -> str:
    """
    Select all rows of all tables: key, output id, path, width, height, epsg, geometry.

    The key is the identifier as bytes, so that it compares in Python as it does in SQL.

    :param tables: What :func:`manifest_tables` found.
    :param schema: Name under which the file is attached. Default: it is the main file.
    """
    return " UNION ALL ".join(_rows(table, schema) for table in tables)


def pixel_counts(path: Path) -> Iterator[tuple[int, int, int]]:
    """
    Group the features of a manifest by size: width and height in pixels, and how many features have them.

    A feature counts once, however many outputs it has. Features of a GeoPackage may all differ in size, so the groups
    are handed out one by one: memory does not grow with their number, and the file must stay until the last one.

    :param path: The manifest.
    :raises ArtifactCorrupt: It cannot be read, or a feature has no size.
    """
    with open_sqlite(path, WHAT) as connection:
        tables = manifest_tables(connection, path)
        # Identifiers are unique across all tables. Where rows of a feature disagree the larger size is the safer one.
        query = (
            "SELECT width, height, count(*) FROM ("
            "SELECT max(CAST(width AS INTEGER)) AS width, max(CAST(height AS INTEGER)) AS height FROM "
            "(SELECT NULL AS key, NULL AS width, NULL AS height WHERE 0 UNION ALL {rows}) GROUP BY key"
            ") GROUP BY width, height ORDER BY width, height"
        )
        rows = " UNION ALL ".join(_sizes(table) for table in tables)
        for width, height, count in connection.execute(query.format_map({"rows": rows})):
            if not (width and height and width > 0 and height > 0):
                raise corrupt(path, WHAT, f"{count} of its features have the size {width} x {height} pixels")
            yield width, height, count


def _key(column: str) -> str:
    return f"coalesce(CAST({column} AS BLOB), x'')"


def _sizes(table: ManifestTable) -> str:
    columns = (_key(_column(table, "identifier")), _column(table, "width"), _column(table, "height"))
    return _select(columns, quoted(table.name))


def _column(table: ManifestTable, name: str | None) -> str:
    return quoted(table.columns[name.lower()]) if name and name.lower() in table.columns else "NULL"


def _rows(table: ManifestTable, schema: str) -> str:
    columns = (
        _key(_column(table, "identifier")),
        # No object of a bucket has a longer name.
        f"substr(CAST({_column(table, 'outputId')} AS TEXT), 1, 2000)",
        f"substr(CAST({_column(table, 'path')} AS TEXT), 1, 2000)",
        _column(table, "width"),
        _column(table, "height"),
        "NULL" if table.epsg is None else str(table.epsg),
        _column(table, table.geometry),
    )
    return _select(columns, f"{quoted(schema)}.{quoted(table.name)}")


def _select(columns: tuple[str, ...], table: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 - every name in it is quoted
