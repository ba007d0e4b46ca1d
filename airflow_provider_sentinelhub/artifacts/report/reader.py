"""Read what a task left in the bucket: the whole report at its end, cheap progress while it runs."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.report.delivered_files import look_for_files
from airflow_provider_sentinelhub.artifacts.report.execution_db import MAX_BYTES, read_execution_db, write_empty
from airflow_provider_sentinelhub.artifacts.report.manifest import MAX_BYTES as MANIFEST_BYTES
from airflow_provider_sentinelhub.artifacts.report.overwritten import notes_on_files
from airflow_provider_sentinelhub.artifacts.report.report import FeatureOutcome, TaskCounts
from airflow_provider_sentinelhub.artifacts.report.reruns import MergeFacts, TaskFiles, merge
from airflow_provider_sentinelhub.artifacts.storage.layout import execution_db_url, manifest_url, report_url
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing, InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_sentinelhub.artifacts.report.overwritten import Written
    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.artifacts.storage.storage import ObjectMeta, Storage

log = logging.getLogger(__name__)

MAX_PROGRESS_BYTES = 64 * 1024 * 1024


def read_merged_report(
    storage: Storage,
    tasks: Sequence[TaskFiles],
    *,
    skips_existing: bool = False,
    is_skipped: bool = False,
    has_files: bool = True,
    written: Written | None = None,
    workdir: Path | None = None,
) -> FeatureReport:
    """
    Answer for every feature of a task and of the tasks that ran again what was lost: each feature once.

    Writes the table of all features beside the original task's files.

    :mod:`~.reruns` says which task has the last word on a feature. Features that only the original task's manifest
    knows are counted as pending. A missing or damaged manifest, and a missing or damaged execution database of a
    rerun, do not hide what the other files say: they become ``notes`` of the report.

    :param storage: Where the bucket is.
    :param tasks: The original task, then the reruns in the order in which they ran.
    :param skips_existing: Whether the original task skipped features whose results existed. The service does not
        process them, so only the manifest lists them; they are counted as delivered. Default ``False``.
    :param is_skipped: Whether it skipped all of them, and so left no execution database. Default ``False``.
    :param has_files: Whether each feature has files of its own, which can be looked for. The tiles of a Zarr have none.
        Default ``True``.
    :param written: When the files can have been written; those of others become ``notes``. Default: nothing is known.
    :param workdir: Folder for temporary files; needs room for three times the execution databases, manifest and table.
        Default: the system's.
    :raises ArtifactMissing: The original task has no execution database.
    :raises ArtifactCorrupt: It cannot be read.
    :raises InvalidParameter: There is no task, or one occurs twice.
    :raises StorageUnavailable: The bucket cannot be read, or the table cannot be written to it.
    """
    repeated = [task_id for task_id, count in Counter(one.task_id for one in tasks).items() if count > 1]
    if not tasks or repeated:
        rule = "must name the original task and then each rerun once"
        raise InvalidParameter("tasks", repeated or tasks, rule, "Give every task once, in the order they ran.")
    with tempfile.TemporaryDirectory(prefix="sentinelhub-report-", dir=workdir) as folder:
        return _Reading(storage, tasks, Path(folder), skips_existing, is_skipped, has_files, written).report()


@dataclass(slots=True)
class _Reading:
    """The files of one report on this machine. They keep their names, because error messages show them."""

    storage: Storage
    tasks: Sequence[TaskFiles]
    folder: Path
    skips_existing: bool
    is_skipped: bool
    has_files: bool
    written: Written | None
    notes: tuple[str, ...] = ()
    counts: dict[int, FeatureReport] = field(default_factory=dict)

    def report(self) -> FeatureReport:
        from airflow_provider_sentinelhub.artifacts.report.table import write_parquet

        downloaded = self._execution_dbs()
        manifest = self._manifest()
        execution_db, facts = self._execution_db(downloaded, manifest)
        table = self.folder / "report.parquet"
        ids = [one.task_id for one in self.tasks]
        while True:
            report = read_execution_db(execution_db)
            try:
                unlisted = FeatureOutcome.DELIVERED if self.skips_existing else FeatureOutcome.PENDING
                found = write_parquet(execution_db, manifest, table, ids, unlisted=unlisted)
            except ArtifactCorrupt as error:
                if manifest is None:
                    raise
                self._do_without_manifest(error)
                manifest = None
                continue
            if not found.duplicates:
                break
            # Never seen so far, so it is not looked for beforehand; the table finds it on its way.
            execution_db, facts = self._merged({0: execution_db})
        root = self.tasks[0].root
        url = report_url(root, self.tasks[0].task_id)
        self.storage.upload(table, url)
        if self.written is not None:
            self.notes += notes_on_files(self.storage, table, root, self.written)
        return replace(self._whole(report, facts, found.unlisted), report_url=url)

    def _execution_db(self, downloaded: dict[int, Path], manifest: Path | None) -> tuple[Path, MergeFacts | None]:
        found = downloaded
        try:
            # Reruns deliver to the same places.
            found = {
                number: look_for_files(self.storage, path, manifest if self.has_files else None, self.tasks[0].root)
                for number, path in downloaded.items()
            }
        except ArtifactCorrupt as error:
            # If it is the manifest, the table is written without it.
            log.warning("Files of features were not looked for: %s", error)
        return self._merged(found) if len(self.tasks) > 1 else (found[0], None)

    def _execution_dbs(self) -> dict[int, Path]:
        found: dict[int, Path] = {}
        for number, one in enumerate(self.tasks):
            path = self.folder / f"execution-{one.task_id}.sqlite"
            if self.is_skipped and not number:
                found[number] = path
                write_empty(path)
                continue
            try:
                self.storage.download(execution_db_url(one.root, one.task_id), path, max_bytes=MAX_BYTES)
                if number:
                    read_execution_db(path)
                found[number] = path
            except (ArtifactMissing, ArtifactCorrupt) as error:
                if not number:
                    raise
                self.notes += (f"What became of the features of rerun {number} is not known: {error}",)
        return found

    def _merged(self, execution_dbs: dict[int, Path]) -> tuple[Path, MergeFacts]:
        for number, path in execution_dbs.items():
            self.counts[number] = read_execution_db(path, counts_only=True)
        target = self.folder / f"execution-{self.tasks[0].task_id}-merged.sqlite"
        return target, merge(execution_dbs, target)

    def _manifest(self) -> Path | None:
        url = manifest_url(self.tasks[0].root, self.tasks[0].task_id)
        manifest = self.folder / url.rpartition("/")[2]
        try:
            self.storage.download(url, manifest, max_bytes=MANIFEST_BYTES)
        except (ArtifactMissing, ArtifactCorrupt) as error:
            self._do_without_manifest(error)
            return None
        return manifest

    def _do_without_manifest(self, error: Exception) -> None:
        self.notes += (f"Without the manifest there are no outputs and geometries: {error}",)

    def _whole(self, report: FeatureReport, facts: MergeFacts | None, unlisted: int) -> FeatureReport:
        counts = self.counts or {0: report}
        last_words = Counter(facts.last_words if facts else {0: report.total})
        last_words[0] += unlisted
        if self.skips_existing and unlisted:
            self.notes += (f"{unlisted} features were not processed: their results were there before (skipExisting).",)
        tasks = tuple(
            TaskCounts(one.task_id, found.total, found.delivered, found.no_data, last_words[number])
            if (found := counts.get(number))
            else TaskCounts(one.task_id, None)
            for number, one in enumerate(self.tasks)
        )
        return replace(
            report,
            total=report.total + unlisted,
            delivered=report.delivered + (unlisted if self.skips_existing else 0),
            pending=report.pending + (0 if self.skips_existing else unlisted),
            unlisted=0 if self.skips_existing else unlisted,
            duplicates=facts.duplicates if facts else report.duplicates,
            duplicate_names=facts.duplicate_names if facts else report.duplicate_names,
            notes=self.notes,
            reruns=len(tasks) - 1,
            tasks=tasks,
        )


class ProgressReader:
    """
    Counts while a task runs, at the price of one HEAD request as long as nothing has changed.

    Blocking; call it in a thread, and not from two at a time.

    :param storage: Where the bucket is.
    :param url: URL of the execution database, see :func:`~.layout.execution_db_url`.
    :param max_bytes: Larger databases are not read for progress. Default 64 MiB.
    :param workdir: Folder for the temporary file. Default: the system's.
    """

    def __init__(
        self, storage: Storage, url: str, *, max_bytes: int = MAX_PROGRESS_BYTES, workdir: Path | None = None
    ) -> None:
        self._storage = storage
        self._url = url
        self._max_bytes = max_bytes
        self._workdir = workdir
        self._seen: tuple[object, ...] | None = None
        self._last: FeatureReport | None = None

    def read(self) -> FeatureReport | None:
        """
        Return the latest counts known: without errors, names and duplicates; ``None`` before there are any.

        A database that is missing, too large or half-written leaves the counts as they were.

        :raises StorageUnavailable: The bucket cannot be read.
        """
        try:
            meta = self._storage.head(self._url)
            if meta.size <= self._max_bytes and _identity(meta) != self._seen:
                self._read()
        except (ArtifactMissing, ArtifactCorrupt):
            pass
        return self._last

    def _read(self) -> None:
        with tempfile.TemporaryDirectory(prefix="sentinelhub-progress-", dir=self._workdir) as folder:
            target = Path(folder) / "execution.sqlite"
            # Noted before it is understood: a damaged snapshot is not fetched again until the service replaces it.
            self._seen = _identity(self._storage.download(self._url, target, max_bytes=self._max_bytes))
            self._last = read_execution_db(target, counts_only=True)


def _identity(meta: ObjectMeta) -> tuple[object, ...]:
    return (meta.etag, meta.size) if meta.etag else (meta.last_modified, meta.size)
