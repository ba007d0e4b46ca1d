"""Running again what failed, and nothing else: the request for it, or the reason why it would not help."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import ArtifactError, ArtifactMissing, InvalidParameter
from airflow_provider_sentinelhub.hooks.final_database import await_final_database

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.models.answers import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

log = logging.getLogger(__name__)


def check_can_restart(body: Mapping[str, Any]) -> None:
    """
    Check that features of a request could be run again alone.

    :param body: The request.
    :raises InvalidParameter: They could not.
    """
    if body.get("output", {}).get("type") == "zarr":
        raise InvalidParameter(
            "on_partial",
            "restart",
            "works with raster output only: failed features are run again from a GeoPackage, and the service writes "
            "Zarr on its own grids only",
            "Use on_partial='fail' or 'warn', or deliver rasters.",
        )


def request_for_failed(
    hook: SentinelHubBatchHook,
    task: BatchTask,
    body: Mapping[str, Any],
    earlier: tuple[str, ...],
    *,
    only_after_progress: bool,
) -> dict[str, Any] | None:
    """
    Return the request that runs a task's failed features again; ``None`` where there is nothing to gain by it.

    Their outlines, sizes and coordinate systems are those of the task's manifest, so that pixels and paths come out as
    the task itself would have made them. They are written into a GeoPackage beside the manifest; the same task
    gives the same GeoPackage, so doing this twice is doing it once.

    :param hook: Reads and writes the bucket.
    :param task: A task that is DONE.
    :param body: The request the first task was created with.
    :param earlier: The tasks before it, the original first, whose failed features it has run again.
    :param only_after_progress: Whether the task is a restart that must have mended something, or no further one makes
        sense.
    :raises ArtifactMissing: What lies in the bucket is older than the task's end.
    :raises StorageUnavailable: The bucket cannot be read or written.
    """
    from airflow_provider_sentinelhub.artifacts.execution_db import read_execution_db
    from airflow_provider_sentinelhub.artifacts.layout import (
        execution_db_url,
        manifest_url,
        retry_features_url,
        root_folder,
        settled_delivery_url,
    )
    from airflow_provider_sentinelhub.artifacts.staleness import is_stale

    original = (*earlier, task.id)[0]
    number = len(earlier) + 1
    root = root_folder(task.delivery_url, task.id)
    with tempfile.TemporaryDirectory(prefix="sentinelhub-restart-") as folder:
        execution_db = Path(folder) / f"execution-{task.id}.sqlite"
        manifest = Path(folder) / f"featureManifest-{task.id}.gpkg"
        features = Path(folder) / f"retry-{original}-{number}.gpkg"
        try:
            await_final_database(hook.storage, root, task.id)
            hook.storage.download(execution_db_url(root, task.id), execution_db)
            hook.storage.download(manifest_url(root, task.id), manifest)
            counts = read_execution_db(execution_db, counts_only=True)
            stale = counts.pending > 0 and is_stale(hook.storage, execution_db, manifest, task.created)
            if only_after_progress and not counts.delivered + counts.no_data:
                log.warning("Task %s has mended nothing: no further restart", task.id)
                return None
            source = _source(hook, task, Path(folder) / "original.gpkg")
            if not stale and not _write(execution_db, manifest, features, source, skips_existing=task.skips_existing):
                return None
        except ArtifactError as error:
            log.warning("Features cannot be run again: %s", error)
            return None
        if stale:
            raise ArtifactMissing(
                f"The execution database of task {task.id} is older than the task's end: it calls {counts.pending} "
                "features PENDING, and files of some of them are in the bucket. Nothing is run again on its word; it "
                "is read again at the next attempt."
            )
        url = retry_features_url(root, original, number)
        if not hook.storage.exists(url):
            hook.storage.upload(features, url)
    return hook.api.retry(body, url, settled_delivery_url(task.delivery_url, original))


def _source(hook: SentinelHubBatchHook, task: BatchTask, target: Path) -> Path | None:
    """Fetch the GeoPackage a task took its features from: sizes given as a resolution are not in the manifest."""
    url = hook.api.features_url(task)
    if url is None:
        return None
    try:
        hook.storage.download(url, target)
    except ArtifactMissing as e:
        log.warning("Sizes of features come from the manifest: %s", e)
        return None
    return target


def _write(execution_db: Path, manifest: Path, target: Path, original: Path | None, *, skips_existing: bool) -> bool:
    from airflow_provider_sentinelhub.artifacts.causes import is_permanent
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
    if found.features:
        log.info("%d features are run again", found.features)
    return found.features > 0
