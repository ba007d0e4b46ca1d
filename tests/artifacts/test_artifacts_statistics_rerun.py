from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet

from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage
from airflow_provider_sentinelhub.artifacts.features.writer import Size
from airflow_provider_sentinelhub.artifacts.report.causes import is_permanent
from airflow_provider_sentinelhub.artifacts.report.report import TaskCounts
from airflow_provider_sentinelhub.artifacts.rerun.statistics import pixel_counts, write_statistics_rerun
from airflow_provider_sentinelhub.artifacts.results.batch_statistical import BatchStatisticalResults
from airflow_provider_sentinelhub.artifacts.statistics.read import StatisticsTask, read_statistics
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.apis.batch_statistical.spec import BATCH_STATISTICAL
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
from tests.artifacts.statistics_files import (
    DAYS,
    RERUN,
    TASK,
    answer,
    broken,
    data,
    failed,
    interval,
    lost,
    put,
    square,
    target_of,
    tasks_of,
    write_input,
)

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_sentinelhub.client.http.call import Procedure


def outcome_db(files: dict[int, Any], features: Path, folder: Path) -> Path:
    url = (folder / "bucket").as_uri()
    put(Storage(), url, TASK, files)
    return read_statistics(
        Storage(), tasks_of(url, TASK), target_of(url), features=features, workdir=folder
    ).execution_db


def rows(path: Path, key: str = "id") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f"SELECT {key}, identifier, geometry FROM features_32633").fetchall()  # noqa: S608


def at(day: str, end: str = "from") -> datetime:
    return datetime.fromisoformat(interval(day)[end]).astimezone(UTC)


def test_lost_features_keep_id_identifier_and_geometry(tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", range(10, 70, 10))
    files = {
        10: answer(10, [data()]),
        20: broken(20),
        30: answer(30, [lost(DAYS[1])]),
        40: answer(40, [lost(DAYS[0], {"type": "BAD_REQUEST", "message": "ReferenceError: x is not defined"})]),
        50: answer(50, [data(empty=True)]),
    }
    found = outcome_db(files, features, tmp_path)
    target = tmp_path / "rerun.gpkg"
    rerun = write_statistics_rerun(found, features, target, is_permanent=is_permanent)
    assert rows(target) == [(number, f"parcel-{number}", square(number)[0]) for number in (20, 30, 60)]
    assert (rerun.features, rerun.permanent, rerun.unknown, rerun.epsg, rerun.span) == (3, 1, 0, 32633, None)
    first = target.read_bytes()
    write_statistics_rerun(found, features, target, is_permanent=is_permanent)
    assert target.read_bytes() == first
    assert not check_geopackage(target, defaults=Size(resolution=10))


def test_single_intervals_alone_can_be_asked_for_again(tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2, 3))
    files = {
        1: answer(1, [data(DAYS[0]), lost(DAYS[1])]),
        2: answer(2, [lost(DAYS[2], "EXECUTION_ERROR"), data(DAYS[0]), data(DAYS[1])]),
        3: answer(3, [data()]),
    }
    found = outcome_db(files, features, tmp_path)
    rerun = write_statistics_rerun(found, features, tmp_path / "rerun.gpkg", is_permanent=is_permanent)
    assert (rerun.features, rerun.span) == (2, (at(DAYS[1]), at(DAYS[2], "to")))


def asks_nothing(procedure: Procedure[Any]) -> Any:
    raise AssertionError(f"results of statistics are in the bucket, and not asked for: {procedure}")


def test_no_rerun_follows_one_that_mended_nothing(tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2))
    url = (tmp_path / "bucket").as_uri()
    results = BatchStatisticalResults(BATCH_STATISTICAL, Storage(), asks_nothing)

    def task(task_id: str, delivery_url: str) -> BatchTask:
        places = {"input": {"features": {"s3": {"url": features.as_uri()}}}, "output": {"s3": {"url": delivery_url}}}
        return BatchTask(id=task_id, status="DONE", request=places)

    # The interval between the two that failed is in the span of the rerun, and delivered a second time.
    holes = answer(1, [lost(DAYS[0]), data(DAYS[1]), lost(DAYS[2])])
    put(Storage(), url, TASK, {1: holes, 2: answer(2, [data()])})
    first = results.prepare_rerun([task(TASK, url)], only_after_progress=False)
    assert first is not None
    tasks = [task(TASK, url), task(RERUN, first.delivery_url)]
    put(Storage(), first.delivery_url, RERUN, {1: holes})
    assert results.prepare_rerun(tasks, only_after_progress=True) is None
    put(Storage(), first.delivery_url, RERUN, {1: answer(1, [data(DAYS[0]), data(DAYS[1]), lost(DAYS[2])])})
    second = results.prepare_rerun(tasks, only_after_progress=True)
    assert second is not None
    assert second.span == (at(DAYS[2]), at(DAYS[2], "to"))


def test_an_interval_that_a_rerun_leaves_out_has_no_data_and_is_not_paid_for_again(tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2, 3, 4))
    url = (tmp_path / "bucket").as_uri()
    results = BatchStatisticalResults(BATCH_STATISTICAL, Storage(), asks_nothing)

    def task(task_id: str, delivery_url: str, *days: str) -> BatchTask:
        period = {"from": interval(days[0])["from"], "to": interval(days[-1])["to"]}
        request = {
            "input": {"features": {"s3": {"url": features.as_uri()}}},
            "aggregation": {"timeRange": period, "aggregationInterval": {"of": "P7D"}},
            "output": {"s3": {"url": delivery_url}},
        }
        return BatchTask(id=task_id, status="DONE", request=request)

    put(
        Storage(),
        url,
        TASK,
        {
            1: answer(1, [data(DAYS[0]), lost(DAYS[1]), lost(DAYS[2])]),
            2: answer(2, [lost(DAYS[1])], status="FAILED"),
            3: answer(3, [data(DAYS[0]), lost(DAYS[1])]),
            4: answer(4, [lost(DAYS[0]), data(DAYS[1])]),
        },
    )
    original = task(TASK, url, *DAYS)
    first = results.prepare_rerun([original], only_after_progress=False)
    assert first is not None
    tasks = [original, task(RERUN, first.delivery_url, *DAYS[1:])]
    put(
        Storage(),
        first.delivery_url,
        RERUN,
        {
            # An answer with other intervals or with none settles those it was asked for; a failure settles nothing.
            1: answer(1, [data(DAYS[2])]),
            2: answer(2, []),
            3: failed(3),
            # The interval that this one lost is not among those of the rerun.
            4: answer(4, [data(DAYS[1])]),
        },
    )
    second = results.prepare_rerun(tasks, only_after_progress=True)
    assert second is not None
    assert second.features == 2
    report = results.report(tasks)
    assert (report.delivered, report.no_data, report.failed, report.pending) == (1, 1, 2, 0)
    assert report.statistics is not None
    assert (report.statistics.intervals_with_data, report.statistics.intervals_failed) == (4, 2)
    assert report.tasks[1] == TaskCounts(RERUN, 3, delivered=1, no_data=1, last_word=3)
    table = parquet.read_table(report.statistics.statistics_url.removeprefix("file://")).to_pylist()
    assert sorted((row["feature_id"], str(row["interval_from"])[:10], row["error"]) for row in table) == [
        (1, DAYS[0], None),
        (1, DAYS[2], None),
        (2, "None", None),
        (3, DAYS[0], None),
        (3, DAYS[1], "TIMEOUT"),
        (4, DAYS[0], "TIMEOUT"),
        (4, DAYS[1], None),
    ]


def test_a_rerun_that_finds_no_data_gained_something(tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    put(Storage(), url, TASK, {1: answer(1, [data(DAYS[0]), lost(DAYS[1])])})
    put(Storage(), url, RERUN, {1: answer(1, [])})
    span = (at(DAYS[1]), at(DAYS[1], "to"))
    tasks = [StatisticsTask(url, TASK), StatisticsTask(url, RERUN, (span,))]
    found = read_statistics(Storage(), tasks, target_of(url), features=None, workdir=tmp_path)
    assert (found.with_data, found.failed, found.by_last > 0) == (1, 0, True)
    unknown = [StatisticsTask(url, TASK), StatisticsTask(url, RERUN)]
    found = read_statistics(Storage(), unknown, target_of(url), features=None, workdir=tmp_path)
    assert (found.with_data, found.failed, found.is_published) == (1, 1, True)


def test_a_file_of_nobody_costs_no_feature_a_second_run(tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2, 3))
    url = (tmp_path / "bucket").as_uri() + "/<REQUEST_ID>/<IDENTIFIER>.json"
    put(Storage(), url, TASK, {1: answer(1, [data()]), 2: broken(2), 3: answer(3, [data()])})
    Storage().upload(b'{"note": "of somebody else"}', f"{(tmp_path / 'bucket').as_uri()}/{TASK}/notes.json")
    found = read_statistics(Storage(), tasks_of(url, TASK), target_of(url), features=features, workdir=tmp_path)
    assert found.unreadable == 1
    target = tmp_path / "rerun.gpkg"
    rerun = write_statistics_rerun(found.execution_db, features, target, is_permanent=is_permanent)
    assert (rerun.features, rerun.permanent, rerun.unknown) == (1, 0, 0)
    assert [row[0] for row in rows(target)] == [2]


def test_where_nothing_is_left_to_try_there_is_no_file(tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1,))
    found = outcome_db({1: answer(1, [data()]), 9: failed(9)}, features, tmp_path)
    rerun = write_statistics_rerun(found, features, tmp_path / "rerun.gpkg", is_permanent=is_permanent)
    assert (rerun.features, rerun.unknown, rerun.span) == (0, 1, None)
    assert not (tmp_path / "rerun.gpkg").exists()


def test_an_input_of_somebody_else(tmp_path: Path) -> None:
    """Its geometry is called otherwise and numbered otherwise, it has no identifier, and more columns."""
    features = write_input(tmp_path / "input.gpkg", (1, 2))
    with closing(sqlite3.connect(features)) as database:
        database.executescript(
            "CREATE TABLE parcels (fid INTEGER PRIMARY KEY, owner TEXT, geom BLOB);"
            "INSERT INTO parcels SELECT id, 'me', "
            "CAST(substr(geometry, 1, 4) || x'07000000' || substr(geometry, 9) AS BLOB) FROM features_32633;"
            "DROP TABLE features_32633;"
            "UPDATE gpkg_contents SET table_name = 'parcels', srs_id = 7;"
            "UPDATE gpkg_spatial_ref_sys SET srs_id = 7 WHERE srs_id = 32633;"
            "UPDATE gpkg_geometry_columns SET table_name = 'parcels', column_name = 'geom', srs_id = 7;"
        )
    found = outcome_db({1: answer(1, [data()])}, features, tmp_path)
    target = tmp_path / "rerun.gpkg"
    write_statistics_rerun(found, features, target, is_permanent=is_permanent)
    assert rows(target, "fid") == [(2, None, square(2)[0])]


def test_pixels_are_counted_by_size(tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1, 2, 3), size=95.0)
    with closing(sqlite3.connect(features)) as database:
        database.execute("UPDATE features_32633 SET geometry = ? WHERE id = 2", (square(2, 200.0)[0],))
        database.commit()
    assert list(pixel_counts(features, resolution=(10.0, 20.0))) == [(10, 5, 2), (20, 10, 1)]
    assert list(pixel_counts(features, size=(30, 40))) == [(30, 40, 3)]


def test_two_tables_are_refused(tmp_path: Path) -> None:
    features = write_input(tmp_path / "input.gpkg", (1,))
    with closing(sqlite3.connect(features)) as database:
        database.execute("INSERT INTO gpkg_geometry_columns VALUES ('more', 'geometry', 'GEOMETRY', 32633, 0, 0)")
        database.commit()
    with pytest.raises(InvalidParameter, match="must have one feature table, and has 2"):
        list(pixel_counts(features, size=(1, 1)))
