"""
What became of every feature, as a database of the same form as the service's own execution databases of Batch V2.

The service writes none for Batch Statistical. With this one everything that reads execution databases serves here too:
see :mod:`~.execution_db`.

=============  ====================================================================================================
status, error  meaning
=============  ====================================================================================================
DONE           answered, with data in at least one interval; ``delivered`` is 1
DONE, No data  answered, and nothing was sampled in any interval; or the file says no more than that there is no data
FATAL          not answered, or not for every interval; ``error`` says why
PENDING        the input GeoPackage has the feature, and there is no result file
=============  ====================================================================================================

``id`` is the feature's id, and ``name`` its identifier, or the id where it has none. ``merged_rerun`` is the latest
task that has the last word on any of its intervals. ``failed_from`` and ``failed_to`` say from when to when
(microseconds since 1970, UTC) intervals failed where the feature lost nothing but single intervals.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import WHAT
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import (
    attach,
    detach,
    file_uri,
    open_sqlite,
    quoted,
    reading,
)
from airflow_provider_sentinelhub.artifacts.geopackage.tables import feature_tables
from airflow_provider_sentinelhub.artifacts.report.execution_db import says_no_data
from airflow_provider_sentinelhub.artifacts.statistics.catalog import CACHE_KIB
from airflow_provider_sentinelhub.artifacts.statistics.publish import UNREADABLE, unreadable_text
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.geopackage.tables import FeatureTable
    from airflow_provider_sentinelhub.artifacts.statistics.catalog import Catalog

log = logging.getLogger(__name__)

_FEATURES = (
    "CREATE TABLE execution.features (id INTEGER, name TEXT, status TEXT, error TEXT, delivered BOOLEAN, "
    "merged_rerun INTEGER, failed_from INTEGER, failed_to INTEGER)"
)
# A feature whose file holds nothing but such a text has no statistics, and would have none the next time.
_IS_ANSWERED = f"(error IS NULL OR (with_data = 0 AND {says_no_data('error')}))"
_ANSWERED = f"""
INSERT INTO execution.features SELECT feature, coalesce(nullif(identifier, ''), CAST(feature AS TEXT)),
CASE WHEN {_IS_ANSWERED} THEN 'DONE' ELSE 'FATAL' END,
CASE WHEN error IS NULL AND with_data = 0 THEN 'No data' ELSE error END, error IS NULL AND with_data > 0, rerun,
failed_from, failed_to
FROM outcomes ORDER BY feature
"""  # noqa: S608 - nothing of it comes from a file
_MISSING = """
INSERT INTO execution.features SELECT i.rowid, coalesce((SELECT n.name FROM names n WHERE n.feature = i.rowid),
nullif(CAST({identifier} AS TEXT), ''), CAST(i.rowid AS TEXT)),
'PENDING', NULL, 0, 0, NULL, NULL FROM input.{table} i
WHERE NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.feature = i.rowid)
AND NOT EXISTS (SELECT 1 FROM unreadable u WHERE u.feature = i.rowid) ORDER BY 1
"""
_NAME = """
CREATE TEMP TABLE named AS SELECT u.identifier AS identifier, min(i.rowid) AS feature FROM unreadable u
  JOIN input.{table} i ON CAST({identifier} AS TEXT) = u.identifier WHERE u.feature IS NULL GROUP BY 1;
UPDATE unreadable SET feature = (SELECT n.feature FROM temp.named n WHERE n.identifier = unreadable.identifier)
  WHERE feature IS NULL;
UPDATE unreadable SET identifier = (SELECT CAST({identifier} AS TEXT) FROM input.{table} i
  WHERE i.rowid = unreadable.feature) WHERE identifier IS NULL;
"""
_RENAME = """
INSERT INTO names SELECT i.rowid, CAST({name} AS TEXT) FROM input.{table} i WHERE length({name}) > 0;
UPDATE outcomes SET identifier = n.name FROM names n WHERE n.feature = outcomes.feature;
UPDATE unreadable SET identifier = n.name FROM names n WHERE n.feature = unreadable.feature;
"""
_UNKNOWN = "SELECT count(*) FROM outcomes o WHERE NOT EXISTS (SELECT 1 FROM input.{table} i WHERE i.rowid = o.feature)"


@dataclass(frozen=True, slots=True)
class FeatureCounts:
    """
    How the input GeoPackage and the results differ.

    :param missing: Features of the GeoPackage without a result file.
    :param unknown: Features with a result file that the GeoPackage does not have.
    """

    missing: int = 0
    unknown: int = 0


def input_table(features: Path) -> FeatureTable:
    """
    Find the one table of an input GeoPackage of Batch Statistical.

    :param features: The GeoPackage.
    :raises ArtifactCorrupt: It cannot be read.
    :raises InvalidParameter: It has no feature table, or more than one: the service takes a single coordinate reference
        system, and tells features by their row's id.
    """
    with open_sqlite(features, WHAT) as connection:
        tables = feature_tables(connection)
    if len(tables) != 1:
        names = [table.name for table in tables]
        rule = f"must have one feature table, and has {len(names)}: {names}"
        raise InvalidParameter("features", features.name, rule, "Write all features into one, with one CRS.")
    return tables[0]


def input_epsg(table: FeatureTable, features: Path) -> int:
    """
    Return the EPSG code of an input GeoPackage.

    :param table: Its table.
    :param features: The GeoPackage, for the error message.
    :raises InvalidParameter: It has none.
    """
    if table.epsg is None:
        rule = "has no EPSG code, and the service takes no other coordinate reference system"
        raise InvalidParameter("features", features.name, rule, "Write it again with one.")
    return table.epsg


def write_feature_outcomes(
    catalog: Catalog, features: Path | None, target: Path, identifier_column: str | None = None
) -> FeatureCounts:
    """
    Write what became of every feature.

    :param catalog: The catalog, with all tasks merged.
    :param features: The input GeoPackage of the original task; without it, it is not known which features are missing.
    :param target: File to write; replaced if it exists.
    :param identifier_column: Column of the GeoPackage with the names, which the catalog has afterwards. Default: the
        names are those of the results.
    :raises ArtifactCorrupt: The GeoPackage cannot be read.
    :raises InvalidParameter: The GeoPackage is not what the service takes.
    """
    target.unlink(missing_ok=True)
    table = input_table(features) if features else None
    connection = catalog.connection
    connection.commit()
    connection.execute("ATTACH ? AS execution", (file_uri(target, new=True),))
    connection.execute(f"PRAGMA execution.cache_size=-{CACHE_KIB}")
    connection.execute(_FEATURES)
    counts = FeatureCounts()
    if features and table:
        with reading(features, WHAT):
            counts = _with_input(connection, features, table, (identifier_column or "").lower())
    connection.execute(_ANSWERED)
    rows = (
        (feature, identifier or str(name if feature is None else feature), unreadable_text(name, error), number)
        for feature, identifier, number, name, error in connection.execute(UNREADABLE)
    )
    connection.executemany("INSERT INTO execution.features VALUES (?, ?, 'FATAL', ?, 0, ?, NULL, NULL)", rows)
    connection.commit()
    connection.execute("DETACH execution")
    return counts


def _with_input(
    connection: sqlite3.Connection, features: Path, table: FeatureTable, identifier_column: str
) -> FeatureCounts:
    columns = {"identifier": "identifier", "name": identifier_column}
    names = {key: _of_input(table.column(column)) for key, column in columns.items()}
    names["table"] = quoted(table.name)
    attach(connection, features, "input")
    connection.executescript(_NAME.format(**names))
    if identifier_column in table.columns:
        connection.executescript(_RENAME.format(**names))
    elif identifier_column:
        log.warning("%s has no column %r: features keep the names they have", features.name, identifier_column)
    missing = connection.execute(_MISSING.format(**names)).rowcount
    (unknown,) = connection.execute(_UNKNOWN.format(**names)).fetchone()
    connection.commit()
    detach(connection, "input")
    return FeatureCounts(missing, unknown)


def _of_input(column: str) -> str:
    return column if column == "NULL" else f"i.{column}"
