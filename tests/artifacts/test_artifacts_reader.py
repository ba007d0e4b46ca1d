from __future__ import annotations

import io
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_sentinelhub.artifacts.report.delivered_files import look_for_files
from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
from airflow_provider_sentinelhub.artifacts.report.reader import ProgressReader, read_merged_report
from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport, Outcome, outcome_of
from airflow_provider_sentinelhub.artifacts.report.reruns import TaskFiles
from airflow_provider_sentinelhub.artifacts.rerun.geopackage import write_rerun_geopackage
from airflow_provider_sentinelhub.artifacts.storage.layout import (
    execution_db_url,
    manifest_url,
    report_url,
    root_folder,
)
from airflow_provider_sentinelhub.artifacts.storage.storage import ObjectMeta, Storage
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing, StorageUnavailable
from tests.artifacts.artifact_files import TASK, ManifestEntry, Row, write_execution_db, write_manifest
from tests.artifacts.test_artifacts_rerun import entry

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.artifacts.artifact_s3 import S3

ROWS: list[Row] = [(1, "a", "DONE", None, 1), (2, "b", "FATAL", "boom", 0)]


class Bucket:
    """A folder of a bucket, as a task leaves it."""

    def __init__(self, storage: Storage, root: str, folder: Path) -> None:
        self.storage, self.root, self.folder = storage, root, folder
        self.folder.mkdir()

    def execution_db(self, rows: Iterable[Row]) -> None:
        path = self.folder / "e.sqlite"
        path.unlink(missing_ok=True)
        self.storage.upload(write_execution_db(path, rows), execution_db_url(self.root, TASK))

    def report(self, **options: Any) -> FeatureReport:
        return read_merged_report(self.storage, [TaskFiles(self.root, TASK)], **options)

    def manifest(self, *names: str) -> None:
        path = write_manifest(self.folder / "m.gpkg", [ManifestEntry(name) for name in names])
        self.storage.upload(path, manifest_url(self.root, TASK))


@pytest.fixture
def bucket(s3: S3, folder_url: str, tmp_path: Path) -> Bucket:
    return Bucket(s3.storage(), root_folder(folder_url, TASK), tmp_path / "sources")


def test_the_whole_report(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    bucket.execution_db(ROWS)
    bucket.manifest("a", "b", "c")
    report = bucket.report(workdir=tmp_path / "work")
    assert (report.total, report.delivered, report.failed, report.pending, report.unlisted) == (3, 1, 1, 1, 1)
    assert report.failed_names == ("b",)
    assert report.notes == ()
    assert report.report_url == report_url(bucket.root, TASK)
    assert outcome_of("DONE", report) is Outcome.PARTIAL
    found = pq.read_table(io.BytesIO(bucket.storage.read(report.report_url))).to_pylist()
    assert [(row["name"], row["outcome"]) for row in found] == [("a", "DELIVERED"), ("b", "FAILED"), ("c", "PENDING")]
    assert not list((tmp_path / "work").iterdir())


def test_everything_out_of_the_ordinary_is_kept_apart(bucket: Bucket) -> None:
    bucket.execution_db(
        [
            (1, "delivered", "DONE", None, 1),
            (2, "no-data", "DONE", "No data", 0),
            (3, "undelivered", "DONE", None, 0),
            (4, "fatal", "FATAL", "boom", 0),
            (5, "fatal-but-flagged", "FATAL", "boom", 1),
            (6, "pending-at-the-end", "PENDING", None, 0),
            (7, "of-an-unknown-status", "RETRYING", None, 1),
            (8, "without-a-status", None, None, 1),
            (9, "twice", "DONE", None, 1),
            (10, "twice", "DONE", None, 1),
            (11, None, "DONE", None, 1),
            (12, "", "FATAL", "boom", 0),
        ]
    )
    bucket.manifest("delivered", "fatal", "planned-only")
    report = bucket.report()
    assert {outcome.value: count for outcome, count in report.counts().items()} == {
        "DELIVERED": 3,
        "NO_DATA": 1,
        "UNDELIVERED": 1,
        "FAILED": 3,
        "PENDING": 2,
        "UNKNOWN": 2,
    }
    assert (report.total, report.unlisted, report.duplicates, report.duplicate_names) == (12, 1, 1, ("twice",))
    assert dict(report.unknown_statuses) == {"RETRYING": 1, "(no status)": 1}
    assert (report.failed_names, report.no_data_names) == (("", "fatal", "fatal-but-flagged"), ("no-data",))
    assert report.report_url is not None
    found = pq.read_table(io.BytesIO(bucket.storage.read(report.report_url))).to_pylist()
    assert [(row["name"], row["outcome"]) for row in found] == [
        ("", "DELIVERED"),
        ("", "FAILED"),
        ("delivered", "DELIVERED"),
        ("fatal", "FAILED"),
        ("fatal-but-flagged", "FAILED"),
        ("no-data", "NO_DATA"),
        ("of-an-unknown-status", "UNKNOWN"),
        ("pending-at-the-end", "PENDING"),
        ("planned-only", "PENDING"),
        ("twice", "DELIVERED"),
        ("undelivered", "UNDELIVERED"),
        ("without-a-status", "UNKNOWN"),
    ]
    assert outcome_of("DONE", report) is Outcome.PARTIAL


@pytest.mark.parametrize("manifest", [None, b"not a GeoPackage"])
def test_a_missing_or_damaged_manifest_does_not_hide_the_report(bucket: Bucket, manifest: bytes | None) -> None:
    bucket.execution_db(ROWS)
    if manifest:
        bucket.storage.upload(manifest, manifest_url(bucket.root, TASK))
    report = bucket.report()
    assert (report.total, report.delivered, report.failed) == (2, 1, 1)
    assert "Without the manifest" in report.notes[0]
    assert f"featureManifest-{TASK}.gpkg" in report.notes[0]
    assert report.report_url


def test_a_missing_execution_database_is_missing(bucket: Bucket) -> None:
    with pytest.raises(ArtifactMissing, match=f"execution-{TASK}"):
        bucket.report()


def test_a_damaged_execution_database_gives_no_report(bucket: Bucket) -> None:
    bucket.storage.upload(b"half", execution_db_url(bucket.root, TASK))
    with pytest.raises(ArtifactCorrupt, match=f"execution-{TASK}"):
        bucket.report()


def test_a_mirror_on_disk_is_read_like_a_bucket(tmp_path: Path) -> None:
    bucket = Bucket(Storage(), f"{tmp_path.as_uri()}/mirror", tmp_path / "sources")
    bucket.execution_db(ROWS)
    report = bucket.report()
    assert report.report_url == f"{tmp_path.as_uri()}/mirror/report-{TASK}.parquet"
    assert (tmp_path / "mirror" / f"report-{TASK}.parquet").is_file()


class CountingStorage(Storage):
    """Counts what crosses the network."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.downloads = 0

    def download(self, url: str, target: Path, **how: Any) -> ObjectMeta:
        self.downloads += 1
        return super().download(url, target, **how)


@pytest.fixture
def counted(s3: S3, folder_url: str, tmp_path: Path) -> tuple[Bucket, CountingStorage]:
    storage = CountingStorage(s3.options())
    return Bucket(storage, root_folder(folder_url, TASK), tmp_path / "sources"), storage


def test_progress_reads_again_only_what_has_changed(counted: tuple[Bucket, CountingStorage]) -> None:
    bucket, storage = counted
    reader = ProgressReader(storage, execution_db_url(bucket.root, TASK))
    assert reader.read() is None
    bucket.execution_db([(1, "a", "PENDING", None, 0)])
    first = reader.read()
    assert first is not None
    assert (first.total, first.pending) == (1, 1)
    assert reader.read() == first
    assert storage.downloads == 1
    bucket.execution_db(ROWS)
    second = reader.read()
    assert second is not None
    assert (second.total, second.failed) == (2, 1)
    assert storage.downloads == 2


def test_progress_goes_by_the_etag_not_by_size_or_time(counted: tuple[Bucket, CountingStorage]) -> None:
    bucket, storage = counted
    url = execution_db_url(bucket.root, TASK)
    reader = ProgressReader(storage, url)
    bucket.execution_db([(1, "a", "DONE", None, 1)])
    first, content = storage.head(url), storage.read(url)
    known = reader.read()
    # Written again with the same content: a new time, the same ETag.
    storage.upload(content, url)
    assert reader.read() == known
    assert storage.downloads == 1
    # Other content of the same size, at once.
    bucket.execution_db([(1, "b", "DONE", None, 0)])
    second = storage.head(url)
    assert (second.size, second.etag == first.etag) == (first.size, False)
    found = reader.read()
    assert found is not None
    assert (found.delivered, found.undelivered, storage.downloads) == (0, 1, 2)


def test_progress_keeps_the_last_counts_when_a_snapshot_is_damaged_or_gone(
    counted: tuple[Bucket, CountingStorage],
) -> None:
    bucket, storage = counted
    url = execution_db_url(bucket.root, TASK)
    reader = ProgressReader(storage, url)
    bucket.execution_db(ROWS)
    known = reader.read()
    whole = storage.read(url)
    storage.upload(whole[: len(whole) // 2], url)
    assert [reader.read(), reader.read()] == [known, known]
    assert storage.downloads == 2
    storage.delete(url)
    assert reader.read() == known
    storage.upload(whole, url)
    assert reader.read() == known


def test_progress_leaves_large_databases_alone(counted: tuple[Bucket, CountingStorage]) -> None:
    bucket, storage = counted
    bucket.execution_db(ROWS)
    reader = ProgressReader(storage, execution_db_url(bucket.root, TASK), max_bytes=100)
    assert reader.read() is None
    assert storage.downloads == 0


def test_progress_says_when_the_bucket_cannot_be_reached(s3: S3) -> None:
    storage = s3.storage(secret_access_key="a-wrong-secret-of-mine")
    with pytest.raises(StorageUnavailable):
        ProgressReader(storage, "s3://bucket/x.sqlite").read()


# Name, the service's text, its flag, whether there is a file; and what became of it, with a look into the bucket and
# without one.
DOUBTFUL = [
    ("a", None, 1, True, "DELIVERED", "DELIVERED"),
    ("b", None, 1, False, "DELIVERED", "DELIVERED"),
    ("c", "No data", 1, False, "NO_DATA", "NO_DATA"),
    ("d", "No data available", 1, False, "NO_DATA", "NO_DATA"),
    ("e", "No data for B04", 1, True, "DELIVERED", "NO_DATA"),
    ("f", "No data for the feature", 0, False, "NO_DATA", "NO_DATA"),
    ("g", "No data could be written", 0, False, "UNDELIVERED", "UNDELIVERED"),
    ("h", "No data could be written", 1, False, "UNDELIVERED", "DELIVERED"),
    ("i", "Written with warnings", 1, True, "DELIVERED", "DELIVERED"),
    ("j", "Written with warnings", 1, False, "UNDELIVERED", "DELIVERED"),
]


# The tiles of a Zarr are listed, but have no files of their own.
@pytest.mark.parametrize(("is_listed", "has_files"), [(True, True), (False, True), (True, False)])
def test_the_bucket_is_asked_where_the_text_does_not_tell(
    bucket: Bucket, tmp_path: Path, is_listed: bool, has_files: bool
) -> None:
    bucket.execution_db((n, name, "DONE", text, flag) for n, (name, text, flag, *_) in enumerate(DOUBTFUL, 1))
    paths = {name: f"{bucket.root}/{name}/default.tif" for name, *_ in DOUBTFUL}
    for name, _, _, is_there, *_ in DOUBTFUL:
        if is_there:
            bucket.storage.upload(b"II*", paths[name])
    if is_listed:
        entries = [ManifestEntry(name, path=path) for name, path in paths.items()]
        path = write_manifest(bucket.folder / "m.gpkg", entries)
        bucket.storage.upload(path, manifest_url(bucket.root, TASK))
    report = bucket.report(has_files=has_files)
    expected = {row[0]: row[4 if is_listed and has_files else 5] for row in DOUBTFUL}
    table = pq.read_table(io.BytesIO(bucket.storage.read(str(report.report_url)))).to_pylist()
    assert {row["name"]: row["outcome"] for row in table} == expected
    # What the service says stays as it is.
    assert {row["name"]: (row["error"], int(row["delivered"])) for row in table} == {
        name: (text, flag) for name, text, flag, *_ in DOUBTFUL
    }
    counts = {outcome.value: count for outcome, count in report.counts().items() if count}
    assert counts == Counter(expected.values())
    # A second task about the same features reads the first one's in the same way.
    tasks = [TaskFiles(bucket.root, TASK), TaskFiles(bucket.root, "gone")]
    assert read_merged_report(bucket.storage, tasks, has_files=has_files).counts() == report.counts()


def test_what_is_lost_without_a_file_is_run_again(bucket: Bucket, tmp_path: Path) -> None:
    executed = write_execution_db(
        tmp_path / "e.sqlite", [(1, "h", "DONE", "No data could be written", 1), (2, "i", "DONE", "odd", 1)]
    )
    paths = {name: f"{bucket.root}/{name}.tif" for name in "hi"}
    bucket.storage.upload(b"II*", paths["i"])
    manifest = write_manifest(tmp_path / "m.gpkg", [entry(name, path=path) for name, path in paths.items()])
    asked = look_for_files(bucket.storage, executed, manifest, bucket.root)
    assert asked != executed
    result = write_rerun_geopackage(asked, manifest, tmp_path / "r.gpkg", is_permanent=lambda _: False)
    assert (result.features, result.permanent, result.unknown) == (1, 0, 0)
    # Files in other buckets are not looked for.
    assert look_for_files(bucket.storage, executed, manifest, "s3://other/folder") != executed
    assert read_execution_db(look_for_files(bucket.storage, executed, manifest, "s3://other/folder")).delivered == 2


def test_without_doubts_there_is_nothing_to_ask(bucket: Bucket, tmp_path: Path) -> None:
    executed = write_execution_db(tmp_path / "e.sqlite", ROWS)
    assert look_for_files(bucket.storage, executed, tmp_path / "no.gpkg", bucket.root) == executed
