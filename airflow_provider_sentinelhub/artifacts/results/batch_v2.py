"""What a task of Batch Processing V2 leaves in the bucket: rasters or a Zarr, a manifest, an execution database."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage
from airflow_provider_sentinelhub.artifacts.features.size import InputSize, input_size
from airflow_provider_sentinelhub.artifacts.features.writer import Size
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import MAX_BYTES as GEOPACKAGE_BYTES
from airflow_provider_sentinelhub.artifacts.report.causes import is_permanent
from airflow_provider_sentinelhub.artifacts.report.delivered_files import look_for_files
from airflow_provider_sentinelhub.artifacts.report.execution_db import MAX_BYTES as EXECUTION_DB_BYTES
from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.report.final_database import await_final_database
from airflow_provider_sentinelhub.artifacts.report.manifest import MAX_BYTES as MANIFEST_BYTES
from airflow_provider_sentinelhub.artifacts.report.overwritten import Written
from airflow_provider_sentinelhub.artifacts.report.reader import ProgressReader, read_merged_report
from airflow_provider_sentinelhub.artifacts.report.reruns import TaskFiles
from airflow_provider_sentinelhub.artifacts.results.base import BatchResults, Counter
from airflow_provider_sentinelhub.artifacts.storage.layout import (
    DeliveryUrl,
    execution_db_url,
    is_shared,
    manifest_url,
    rerun_features_url,
    root_folder,
    settled_delivery_url,
    zarr_url,
)
from airflow_provider_sentinelhub.client.errors import ArtifactError, ArtifactMissing
from airflow_provider_sentinelhub.client.lifecycle.spec import Rerun
from airflow_provider_sentinelhub.client.requests.findings import objects, part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_sentinelhub.artifacts.features.problems import Problem
    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.client.costs.estimate import PixelCounts
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

log = logging.getLogger(__name__)


class BatchV2Results(BatchResults):
    """Rasters or a Zarr; a manifest that lists the features, an execution database that says what became of them."""

    @staticmethod
    def check_delivery_url(body: Mapping[str, Any], field: str, url: str) -> None:
        """
        Check the form of the URL of the rasters, or of the Zarr.

        :param body: The request, of any shape.
        :param field: Where in the request the URL stands.
        :param url: The URL.
        """
        outputs = objects(body, "processRequest", "output", "responses")
        DeliveryUrl.parse(url, field=field, outputs=max(1, len(outputs)), zarr=_is_zarr(body))

    @staticmethod
    def check_features(path: Path, body: Mapping[str, Any]) -> tuple[Problem, ...]:
        """
        Find everything that is wrong with the GeoPackage a request takes its features from.

        :param path: The file.
        :param body: The request.
        """
        return check_geopackage(path, defaults=_usual_size(body))

    @staticmethod
    def check_names(path: Path, identifier_column: str | None) -> None:
        """
        Check nothing: every feature must have an identifier, and there is no other column for it.

        :param path: The file.
        :param identifier_column: Not used.
        """

    @staticmethod
    def measure_features(path: Path, body: Mapping[str, Any]) -> InputSize:
        """
        Measure the features a request takes from a GeoPackage.

        :param path: The file, in which nothing is wrong.
        :param body: The request.
        """
        return input_size(path, defaults=_usual_size(body))

    def root(self, task: BatchTask) -> str:
        """
        Return the folder of the files about a task.

        :param task: The task.
        """
        return root_folder(self.api.delivery_url(task.request), task.id)

    def delivered_url(self, original: BatchTask) -> str:
        """
        Return the folder of the results; of a Zarr that of the group.

        :param original: The original task.
        """
        if _is_zarr(original.request):
            return zarr_url(self.api.delivery_url(original.request), original.id)
        return self.root(original)

    def report(self, tasks: Sequence[BatchTask]) -> FeatureReport:
        """
        Answer for every feature from the execution databases, and write the table of all features as Parquet.

        :param tasks: The original task, then those that ran again what was lost.
        """
        root, last = self.root(tasks[0]), tasks[-1]
        if last.status in self.api.answered and not last.was_skipped:
            await_final_database(self.storage, root, last.id, since=last.created)
        return read_merged_report(
            self.storage,
            [TaskFiles(root, task.id) for task in tasks],
            skips_existing=tasks[0].skips_existing,
            is_skipped=tasks[0].was_skipped,
            has_files=not _is_zarr(tasks[0].request),
            written=Written.by(tasks) if is_shared(self.api.delivery_url(tasks[0].request)) else None,
        )

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
        from airflow_provider_sentinelhub.artifacts.report.manifest import pixel_counts

        with tempfile.TemporaryDirectory(prefix="sentinelhub-estimate-") as folder:
            manifest = Path(folder) / f"featureManifest-{task.id}.gpkg"
            self.storage.download(manifest_url(self.root(task), task.id), manifest, max_bytes=MANIFEST_BYTES)
            return list(pixel_counts(manifest))

    def prepare_rerun(self, tasks: Sequence[BatchTask], *, only_after_progress: bool) -> Rerun | None:
        """
        Write the features that the last task lost into a GeoPackage beside its manifest.

        Their outlines, sizes and coordinate systems are those of the manifest, so that the rerun produces the same
        pixels and paths as the original.

        :param tasks: The original task, then those that ran again what was lost.
        :param only_after_progress: Whether the last task must have recovered something.
        """
        original, task, number = tasks[0].id, tasks[-1], len(tasks)
        root = self.root(task)
        with tempfile.TemporaryDirectory(prefix="sentinelhub-rerun-") as folder:
            execution_db = Path(folder) / f"execution-{task.id}.sqlite"
            manifest = Path(folder) / f"featureManifest-{task.id}.gpkg"
            features = Path(folder) / f"rerun-{original}-{number}.gpkg"
            await_final_database(self.storage, root, task.id, since=task.created)
            try:
                self.storage.download(execution_db_url(root, task.id), execution_db, max_bytes=EXECUTION_DB_BYTES)
                self.storage.download(manifest_url(root, task.id), manifest, max_bytes=MANIFEST_BYTES)
                execution_db = look_for_files(self.storage, execution_db, manifest, root)
                counts = read_execution_db(execution_db, counts_only=True)
                if only_after_progress and not counts.delivered + counts.no_data:
                    log.warning("Task %s delivered nothing more: no further rerun", task.id)
                    return None
                source = self._source(task, Path(folder) / "original.gpkg")
                count = _write(execution_db, manifest, features, source, skips_existing=task.skips_existing)
                if not count:
                    return None
            except ArtifactError as error:
                log.warning("Features cannot be run again: %s", error)
                return None
            url = rerun_features_url(root, original, number)
            if not self.storage.exists(url):
                self.storage.upload(features, url)
        return Rerun(url, settled_delivery_url(self.api.delivery_url(task.request), original), features=count)

    def _source(self, task: BatchTask, target: Path) -> Path | None:
        """Fetch the GeoPackage a task took its features from: sizes given as a resolution are not in the manifest."""
        url = self.api.features_url(task.request)
        if url is None:
            return None
        try:
            self.storage.download(url, target, max_bytes=GEOPACKAGE_BYTES)
        except ArtifactMissing as e:
            log.warning("Sizes of features come from the manifest: %s", e)
            return None
        return target


def _write(execution_db: Path, manifest: Path, target: Path, original: Path | None, *, skips_existing: bool) -> int:
    from airflow_provider_sentinelhub.artifacts.rerun.geopackage import write_rerun_geopackage

    found = write_rerun_geopackage(
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


def _is_zarr(body: Mapping[str, Any]) -> bool:
    return bool(part(body, "output", "type") == "zarr")


def _usual_size(body: Mapping[str, Any]) -> Size:
    # A width and height win over a resolution, and one of them alone says nothing; the request may hold all.
    defaults = body["input"].get("defaults", {})
    width, height = defaults.get("width"), defaults.get("height")
    return Size(width, height) if width and height else Size(resolution=defaults.get("resolution"))
