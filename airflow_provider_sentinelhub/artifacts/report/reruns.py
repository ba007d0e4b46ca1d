"""
Several tasks about the same features, merged into one execution database in which each feature stands once.

Number 0 is the original task; 1 and up are its reruns, each of what was lost before. The outcome of a feature is chosen
by these rules, in this order:

1. A feature that was delivered is delivered, whatever another task says: its files are in the bucket.
2. Otherwise, one that had no data has no data: the question was answered.
3. Otherwise the latest FAILED or UNDELIVERED counts. Of two in the same task FAILED counts: it has a reason.
4. PENDING and UNKNOWN are not final. They count only where no task says anything final, and then the latest does. Of
   two in the same task UNKNOWN counts: it is shown under its own name.
5. A feature that a later rerun does not mention keeps its earlier outcome. If a rerun cannot be read, all do.

A name that occurs several times in one database is one feature; the same rules choose among its rows. A row without a
name cannot be told from another one, so each is a feature of its own. A rerun may name a feature that no earlier
task knew: it counts, with that rerun's outcome. So the features of a merged database are the names of all tasks
together, plus the rows that have none.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import attach, detach, file_uri, open_sqlite, reading
from airflow_provider_sentinelhub.artifacts.report.execution_db import WHAT, FeaturesTable
from airflow_provider_sentinelhub.artifacts.report.report import MAX_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class TaskFiles:
    """
    One of the tasks about the same features.

    :param root: Root folder of its files, see :func:`~.layout.root_folder`.
    :param task_id: Its id.
    """

    root: str
    task_id: str


@dataclass(frozen=True, slots=True)
class MergeFacts:
    """
    What merging found out.

    :param last_words: Number of a task to the number of features on which it has the last word.
    :param duplicates: Names that occur more than once in one of the databases.
    :param duplicate_names: The first of them, in order of name.
    """

    last_words: dict[int, int]
    duplicates: int
    duplicate_names: tuple[str, ...]


# Without declared types SQLite keeps every value as it is, also a text that looks like a number.
_SCHEMA = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA trusted_schema=OFF;
CREATE TABLE features (id, name, status, error, delivered, merged_rerun INTEGER, merged_found INTEGER);
CREATE TEMP TABLE words (
    key BLOB, id, name, status, error, delivered, rerun INTEGER, found INTEGER, outcome INTEGER, rank INTEGER
);
"""
# Outcomes are numbered as in execution_db.OUTCOMES. The key is NULL where there is no name.
_ADD = """
INSERT INTO temp.words SELECT CASE WHEN length(CAST({name} AS BLOB)) > 0 THEN CAST({name} AS BLOB) END, {id}, {name},
{status}, {error}, {delivered}, ?, {found}, {outcome},
CASE {outcome} WHEN 0 THEN 3 WHEN 1 THEN 2 WHEN 3 THEN 1 WHEN 4 THEN 1 ELSE 0 END FROM {table}
"""
_CHOOSE = """
INSERT INTO main.features SELECT id, name, status, error, delivered, rerun, found FROM (
    SELECT *, row_number() OVER (
        PARTITION BY key ORDER BY rank DESC, rerun DESC, outcome = 2, outcome, id, status, error, delivered
    ) AS place FROM temp.words
) WHERE place = 1 OR key IS NULL
"""
_LAST_WORDS = "SELECT merged_rerun, count(*) FROM main.features GROUP BY 1"
_REPEATED = """
SELECT key, count(*) OVER () FROM temp.words WHERE key IS NOT NULL
GROUP BY key HAVING count(*) > count(DISTINCT rerun) ORDER BY key LIMIT ?
"""


def merge(execution_dbs: Mapping[int, Path], target: Path) -> MergeFacts:
    """
    Write a database in which each feature stands once, with the last word on it, in order of name.

    Bounded in memory: what has to be sorted is sorted on disk.

    :param execution_dbs: Number of a task to its execution database.
    :param target: File to write; it must not exist. It has the service's columns and ``merged_rerun``, the number
        of the task with the last word.
    :raises ArtifactCorrupt: One of the databases cannot be read.
    :raises StorageUnavailable: This machine has no memory or disk left.
    """
    with (
        reading(target, "merged execution database"),
        closing(sqlite3.connect(file_uri(target, new=True), uri=True)) as merged,
    ):
        merged.executescript(_SCHEMA)
        for number, path in execution_dbs.items():
            _add(merged, number, path)
        merged.execute(_CHOOSE)
        merged.commit()
        repeated = merged.execute(_REPEATED, (MAX_NAMES,)).fetchall()
        return MergeFacts(
            dict(merged.execute(_LAST_WORDS)),
            repeated[0][1] if repeated else 0,
            tuple(key.decode("utf-8", "replace") for key, _ in repeated),
        )


def _add(merged: sqlite3.Connection, number: int, path: Path) -> None:
    with open_sqlite(path, WHAT) as connection:
        features = FeaturesTable.find(connection, path)
    with reading(path, WHAT):
        attach(merged, path, "source")
        merged.execute(replace(features, table=f"source.{features.table}").sql(_ADD), (number,))
        merged.commit()
        detach(merged, "source")
