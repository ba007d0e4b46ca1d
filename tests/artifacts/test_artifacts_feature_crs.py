"""Who says in which coordinate reference system features are, and what happens where two say differently."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyogrio  # type: ignore[import-untyped,unused-ignore]
import pytest
import shapely

from airflow_provider_sentinelhub.artifacts.features.features import Columns
from airflow_provider_sentinelhub.artifacts.features.sources import from_file, from_geometries, from_rows
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOX = shapely.box(500_000, 4_600_000, 500_500, 4_600_250)
UTM = "urn:ogc:def:crs:EPSG::32632"
CRS84 = "urn:ogc:def:crs:OGC:1.3:CRS84"
PROJJSON = {"id": {"authority": "EPSG", "code": 32632}}

pytestmark = pytest.mark.filterwarnings("ignore:'crs' was not provided")


def of_gdal(folder: Path, name: str, driver: str, crs: str | None) -> Path:
    pyogrio.raw.write(
        folder / name,
        np.array([BOX.wkb], dtype=object),
        [np.array([12])],
        ["number"],
        geometry_type="Polygon",
        crs=crs,
        driver=driver,
    )
    return folder / name


def geojson(folder: Path, crs: str | None) -> Path:
    member = {} if crs is None else {"crs": {"type": "name", "properties": {"name": crs}}}
    properties = {"crs": "none", "more": {"crs": {"name": "none"}}}
    feature = {"type": "Feature", "properties": properties, "geometry": json.loads(shapely.to_geojson(BOX))}
    # At the end, where it may be as well.
    document = {"type": "FeatureCollection", "features": [feature], **member}
    (folder / "a.geojson").write_text(json.dumps(document, indent=1))
    return folder / "a.geojson"


def geoparquet(folder: Path, **described: Any) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    column = {"encoding": "WKB", **described}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    table = pa.table({"geometry": [BOX.wkb]}).replace_schema_metadata({"geo": json.dumps(geo)})
    parquet.write_table(table, folder / "a.parquet")
    return folder / "a.parquet"


DECLARED = {
    "GeoPackage": lambda folder: of_gdal(folder, "a.gpkg", "GPKG", "EPSG:32632"),
    "GeoParquet": lambda folder: geoparquet(folder, crs=PROJJSON),
    "GeoJSON": lambda folder: geojson(folder, UTM),
    "Shapefile": lambda folder: of_gdal(folder, "a.shp", "ESRI Shapefile", "EPSG:32632"),
    "FlatGeobuf": lambda folder: of_gdal(folder, "a.fgb", "FlatGeobuf", "EPSG:32632"),
}
WGS84 = {
    "GeoParquet": lambda folder: geoparquet(folder, crs={"id": {"authority": "OGC", "code": "CRS84"}}),
    "GeoJSON": lambda folder: geojson(folder, CRS84),
    "GeoPackage": lambda folder: of_gdal(folder, "a.gpkg", "GPKG", "EPSG:4979"),
}
UNKNOWN = {
    "GeoPackage": lambda folder: of_gdal(folder, "a.gpkg", "GPKG", None),
    "GeoParquet": lambda folder: geoparquet(folder, crs=None),
    "GeoParquet without": geoparquet,
    "GeoParquet with a CRS of somebody's own": lambda folder: geoparquet(folder, crs={"name": "mine"}),
    "early GeoParquet": lambda folder: geoparquet(folder, crs="PROJCRS[...]"),
    "GeoJSON": lambda folder: geojson(folder, None),
    "Shapefile": lambda folder: of_gdal(folder, "a.shp", "ESRI Shapefile", None),
}


def system(path: Path, epsg: int | None) -> int:
    (batch,) = from_file(path, epsg=epsg)
    assert batch.geometries[0].equals(BOX)
    return batch.epsg


@pytest.mark.parametrize("make", DECLARED.values(), ids=DECLARED)
def test_what_a_file_says_cannot_be_overridden(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    assert (system(path, None), system(path, 32632)) == (32632, 32632)
    with pytest.raises(InvalidParameter, match=r"^epsg = 32633: a\..* says that its coordinates are in EPSG:32632\. "):
        list(from_file(path, epsg=32633))


@pytest.mark.parametrize("make", WGS84.values(), ids=WGS84)
def test_longitude_and_latitude_are_one_system_whatever_they_are_called(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    assert {system(path, epsg) for epsg in (None, 4326, 4979)} == {4326}
    with pytest.raises(InvalidParameter, match=r"^epsg = 32633: .* EPSG:4326\. "):
        list(from_file(path, epsg=32633))


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
def test_where_a_file_says_nothing_the_user_does(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    assert system(make(tmp_path), 32633) == 32633


def test_every_layer_is_compared(tmp_path: Path) -> None:
    path = of_gdal(tmp_path, "a.gpkg", "GPKG", "EPSG:32632")
    more: dict[str, Any] = {"layer": "b", "append": True, "geometry_type": "Polygon", "driver": "GPKG"}
    pyogrio.raw.write(path, np.array([BOX.wkb], dtype=object), [np.array([1])], ["number"], crs="EPSG:32633", **more)
    with pytest.raises(InvalidParameter, match=r"^epsg = 32632: a\.gpkg, layer 'b' says .* EPSG:32633\. "):
        list(from_file(path, epsg=32632))
    (batch,) = from_file(path, epsg=32633, layer="b")
    assert batch.epsg == 32633


@pytest.mark.parametrize("srid", [32632, 4979])
def test_what_a_geometry_says_cannot_be_overridden(srid: int) -> None:
    given = {"plain": BOX.wkb, "ewkb": shapely.to_wkb(shapely.set_srid(BOX, srid), include_srid=True)}
    same = 4326 if srid == 4979 else srid
    (batch,) = from_geometries(given, epsg=same)
    assert (batch.epsg, len(batch.geometries)) == (same, 2)
    with pytest.raises(
        InvalidParameter, match=rf"^epsg = 32633: row 2 \('ewkb'\) of the mapping says .* EPSG:{same}\. "
    ):
        list(from_geometries(given, epsg=32633))


def own(crs: object) -> dict[str, Any]:
    return {**json.loads(shapely.to_geojson(BOX)), "crs": crs}


def named(name: str) -> dict[str, Any]:
    return {"type": "name", "properties": {"name": name}}


LINK = {"type": "link", "properties": {"href": "http://127.0.0.1:1/crs/32632", "type": "proj4"}}
MEMBERS = [
    named(UTM),
    named("urn:ogc:def:crs:EPSG:9.9:32632"),
    named("EPSG:32632"),
    named("http://www.opengis.net/def/crs/EPSG/0/32632"),
    {"type": "EPSG", "properties": {"code": 32632}},
]


def in_memory(folder: Path, geometry: dict[str, Any], epsg: int | None) -> Any:
    return from_geometries([geometry], epsg=epsg)


def of_a_feature(folder: Path, geometry: dict[str, Any], epsg: int | None) -> Any:
    crs = geometry.pop("crs")
    return from_geometries([{"type": "Feature", "properties": {}, "geometry": geometry, "crs": crs}], epsg=epsg)


def of_a_collection(folder: Path, geometry: dict[str, Any], epsg: int | None) -> Any:
    crs = geometry.pop("crs")
    feature = {"type": "Feature", "properties": None, "geometry": geometry}
    return from_geometries({"type": "FeatureCollection", "features": [feature], "crs": crs}, epsg=epsg)


def in_parquet(folder: Path, geometry: dict[str, Any], epsg: int | None) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"geometry": [json.dumps(geometry)]}), folder / "a.parquet")
    return from_file(folder / "a.parquet", epsg=epsg)


def in_csv(folder: Path, geometry: dict[str, Any], epsg: int | None) -> Any:
    text = json.dumps(geometry).replace('"', '""')
    (folder / "a.csv").write_text(f'identifier,geometry\na,"{text}"\n')
    return from_file(folder / "a.csv", epsg=epsg)


def in_a_file(folder: Path, geometry: dict[str, Any], epsg: int | None) -> Any:
    feature = {"type": "Feature", "properties": {"crs": {"name": "none"}}, "geometry": geometry}
    (folder / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return from_file(folder / "a.geojson", epsg=epsg)


PLACES = [in_memory, of_a_feature, of_a_collection, in_parquet, in_csv, in_a_file]


@pytest.mark.parametrize("place", PLACES)
def test_what_geojson_says_itself_cannot_be_overridden(tmp_path: Path, place: Callable[..., Any]) -> None:
    for epsg in (None, 32632):
        (batch,) = place(tmp_path, own(named(UTM)), epsg)
        assert (batch.epsg, batch.geometries[0]) == (32632, BOX)
    with pytest.raises(InvalidParameter, match=r"^epsg = 32633: .* says that its coordinates are in EPSG:32632\. "):
        list(place(tmp_path, own(named(UTM)), 32633))
    (batch,) = place(tmp_path, own(None), 32633)
    assert batch.epsg == 32633


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_a_crs_of_geojson_has_many_names(tmp_path: Path, member: dict[str, Any]) -> None:
    for place in (in_memory, in_a_file):
        (batch,) = place(tmp_path, own(member), None)
        assert batch.epsg == 32632


def test_a_crs_of_a_file_that_is_a_text_is_read_and_a_property_is_none(tmp_path: Path) -> None:
    path, geometry = tmp_path / "a.geojson", json.loads(shapely.to_geojson(BOX))
    features = {"features": [{"type": "Feature", "properties": {"crs": "EPSG:32633"}, "geometry": geometry}]}
    first, last = {"type": "FeatureCollection"}, {"crs": "EPSG:32632"}
    for document in ({**first, **last, **features}, {**first, **features, **last, "name": "a"}, {**geometry, **last}):
        for text in (json.dumps(document), json.dumps(document, indent=1)):
            path.write_text(text, encoding="utf-8")
            assert [batch.epsg for batch in from_file(path)] == [32632]
    for document in ({**first, **features}, {**first, "crs": "of the cadastre", **features}):
        path.write_text(json.dumps(document), encoding="utf-8")
        assert [batch.epsg for batch in from_file(path)] == [4326]
    features["features"][0]["geometry"] = {**geometry, "crs": named("EPSG:32633")}
    path.write_text(json.dumps({**first, **last, **features}), encoding="utf-8")
    with pytest.raises(InvalidParameter, match="several coordinate reference systems: EPSG:32632, EPSG:32633"):
        list(from_file(path))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("epsg", [None, 32632])
def test_a_link_is_not_followed_and_not_passed_over(
    tmp_path: Path, place: Callable[..., Any], epsg: int | None
) -> None:
    said = r"has a crs of type link, and a link is not followed\. Write it as"
    with pytest.raises(InvalidParameter, match=said) as refused:
        list(place(tmp_path, own(LINK), epsg))
    assert ".." not in str(refused.value).replace("...", "")


@pytest.mark.parametrize("place", PLACES)
def test_a_name_without_a_code_needs_one(tmp_path: Path, place: Callable[..., Any]) -> None:
    # GDAL takes this name for WGS 84.
    for member in (named("WGS 84 / UTM zone 32N"), named("ESRI:54009"), {"type": "name", "properties": {}}):
        (batch,) = place(tmp_path, own(member), 32632)
        assert batch.epsg == 32632
        with pytest.raises(InvalidParameter, match="does not say which coordinate reference system it is in"):
            list(place(tmp_path, own(member), None))


def test_ewkt_in_a_csv_is_as_good_as_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'identifier,WKT,width\na,"SRID=32632;{BOX.wkt}",7\n')
    (batch,) = from_file(tmp_path / "a.csv")
    assert (batch.epsg, batch.identifiers, batch.widths) == (32632, ["a"], ["7"])
    with pytest.raises(InvalidParameter, match=r"^epsg = 32633: row 1 \('a'\) of a\.csv, .* EPSG:32632\."):
        list(from_file(tmp_path / "a.csv", epsg=32633))


def test_a_column_of_codes_comes_first() -> None:
    rows = [(BOX.wkt, 32631), (f"SRID=32632;{BOX.wkt}", 32633), (f"SRID=32634;{BOX.wkt}", None), (BOX.wkt, 0)]
    batches = from_rows(rows, ("geom", "srid"), columns=Columns(epsg="srid"), epsg=32634)
    assert [(batch.epsg, len(batch.geometries)) for batch in batches] == [(32631, 1), (32633, 1), (32634, 2)]


@pytest.mark.parametrize("code", [32633, 32633.0, "32633", "32633.0", "EPSG:32633", " epsg:32633 "])
def test_a_column_of_codes_may_be_text(code: Any) -> None:
    rows = [(BOX.wkt, code), (BOX.wkt, ""), (BOX.wkt, float("nan"))]
    batches = from_rows(rows, ("geom", "srid"), columns=Columns(epsg="srid"), epsg=32632)
    assert [(batch.epsg, len(batch.geometries)) for batch in batches] == [(32632, 2), (32633, 1)]


def test_what_is_no_code_is_not_passed_over() -> None:
    rows = [(BOX.wkt, 32632), (BOX.wkt, "Gauss-Krüger")]
    with pytest.raises(InvalidParameter, match=r"^columns\.epsg = 'Gauss-Krüger': row 2 of the source has this"):
        list(from_rows(rows, ("geom", "srid"), columns=Columns(epsg="srid"), epsg=32632))
