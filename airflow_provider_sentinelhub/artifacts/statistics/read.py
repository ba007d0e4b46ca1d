"""
The statistics of a task and of the tasks that ran failed features again, read into one tidy table.

Results are listed, read many at a time, and written as Parquet *parts* to the bucket, each complete or not there. A
second read, or one after a crash, takes only what is new or was replaced. Then the parts of all tasks are put together,
each feature, interval, output and band once: :mod:`~.merge` says which task has the last word. The table is
described in ``docs/statistics_table.md``.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.statistics.catalog import Catalog
from airflow_provider_sentinelhub.artifacts.statistics.layout import StatisticsTarget
from airflow_provider_sentinelhub.artifacts.statistics.load import (
    Loader,
    Phase,
    StatisticsProgress,
    StatisticsTask,
)
from airflow_provider_sentinelhub.artifacts.statistics.memory import give_back, memory_of_system
from airflow_provider_sentinelhub.artifacts.statistics.merge import answered_by, merge_reruns
from airflow_provider_sentinelhub.artifacts.statistics.outcomes import write_feature_outcomes
from airflow_provider_sentinelhub.artifacts.statistics.publish import (
    content_of,
    is_published,
    publish,
    published_column,
    write_table,
)
from airflow_provider_sentinelhub.artifacts.storage.layout import report_url
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

__all__ = [
    "Phase",
    "StatisticsProgress",
    "StatisticsRead",
    "StatisticsTarget",
    "StatisticsTask",
    "read_statistics",
]


@dataclass(frozen=True, slots=True)
class StatisticsRead:
    """
    What was read.

    :param table_url: URL of the table.
    :param execution_db: What became of every feature: a SQLite file on this machine in the form of
        :mod:`~.execution_db`. The caller deletes it.
    :param with_data: Intervals of features in which something was sampled.
    :param without_data: Intervals in which nothing was: answered, and kept as rows.
    :param failed: Intervals without an answer. Features that failed as a whole have none.
    :param by_last: Intervals that the last of the tasks answered, and none before it: what a
        rerun gained.
    :param task_ids: The tasks, in order. A task that ran failed features again and was read once stays in the table,
        even if it is not named any more: what was paid for is not lost.
    :param results: Result files that were found, in all tasks.
    :param read: Those read now; the others were known from an earlier read.
    :param unreadable: Those that could not be understood; they are read again next time.
    :param missing: Features of the input GeoPackage without a result file; 0 where it was not given.
    :param unknown: Features with a result file that the input GeoPackage does not have; 0 where it was not given.
    :param is_published: Whether the table was written; ``False`` where it was there already, made of the same.
    """

    table_url: str
    execution_db: Path
    with_data: int
    without_data: int
    failed: int
    by_last: int
    task_ids: tuple[str, ...]
    results: int
    read: int
    unreadable: int
    missing: int
    unknown: int
    is_published: bool


def read_statistics(
    storage: Storage,
    tasks: Sequence[StatisticsTask],
    target: StatisticsTarget,
    *,
    features: Path | None,
    workdir: Path | None = None,
    identifier_column: str | None = None,
    on_progress: Callable[[StatisticsProgress], None] | None = None,
) -> StatisticsRead:
    """
    Read the statistics of a task, and publish them as one table. Blocking; memory does not grow with the features.

    A result that cannot be understood is no reason to stop: it becomes a row with an error, and is read again next
    time. May be called while the task runs, for what there is so far.

    :param storage: Where the bucket is.
    :param tasks: The original task, then those that ran failed features again, in order.
    :param target: Where the table goes.
    :param features: The input GeoPackage of the original task, to find features without a result; ``None``: those are
        not looked for.
    :param workdir: Folder for the execution database and temporary files; needs room for twice the table. Default: a
        new folder below the system's.
    :param identifier_column: Column of the GeoPackage with the names of the features. Default: that of the last read
        which had one, else the names are those of the results.
    :param on_progress: Called now and then with how far it is.
    :raises InvalidParameter: There is no task, or one occurs twice, or a URL or the GeoPackage cannot be used.
    :raises ArtifactCorrupt: The GeoPackage cannot be read.
    :raises StorageUnavailable: The bucket cannot be read, or not be written to.
    """
    task_ids = [one.task_id for one in tasks]
    if not tasks or len(set(task_ids)) < len(task_ids):
        rule = "must name the original task and then each later one once"
        raise InvalidParameter("tasks", task_ids, rule, "Give every task once, in the order they ran.")
    tell = on_progress or (lambda _: None)
    folder = workdir or Path(tempfile.mkdtemp(prefix="sentinelhub-statistics-"))
    execution_db = folder / f"execution-{target.task_id}.sqlite"
    scratch = Path(tempfile.mkdtemp(prefix="reading-", dir=folder))
    try:
        with memory_of_system(), closing(Catalog(scratch / "catalog.sqlite")) as catalog:
            loader = Loader(storage, tasks, target.parts_url, scratch, catalog, tell)
            loader.load()
            catalog.choose()
            merge_reruns(catalog, loader.local)
            column = identifier_column or published_column(storage, target)
            counts = write_feature_outcomes(catalog, features, execution_db, column)
            content = content_of(catalog, loader.task_ids, column)
            is_new = not is_published(storage, target, content)
            if is_new:
                table = scratch / "table.parquet"
                write_table(
                    catalog,
                    loader.local,
                    table,
                    task_ids=loader.task_ids,
                    on_part=lambda done, total: tell(StatisticsProgress(Phase.PUBLISHING, done, total)),
                )
                give_back()
                publish(storage, target, content, table)
            return StatisticsRead(
                target.table_url,
                execution_db,
                *catalog.intervals(),
                by_last=answered_by(catalog, len(tasks) - 1),
                task_ids=loader.task_ids,
                results=loader.results,
                read=loader.done - loader.unreadable,
                unreadable=loader.unreadable,
                missing=counts.missing,
                unknown=counts.unknown,
                is_published=is_new,
            )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def report_on(storage: Storage, found: StatisticsRead, target: StatisticsTarget) -> FeatureReport:
    """
    Answer for every feature, and write the table of all features beside that of the statistics.

    :param storage: Where the bucket is.
    :param found: What was read.
    :param target: Where the table of the statistics went.
    :raises StorageUnavailable: The bucket cannot be written to.
    """
    from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
    from airflow_provider_sentinelhub.artifacts.report.report import StatisticsTable
    from airflow_provider_sentinelhub.artifacts.report.table import write_parquet

    url = report_url(target.root, target.task_id)
    with tempfile.TemporaryDirectory(prefix="sentinelhub-report-", dir=found.execution_db.parent) as folder:
        table = Path(folder) / "report.parquet"
        write_parquet(found.execution_db, None, table, found.task_ids)
        storage.upload(table, url)
    statistics = StatisticsTable(found.table_url, found.with_data, found.without_data, found.failed)
    return replace(read_execution_db(found.execution_db), report_url=url, statistics=statistics)
