"""Listing, fetching, parts: what happens on the way from a bucket to the table."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet

from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.statistics import load, parts
from airflow_provider_sentinelhub.artifacts.statistics.layout import rerun_output_url, result_url
from airflow_provider_sentinelhub.artifacts.statistics.parts import LEDGER_SUFFIX, PART_SUFFIX, read_ledger
from airflow_provider_sentinelhub.artifacts.statistics.read import (
    Phase,
    StatisticsProgress,
    StatisticsTarget,
    StatisticsTask,
    read_statistics,
)
from airflow_provider_sentinelhub.artifacts.storage import parallel_read
from airflow_provider_sentinelhub.artifacts.storage.parallel_read import read_many
from airflow_provider_sentinelhub.artifacts.storage.storage import MAX_READ_BYTES, ObjectMeta, Storage
from airflow_provider_sentinelhub.client.errors import InvalidParameter, StorageUnavailable
from tests.artifacts.artifact_s3 import S3
from tests.artifacts.statistics_files import (
    DAYS,
    RERUN,
    TASK,
    answer,
    data,
    failed,
    lost,
    put,
    target_of,
    tasks_of,
    write_input,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_many_objects_come_in_order_and_no_more_is_asked_for_than_is_taken(s3: S3, folder_url: str) -> None:
    storage = s3.storage()
    for number in range(0, 40, 2):
        storage.upload(str(number).encode(), f"{folder_url}/{number}")
    asked = []

    def objects() -> Iterator[tuple[str, int]]:
        for number in range(1_000):
            asked.append(number)
            yield f"{folder_url}/{number}", 2

    found = read_many(storage, objects())
    for number in range(40):
        url, content = next(found)
        assert url == f"{folder_url}/{number}"
        assert (content[0] if isinstance(content, tuple) else content) == (None if number % 2 else str(number).encode())
    assert len(asked) < 40 + 3 * parallel_read.IN_FLIGHT
    found.close()  # type: ignore[attr-defined]


class Watched(Storage):
    """Notes what is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def read_with_meta(self, url: str) -> tuple[bytes, ObjectMeta]:
        self.asked.append(url)
        return super().read_with_meta(url)


@pytest.mark.parametrize(
    ("mib", "at_a_time"), [(1, 64), (16, 4), (50, 1), (500, 1)], ids=["small", "large", "larger", "larger than all"]
)
def test_the_bytes_in_flight_are_bounded(tmp_path: Path, mib: int, at_a_time: int) -> None:
    """What is not taken yet counts as well: the bytes are there."""
    urls = [(tmp_path / str(number)).as_uri() for number in range(100)]
    for number in range(100):
        (tmp_path / str(number)).write_bytes(b"x")
    storage = Watched()
    found = read_many(storage, ((url, mib * 1024**2) for url in urls))
    for taken, _ in enumerate(found):
        assert len(storage.asked) - taken <= at_a_time
    assert sorted(storage.asked) == sorted(urls)


def test_a_result_too_large_to_be_one_is_a_failed_feature_and_the_others_are_read(tmp_path: Path) -> None:
    folder = tmp_path / TASK
    folder.mkdir()
    for feature in (1, 2, 3):
        (folder / f"{feature}.json").write_text(json.dumps(answer(feature, [data()])))
    # Blanks after the answer: it could be understood, but for its size.
    with (folder / "2.json").open("ab") as file:
        file.write(b" " * MAX_READ_BYTES)
    size = (folder / "2.json").stat().st_size
    target = StatisticsTarget(f"{tmp_path.as_uri()}/{TASK}", TASK)
    tasks = [StatisticsTask(tmp_path.as_uri(), TASK)]
    found = read_statistics(Storage(), tasks, target, features=None, workdir=tmp_path)
    assert (found.read, found.unreadable, found.with_data) == (2, 1, 2)
    report = read_execution_db(found.execution_db)
    assert (report.delivered, report.failed, report.failed_names) == (2, 1, ("2",))
    assert f"it has {size:,} bytes, more than the 67,108,864 that are read of one result" in report.text()


_FIRST_READ = """
import sys
from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.storage.parallel_read import read_many
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

class Watched(Storage):
    def read_with_meta(self, url):
        assert {"obstore", "obstore.store", "obstore.exceptions"} <= sys.modules.keys(), "imported by threads"
        return super().read_with_meta(url)

assert "obstore" not in sys.modules
print(sum(len(content[0]) for _, content in read_many(Watched(), ((url, 1) for url in sys.argv[1:]))))
"""


def test_a_first_read_of_all_does_not_import_in_threads(tmp_path: Path) -> None:
    urls = [(tmp_path / str(number)).as_uri() for number in range(40)]
    for number in range(40):
        (tmp_path / str(number)).write_text("abc")
    ran = subprocess.run([sys.executable, "-c", _FIRST_READ, *urls], capture_output=True, text=True, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("120", 0), ran.stderr


def test_what_a_read_says_about_an_object_is_what_the_list_says(s3: S3, folder_url: str) -> None:
    """Otherwise everything would be read anew each time."""
    storage = s3.storage()
    storage.upload(b"hello", f"{folder_url}/x")
    (listed,) = storage.list(folder_url)
    content, meta = storage.read_with_meta(f"{folder_url}/x")
    assert (content, meta.etag, meta.size) == (b"hello", listed.etag, listed.size)


def test_progress_is_told(s3: S3, folder_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_RESULTS_IN_CHUNK", 2)
    monkeypatch.setattr(load, "_BETWEEN_NEWS", 3)
    monkeypatch.setattr(load, "RESULTS_IN_PART", 4)
    storage = s3.storage()
    put(storage, folder_url, TASK, {number: answer(number, [data()]) for number in range(5)})
    told: list[StatisticsProgress] = []
    read_statistics(
        storage,
        tasks_of(folder_url, TASK),
        target_of(folder_url),
        features=None,
        workdir=tmp_path,
        on_progress=told.append,
    )
    assert told == [
        StatisticsProgress(Phase.LISTING, 3),
        StatisticsProgress(Phase.READING, 2, 5),
        StatisticsProgress(Phase.READING, 4, 5),
        StatisticsProgress(Phase.READING, 5, 5),
        StatisticsProgress(Phase.PUBLISHING, 1, 2),
        StatisticsProgress(Phase.PUBLISHING, 2, 2),
    ]


def test_a_part_whose_ledger_is_damaged_or_gone_is_made_anew(s3: S3, folder_url: str, tmp_path: Path) -> None:
    storage, tasks, target = s3.storage(), tasks_of(folder_url, TASK), target_of(folder_url)
    put(storage, folder_url, TASK, {1: answer(1, [data()])})
    first = read_statistics(storage, tasks, target, features=None, workdir=tmp_path)
    urls = [meta.url for meta in storage.list(target.parts_url)]
    ledger, part = (next(url for url in urls if url.endswith(suffix)) for suffix in (LEDGER_SUFFIX, PART_SUFFIX))
    whole = storage.read(ledger)
    for content in (b"", b"no", whole[:-20], whole[:100]):
        storage.upload(content, ledger)
        again = read_statistics(storage, tasks, target, features=None, workdir=tmp_path)
        assert (again.read, again.is_published) == (1, False)
        assert storage.read(ledger) == whole
    for url in (ledger, part):
        storage.delete(url)
        again = read_statistics(storage, tasks, target, features=None, workdir=tmp_path)
        assert (again.read, again.is_published) == (1, False)
    storage.delete(first.table_url)
    again = read_statistics(storage, tasks, target, features=None, workdir=tmp_path)
    assert (again.read, again.is_published) == (0, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "LEDGER", parts.LEDGER[:-1])
        assert read_ledger(whole) is None


def test_a_table_somebody_else_wrote_is_replaced(tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    tasks, target = tasks_of(url, TASK), target_of(url)
    put(Storage(), url, TASK, {1: answer(1, [data()])})
    read_statistics(Storage(), tasks, target, features=None, workdir=tmp_path)
    Storage().upload(b"no table", target.table_url)
    assert read_statistics(Storage(), tasks, target, features=None, workdir=tmp_path).is_published


def test_a_file_of_another_feature_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    put(Storage(), url, TASK, {1: answer(2, [data()]), 2: answer(2, [data(DAYS[0], 0.75)])})
    found = read_statistics(Storage(), tasks_of(url, TASK), target_of(url), features=None, workdir=tmp_path)
    rows = parquet.read_table(found.table_url.removeprefix("file://")).to_pylist()
    assert [(row["feature_id"], row["mean"], row["error"]) for row in rows] == [
        (2, 0.75, None),
        (1, None, "The result file 1.json cannot be read: it says it is of feature 2"),
    ]


def test_features_nobody_knows_are_counted(tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    put(Storage(), url, TASK, {1: answer(1, [data()]), 77: failed(77)})
    features = write_input(tmp_path / "input.gpkg", (1, 2))
    found = read_statistics(Storage(), tasks_of(url, TASK), target_of(url), features=features, workdir=tmp_path)
    assert (found.missing, found.unknown) == (1, 1)


def test_results_that_were_deleted_after_they_were_read_stay(tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    tasks, target = tasks_of(url, TASK), target_of(url)
    put(Storage(), url, TASK, {number: answer(number, [data()]) for number in (1, 2)})
    read_statistics(Storage(), tasks, target, features=None, workdir=tmp_path)
    for number in (1, 2):
        Storage().delete(result_url(url, TASK, number))
    again = read_statistics(Storage(), tasks, target, features=None, workdir=tmp_path)
    assert (again.with_data, again.results, again.is_published) == (2, 0, False)


def test_a_retry_does_not_write_over_what_the_original_wrote(tmp_path: Path) -> None:
    """A template without the task's id names the same files for all tasks."""
    url = (tmp_path / "bucket").as_uri() + "/<IDENTIFIER>.json"
    put(Storage(), url, TASK, {1: answer(1, [data(DAYS[0]), lost(DAYS[1])])})
    retried = rerun_output_url(url, TASK)
    put(Storage(), retried, RERUN, {1: answer(1, [data(DAYS[1])])})
    tasks = [*tasks_of(url, TASK), *tasks_of(retried, RERUN)]
    found = read_statistics(Storage(), tasks, target_of(url), features=None, workdir=tmp_path)
    assert (found.results, found.with_data, found.failed) == (2, 2, 0)
    for own in ("s3://bucket/f", "s3://bucket/f/<REQUEST_ID>/<ID>.json"):
        assert rerun_output_url(own, TASK) == f"s3://bucket/f/{TASK}/statistics-{TASK}.reruns/<REQUEST_ID>/<ID>.json"


def test_tasks_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    url = tmp_path.as_uri()
    for tasks in ((), (TASK, TASK)):
        with pytest.raises(InvalidParameter, match="must name the original task"):
            read_statistics(Storage(), tasks_of(url, *tasks), target_of(url), features=None)


def test_a_bucket_out_of_reach_leaves_nothing_behind(s3: S3, tmp_path: Path) -> None:
    url = "s3://no-such-bucket/folder"
    with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
        read_statistics(s3.storage(), tasks_of(url, TASK), target_of(url), features=None, workdir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_reading_leaves_the_allocator_of_others_alone(s3: S3, folder_url: str, tmp_path: Path) -> None:
    storage = s3.storage()
    put(storage, folder_url, TASK, {1: answer(1, [data()])})
    before, at_work = pa.default_memory_pool().backend_name, list[str]()
    assert before != "system"

    def look(_: StatisticsProgress) -> None:
        at_work.append(pa.default_memory_pool().backend_name)
        if len(at_work) > 2:
            raise KeyboardInterrupt

    options = {"features": None, "workdir": tmp_path, "on_progress": look}
    read_statistics(storage, tasks_of(folder_url, TASK), target_of(folder_url), **options)  # type: ignore[arg-type]
    assert (set(at_work), pa.default_memory_pool().backend_name) == ({"system"}, before)
    with pytest.raises(KeyboardInterrupt):
        read_statistics(storage, tasks_of(folder_url, TASK), target_of(folder_url), **options)  # type: ignore[arg-type]
    assert pa.default_memory_pool().backend_name == before
