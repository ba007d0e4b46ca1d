"""Read what a task left in the bucket: the whole report at its end, cheap progress while it runs."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.layout import execution_db_url, manifest_url, report_url
from airflow_provider_sentinelhub.artifacts.manifest import count_unlisted
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.report import FeatureReport
    from airflow_provider_sentinelhub.artifacts.storage import ObjectMeta, Storage

MAX_PROGRESS_BYTES = 64 * 1024 * 1024


def read_report(
    storage: Storage, root: str, task_id: str, *, write_parquet: bool = True, workdir: Path | None = None
) -> FeatureReport:
    """
    Answer for every feature of a task.

    Features that only the manifest knows are counted as pending. A missing or damaged manifest does not hide the
    report: it becomes one of the report's ``notes``.

    :param storage: Where the bucket is.
    :param root: Root folder of the task, see :func:`~.layout.root_folder`.
    :param task_id: Id of the task.
    :param write_parquet: Whether to write the table of all features beside the service's files. Default ``True``.
    :param workdir: Folder for temporary files; needs room for execution database, manifest and table. Default: the
        system's.
    :raises ArtifactMissing: There is no execution database.
    :raises ArtifactCorrupt: It cannot be read.
    :raises StorageUnavailable: The bucket cannot be read, or the table cannot be written to it.
    """
    with tempfile.TemporaryDirectory(prefix="sentinelhub-report-", dir=workdir) as folder:
        # The names of the bucket are kept, because error messages show them.
        execution_db = Path(folder) / f"execution-{task_id}.sqlite"
        storage.download(execution_db_url(root, task_id), execution_db)
        if write_parquet:
            report = _with_table(storage, root, task_id, execution_db)
        else:
            report = read_execution_db(execution_db)
            unlisted, notes = _compared(storage, root, task_id, execution_db)
            report = _with_unlisted(report, unlisted, notes)
    return report


def _with_table(storage: Storage, root: str, task_id: str, execution_db: Path) -> FeatureReport:
    from airflow_provider_sentinelhub.artifacts.parquet import write_parquet

    # Duplicates are found on the way, when the rows pass in order of name.
    report = read_execution_db(execution_db, duplicates=False)
    table = execution_db.with_suffix(".parquet")
    notes: tuple[str, ...] = ()
    try:
        facts = write_parquet(execution_db, _manifest(storage, root, task_id, execution_db), table)
    except (ArtifactMissing, ArtifactCorrupt) as error:
        facts = write_parquet(execution_db, None, table)
        notes = (_without_manifest(error),)
    url = report_url(root, task_id)
    storage.upload(table, url)
    return replace(
        _with_unlisted(report, facts.unlisted, notes),
        duplicates=facts.duplicates,
        duplicate_names=facts.duplicate_names,
        report_url=url,
    )


def _compared(storage: Storage, root: str, task_id: str, execution_db: Path) -> tuple[int, tuple[str, ...]]:
    try:
        return count_unlisted(execution_db, _manifest(storage, root, task_id, execution_db)), ()
    except (ArtifactMissing, ArtifactCorrupt) as error:
        return 0, (_without_manifest(error),)


def _manifest(storage: Storage, root: str, task_id: str, execution_db: Path) -> Path:
    url = manifest_url(root, task_id)
    manifest = execution_db.with_name(url.rpartition("/")[2])
    storage.download(url, manifest)
    return manifest


def _without_manifest(error: Exception) -> str:
    return f"Without the manifest there are no outputs and geometries: {error}"


def _with_unlisted(report: FeatureReport, unlisted: int, notes: tuple[str, ...]) -> FeatureReport:
    return replace(
        report, total=report.total + unlisted, pending=report.pending + unlisted, unlisted=unlisted, notes=notes
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
            self._seen = _identity(self._storage.download(self._url, target))
            self._last = read_execution_db(target, counts_only=True)


def _identity(meta: ObjectMeta) -> tuple[object, ...]:
    return (meta.etag, meta.size) if meta.etag else (meta.last_modified, meta.size)
