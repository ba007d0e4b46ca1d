"""
Features of which the execution database says two things: that they were delivered, and a message.

The documentation knows one message of a feature that is DONE, ``No data``. What others mean is not known, so the bucket
is asked whether the feature has a file there.
"""

from __future__ import annotations

import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import attach, file_uri, open_sqlite, reading
from airflow_provider_sentinelhub.artifacts.report.execution_db import WHAT, FeaturesTable
from airflow_provider_sentinelhub.artifacts.report.manifest import WHAT as MANIFEST
from airflow_provider_sentinelhub.artifacts.report.manifest import manifest_rows_sql, manifest_tables
from airflow_provider_sentinelhub.artifacts.storage.parallel_read import IN_FLIGHT
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

log = logging.getLogger(__name__)

MAX_LOOKS = 2000
"""Features that are looked for, one or a few requests for each."""
_FILES = 4

_SCHEMA = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA trusted_schema=OFF;
CREATE TABLE features (id, name, status, error, delivered, merged_rerun INTEGER, merged_found INTEGER);
CREATE TEMP TABLE looks (key BLOB PRIMARY KEY, found INTEGER NOT NULL);
"""
_KEY = "coalesce(CAST({name} AS BLOB), x'')"
_COPY = f"""
INSERT INTO main.features SELECT {{id}}, {{name}}, {{status}}, {{error}}, {{delivered}}, {{rerun}},
CASE WHEN {{doubt}} THEN (SELECT found FROM temp.looks WHERE key = {_KEY}) END FROM {{table}}
"""  # noqa: S608 - names are quoted, see FeaturesTable.sql
_DOUBTFUL = f"SELECT DISTINCT {_KEY} FROM {{table}} NOT INDEXED WHERE NOT {{plain}} AND {{doubt}} ORDER BY 1 LIMIT ?"  # noqa: S608 - as above


def look_for_files(storage: Storage, execution_db: Path, manifest: Path | None, root: str) -> Path:
    """
    Return an execution database that says of doubtful features whether they have a file; mostly the same one.

    :param storage: Where the bucket is.
    :param execution_db: The database.
    :param manifest: The feature manifest, which says where the files lie; without it nothing is looked for.
    :param root: Root folder of the task; files in other buckets are not looked for.
    :raises ArtifactCorrupt: One of the files cannot be read.
    :raises StorageUnavailable: The bucket cannot be asked.
    """
    with open_sqlite(execution_db, WHAT) as connection:
        features = FeaturesTable.find(connection, execution_db)
        doubtful = [key for (key,) in connection.execute(features.sql(_DOUBTFUL), (MAX_LOOKS + 1,))]
    if not doubtful or manifest is None:
        return execution_db
    if len(doubtful) > MAX_LOOKS:
        log.warning(
            "More than %d features are DONE and delivered with a message that this version does not know. The files of "
            "the first ones are looked for",
            MAX_LOOKS,
        )
    found = _looked_for(storage, _paths(manifest, doubtful, "/".join(root.split("/")[:3])))
    target = execution_db.with_name(f"{execution_db.stem}-looked-for.sqlite")
    target.unlink(missing_ok=True)
    with (
        reading(execution_db, WHAT),
        closing(sqlite3.connect(file_uri(target, new=True), uri=True)) as copy,
    ):
        copy.executescript(_SCHEMA)
        copy.executemany("INSERT INTO temp.looks VALUES (?, ?)", found)
        attach(copy, execution_db, "source")
        qualified = FeaturesTable(f"source.{features.table}", features.names, features.unique)
        copy.execute(qualified.sql(_COPY))
        copy.commit()
    return target


def _paths(manifest: Path, keys: list[bytes], bucket: str) -> list[tuple[bytes, list[str]]]:
    """Return for some features where the first of their files lie, if that is in the bucket."""
    with open_sqlite(manifest, MANIFEST) as connection:
        rows = manifest_rows_sql(manifest_tables(connection, manifest))
        wanted = frozenset(keys[:MAX_LOOKS])
        found = connection.execute(f"SELECT * FROM ({rows}) ORDER BY 1, 2, 3")  # noqa: S608 - names in it are quoted
        return [
            (key, paths)
            for key, some in groupby((row for row in found if row[0] in wanted), itemgetter(0))
            if (paths := [row[2] for row in some if row[2] and row[2].startswith(f"{bucket}/")][:_FILES])
        ]


def _looked_for(storage: Storage, paths: list[tuple[bytes, list[str]]]) -> list[tuple[bytes, int]]:
    # Several threads importing it for the first time may see it half initialised.
    import obstore.store  # noqa: F401 - see above

    def look(item: tuple[bytes, list[str]]) -> tuple[bytes, int]:
        return item[0], int(any(_exists(storage, path) for path in item[1]))

    with ThreadPoolExecutor(IN_FLIGHT, "sentinelhub-look") as pool:
        return list(pool.map(look, paths))


def _exists(storage: Storage, path: str) -> bool:
    try:
        return storage.exists(path)
    except InvalidParameter:
        # The service lists what is no URL of an object.
        return False
