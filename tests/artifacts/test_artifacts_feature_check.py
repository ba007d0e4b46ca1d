"""The check of an input GeoPackage, and what it mends. The messages are in tests/bad_inputs."""

from __future__ import annotations

import sqlite3
import struct
import tracemalloc
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage, check_names_across
from airflow_provider_sentinelhub.artifacts.features.problems import Problem, Rule
from airflow_provider_sentinelhub.artifacts.features.repair import repair_geopackages
from airflow_provider_sentinelhub.artifacts.features.size import input_size
from airflow_provider_sentinelhub.artifacts.features.sources import from_file, from_geometries
from airflow_provider_sentinelhub.artifacts.features.writer import Size, write_geopackages
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import add_layer, finish_layer, new_geopackage
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.simulator.bucket import geopackage as simulator
from airflow_provider_sentinelhub.simulator.features import features as simulated
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed
from tests.artifacts.artifact_files import gpkg_blob

if TYPE_CHECKING:
    from pathlib import Path

BOX = shapely.box(500_000, 4_600_000, 500_500, 4_600_500)
BOWTIE = shapely.Polygon([(500_000, 4_600_000), (500_500, 4_600_500), (500_500, 4_600_000), (500_000, 4_600_500)])
FLAT = shapely.Polygon([(500_000, 4_600_000), (500_500, 4_600_000), (500_100, 4_600_000)])


def write(path: Path, *rows: tuple[Any, ...]) -> Path:
    """Rows are identifier, width, height, resolution and geometry."""
    with new_geopackage(path) as connection:
        layer = add_layer(connection, 32632)
        connection.executemany(layer.insert, ((number, *row) for number, row in enumerate(rows, 1)))
        finish_layer(connection, layer, None)
    return path


def names(path: Path, *tables: str) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [
            name
            for table in tables or ("features_32632",)
            for (name,) in database.execute(f"SELECT identifier FROM {table} ORDER BY id")  # noqa: S608
        ]


def blob(geometry: Any = BOX) -> bytes:
    return simulator.blob(geometry, 32632)


def test_a_good_file_has_no_problems(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", ("a", 10, 10, None, blob()), ("b", None, None, 10.0, blob()))
    assert check_geopackage(path) == ()
    assert len(simulated.from_geopackage(path, {}, None)) == 2


@pytest.mark.parametrize("resolution", [-1, 0, "10 m", float("inf"), 5.0, b"\x00", None])
@pytest.mark.parametrize("validity", [True, False])
def test_a_resolution_beside_width_and_height_is_ignored(tmp_path: Path, resolution: Any, validity: bool) -> None:
    path = write(tmp_path / "a.gpkg", ("a", 10, 10, resolution, blob()), ("b", 7, None, 10.0, blob()))
    assert check_geopackage(path, validity=validity) == ()
    assert input_size(path, defaults=Size()).pixels == 10 * 10 + 50 * 50
    assert [each.width for each in simulated.from_geopackage(path, {}, None)] == [10, 50]


def test_a_width_alone_needs_a_resolution(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", ("a", 10, None, None, blob()), ("b", None, 10, -1.0, blob()))
    found = {problem.rule: problem.examples for problem in check_geopackage(path)}
    assert found == {Rule.SIZE_PAIR: ("a",), Rule.RESOLUTION: ("b",)}


def test_where_the_crs_is_unknown_nothing_is_said_about_places(tmp_path: Path) -> None:
    write_geopackages(
        from_geometries({"a": shapely.box(9, 42, 10, 43)}, epsg=4258), tmp_path / "a.gpkg", size=Size(5, 5)
    )
    assert [problem.rule for problem in check_geopackage(tmp_path / "a.gpkg")] == [Rule.KNOWN_CRS]


def test_a_missing_size_may_come_from_the_request(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", ("a", None, None, None, blob()))
    assert [problem.rule for problem in check_geopackage(path)] == [Rule.SIZE]
    assert check_geopackage(path, defaults=Size(5, 5)) == ()
    assert check_geopackage(path, defaults=Size(resolution=10)) == ()
    assert check_geopackage(path, defaults=Size(resolution=0.1)) == (Problem(Rule.PIXELS, 1, ("a (5000 x 5000)",)),)


@pytest.mark.parametrize("in_pixels", [False, True])
@pytest.mark.parametrize(("resolution", "rules"), [(501, [Rule.ONE_PIXEL]), (500, [])])
def test_a_feature_has_at_least_one_pixel(
    tmp_path: Path, resolution: float, rules: list[Rule], in_pixels: bool
) -> None:
    size = Size(resolution=resolution, in_pixels=in_pixels)
    write_geopackages(from_geometries({"a": BOX}, epsg=32632), tmp_path / "a.gpkg", size=size)
    assert [problem.rule for problem in check_geopackage(tmp_path / "a.gpkg")] == rules


def test_a_narrow_feature_is_a_row_of_pixels(tmp_path: Path) -> None:
    narrow = shapely.box(500_000, 4_600_000, 500_004, 4_600_200)
    write_geopackages(from_geometries({"a": narrow}, epsg=32632), tmp_path / "a.gpkg", size=Size(resolution=10))
    assert check_geopackage(tmp_path / "a.gpkg") == ()


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("envelope", [0, 1, 2, 3, 4])
def test_geometries_are_read_behind_any_envelope(tmp_path: Path, envelope: int, little: bool) -> None:
    for geometry, rules in ((BOX, []), (BOWTIE, [Rule.VALID])):
        wkb = shapely.to_wkb(geometry, byte_order=1 if little else 0)
        given = gpkg_blob(wkb, 32632, envelope=envelope, little=little)
        path = write(tmp_path / "a.gpkg", ("a", 10, 10, None, given))
        assert [problem.rule for problem in check_geopackage(path)] == rules


def test_curves_keep_no_other_problem_from_being_named(tmp_path: Path) -> None:
    head, wkb = blob()[: -len(BOX.wkb)], BOX.wkb
    curves = struct.pack("<BII", 1, 10, 1) + struct.pack("<BII6d", 1, 8, 3, *(500_000, 4_600_000) * 3)
    surface = struct.pack("<BII", 1, 12, 1) + wkb
    path = write(
        tmp_path / "a.gpkg",
        *((name, 10, 10, None, head + each) for name, each in (("a", curves), ("b", wkb), ("c", surface))),
        ("d", 10, 10, None, blob(BOWTIE)),
        ("e", 10, 10, None, head + wkb[:30]),
    )
    found = {problem.rule: problem for problem in check_geopackage(path)}
    assert [*found] == [Rule.READABLE, Rule.POLYGON, Rule.VALID]
    assert found[Rule.POLYGON].examples == ("a (with curves)", "c (with curves)")
    with pytest.raises(InvalidParameter, match=r"2 features are neither POLYGON nor MULTIPOLYGON"):
        repair_geopackages([path], tmp_path / "b.gpkg")


@pytest.mark.parametrize("validity", [True, False])
def test_rows_need_no_number(tmp_path: Path, validity: bool) -> None:
    rows = (("a/b", 10, 10, None, blob()), ("", 9_999, 10, None, None), ("bowtie", 10, 10, None, blob(BOWTIE)))
    path = write(tmp_path / "a.gpkg", *rows)
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(
            "CREATE TABLE parcels (id INTEGER PRIMARY KEY, identifier TEXT, width, height, resolution, geometry) "
            "WITHOUT ROWID; INSERT INTO parcels SELECT * FROM features_32632"
        )
        database.execute("UPDATE gpkg_geometry_columns SET table_name = 'parcels'")
    found = {problem.rule: problem.examples for problem in check_geopackage(path, validity=validity)}
    assert found == {
        Rule.IDENTIFIER: ("row 2 of 'parcels'",),
        Rule.IDENTIFIER_PATH: ("a/b",),
        Rule.PIXELS: ("row 2 of 'parcels'",),
        Rule.GEOMETRY: ("row 2 of 'parcels'",),
        **({Rule.VALID: ("bowtie (Self-intersection[500250 4600250])",)} if validity else {}),
    }
    assert [batch.identifiers for batch in from_file(path)] == [["a/b", "", "bowtie"]]


def test_all_problems_are_counted_and_some_features_named(tmp_path: Path) -> None:
    rows = [(f"bowtie {n}", 10, 10, None, blob(BOWTIE)) for n in range(12_000)]
    rows += [(f"large {n}", 9_999, 10, None, blob()) for n in range(7)]
    rows += [("good", 10, 10, None, blob())]
    found = check_geopackage(write(tmp_path / "a.gpkg", *rows))
    reason = "Self-intersection[500250 4600250]"
    assert found == (
        Problem(Rule.PIXELS, 7, tuple(f"large {n}" for n in range(5))),
        Problem(Rule.VALID, 12_000, tuple(f"bowtie {n} ({reason})" for n in range(5))),
    )


def test_names_are_compared_over_layers_and_files(tmp_path: Path) -> None:
    here = [*from_geometries({"a": BOX, "b": BOX}, epsg=32632), *from_geometries({"c": BOX}, epsg=32633)]
    there = [*from_geometries({"d": BOX, "a": BOX}, epsg=32632), *from_geometries({"c": BOX, "ä": BOX}, epsg=32633)]
    for name, batches in (("a.gpkg", here), ("b.gpkg", there)):
        write_geopackages(batches, tmp_path / name, size=Size(5, 5))
        assert check_geopackage(tmp_path / name) == ()
    expected = Problem(Rule.IDENTIFIER_UNIQUE, 2, ("a (2 times)", "c (2 times)"))
    assert check_names_across([tmp_path / "a.gpkg", tmp_path / "b.gpkg"]) == (expected,)
    assert check_names_across([tmp_path / "a.gpkg"]) == ()


GEOMETRIES = st.sampled_from([BOX, BOWTIE, shapely.MultiPolygon([BOX]), BOX.boundary, BOX.centroid, shapely.Polygon()])
SIZES = st.sampled_from([None, 0, 1, 3500, 3501, -1])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "a", "b", "c"]),
            SIZES,
            SIZES,
            st.sampled_from([None, 10.0, 0.01]),
            GEOMETRIES.map(lambda shape: None if shape.is_empty else blob(shape)),
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_passes_is_taken_by_the_simulated_service(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    path = write(tmp_path / "a.gpkg", *rows)
    if not check_geopackage(path):
        assert len(simulated.from_geopackage(path, {}, None)) == len(rows)


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b"]), SIZES, SIZES), min_size=1, max_size=4))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_the_simulated_service_refuses_does_not_pass(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    path = write(tmp_path / "a.gpkg", *((*row, None, blob()) for row in rows))
    try:
        simulated.from_geopackage(path, {}, None)
    except AnalysisFailed:
        assert check_geopackage(path)


def test_what_is_repairable_is_mended(tmp_path: Path) -> None:
    rows = [
        ("a", 10, 10, None, blob()),
        ("a", 10, 10, None, blob(BOWTIE)),
        ("a-2", 10, 10, None, blob()),
        ("", None, None, None, blob()),
        ("a", 10, 10, None, blob()),
        ("", 10, 10, None, blob(shapely.MultiPolygon([BOX, BOX]))),
    ]
    (written,) = repair_geopackages([write(tmp_path / "a.gpkg", *rows)], tmp_path / "b.gpkg", size=Size(7, 7))
    assert names(written.path) == ["a", "a-3", "a-2", "feature-1", "a-4", "feature-2"]
    assert check_geopackage(written.path) == ()
    found = {each.name: each for each in simulated.from_geopackage(written.path, {}, None)}
    mended = found["a-3"].geometry
    assert mended is not None
    assert (mended.geom_type, mended.area) == ("MultiPolygon", 125_000.0)
    assert (found["feature-1"].width, found["a"].width) == (7, 10)


def test_a_collection_of_polygons_is_mended_and_no_other(tmp_path: Path) -> None:
    beside = shapely.MultiPolygon([shapely.box(500_600, 4_600_000, 500_700, 4_600_100)])
    made = shapely.GeometryCollection([BOX, beside, BOX])
    path = write(tmp_path / "a.gpkg", ("a", 10, 10, None, blob(made)), ("b", 10, 10, None, blob(BOX)))
    assert check_geopackage(path) == (Problem(Rule.COLLECTION, 1, ("a",)),)
    repair_geopackages([path], tmp_path / "b.gpkg")
    assert check_geopackage(tmp_path / "b.gpkg") == ()
    (first, _) = simulated.from_geopackage(tmp_path / "b.gpkg", {}, None)
    assert first.geometry is not None
    assert first.geometry.area == BOX.area + beside.area
    mixed = shapely.GeometryCollection([BOX, BOX.centroid])
    path = write(tmp_path / "c.gpkg", ("a", 10, 10, None, blob(mixed)), ("b", 10, 10, None, blob(made)))
    assert [problem.rule for problem in check_geopackage(path)] == [Rule.COLLECTION, Rule.POLYGON]


NO_PATHS = [".", "..", "a/b", "a\\b", "<tileName>", "a?b", "a#b", "a\nb", "a\0b", "\x7f", "n" * 201]


@pytest.mark.parametrize("name", NO_PATHS)
@pytest.mark.parametrize("validity", [True, False])
def test_a_name_that_cannot_be_a_path_is_refused(tmp_path: Path, name: str, validity: bool) -> None:
    path = write(tmp_path / "a.gpkg", (name, 10, 10, None, blob()))
    assert [problem.rule for problem in check_geopackage(path, validity=validity)] == [Rule.IDENTIFIER_PATH]


@pytest.mark.parametrize("name", ["a.b", "...", "n" * 200, "a-b_c [1]*^", "Straße 1", "a\x80b"])
def test_a_name_that_can_be_a_path_is_not(tmp_path: Path, name: str) -> None:
    assert check_geopackage(write(tmp_path / "a.gpkg", (name, 10, 10, None, blob()))) == ()


def test_names_become_paths_and_take_no_name_from_another(tmp_path: Path) -> None:
    given = ["a/b", "a?b", "a/b", "a_b", "..", "n" * 201, "n" * 202, "m" * 200, "m" * 200]
    path = write(tmp_path / "a.gpkg", *((name, 10, 10, None, blob()) for name in given))
    (written,) = repair_geopackages([path], tmp_path / "b.gpkg")
    assert names(written.path) == [
        *("a_b-2", "a_b-3", "a_b-4", "a_b", "__", "n" * 190, "n" * 190 + "-2"),
        *("m" * 200, "m" * 190 + "-2"),
    ]


def test_names_differ_over_all_layers_and_files_after_a_repair(tmp_path: Path) -> None:
    for name in ("a.gpkg", "b.gpkg"):
        batches = [*from_geometries({"x": BOX, "y": BOX}, epsg=32632), *from_geometries({"x": BOX}, epsg=32633)]
        write_geopackages(batches, tmp_path / name, size=Size(5, 5))
    files = repair_geopackages([tmp_path / "a.gpkg", tmp_path / "b.gpkg"], tmp_path / "c.gpkg", max_features=4)
    assert [file.path.name for file in files] == ["c.gpkg", "c-2.gpkg"]
    assert names(files[0].path, "features_32632", "features_32633") == ["x", "y", "x-3", "x-2"]
    assert names(files[1].path, "features_32632", "features_32633") == ["y-2", "x-4"]
    assert check_names_across([file.path for file in files]) == ()


def test_missing_columns_are_added(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", ("a", 10, 10, None, blob()), ("b", 10, 10, None, blob()))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP INDEX features_32632_identifier")
        database.execute("ALTER TABLE features_32632 RENAME identifier TO title")
        database.execute("ALTER TABLE features_32632 RENAME id TO fid")
    assert [problem.rule for problem in check_geopackage(path)] == [Rule.ID_COLUMN, Rule.IDENTIFIER_COLUMN]
    (written,) = repair_geopackages([path], tmp_path / "b.gpkg")
    assert names(written.path) == ["feature-1", "feature-2"]


def test_what_leaves_no_area_cannot_be_mended(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", ("flat", 10, 10, None, blob(FLAT)), ("good", 10, 10, None, blob()))
    with pytest.raises(
        InvalidParameter, match=r"b\.gpkg, geometry = \['flat \(.* is not valid\. Repair them in a GIS\.$"
    ):
        repair_geopackages([path], tmp_path / "b.gpkg")


def test_memory_does_not_grow_with_the_number_of_features(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = write(tmp_path / "a.gpkg", *((f"p{n}", 10, 10, None, blob()) for n in range(count)))
        tracemalloc.start()
        try:
            assert check_geopackage(path) == ()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(60_000) < 1.2 * peak(20_000)
