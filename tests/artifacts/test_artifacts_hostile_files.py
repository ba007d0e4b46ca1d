# ruff: noqa: S608 - SQL with names in it is what these tests are about
"""SQLite files that somebody made to cost memory, time or disk: each is refused, and what was bounded is said."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage
from airflow_provider_sentinelhub.artifacts.features.sources import from_file
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import attach, detach, open_sqlite
from airflow_provider_sentinelhub.artifacts.report.execution_db import MAX_BYTES, read_execution_db
from airflow_provider_sentinelhub.artifacts.report.manifest import manifest_tables, pixel_counts
from airflow_provider_sentinelhub.artifacts.report.table import MAX_OUTPUTS, write_parquet
from airflow_provider_sentinelhub.artifacts.storage.storage import MAX_DOWNLOAD_BYTES, MAX_READ_BYTES, Storage
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, InvalidParameter, StorageUnavailable
from tests.artifacts.artifact_files import ManifestEntry, write_execution_db, write_manifest

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = "id INTEGER, name TEXT, status TEXT, delivered BOOLEAN"
FOREVER = "WITH RECURSIVE n(id) AS (VALUES (1) UNION ALL SELECT id + 1 FROM n)"
FEATURES_FOREVER = f"{FOREVER} SELECT id, id AS name, 'FATAL' AS status, '' AS error, 0 AS delivered FROM n"
MANY = "WITH RECURSIVE n(id) AS (VALUES (1) UNION ALL SELECT id + 1 FROM n LIMIT 1000) SELECT id FROM n"
NESTED = "CREATE VIEW v0 AS SELECT * FROM other;" + "".join(
    f"CREATE VIEW v{n} AS SELECT a.* FROM v{n - 1} a, v{n - 1} b;" for n in range(1, 25)
)
IS_NO_TABLE = "its table 'features' is a view or a virtual table, which are not read"
TOO_LONG = "a value of more than 32 MiB"

EXECUTION_DBS = {
    "generated column": (
        (
            f"CREATE TABLE features ({COLUMNS}, error TEXT AS (hex(zeroblob(60000000))));"
            "INSERT INTO features VALUES (1, 'a', 'FATAL', 0)"
        ),
        TOO_LONG,
    ),
    "short generated column": (
        f"CREATE TABLE features ({COLUMNS}, error TEXT AS ('x'))",
        r"has no column \['error'\].*generated columns are not read: \['error'\]",
    ),
    "endless view": (f"CREATE VIEW features AS {FEATURES_FOREVER}", IS_NO_TABLE),
    "view that joins": (
        (
            f"CREATE TABLE n AS {MANY}; CREATE VIEW features AS SELECT a.id, a.id AS name, 'FATAL' AS status, "
            "'' AS error, 0 AS delivered FROM n a, n b, n c"
        ),
        IS_NO_TABLE,
    ),
    "views within views": (
        f"CREATE TABLE other ({COLUMNS}, error TEXT); {NESTED} CREATE VIEW features AS SELECT * FROM v24",
        IS_NO_TABLE,
    ),
    "virtual table": (
        "CREATE VIRTUAL TABLE features USING fts5(id, name, status, error, delivered)",
        IS_NO_TABLE,
    ),
    "schema that lies": (
        (
            f"CREATE TABLE features ({COLUMNS}, error TEXT); CREATE TABLE other (id); PRAGMA writable_schema=ON;"
            "UPDATE sqlite_master SET sql = replace(sql, 'TABLE features', 'TABLE feature2') WHERE name = 'features';"
            f"UPDATE sqlite_master SET sql = 'CREATE VIEW features AS {FOREVER} SELECT * FROM n' WHERE name = 'other'"
        ),
        "malformed database schema",
    ),
    "long value": (
        (
            f"CREATE TABLE features ({COLUMNS}, error TEXT);"
            "INSERT INTO features VALUES (1, 'a', 'FATAL', 0, CAST(zeroblob(40000000) AS TEXT))"
        ),
        TOO_LONG,
    ),
    "long default": (
        (
            f"CREATE TABLE features ({COLUMNS}); INSERT INTO features VALUES (1, 'a', 'FATAL', 0);"
            f"ALTER TABLE features ADD COLUMN error TEXT DEFAULT '{'x' * 900_000}'"
        ),
        "column 'error' of its table 'features' has a default of 900002 characters; at most 1000 are read",
    ),
    "long name": (
        f"CREATE TABLE features ({COLUMNS}, error TEXT, {'x' * 900_000} TEXT)",
        "a column of its table 'features' has a name of 900000 characters; at most 500 are read",
    ),
    "long definition": (
        f"CREATE TABLE features ({COLUMNS}, error TEXT, {'x' * 3_000_000} TEXT)",
        "a definition of more than 1,000,000 bytes",
    ),
}


def made(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)
        database.commit()
    return path


@pytest.mark.parametrize(("script", "found"), EXECUTION_DBS.values(), ids=EXECUTION_DBS)
def test_a_hostile_execution_database_is_refused(tmp_path: Path, script: str, found: str) -> None:
    path = made(tmp_path / "execution-1.sqlite", script)
    with pytest.raises(ArtifactCorrupt, match=found) as caught:
        read_execution_db(path)
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize(
    ("made_of", "found"),
    [
        (f"CREATE VIEW {{name}} AS {FOREVER} SELECT id AS identifier, 1 AS outputId, 1 AS path FROM n", "is a view"),
        (
            "CREATE TABLE {name} (identifier, outputId, path TEXT AS ('x'), geometry)",
            r"has no column \['path'\].*generated columns are not read: \['path'\]",
        ),
        (
            (
                "CREATE TABLE {name} (identifier, outputId, path, x TEXT AS (hex(zeroblob(60000000))));"
                "INSERT INTO {name} VALUES (1, 2, 3)"
            ),
            TOO_LONG,
        ),
    ],
    ids=["endless view", "generated path", "generated gigabyte"],
)
def test_a_hostile_manifest_is_refused(tmp_path: Path, made_of: str, found: str) -> None:
    path = write_manifest(tmp_path / "featureManifest-1.gpkg", [ManifestEntry("a", crs=32633)])
    made(path, "DROP TABLE feature_32633;" + made_of.format(name="feature_32633"))
    with pytest.raises(ArtifactCorrupt, match=found):
        list(pixel_counts(path))


@pytest.mark.parametrize("table", ["gpkg_contents", "gpkg_geometry_columns", "gpkg_spatial_ref_sys"])
def test_views_in_place_of_what_describes_a_manifest_are_refused(tmp_path: Path, table: str) -> None:
    path = write_manifest(tmp_path / "featureManifest-1.gpkg", [ManifestEntry("a")])
    made(path, f"ALTER TABLE {table} RENAME TO other; CREATE VIEW {table} AS SELECT * FROM other")
    with pytest.raises(ArtifactCorrupt, match=f"its table '{table}' is a view"), open_sqlite(path, "manifest") as found:
        manifest_tables(found, path)


def test_a_feature_with_endless_outputs_is_refused(tmp_path: Path) -> None:
    features = write_execution_db(tmp_path / "execution-1.sqlite", [(1, "a", "DONE", None, 1)])
    entries = [ManifestEntry("a", output_id=str(n)) for n in range(MAX_OUTPUTS)]
    manifest = write_manifest(tmp_path / "m.gpkg", entries)
    write_parquet(features, manifest, tmp_path / "t.parquet")
    manifest = write_manifest(tmp_path / "more.gpkg", [*entries, ManifestEntry("a", output_id="x")])
    with pytest.raises(ArtifactCorrupt, match="feature 'a' has more than 10,000 rows"):
        write_parquet(features, manifest, tmp_path / "t.parquet")


def test_layers_that_are_views_are_read(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "a.gpkg", [ManifestEntry("a", crs=32632), ManifestEntry("b", crs=32633)])
    made(path, "ALTER TABLE feature_32633 RENAME TO kept; CREATE VIEW feature_32633 AS SELECT * FROM kept")
    assert [batch.identifiers for batch in from_file(path)] == [["a"], ["b"]]


def test_layers_that_never_end_are_refused_and_those_beside_them_can_be_read(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "a.gpkg", [ManifestEntry("a", crs=32632), ManifestEntry("b", crs=32633)])
    made(path, f"DROP TABLE feature_32633; CREATE VIEW feature_32633 AS {FOREVER} SELECT id, x'00' AS geometry FROM n")
    problems = check_geopackage(path)
    assert "takes more than 50,000,000 steps" in str(problems)
    with pytest.raises(InvalidParameter, match="takes more than 50,000,000 steps"):
        list(from_file(path))
    (batch,) = from_file(path, layer="feature_32632")
    assert batch.identifiers == ["a"]


def test_work_is_bounded_by_the_size_of_the_file(tmp_path: Path) -> None:
    """As pages that refer to each other would make it, or a view that was overlooked."""
    path = made(tmp_path / "a.sqlite", f"CREATE TABLE n AS {MANY}")
    with (
        pytest.raises(ArtifactCorrupt, match="takes more than 50,000,000 steps, and 50 for each of its bytes"),
        open_sqlite(path, "file") as connection,
    ):
        connection.execute("SELECT count(a.id + b.id + c.id) FROM n a, n b, n c").fetchone()


def test_work_on_attached_files_is_bounded_until_they_are_detached(tmp_path: Path) -> None:
    path = made(tmp_path / "a.sqlite", f"CREATE TABLE n AS {MANY}")
    work = "SELECT count(a.id + b.id + c.id) FROM {n} a, {n} b, {n} c"
    with closing(sqlite3.connect("", uri=True)) as connection:
        attach(connection, path, "source")
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(work.format(n="source.n")).fetchone()
        with pytest.raises(sqlite3.DataError, match="too big"):
            connection.execute("SELECT zeroblob(40000000)").fetchone()
        detach(connection, "source")
        connection.execute("CREATE TABLE n (id)")
        assert connection.execute(work.format(n="main.n")).fetchone() == (0,)


MEASURE = """
import resource, sys
from pathlib import Path
from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_execution_db(Path(sys.argv[1]))
except Exception as error:
    assert type(error).__name__ == "ArtifactCorrupt", error
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("name", ["generated column", "long value", "long default", "views within views"])
def test_a_hostile_file_costs_little_memory(tmp_path: Path, name: str) -> None:
    path = made(tmp_path / "execution-1.sqlite", EXECUTION_DBS[name][0])
    found = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, check=True, timeout=120)
    assert int(found.stdout) < 100


@pytest.mark.parametrize(("size", "most"), [(2**40, MAX_DOWNLOAD_BYTES), (MAX_BYTES + 1, MAX_BYTES)])
def test_an_object_that_is_too_large_is_not_downloaded(tmp_path: Path, size: int, most: int) -> None:
    path = tmp_path / "execution-1.sqlite"
    path.touch()
    os.truncate(path, size)
    with pytest.raises(ArtifactCorrupt, match=rf"{path.as_uri()} has {size:,} bytes, more than the {most:,}"):
        Storage().download(path.as_uri(), tmp_path / "copy", max_bytes=most)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_an_object_for_which_the_disk_has_no_room_is_not_begun(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch()
    os.truncate(path, 2**42)
    with pytest.raises(StorageUnavailable, match=r"has 4,398,046,511,104 bytes, and the disk of .* left"):
        Storage().download(path.as_uri(), tmp_path / "copy", max_bytes=2**50)


def test_an_object_that_is_too_large_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, MAX_READ_BYTES + 1)
    with pytest.raises(ArtifactCorrupt, match="has 67,108,865 bytes, more than the 67,108,864"):
        Storage().read(path.as_uri())
