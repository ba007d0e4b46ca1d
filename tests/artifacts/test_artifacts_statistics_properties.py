"""Whatever the tasks leave in the bucket, and wherever a reader is killed: each interval once, and the sums add up."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.statistics import load
from airflow_provider_sentinelhub.artifacts.statistics.layout import result_url
from airflow_provider_sentinelhub.artifacts.statistics.parts import LEDGER_SUFFIX
from airflow_provider_sentinelhub.artifacts.statistics.read import StatisticsRead, read_statistics
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from tests.artifacts.artifact_s3 import S3
from tests.artifacts.statistics_files import (
    DAYS,
    TASK,
    answer,
    broken,
    data,
    failed,
    lost,
    put,
    target_of,
    tasks_of,
    write_input,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FEATURES = range(1, 6)
TASKS = (TASK, "task-b", "task-c")
# Feature, day, band.
Key = tuple[int, str | None, str | None]

ENTRIES = st.lists(
    st.tuples(st.sampled_from(DAYS), st.sampled_from(["data", "two", "empty", "bare", "lost"])),
    max_size=3,
    unique_by=lambda entry: entry[0],
)
SHAPES = st.one_of(ENTRIES, st.sampled_from(["failed", "broken", "cut", "unexplained"]))
# What one task has written: feature to shape.
WRITTEN = st.dictionaries(st.sampled_from(FEATURES), SHAPES, max_size=len(FEATURES))
# In each step tasks write files, new ones or again, and then a reader is killed at its n-th upload, or not.
STEPS = st.lists(
    st.tuples(st.lists(WRITTEN, min_size=1, max_size=3), st.one_of(st.none(), st.integers(0, 4))),
    min_size=1,
    max_size=3,
)


def content(feature: int, shape: Any, mean: float) -> Any:
    if shape == "cut":
        return b'{"id": 1, "identi'
    if shape == "failed":
        return failed(feature)
    if shape == "broken":
        return broken(feature)
    if shape == "unexplained":
        return answer(feature, [data(DAYS[0], mean)], status="PARTIAL")
    made: dict[str, Callable[[str], Any]] = {
        "data": lambda day: data(day, mean),
        "two": lambda day: data(day, mean, bands=("B0", "B1")),
        "empty": lambda day: data(day, empty=True),
        "bare": lambda day: {**data(day), "outputs": {}},
        "lost": lost,
    }
    return answer(feature, [made[kind](day) for day, kind in shape])


@dataclass
class Killed(Exception):
    """Stands for the end of a process."""


class Mortal(Storage):
    """A bucket during whose n-th upload the reader dies."""

    def __init__(self, uploads: int | None) -> None:
        super().__init__()
        self.left = uploads

    def upload(self, source: Path | bytes, url: str) -> None:
        if self.left == 0:
            raise Killed
        self.left = None if self.left is None else self.left - 1
        super().upload(source, url)


def expected(files: list[dict[int, Any]]) -> dict[Key, tuple[float | None, bool, int]]:
    """Say what the table has to hold, by the rules as the page on the table tells them."""
    table: dict[Key, tuple[float | None, bool, int]] = {}
    for feature in FEATURES:
        said = [(number, found[feature]) for number, found in enumerate(files) if feature in found]
        readable = [(number, one) for number, one in said if isinstance(one, dict)]
        if said and not readable:
            table[feature, None, None] = (None, True, said[-1][0])
        entries: dict[str, tuple[bool, int, Any]] = {}
        whole: list[tuple[bool, int]] = []
        spoke = set()
        for number, one in readable:
            response = one.get("response") or {}
            for entry in response.get("data") or []:
                spoke.add(number)
                day = entry["interval"]["from"][:10]
                entries[day] = max(
                    entries.get(day, (False, -1, None)),
                    ("error" not in entry, number, entry),
                    key=lambda each: each[:2],
                )
            has_lost = any("error" in entry for entry in response.get("data") or [])
            has_error = "error" in one or (response["status"] != "OK" and not has_lost)
            if has_error or not response.get("data"):
                whole.append((not has_error, number))
        whole = [each for each in whole if not spoke - {each[1]}]
        if whole:
            is_answered, number = max(whole)
            table[feature, None, None] = (None, not is_answered, number)
        for day, (is_answered, number, entry) in entries.items():
            bands = (entry["outputs"].get("ndvi") or {"bands": {None: None}})["bands"] if is_answered else {None: None}
            for band, value in bands.items():
                mean = value["stats"]["mean"] if value else None
                table[feature, day, band] = (None if mean == "NaN" else mean, not is_answered, number)
    return table


def rows_of(path: Path) -> list[tuple[Key, tuple[float | None, bool, int]]]:
    return [
        (
            (row["feature_id"], row["interval_from"] and str(row["interval_from"])[:10], row["band"]),
            (row["mean"], row["error"] is not None, row["rerun"]),
        )
        for row in parquet.read_table(path).to_pylist()
    ]


def check(found: StatisticsRead, folder: Path, files: list[dict[int, Any]]) -> None:
    rows = rows_of(Path(found.table_url.removeprefix("file://")))
    assert len(dict(rows)) == len(rows)
    assert dict(rows) == expected(files)
    intervals = {key[:2]: values for key, values in rows if key[1] is not None}
    with_data = {key[:2] for key, values in rows if values[0] is not None}
    failures = {key for key, values in intervals.items() if values[1]}
    assert (found.with_data, found.failed) == (len(with_data), len(failures))
    assert found.with_data + found.without_data + found.failed == len(intervals)
    report = read_execution_db(found.execution_db)
    assert report.total == len(FEATURES)
    assert report.failed == len({key[0] for key, values in rows if values[1]})
    assert report.pending == found.missing == len(FEATURES) - len({key[0] for key, _ in rows})
    assert report.delivered + report.no_data + report.failed + report.pending == report.total


@settings(max_examples=40, deadline=None)
@given(STEPS, st.sampled_from(["", "/x/<REQUEST_ID>/<IDENTIFIER>.json"]))
def test_any_tasks_shapes_and_reruns(steps: list[Any], template: str) -> None:
    folder = Path(tempfile.mkdtemp())
    url = (folder / "bucket").as_uri() + template
    files: list[dict[int, Any]] = [{} for _ in TASKS]
    features = write_input(folder / "input.gpkg", FEATURES)
    tasks = tasks_of(url, *TASKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "RESULTS_IN_PART", 2)
        patch.setattr(load, "_RESULTS_IN_CHUNK", 1)
        for step, (written, dies_at) in enumerate(steps):
            for task, (known, new) in enumerate(zip(files, written, strict=False)):
                known |= {feature: content(feature, shape, step + task / 8 + 0.125) for feature, shape in new.items()}
                put(Storage(), url, TASKS[task], {feature: known[feature] for feature in new})
            with suppress(Killed):
                found = read_statistics(Mortal(dies_at), tasks, target_of(url), features=features, workdir=folder)
                check(found, folder, files)
        found = read_statistics(Storage(), tasks, target_of(url), features=features, workdir=folder)
        check(found, folder, files)
        again = read_statistics(Storage(), tasks, target_of(url), features=features, workdir=folder)
        assert (again.read, again.is_published) == (0, False)
        # Nothing of the readers that died is left on the machine, or beside the results.
        assert not list(folder.glob("reading-*"))
        shutil.rmtree(folder)


READER = """
import sys
from pathlib import Path
from airflow_provider_sentinelhub.artifacts.statistics import load
from airflow_provider_sentinelhub.artifacts.statistics.read import read_statistics
from airflow_provider_sentinelhub.artifacts.storage.object_stores import StorageKeys, StorageOptions
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from tests.artifacts.artifact_s3 import KEY, SECRET
from tests.artifacts.statistics_files import TASK, tasks_of, target_of
load.RESULTS_IN_PART = 100
load._RESULTS_IN_CHUNK = 50
url, folder, endpoint = sys.argv[1:]
storage = Storage(StorageOptions(StorageKeys(KEY, SECRET), region="eu-central-1", endpoint_url=endpoint))
read_statistics(storage, tasks_of(url, TASK), target_of(url), features=None, workdir=Path(folder))
"""


def test_a_reader_that_is_killed_goes_on_where_it_was(s3: S3, folder_url: str, tmp_path: Path) -> None:
    storage = s3.storage()
    count = 1_000
    for feature in range(count):
        # Straight into the server's folder: a thousand uploads would take longer than the rest of the test.
        path = s3.folder / result_url(folder_url, TASK, feature).removeprefix("s3://")
        path.parent.mkdir(parents=True, exist_ok=True)
        body = f'{{"id":{feature},"identifier":"p","response":{{"data":null,"status":"FAILED"}}}}'
        path.write_text(body)
    target = target_of(folder_url)
    # The server looks at its folders once a second.
    while sum(1 for _ in storage.list(target.root)) < count:
        time.sleep(0.1)

    def ledgers() -> int:
        return sum(meta.url.endswith(LEDGER_SUFFIX) for meta in storage.list(target.parts_url))

    command = [sys.executable, "-c", READER, folder_url, str(tmp_path), s3.endpoint]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], env={**os.environ}) as reader:
        while ledgers() < 2 and reader.poll() is None:
            time.sleep(0.005)
        reader.send_signal(signal.SIGKILL)
    parts = ledgers()
    assert parts >= 2
    found = read_statistics(storage, tasks_of(folder_url, TASK), target, features=None, workdir=tmp_path)
    assert found.read == count - 100 * parts
    storage.download(found.table_url, tmp_path / "table.parquet")
    assert sorted(key[0] for key, _ in rows_of(tmp_path / "table.parquet")) == list(range(count))
    with closing(sqlite3.connect(found.execution_db)) as database:
        assert database.execute("SELECT count(DISTINCT id), count(*) FROM features").fetchone() == (count, count)
