from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.report.reader import read_merged_report
from airflow_provider_sentinelhub.artifacts.report.report import FeatureOutcome, FeatureReport, TaskCounts
from airflow_provider_sentinelhub.artifacts.report.reruns import TaskFiles, merge
from airflow_provider_sentinelhub.artifacts.storage.layout import execution_db_url, manifest_url, report_url
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing, InvalidParameter
from airflow_provider_sentinelhub.client.text import printable
from tests.artifacts.artifact_files import ManifestEntry, Row, write_execution_db, write_manifest
from tests.artifacts.test_artifacts_execution_db import ERRORS, FLAGS, STATUSES, classified

if TYPE_CHECKING:
    from pathlib import Path

DELIVERED, NO_DATA, UNDELIVERED, FAILED, PENDING, UNKNOWN = (
    FeatureOutcome(name) for name in ("DELIVERED", "NO_DATA", "UNDELIVERED", "FAILED", "PENDING", "UNKNOWN")
)
FOLDERS = itertools.count()


class Tasks:
    """Tasks about the same features, as they leave their files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / f"b{next(FOLDERS)}"
        self.storage = Storage()
        self.tasks: list[TaskFiles] = []

    def add(self, rows: list[Row] | bytes | None) -> Tasks:
        """Add a task: its rows, or what lies there instead of its execution database."""
        number = len(self.tasks)
        one = TaskFiles((self.folder / f"root{number % 2}").as_uri(), f"00000000-0000-4000-8000-{number:012}")
        self.tasks.append(one)
        if isinstance(rows, bytes):
            self.storage.upload(rows, execution_db_url(one.root, one.task_id))
        elif rows is not None:
            self.folder.mkdir(exist_ok=True)
            # Without declared types SQLite keeps every value as it is.
            path = write_execution_db(
                self.folder / f"{number}.sqlite", rows, columns="id, name, status, error, delivered"
            )
            self.storage.upload(path, execution_db_url(one.root, one.task_id))
        return self

    def manifest(self, entries: list[ManifestEntry]) -> Tasks:
        path = write_manifest(self.folder / "m.gpkg", entries)
        self.storage.upload(path, manifest_url(self.tasks[0].root, self.tasks[0].task_id))
        return self

    def read(self) -> FeatureReport:
        return read_merged_report(self.storage, self.tasks)

    def table(self) -> list[dict[str, Any]]:
        path = self.folder / "root0" / f"report-{self.tasks[0].task_id}.parquet"
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows


def words(*rows: tuple[str, str]) -> list[Row]:
    """Rows by name and a short word."""
    kinds = {
        "delivered": ("DONE", None, 1),
        "no data": ("DONE", "No data", 0),
        "undelivered": ("DONE", None, 0),
        "failed": ("FATAL", "boom", 0),
        "pending": ("PENDING", None, 0),
        "unknown": ("RETRYING", None, 0),
    }
    return [(number, name, *kinds[word]) for number, (name, word) in enumerate(rows)]


# The rules, told naively -------------------------------------------------------------------------------------------


def last_word(heard: list[tuple[int, FeatureOutcome]]) -> tuple[int, FeatureOutcome]:
    """Which of the words (rerun, outcome) about one feature counts."""
    for wanted in ({DELIVERED}, {NO_DATA}, {FAILED, UNDELIVERED}, {PENDING, UNKNOWN}):
        of_that_kind = [word for word in heard if word[1] in wanted]
        if of_that_kind:
            latest = max(number for number, _ in of_that_kind)
            said = {outcome for number, outcome in of_that_kind if number == latest}
            return latest, next(
                outcome for outcome in (DELIVERED, NO_DATA, FAILED, UNDELIVERED, UNKNOWN, PENDING) if outcome in said
            )
    raise AssertionError


def text(name: object) -> str:
    return "" if name is None else str(name)


def expected(databases: list[list[Row] | None], planned: list[str | None]) -> list[tuple[str, FeatureOutcome, int]]:
    """Name, outcome and rerun of each feature."""
    heard: dict[str, list[tuple[int, FeatureOutcome]]] = {}
    features: list[tuple[str, FeatureOutcome, int]] = []
    nameless = False
    for number, rows in enumerate(databases):
        for _, name, *facts in rows or []:
            word = (number, classified(*facts))
            if text(name):
                heard.setdefault(text(name), []).append(word)
            else:
                nameless = True
                features.append(("", word[1], number))
    for name, said in heard.items():
        number, outcome = last_word(said)
        features.append((name, outcome, number))
    known = heard.keys() | ({""} if nameless else set())
    features += [(name, PENDING, 0) for name in {text(name) for name in planned} - known]
    return sorted(features)


NAMES = st.one_of(
    st.sampled_from(["a", "b", "c", "d", "tile-1", "Tile-1"]), st.text(max_size=3), st.none(), st.integers(0, 3)
)
ROWS = st.lists(st.tuples(st.integers(0, 9), NAMES, STATUSES, ERRORS, FLAGS), max_size=12)
# What may lie in place of a rerun's execution database: nothing, or half a file.
RERUNS = st.lists(st.one_of(ROWS, ROWS, ROWS, st.none(), st.just(b"SQLite format 3\x00 and no more")), max_size=4)
PLANNED = st.one_of(
    st.none(),
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "e", "f", "", None]), st.sampled_from("xy")), min_size=1, max_size=8
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(original=ROWS, reruns=RERUNS, planned=PLANNED)
def test_any_tasks_merge_to_a_report_in_which_each_feature_stands_once(
    tmp_path: Path,
    original: list[Row],
    reruns: list[list[Row] | bytes | None],
    planned: list[tuple[str | None, str]] | None,
) -> None:
    bucket = Tasks(tmp_path).add(original)
    for rerun in reruns:
        bucket.add(rerun)
    if planned is not None:
        bucket.manifest([ManifestEntry(name, output) for name, output in planned])
    databases = [original, *(rows if isinstance(rows, list) else None for rows in reruns)]
    features = expected(databases, [name for name, _ in planned or []])
    counts = Counter(outcome for _, outcome, _ in features)

    report = bucket.read()

    # The counts add up, whichever way they are added.
    assert report.counts() == {outcome: counts[outcome] for outcome in FeatureOutcome}
    assert report.total == len(features) == sum(report.counts().values())
    problems = counts[FAILED] + counts[UNDELIVERED] + counts[UNKNOWN]
    assert sum(group.count for group in report.error_groups) + report.other_errors == problems
    assert sum(count for _, count in report.unknown_statuses) == report.unknown
    by_round = Counter(number for _, _, number in features)
    assert [task.last_word for task in report.tasks] == [by_round[number] for number in range(len(databases))]
    # The table says the same of each feature, and names each once.
    table = bucket.table()
    assert sorted((row["name"], row["outcome"], row["rerun"]) for row in table) == features
    assert max(Counter(row["name"] for row in table if row["name"]).values(), default=1) == 1
    assert [row["task_id"] for row in table] == [bucket.tasks[row["rerun"]].task_id for row in table]
    # What is not known is said.
    assert [task.task_id for task in report.tasks] == [one.task_id for one in bucket.tasks]
    assert [task.total for task in report.tasks] == [None if rows is None else len(rows) for rows in databases]
    assert report.reruns == len(databases) - 1
    unread = [note for note in report.notes if "is not known" in note]
    assert len(unread) == databases.count(None)
    twice = [
        name
        for name in {text(row[1]) for rows in databases for row in rows or []}
        if name and any(sum(text(row[1]) == name for row in rows or []) > 1 for rows in databases)
    ]
    assert (report.duplicates, set(report.duplicate_names)) == (len(twice), {printable(name) for name in twice})


@pytest.mark.parametrize(
    ("said", "outcome", "number"),
    [
        (("failed", "delivered"), DELIVERED, 1),
        (("failed", "failed", "delivered"), DELIVERED, 2),
        (("delivered", "failed"), DELIVERED, 0),
        (("delivered", "no data"), DELIVERED, 0),
        (("no data", "failed"), NO_DATA, 0),
        (("no data", "delivered"), DELIVERED, 1),
        (("failed", "undelivered"), UNDELIVERED, 1),
        (("undelivered", "failed"), FAILED, 1),
        (("failed", "pending"), FAILED, 0),
        (("failed", "unknown"), FAILED, 0),
        (("failed", "failed", "pending"), FAILED, 1),
        (("pending", "unknown"), UNKNOWN, 1),
        (("unknown", "pending"), PENDING, 1),
        (("delivered", "delivered"), DELIVERED, 1),
    ],
)
def test_the_last_word(tmp_path: Path, said: tuple[str, ...], outcome: FeatureOutcome, number: int) -> None:
    bucket = Tasks(tmp_path)
    for word in said:
        bucket.add(words(("a", word)))
    report = bucket.read()
    assert report.counts() == dict.fromkeys(FeatureOutcome, 0) | {outcome: 1}
    (row,) = bucket.table()
    assert (row["outcome"], row["rerun"], row["task_id"]) == (outcome, number, bucket.tasks[number].task_id)


def test_three_reruns_of_what_was_lost(tmp_path: Path) -> None:
    original = [(f"t{i:02}", "failed" if i < 15 else "delivered") for i in range(66)]
    bucket = Tasks(tmp_path).add(words(*original))
    bucket.manifest([ManifestEntry(name) for name, _ in original])
    bucket.add(words(*((f"t{i:02}", "delivered" if i < 12 else "failed") for i in range(15))))
    bucket.add(words(*((f"t{i:02}", "delivered" if i < 14 else "failed") for i in range(12, 15))))
    bucket.add(words(("t14", "failed")))
    report = bucket.read()
    assert (report.total, report.delivered, report.failed, report.failed_names) == (66, 65, 1, ("t14",))
    assert [(task.total, task.delivered, task.last_word) for task in report.tasks] == [
        (66, 51, 51),
        (15, 12, 12),
        (3, 2, 2),
        (1, 0, 1),
    ]
    assert report.report_url == report_url(bucket.tasks[0].root, bucket.tasks[0].task_id)
    assert (
        "rerun 3: task 00000000-0000-4000-8000-000000000003: 0 of 1 feature delivered or without data" in report.text()
    )
    assert report.notes == ()
    assert FeatureReport.from_dict(report.to_dict()) == report


def test_values_stay_as_they_are_when_merged(tmp_path: Path) -> None:
    # Names that look like numbers are told apart from them, and from each other.
    names = ["007", "7", "7.0", "1e3", "1000", " 7", "7 "]
    bucket = Tasks(tmp_path).add(words(*((name, "failed") for name in names))).add(words(("7", "delivered")))
    report = bucket.read()
    assert (report.total, report.delivered, report.failed) == (7, 1, 6)
    assert {row["name"]: row["outcome"] for row in bucket.table()}["7"] == "DELIVERED"


def test_a_rerun_of_which_nothing_can_be_read_hides_nothing(tmp_path: Path) -> None:
    bucket = Tasks(tmp_path).add(words(("a", "failed"), ("b", "failed"), ("c", "delivered")))
    bucket.add(words(("a", "delivered"), ("b", "failed"))).add(None).add(b"torn").add(words(("b", "delivered")))
    report = bucket.read()
    assert (report.delivered, report.total) == (3, 3)
    assert report.tasks[2] == TaskCounts(bucket.tasks[2].task_id, None)
    assert "What became of the features of rerun 2 is not known" in report.notes[0]
    assert bucket.tasks[2].task_id in report.notes[0]
    assert "rerun 3 is not known" in report.notes[1]
    assert f"task {bucket.tasks[2].task_id}: what became of its features is not known" in report.text()


def test_without_the_original_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing):
        Tasks(tmp_path).add(None).add(words(("a", "delivered"))).read()
    with pytest.raises(ArtifactCorrupt):
        Tasks(tmp_path).add(b"torn").add(words(("a", "delivered"))).read()


def test_a_feature_nobody_knew_counts(tmp_path: Path) -> None:
    bucket = Tasks(tmp_path).add(words(("a", "delivered"))).add(words(("b", "failed")))
    assert (bucket.read().total, bucket.read().failed_names) == (2, ("b",))


def test_a_name_that_occurs_twice_is_one_feature(tmp_path: Path) -> None:
    bucket = Tasks(tmp_path).add(words(("a", "failed"), ("a", "delivered"), ("b", "unknown"), ("b", "pending")))
    report = bucket.read()
    assert (report.total, report.delivered, report.unknown) == (2, 1, 1)
    assert (report.duplicates, report.duplicate_names) == (2, ("a", "b"))
    assert report.tasks == (TaskCounts(bucket.tasks[0].task_id, 4, 1, 0, 2),)


def test_one_round_is_the_report_of_a_task(tmp_path: Path) -> None:
    bucket = Tasks(tmp_path).add(words(("a", "delivered"), ("b", "failed"))).manifest([ManifestEntry("c")])
    report = bucket.read()
    assert (report.total, report.pending, report.unlisted, report.reruns) == (3, 1, 1, 0)
    assert report.tasks == (TaskCounts(bucket.tasks[0].task_id, 2, 1, 0, 3),)
    assert "original:" not in report.text()


@pytest.mark.parametrize("tasks", [[], [TaskFiles("file:///x", "1"), TaskFiles("file:///y", "1")]])
def test_tasks_are_checked(tasks: list[TaskFiles]) -> None:
    with pytest.raises(InvalidParameter, match="tasks"):
        read_merged_report(Storage(), tasks)


def test_the_merged_database_is_one_as_the_service_writes_it(tmp_path: Path) -> None:
    first = write_execution_db(tmp_path / "1.sqlite", words(("b", "failed"), ("a", "delivered")))
    second = write_execution_db(tmp_path / "2.sqlite", words(("b", "delivered")), table='"FEATURES"')
    facts = merge({0: first, 1: second}, tmp_path / "merged.sqlite")
    assert (facts.last_words, facts.duplicates) == ({0: 1, 1: 1}, 0)
    assert read_execution_db(tmp_path / "merged.sqlite").delivered == 2
    with closing(sqlite3.connect(tmp_path / "merged.sqlite")) as database:
        assert database.execute("SELECT name, merged_rerun FROM features").fetchall() == [("a", 0), ("b", 1)]


def test_databases_of_any_page_size_and_journal_merge_and_stay_untouched(tmp_path: Path) -> None:
    paths = {}
    for number, page_size in enumerate((512, 4096, 65536)):
        rows = words(*((f"t{i}", "delivered" if i < 10 * number else "failed") for i in range(40)))
        paths[number] = write_execution_db(tmp_path / f"e?{number}#.sqlite", rows, page_size=page_size)
        with closing(sqlite3.connect(paths[number])) as database:
            database.execute("PRAGMA journal_mode=WAL")
    before = {path: path.read_bytes() for path in paths.values()}
    assert merge(paths, tmp_path / "merged.sqlite").last_words == {2: 40}
    assert read_execution_db(tmp_path / "merged.sqlite").delivered == 20
    assert {path: path.read_bytes() for path in paths.values()} == before
    assert set(tmp_path.iterdir()) == {*before, tmp_path / "merged.sqlite"}


def test_many_reruns_fit_into_a_result(tmp_path: Path) -> None:
    bucket = Tasks(tmp_path).add(words(("a", "failed")))
    for _ in range(30):
        bucket.add(words(("a", "failed")))
    report = bucket.read()
    assert (report.reruns, len(report.tasks)) == (30, 31)
    found = report.to_dict()
    ids = [one.task_id for one in bucket.tasks]
    assert [task["task_id"] for task in found["tasks"]] == [ids[0], *ids[-9:]]
    assert found["reruns"] == 30
