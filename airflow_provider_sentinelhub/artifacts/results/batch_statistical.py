"""What a task of Batch Statistical leaves in the bucket: one JSON file for each feature."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage
from airflow_provider_sentinelhub.artifacts.features.problems import EXAMPLES, MAX_SAMPLES, Problem, ProblemCounts, Rule
from airflow_provider_sentinelhub.artifacts.features.size import InputSize, input_size
from airflow_provider_sentinelhub.artifacts.features.writer import Size, pixels
from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_extent
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import MAX_BYTES, WHAT
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import open_sqlite, quoted
from airflow_provider_sentinelhub.artifacts.geopackage.tables import feature_name, feature_tables, text_columns
from airflow_provider_sentinelhub.artifacts.report.causes import is_permanent
from airflow_provider_sentinelhub.artifacts.report.report import TaskCounts
from airflow_provider_sentinelhub.artifacts.results.base import BatchResults, Counter
from airflow_provider_sentinelhub.artifacts.statistics.geo import check_name_column
from airflow_provider_sentinelhub.artifacts.statistics.layout import (
    StatisticsUrl,
    rerun_output_url,
    statistics_root,
    statistics_url,
)
from airflow_provider_sentinelhub.artifacts.statistics.read import (
    StatisticsRead,
    StatisticsTarget,
    StatisticsTask,
    read_statistics,
    report_on,
)
from airflow_provider_sentinelhub.artifacts.storage.layout import rerun_features_url
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing
from airflow_provider_sentinelhub.client.lifecycle.spec import Rerun
from airflow_provider_sentinelhub.client.requests.findings import mapping
from airflow_provider_sentinelhub.client.requests.intervals import cut
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.artifacts.statistics.read import StatisticsProgress
    from airflow_provider_sentinelhub.client.costs.estimate import PixelCounts
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

log = logging.getLogger(__name__)

PATIENCE_S = 20.0
_SHOWN = 20
_LOOK_EVERY_S = 4.0
_NEWS_EVERY_S = 30.0
_PROMISE_RESULTS = frozenset({"DONE", "PARTIAL"})
_BY_RERUN = """
SELECT merged_rerun, count(*), sum(delivered), sum(status = 'DONE' AND NOT delivered) FROM features GROUP BY 1
"""

# Statistics tell features by the number of their row, and take their size from the request.
_NAMES = frozenset({Rule.IDENTIFIER, Rule.IDENTIFIER_COLUMN, Rule.IDENTIFIER_PATH, Rule.IDENTIFIER_UNIQUE})
_RASTERS_ONLY = frozenset({Rule.ID_COLUMN, Rule.IDENTIFIER_TEXT})


class BatchStatisticalResults(BatchResults):
    """One JSON file for each feature, read into one table. What became of a feature stands in its file."""

    @staticmethod
    def check_delivery_url(body: Mapping[str, Any], field: str, url: str) -> None:  # noqa: ARG004 - depends on nothing
        """
        Check the form of the URL of the files.

        :param body: The request, of any shape.
        :param field: Where in the request the URL stands.
        :param url: The URL.
        """
        StatisticsUrl.parse(url, field=field)

    @staticmethod
    def check_features(path: Path, body: Mapping[str, Any]) -> tuple[Problem, ...]:
        """
        Check features for statistics: of a single CRS, told apart by the number of their row, sized by the request.

        Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchStatistical.html (GeoPackage).

        :param path: The file.
        :param body: The request.
        """
        aggregation = body["aggregation"]
        steps = (aggregation["resx"], aggregation["resy"]) if "resx" in aggregation else None
        # The coarser of the two is what makes a feature less than a pixel in both directions.
        size = Size(resolution=max(steps)) if steps else Size(1, 1)
        by_identifier = "<IDENTIFIER>" in body["output"]["s3"]["url"]
        ignored = _RASTERS_ONLY if by_identifier else _RASTERS_ONLY | _NAMES
        # The sizes of this API are the request's, whatever columns there are for images.
        problems = check_geopackage(path, defaults=size, own_sizes=False)
        found = [problem for problem in problems if problem.rule not in ignored]
        if not any(problem.rule is Rule.IS_GEOPACKAGE for problem in found):
            with open_sqlite(path, WHAT) as connection:
                names = [table.name for table in feature_tables(connection)]
            if len(names) > 1:
                found.insert(0, Problem(Rule.ONE_TABLE, len(names), tuple(names[:EXAMPLES])))
            elif steps:
                found += _too_large(path, steps)
        return tuple(found)

    @staticmethod
    def measure_features(path: Path, body: Mapping[str, Any]) -> InputSize:
        """
        Measure the features a request takes from a GeoPackage.

        :param path: The file, in which nothing is wrong.
        :param body: The request.
        """
        aggregation = body["aggregation"]
        size = Size(aggregation.get("width", 256), aggregation.get("height", 256))
        if "resx" in aggregation:
            size = Size(resolution=math.sqrt(aggregation["resx"] * aggregation["resy"]))
        return input_size(path, defaults=size, own_sizes=False)

    @staticmethod
    def check_names(path: Path, identifier_column: str | None) -> None:
        """
        Check the column with the names; without one, log a warning with those that could be it.

        :param path: The file, in which nothing is wrong.
        :param identifier_column: The column with the names. ``None`` for ``identifier``, which is optional.
        :raises InvalidParameter: There is no such column, or it has text that is not UTF-8.
        """
        with open_sqlite(path, WHAT) as connection:
            (table,) = feature_tables(connection)
            if identifier_column is not None:
                check_name_column(connection, table, identifier_column, path.name)
            elif "identifier" not in table.columns and (texts := text_columns(connection, table)):
                _tell_unnamed(path, texts)

    def root(self, task: BatchTask) -> str:
        """
        Return the folder of the files about a task.

        :param task: The task.
        """
        return statistics_root(self.api.delivery_url(task.request), task.id)

    def delivered_url(self, original: BatchTask) -> str:
        """
        Return the table of all statistics.

        :param original: The original task.
        """
        return statistics_url(self.root(original), original.id)

    def report(self, tasks: Sequence[BatchTask]) -> FeatureReport:
        """
        Read all files into the table of statistics, and answer for every feature.

        :param tasks: The original task, then those that ran again what was lost.
        """
        original = tasks[0]
        with tempfile.TemporaryDirectory(prefix="sentinelhub-report-") as name:
            folder = Path(name)
            features, notes = self._features(original, folder)
            root = self.root(original)
            if tasks[-1].status not in _PROMISE_RESULTS and next(iter(self.storage.list(root)), None) is None:
                raise ArtifactMissing(
                    f"Task {original.id} is {original.status}, and there is nothing at {root}. Check its id and where "
                    "it delivered to."
                )
            found = self._read(tasks, features, folder)
            report = report_on(self.storage, found, self._target(original))
            return replace(
                report,
                notes=(*report.notes, *notes, *_remarks(found)),
                reruns=len(found.task_ids) - 1,
                tasks=_task_counts(found),
            )

    def _target(self, original: BatchTask) -> StatisticsTarget:
        return StatisticsTarget(self.root(original), original.id)

    def _features(self, original: BatchTask, folder: Path) -> tuple[Path | None, tuple[str, ...]]:
        """Fetch the GeoPackage a task took its features from: without it nobody knows which have no file."""
        url = self.api.features_url(original.request)
        if url is None:
            return None, ("Features without a result are not looked for: the location of the GeoPackage is unknown.",)
        path = folder / "features.gpkg"
        try:
            self.storage.download(url, path, max_bytes=MAX_BYTES)
        except (ArtifactMissing, ArtifactCorrupt) as error:
            return None, (f"Features without a result are not looked for: {error}",)
        return path, ()

    def _read(self, tasks: Sequence[BatchTask], features: Path | None, folder: Path) -> StatisticsRead:
        news = _News()
        asked = [
            StatisticsTask(
                self.api.delivery_url(task.request), task.id, tuple(cut(mapping(task.request, "aggregation")))
            )
            for task in tasks
        ]
        target = self._target(tasks[0])
        return read_statistics(
            self.storage,
            asked,
            target,
            features=features,
            workdir=folder,
            identifier_column=self.identifier_column,
            on_progress=news.tell,
        )

    def _read_when_all_is_there(self, tasks: Sequence[BatchTask], features: Path, folder: Path) -> StatisticsRead:
        # Nowhere does it say that the last file lies there before the task is called DONE. What comes a little late
        # must not be paid for again.
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            read = self._read(tasks, features, folder)
            if not read.missing or time.monotonic() + _LOOK_EVERY_S > give_up_at:
                return read
            log.info("%d features have no result: looking for them again", read.missing)
            time.sleep(_LOOK_EVERY_S)

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
        :raises ArtifactMissing: The GeoPackage is not there any more.
        """
        from airflow_provider_sentinelhub.artifacts.rerun.statistics import pixel_counts

        aggregation = task.request.get("aggregation", {})
        with tempfile.TemporaryDirectory(prefix="sentinelhub-estimate-") as folder:
            features = Path(folder) / "features.gpkg"
            url = self.api.features_url(task.request)
            if url is None:
                raise ArtifactMissing(f"Task {task.id}: where its GeoPackage lies is not known")
            self.storage.download(url, features, max_bytes=MAX_BYTES)
            size = _pair(aggregation, "width", "height")
            return list(pixel_counts(features, size=size, resolution=_pair(aggregation, "resx", "resy")))

    def prepare_rerun(self, tasks: Sequence[BatchTask], *, only_after_progress: bool) -> Rerun | None:
        """
        Write the features that are lost into a GeoPackage beside the table, as they are in the original's.

        What the tasks did deliver is in the table afterwards.

        :param tasks: The original task, then those that ran again what was lost.
        :param only_after_progress: Whether the last task must have recovered something.
        """
        from airflow_provider_sentinelhub.artifacts.rerun.statistics import write_statistics_rerun

        original, number = tasks[0], len(tasks)
        with tempfile.TemporaryDirectory(prefix="sentinelhub-rerun-") as name:
            folder = Path(name)
            path, notes = self._features(original, folder)
            if path is None:
                log.warning("Features cannot be run again: %s", *notes)
                return None
            read = self._read_when_all_is_there(tasks, path, folder)
            if only_after_progress and not read.by_last:
                log.warning("Task %s delivered nothing more: no further rerun", tasks[-1].id)
                return None
            rerun = folder / f"rerun-{original.id}-{number}.gpkg"
            found = write_statistics_rerun(read.execution_db, path, rerun, is_permanent=is_permanent)
            if found.permanent:
                log.warning(
                    "%d features failed for reasons that would make them fail again: not repeated", found.permanent
                )
            if found.unknown:
                log.warning("%d features are not in the GeoPackage: they cannot be run again", found.unknown)
            if not found.features:
                return None
            if found.span is not None:
                log.info("Intervals requested again: %s", _of(found.span))
            url = rerun_features_url(self.root(original), original.id, number)
            self.storage.upload(rerun, url)
        delivery_url = rerun_output_url(self.api.delivery_url(original.request), original.id)
        return Rerun(url, delivery_url, found.span, found.features)


def _pair(aggregation: Mapping[str, Any], one: str, other: str) -> tuple[Any, Any] | None:
    return (aggregation[one], aggregation[other]) if one in aggregation and other in aggregation else None


def _of(span: tuple[datetime, datetime]) -> str:
    return f"{span[0]:%Y-%m-%d} to {span[1]:%Y-%m-%d}"


class _News:
    """Says now and then in the log how far a long reading is."""

    def __init__(self) -> None:
        self._next_at = time.monotonic() + _NEWS_EVERY_S

    def tell(self, progress: StatisticsProgress) -> None:
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + _NEWS_EVERY_S
            of = f" of {progress.total:,}" if progress.total else ""
            log.info("%s the statistics: %s", progress.phase.capitalize(), f"{progress.done:,}{of}")


def _remarks(found: StatisticsRead) -> list[str]:
    notes = []
    if found.unreadable:
        notes.append(f"{found.unreadable} result files cannot be understood; they are read again next time.")
    if found.unknown:
        notes.append(f"{found.unknown} features with results are not in the GeoPackage.")
    return notes


def _task_counts(read: StatisticsRead) -> tuple[TaskCounts, ...]:
    with open_sqlite(read.execution_db, "What became of the features") as connection:
        found = {number: counts for number, *counts in connection.execute(_BY_RERUN)}
    # Each task runs what the one before it lost, so what has its last word later was in it too.
    rows = [found.get(number, [0, 0, 0]) for number in range(len(read.task_ids))]
    return tuple(
        TaskCounts(task_id, sum(row[0] for row in rows[number:]), delivered, no_data, count)
        for number, (task_id, (count, delivered, no_data)) in enumerate(zip(read.task_ids, rows, strict=True))
    )


def _tell_unnamed(path: Path, texts: Sequence[str]) -> None:
    shown = [one_line(name) for name in texts]
    log.warning(
        "%s has no column identifier, so the table of statistics will have ids and no names. Columns of text that "
        "could have the names: %s. Name one with identifier_column=%r, here or in a report.",
        path.name,
        ", ".join(shown[:_SHOWN]),
        shown[0],
    )


def _too_large(path: Path, steps: tuple[float, float]) -> tuple[Problem, ...]:
    findings = ProblemCounts()
    with open_sqlite(path, WHAT) as connection:
        for table in (table for table in feature_tables(connection) if table.geometry.lower() in table.columns):
            query = f"SELECT {table.key}, {table.column(table.geometry.lower())} FROM {quoted(table.name)}"  # noqa: S608 - quoted
            for rowid, blob in connection.execute(query):
                if (extent := geometry_extent(blob)) is None:
                    continue
                west, south, east, north = extent
                across, down = pixels(east - west, steps[0]), pixels(north - south, steps[1])
                if max(across, down) > MAX_SAMPLES:
                    rows = (feature_name(connection, table, row) for row in (rowid,))
                    findings.add(Rule.SAMPLES, (f"{name} ({across} x {down})" for name in rows))
    return findings.problems()
