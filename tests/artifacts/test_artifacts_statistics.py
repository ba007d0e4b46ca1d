from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet

from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.statistics.read import StatisticsRead, read_statistics
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from tests.artifacts.artifact_s3 import S3
from tests.artifacts.statistics_files import (
    DAYS,
    RERUN,
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
    from pathlib import Path


def read(
    storage: Storage, url: str, folder: Path, *tasks: str, features: Path | None = None
) -> tuple[StatisticsRead, list[dict[str, Any]]]:
    found = read_statistics(
        storage, tasks_of(url, *(tasks or (TASK,))), target_of(url), features=features, workdir=folder
    )
    storage.download(found.table_url, folder / "table.parquet")
    return found, parquet.read_table(folder / "table.parquet").to_pylist()


def outcomes(found: StatisticsRead) -> dict[int, tuple[Any, ...]]:
    with closing(sqlite3.connect(found.execution_db)) as database:
        return {row[0]: row[1:] for row in database.execute("SELECT id, name, status, error, delivered FROM features")}


def test_all_shapes_of_results_are_rows_and_every_feature_is_accounted_for(
    s3: S3, folder_url: str, tmp_path: Path
) -> None:
    storage = s3.storage()
    files = {
        1: answer(1, [data(DAYS[0], 0.5, bands=("B0", "B1")), data(DAYS[1], 0.25, empty=True)]),
        2: answer(2, [data(DAYS[0]), lost(DAYS[1], "EXECUTION_ERROR"), lost(DAYS[2])]),
        3: failed(3),
        4: broken(4),
        5: answer(5, [data(DAYS[0], empty=True)]),
        6: b'{"id": 6, "identifier": "parcel-6", "resp',
    }
    put(storage, folder_url, TASK, files)
    features = write_input(tmp_path / "input.gpkg", range(1, 8))
    found, rows = read(storage, folder_url, tmp_path, features=features)
    keys = [(row["feature_id"], str(row["interval_from"])[:10], row["band"], row["error"]) for row in rows]
    cut = "The result file 6.json cannot be read: Input data was truncated"
    assert keys == [
        (1, DAYS[0], "B0", None),
        (1, DAYS[0], "B1", None),
        (1, DAYS[1], "B0", None),
        (2, DAYS[0], "B0", None),
        (2, DAYS[1], None, "EXECUTION_ERROR"),
        (2, DAYS[2], None, "TIMEOUT"),
        (3, "None", None, "FAILED"),
        (4, "None", None, "EXECUTION_ERROR"),
        (5, DAYS[0], "B0", None),
        (6, "None", None, cut),
    ]
    assert (rows[0]["mean"], rows[0]["sample_count"], rows[0]["no_data_count"]) == (0.5, 100, 3)
    assert rows[0]["percentiles"] == [("25.0", 0.4), ("50.0", 0.5)]
    assert rows[0]["histogram"][1] == {"low_edge": 0.5, "high_edge": 1.0, "count": 7}
    assert (rows[0]["histogram_underflow"], rows[0]["histogram_overflow"]) == (1, 2)
    assert rows[0]["interval_to"].isoformat() == "2024-05-13T00:00:00+00:00"
    empty = rows[2]
    assert (empty["mean"], empty["percentiles"], empty["histogram"]) == (None, None, None)
    assert (empty["sample_count"], empty["no_data_count"]) == (100, 100)
    assert {row["task_id"] for row in rows} == {TASK}
    assert (found.with_data, found.without_data, found.failed) == (2, 2, 2)
    assert (found.results, found.read, found.unreadable, found.missing, found.unknown) == (6, 5, 1, 1, 0)
    assert outcomes(found) == {
        1: ("parcel-1", "DONE", None, 1),
        2: ("parcel-2", "FATAL", "2 of 3 intervals failed: 1 EXECUTION_ERROR, 1 TIMEOUT", 0),
        3: ("parcel-3", "FATAL", "FAILED", 0),
        4: ("parcel-4", "FATAL", "EXECUTION_ERROR", 0),
        5: ("parcel-5", "DONE", "No data", 0),
        6: ("parcel-6", "FATAL", cut, 0),
        7: ("parcel-7", "PENDING", None, 0),
    }
    report = read_execution_db(found.execution_db)
    assert (report.total, report.delivered, report.no_data, report.failed, report.pending) == (7, 1, 1, 4, 1)


def test_a_second_read_takes_what_is_new_or_replaced_and_publishes_only_then(
    s3: S3, folder_url: str, tmp_path: Path
) -> None:
    storage = s3.storage()
    put(storage, folder_url, TASK, {number: answer(number, [data()]) for number in range(5)})
    put(storage, folder_url, TASK, {9: b"{"})
    first, _ = read(storage, folder_url, tmp_path)
    before = storage.head(first.table_url)
    again, rows = read(storage, folder_url, tmp_path)
    assert (first.read, first.is_published, again.read, again.is_published) == (5, True, 0, False)
    assert storage.head(first.table_url) == before
    assert len(rows) == 6
    put(storage, folder_url, TASK, {3: answer(3, [data(DAYS[0], 0.75)]), 7: failed(7), 9: answer(9, [data()])})
    third, rows = read(storage, folder_url, tmp_path)
    assert (third.read, third.unreadable, third.results, third.is_published) == (3, 0, 7, True)
    assert sorted((row["feature_id"], row["mean"]) for row in rows if not row["error"]) == [
        (number, 0.75 if number == 3 else 0.5) for number in (0, 1, 2, 3, 4, 9)
    ]
    assert [row["feature_id"] for row in rows if row["error"]] == [7]


def test_an_answer_wins_over_an_error_and_the_later_of_two(s3: S3, folder_url: str, tmp_path: Path) -> None:
    storage = s3.storage()
    put(
        storage,
        folder_url,
        TASK,
        {
            1: answer(1, [data(DAYS[0], 0.1), lost(DAYS[1]), lost(DAYS[2])]),
            2: failed(2),
            3: answer(3, [data(DAYS[0], 0.3), data(DAYS[1], 0.3)]),
            4: broken(4),
            5: answer(5, [lost(DAYS[0], "EXECUTION_ERROR")]),
            6: b"no",
            7: answer(7, [data()]),
        },
    )
    put(
        storage,
        folder_url,
        RERUN,
        {
            1: answer(1, [data(DAYS[1], 0.2), lost(DAYS[2], "EXECUTION_ERROR")]),
            2: answer(2, [data(DAYS[0], 0.2), data(DAYS[1], empty=True)]),
            3: answer(3, [lost(DAYS[0]), data(DAYS[1], 0.4)]),
            4: failed(4),
            5: failed(5),
            6: answer(6, [data()]),
        },
    )
    found, rows = read(storage, folder_url, tmp_path, TASK, RERUN)
    assert sorted((r["feature_id"], str(r["interval_from"])[:10], r["mean"], r["error"], r["rerun"]) for r in rows) == [
        (1, DAYS[0], 0.1, None, 0),
        (1, DAYS[1], 0.2, None, 1),
        (1, DAYS[2], None, "EXECUTION_ERROR", 1),
        (2, DAYS[0], 0.2, None, 1),
        (2, DAYS[1], None, None, 1),
        (3, DAYS[0], 0.3, None, 0),
        (3, DAYS[1], 0.4, None, 1),
        (4, "None", None, "FAILED", 1),
        (5, DAYS[0], None, "EXECUTION_ERROR", 0),
        (6, DAYS[0], 0.5, None, 1),
        (7, DAYS[0], 0.5, None, 0),
    ]
    assert {row["rerun"]: row["task_id"] for row in rows} == {0: TASK, 1: RERUN}
    assert outcomes(found) == {
        1: ("parcel-1", "FATAL", "1 of 3 intervals failed: EXECUTION_ERROR", 0),
        2: ("parcel-2", "DONE", None, 1),
        3: ("parcel-3", "DONE", None, 1),
        4: ("parcel-4", "FATAL", "FAILED", 0),
        5: ("parcel-5", "FATAL", "1 of 1 intervals failed: EXECUTION_ERROR", 0),
        6: ("parcel-6", "DONE", None, 1),
        7: ("parcel-7", "DONE", None, 1),
    }
    assert (found.with_data, found.without_data, found.failed) == (7, 1, 2)


@pytest.mark.parametrize(
    "template", ["", "/<ID>.json", "/x/<REQUEST_ID>/<IDENTIFIER>/r.json", "/<ID>-<IDENTIFIER>.txt"]
)
def test_results_are_found_under_every_template(s3: S3, folder_url: str, tmp_path: Path, template: str) -> None:
    storage = s3.storage()
    url = folder_url + template
    put(storage, url, TASK, {1: answer(1, [data()]), 2: b"{", 3: broken(3)})
    storage.upload(b"{}", f"{folder_url}/other.json")
    features = write_input(tmp_path / "input.gpkg", range(1, 5))
    found, rows = read(storage, url, tmp_path, features=features)
    assert [row["feature_id"] for row in rows] == [1, 3, 2]
    assert {key: value[:2] for key, value in outcomes(found).items()} == {
        1: ("parcel-1", "DONE"),
        2: ("parcel-2", "FATAL"),
        3: ("parcel-3", "FATAL"),
        4: ("parcel-4", "PENDING"),
    }
    written = {meta.url for meta in storage.list(folder_url)}
    assert sum(each.endswith(".json") for each in written) <= 4


def test_an_unreadable_result_is_called_by_its_feature_also_where_that_is_0(tmp_path: Path) -> None:
    storage, url = Storage(), (tmp_path / "bucket").as_uri()
    put(storage, url, TASK, {0: b"{", 7: b"{"})
    found, _ = read(storage, url, tmp_path)
    assert {key: value[0] for key, value in outcomes(found).items()} == {0: "0", 7: "7"}


def test_without_any_result_the_table_is_empty(s3: S3, folder_url: str, tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (4, 7))
    found, rows = read(s3.storage(), folder_url, tmp_path, features=features)
    assert rows == []
    assert outcomes(found) == {4: ("parcel-4", "PENDING", None, 0), 7: ("parcel-7", "PENDING", None, 0)}


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("No data", "NO_DATA"),
        ("No data available for the feature", "NO_DATA"),
        ("No data could be written", "FAILED"),
        ({"type": "EXECUTION_ERROR", "message": "No data"}, "FAILED"),
    ],
)
def test_a_file_that_says_no_more_than_that_there_is_no_data(tmp_path: Path, said: Any, outcome: str) -> None:
    url = tmp_path.as_uri() + "/results"
    put(Storage(), url, TASK, {1: answer(1, [data()]), 2: {"id": 2, "identifier": "b", "error": said}})
    found, _ = read(Storage(), url, tmp_path)
    counts = {key.value: count for key, count in read_execution_db(found.execution_db).counts().items() if count}
    assert counts == {"DELIVERED": 1, outcome: 1}
