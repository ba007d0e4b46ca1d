from __future__ import annotations

import re
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.report.execution_db import NO_STATUS, read_execution_db
from airflow_provider_sentinelhub.artifacts.report.messages import MAX_GROUPS, NO_MESSAGE, normalised
from airflow_provider_sentinelhub.artifacts.report.report import FeatureOutcome, FeatureReport
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt
from tests.artifacts.artifact_files import Row, write_execution_db

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DELIVERED, NO_DATA, UNDELIVERED, FAILED, PENDING, UNKNOWN = (
    FeatureOutcome(name) for name in ("DELIVERED", "NO_DATA", "UNDELIVERED", "FAILED", "PENDING", "UNKNOWN")
)

# One function-scoped folder for all examples is fine: every example writes its own file.
REUSED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


# ASCII only, as SQLite's lower() is.
BEGINS_SO = re.compile(
    r"no data([^a-z ]| (available|found|exists|exist|for|in|at|on|within|matches|intersects)[^a-z])", re.DOTALL
)


def classified(status: object, error: object, delivered: object) -> FeatureOutcome:
    """The rules, told naively."""
    if status == "PENDING":
        return PENDING
    if status == "FATAL":
        return FAILED
    if status != "DONE":
        return UNKNOWN
    if isinstance(error, str):
        plain = error.lower().replace(" ", "").replace("_", "").replace("-", "").strip("\t\n\r.!")
        words = error.lower().replace("_", " ").replace("-", " ").strip("\t\n\r ")
        if plain == "nodata" or BEGINS_SO.match(f"{words} "):
            return NO_DATA
    if isinstance(delivered, str):
        return DELIVERED if delivered.strip(" ").lower() in {"1", "true", "t", "yes", "y"} else UNDELIVERED
    return DELIVERED if isinstance(delivered, (int, float)) and delivered != 0 else UNDELIVERED


def expected_counts(rows: list[Row]) -> dict[FeatureOutcome, int]:
    counts = Counter(classified(*row[2:]) for row in rows)
    return {outcome: counts[outcome] for outcome in FeatureOutcome}


STATUSES = st.sampled_from(["DONE", "DONE", "FATAL", "PENDING", "done", "QUEUED", " DONE", "", None, 7, b"DONE"])
ERRORS = st.one_of(
    st.none(),
    st.sampled_from(
        [
            "",
            "No data",
            "no data.",
            "NO_DATA",
            " No-Data! ",
            "nodata",
            "No data for B04",
            "No data could be written",
            "No data.",
            "Timeout 7 s",
        ]
    ),
    st.sampled_from(
        ["No data could be written", "No data available", "NO-DATA found.", "No data: cloudy", "No database"]
    ),
    st.text(max_size=20),
    st.binary(max_size=3),
    st.integers(-5, 5),
)
FLAGS = st.sampled_from([0, 1, 1, None, "true", "TRUE", "false", " t ", "0", "1", "no", 2, 0.0, 0.5, 1.0, b"1", ""])
NAMES = st.one_of(st.sampled_from(["a", "b", "tile-1", "Tile-1"]), st.text(max_size=8), st.none(), st.integers(0, 3))
ROWS = st.lists(st.tuples(st.integers(0, 9), NAMES, STATUSES, ERRORS, FLAGS), max_size=30)


@REUSED_FOLDER
@given(rows=ROWS)
def test_any_content_is_counted_as_the_rules_say(tmp_path: Path, rows: list[Row]) -> None:
    path = tmp_path / "e.sqlite"
    path.unlink(missing_ok=True)
    # Without declared types SQLite keeps every value as it is.
    write_execution_db(path, rows, columns="id, name, status, error, delivered")
    report = read_execution_db(path)
    assert report.counts() == expected_counts(rows)
    assert report.total == len(rows) == sum(report.counts().values())
    assert report.complete == all(classified(*row[2:]) in {DELIVERED, NO_DATA} for row in rows)
    problems = [row for row in rows if classified(*row[2:]) in {FAILED, UNDELIVERED, UNKNOWN}]
    assert sum(group.count for group in report.error_groups) + report.other_errors == len(problems)
    assert read_execution_db(path, counts_only=True).counts() == report.counts()
    assert read_execution_db(path) == report
    assert sum(count for _, count in report.unknown_statuses) == report.unknown


def read(tmp_path: Path, rows: list[Row], **kinds: Any) -> FeatureReport:
    return read_execution_db(write_execution_db(tmp_path / "execution.sqlite", rows, **kinds))


def test_a_typical_database(tmp_path: Path) -> None:
    report = read(
        tmp_path,
        [
            (1, "a", "DONE", None, 1),
            (2, "b", "DONE", "No data", 0),
            (3, "c", "FATAL", "Timeout after 30 s", 0),
            (4, "d", "PENDING", None, 0),
            (5, "e", "DONE", None, 0),
            (6, "f", "RETRYING", None, 0),
            (7, "g", None, None, None),
        ],
    )
    assert report.counts() == dict.fromkeys(FeatureOutcome, 1) | {UNKNOWN: 2}
    assert report.unknown_statuses == ((NO_STATUS, 1), ("RETRYING", 1))
    assert (report.failed_names, report.no_data_names) == (("c",), ("b",))
    assert [(group.outcome, group.message, group.examples) for group in report.error_groups] == [
        (UNKNOWN, NO_MESSAGE, ("f", "g")),
        (FAILED, "Timeout after 30 s", ("c",)),
        (UNDELIVERED, NO_MESSAGE, ("e",)),
    ]


def test_an_empty_table_has_no_features(tmp_path: Path) -> None:
    assert read(tmp_path, []) == FeatureReport(total=0)


def test_columns_are_found_by_name_in_any_order_and_case(tmp_path: Path) -> None:
    report = read(
        tmp_path,
        [("x", 1, "boom", "FATAL", "zz", 9), ("y", 1, None, "DONE", "yy", 1)],
        columns='Extra TEXT, delivered BOOLEAN, "ERROR" TEXT, Status TEXT, name TEXT, "order" INTEGER',
        table='"FEATURES"',
    )
    assert (report.failed, report.delivered, report.failed_names) == (1, 1, ("zz",))


def test_columns_that_compare_without_case_do_not_change_the_statuses(tmp_path: Path) -> None:
    columns = "id INTEGER, name TEXT COLLATE NOCASE, status TEXT COLLATE NOCASE, error TEXT, delivered BOOLEAN"
    report = read(tmp_path, [(1, "a", "done", None, 1), (2, "A", "DONE", None, 1)], columns=columns)
    assert (report.delivered, report.unknown) == (1, 1)


@pytest.mark.parametrize("columns", ["id, name TEXT UNIQUE, status, error, delivered", None])
def test_an_index_changes_nothing(tmp_path: Path, columns: str | None) -> None:
    rows = [(i, f"n{i}", ("DONE", "FATAL")[i % 2], f"e{i}", 1) for i in range(50)]
    path = write_execution_db(tmp_path / "e.sqlite", rows, columns=columns or "id, name, status, error, delivered")
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE INDEX by_status ON features (status DESC, name DESC, error, delivered)")
    report = read_execution_db(path)
    assert (report.delivered, report.failed) == (25, 25)
    assert report.failed_names[:2] == ("n1", "n3")


def test_more_than_a_million_rows(tmp_path: Path) -> None:
    path = write_execution_db(tmp_path / "e.sqlite", [])
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1048580) "
            "INSERT INTO features SELECT i, i, CASE i % 1000000 WHEN 1 THEN 'FATAL' ELSE 'DONE' END, NULL, 1 FROM n"
        )
        database.commit()
    report = read_execution_db(path)
    assert (report.total, report.delivered, report.failed) == (1048580, 1048578, 2)


def test_a_text_in_a_broken_encoding_hides_nothing(tmp_path: Path) -> None:
    path = write_execution_db(tmp_path / "e.sqlite", [])
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "INSERT INTO features VALUES (1, CAST(x'61ff' AS TEXT), CAST(x'fe' AS TEXT), CAST(x'ff' AS TEXT), 1)"
        )
        database.commit()
    report = read_execution_db(path)
    assert report.unknown_statuses == (("\ufffd", 1),)
    assert report.error_groups[0].examples == ("a\ufffd",)


def test_a_write_ahead_database_is_read_without_touching_its_folder(tmp_path: Path) -> None:
    path = write_execution_db(tmp_path / "e?x=1#%41.sqlite", [(1, "a", "DONE", None, 1)])
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
    assert read_execution_db(path).delivered == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_bytes(b"SQLite for"), "ends after 10 bytes"),
        (lambda path: path.write_bytes(b"<?xml version='1.0'?><Error/>" * 10), "not an SQLite file"),
        (lambda path: path.write_bytes(b"SQLite format 3\x00" + bytes(200)), "page size of 0"),
        (lambda path: write_execution_db(path, [], table="tiles"), r"no table 'features', only \['tiles'\]"),
        (lambda path: write_execution_db(path, [], columns="id, name, status"), r"no column \['error', 'delivered'\]"),
    ],
)
def test_what_is_no_execution_database_is_refused_with_what_was_found(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / "execution-1.sqlite")
    with pytest.raises(ArtifactCorrupt, match=message) as caught:
        read_execution_db(tmp_path / "execution-1.sqlite")
    assert "execution-1.sqlite is not a usable execution database" in str(caught.value)
    assert "read it again later" in str(caught.value)


@dataclass(frozen=True)
class Whole:
    """An undamaged database."""

    content: bytes = field(repr=False)
    counts: dict[FeatureOutcome, int] = field(repr=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    rows: list[Row] = [
        (i, f"tile-{i}", ("DONE", "FATAL", "PENDING")[i % 3], f"error {i}" if i % 3 == 1 else None, i % 3 == 0)
        for i in range(300)
    ]
    path = write_execution_db(tmp_path_factory.mktemp("whole") / "e.sqlite", rows, page_size=512)
    return Whole(path.read_bytes(), expected_counts(rows))


def test_a_file_cut_off_anywhere_is_noticed(tmp_path: Path, whole: Whole) -> None:
    content = whole.content
    path = tmp_path / "e.sqlite"
    cuts = {*range(130), *range(0, len(content), 512), *range(511, len(content), 512), len(content) - 1}
    for cut in sorted(cuts - {len(content)}):
        path.write_bytes(content[:cut])
        with pytest.raises(ArtifactCorrupt):
            read_execution_db(path)


def test_a_file_that_has_grown_beyond_its_header_is_noticed(tmp_path: Path, whole: Whole) -> None:
    (tmp_path / "e.sqlite").write_bytes(whole.content + bytes(512))
    with pytest.raises(ArtifactCorrupt, match="header promises"):
        read_execution_db(tmp_path / "e.sqlite")


def test_pages_that_were_never_written_are_noticed(tmp_path: Path, whole: Whole) -> None:
    content, counts = whole.content, whole.counts
    path = tmp_path / "e.sqlite"
    for start in range(0, len(content), 512):
        path.write_bytes(content[:start] + bytes(512) + content[start + 512 :])
        with pytest.raises(ArtifactCorrupt):
            read_execution_db(path)
    path.write_bytes(content)
    assert read_execution_db(path).counts() == counts


def test_a_torn_snapshot_of_two_states_is_never_miscounted(tmp_path: Path, whole: Whole) -> None:
    """Half the pages from before a large insert, half from after."""
    before, counts = whole.content, whole.counts
    path = tmp_path / "e.sqlite"
    path.write_bytes(before)
    with closing(sqlite3.connect(path)) as database:
        database.executemany(
            "INSERT INTO features VALUES (?, ?, 'DONE', NULL, 1)", [(i, f"more-{i}") for i in range(300)]
        )
        database.commit()
    after = path.read_bytes()
    right = [counts, read_execution_db(path).counts()]
    for page in range(512, len(after), 512):
        for content in (after[:page] + before[page:], before[:page] + after[page:]):
            path.write_bytes(content)
            try:
                found = read_execution_db(path).counts()
            except ArtifactCorrupt:
                continue
            assert found in right


@settings(REUSED_FOLDER, max_examples=150)
@given(data=st.data())
def test_damage_in_the_structure_is_noticed_or_harmless(tmp_path: Path, whole: Whole, data: st.DataObject) -> None:
    content, counts = whole.content, whole.counts
    page = data.draw(st.integers(0, len(content) // 512 - 1))
    # The first bytes of a page say what it is, how many rows it has and where they are.
    start = 100 if page == 0 else page * 512
    place = start + data.draw(st.integers(0, 11))
    changed = bytearray(content)
    changed[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "e.sqlite"
    path.write_bytes(changed)
    try:
        found = read_execution_db(path)
    except ArtifactCorrupt:
        return
    assert found.counts() == counts


@settings(REUSED_FOLDER, max_examples=100)
@given(data=st.data())
def test_progress_notices_what_the_report_notices(tmp_path: Path, whole: Whole, data: st.DataObject) -> None:
    changed = bytearray(whole.content)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "e.sqlite"
    path.write_bytes(changed)
    found = []
    for counts_only in (False, True):
        try:
            found.append(read_execution_db(path, counts_only=counts_only).counts())
        except ArtifactCorrupt:
            found.append({})
    # The report reads the names as well, so it may meet damage that the counts do not.
    assert found[0] in ({}, found[1])


@settings(REUSED_FOLDER, max_examples=150)
@given(data=st.data())
def test_any_changed_byte_leaves_the_sum_right_or_is_noticed(tmp_path: Path, whole: Whole, data: st.DataObject) -> None:
    content, counts = whole.content, whole.counts
    place = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "e.sqlite"
    path.write_bytes(changed)
    try:
        found = read_execution_db(path)
    except ArtifactCorrupt:
        return
    assert found.total == sum(found.counts().values()) == sum(counts.values())


@pytest.mark.parametrize(
    ("message", "name", "expected"),
    [
        ("Timeout after 30 s", "", "Timeout after <n> s"),
        ("Timeout after 30.5 s", "", "Timeout after <n> s"),
        ("Tile 36MZT_0_0 failed", "36MZT_0_0", "Tile <feature> failed"),
        ("POLYGON ((1.5 2.5, -3 4e5, 1 2))", "", "POLYGON ((<n>))"),
        ("request 4fa0a2c1-6a4f-4a9e-9d5d-0d2b1f6f7a11 lost", "", "request <id> lost"),
        ("at 0x7fff12ab", "", "at <id>"),
        ("object 0123456789abcdef0123 gone", "", "object <id> gone"),
        ("Illegal request. HTTP Status: 500.", "", "Illegal request. HTTP Status: 500."),
        ("HTTP/1.1 403 after 12 s", "", "HTTP/1.1 403 after <n> s"),
        ("error   with\nlines", "", "error with lines"),
        ("a cat", "a", "a cat"),
    ],
)
def test_what_differs_between_features_is_taken_out_of_messages(message: str, name: str, expected: str) -> None:
    assert normalised(message, name) == expected


def test_messages_that_differ_only_in_details_are_one_group(tmp_path: Path) -> None:
    rows: list[Row] = [(i, f"tile-{i}", "FATAL", f"tile-{i}: timeout after {i} s", 0) for i in range(10)]
    rows += [(99, "tile-99", "FATAL", "HTTP 403", 0)]
    report = read(tmp_path, rows)
    assert [(group.message, group.count, group.examples) for group in report.error_groups] == [
        ("<feature>: timeout after <n> s", 10, ("tile-0", "tile-1", "tile-2")),
        ("HTTP 403", 1, ("tile-99",)),
    ]


def test_a_message_all_agree_on_is_shown_as_it_is(tmp_path: Path) -> None:
    report = read(tmp_path, [(i, f"n{i}", "FATAL", "Band 12 is missing at 10 m", 0) for i in range(3)])
    assert report.error_groups[0].message == "Band 12 is missing at 10 m"


def test_many_different_messages_are_bounded_and_still_counted(tmp_path: Path) -> None:
    words = [f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(6000)]
    rows: list[Row] = [(i, f"n{i}", "FATAL", word, 0) for i, word in enumerate(words)]
    report = read(tmp_path, [*rows, (6001, "x", "FATAL", words[0], 0)])
    assert len(report.error_groups) == MAX_GROUPS
    assert report.error_groups[0].message == words[0]
    assert sum(group.count for group in report.error_groups) + report.other_errors == report.failed == 6001
    assert len(report.failed_names) == 20
