"""The execution database of an ended task: uploaded now and then, so right after the end it may be out of date."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

log = logging.getLogger(__name__)

PATIENCE_S = 120.0


def await_final_database(storage: Storage, root: str, task_id: str, *, since: datetime | None) -> None:
    """
    Wait, for two minutes at most, until the execution database of a task that is DONE calls no feature PENDING.

    One that still does may be right: features that the service never processed. A missing one is reported by whoever
    reads it next.

    :param storage: Where the bucket is.
    :param root: Root folder of the task.
    :param task_id: Its id.
    :param since: Moment before which the task cannot have written anything; ``None`` where that is not known.
    :raises ArtifactMissing: It is older than the task's end, or incomplete: it may come later.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    from airflow_provider_sentinelhub.artifacts.report.execution_db import MAX_BYTES
    from airflow_provider_sentinelhub.artifacts.report.reader import ProgressReader
    from airflow_provider_sentinelhub.artifacts.storage.layout import execution_db_url

    reader = ProgressReader(storage, execution_db_url(root, task_id), max_bytes=MAX_BYTES)
    give_up_at, pause = time.monotonic() + PATIENCE_S, 0.5
    while True:
        counts = reader.read()
        if counts is not None and not counts.pending:
            return
        if time.monotonic() + pause > give_up_at:
            break
        log.info(
            "The execution database is not final yet: %s",
            "it cannot be read" if counts is None else f"{counts.pending} features are pending",
        )
        time.sleep(pause)
        pause = min(pause * 2, 20.0)
    with tempfile.TemporaryDirectory(prefix="sentinelhub-final-") as folder:
        _refuse_an_old_one(storage, root, task_id, Path(folder), since)


def _refuse_an_old_one(storage: Storage, root: str, task_id: str, folder: Path, since: datetime | None) -> None:
    from airflow_provider_sentinelhub.artifacts.report.execution_db import MAX_BYTES as EXECUTION_DB_BYTES
    from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
    from airflow_provider_sentinelhub.artifacts.report.manifest import MAX_BYTES as MANIFEST_BYTES
    from airflow_provider_sentinelhub.artifacts.report.staleness import is_stale
    from airflow_provider_sentinelhub.artifacts.storage.layout import execution_db_url, manifest_url

    execution_db, manifest = folder / f"execution-{task_id}.sqlite", folder / f"featureManifest-{task_id}.gpkg"
    try:
        storage.download(execution_db_url(root, task_id), execution_db, max_bytes=EXECUTION_DB_BYTES)
        pending = read_execution_db(execution_db, counts_only=True).pending
        storage.download(manifest_url(root, task_id), manifest, max_bytes=MANIFEST_BYTES)
    except ArtifactMissing:
        return
    except ArtifactCorrupt as error:
        raise ArtifactMissing(f"{error} It may not be complete yet: it is read again at the next attempt.") from error
    if pending and is_stale(storage, execution_db, manifest, since):
        raise ArtifactMissing(
            f"The execution database of task {task_id} is older than the task's end: it calls {pending} features "
            "PENDING, and files of some of them are in the bucket. No report or rerun is based on it; it is read again "
            "at the next attempt."
        )
