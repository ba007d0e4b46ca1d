from __future__ import annotations

import sqlite3
import sys
import tracemalloc
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.rerun.geopackage import RerunFeatures, write_rerun_geopackage
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt
from airflow_provider_sentinelhub.simulator.bucket import geopackage as simulator
from airflow_provider_sentinelhub.simulator.features import features as simulated
from tests.artifacts.artifact_files import ManifestEntry, Row, gpkg_blob, write_execution_db, write_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def square(x: float, y: float = 0, size: float = 200, *, crs: int = 32633) -> bytes:
    return simulator.blob(shapely.box(x, y, x + size, y + size), crs)


def entry(name: str, *, output: str = "default", crs: int = 32633, **more: Any) -> ManifestEntry:
    geometry = more.pop("geometry", square(sum(name.encode()), crs=crs))
    return ManifestEntry(name, output, crs=crs, geometry=geometry, **more)


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()  # noqa: S608


def rerun(
    tmp_path: Path, executed: Iterable[Row], listed: Iterable[ManifestEntry], **more: Any
) -> tuple[RerunFeatures, Path]:
    target = tmp_path / "rerun.gpkg"
    for name in ("e.sqlite", "m.gpkg"):
        (tmp_path / name).unlink(missing_ok=True)
    result = write_rerun_geopackage(
        write_execution_db(tmp_path / "e.sqlite", executed),
        write_manifest(tmp_path / "m.gpkg", listed),
        target,
        **{"is_permanent": lambda message: "band" in message, **more},
    )
    return result, target


EXECUTED = [
    (1, "delivered", "DONE", None, 1),
    (2, "no data", "DONE", "No data", 0),
    (3, "failed", "FATAL", "HTTP 500", 0),
    (4, "hopeless", "FATAL", "no such band", 0),
    (5, "undelivered", "DONE", None, 0),
    (6, "pending", "PENDING", None, 0),
    (7, "strange", "MOVED", None, 0),
]
LISTED = [
    entry(name, output=output, crs=crs)
    for name, crs in (
        ("delivered", 32633),
        ("no data", 32633),
        ("failed", 32634),
        ("hopeless", 32633),
        ("undelivered", 32633),
        ("pending", 32634),
        ("strange", 32633),
        ("only listed", 32633),
    )
    for output in ("default", "mask")
]


def test_what_was_lost_and_can_be_had_is_written(tmp_path: Path) -> None:
    result, target = rerun(tmp_path, EXECUTED, LISTED)
    assert result == RerunFeatures(features=4, permanent=1, unknown=0, layers=(32633, 32634))
    assert rows(target, "features_32633") == [
        (1, "undelivered", 10, 20, None, square(sum(b"undelivered"))),
        (2, "only listed", 10, 20, None, square(sum(b"only listed"))),
    ]
    assert rows(target, "features_32634") == [
        (3, "failed", 10, 20, None, square(sum(b"failed"), crs=32634)),
        (4, "pending", 10, 20, None, square(sum(b"pending"), crs=32634)),
    ]


def test_a_rerun_needs_no_pyproj(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyproj", None)
    result, target = rerun(tmp_path, [(1, "a", "FATAL", "HTTP 500", 0)], [entry("a", crs=2154)])
    assert result.layers == (2154,)
    with closing(sqlite3.connect(target)) as database:
        described = database.execute("SELECT srs_name, definition FROM gpkg_spatial_ref_sys WHERE srs_id = 2154")
        assert described.fetchall() == [("EPSG 2154", "undefined")]


def test_the_simulated_service_takes_it_with_the_same_pixels(tmp_path: Path) -> None:
    _, target = rerun(tmp_path, EXECUTED, LISTED)
    found = simulated.from_geopackage(target, {}, None)
    assert {(each.name, each.crs, each.width, each.height) for each in found} == {
        ("undelivered", 32633, 10, 20),
        ("only listed", 32633, 10, 20),
        ("failed", 32634, 10, 20),
        ("pending", 32634, 10, 20),
    }
    (failed,) = (each for each in found if each.name == "failed")
    assert failed.transform == (20.0, 0.0, float(sum(b"failed")), 0.0, -10.0, 200.0)


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    before = rerun(tmp_path, EXECUTED, LISTED)[1].read_bytes()
    _, target = rerun(tmp_path, list(reversed(EXECUTED)), LISTED)
    assert target.read_bytes() == before


def test_a_message_is_judged_without_the_name_as_in_a_report(tmp_path: Path) -> None:
    executed = [(1, "no such band", "FATAL", "no such band is late", 0), (2, "name", "FATAL", "no such band: name", 0)]
    result, _ = rerun(tmp_path, executed, [entry("no such band"), entry("name")])
    assert (result.features, result.permanent) == (1, 1)


def test_where_nothing_is_left_to_try_there_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "rerun.gpkg").write_text("of an earlier rerun")
    result, target = rerun(tmp_path, [EXECUTED[0], EXECUTED[3]], [LISTED[0], LISTED[6]])
    assert result == RerunFeatures(features=0, permanent=1, unknown=0, layers=())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.sqlite", "m.gpkg"]
    assert not target.exists()


def test_lost_features_the_manifest_cannot_place_are_counted(tmp_path: Path) -> None:
    executed = [
        *((number, name, "FATAL", "HTTP 500", 0) for number, name in enumerate(("a", "b", "c", "d", "e", "f"))),
        (6, None, "FATAL", "no such band", 0),
        (7, "", "PENDING", None, 0),
    ]
    listed = [
        entry("a"),
        entry("b", geometry=None),
        entry("c", geometry=b"GP\x00"),
        entry("d", width=0),
        entry("e", geometry=simulator.blob(shapely.box(0, 0, 1, 1), 32633)[:60]),
    ]
    result, target = rerun(tmp_path, executed, listed)
    # An envelope that is there is believed: e is for the service to judge, as it was before.
    assert result == RerunFeatures(features=2, permanent=0, unknown=6, layers=(32633,))
    assert [row[1] for row in rows(target, "features_32633")] == ["a", "e"]


def test_a_name_that_stands_twice_is_lost_only_if_neither_was_delivered(tmp_path: Path) -> None:
    executed = [
        (1, "a", "FATAL", "HTTP 500", 0),
        (2, "a", "DONE", None, 1),
        (3, "b", "FATAL", "HTTP 500", 0),
        (4, "b", "FATAL", "no such band", 0),
        (5, "c", "FATAL", "no such band", 0),
        (6, "c", "DONE", "No data", 0),
    ]
    result, target = rerun(tmp_path, executed, [entry("a"), entry("b"), entry("c")])
    assert result == RerunFeatures(features=1, permanent=0, unknown=0, layers=(32633,))
    assert [row[1] for row in rows(target, "features_32633")] == ["b"]


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("envelope", [0, 1, 2, 3, 4])
def test_geometries_are_kept_byte_by_byte(tmp_path: Path, envelope: int, little: bool) -> None:
    wkb = shapely.to_wkb(shapely.box(0, 2, 1, 3), byte_order=1 if little else 0)
    blob = gpkg_blob(wkb, 32633, envelope=envelope, little=little)
    _, target = rerun(tmp_path, [(1, "a", "PENDING", None, 0)], [entry("a", geometry=blob)])
    assert rows(target, "features_32633")[0][-1] == blob
    with closing(sqlite3.connect(target)) as database:
        (extent,) = database.execute("SELECT min_x, min_y, max_x, max_y FROM gpkg_contents").fetchall()
    assert extent == (0, 2, 1, 3)


def test_bare_wkb_becomes_a_geopackage_geometry(tmp_path: Path) -> None:
    geometry = shapely.box(0, 2, 1, 3)
    _, target = rerun(tmp_path, [(1, "a", "PENDING", None, 0)], [entry("a", geometry=geometry.wkb)])
    assert rows(target, "features_32633")[0][-1] == simulator.blob(geometry, 32633)


def test_a_number_of_its_own_for_a_crs_becomes_the_epsg_code(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "m.gpkg", [entry("a", geometry=square(5, crs=77))])
    with closing(sqlite3.connect(manifest)) as database, database:
        database.execute("UPDATE gpkg_spatial_ref_sys SET srs_id = 77")
        database.execute("UPDATE gpkg_contents SET srs_id = 77")
        database.execute("UPDATE gpkg_geometry_columns SET srs_id = 77")
    executed = write_execution_db(tmp_path / "e.sqlite", [(1, "a", "PENDING", None, 0)])
    result = write_rerun_geopackage(executed, manifest, tmp_path / "r.gpkg", is_permanent=bool)
    assert result.layers == (32633,)
    assert rows(tmp_path / "r.gpkg", "features_32633")[0][-1] == square(5)


def test_rows_come_from_the_original_where_it_has_them(tmp_path: Path) -> None:
    original = tmp_path / "original.gpkg"
    original.write_bytes(simulator.manifest([]))
    with closing(sqlite3.connect(original)) as database, database:
        simulator._describe_crs(database, 32633)
        # Columns named like those of the tables the work is done in.
        database.execute(
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY, source TEXT, place TEXT, permanent TEXT, "
            "identifier TEXT, geom BLOB, resolution REAL)"
        )
        database.execute("INSERT INTO gpkg_geometry_columns VALUES ('parcels', 'geom', 'POLYGON', 32633, 0, 0)")
        database.execute("INSERT INTO parcels VALUES (9, 's', 'p', 'x', 'a', ?, 7.5)", (square(1, size=31),))
    executed = [(number, name, "PENDING", None, 0) for number, name in enumerate("ab")]
    result, target = rerun(tmp_path, executed, [entry("a", width=5, height=5), entry("b")], original=original)
    assert result == RerunFeatures(features=2, permanent=0, unknown=0, layers=(32633,))
    assert rows(target, "features_32633") == [
        (1, "a", None, None, 7.5, square(1, size=31)),
        (2, "b", 10, 20, None, square(sum(b"b"))),
    ]
    # Five pixels of 7.5 m reach beyond the 31 m of the polygon, which no width of the manifest could say.
    assert simulated.from_geopackage(target, {}, None)[0].transform[0] == 7.5


@pytest.mark.parametrize("outputs", [("default",), ("default", "mask", "userdata")])
@pytest.mark.parametrize("codes", [[32633] * 12, [32633] * 7 + [32634] * 5, [32633, 32634] * 6])
@pytest.mark.parametrize("unlisted", [set(), {0}, {4}, {11}])
@pytest.mark.parametrize("is_reversed", [False, True])
def test_the_order_of_the_files_does_not_matter(
    tmp_path: Path, outputs: tuple[str, ...], codes: list[int], unlisted: set[int], is_reversed: bool
) -> None:
    listed = [entry(f"f{n}", output=output, crs=codes[n]) for n in range(12) for output in outputs]
    executed = [
        (n, f"f{n}", *(("FATAL", "HTTP 500", 0) if n in {3, 8} else ("DONE", None, 1)))
        for n in range(12)
        if n not in unlisted
    ]
    result, target = rerun(tmp_path, executed[:: -1 if is_reversed else 1], listed)
    assert (result.features, result.unknown) == (2 + len(unlisted), 0)
    written = {row[1] for crs in result.layers for row in rows(target, f"features_{crs}")}
    assert written == {f"f{n}" for n in {3, 8} | unlisted}


NAMES = st.text("abcd", min_size=1, max_size=2)
STATUS = st.sampled_from(
    [
        ("DONE", None, 1),
        ("DONE", "No data", 0),
        ("DONE", None, 0),
        ("PENDING", None, 0),
        ("FATAL", "HTTP 500", 0),
        ("FATAL", "no such band", 0),
        ("MOVED", None, 0),
    ]
)


@pytest.mark.parametrize("missing", [(), (3,), (5, 6), (1,), (10,)])
def test_rows_missing_of_a_manifest_in_order_cost_none_of_the_others(tmp_path: Path, missing: tuple[int, ...]) -> None:
    names = ["a", "b", "c", "d", "e"]
    executed = write_execution_db(
        tmp_path / "e.sqlite", ((number, name, "FATAL", "HTTP 500", 0) for number, name in enumerate(names, 1))
    )
    listed = (entry(name, output=output) for name in names for output in ("default", "mask"))
    manifest = write_manifest(tmp_path / "m.gpkg", listed)
    with closing(sqlite3.connect(manifest)) as database:
        ((table,),) = database.execute("SELECT table_name FROM gpkg_contents")
        database.executemany(f"DELETE FROM {table} WHERE rowid = ?", ((each,) for each in missing))  # noqa: S608
        database.commit()
    result = write_rerun_geopackage(executed, manifest, tmp_path / "r.gpkg", is_permanent=lambda _: False)
    left = [name for number, name in enumerate(names) if not {2 * number + 1, 2 * number + 2} <= set(missing)]
    assert [row[1] for row in rows(tmp_path / "r.gpkg", "features_32633")] == left
    assert (result.features, result.unknown) == (len(left), len(names) - len(left))


@given(st.lists(st.tuples(NAMES, STATUS), max_size=12), st.sets(NAMES, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_add_up(tmp_path: Path, executed: list[tuple[str, tuple[Any, ...]]], listed: set[str]) -> None:
    found: dict[str, set[tuple[Any, ...]]] = {name: set() for name in listed}
    for name, status in executed:
        found.setdefault(name, set()).add(status)
    kept, failed = {("DONE", None, 1), ("DONE", "No data", 0)}, ("FATAL", "no such band", 0)
    lost = {
        name: statuses - {("MOVED", None, 0)}
        for name, statuses in found.items()
        if not statuses & kept and statuses != {("MOVED", None, 0)}
    }
    permanent = {name for name, statuses in lost.items() if statuses == {failed}}
    result, target = rerun(
        tmp_path,
        [(number, name, *status) for number, (name, status) in enumerate(executed)],
        [entry(name, crs=32633 if name < "b" else 32634) for name in sorted(listed)]
        or [entry("never executed", width=0)],
    )
    unlisted = 0 if listed else 1
    assert result.permanent == len(permanent)
    assert result.unknown == len(lost.keys() - permanent - listed) + unlisted
    written = {row[1] for crs in result.layers for row in rows(target, f"features_{crs}")}
    assert written == (lost.keys() - permanent) & listed
    assert result.features == len(written)


def test_a_lost_name_is_found_where_another_row_of_it_goes_along_with_the_manifest(tmp_path: Path) -> None:
    executed = [(0, "a", "MOVED", None, 0), (1, "a", "DONE", None, 0)]
    result, target = rerun(tmp_path, executed, [entry("a")])
    assert (result.features, result.unknown) == (1, 0)
    assert [row[1] for row in rows(target, "features_32633")] == ["a"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    executed = write_execution_db(tmp_path / "e.sqlite", EXECUTED)
    manifest = write_manifest(tmp_path / "m.gpkg", LISTED)
    manifest.write_bytes(manifest.read_bytes()[:-100])
    with pytest.raises(ArtifactCorrupt, match=r"m\.gpkg is not a usable feature manifest"):
        write_rerun_geopackage(executed, manifest, tmp_path / "r.gpkg", is_permanent=bool)


@pytest.mark.parametrize("in_order", [True, False])
def test_a_damaged_page_of_a_manifest_is_noticed(tmp_path: Path, in_order: bool) -> None:
    names = [f"feature-{number:04d}" for number in range(500)]
    executed = write_execution_db(
        tmp_path / "e.sqlite", ((number, name, "FATAL", "HTTP 500", 0) for number, name in enumerate(names, 1))
    )
    manifest = write_manifest(tmp_path / "m.gpkg", (entry(name) for name in names[:: 1 if in_order else -1]))
    with manifest.open("r+b") as file:
        # A page of rows, in the middle of the file, is overwritten with another one.
        page = int.from_bytes(manifest.read_bytes()[16:18], "big")
        middle = manifest.stat().st_size // page // 2
        file.seek((middle + 1) * page)
        other = file.read(page)
        file.seek(middle * page)
        file.write(other)
    with pytest.raises(ArtifactCorrupt, match=r"m\.gpkg"):
        write_rerun_geopackage(executed, manifest, tmp_path / "r.gpkg", is_permanent=lambda _: False)


def test_an_error_of_the_caller_passes_and_leaves_nothing(tmp_path: Path) -> None:
    def confused(message: str) -> bool:
        raise LookupError(message)

    with pytest.raises(LookupError, match="HTTP 500"):
        rerun(tmp_path, EXECUTED, LISTED, is_permanent=confused)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.sqlite", "m.gpkg"]


@pytest.mark.parametrize(("count", "limit"), [(20_000, 6_000_000), (51_000, 3_000_000)])
def test_memory_does_not_grow_with_the_number_of_features(tmp_path: Path, count: int, limit: int) -> None:
    names = [f"feature-{number}" for number in range(count)]
    executed = write_execution_db(tmp_path / "e.sqlite", ((1, name, "FATAL", f"at {name}", 0) for name in names))
    manifest = write_manifest(tmp_path / "m.gpkg", (entry(name) for name in names))
    tracemalloc.start()
    try:
        result = write_rerun_geopackage(executed, manifest, tmp_path / "r.gpkg", is_permanent=lambda _: False)
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()
    assert result.features == count
