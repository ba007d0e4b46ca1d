from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from airflow_provider_sentinelhub.artifacts.report import table as parquet
from airflow_provider_sentinelhub.artifacts.report.failed import failed_features
from airflow_provider_sentinelhub.artifacts.report.table import write_parquet
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing, InvalidParameter
from tests.artifacts.artifact_files import ManifestEntry, Row, gpkg_blob, write_execution_db, write_manifest

if TYPE_CHECKING:
    from pathlib import Path


def report(tmp_path: Path, rows: list[Row], entries: list[ManifestEntry] | None = None) -> str:
    execution_db = write_execution_db(tmp_path / "e.sqlite", rows)
    manifest = write_manifest(tmp_path / "m.gpkg", entries) if entries else None
    write_parquet(execution_db, manifest, tmp_path / "t.parquet")
    return (tmp_path / "t.parquet").as_uri()


def square(x: float, y: float, size: float, epsg: int) -> bytes:
    return gpkg_blob(shapely.to_wkb(shapely.box(x, y, x + size, y + size)), epsg, envelope=1)


def test_failed_features_are_listed_with_cause_place_and_size(tmp_path: Path) -> None:
    url = report(
        tmp_path,
        [
            (1, "a", "DONE", None, 1),
            (2, "b", "FATAL", "ReferenceError: B99 is not defined", 0),
            (3, "c", "FATAL", "Timeout " + "x" * 500, 0),
            (4, "d", "FATAL", None, 0),
            (5, "e", "PENDING", None, 0),
            (6, "f", "DONE", None, 0),
        ],
        [
            ManifestEntry("b", "ndvi", width=5, height=6, crs=32633, geometry=square(400000, 5000000, 100, 32633)),
            ManifestEntry("b", "mask", width=5, height=6, crs=32633, geometry=square(400000, 5000000, 100, 32633)),
            ManifestEntry("c", width=7, height=8, crs=4326, geometry=square(9.5, 42.25, 0.25, 4326)),
            ManifestEntry("f", width=7, height=8, crs=4326, geometry=gpkg_blob(b"\x01\xff", 4326)),
        ],
    )
    found = failed_features(Storage(), url)
    assert [feature["name"] for feature in found] == ["b", "c", "d"]
    assert found[0] == {
        "name": "b",
        "outcome": "FAILED",
        "error": "ReferenceError: B99 is not defined",
        "kind": "PERMANENT",
        "epsg": 32633,
        "bbox": [400000.0, 5000000.0, 400100.0, 5000100.0],
        "width": 5,
        "height": 6,
    }
    assert (found[1]["kind"], len(found[1]["error"]), found[1]["bbox"]) == ("TRANSIENT", 200, [9.5, 42.25, 9.75, 42.5])
    assert (found[2]["kind"], found[2]["error"], found[2]["bbox"], found[2]["epsg"]) == ("UNKNOWN", None, None, None)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    others = failed_features(Storage(), url, outcomes=["UNDELIVERED", "PENDING"])
    assert [(feature["name"], feature["outcome"], feature["bbox"]) for feature in others] == [
        ("e", "PENDING", None),
        ("f", "UNDELIVERED", None),
    ]


def test_an_open_ring_still_has_bounds(tmp_path: Path) -> None:
    corners = struct.pack("<8d", 1, 2, 5, 2, 5, 9, 1, 9)
    blob = gpkg_blob(struct.pack("<BIII", 1, 3, 1, 4) + corners, 32633)
    url = report(tmp_path, [(1, "a", "FATAL", None, 0)], [ManifestEntry("a", geometry=blob)])
    assert failed_features(Storage(), url)[0]["bbox"] == [1, 2, 5, 9]


def test_no_more_is_read_than_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_ROW_GROUP", 10)
    # Failures in the row groups 3, 6 and 8 of ten.
    failed = {35, 36, 60, 69, 81}
    rows: list[Row] = [(i, f"n{i:03}", "FATAL" if i in failed else "DONE", None, i not in failed) for i in range(100)]
    url = report(tmp_path, rows)
    read: list[tuple[int, int]] = []
    original = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, columns: list[str], **options: Any) -> pa.Table:
        read.append((group, len(columns)))
        return original(self, group, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    assert [feature["name"] for feature in failed_features(Storage(), url)] == [f"n{i:03}" for i in sorted(failed)]
    assert [group for group, columns in read if columns > 1] == [3, 6, 8]
    read.clear()
    assert [feature["name"] for feature in failed_features(Storage(), url, limit=3)] == ["n035", "n036", "n060"]
    assert max(group for group, _ in read) == 6


def test_a_report_without_failures_lists_nothing(tmp_path: Path) -> None:
    assert failed_features(Storage(), report(tmp_path, [(1, "a", "DONE", None, 1)])) == []


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing):
        failed_features(Storage(), (tmp_path / "none.parquet").as_uri())
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "other.parquet")
    for name in ("text.parquet", "other.parquet"):
        with pytest.raises(ArtifactCorrupt, match="report_url of a task's result"):
            failed_features(Storage(), (tmp_path / name).as_uri())


@pytest.mark.parametrize(("given", "field"), [({"limit": 0}, "limit"), ({"outcomes": ["FATAL"]}, "outcomes")])
def test_parameters_are_checked(given: dict[str, int], field: str) -> None:
    with pytest.raises(InvalidParameter, match=field):
        failed_features(Storage(), "file:///none", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", [None, ""])
def test_a_report_that_was_not_written_is_no_url(url: str | None) -> None:
    with pytest.raises(InvalidParameter, match=r"report_url = .*: must be the URL .* where no report was written"):
        failed_features(Storage(), url)  # type: ignore[arg-type]
