"""
``execution-<id>.sqlite``: what became of every feature.

One table ``features`` with the columns ``id``, ``name``, ``status``, ``error`` and ``delivered``, in any order. The
service uploads it now and then while the task runs, and at its end; it is absent before processing starts.

Source: https://docs.planet.com/develop/apis/batch-processing/ (execution database).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import (
    corrupt,
    generated_columns,
    open_sqlite,
    quoted,
    table_columns,
)
from airflow_provider_sentinelhub.artifacts.report.messages import ErrorGroups
from airflow_provider_sentinelhub.artifacts.report.report import MAX_NAMES, FeatureOutcome, FeatureReport

if TYPE_CHECKING:
    from pathlib import Path

WHAT = "execution database"
MAX_BYTES = 4 * 1024**3
"""Bytes of an execution database that is read: with 700,000 features, 6 kB for each."""
NO_STATUS = "(no status)"
OUTCOMES = (
    FeatureOutcome.DELIVERED,
    FeatureOutcome.NO_DATA,
    FeatureOutcome.PENDING,
    FeatureOutcome.FAILED,
    FeatureOutcome.UNDELIVERED,
    FeatureOutcome.UNKNOWN,
)
"""What the number stands for that the SQL computes for each row."""

_FIRST_PROBLEM = 3
_REQUIRED = ("name", "status", "error", "delivered")
_MAX_STATUSES = 20
_NO_DATA_CODE = 1
# True of nearly every row, and cheap: only the other rows need a second look. Never NULL, so no row is lost between.
_PLAIN = "({error} IS NULL AND {delivered} IS 1 AND {status} COLLATE BINARY IS 'DONE')"

# Everything odd about a value must end in one of the six numbers: NULL, text where a number is expected, other types.
_DELIVERED = """({delivered} IS 1 OR CASE typeof({delivered})
    WHEN 'integer' THEN {delivered} <> 0 WHEN 'real' THEN {delivered} <> 0
    WHEN 'text' THEN lower(trim({delivered})) IN ('1', 'true', 't', 'yes', 'y') ELSE 0 END)"""
# The documentation names one text, 'No data', for a feature with nothing to process. Texts that begin so are taken for
# it, but not any: 'No data could be written' is no reason to be content.
_NOTHING_WORDS = ("available", "found", "exists", "exist", "for", "in", "at", "on", "within", "matches", "intersects")
_WORDS = "(trim(replace(replace(lower({error}), '_', ' '), '-', ' '), char(9, 10, 13) || ' ') || ' ')"
_NO_DATA = """(typeof({error}) = 'text' AND trim(replace(replace(replace(lower({error}), ' ', ''), '_', ''), '-', ''),
    char(9, 10, 13) || '.!') = 'nodata')"""
_BEGINS_SO = f"""(typeof({{error}}) = 'text' AND ({_WORDS} GLOB 'no data[^a-z ]*' OR {
    " OR ".join(f"{_WORDS} GLOB 'no data {word}[^a-z]*'" for word in _NOTHING_WORDS)
}))"""
_HAS_TEXT = "(typeof({error}) = 'text' AND trim({error}, char(9, 10, 13) || ' ') <> '')"
# Where the flag and the text say different things, {found} says whether a file is in the bucket: 1, 0, or NULL where
# nobody has looked. See delivered_files.py.
_OUTCOME = f"""CASE {{status}} COLLATE BINARY
    WHEN 'DONE' THEN CASE WHEN {_NO_DATA} THEN 1
        WHEN {_BEGINS_SO} THEN CASE WHEN {_DELIVERED} AND {{found}} IS 1 THEN 0 ELSE 1 END
        WHEN {_DELIVERED} THEN CASE WHEN {{found}} IS 0 AND {_HAS_TEXT} THEN 4 ELSE 0 END ELSE 4 END
    WHEN 'PENDING' THEN 2 WHEN 'FATAL' THEN 3 ELSE 5 END"""
_IN_DOUBT = f"({{status}} COLLATE BINARY IS 'DONE' AND {_DELIVERED} AND {_HAS_TEXT} AND NOT {_NO_DATA})"


def says_no_data(column: str) -> str:
    """
    Return SQL that is true of texts that say that there was nothing to process.

    :param column: The column, quoted.
    """
    return f"({_NO_DATA} OR {_BEGINS_SO})".format(error=column)


@dataclass(frozen=True, slots=True)
class FeaturesTable:
    """
    The table of features in an open execution database.

    :param table: Its quoted name, for SQL, as for the next four.
    :param names: Quoted columns by their documented names; ``id`` may stand for NULL. ``rerun`` is 0, or
        what a merged database says, see :mod:`~.reruns`; ``found`` is NULL, or what the bucket says, see
        :mod:`~.delivered_files`.
    :param unique: Whether the database itself keeps the names apart.
    """

    table: str
    names: dict[str, str]
    unique: bool

    @classmethod
    def find(cls, connection: sqlite3.Connection, path: Path) -> FeaturesTable:
        """
        Find table and columns by name.

        :param connection: The open file.
        :param path: The file, for the error message.
        :raises ArtifactCorrupt: Table or columns are missing.
        """
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        real = [name for (name,) in tables]
        found = next((name for name in real if name.lower() == "features"), None)
        if found is None:
            raise corrupt(path, WHAT, f"it has no table 'features', only {sorted(real)[:10]}")
        columns = table_columns(connection, found)
        missing = [name for name in _REQUIRED if name not in columns]
        if missing:
            others = f"only {sorted(columns)[:20]}{generated_columns(connection, found)}"
            raise corrupt(path, WHAT, f"its table has no column {missing}, {others}")
        names = {name: quoted(columns[name]) for name in _REQUIRED}
        names["id"] = quoted(columns["id"]) if "id" in columns else "NULL"
        names["rerun"] = quoted("merged_rerun") if "merged_rerun" in columns else "0"
        names["found"] = quoted("merged_found") if "merged_found" in columns else "NULL"
        return cls(quoted(found), names, _names_are_unique(connection, found, columns["name"]))

    def sql(self, query: str) -> str:
        """
        Fill table, columns and the outcome's expression into a query.

        :param query: With ``{table}``, ``{outcome}``, ``{id}``, ``{name}``, ``{status}``, ``{error}``,
            ``{delivered}``, ``{rerun}`` and ``{found}``. ``{doubt}`` is true of rows whose flag and text say different
            things, ``{plain}`` is true of the ordinary delivered row, ``{truth}`` is what
            ``{delivered}`` means, and in ``{name_text}`` and ``{error_text}`` texts are cut to a bounded length.
        """
        return query.format(
            table=self.table,
            outcome=_OUTCOME.format(**self.names),
            plain=_PLAIN.format(**self.names),
            doubt=_IN_DOUBT.format(**self.names),
            truth=_DELIVERED.format(**self.names),
            name_text="coalesce(substr(CAST({name} AS TEXT), 1, 500), '')".format(**self.names),
            error_text="substr(CAST({error} AS TEXT), 1, 1000)".format(**self.names),
            **self.names,
        )


def write_empty(path: Path) -> None:
    """
    Write a database without features: the service writes none for a task that skipped all of them.

    :param path: File to write; it must not exist.
    """
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE features (id INTEGER, name TEXT, status TEXT, error TEXT, delivered BOOLEAN)")


def read_execution_db(path: Path, *, counts_only: bool = False) -> FeatureReport:
    """
    Summarise an execution database in bounded memory. Every row counts, also where a name occurs more than once.

    :param path: The file; it must not change meanwhile.
    :param counts_only: Leave out error groups and names: cheaper, for progress. Default ``False``.
    :raises ArtifactCorrupt: It is damaged, cut off, or does not have the table and columns it should have.
    """
    with open_sqlite(path, WHAT) as connection:
        features = FeaturesTable.find(connection, path)
        if counts_only:
            counts = _counts(connection, features, path)
            return _report(counts, unknown_statuses=_unknown_statuses(connection, features) if counts[-1] else ())
        lenient, connection.text_factory = connection.text_factory, str
        try:
            return _summary(connection, features, path)
        except sqlite3.OperationalError:
            # A text in a broken encoding is rare, and reading every text so that one may occur takes twice as long.
            connection.text_factory = lenient
            return _summary(connection, features, path)


def _summary(connection: sqlite3.Connection, features: FeaturesTable, path: Path) -> FeatureReport:
    (total,) = connection.execute(features.sql("SELECT count(*) FROM {table} NOT INDEXED")).fetchone()
    groups, failed_names, no_data_names = ErrorGroups(), list[str](), list[str]()
    counts = [0] * len(OUTCOMES)
    query = "SELECT {outcome}, {name_text}, {error_text} FROM {table} NOT INDEXED WHERE NOT {plain}"
    for code, name, error in connection.execute(features.sql(query)):
        counts[code] += 1
        if code >= _FIRST_PROBLEM:
            groups.add(OUTCOMES[code], name, error)
            if code == _FIRST_PROBLEM and len(failed_names) < MAX_NAMES:
                failed_names.append(name)
        elif code == _NO_DATA_CODE and len(no_data_names) < MAX_NAMES:
            no_data_names.append(name)
    counts = _with_plain(counts, total, path)
    error_groups, other_errors = groups.result()
    return _report(
        counts,
        unknown_statuses=_unknown_statuses(connection, features) if counts[-1] else (),
        error_groups=error_groups,
        other_errors=other_errors,
        failed_names=tuple(failed_names),
        no_data_names=tuple(no_data_names),
    )


def _counts(connection: sqlite3.Connection, features: FeaturesTable, path: Path) -> list[int]:
    """Count the features of each outcome; only the few rows that are not plain are grouped."""
    (total,) = connection.execute(features.sql("SELECT count(*) FROM {table} NOT INDEXED")).fetchone()
    query = "SELECT {outcome}, count(*) FROM {table} NOT INDEXED WHERE NOT {plain} GROUP BY 1"
    found = dict(connection.execute(features.sql(query)))
    return _with_plain([found.get(code, 0) for code in range(len(OUTCOMES))], total, path)


def _with_plain(counts: list[int], total: int, path: Path) -> list[int]:
    """Add the plain rows, which are the rest, to those that were looked at."""
    plain = total - sum(counts)
    if plain < 0:
        raise corrupt(path, WHAT, f"it has {total} features, of which {sum(counts)} are out of the ordinary")
    return [counts[0] + plain, *counts[1:]]


def _unknown_statuses(connection: sqlite3.Connection, features: FeaturesTable) -> tuple[tuple[str, int], ...]:
    query = (
        "SELECT substr(CAST({status} AS TEXT), 1, 100), count(*) FROM {table} WHERE {outcome} = 5 "
        "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?"
    )
    rows = connection.execute(features.sql(query), (_MAX_STATUSES,))
    return tuple((NO_STATUS if status is None else status, count) for status, count in rows)


def _names_are_unique(connection: sqlite3.Connection, table: str, column: str) -> bool:
    indexes = connection.execute(
        'SELECT name FROM pragma_index_list(?) WHERE "unique" = 1 AND partial = 0', (table,)
    ).fetchall()
    columns = "SELECT name FROM pragma_index_info(?)"
    return any(connection.execute(columns, index).fetchall() == [(column,)] for index in indexes)


def _report(counts: list[int], **found: Any) -> FeatureReport:
    by_outcome: dict[str, Any] = {outcome.value.lower(): n for outcome, n in zip(OUTCOMES, counts, strict=True)}
    return FeatureReport(total=sum(counts), **by_outcome, **found)
