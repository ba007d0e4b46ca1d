"""What a task of Batch Statistical leaves in the bucket: one JSON file for each feature."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.layout import report_url
from airflow_provider_sentinelhub.artifacts.report import RoundCounts, StatisticsTable
from airflow_provider_sentinelhub.artifacts.results import BatchResults, Counter
from airflow_provider_sentinelhub.artifacts.sqlite_file import open_sqlite
from airflow_provider_sentinelhub.artifacts.statistics import (
    StatisticsRead,
    StatisticsRound,
    StatisticsTarget,
    read_statistics,
)
from airflow_provider_sentinelhub.artifacts.statistics_layout import statistics_root, statistics_url
from airflow_provider_sentinelhub.client.errors import ArtifactMissing
from airflow_provider_sentinelhub.client.retry import Retry

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.report import FeatureReport
    from airflow_provider_sentinelhub.artifacts.statistics import StatisticsProgress
    from airflow_provider_sentinelhub.client.estimate import PixelCounts
    from airflow_provider_sentinelhub.client.models.answers import BatchTask

log = logging.getLogger(__name__)

_LOST = "SELECT count(*) FROM features WHERE status IN ('FATAL', 'PENDING')"
_ROUNDS = """
SELECT merged_round, count(*), sum(delivered), sum(status = 'DONE' AND NOT delivered) FROM features GROUP BY 1
"""


class BatchStatisticalResults(BatchResults):
    """One JSON file for each feature, read into one table. What became of a feature stands in its file."""

    def _root(self, task: BatchTask) -> str:
        return statistics_root(self.api.delivery_url(task.request), task.id)

    def delivered_url(self, original: BatchTask) -> str:
        """
        Return the table of all statistics.

        :param original: The original task.
        """
        return statistics_url(self._root(original), original.id)

    def report(self, tasks: Sequence[BatchTask]) -> FeatureReport:
        """
        Read all files into the table of statistics, and answer for every feature.

        :param tasks: The original task, then those that ran again what was lost.
        """
        from airflow_provider_sentinelhub.artifacts.parquet import write_parquet

        original = tasks[0]
        with tempfile.TemporaryDirectory(prefix="sentinelhub-report-") as name:
            folder = Path(name)
            features, notes = self._features(original, folder)
            found = self._read(tasks, features, folder)
            if not found.results and tasks[-1].status not in self.api.answered:
                raise ArtifactMissing(f"Task {original.id} is {original.status}, and has left no results")
            report = read_execution_db(found.execution_db)
            table = folder / "report.parquet"
            write_parquet(found.execution_db, None, table, [task.id for task in tasks])
            url = report_url(self._root(original), original.id)
            self.storage.upload(table, url)
            return replace(
                report,
                report_url=url,
                statistics=StatisticsTable(found.table_url, found.with_data, found.without_data, found.failed),
                notes=(*report.notes, *notes, *_remarks(found)),
                rounds=len(tasks),
                tasks=_round_counts(found.execution_db, tasks),
            )

    def _features(self, original: BatchTask, folder: Path) -> tuple[Path | None, tuple[str, ...]]:
        """Fetch the GeoPackage a task took its features from: without it nobody knows which have no file."""
        url = self.api.features_url(original.request)
        if url is None:
            return None, ("Features without a result are not looked for: where the GeoPackage lies is not known.",)
        path = folder / "features.gpkg"
        try:
            self.storage.download(url, path)
        except ArtifactMissing as error:
            return None, (f"Features without a result are not looked for: {error}",)
        return path, ()

    def _read(self, tasks: Sequence[BatchTask], features: Path | None, folder: Path) -> StatisticsRead:
        def show(progress: StatisticsProgress) -> None:
            log.debug("%s: %d of %s", progress.phase, progress.done, progress.total or "?")

        rounds = [StatisticsRound(self.api.delivery_url(task.request), task.id) for task in tasks]
        target = StatisticsTarget(self._root(tasks[0]), tasks[0].id)
        return read_statistics(self.storage, rounds, target, features=features, workdir=folder, on_progress=show)

    def counter(self, task: BatchTask) -> Counter | None:  # noqa: ARG002 - the base's signature
        """
        Return ``None``: what became of a feature stands in its file, and there are as many of these as features.

        :param task: The task.
        """
        return None

    def pixel_counts(self, task: BatchTask) -> PixelCounts:
        """
        Return the sizes of a task's features: those of their boxes.

        :param task: The task.
        """
        raise NotImplementedError

    def prepare_retry(self, tasks: Sequence[BatchTask], *, only_after_progress: bool) -> Retry | None:
        """
        Write the features that are lost into a GeoPackage beside the table, as they are in the original's.

        :param tasks: The original task, then those that ran again what was lost.
        :param only_after_progress: Whether the last task must have mended something.
        """
        raise NotImplementedError


def _remarks(found: StatisticsRead) -> list[str]:
    notes = []
    if found.unreadable:
        notes.append(f"{found.unreadable} result files cannot be understood; they are read again next time.")
    if found.unknown:
        notes.append(f"{found.unknown} features with results are not in the GeoPackage.")
    return notes


def _round_counts(execution_db: Path, tasks: Sequence[BatchTask]) -> tuple[RoundCounts, ...]:
    with open_sqlite(execution_db, "What became of the features") as connection:
        found = {number: counts for number, *counts in connection.execute(_ROUNDS)}
    # Each task runs what the one before it lost, so what has its last word later was in it too.
    rows = [found.get(number, [0, 0, 0]) for number in range(len(tasks))]
    return tuple(
        RoundCounts(task.id, sum(row[0] for row in rows[number:]), delivered, no_data, count)
        for number, (task, (count, delivered, no_data)) in enumerate(zip(tasks, rows, strict=True))
    )
