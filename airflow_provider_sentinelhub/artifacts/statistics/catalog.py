"""
What is known about the results of all tasks: a SQLite file, so that memory does not grow with the features.

A result counts in the version the bucket lists. One that was read before in that version is not read again; one that
was replaced meanwhile is. A result that the bucket no longer lists, but that was read before, still counts.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import file_uri
from airflow_provider_sentinelhub.artifacts.statistics.parts import LEDGER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_AT_A_TIME = 1_000
_ROWS = [name for name, _ in LEDGER].index("rows")
# Small, so that a few thousand features fill it; names are looked for nearly in order, so more is not faster.
CACHE_KIB = 512
"""KiB of a database kept in memory."""
_SCHEMA = f"""
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-{CACHE_KIB}; PRAGMA temp.cache_size=-{CACHE_KIB};
CREATE TABLE parts (part INTEGER PRIMARY KEY, url TEXT UNIQUE, rerun INTEGER);
CREATE TABLE listing (rerun INTEGER, name TEXT, version TEXT, feature INTEGER, identifier TEXT,
  PRIMARY KEY (rerun, name)) WITHOUT ROWID;
CREATE TABLE readings (number INTEGER PRIMARY KEY, part INTEGER, first INTEGER, rerun INTEGER, name TEXT, version TEXT,
  feature INTEGER, identifier TEXT, rows INTEGER, with_data INTEGER, without_data INTEGER, failed INTEGER, error TEXT,
  failed_from INTEGER, failed_to INTEGER);
CREATE TABLE unreadable (feature INTEGER, identifier TEXT, rerun INTEGER, name TEXT, version TEXT, error TEXT);
CREATE TABLE rows_of_several (feature INTEGER, start INTEGER, end INTEGER, number INTEGER, part INTEGER, row INTEGER,
  rank INTEGER, error TEXT, has_data INTEGER);
CREATE TABLE asked (rerun INTEGER, start INTEGER, end INTEGER, PRIMARY KEY (start, end, rerun)) WITHOUT ROWID;
CREATE TABLE names (feature INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE dropped (part INTEGER, first INTEGER, rows INTEGER);
CREATE TABLE outcomes (feature INTEGER PRIMARY KEY, identifier TEXT, rerun INTEGER, with_data INTEGER,
  without_data INTEGER, failed INTEGER, error TEXT, failed_from INTEGER, failed_to INTEGER);
"""
_CHOOSE = """
CREATE INDEX readings_by_name ON readings (rerun, name);
CREATE TABLE chosen AS SELECT min(r.number) AS number, r.feature AS feature FROM readings r
  LEFT JOIN listing l ON l.rerun = r.rerun AND l.name = r.name WHERE l.version IS NULL OR l.version = r.version
  GROUP BY r.rerun, r.name;
CREATE TABLE several AS SELECT feature FROM chosen GROUP BY feature HAVING count(*) > 1;
CREATE UNIQUE INDEX several_by_feature ON several (feature);
CREATE UNIQUE INDEX chosen_by_number ON chosen (number);
INSERT INTO dropped SELECT part, first, rows FROM readings WHERE number NOT IN (SELECT number FROM chosen);
INSERT INTO outcomes SELECT feature, identifier, rerun, with_data, without_data, failed, error, failed_from, failed_to
  FROM readings WHERE number IN (SELECT number FROM chosen) AND feature NOT IN (SELECT feature FROM several);
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """
    A result that several tasks have, where it lies in a part.

    :param number: Its number in the catalog.
    :param first: Its first row in the part.
    :param rows: How many rows it has.
    :param feature: Id of the feature.
    :param rank: The higher, the later.
    """

    number: int
    first: int
    rows: int
    feature: int
    rank: int


class Unread(NamedTuple):
    """
    A result that has to be read.

    :param name: Its name below the root folder.
    :param feature_id: Id of the feature, as far as the name says it.
    :param identifier: Its identifier, as far as the name says it.
    :param version: What the bucket listed; it ends with the bytes the result has.
    """

    name: str
    feature_id: int | None
    identifier: str | None
    version: str

    @property
    def size(self) -> int:
        """Bytes it has."""
        return int(self.version.rpartition(":")[2])


class Catalog:
    """
    The catalog of one reading.

    :param path: File to write; it must not exist.
    """

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(file_uri(path, new=True), uri=True)
        # Names of a GeoPackage that was not checked must not hide the features they belong to.
        self.connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        self.connection.executescript(_SCHEMA)

    def add_listing(self, number: int, found: Iterable[Unread]) -> int:
        """
        Note what a folder holds, and return how much it is.

        :param number: Number of the task: 0 for the original, then its reruns.
        :param found: What it holds.
        """
        rows = ((number, each.name, each.version, each.feature_id, each.identifier) for each in found)
        count = self.connection.executemany("INSERT OR REPLACE INTO listing VALUES (?, ?, ?, ?, ?)", rows).rowcount
        return max(count, 0)

    def add_intervals(self, number: int, spans: Iterable[tuple[int, int]]) -> None:
        """
        Note the intervals that a task was asked for.

        :param number: Number of the task: 0 for the original, then its reruns.
        :param spans: Start and end of each, in microseconds since 1970.
        """
        rows = ((number, start, end) for start, end in spans)
        self.connection.executemany("INSERT OR IGNORE INTO asked VALUES (?, ?, ?)", rows)

    def add_part(self, url: str, number: int, ledger: Iterable[tuple[Any, ...]]) -> None:
        """
        Note what a part holds, in place of what was noted of it before.

        :param url: Its URL.
        :param number: Number of the task: 0 for the original, then its reruns.
        :param ledger: Its ledger.
        """
        is_new = self.connection.execute("INSERT OR IGNORE INTO parts VALUES (NULL, ?, ?)", (url, number)).rowcount
        (part,) = self.connection.execute("SELECT part FROM parts WHERE url = ?", (url,)).fetchone()
        if not is_new:
            self.connection.execute("DELETE FROM readings WHERE part = ?", (part,))
        self.connection.executemany(
            f"INSERT INTO readings VALUES (NULL, ?, ?, ?{', ?' * len(LEDGER)})",  # noqa: S608 - question marks
            _placed(part, number, ledger),
        )

    def list_unread(self) -> int:
        """List what has to be read, in order of feature, and return how much it is."""
        self.connection.executescript(
            "CREATE TEMP TABLE known AS SELECT rerun, name, version FROM readings;"
            "CREATE INDEX temp.known_by_name ON known (rerun, name, version);"
            "CREATE TABLE unread (place INTEGER PRIMARY KEY, rerun INTEGER, name TEXT, feature INTEGER, "
            "identifier TEXT, version TEXT);"
            "INSERT INTO unread SELECT NULL, rerun, name, feature, identifier, version FROM listing l "
            "WHERE NOT EXISTS ("
            "SELECT 1 FROM known k WHERE k.rerun = l.rerun AND k.name = l.name AND k.version = l.version) "
            "ORDER BY rerun, feature, name;"
            "DROP TABLE temp.known"
        )
        (count,) = self.connection.execute("SELECT count(*) FROM unread").fetchone()
        return int(count)

    def unread(self, number: int) -> Iterator[Unread]:
        """
        Go through what has to be read of a task, in order of feature.

        :param number: Number of the task: 0 for the original, then its reruns.
        """
        place = -1
        query = (
            "SELECT place, name, feature, identifier, version FROM unread WHERE rerun = ? AND place > ? "
            "ORDER BY 1 LIMIT ?"
        )
        # The catalog is written to between two of them, so no statement is left open.
        while rows := self.connection.execute(query, (number, place, _AT_A_TIME)).fetchall():
            place = rows[-1][0]
            yield from (Unread(*row[1:]) for row in rows)

    def is_gone(self, number: int, name: str) -> None:
        """
        Note that a result was listed and then deleted.

        :param number: Number of the task: 0 for the original, then its reruns.
        :param name: Its name.
        """
        self.connection.execute("DELETE FROM listing WHERE rerun = ? AND name = ?", (number, name))

    def is_version(self, number: int, name: str, version: str) -> None:
        """
        Note the version that was read: the result may have been replaced since it was listed.

        :param number: Number of the task: 0 for the original, then its reruns.
        :param name: Its name.
        :param version: What was read.
        """
        self.connection.execute(
            "UPDATE listing SET version = ? WHERE rerun = ? AND name = ? AND version <> ?",
            (version, number, name, version),
        )

    def is_unreadable(self, number: int, one: Unread, version: str, error: str) -> None:
        """
        Note a result that cannot be understood.

        :param number: Number of the task: 0 for the original, then its reruns.
        :param one: The result.
        :param version: What was read.
        :param error: What is wrong with it.
        """
        values = (one.feature_id, one.identifier, number, one.name, version, error)
        self.connection.execute("INSERT INTO unreadable VALUES (?, ?, ?, ?, ?, ?)", values)

    def choose(self) -> None:
        """Choose the readings that count, and find the features of which several do."""
        self.connection.executescript(_CHOOSE)

    def parts(self) -> list[tuple[int, str, int]]:
        """Return number, URL and task number of the parts of which any reading counts, in the order of the table."""
        query = (
            "SELECT p.part, p.url, p.rerun FROM parts p JOIN readings r USING (part) JOIN chosen c USING (number) "
            "GROUP BY 1 ORDER BY p.rerun, min(r.feature), min(r.name), p.url"
        )
        return self.connection.execute(query).fetchall()

    def of_several(self) -> Iterator[tuple[str, int, list[Reading]]]:
        """Go through the readings of features that have several, part by part: its URL and number, and they."""
        parts = self.connection.execute(
            "SELECT DISTINCT p.url, p.part FROM parts p JOIN readings r USING (part) JOIN chosen c USING (number) "
            "WHERE r.feature IN (SELECT feature FROM several) ORDER BY 1"
        ).fetchall()
        self.connection.execute(
            "CREATE TEMP TABLE ranks AS SELECT number, row_number() OVER (ORDER BY r.rerun, r.name) AS rank "
            "FROM readings r JOIN chosen USING (number) WHERE r.feature IN (SELECT feature FROM several)"
        )
        self.connection.execute("CREATE UNIQUE INDEX temp.ranks_by_number ON ranks (number)")
        query = (
            "SELECT number, first, rows, feature, rank FROM readings JOIN temp.ranks USING (number) WHERE part = ? "
            "ORDER BY first"
        )
        for url, part in parts:
            yield url, part, [Reading(*row) for row in self.connection.execute(query, (part,))]

    def has_names(self) -> bool:
        """Whether a column of the GeoPackage was chosen for the names of features."""
        return self.connection.execute("SELECT 1 FROM names LIMIT 1").fetchone() is not None

    def names_of(self, features: Iterable[int]) -> dict[int, str]:
        """
        Return the names that features have in a column of the GeoPackage, if one was chosen.

        :param features: Ids of the features.
        """
        query = "SELECT feature, name FROM names WHERE feature IN (SELECT value FROM json_each(?))"
        return dict(self.connection.execute(query, (json.dumps([*features]),)))

    def intervals(self) -> tuple[int, int, int]:
        """Return how many intervals have data, how many have none, and how many failed, over all features."""
        columns = ", ".join(f"coalesce(sum({name}), 0)" for name in ("with_data", "without_data", "failed"))
        found: tuple[int, int, int] = self.connection.execute(f"SELECT {columns} FROM outcomes").fetchone()  # noqa: S608
        return found

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def dropped(self, part: int) -> list[tuple[int, int]]:
        """
        Return the rows of a part that are left out: the first, and how many.

        :param part: Its number.
        """
        return self.connection.execute("SELECT first, rows FROM dropped WHERE part = ?", (part,)).fetchall()


def _placed(part: int, number: int, ledger: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    first = 0
    for line in ledger:
        yield part, first, number, *line
        first += line[_ROWS]
