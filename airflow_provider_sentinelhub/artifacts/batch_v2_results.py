"""What a task of Batch Processing V2 leaves in the bucket: rasters, a feature manifest, an execution database."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.causes import is_permanent
from airflow_provider_sentinelhub.artifacts.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.final_database import await_final_database
from airflow_provider_sentinelhub.artifacts.layout import (
    execution_db_url,
    manifest_url,
    retry_features_url,
    root_folder,
    settled_delivery_url,
)
from airflow_provider_sentinelhub.artifacts.reader import ProgressReader, read_merged_report
from airflow_provider_sentinelhub.artifacts.results import BatchResults, Counter
from airflow_provider_sentinelhub.artifacts.rounds import Round
from airflow_provider_sentinelhub.client.errors import ArtifactError, ArtifactMissing
from airflow_provider_sentinelhub.client.retry import Retry

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.report import FeatureReport
    from airflow_provider_sentinelhub.client.estimate import PixelCounts
    from airflow_provider_sentinelhub.client.models.answers import BatchTask

log = logging.getLogger(__name__)


class BatchV2Results(BatchResults):
    """Rasters; a manifest that lists the features, and an execution database that says what became of them."""

    def root(self, task: BatchTask) -> str:
        """
        Return the folder of the files about a task.

        :param task: The task.
        """
        return root_folder(self.api.delivery_url(task.request), task.id)

    def delivered_url(self, original: BatchTask) -> str:
        """
        Return the folder of the results.

        :param original: The original task.
        """
        return self.root(original)

    def report(self, tasks: Sequence[BatchTask]) -> FeatureReport:
        """
        Answer for every feature from the execution databases, and write the table of all features as Parquet.

        :param tasks: The original task, then those that ran again what was lost.
        """
        root, last = self.root(tasks[0]), tasks[-1]
        if last.status in self.api.answered:
            await_final_database(self.storage, root, last.id, since=last.created)
        rounds = [Round(root, task.id) for task in tasks]
        return read_merged_report(self.storage, rounds, skips_existing=tasks[0].skips_existing)

    def counter(self, task: BatchTask) -> Counter | None:
        """
        Return what counts the features of a running task.

        :param task: The task.
        """
        return ProgressReader(self.storage, execution_db_url(self.root(task), task.id)).read

    def pixel_counts(self, task: BatchTask) -> PixelCounts:
        """
        Return the sizes of an analysed task's features, from its manifest.

        :param task: The task.
        """
        from airflow_provider_sentinelhub.artifacts.manifest import pixel_counts

        with tempfile.TemporaryDirectory(prefix="sentinelhub-estimate-") as folder:
            manifest = Path(folder) / f"featureManifest-{task.id}.gpkg"
            self.storage.download(manifest_url(self.root(task), task.id), manifest)
            return list(pixel_counts(manifest))

    def prepare_retry(self, tasks: Sequence[BatchTask], *, only_after_progress: bool) -> Retry | None:
        """
        Write the features that the last task lost into a GeoPackage beside its manifest.

        Their outlines, sizes and coordinate systems are those of the manifest, so that pixels and paths come out as
        the task itself would have made them.

        :param tasks: The original task, then those that ran again what was lost.
        :param only_after_progress: Whether the last task must have mended something.
        """
        original, task, number = tasks[0].id, tasks[-1], len(tasks)
        root = self.root(task)
        with tempfile.TemporaryDirectory(prefix="sentinelhub-restart-") as folder:
            execution_db = Path(folder) / f"execution-{task.id}.sqlite"
            manifest = Path(folder) / f"featureManifest-{task.id}.gpkg"
            features = Path(folder) / f"retry-{original}-{number}.gpkg"
            await_final_database(self.storage, root, task.id, since=task.created)
            try:
                self.storage.download(execution_db_url(root, task.id), execution_db)
                self.storage.download(manifest_url(root, task.id), manifest)
                counts = read_execution_db(execution_db, counts_only=True)
                if only_after_progress and not counts.delivered + counts.no_data:
                    log.warning("Task %s has mended nothing: no further restart", task.id)
                    return None
                source = self._source(task, Path(folder) / "original.gpkg")
                count = _write(execution_db, manifest, features, source, skips_existing=task.skips_existing)
                if not count:
                    return None
            except ArtifactError as error:
                log.warning("Features cannot be run again: %s", error)
                return None
            url = retry_features_url(root, original, number)
            if not self.storage.exists(url):
                self.storage.upload(features, url)
        return Retry(url, settled_delivery_url(self.api.delivery_url(task.request), original), features=count)

    def _source(self, task: BatchTask, target: Path) -> Path | None:
        """Fetch the GeoPackage a task took its features from: sizes given as a resolution are not in the manifest."""
        url = self.api.features_url(task.request)
        if url is None:
            return None
        try:
            self.storage.download(url, target)
        except ArtifactMissing as e:
            log.warning("Sizes of features come from the manifest: %s", e)
            return None
        return target


def _write(execution_db: Path, manifest: Path, target: Path, original: Path | None, *, skips_existing: bool) -> int:
    from airflow_provider_sentinelhub.artifacts.retry import write_retry_geopackage

    found = write_retry_geopackage(
        execution_db,
        manifest,
        target,
        is_permanent=is_permanent,
        original=original,
        skips_existing=skips_existing,
    )
    if found.permanent:
        log.warning("%d features failed for reasons that would make them fail again: not repeated", found.permanent)
    if found.unknown:
        log.warning("%d features are not in the manifest: they cannot be run again", found.unknown)
    return found.features
