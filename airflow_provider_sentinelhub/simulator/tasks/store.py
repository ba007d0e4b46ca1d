"""The simulator's state on disk, so that a killed simulator continues where it was."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import shapely

from airflow_provider_sentinelhub.simulator.features.features import Feature
from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
from airflow_provider_sentinelhub.simulator.tasks.script import TaskRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tasks (id TEXT PRIMARY KEY, created REAL NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS features (task TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL,
  place TEXT NOT NULL, status TEXT NOT NULL, error TEXT, delivered INTEGER NOT NULL, handled INTEGER NOT NULL,
  PRIMARY KEY (task, number)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS features_by_name ON features (name);
CREATE TABLE IF NOT EXISTS attempts (task TEXT NOT NULL, number INTEGER NOT NULL, attempt INTEGER NOT NULL,
  status TEXT NOT NULL, cost_pu REAL NOT NULL, PRIMARY KEY (task, number, attempt)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, expires REAL NOT NULL, revoked INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS requests (number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL,
  simulated REAL NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, endpoint TEXT NOT NULL,
  status INTEGER, fault TEXT);
CREATE TABLE IF NOT EXISTS asked (place TEXT NOT NULL, start TEXT NOT NULL, times INTEGER NOT NULL,
  PRIMARY KEY (place, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (kind TEXT NOT NULL, id TEXT NOT NULL, number INTEGER PRIMARY KEY AUTOINCREMENT,
  document TEXT NOT NULL, UNIQUE (kind, id));
"""


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """
    The state of one feature of a task.

    :param number: Its number in the task, from 1.
    :param name: Its name.
    :param status: PENDING, DONE or FATAL.
    :param error: Text for the execution database.
    :param delivered: Whether its files are in the bucket.
    :param handled: Whether the simulator has processed it; it may be PENDING even so.
    """

    number: int
    name: str
    status: str
    error: str | None
    delivered: bool
    handled: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One attempt to process a feature.

    :param number: Number of the feature in its task, from 1.
    :param attempt: From 1.
    :param status: Status of the feature after it.
    :param cost_pu: What it cost.
    """

    number: int
    attempt: int
    status: str
    cost_pu: float


class Store:
    """
    Tasks, features, tokens and the log of requests, in one SQLite file.

    Tasks are also kept in memory: the objects returned are the state, and :meth:`save` writes one back.

    :param path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        # It holds tokens and the keys of buckets. SQLite gives the files beside it the same permissions.
        path.touch(mode=0o600)
        path.chmod(0o600)
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # A killed process loses nothing; only a power failure would.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_TABLES)
        self.tasks = {task.id: task for task in map(_task, self._all("SELECT document FROM tasks ORDER BY created"))}

    def _all(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(query, tuple(values)).fetchall()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def setting(self, name: str) -> Any:
        """
        Return a stored setting; ``None`` when there is none.

        :param name: Its name.
        """
        rows = self._all("SELECT value FROM settings WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    def remember(self, name: str, value: Any) -> None:
        """
        Store a setting.

        :param name: Its name.
        :param value: Any JSON value.
        """
        self._all("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))

    def keep(self, kind: str, key: str, document: Any) -> None:
        """
        Write what an API without tasks has to remember.

        :param kind: What it is.
        :param key: Its id.
        :param document: Any JSON value; replaces an earlier one.
        """
        query = (
            "INSERT INTO documents (kind, id, document) VALUES (?, ?, ?) "
            "ON CONFLICT (kind, id) DO UPDATE SET document = excluded.document"
        )
        self._all(query, (kind, key, json.dumps(document)))

    def kept(self, kind: str) -> dict[str, Any]:
        """
        Return all documents of a kind by id, in the order in which they were first written.

        :param kind: What they are.
        """
        rows = self._all("SELECT id, document FROM documents WHERE kind = ? ORDER BY number", (kind,))
        return {key: json.loads(document) for key, document in rows}

    def save(self, task: Task) -> None:
        """
        Write a task.

        :param task: The task; kept in memory as well.
        """
        document = asdict(task)
        document["rule"] = task.rule.model_dump() if task.rule else None
        self.tasks[task.id] = task
        self._all("INSERT OR REPLACE INTO tasks VALUES (?, ?, ?)", (task.id, task.created, json.dumps(document)))

    def add_features(self, task_id: str, features: Sequence[Feature], skipped: Sequence[Feature] = ()) -> None:
        """
        Write the features of a task, replacing older ones.

        :param task_id: The task.
        :param features: In the order of processing.
        :param skipped: Those that are delivered already.
        """
        states = [*[("PENDING", None, 0, 0)] * len(features), *[("DONE", None, 1, 1)] * len(skipped)]
        rows = [
            (task_id, number, feature.name, json.dumps(_place(feature)), *state)
            for number, (feature, state) in enumerate(zip((*features, *skipped), states, strict=True), 1)
        ]
        with self._lock:
            self._database.execute("BEGIN")
            self._database.execute("DELETE FROM features WHERE task = ?", (task_id,))
            self._database.executemany("INSERT INTO features VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._database.execute("COMMIT")

    def next_features(self, task_id: str, count: int) -> list[tuple[int, Feature]]:
        """
        Return the first unprocessed features of a task, and their numbers.

        :param task_id: The task.
        :param count: How many.
        """
        rows = self._all(
            "SELECT number, place FROM features WHERE task = ? AND handled = 0 ORDER BY number LIMIT ?",
            (task_id, count),
        )
        return [(number, _feature(json.loads(place))) for number, place in rows]

    def handle_feature(self, task_id: str, row: FeatureRow, cost_pu: float | None = None) -> None:
        """
        Write what became of a feature.

        :param task_id: The task.
        :param row: Its new state.
        :param cost_pu: What the attempt at it cost; ``None`` when this was none.
        """
        with self._lock:
            self._database.execute("BEGIN")
            self._database.execute(
                "UPDATE features SET status = ?, error = ?, delivered = ?, handled = ? WHERE task = ? AND number = ?",
                (row.status, row.error, int(row.delivered), int(row.handled), task_id, row.number),
            )
            if cost_pu is not None:
                self._database.execute(
                    "INSERT INTO attempts SELECT ?1, ?2, count(*) + 1, ?3, ?4 FROM attempts WHERE task = ?1 "
                    "AND number = ?2",
                    (task_id, row.number, row.status, cost_pu),
                )
            self._database.execute("COMMIT")

    def attempts(self, task_id: str, numbers: Iterable[int] | None = None) -> list[Attempt]:
        """
        Return the attempts at the features of a task, in order.

        :param task_id: The task.
        :param numbers: Only those at these features.
        """
        rows = self._all(
            "SELECT number, attempt, status, cost_pu FROM attempts WHERE task = ?1 "
            "AND (?2 IS NULL OR number IN (SELECT value FROM json_each(?2))) ORDER BY number, attempt",
            (task_id, None if numbers is None else json.dumps([*numbers])),
        )
        return [Attempt(*row) for row in rows]

    def retry_failed(self, task_id: str) -> None:
        """
        Make the features of a task that failed unprocessed again.

        :param task_id: The task.
        """
        self._all(
            "UPDATE features SET status = 'PENDING', error = NULL, handled = 0 WHERE task = ? AND status = 'FATAL'",
            (task_id,),
        )

    def located(self, task_id: str, numbers: Iterable[int]) -> dict[int, Feature]:
        """
        Return features of a task, by number.

        :param task_id: The task.
        :param numbers: Their numbers.
        """
        query = "SELECT number, place FROM features WHERE task = ? AND number IN (SELECT value FROM json_each(?))"
        rows = self._all(query, (task_id, json.dumps([*numbers])))
        return {number: _feature(json.loads(place)) for number, place in rows}

    def features(self, task_id: str) -> list[FeatureRow]:
        """
        Return all features of a task.

        :param task_id: The task.
        """
        rows = self._all(
            "SELECT number, name, status, error, delivered, handled FROM features WHERE task = ? ORDER BY number",
            (task_id,),
        )
        return [
            FeatureRow(number, name, status, error, delivered=bool(delivered), handled=bool(handled))
            for number, name, status, error, delivered, handled in rows
        ]

    def count_features(self, task_id: str) -> tuple[int, int]:
        """
        Return how many features a task has, and how many of them are processed.

        :param task_id: The task.
        """
        rows = self._all("SELECT count(*), coalesce(sum(handled), 0) FROM features WHERE task = ?", (task_id,))
        return int(rows[0][0]), int(rows[0][1])

    def earlier_tasks(self, task_id: str, name: str) -> int:
        """
        Count the other tasks in which a feature was processed.

        :param task_id: The task not to count.
        :param name: The feature's name.
        """
        query = "SELECT count(*) FROM features WHERE name = ? AND handled = 1 AND task <> ?"
        return int(self._all(query, (name, task_id))[0][0])

    def ask(self, place: str, starts: Iterable[str]) -> list[int]:
        """
        Count a request for statistics.

        :param place: Name of the place.
        :param starts: Starts of the requested intervals, or anything else to count.
        :returns: How often each was requested before.
        """
        query = "INSERT INTO asked VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times - 1"
        with self._lock:
            self._database.execute("BEGIN")
            times = [int(self._database.execute(query, (place, start)).fetchone()[0]) for start in starts]
            self._database.execute("COMMIT")
        return times

    def add_token(self, token: str, expires: float) -> None:
        """
        Store an access token.

        :param token: The token.
        :param expires: Real POSIX time.
        """
        self._all("INSERT INTO tokens VALUES (?, ?, 0)", (token, expires))

    def token_valid(self, token: str, moment: float) -> bool:
        """
        Say whether a token is known, not revoked and not expired.

        :param token: The token.
        :param moment: Real POSIX time.
        """
        query = "SELECT 1 FROM tokens WHERE token = ? AND revoked = 0 AND expires > ?"
        return bool(self._all(query, (token, moment)))

    def revoke_tokens(self) -> None:
        """Make all tokens issued so far invalid."""
        self._all("UPDATE tokens SET revoked = 1")

    def count_tokens(self, moment: float) -> tuple[int, int]:
        """
        Return how many tokens were issued, and how many are valid.

        :param moment: Real POSIX time.
        """
        query = "SELECT count(*), coalesce(sum(revoked = 0 AND expires > ?), 0) FROM tokens"
        rows = self._all(query, (moment,))
        return int(rows[0][0]), int(rows[0][1])

    def log_request(self, entry: dict[str, Any]) -> None:
        """
        Add to the log of requests.

        :param entry: ``at``, ``simulated``, ``method``, ``path``, ``endpoint``, ``status``, ``fault``.
        """
        with self._lock:
            self._database.execute(
                "INSERT INTO requests (at, simulated, method, path, endpoint, status, fault) "
                "VALUES (:at, :simulated, :method, :path, :endpoint, :status, :fault)",
                entry,
            )

    def request_counts(self) -> dict[str, int]:
        """Return the number of calls of each endpoint."""
        return {
            str(name): int(count) for name, count in self._all("SELECT endpoint, count(*) FROM requests GROUP BY 1")
        }

    def requests(self, limit: int) -> list[dict[str, Any]]:
        """
        Return the last calls, oldest first.

        :param limit: How many.
        """
        names = ("at", "simulated", "method", "path", "status", "fault")
        rows = self._all(f"SELECT {', '.join(names)} FROM requests ORDER BY number DESC LIMIT ?", (limit,))  # noqa: S608 - constants
        return [dict(zip(names, row, strict=True)) for row in reversed(rows)]

    def clear_requests(self) -> None:
        """Delete the log of requests."""
        self._all("DELETE FROM requests")


def _task(row: tuple[Any, ...]) -> Task:
    document = json.loads(row[0])
    rule = document.pop("rule")
    return Task(**document, rule=TaskRule(**rule) if rule else None)


def _place(feature: Feature) -> dict[str, Any]:
    place = {name: getattr(feature, name) for name in Feature.__slots__}
    return {**place, "geometry": shapely.to_wkb(feature.geometry, hex=True)}


def _feature(place: dict[str, Any]) -> Feature:
    return Feature(**{**place, "geometry": shapely.from_wkb(place.get("geometry"))})
