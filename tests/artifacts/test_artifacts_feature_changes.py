"""GeoPackages whose latest changes are in a second file, because a program has not closed them yet."""

from __future__ import annotations

import shutil
import sqlite3
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import shapely

from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage
from airflow_provider_sentinelhub.artifacts.features.features import Columns
from airflow_provider_sentinelhub.artifacts.features.problems import Rule
from airflow_provider_sentinelhub.artifacts.features.sources import from_file, from_geometries
from airflow_provider_sentinelhub.artifacts.features.writer import Size, write_geopackages
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import InvalidParameter, StorageUnavailable
from airflow_provider_sentinelhub.hooks.input_features import from_urls
from tests.artifacts.artifact_s3 import S3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOX = shapely.box(500_000, 4_600_000, 500_500, 4_600_250)
RENAME = "UPDATE features_32632 SET identifier = 'new'"


def written(path: Path) -> Path:
    write_geopackages(from_geometries({"old": BOX}, epsg=32632), path, size=Size(5, 5))
    return path


@pytest.fixture
def changed(tmp_path: Path) -> Iterator[Path]:
    """A GeoPackage that a program has changed and not closed."""
    path = written(tmp_path / "fields.gpkg")
    with closing(sqlite3.connect(path)) as program:
        program.execute("PRAGMA journal_mode=WAL")
        program.execute(RENAME)
        program.commit()
        yield path


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Path]:
    """One that a program is just writing: all of it is in the second file."""
    with (
        closing(sqlite3.connect(written(tmp_path / "given.gpkg"))) as given,
        closing(sqlite3.connect(tmp_path / "new.gpkg", isolation_level=None)) as program,
    ):
        program.execute("PRAGMA journal_mode=WAL")
        program.execute("PRAGMA wal_autocheckpoint=0")
        program.executescript("\n".join(given.iterdump()))
        yield tmp_path / "new.gpkg"


def read(path: Path) -> list[object]:
    (batch,) = from_file(path)
    (copied,) = from_urls([str(path)], storage=Storage(), columns=Columns())
    assert copied.identifiers == batch.identifiers
    return [*(batch.identifiers or ())]


def rules(path: Path) -> list[Rule]:
    return [problem.rule for problem in check_geopackage(path)]


def test_changes_beside_a_file_are_read(changed: Path) -> None:
    assert read(changed) == ["new"]
    assert rules(changed) == [Rule.HAS_ALL_CHANGES]


def test_a_file_may_be_in_its_changes_altogether(new: Path) -> None:
    assert new.stat().st_size <= 4096
    assert read(new) == ["old"]
    assert rules(new) == [Rule.HAS_ALL_CHANGES]


def test_a_file_that_was_closed_is_read_and_not_given_to_the_service(changed: Path, tmp_path: Path) -> None:
    path = tmp_path / "closed.gpkg"
    with closing(sqlite3.connect(changed)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(changed, path)
    assert read(path) == ["new"]
    assert rules(path) == [Rule.HAS_ALL_CHANGES]
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=DELETE")
    assert rules(path) == []


def test_changes_that_cannot_be_read_here_are_no_fault_of_the_machine(changed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    # SQLite cannot create this file, as in a folder that is read-only.
    (folder / "fields.gpkg-shm").symlink_to(tmp_path / "nowhere" / "shm")
    for ending in ("", "-wal"):
        shutil.copy(f"{changed}{ending}", f"{folder / changed.name}{ending}")
    with pytest.raises(InvalidParameter, match=r"^source = 'fields\.gpkg': .* has a -wal beside it.*; close the"):
        list(from_file(folder / changed.name))


def test_a_change_that_was_not_finished_is_not_read(tmp_path: Path) -> None:
    path, crashed = written(tmp_path / "fields.gpkg"), tmp_path / "crashed.gpkg"
    with closing(sqlite3.connect(path)) as program:
        # What does not fit into memory is written before the change is complete.
        program.execute("PRAGMA cache_size=1")
        program.execute("CREATE TABLE more (i)")
        program.executemany("INSERT INTO more VALUES (randomblob(9999))", [()] * 100)
        program.commit()
        program.execute("UPDATE more SET i = randomblob(9999)")
        program.execute(RENAME)
        for ending in ("", "-journal"):
            shutil.copy(f"{path}{ending}", f"{crashed}{ending}")
    copied = from_urls([str(crashed)], storage=Storage(), columns=Columns())
    for batches in (from_file(crashed), copied):
        with pytest.raises(InvalidParameter, match=r"^source = 'crashed\.gpkg': .* left its -journal beside it; close"):
            list(batches)


def test_a_file_of_a_bucket_needs_its_changes_beside_it(changed: Path, s3: S3, folder_url: str) -> None:
    storage, url = s3.storage(), f"{folder_url}/fields.gpkg"
    storage.upload(changed, url)
    with pytest.raises(InvalidParameter, match=r"WAL mode, .* fields\.gpkg-wal, which is not in the bucket\. Close"):
        list(from_urls([url], storage=storage, columns=Columns()))
    storage.upload(changed.with_name("fields.gpkg-wal"), f"{url}-wal")
    (batch,) = from_urls([url], storage=storage, columns=Columns())
    assert batch.identifiers == ["new"]


def test_a_file_in_a_zip_needs_its_changes_beside_it(changed: Path, tmp_path: Path) -> None:
    path = tmp_path / "fields.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(changed, "export/fields.gpkg")
    with pytest.raises(InvalidParameter, match=r"WAL mode, .* fields\.gpkg-wal, which is not in the zip\. Close"):
        list(from_file(path))
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(changed.with_name("fields.gpkg-wal"), "export/fields.gpkg-wal")
    assert read(path) == ["new"]


class Racing(Storage):
    """A bucket in which the file is replaced while what is beside it is read."""

    def download(self, url: str, target: Path, **more: int) -> object:  # type: ignore[override]
        if url.endswith("-wal"):
            with sqlite3.connect(url.removeprefix("file://").removesuffix("-wal")) as other:
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return super().download(url, target, **more)


def test_what_changes_meanwhile_is_read_again_later(changed: Path) -> None:
    with closing(sqlite3.connect(changed)) as other:
        other.execute("INSERT INTO features_32632 SELECT 2, 'more', 5, 5, NULL, geometry FROM features_32632")
        other.commit()
        with pytest.raises(StorageUnavailable, match="was changed while it was read"):
            list(from_urls([str(changed)], storage=Racing(), columns=Columns()))
