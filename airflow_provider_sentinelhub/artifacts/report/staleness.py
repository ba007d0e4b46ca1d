"""
Whether an execution database is older than the end of its task.

The service uploads it now and then. One that calls features PENDING after the end may be right: they were never
processed. Or it may be an old upload: they were processed, and are paid for. Their files tell.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import attach, open_sqlite
from airflow_provider_sentinelhub.artifacts.report.execution_db import WHAT as EXECUTION_DB
from airflow_provider_sentinelhub.artifacts.report.execution_db import FeaturesTable
from airflow_provider_sentinelhub.artifacts.report.manifest import WHAT as MANIFEST
from airflow_provider_sentinelhub.artifacts.report.manifest import manifest_rows_sql, manifest_tables
from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

log = logging.getLogger(__name__)

_LOOKS = 20


def is_stale(storage: Storage, execution_db: Path, manifest: Path, since: datetime | None) -> bool:
    """
    Look for files of features that the execution database of an ended task calls PENDING.

    A few of them are looked for: an old upload lacks whole minutes of work, not single features.

    :param storage: Where the bucket is.
    :param execution_db: The execution database.
    :param manifest: The feature manifest.
    :param since: Moment before which the task cannot have written anything; ``None`` where that is not known.
    :raises ArtifactCorrupt: One of the files cannot be read.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    unusable = 0
    for url in _files_of_pending(execution_db, manifest):
        try:
            written = storage.head(url).last_modified
        except ArtifactMissing:
            continue
        except InvalidParameter:
            # The service wrote it, not a user. An object that no URL names cannot be looked for.
            unusable += 1
            continue
        if since is None or written >= since:
            return True
    if unusable:
        log.warning(
            "Whether PENDING features were delivered could not be looked up for %d path%s of %s: no URL of an object",
            unusable,
            "s" * (unusable > 1),
            manifest.name,
        )
    return False


def _files_of_pending(execution_db: Path, manifest: Path) -> list[str]:
    with open_sqlite(execution_db, EXECUTION_DB) as connection:
        features = FeaturesTable.find(connection, execution_db)
    with open_sqlite(manifest, MANIFEST) as connection:
        rows = manifest_rows_sql(manifest_tables(connection, manifest))
        attach(connection, execution_db, "execution")
        pending = features.sql(
            f"SELECT CAST({{name}} AS BLOB) FROM execution.{{table}} WHERE {{outcome}} = 2 LIMIT {_LOOKS}"  # noqa: S608 - a number
        )
        query = (
            f"WITH outputs(key, output, path, width, height, epsg, geometry) AS ({rows}) "  # noqa: S608 - names are quoted
            f"SELECT path FROM outputs WHERE path IS NOT NULL AND key IN ({pending}) LIMIT {_LOOKS}"
        )
        return [path for (path,) in connection.execute(query)]
