"""Tables that list features, of a feature manifest or an input GeoPackage, in one form."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import quoted
from airflow_provider_sentinelhub.artifacts.geopackage.tables import feature_tables
from airflow_provider_sentinelhub.artifacts.report.manifest import manifest_tables

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.report.execution_db import FeaturesTable


@dataclass(frozen=True, slots=True)
class Source:
    """
    A table that lists features; SQL for what is read of it.

    :param table: Its quoted name, with the name its file is attached under.
    :param epsg: EPSG code of its coordinates.
    :param identifier: Quoted column, as the next four; ``NULL`` where there is none.
    :param width: Pixels.
    :param height: Pixels.
    :param resolution: Units of the coordinate reference system.
    :param geometry: GeoPackage geometry.
    :param is_sized: Whether rows without a width and height are of no use.
    """

    table: str
    epsg: int
    identifier: str
    width: str
    height: str
    resolution: str
    geometry: str
    is_sized: bool

    @staticmethod
    def of(alias: str, column: str) -> str:
        """
        Name a column of the table under an alias.

        :param alias: The alias.
        :param column: The column, or ``NULL``.
        """
        return column if column == "NULL" else f"{alias}.{column}"


@dataclass(frozen=True, slots=True)
class Step:
    """
    How the rows of a table follow those of the execution database, which lists the same features in the same order.

    :param first: Its first row, as a ``rowid``.
    :param last: Its last row; none is missing between.
    :param outputs: How many rows it has for a feature.
    :param start: The row of the execution database to which the first belongs.
    """

    first: int
    last: int
    outputs: int
    start: int


def manifest_sources(connection: sqlite3.Connection, manifest: Path) -> list[Source]:
    """
    Find the tables of a feature manifest, to be attached as ``manifest``.

    :param connection: The open file.
    :param manifest: The file, for the error message.
    """
    sources = []
    for table in manifest_tables(connection, manifest):
        if table.epsg is not None and table.geometry is not None:
            identifier, width, height, geometry = (
                quoted(table.columns[name.lower()]) if name.lower() in table.columns else "NULL"
                for name in ("identifier", "width", "height", table.geometry)
            )
            name = f"manifest.{quoted(table.name)}"
            sources.append(Source(name, table.epsg, identifier, width, height, "NULL", geometry, is_sized=True))
    return sources


def original_sources(connection: sqlite3.Connection) -> list[Source]:
    """
    Find the tables of an input GeoPackage, to be attached as ``original``.

    :param connection: The open file.
    """
    sources = []
    for table in feature_tables(connection):
        if table.epsg is not None and "identifier" in table.columns and table.geometry.lower() in table.columns:
            identifier, width, height, resolution, geometry = (
                table.column(name) for name in ("identifier", "width", "height", "resolution", table.geometry.lower())
            )
            name = f"original.{quoted(table.name)}"
            sources.append(Source(name, table.epsg, identifier, width, height, resolution, geometry, is_sized=False))
    return sources


def key_of(column: str) -> str:
    """
    Return SQL for a name as bytes, which compare alike whatever their encoding; empty where there is none.

    :param column: The column.
    """
    return f"coalesce(CAST({column} AS BLOB), x'')"


def in_step(output: sqlite3.Connection, features: FeaturesTable, source: Source) -> Step | None:
    """
    Say how the rows of a table follow those of the execution database, if they do: then no name has to be searched.

    It is guessed from the first names, and every row is compared.

    :param output: A connection to which both files are attached, the execution database as ``execution``.
    :param features: The table of the execution database.
    :param source: The table.
    :returns: ``None`` where they do not.
    """
    key = key_of(source.identifier)
    head = output.execute(f"SELECT rowid, {key} FROM {source.table} ORDER BY rowid LIMIT 100").fetchall()  # noqa: S608
    if not head:
        return None
    first, name = head[0]
    query = f"SELECT rowid FROM execution.{{table}} WHERE {key_of('{name}')} = ? LIMIT 1"  # noqa: S608
    found = output.execute(features.sql(query), (name,)).fetchone()
    if not found:
        return None
    (last,) = output.execute(f"SELECT max(rowid) FROM {source.table}").fetchone()  # noqa: S608
    step = Step(first, last, sum(each == name for _, each in head), found[0])
    rows = last - first + 1
    # The sum tells of a row that is read twice, and of another one that is not read for it.
    alike = output.execute(
        f"SELECT count(*), total(there.rowid) FROM {source.table} AS there "  # noqa: S608
        f"CROSS JOIN execution.{features.table} AS here ON here.rowid = (there.rowid - :first) / :outputs + :start "
        f"WHERE here.{features.names['name']} = {source.of('there', source.identifier)}",
        asdict(step),
    ).fetchone()
    return step if alike == (rows, rows * (first + last) / 2) else None
