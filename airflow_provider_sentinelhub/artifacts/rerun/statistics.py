"""
The features whose statistics a task lost, as the input GeoPackage of a rerun.

Geometries, ids and identifiers are those of the original input, copied by SQLite: the id tells which feature a result
is of, so a rerun must not number them again.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchStatistical.html (input GeoPackage).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.features.writer import pixels
from airflow_provider_sentinelhub.artifacts.geopackage.blobs import blob_of_crs, geometry_extent, joined
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import (
    GEOMETRY,
    WHAT,
    add_layer,
    finish_layer,
    new_geopackage,
)
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import attach, open_sqlite, quoted
from airflow_provider_sentinelhub.artifacts.report.execution_db import WHAT as EXECUTION_DB
from airflow_provider_sentinelhub.artifacts.statistics.outcomes import input_epsg, input_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.geopackage.blobs import Extent
    from airflow_provider_sentinelhub.artifacts.geopackage.tables import FeatureTable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MESSAGES_REMEMBERED = 4096
# A file that cannot be read may not say of which feature it is. As a key, SQLite would make an id of that.
_LOST = "SELECT id, error FROM execution.features WHERE status = 'FATAL' AND id IS NOT NULL"
_SPAN = """
SELECT min(failed_from), max(failed_to), coalesce(sum(failed_from IS NULL), 0)
FROM execution.features JOIN picked USING (id)
"""


@dataclass(frozen=True, slots=True)
class StatisticsRerun:
    """
    What the GeoPackage of a rerun holds.

    :param features: Lost features written to it.
    :param permanent: Lost features left out because another try would fail as the first did.
    :param unknown: Lost features that the original input does not have, or has without a geometry.
    :param epsg: EPSG code of its coordinates.
    :param span: Start of the first and end of the last interval that failed, where every feature written lost nothing
        but single intervals; ``None`` where one needs all of them.
    """

    features: int
    permanent: int
    unknown: int
    epsg: int
    span: tuple[datetime, datetime] | None


def write_statistics_rerun(
    execution_db: Path, features: Path, target: Path, *, is_permanent: Callable[[str], bool]
) -> StatisticsRerun:
    """
    Write the features whose statistics are lost into a GeoPackage the service accepts, in bounded memory.

    Lost is what is FATAL, be it for one interval, and what is PENDING though the task has ended. The same files give
    the same GeoPackage, byte by byte.

    :param execution_db: From :func:`~.read.read_statistics`, with the input GeoPackage.
    :param features: The input GeoPackage of the original task.
    :param target: File to write; replaced if it exists. Where no feature is left to try, there is no file afterwards.
    :param is_permanent: Says of the message of a FATAL feature whether another try would fail as well.
    :raises ArtifactCorrupt: One of the files cannot be read.
    :raises InvalidParameter: The GeoPackage is not what the service takes.
    :raises StorageUnavailable: This machine has no room to write it.
    """
    table = input_table(features)
    epsg = input_epsg(table, features)
    # Everything is read within this block, so what goes wrong is reported as it is elsewhere.
    with open_sqlite(execution_db, EXECUTION_DB), new_geopackage(target) as output:
        attach(output, execution_db, "execution")
        attach(output, features, "input")
        lost, permanent = _pick(output, is_permanent)
        written = _write(output, table, epsg)
        span = _span(output) if written else None
    return StatisticsRerun(written, permanent, lost - written, epsg, span)


def pixel_counts(
    features: Path, *, size: tuple[int, int] | None = None, resolution: tuple[float, float] | None = None
) -> Iterator[tuple[int, int, int]]:
    """
    Group the features of an input GeoPackage by size: width and height in pixels, and how many features have them.

    The groups are handed out one by one, so memory does not grow with their number.

    :param features: The GeoPackage; it must stay until the last group.
    :param size: Width and height of the request, the same for all features.
    :param resolution: Its ``resx`` and ``resy`` instead, in units of the coordinate reference system.
    :raises ArtifactCorrupt: The GeoPackage cannot be read.
    :raises InvalidParameter: It is not what the service takes.
    """
    table = input_table(features)
    geometry = table.column(table.geometry.lower())
    rows = f"FROM {quoted(table.name)} WHERE {geometry} IS NOT NULL"
    with open_sqlite(features, WHAT) as connection:
        if size is not None or resolution is None:
            (count,) = connection.execute(f"SELECT count(*) {rows}").fetchone()
            yield (*(size or (256, 256)), count)
            return
        across, down = resolution
        with closing(sqlite3.connect("")) as groups:
            groups.execute("CREATE TABLE sizes (width INTEGER, height INTEGER)")
            blobs = connection.execute(f"SELECT {geometry} {rows}")
            extents = (extent for (blob,) in blobs if (extent := geometry_extent(blob)) is not None)
            groups.executemany(
                "INSERT INTO sizes VALUES (?, ?)",
                ((pixels(east - west, across), pixels(north - south, down)) for west, south, east, north in extents),
            )
            yield from groups.execute("SELECT width, height, count(*) FROM sizes GROUP BY 1, 2 ORDER BY 1, 2")


def _pick(output: sqlite3.Connection, is_permanent: Callable[[str], bool]) -> tuple[int, int]:
    """List what is worth another try; return how many these are, and how many are not."""
    judge = lru_cache(_MESSAGES_REMEMBERED)(is_permanent)
    permanent = 0

    def rows() -> Iterator[tuple[int]]:
        nonlocal permanent
        for number, error in output.execute(_LOST):
            if judge(error or ""):
                permanent += 1
            else:
                yield (number,)

    output.execute("CREATE TEMP TABLE picked (id INTEGER PRIMARY KEY)")
    output.executemany("INSERT OR IGNORE INTO picked VALUES (?)", rows())
    output.execute("INSERT OR IGNORE INTO picked SELECT id FROM execution.features WHERE status = 'PENDING'")
    (lost,) = output.execute("SELECT count(*) FROM picked").fetchone()
    return lost, permanent


def _write(output: sqlite3.Connection, table: FeatureTable, epsg: int) -> int:
    identifier, geometry = (
        column if column == "NULL" else f"i.{column}"
        for column in (table.column("identifier"), table.column(table.geometry.lower()))
    )
    source = (
        f"FROM temp.picked p CROSS JOIN input.{quoted(table.name)} i ON i.rowid = p.id WHERE {geometry} IS NOT NULL"
    )
    (count,) = output.execute(f"SELECT count(*) {source}").fetchone()
    if not count:
        return 0
    layer = add_layer(output, epsg)
    # Statistics know neither a size nor a resolution of a feature, and an identifier may be missing. What the key is
    # called the service has taken once.
    key = output.execute("SELECT name FROM pragma_table_info(?, 'input') WHERE pk = 1", (table.name,)).fetchone()
    output.execute(f"DROP TABLE main.{quoted(layer.table)}")
    output.execute(
        f"CREATE TABLE main.{quoted(layer.table)} ({quoted(key[0] if key else 'fid')} INTEGER PRIMARY KEY NOT NULL, "
        f"identifier TEXT, {GEOMETRY} GEOMETRY)"
    )
    number = epsg.to_bytes(4, "little", signed=True).hex()
    output.create_function("of_crs", 1, lambda blob: _of_crs(blob, epsg), deterministic=True)
    output.execute(
        f"INSERT INTO main.{quoted(layer.table)} SELECT i.rowid, CAST({identifier} AS TEXT), "
        f"CASE WHEN substr({geometry}, 5, 4) = x'{number}' THEN {geometry} ELSE of_crs({geometry}) END "
        f"{source} ORDER BY i.rowid"
    )
    extent: Extent | None = None
    for (blob,) in output.execute(f"SELECT {GEOMETRY} FROM main.{quoted(layer.table)}"):  # noqa: S608 - quoted
        found = geometry_extent(blob)
        extent = joined(extent, found) if found else extent
    finish_layer(output, layer, extent)
    return int(count)


def _span(output: sqlite3.Connection) -> tuple[datetime, datetime] | None:
    start, end, others = output.execute(_SPAN).fetchone()
    if others or start is None:
        return None
    return _EPOCH + timedelta(microseconds=start), _EPOCH + timedelta(microseconds=end)


def _of_crs(blob: bytes | str | float, epsg: int) -> bytes | str | float:
    return blob_of_crs(blob, epsg) if isinstance(blob, bytes) else blob
