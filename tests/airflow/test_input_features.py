"""Features from where users have them to a GeoPackage in the bucket, as Airflow runs it."""

from __future__ import annotations

import json
import sqlite3
import sys
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import shapely
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_sentinelhub.artifacts.features.features import Columns
from airflow_provider_sentinelhub.artifacts.features.sources import from_geometries
from airflow_provider_sentinelhub.artifacts.features.writer import Size
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets
from airflow_provider_sentinelhub.hooks.input_features import check_input, from_urls, make_input
from airflow_provider_sentinelhub.hooks.input_query import from_sql
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.operators.input_features import SentinelHubInputFeaturesOperator
from airflow_provider_sentinelhub.simulator.features import features as simulated
from tests.airflow.airflow_harness import Run, RunTask, request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_sentinelhub.simulator.process import Simulator

FIELDS = {
    "north": shapely.box(520_000, 4_661_000, 520_600, 4_661_600),
    "south": shapely.box(520_000, 4_660_000, 520_600, 4_660_600),
}
WKT = {name: shape.wkt for name, shape in FIELDS.items()}
COLUMNS = ("identifier", "geometry", "width", "height", "resolution", "epsg")
BOWTIE = "POLYGON((520000 4660000, 520600 4660600, 520600 4660000, 520000 4660600, 520000 4660000))"


@pytest.fixture
def url(sim: Simulator) -> str:
    return f"s3://{sim.ready.bucket}/{uuid.uuid4()}/fields.gpkg"


@pytest.fixture
def make(run_task: RunTask, url: str) -> Callable[..., Run]:
    def run(**parameters: Any) -> Run:
        return run_task(SentinelHubInputFeaturesOperator(**{"task_id": "features", "url": url, **parameters}))

    return run


def in_bucket(sim: Simulator, url: str) -> Path:
    return sim.bucket_folder / url.removeprefix(f"s3://{sim.ready.bucket}/")


def names(path: Path) -> set[str]:
    return {feature.name for feature in simulated.from_geopackage(path, {"width": 5, "height": 5}, None)}


def test_geometries_become_a_batch(
    make: Callable[..., Run], run_task: RunTask, sim: Simulator, comms: Any, url: str
) -> None:
    assert make(geometries=WKT, epsg="32632", resolution="60").state == "success"
    made = comms.xcoms["return_value"]
    assert made == {"url": url, "urls": [url], "features": 2, "layers": [32632]}
    body = request(sim.ready, input={"type": "geopackage", "features": {"s3": {"url": made["url"]}}})
    del body["processRequest"]["input"]["bounds"]
    batch = SentinelHubBatchProcessOperator(task_id="t", request=body, poll_interval=0.05)
    assert run_task(batch).state == "success"
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["delivered"]) == ("DONE", 2)


def test_a_retry_writes_the_same(make: Callable[..., Run], sim: Simulator, url: str) -> None:
    for _ in range(2):
        make(geometries=WKT, epsg=32632, resolution=60)
        first = in_bucket(sim, url).read_bytes()
    assert in_bucket(sim, url).read_bytes() == first


@pytest.mark.parametrize(
    ("geometries", "expected"),
    [
        (json.dumps(WKT), set(FIELDS)),
        (repr(WKT), set(FIELDS)),
        (json.dumps([*WKT.values()]), {"0000001", "0000002"}),
        (repr([*WKT.values()]), {"0000001", "0000002"}),
        (WKT["north"], {"0000001"}),
        (json.loads(shapely.to_geojson(FIELDS["north"])), {"0000001"}),
        (shapely.to_geojson(FIELDS["north"]), {"0000001"}),
        (json.dumps({"north": shapely.to_geojson(FIELDS["north"])}), {"north"}),
    ],
)
def test_what_a_template_made_text_of_is_read_back(
    make: Callable[..., Run], sim: Simulator, url: str, geometries: Any, expected: set[str]
) -> None:
    assert make(geometries=geometries, epsg=32632, resolution=60).state == "success"
    assert names(in_bucket(sim, url)) == expected


def test_one_shapely_geometry_is_a_list_of_one() -> None:
    (batch,) = from_geometries(FIELDS["north"], epsg=32632)
    assert batch.geometries.tolist() == [FIELDS["north"]]


def test_files_are_read_by_url(make: Callable[..., Run], sim: Simulator, url: str, tmp_path: Path, comms: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    described = {"encoding": "WKB", "crs": {"id": {"authority": "EPSG", "code": 32632}}}
    geo = json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": described}})
    sources = []
    for name, shape in FIELDS.items():
        table = pa.table({"field": [name], "geometry": [shape.wkb]}).replace_schema_metadata({"geo": geo})
        parquet.write_table(table, tmp_path / f"{name}.parquet")
        source = url.replace("fields.gpkg", f"{name}.parquet")
        open_buckets("aws_default", None).upload(tmp_path / f"{name}.parquet", source)
        sources.append(source)
    sources[1] = str(tmp_path / "south.parquet")
    assert make(source=repr(sources), columns='{"identifier": "field"}', width=10, height=10).state == "success"
    assert names(in_bucket(sim, url)) == set(FIELDS)
    assert make(source=sources, columns={"identifier": "field"}, width=10, height=10).state == "success"
    assert names(in_bucket(sim, url)) == set(FIELDS)


def test_a_missing_extra_is_named_before_anything_is_uploaded(
    make: Callable[..., Run], sim: Simulator, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lambert = {"geometries": ["POLYGON((700000 6600000, 701000 6600000, 701000 6601000, 700000 6600000))"]}
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyproj", None)
        run = make(**lambert, epsg=2154, resolution=60)
    assert run.state == "failed"
    assert "EPSG:2154 needs pyproj, which is not installed. Install it with: pip install 'airflow-p" in str(run.error)
    assert not in_bucket(sim, url).exists()
    assert make(**lambert, epsg=2154, resolution=60).state == "success"


def test_nothing_is_uploaded_that_the_service_would_refuse(make: Callable[..., Run], sim: Simulator, url: str) -> None:
    run = make(geometries={**WKT, "bowtie": BOWTIE, "point": "POINT(520000 4660000)"}, epsg=32632, width=5, height=5)
    assert run.state == "failed"
    assert str(run.error) == (
        "fields.gpkg, geometry = ['point (Point)']: 1 feature is neither POLYGON nor MULTIPOLYGON. Buffer points and "
        "lines, turn curves into lines, e.g. with ST_CurveToLine, or leave them out.\n"
        "fields.gpkg, geometry = ['bowtie (Self-intersection[520300 4660300])']: 1 feature is not valid. Repair them "
        "in a GIS, or have it done by SentinelHubInputFeaturesOperator with repair=True."
    )
    assert not in_bucket(sim, url).exists()


def test_what_can_be_mended_is(make: Callable[..., Run], sim: Simulator, url: str) -> None:
    geometries = [BOWTIE, BOWTIE]
    assert make(geometries=geometries, epsg=32632, width=5, height=5).state == "failed"
    assert make(geometries=geometries, epsg=32632, width=5, height=5, repair=True).state == "success"
    assert names(in_bucket(sim, url)) == {"0000001", "0000002"}


@pytest.mark.filterwarnings("ignore:Non closed ring detected")
def test_rings_are_closed_only_by_a_repair(
    make: Callable[..., Run], sim: Simulator, url: str, tmp_path: Path, database: Database
) -> None:
    ring = [*shapely.get_coordinates(FIELDS["north"])[:-1].tolist()]
    geojson = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {"identifier": "a"}, "geometry": geojson}
    (tmp_path / "open.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    text = f"POLYGON(({', '.join(f'{x} {y}' for x, y in ring)}))"
    with closing(database.get_conn()) as connection, connection:
        connection.execute("INSERT INTO parcels VALUES ('a', ?, 7)", [text])
    for given in (
        {"geometries": {"a": text}},
        {"geometries": {"a": geojson}},
        {"source": str(tmp_path / "open.geojson")},
        {"sql": "SELECT name AS identifier, shape AS wkt FROM parcels WHERE county = 7", "sql_conn_id": "parcels"},
    ):
        run = make(**given, epsg=32632, width=5, height=5)
        assert run.state == "failed"
        assert "1 with a ring that does not end where it begins: row 1 ('a'). Close the rings, or" in str(run.error)
        assert not in_bucket(sim, url).exists()
        assert make(**given, epsg=32632, width=5, height=5, repair=True).state == "success"
        (feature_made,) = simulated.from_geopackage(in_bucket(sim, url), {}, None)
        assert feature_made.geometry is not None
        assert feature_made.geometry.equals(FIELDS["north"])
        in_bucket(sim, url).unlink()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "source = []: exactly one of source, sql and geometries is needed. Give one of them."),
        ({"sql": "SELECT 1"}, "sql_conn_id = None: is needed with sql. Name the database's connection."),
        ({"geometries": WKT, "epsg": "UTM"}, "epsg = 'UTM': must be a whole number. Correct the operator's parameter."),
        (
            {"geometries": WKT, "epsg": 32632, "columns": {"identifier": "id"}},
            (
                "columns = {'identifier': 'id'}: geometries have no columns. Leave it out, and name features by a dict "
                'like {"name": geometry}.'
            ),
        ),
        ({"geometries": WKT, "width": 10.5}, "width = 10.5: must be a whole number. Correct the operator's parameter."),
        (
            {"geometries": "['POLYGON", "epsg": 4326},
            (
                'geometries = "[\'POLYGON": cannot be read as geometries. Give a dict of them by name, a list, or one, '
                "as WKT or GeoJSON."
            ),
        ),
        (
            {"geometries": '{"type": "FeatureCollection", "features": []}'},
            "geometries = 0: it has no features. Check the file or the query.",
        ),
        (
            {"geometries": {"type": "FeatureCollection"}},
            ("geometries = {'type': 'FeatureCollection'}: has no list of features. Write it as in RFC 7946."),
        ),
        (
            {"geometries": 12, "epsg": 4326},
            "geometries = 12: must be geometries. Give a dict of them by name, a list, or one.",
        ),
        (
            {"source": "s3://bucket/x.parquet", "columns": "field_id"},
            'columns = \'field_id\': must be a dict of names. Write e.g. columns={"identifier": "field_id"}.',
        ),
        (
            {"source": {"url": "s3://bucket/x.parquet"}},
            (
                "source = {'url': 's3://bucket/x.parquet'}: must be the URL of a file, or a list of them. Write e.g. "
                "s3://bucket/a.gpkg."
            ),
        ),
        (
            {"sql": "SELECT 1", "sql_conn_id": "parcels", "parameters": "2026"},
            "parameters = '2026': must be a list or a dict, as the query needs. Write e.g. parameters=[2026].",
        ),
        (
            {"geometries": {}},
            "geometries = 0: it has no features. Check the file or the query.",
        ),
        (
            {"geometries": {"a": 5, "b": WKT["north"], "c": True, "d": "POINT of mine"}, "epsg": 32632},
            (
                "geometry = 5: the mapping holds 3 that cannot be read: row 1 ('a'): 5 is not a geometry; row 3 ('c'): "
                "True is not a geometry; row 4 ('d'): 'POINT of mine' is neither WKB nor WKT. Repair them, or leave "
                "them "
                "out."
            ),
        ),
        (
            {"source": "fields.geojson"},
            (
                "source = 'fields.geojson': must be a URL (s3://, gs:// or file:///) or an absolute path. Write e.g. "
                "s3://bucket/a.gpkg or /folder/a.gpkg."
            ),
        ),
        (
            {"source": "file://fields.geojson"},
            "source = 'file://fields.geojson': must be an absolute path. Write file:/// and the path.",
        ),
        (
            {"geometries": WKT, "epsg": 32632, "url": None},
            (
                "url = None: must be a URL. Give it as text; where another task's result or a template gives it, look "
                "there."
            ),
        ),
        (
            {"geometries": WKT, "epsg": 32632, "url": "s3://bucket/fields"},
            "url = 's3://bucket/fields': must end in .gpkg. Write e.g. s3://bucket/input/fields.gpkg.",
        ),
        (
            {"source": "s3://bucket/x.parquet", "columns": {"n": "field"}},
            f"columns = ['n']: are not keys of columns. Choose from {', '.join(COLUMNS)}.",
        ),
        (
            {"source": "gs://bucket/x.parquet"},
            "gcp_conn_id is needed to reach the bucket. Set it to the id of a connection.",
        ),
    ],
)
def test_wrong_parameters_are_named(make: Callable[..., Run], parameters: dict[str, Any], message: str) -> None:
    # Some are known when the DAG is parsed.
    with pytest.raises((InvalidParameter, AirflowFailException)) as refused:
        raise make(**parameters).error  # type: ignore[misc]  # an exception, for it failed
    assert str(refused.value) == message


def test_what_is_not_there_is_not_tried_again(
    make: Callable[..., Run], sim: Simulator, url: str, tmp_path: Path
) -> None:
    missing = url.replace("fields.gpkg", "none.parquet")
    nowhere = "s3://no-such-bucket/fields.gpkg"
    for given, field, value, rule in (
        ({"source": missing}, "source", missing, "there is no such object"),
        ({"source": str(tmp_path / "none.gpkg")}, "source", str(tmp_path / "none.gpkg"), "there is no such object"),
        ({"source": nowhere}, "source", nowhere, "there is no such bucket"),
        (
            {"geometries": WKT, "epsg": 32632, "resolution": 60, "url": nowhere},
            "url",
            nowhere,
            "there is no such bucket",
        ),
    ):
        run = make(**given)
        assert (run.state, str(run.error).partition(". ")[0]) == ("failed", f"{field} = {value!r}: {rule}")
        cause = run.error.__cause__ if run.error else None
        assert isinstance(cause, InvalidParameter)
        assert (cause.__cause__, cause.__suppress_context__) == (None, True)


class Database:
    """What a provider's hook of a database is to its users: something that connects."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get_conn(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=0)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database with 25,000 parcels, and a connection to it; its provider is not installed here."""
    from airflow.sdk import BaseHook

    found = Database(tmp_path / "parcels.sqlite")
    with closing(found.get_conn()) as connection, connection:
        connection.execute("CREATE TABLE parcels (name TEXT, shape TEXT, county INTEGER)")
        rows = ((f"p{n}", FIELDS["north"].wkb_hex, n % 2) for n in range(25_000))
        connection.executemany("INSERT INTO parcels VALUES (?, ?, ?)", rows)
    hooks = {"parcels": found, "http": object(), "service": Service()}
    monkeypatch.setattr(BaseHook, "get_hook", lambda conn_id: hooks[conn_id])
    return found


def test_a_query_is_read_row_by_row(
    make: Callable[..., Run], sim: Simulator, url: str, comms: Any, database: Database
) -> None:
    run = make(
        sql="SELECT name, shape FROM parcels WHERE county = ?",
        parameters=[1],
        sql_conn_id="parcels",
        columns={"identifier": "name", "geometry": "shape"},
        epsg=32632,
        resolution=60,
    )
    assert run.state == "success"
    assert comms.xcoms["return_value"]["features"] == 12_500
    with closing(sqlite3.connect(in_bucket(sim, url))) as made:
        assert made.execute("SELECT max(identifier) FROM features_32632").fetchone() == ("p9999",)


def test_a_statement_without_rows_is_no_source(database: Database) -> None:
    with pytest.raises(InvalidParameter, match="returns no rows"):
        list(from_sql("DELETE FROM parcels", "parcels", columns=Columns()))


class Service:
    """What a hook of something else may be: it connects, but to no database."""

    def get_conn(self) -> object:
        return object()


DATABASE = "Name one of a database, e.g. of type postgres, whose Airflow provider is installed."
QUERY = "Correct the query, or its parameters."


@pytest.mark.parametrize(
    ("sql", "conn_id", "rule", "fix"),
    [
        ("SELECT 1", "http", "is not the connection of a database", DATABASE),
        ("SELECT 1", "service", "is not the connection of a database", DATABASE),
        ("SELEC name", "parcels", 'the database rejects it (near "SELEC": syntax error)', QUERY),
        ("SELECT title FROM parcels", "parcels", "the database rejects it (no such column: title)", QUERY),
        (
            "SELECT name FROM parcels WHERE county = ?",
            "parcels",
            (
                "the database rejects it (Incorrect number of bindings supplied. The current statement uses 1, and "
                "there are 0 supplied)"
            ),
            QUERY,
        ),
    ],
)
def test_what_is_wrong_with_a_query_is_named(database: Database, sql: str, conn_id: str, rule: str, fix: str) -> None:
    with pytest.raises(InvalidParameter) as found:
        list(from_sql(sql, conn_id, columns=Columns()))
    named = f"sql = {sql!r}" if fix == QUERY else f"sql_conn_id = {conn_id!r}"
    assert str(found.value) == f"{named}: {rule}. {fix}"


def test_a_database_in_trouble_is_tried_again(database: Database) -> None:
    with closing(database.get_conn()) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            list(from_sql("SELECT shape FROM parcels", "parcels", columns=Columns(), epsg=32632))


@pytest.mark.parametrize(
    ("uri", "rule"),
    [
        (None, "there is no such connection. Add it, or name another one."),
        (
            "nothing://localhost",
            f'its provider is not installed, or cannot be used (Unknown hook type "nothing"). {DATABASE}',
        ),
        ("http://localhost", f"is not the connection of a database. {DATABASE}"),
    ],
)
def test_what_is_wrong_with_a_connection_is_named(
    make: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, uri: str | None, rule: str
) -> None:
    if uri:
        monkeypatch.setenv("AIRFLOW_CONN_FIELDS_DB", uri)
    run = make(sql="SELECT 1", sql_conn_id="fields_db")
    assert (run.state, str(run.error)) == ("failed", f"sql_conn_id = 'fields_db': {rule}")


def test_the_file_of_a_request_is_checked(sim: Simulator, url: str) -> None:
    storage = open_buckets("aws_default", None)
    body = request(sim.ready, input={"type": "geopackage", "features": {"s3": {"url": url}}})
    with pytest.raises(InvalidParameter, match=r"input\.features\.s3\.url = .*: there is no such object"):
        check_input(BATCH_V2, storage, body)
    with pytest.raises(InvalidParameter, match="2 features have neither width and height nor resolution"):
        make_input(from_geometries(WKT, epsg=32632), url, storage=open_buckets("aws_default", None))
    make_input(from_geometries(WKT, epsg=32632), url, storage=open_buckets("aws_default", None), size=Size(10, 10))
    check_input(BATCH_V2, storage, body)
    with closing(sqlite3.connect(in_bucket(sim, url))) as database, database:
        database.execute("UPDATE features_32632 SET width = NULL, height = NULL")
    with pytest.raises(
        InvalidParameter, match=r"fields\.gpkg, size = .*: 2 features have neither.* check_features=False"
    ):
        check_input(BATCH_V2, storage, body)
    check_input(BATCH_V2, storage, {**body, "input": {**body["input"], "defaults": {"resolution": 60}}})
    check_input(BATCH_V2, storage, request(sim.ready))


def shapefile(folder: Path, name: str) -> Path:
    import numpy as np
    import pyogrio  # type: ignore[import-untyped,unused-ignore]

    geometries, fields = np.array([shape.wkb for shape in FIELDS.values()]), [np.array([*FIELDS], dtype=object)]
    more = {"geometry_type": "Polygon", "driver": "ESRI Shapefile", "crs": "EPSG:32632"}
    pyogrio.raw.write(folder / f"{name}.shp", geometries, fields, ["identifier"], **more)
    return folder / f"{name}.shp"


@pytest.mark.parametrize("ending", [".shp", ".SHP"])
def test_what_belongs_to_a_shapefile_is_found_in_capital_letters_too(tmp_path: Path, ending: str) -> None:
    for path in tmp_path.glob(f"{shapefile(tmp_path, 'fields').stem}.*"):
        path.rename(path.with_suffix(ending if path.suffix == ".shp" else path.suffix.upper()))
    (batch,) = from_urls(
        [str(tmp_path / f"fields{ending}")], storage=open_buckets("aws_default", None), columns=Columns()
    )
    assert (batch.epsg, batch.identifiers) == (32632, [*FIELDS])


def test_a_shapefile_without_its_index_is_named(tmp_path: Path) -> None:
    path = shapefile(tmp_path, "fields")
    path.with_suffix(".shx").unlink()
    with pytest.raises(InvalidParameter, match=r"has no \.shx file, .*Put its \.shx file into"):
        list(from_urls([str(path)], storage=Storage(), columns=Columns()))
