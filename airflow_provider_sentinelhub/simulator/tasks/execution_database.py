"""The execution database of a task, also as the script breaks it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
    from airflow_provider_sentinelhub.simulator.tasks.store import FeatureRow

DOCUMENTED = ("id", "name", "status", "error", "delivered")
OTHER = ("fid", "feature", "state", "message", "ok")


def content(task: Task, rows: list[FeatureRow]) -> bytes | None:
    """
    Return the file to upload; ``None`` when the script wants it missing.

    :param task: The task; the upload is already counted.
    :param rows: Its features.
    """
    rule = task.rule.execution_database if task.rule else None
    wrong = rule.mode if rule and (rule.uploads is None or task.execution_uploads <= rule.uploads) else None
    if wrong == "missing":
        return None
    written = _database(rows, OTHER if wrong == "other_schema" else DOCUMENTED)
    return written[: len(written) // 2] if wrong == "truncated" else written


def _database(rows: list[FeatureRow], columns: tuple[str, ...]) -> bytes:
    types = ("INTEGER", "TEXT", "TEXT", "TEXT", "BOOLEAN")
    declared = ", ".join(f"{name} {kind}" for name, kind in zip(columns, types, strict=True))
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(f"CREATE TABLE features ({declared})")
        database.executemany(
            "INSERT INTO features VALUES (?, ?, ?, ?, ?)",
            [(row.number, row.name, row.status, row.error, int(row.delivered)) for row in rows],
        )
        database.commit()
        return bytes(database.serialize())
