from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_wkb
from airflow_provider_sentinelhub.artifacts.report import table as parquet
from airflow_provider_sentinelhub.artifacts.report.report import FeatureOutcome
from airflow_provider_sentinelhub.artifacts.report.table import write_parquet
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt
from tests.artifacts.artifact_files import ManifestEntry, Row, gpkg_blob, point_wkb, write_execution_db, write_manifest

if TYPE_CHECKING:
    from pathlib import Path

POINT = point_wkb(1.0, 2.0)


def table(tmp_path: Path, rows: list[Row], entries: list[ManifestEntry] | None) -> tuple[list[dict[str, Any]], int]:
    execution_db = tmp_path / "e.sqlite"
    manifest = tmp_path / "m.gpkg" if entries is not None else None
    for path in (execution_db, tmp_path / "m.gpkg"):
        path.unlink(missing_ok=True)
    write_execution_db(execution_db, rows)
    if manifest is not None:
        write_manifest(manifest, entries or [])
    facts = write_parquet(execution_db, manifest, tmp_path / "t.parquet")
    names = Counter(str(row[1]) for row in rows if row[1] not in {None, ""})
    repeated = sorted((name for name, count in names.items() if count > 1), key=str.encode)
    assert (facts.duplicates, facts.duplicate_names) == (len(repeated), tuple(repeated[:20]))
    return pq.read_table(tmp_path / "t.parquet").to_pylist(), facts.unlisted


def test_one_row_per_feature_with_outputs_and_geometry(tmp_path: Path) -> None:
    rows: list[Row] = [
        (2, "b", "FATAL", "boom", 0),
        (1, "a", "DONE", None, 1),
        (3, "only-executed", "DONE", "No data", None),
    ]
    entries = [
        ManifestEntry("b", "ndvi", "s3://x/b/ndvi.tif", 5, 6, 4326, gpkg_blob(POINT, 4326, envelope=1)),
        ManifestEntry("b", "mask", "s3://x/b/mask.tif", 5, 6, 4326, gpkg_blob(POINT, 4326, envelope=1)),
        ManifestEntry("a", "ndvi", "s3://x/a/ndvi.tif", 7, 8, 32633, gpkg_blob(POINT, 32633)),
        ManifestEntry("only-planned", "ndvi", "s3://x/p/ndvi.tif", 1, 2, 32633, None),
    ]
    found, unlisted = table(tmp_path, rows, entries)
    assert unlisted == 1
    assert [row["name"] for row in found] == ["a", "b", "only-executed", "only-planned"]
    assert found[0] == {
        "id": 1,
        "name": "a",
        "status": "DONE",
        "outcome": "DELIVERED",
        "error": None,
        "delivered": True,
        "outputs": [{"output_id": "ndvi", "path": "s3://x/a/ndvi.tif"}],
        "width": 7,
        "height": 8,
        "epsg": 32633,
        "geometry": POINT,
        "task_id": "",
        "rerun": 0,
    }
    assert [output["output_id"] for output in found[1]["outputs"]] == ["mask", "ndvi"]
    assert (found[1]["epsg"], found[1]["outcome"], found[1]["error"]) == (4326, "FAILED", "boom")
    assert (found[2]["outcome"], found[2]["delivered"], found[2]["outputs"]) == ("NO_DATA", None, [])
    assert found[2]["geometry"] is None
    assert (found[3]["outcome"], found[3]["status"], found[3]["id"]) == ("PENDING", None, None)
    assert shapely.from_wkb(found[0]["geometry"]).equals(shapely.Point(1, 2))


def test_without_a_manifest_the_outputs_are_empty(tmp_path: Path) -> None:
    found, unlisted = table(tmp_path, [(1, "a", "DONE", None, 1)], None)
    assert (found[0]["outputs"], found[0]["geometry"], unlisted) == ([], None, 0)


def test_an_empty_database_gives_an_empty_table_with_all_columns(tmp_path: Path) -> None:
    found, _ = table(tmp_path, [], None)
    assert found == []
    assert pq.read_schema(tmp_path / "t.parquet").names[:3] == ["id", "name", "status"]


def test_several_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_ROW_GROUP", 7)
    rows: list[Row] = [(i, f"n{i:03}", "DONE", None, 1) for i in range(40)]
    entries = [ManifestEntry(f"n{i:03}", output) for i in range(0, 60, 2) for output in ("x", "y")]
    found, unlisted = table(tmp_path, rows, entries)
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 8
    assert [row["name"] for row in found] == [f"n{i:03}" for i in range(40)] + [f"n{i:03}" for i in range(40, 60, 2)]
    assert [len(row["outputs"]) for row in found] == [2, 0] * 20 + [2] * 10
    assert unlisted == 10


def test_the_same_files_give_the_same_bytes_whatever_the_order_of_rows(tmp_path: Path) -> None:
    rows: list[Row] = [(i % 3, f"n{i % 5}", "DONE", f"e{i}", 1) for i in range(20)]
    entries = [ManifestEntry(f"n{i}", f"o{j}") for i in range(5) for j in range(3)]
    table(tmp_path, rows, entries)
    first = (tmp_path / "t.parquet").read_bytes()
    table(tmp_path, rows[::-1], entries[::-1])
    assert (tmp_path / "t.parquet").read_bytes() == first


NAMES = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(executed=st.lists(NAMES, max_size=12), planned=st.lists(st.tuples(NAMES, st.sampled_from("xy")), max_size=12))
def test_the_join_loses_and_invents_nothing(
    tmp_path: Path, executed: list[str | None], planned: list[tuple[str | None, str]]
) -> None:
    rows: list[Row] = [(i, name, "DONE", None, 1) for i, name in enumerate(executed)]
    entries = [ManifestEntry(name, output, crs=32633 + len(name or "")) for name, output in planned]
    found, unlisted = table(tmp_path, rows, entries or None)
    known = {name or "" for name in executed}
    outputs = {key: sorted(o for name, o in planned if (name or "") == key) for key in {n or "" for n, _ in planned}}
    assert unlisted == len(outputs.keys() - known)
    assert sorted(row["name"] for row in found) == sorted(
        [name or "" for name in executed] + sorted(outputs.keys() - known)
    )
    for row in found:
        assert [output["output_id"] for output in row["outputs"]] == outputs.get(row["name"], [])
    assert [row["name"].encode() for row in found] == sorted(row["name"].encode() for row in found)


def test_duplicate_names_are_found_on_the_way(tmp_path: Path) -> None:
    # Twenty-five names, each more than once; the table of a raw database holds every row.
    found, _ = table(tmp_path, [(i, f"n{i % 25:02}", "DONE", None, 1) for i in range(60)], None)
    assert len(found) == 60


def test_outcomes_in_the_table_add_up_like_those_of_the_report(tmp_path: Path) -> None:
    rows: list[Row] = [
        (1, "a", "DONE", None, "true"),
        (2, "b", "DONE", "no data.", 0),
        (3, "c", "DONE", None, None),
        (4, "d", "FATAL", None, 0),
        (5, "e", "PENDING", None, 0),
        (6, "f", "WHAT", None, 0),
    ]
    found, _ = table(tmp_path, rows, None)
    assert [row["outcome"] for row in found] == [
        FeatureOutcome.DELIVERED,
        FeatureOutcome.NO_DATA,
        FeatureOutcome.UNDELIVERED,
        FeatureOutcome.FAILED,
        FeatureOutcome.PENDING,
        FeatureOutcome.UNKNOWN,
    ]
    assert found[0]["delivered"] is True


@pytest.mark.parametrize("envelope", range(5))
@pytest.mark.parametrize("little", [True, False])
def test_the_wkb_is_found_behind_any_envelope(envelope: int, *, little: bool) -> None:
    assert geometry_wkb(gpkg_blob(POINT, 4326, envelope=envelope, little=little)) == POINT


@pytest.mark.parametrize(
    "blob", [b"", b"GP\x00\x01", b"XX\x00\x01\x00\x00\x00\x00" + POINT, gpkg_blob(b"", 1), b"GP\x00\x0f" + bytes(99)]
)
def test_what_is_no_geometry_is_refused(blob: bytes) -> None:
    with pytest.raises(ValueError, match="not a GeoPackage geometry"):
        geometry_wkb(blob)


@pytest.mark.parametrize("blob", [b"nonsense", "text"])
def test_a_broken_geometry_names_its_feature(tmp_path: Path, blob: Any) -> None:
    with pytest.raises(ArtifactCorrupt, match=r"feature manifest: feature 'field-7'"):
        table(tmp_path, [], [ManifestEntry("field-7", geometry=blob)])


def test_tables_columns_and_crs_are_found_through_the_metadata(tmp_path: Path) -> None:
    execution_db = write_execution_db(tmp_path / "e.sqlite", [(1, "a", "DONE", None, 1)])
    manifest = tmp_path / "m.gpkg"
    entry = ManifestEntry("a", crs=100001, geometry=gpkg_blob(POINT, 100001))
    write_manifest(manifest, [entry], geometry_column='"the geom"')
    with closing(sqlite3.connect(manifest)) as database:
        database.execute("UPDATE gpkg_geometry_columns SET column_name = 'the geom'")
        database.execute("UPDATE gpkg_spatial_ref_sys SET organization = 'epsg', organization_coordsys_id = 3035")
        database.execute("INSERT INTO gpkg_contents (table_name, data_type) VALUES ('feature_styles', 'attributes')")
        database.commit()
    write_parquet(execution_db, manifest, tmp_path / "t.parquet")
    (row,) = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert (row["epsg"], row["geometry"]) == (3035, POINT)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DROP TABLE gpkg_geometry_columns", "lacks the tables"),
        ("DELETE FROM gpkg_contents", "registers no table"),
        ("ALTER TABLE feature_32633 RENAME COLUMN identifier TO name", r"no column \['identifier'\]"),
    ],
)
def test_what_is_no_manifest_is_refused_with_what_was_found(tmp_path: Path, sql: str, message: str) -> None:
    execution_db = write_execution_db(tmp_path / "e.sqlite", [])
    manifest = write_manifest(tmp_path / "m.gpkg", [ManifestEntry("a")])
    with closing(sqlite3.connect(manifest)) as database:
        database.execute(sql)
        database.commit()
    with pytest.raises(ArtifactCorrupt, match=message):
        write_parquet(execution_db, manifest, tmp_path / "t.parquet")
