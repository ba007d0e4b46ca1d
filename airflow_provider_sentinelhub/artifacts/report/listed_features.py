"""
Features that the service lists when it is asked, as the two files a report is made of.

Some APIs write neither an execution database nor a feature manifest into the bucket. With these two of the same form,
everything that reads those serves here too: see :mod:`~.execution_db` and :mod:`~.manifest`.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import reading
from airflow_provider_sentinelhub.artifacts.report.execution_db import WHAT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WGS84 = 4326

_EXECUTION = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA trusted_schema=OFF;
CREATE TABLE features (id INTEGER PRIMARY KEY, name TEXT, status TEXT, error TEXT, delivered BOOLEAN);
"""
_MANIFEST = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA trusted_schema=OFF;
CREATE TABLE gpkg_spatial_ref_sys (srs_name, srs_id INTEGER PRIMARY KEY, organization, organization_coordsys_id INTEGER,
  definition, description);
CREATE TABLE gpkg_contents (table_name, data_type, identifier, srs_id INTEGER);
CREATE TABLE gpkg_geometry_columns (table_name, column_name, geometry_type_name, srs_id INTEGER, z, m);
CREATE TABLE feature_4326 (identifier TEXT, outputId TEXT, path TEXT, width INTEGER, height INTEGER, geometry BLOB,
  PRIMARY KEY (identifier, outputId));
INSERT INTO gpkg_spatial_ref_sys VALUES ('WGS 84', 4326, 'EPSG', 4326, 'undefined', NULL);
INSERT INTO gpkg_contents VALUES ('feature_4326', 'features', 'feature_4326', 4326);
INSERT INTO gpkg_geometry_columns VALUES ('feature_4326', 'geometry', 'GEOMETRY', 4326, 0, 0);
"""


@dataclass(frozen=True, slots=True)
class ListedFeature:
    """
    What the service says about a feature.

    :param id: Its number.
    :param name: Its name.
    :param status: DONE, FATAL or PENDING, as in an execution database; any other is an unknown one.
    :param error: Why it failed, as far as the service says so.
    :param outputs: Identifier and URL of each of its files.
    :param width: Pixels; ``None`` if that is not known.
    :param height: Likewise.
    :param geometry: Its outline in WGS 84, as in a GeoPackage; ``None`` if there is none.
    """

    id: int
    name: str
    status: str
    error: str | None
    outputs: tuple[tuple[str, str], ...]
    width: int | None
    height: int | None
    geometry: bytes | None


class ListedFeatures:
    """
    Writes features into the two files as they are listed: memory does not grow with their number.

    A feature that is listed twice, because the list has moved between two pages, counts once.

    :param folder: Where the files are written.
    :param task_id: Id of the task, for their names.
    """

    def __init__(self, folder: Path, task_id: str) -> None:
        self.execution_db = folder / f"execution-{task_id}.sqlite"
        self.manifest = folder / f"featureManifest-{task_id}.gpkg"
        self._files: tuple[sqlite3.Connection, ...] = ()

    def __enter__(self) -> Self:
        for path, schema in ((self.execution_db, _EXECUTION), (self.manifest, _MANIFEST)):
            path.unlink(missing_ok=True)
            connection = sqlite3.connect(path)
            connection.executescript(schema)
            self._files += (connection,)
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._files:
            with closing(connection):
                connection.commit()
        self._files = ()

    def add(self, features: Iterable[ListedFeature]) -> None:
        """
        Write some features.

        :param features: The features.
        :raises StorageUnavailable: This machine has no disk space left.
        """
        known = list(features)
        rows = [(each.id, each.name, each.status, each.error, each.status == "DONE") for each in known]
        outputs = [
            (each.name, output, path, each.width, each.height, each.geometry)
            for each in known
            for output, path in each.outputs
        ]
        execution_db, manifest = self._files
        with reading(self.execution_db, WHAT):
            execution_db.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", rows)
            manifest.executemany("INSERT OR REPLACE INTO feature_4326 VALUES (?, ?, ?, ?, ?, ?)", outputs)
