"""Files that cannot be used as input features, each made for real."""

from __future__ import annotations

import json
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

import shapely

from airflow_provider_sentinelhub.artifacts.features.check import check_geopackage, check_names_across
from airflow_provider_sentinelhub.artifacts.features.features import Columns
from airflow_provider_sentinelhub.artifacts.features.problems import error_of
from airflow_provider_sentinelhub.artifacts.features.repair import repair_geopackages
from airflow_provider_sentinelhub.artifacts.features.sources import from_file, from_geometries
from airflow_provider_sentinelhub.artifacts.features.writer import Size, write_geopackages
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import add_layer, finish_layer, new_geopackage
from airflow_provider_sentinelhub.simulator.bucket.geopackage import blob
from tests.bad_inputs import BadInput

if TYPE_CHECKING:
    from pathlib import Path

BOX = shapely.box(500_000, 4_600_000, 500_500, 4_600_500)
BOWTIE = shapely.Polygon(
    [(500_000, 4_600_000), (500_500, 4_600_500), (500_500, 4_600_000), (500_000, 4_600_500), (500_000, 4_600_000)]
)
# A CURVEPOLYGON of one CIRCULARSTRING with three points.
CURVES = struct.pack("<BII", 1, 10, 1) + struct.pack("<BII6d", 1, 8, 3, *(500_000, 4_600_000) * 3)
COLUMNS = Columns(identifier="parcel")
OWN_CRS = {
    **json.loads(shapely.to_geojson(BOX)),
    "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}},
}
CRS84 = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
LINK = {"type": "link", "properties": {"href": "https://example.com/crs/32632", "type": "proj4"}}
Row = tuple[Any, ...]
Change = Callable[[sqlite3.Connection], object]


def good(number: int = 1, name: str = "a", **more: Any) -> Row:
    given = {"width": 10, "height": 10, "resolution": None, "geometry": blob(BOX, 32632), **more}
    return (number, name, given["width"], given["height"], given["resolution"], given["geometry"])


def write(path: Path, *rows: Row, epsg: int = 32632, change: Change | None = None) -> Path:
    with new_geopackage(path) as connection:
        layer = add_layer(connection, epsg)
        connection.executemany(layer.insert, rows)
        finish_layer(connection, layer, None)
        if change:
            change(connection)
    return path


def check(path: Path, defaults: Size | None = None) -> None:
    if problems := check_geopackage(path, defaults=defaults):
        raise error_of(path, problems)


def checked(*rows: Row, epsg: int = 32632, change: Change | None = None) -> Callable[[Path], None]:
    return lambda folder: check(write(folder / "fields.gpkg", *rows, epsg=epsg, change=change))


def sql(*statements: str) -> Change:
    return lambda connection: [connection.execute(statement) for statement in statements]


def read(path: Path, **more: Any) -> None:
    for file in write_geopackages(from_file(path, **more), path.with_name("out.gpkg"), size=Size(5, 5)):
        check(file.path)


def wkt(*texts: str, epsg: int | None = None) -> Callable[[Path], None]:
    def use(folder: Path) -> None:
        write_geopackages(from_geometries(texts, epsg=epsg), folder / "out.gpkg")

    return use


def geoparquet(path: Path, metadata: dict[str, Any] | None, **columns: list[Any]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table(columns)
    if metadata is not None:
        table = table.replace_schema_metadata({"geo": json.dumps(metadata)})
    parquet.write_table(table, path)
    return path


def geo(**column: Any) -> dict[str, Any]:
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", **column}}}


def cut_off(folder: Path) -> None:
    path = write(folder / "fields.gpkg", good())
    path.write_bytes(path.read_bytes()[:-5000])
    check(path)


def written(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def in_wal_mode(folder: Path) -> None:
    path = write(folder / "fields.gpkg", good())
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
    check(path)


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


def with_columns(folder: Path) -> None:
    write_geopackages(from_geometries([BOX], columns=COLUMNS, epsg=32632), folder / "out.gpkg")


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def two_files(folder: Path) -> None:
    paths = [write(folder / "north.gpkg", good()), write(folder / "south.gpkg", good(), good(2, "b"))]
    if problems := check_names_across(paths):
        raise error_of(paths[-1], problems)


def hopeless_repair(folder: Path) -> None:
    rows = [good(), good(2, "a"), good(3, "line", geometry=blob(shapely.LineString([(0, 0), (900, 900)]), 32632))]
    repair_geopackages([write(folder / "fields.gpkg", *rows)], folder / "mended.gpkg")


def no_tables(folder: Path) -> None:
    path = folder / "fields.gpkg"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE parcels (id INTEGER PRIMARY KEY)")
    check(path)


def unclosed() -> bytes:
    whole = blob(BOX, 32632)
    # One point less than the ring had, and so not the first one again.
    points = whole.index((5).to_bytes(4, "little"), 40)
    return whole[:points] + (4).to_bytes(4, "little") + whole[points + 4 : -16]


FILES: list[BadInput] = [
    BadInput(
        "a file that does not exist",
        "fields.gpkg, file = ['there is no such file']: cannot be read as a GeoPackage. Write it again, or choose "
        "another file.",
        lambda folder: check(folder / "fields.gpkg"),
    ),
    BadInput(
        "a folder",
        "fields.gpkg, file = ['it is a folder']: cannot be read as a GeoPackage. Write it again, or choose another "
        "file.",
        lambda folder: check(made(folder / "fields.gpkg")),
    ),
    BadInput(
        "an empty file",
        "fields.gpkg, file = ['it is empty']: cannot be read as a GeoPackage. Write it again, or choose another file.",
        lambda folder: check(written(folder, "fields.gpkg", b"")),
    ),
    BadInput(
        "a GeoJSON with the ending of a GeoPackage",
        "fields.gpkg, file = ['it starts with b\\'{\"type\": \"Featur\\', so it is not an SQLite file']: cannot "
        "be read as a GeoPackage. Write it again, or choose another file.",
        lambda folder: check(written(folder, "fields.gpkg", b'{"type": "FeatureCollection", "features": []}')),
    ),
    BadInput(
        "a truncated download",
        "fields.gpkg, file = ['it has 158840 bytes where its header promises 163840']: cannot be read as a "
        "GeoPackage. Write it again, or choose another file.",
        cut_off,
    ),
    BadInput(
        "a SQLite file that is not a GeoPackage",
        "fields.gpkg, layers = 0: no feature table is registered in gpkg_geometry_columns. Write it with a "
        "GIS, or with SentinelHubInputFeaturesOperator.",
        no_tables,
    ),
    BadInput(
        "a GeoPackage that a GIS may hold changes of",
        "fields.gpkg, file = ['its header says so']: is in SQLite's WAL mode, so its latest changes may be missing: "
        "until a program closes it, they are in a -wal file beside it, which the service does not read. Close it "
        "in the GIS, or run PRAGMA journal_mode=DELETE on it, and upload it again.",
        in_wal_mode,
    ),
    BadInput(
        "a layer without features",
        "fields.gpkg, features = 0: there are none. Check the source of the file.",
        checked(),
    ),
    BadInput(
        "a custom coordinate reference system",
        "fields.gpkg, coordinate reference system = [\"layer 'features_32632': ESRI:32632\"]: 1 layer has none "
        "with an EPSG code. Assign one in a GIS, or write the file again and give its code.",
        checked(good(), change=sql("UPDATE gpkg_spatial_ref_sys SET organization = 'ESRI' WHERE srs_id = 32632")),
    ),
    BadInput(
        "a coordinate reference system the service does not know",
        "fields.gpkg, coordinate reference system = [\"layer 'features_31287': EPSG:31287\"]: 1 layer has one "
        "the service does not know. Reproject to EPSG:4326, EPSG:3857, EPSG:3035, a UTM zone (EPSG:326xx, "
        "EPSG:327xx) or another one it knows.",
        checked(good(geometry=blob(BOX, 31287)), epsg=31287),
    ),
    BadInput(
        "no column identifier",
        "fields.gpkg, identifier = [\"layer 'features_32632' has id, name, width, height, resolution, "
        'geometry"]: 1 layer lacks a column identifier. Add it, or have it done by '
        "SentinelHubInputFeaturesOperator: with columns={'identifier': ...} it takes the names from another column, "
        "without it the features are numbered.",
        checked(
            good(),
            change=sql("DROP INDEX features_32632_identifier", "ALTER TABLE features_32632 RENAME identifier TO name"),
        ),
    ),
    BadInput(
        "no column id",
        "fields.gpkg, id = [\"layer 'features_32632'\"]: 1 layer lacks a column id with a different integer in "
        "each row. Add it, or have it done by SentinelHubInputFeaturesOperator.",
        checked(good(), change=sql("ALTER TABLE features_32632 RENAME id TO fid")),
    ),
    BadInput(
        "a registered geometry column that does not exist",
        "fields.gpkg, geometry = [\"layer 'features_32632' has id, identifier, width, height, resolution, "
        'geometry"]: 1 layer lacks the table or column registered for it. Write the file again.',
        checked(good(), change=sql("UPDATE gpkg_geometry_columns SET column_name = 'geom'")),
    ),
    BadInput(
        "a registered table that does not exist",
        "fields.gpkg, features = 0: there are none. Check the source of the file.\n"
        "fields.gpkg, geometry = [\"table 'features_32632' does not exist\"]: 1 layer lacks the table or "
        "column registered for it. Write the file again.",
        checked(good(), change=sql("DROP TABLE features_32632")),
    ),
    BadInput(
        "a feature without a name",
        "fields.gpkg, identifier = [\"row 2 of 'features_32632'\"]: 1 feature has none. Name them, or have it "
        "done by SentinelHubInputFeaturesOperator with repair=True: then they are numbered.",
        checked(good(), good(2, "")),
    ),
    BadInput(
        "a name that is not UTF-8",
        "fields.gpkg, identifier = ['P\ufffd\ufffd']: 1 feature has one that is not in UTF-8, so a reader may take "
        "it for another's. Write the file again with its text in UTF-8.",
        checked(
            good(),
            good(2, "b"),
            change=sql("UPDATE features_32632 SET identifier = CAST(x'50f8ed' AS TEXT) WHERE id = 2"),
        ),
    ),
    BadInput(
        "names that cannot be part of a path",
        "fields.gpkg, identifier = ['..', 'a/b', '<tileName>']: 3 features have one that cannot be in the output's "
        "path: . or .., more than 200 characters, or with / \\ < > ? # or a control character. Rename them, or have "
        "it done by SentinelHubInputFeaturesOperator with repair=True: then the characters are replaced.",
        checked(good(1, ".."), good(2, "a/b"), good(3, "<tileName>")),
    ),
    BadInput(
        "two features with the same name",
        "fields.gpkg, identifier = ['a (2 times)']: 1 name is used more than once, over all layers, and the "
        "output of one feature would replace the other's. Make them differ, or have it done by "
        "SentinelHubInputFeaturesOperator with repair=True: "
        "then a number is added.",
        checked(good(), good(2, "b"), good(3, "a")),
    ),
    BadInput(
        "the same name in two layers",
        "fields.gpkg, identifier = ['b (2 times)']: 1 name is used more than once, over all layers, and the "
        "output of one feature would replace the other's. Make them differ, or have it done by "
        "SentinelHubInputFeaturesOperator with repair=True: "
        "then a number is added.",
        checked(
            good(1, "b"),
            change=lambda connection: connection.execute(add_layer(connection, 32633).insert, good(1, "b")),
        ),
    ),
    BadInput(
        "the same name in two files for one place",
        "south.gpkg, identifier = ['a (2 times)']: 1 name is used more than once, over all layers, and the "
        "output of one feature would replace the other's. Make them differ, or have it done by "
        "SentinelHubInputFeaturesOperator with repair=True: "
        "then a number is added.",
        two_files,
    ),
    BadInput(
        "no size",
        "fields.gpkg, size = ['b']: 1 feature has neither width and height nor resolution, and there is no "
        "default. Add the columns, or give width and height, or a resolution, for all.",
        checked(good(), good(2, "b", width=None, height=None)),
    ),
    BadInput(
        "a width without a height",
        "fields.gpkg, size = ['a']: 1 feature has a width without a height, or the reverse. Give both, or a "
        "resolution instead.",
        checked(good(height=None)),
    ),
    BadInput(
        "a width of zero",
        "fields.gpkg, size = ['a', 'b']: 2 features have a width or height that is not a whole number above 0. "
        "Correct it, or leave out both and give a resolution.",
        checked(good(width=0), good(2, "b", height=12.5)),
    ),
    BadInput(
        "a negative resolution",
        "fields.gpkg, resolution = ['a']: 1 feature has one that is not a number above 0. Correct it, or give "
        "width and height.",
        checked(good(width=None, height=None, resolution=-10.0)),
    ),
    BadInput(
        "a resolution that is text",
        "fields.gpkg, resolution = ['b']: 1 feature has one that is not a number above 0. Correct it, or give width "
        "and height.",
        checked(
            good(width=None, height=None, resolution=10.0), good(2, "b", width=None, height=None, resolution="10 m")
        ),
    ),
    BadInput(
        "too many pixels",
        "fields.gpkg, size = ['a', 'b']: 2 features have more than 3500 x 3500 pixels. Cut them into parts, or "
        "choose a coarser resolution; its unit is that of the CRS, degrees in EPSG:4326.",
        checked(good(width=3501), good(2, "b", height=9000)),
    ),
    BadInput(
        "too fine a resolution",
        "fields.gpkg, size = ['a (5000 x 5000)']: 1 feature has more than 3500 x 3500 pixels. Cut them into "
        "parts, or choose a coarser resolution; its unit is that of the CRS, degrees in EPSG:4326.",
        checked(good(width=None, height=None, resolution=0.1)),
    ),
    BadInput(
        "a resolution in metres with coordinates in degrees",
        "fields.gpkg, size = ['a (0.01 x 0.02 at resolution 10)']: 1 feature would be smaller than 1 pixel in both "
        "directions. Choose a finer resolution, or give width and height (for statistics, in the request); the unit "
        "is that of the CRS, degrees in EPSG:4326.",
        checked(
            good(width=None, height=None, resolution=10.0, geometry=blob(shapely.box(9, 42, 9.01, 42.02), 4326)),
            epsg=4326,
        ),
    ),
    BadInput(
        "no geometry",
        "fields.gpkg, geometry = ['a']: 1 feature has none, or an empty one. Draw them, or leave them out.",
        checked(good(geometry=None)),
    ),
    BadInput(
        "WKB without the header of a GeoPackage",
        "fields.gpkg, geometry = ['a']: 1 feature has one that cannot be read as a GeoPackage geometry. Write "
        "the file with a GIS.",
        checked(good(geometry=BOX.wkb)),
    ),
    BadInput(
        "a ring that is not closed",
        "fields.gpkg, geometry = ['a (Points of LinearRing do not form a closed linestring)']: 1 feature has a "
        "ring that does not end where it begins. Close the rings, or have it done by "
        "SentinelHubInputFeaturesOperator with repair=True.",
        checked(good(geometry=unclosed())),
    ),
    BadInput(
        "a point",
        "fields.gpkg, geometry = ['a (Point)']: 1 feature is neither POLYGON nor MULTIPOLYGON. Buffer points "
        "and lines, turn curves into lines, e.g. with ST_CurveToLine, or leave them out.",
        checked(good(geometry=blob(BOX.centroid.buffer(0).union(BOX.centroid), 32632))),
    ),
    BadInput(
        "a collection of polygons",
        "fields.gpkg, geometry = ['a']: 1 feature is a GEOMETRYCOLLECTION, though of polygons only. Make a "
        "MULTIPOLYGON of each, or have it done by SentinelHubInputFeaturesOperator with repair=True.",
        checked(good(geometry=blob(shapely.GeometryCollection([BOX]), 32632))),
    ),
    BadInput(
        "a polygon with curves",
        "fields.gpkg, geometry = ['a (with curves)']: 1 feature is neither POLYGON nor MULTIPOLYGON. Buffer points and "
        "lines, turn curves into lines, e.g. with ST_CurveToLine, or leave them out.",
        checked(good(geometry=blob(BOX, 32632)[:-93] + CURVES), good(2, "b")),
    ),
    BadInput(
        "WKT with curves",
        "geometry = 'CURVEPOLYGON(CIRCULARSTRING(0 0, 1 1, 2 0, 1 -1, 0 0))': the list holds 1 that cannot be read: "
        "row 2: it has curves; convert them to lines, e.g. with ST_CurveToLine. Repair them, or leave them out.",
        wkt("POLYGON((0 0, 1 0, 1 1, 0 0))", "CURVEPOLYGON(CIRCULARSTRING(0 0, 1 1, 2 0, 1 -1, 0 0))", epsg=4326),
    ),
    BadInput(
        "a polygon that crosses itself",
        "fields.gpkg, geometry = ['a (Self-intersection[500250 4600250])']: 1 feature is not valid. Repair them in a "
        "GIS, or have it done by SentinelHubInputFeaturesOperator with repair=True.",
        checked(good(geometry=blob(BOWTIE, 32632))),
    ),
    BadInput(
        "degrees although metres are declared",
        "fields.gpkg, geometry = ['a (at 9, 42)']: 1 feature lies outside the area of the coordinate reference "
        "system, so it is the wrong one. Assign the one the coordinates are in; degrees are EPSG:4326, and longitude "
        "or easting comes first.",
        checked(good(geometry=blob(shapely.box(9, 42, 9.1, 42.1), 32632))),
    ),
    BadInput(
        "northing before easting",
        "fields.gpkg, geometry = ['a (at 4600000, 500000)']: 1 feature lies outside the area of the coordinate "
        "reference system, so it is the wrong one. Assign the one the coordinates are in; degrees are EPSG:4326, and "
        "longitude "
        "or easting comes first.",
        checked(good(geometry=blob(shapely.box(4_600_000, 500_000, 4_600_500, 500_500), 32632))),
    ),
    BadInput(
        "metres although degrees are declared",
        "fields.gpkg, geometry = ['a (at 500000, 4600000)']: 1 feature lies outside the area of the coordinate "
        "reference system, so it is the wrong one. Assign the one the coordinates are in; degrees are "
        "EPSG:4326, and longitude or easting comes first.",
        checked(good(geometry=blob(BOX, 4326)), epsg=4326),
    ),
    BadInput(
        "several problems at once, some beyond repair",
        "fields.gpkg, geometry = ['line (LineString)']: 1 feature is neither POLYGON nor MULTIPOLYGON. Buffer "
        "points and lines, turn curves into lines, e.g. with ST_CurveToLine, or leave them out.",
        hopeless_repair,
    ),
    BadInput(
        "a GeoPackage that declares another coordinate reference system",
        "epsg = 32633: fields.gpkg, layer 'features_32632' says that its coordinates are in EPSG:32632. Leave epsg out "
        "to take that. If it is wrong, correct it there, e.g. with ogr2ogr -a_srs EPSG:32633, or ST_SetSRID in a "
        "query.",
        lambda folder: read(write(folder / "fields.gpkg", good()), epsg=32633),
    ),
    BadInput(
        "EWKT that declares another coordinate reference system",
        "epsg = 32633: row 2 of the list says that its coordinates are in EPSG:32632. Leave epsg out to take that. If "
        "it is wrong, correct it there, e.g. with ogr2ogr -a_srs EPSG:32633, or ST_SetSRID in a query.",
        wkt(BOX.wkt, f"SRID=32632;{BOX.wkt}", epsg=32633),
    ),
    BadInput(
        "GeoJSON in Parquet that declares another coordinate reference system",
        "epsg = 32633: row 1 of fields.parquet says that its coordinates are in EPSG:32632. Leave epsg out to take "
        "that. If it is wrong, correct it there, e.g. with ogr2ogr -a_srs EPSG:32633, or ST_SetSRID in a query.",
        lambda folder: read(geoparquet(folder / "fields.parquet", None, geometry=[json.dumps(OWN_CRS)]), epsg=32633),
    ),
    BadInput(
        "a GeoJSON whose coordinate reference system is a link",
        "source = 'fields.geojson': has a crs of type link, and a link is not followed. Write it as "
        '{"type": "name", "properties": {"name": "EPSG:32633"}}, or remove it and give epsg.',
        lambda folder: read(written(folder, "fields.geojson", json.dumps({**OWN_CRS, "crs": LINK}).encode())),
    ),
    BadInput(
        "a GeoJSON with geometries in several coordinate reference systems",
        "source = 'fields.geojson': has features in several coordinate reference systems: EPSG:4326, EPSG:32632. Make "
        "a file of each, and give a list of both.",
        lambda folder: read(
            written(
                folder,
                "fields.geojson",
                json.dumps({"type": "GeometryCollection", "crs": CRS84, "geometries": [OWN_CRS]}).encode(),
            )
        ),
    ),
    BadInput(
        "a CSV that is not UTF-8",
        "columns.identifier = b'P\\xf8\\xedbram': fields.csv, layer 'fields' has 1 name not in UTF-8: row 1 "
        "(b'P\\xf8\\xedbram'). Convert it to UTF-8, e.g. with: iconv -f CP1250 -t UTF-8 fields.csv.",
        lambda folder: read(written(folder, "fields.csv", f'identifier,wkt\nPříbram,"{BOX.wkt}"\n'.encode("cp1250"))),
    ),
    BadInput(
        "a zip with files of several kinds",
        "source = 'fields.zip': has several files with features: a/fields.geojson, a/fields.shp. Leave one in, or name "
        "one with layer='...'.",
        lambda folder: read(zipped(folder / "fields.zip", "a/fields.geojson", "a/fields.shp")),
    ),
    BadInput(
        "a file that is no zip",
        "source = 'fields.zip': cannot be unpacked (File is not a zip file). Pack it again, without a password.",
        lambda folder: read(written(folder, "fields.zip", b"fields")),
    ),
    BadInput(
        "columns of geometries without properties",
        "columns = {'identifier': 'parcel'}: geometries have no columns. Leave it out, and name features by a dict "
        'like {"name": geometry}.',
        with_columns,
    ),
    BadInput(
        "WKT with a ring that is not closed",
        "geometry = 'POLYGON((0 0, 1 0, 1 1, 0 1))': the list holds 1 with a ring that does not end where it begins: "
        "row 2. Close the rings, or have it done by SentinelHubInputFeaturesOperator with repair=True.",
        wkt("POLYGON((0 0, 1 0, 1 1, 0 0))", "POLYGON((0 0, 1 0, 1 1, 0 1))", epsg=4326),
    ),
    BadInput(
        "a GeoParquet without a known coordinate reference system",
        "epsg = None: row 1 of fields.parquet does not say which coordinate reference system it is in. Give "
        "the EPSG code of the source, e.g. epsg=32633.",
        lambda folder: read(geoparquet(folder / "fields.parquet", geo(crs=None), geometry=[BOX.wkb])),
    ),
    BadInput(
        "a GeoParquet without the named column",
        "columns.identifier = 'parcel': fields.parquet has no such column, only ['field_id', 'geometry']. Name "
        "the column to read.",
        lambda folder: read(
            geoparquet(folder / "fields.parquet", geo(), geometry=[BOX.wkb], field_id=[1]), columns=COLUMNS
        ),
    ),
    BadInput(
        "a GeoParquet in another encoding",
        "source = 'fields.parquet': its geometries are encoded as polygon. Write them as WKB, which is the default.",
        lambda folder: read(geoparquet(folder / "fields.parquet", geo(encoding="polygon"), geometry=[BOX.wkb])),
    ),
    BadInput(
        "a table without geometries",
        "source = 'fields.csv': has no geometries. Kinds that can be read: GeoPackage (.gpkg), GeoParquet (.parquet), "
        "GeoJSON (.geojson), Shapefile (.shp, or zipped .shp.zip).",
        lambda folder: read(written(folder, "fields.csv", b"crop,area\nwheat,12\n")),
    ),
    BadInput(
        "a Parquet without geometries",
        "columns.geometry = None: fields.parquet has no such column, only ['crop']. Name the column to read.",
        lambda folder: read(geoparquet(folder / "fields.parquet", None, crop=["wheat"])),
    ),
    BadInput(
        "a file that is not Parquet",
        "source = 'fields.parquet': cannot be read (Parquet magic bytes not found in footer. Either the file "
        "is corrupted or this is not a parquet file). Kinds that can be read: GeoPackage (.gpkg), GeoParquet "
        "(.parquet), GeoJSON (.geojson), Shapefile (.shp, or zipped .shp.zip).",
        lambda folder: read(written(folder, "fields.parquet", b"crop,area\nwheat,12\n")),
    ),
    BadInput(
        "a feature without a name among named ones",
        "out.gpkg, identifier = [\"row 2 of 'features_4326'\"]: 1 feature has none. Name them, or have it done "
        "by SentinelHubInputFeaturesOperator with repair=True: then they are numbered.",
        lambda folder: read(
            geoparquet(
                folder / "fields.parquet",
                geo(),
                geometry=[shapely.box(9, 42, 9.1, 42.1).wkb] * 3,
                identifier=["a", None, "c"],
            )
        ),
    ),
    BadInput(
        "invalid WKT",
        "geometry = 'POLYGON of mine': the list holds 1 that cannot be read: row 2: 'POLYGON of mine' is "
        "neither WKB nor WKT. Repair them, or leave them out.",
        wkt("POLYGON((0 0, 1 0, 1 1, 0 0))", "POLYGON of mine", epsg=4326),
    ),
    BadInput(
        "WKT without a known coordinate reference system",
        "epsg = None: row 1 of the list does not say which coordinate reference system it is in. Give the EPSG "
        "code of the source, e.g. epsg=32633.",
        wkt(BOX.wkt),
    ),
    BadInput(
        "a layer that does not exist",
        "layer = 'parcels': fields.gpkg has no such layer, only ['features_32632']. Choose one of them.",
        lambda folder: read(write(folder / "fields.gpkg", good()), layer="parcels"),
    ),
]
