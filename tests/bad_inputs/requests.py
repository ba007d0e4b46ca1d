"""
Requests that the service would refuse, or fail in its analysis, and what users are told before that.

``docs/bad_inputs.md`` shows this table; ``test_requests.py`` provokes every message.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.bad_inputs import BadInput
from tests.bad_inputs.buckets import (
    DENIED,
    NOT_DELETED,
    SECRET,
    Answers,
    check_buckets,
    connections,
    s3_server,
    tiny_s3,
)
from tests.bad_inputs.statistics import SENT_AT, STATISTICS

if TYPE_CHECKING:
    from pathlib import Path

BOX = [8.5, 41.3, 9.6, 43.1]
SQUARE = [[8, 41], [9, 41], [9, 42], [8, 42], [8, 41]]
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
SCRIPT = """//VERSION=3
function setup() {{ return {{input: ["B04", "B08"], output: {output}}}; }}
function evaluatePixel(sample) {{ return [sample.B04]; }}
"""
FUSION = """//VERSION=3
function setup() {
  return {
    input: [{datasource: "l1c", bands: ["B04"]}, {datasource: "L2A", bands: ["SCL"]}],
    output: {bands: 1}
  };
}
function evaluatePixel(samples) { return [samples.l1c[0].B04]; }
"""


def script(**output: Any) -> str:
    declared = {"id": "default", "bands": 1, "sampleType": "FLOAT32", **output}
    return SCRIPT.format(output="{" + ", ".join(f"{name}: {value!r}" for name, value in declared.items()) + "}")


def polygon(ring: list[list[int]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [ring]}


def source(start: str, end: str) -> list[dict[str, Any]]:
    return [{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": {"from": start, "to": end}}}]


def tiff(identifier: str) -> dict[str, Any]:
    return {"identifier": identifier, "format": {"type": "image/tiff"}}


def zarr(identifier: str) -> dict[str, Any]:
    return {"identifier": identifier, "format": {"type": "zarr/array"}}


TWO: dict[str, Any] = {
    "processRequest__output": {"responses": [tiff("result"), tiff("result2")]},
    "processRequest__evalscript": SCRIPT.format(output='[{id: "result", bands: 1}, {id: "result2", bands: 1}]'),
}
COLLECTION: dict[str, Any] = {"output__cogOutput": True, "output__createCollection": True}
GEOPACKAGE = {"type": "geopackage", "features": {"s3": {"url": "s3://my-bucket/fields.gpkg"}}}
ZARR: dict[str, Any] = {
    "input": {"type": "tiling-grid", "id": 6, "resolution": 50},
    "processRequest__output": {"responses": [zarr("default")]},
    "output": {
        "type": "zarr",
        "delivery": {"s3": {"url": "s3://my-bucket/ndvi/<requestId>"}},
        "group": {"zarr_format": 2},
        "arrayParameters": {"dtype": "<f4", "order": "C", "chunks": [1, 1000, 1000], "fill_value": 0},
    },
}


def request(**changes: Any) -> dict[str, Any]:
    """A good request; ``a__b=value`` changes ``request["a"]["b"]``, and ``...`` removes it."""
    from tests.client.client_harness import build_document

    return build_document(**{"processRequest__evalscript": script(), **changes})


def _bad(title: str, message: str, changes: dict[str, Any], deployment: str = "") -> BadInput:
    def provoke(folder: Path) -> None:
        _examine(request(**changes), deployment)

    return BadInput(title, message, provoke)


def _statistics() -> dict[str, Any]:
    from tests.client.client_harness import batch_statistical_document

    return batch_statistical_document()


def _examine(document: Any, deployment: str = "") -> None:
    from airflow_provider_sentinelhub.artifacts.results.preflight import examine
    from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
    from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS

    examine(BATCH_V2, document, DEPLOYMENTS.get(deployment), SENT_AT).accepted()


def _bad_bucket(
    title: str, message: str, changes: dict[str, Any], answers: Answers | None = None, **connection: str
) -> BadInput:
    """Ask a real S3 server, or one that gives certain answers."""

    def provoke(folder: Path) -> None:
        with ExitStack() as stack:
            if answers is None:
                endpoint = stack.enter_context(s3_server(folder))
            else:
                endpoint, _ = stack.enter_context(tiny_s3(answers))
            stack.enter_context(connections(endpoint, **connection))
            check_buckets(request(**changes))

    return BadInput(title, message, provoke)


REQUESTS = (
    _bad(
        "A period that has not begun",
        "processRequest.input.data.0.dataFilter.timeRange.from = '2026-07-01T00:00:00Z': lies in the future, and "
        "with it the whole period: there are no images of it yet, and the run is charged all the same. Choose a "
        "period that has started, e.g. one that ends at {{ dag_run.run_after.isoformat() }}.",
        {"processRequest__input__data": source("2026-07-01T00:00:00Z", "2026-08-01T00:00:00Z")},
    ),
    _bad(
        "A template in a request that another task returned",
        "output.delivery.s3.url = 's3://my-bucket/{{ ds }}': is a template that was not rendered: Airflow renders "
        "templates in the DAG file, but not in what another task returned. Render it in the task that returns it, "
        "or write the parameter in the DAG file.",
        {"output__delivery": {"s3": {"url": "s3://my-bucket/{{ ds }}"}}},
    ),
    _bad(
        "A tiling grid that does not exist",
        "input.id = 5: is not the id of a tiling grid. Choose one of 0 (UTM 20 km); 1 (UTM 10 km); 2 (UTM 100 "
        "km); 3 (WGS84 1 degree); 6 (LAEA 100 km); 7 (LAEA 20 km).",
        {"input__id": 5},
    ),
    _bad(
        "A resolution that the grid does not have",
        "input.resolution = 25: is not a resolution of tiling grid 0 (UTM 20 km). Choose one of 10, 20, 30, 60.",
        {"input__resolution": 25},
    ),
    _bad(
        "Data that the deployment does not have",
        "processRequest.input.data.0.type = 'modis': is documented for AWS US (Oregon), not for AWS EU (Frankfurt); "
        "a batch can only read data of its own deployment. Send the request with a connection to AWS US (Oregon).",
        {
            "processRequest__input__data": [{"type": "modis"}],
            "processRequest__evalscript": script().replace("B08", "B02"),
        },
        "aws-eu-central-1",
    ),
    _bad(
        "A resolution that the deployment does not have",
        "input.resolution = 30.0: exists on Copernicus Data Space Ecosystem only, but this request goes to AWS EU "
        "(Frankfurt). Choose one of 10, 20, 60.",
        {"input__resolution": 30},
        "aws-eu-central-1",
    ),
    _bad(
        "No area of interest",
        "processRequest.input.bounds = None: is required with a tiling grid. Add a bbox or a geometry: it selects "
        "the tiles.",
        {"processRequest__input__bounds": ...},
    ),
    _bad(
        "A ring that is not closed",
        "processRequest.input.bounds.geometry = {'type': 'Polygon', 'coordinates': [[[8, 41], [9, 41], [9, 42], [8, "
        "42]]]}: a ring of polygon 0 is open: it starts at [8, 41] and ends at [8, 42]. Repeat its first point at "
        "the end.",
        {"processRequest__input__bounds": {"geometry": polygon([[8, 41], [9, 41], [9, 42], [8, 42]])}},
    ),
    _bad(
        "A polygon that crosses itself",
        "processRequest.input.bounds.geometry = {'type': 'Polygon', 'coordinates': [[[8, 41], [9, 42], [9, 41], [8, "
        "42], [8, 41]]]}: is not a valid polygon: Self-intersection[8.5 41.5]. Repair it, e.g. with "
        "shapely.make_valid, or draw it again.",
        {"processRequest__input__bounds": {"geometry": polygon([[8, 41], [9, 42], [9, 41], [8, 42], [8, 41]])}},
    ),
    _bad(
        "A geometry that is not an area",
        "processRequest.input.bounds.geometry = {'type': 'Point', 'coordinates': [8, 41]}: must be a GeoJSON "
        "Polygon or MultiPolygon with coordinates. Convert or merge other geometries.",
        {"processRequest__input__bounds": {"geometry": {"type": "Point", "coordinates": [8, 41]}}},
    ),
    _bad(
        "A box in another order",
        "processRequest.input.bounds.bbox = [9.6, 41.3, 8.5, 43.1]: west must be less than east, and south less "
        "than north. Write [west, south, east, north], probably [8.5, 41.3, 9.6, 43.1].",
        {"processRequest__input__bounds": {"bbox": [9.6, 41.3, 8.5, 43.1]}},
    ),
    _bad(
        "Metres without a CRS",
        "processRequest.input.bounds.bbox = [480000.0, 4570000.0, 560000.0, 4770000.0]: is outside of longitudes "
        "-180 to 180 or latitudes -90 to 90. Longitude comes first. If the units are not degrees, set the CRS in "
        "processRequest.input.bounds.properties.crs.",
        {"processRequest__input__bounds": {"bbox": [480000, 4570000, 560000, 4770000]}},
    ),
    _bad(
        "Northing before easting",
        "processRequest.input.bounds.bbox = [4570000.0, 480000.0, 4770000.0, 560000.0]: reaches beyond all that "
        "EPSG:32632 is for: -1000000 to 2000000 metres east, and -10000000 to 10000000 north. Easting comes first. "
        "If it does, set the CRS of these coordinates in processRequest.input.bounds.properties.crs.",
        {
            "processRequest__input__bounds": {
                "bbox": [4570000, 480000, 4770000, 560000],
                "properties": {"crs": f"{EPSG}32632"},
            }
        },
    ),
    _bad(
        "A box and a geometry that do not overlap",
        "processRequest.input.bounds.bbox = [1.0, 41.0, 2.0, 42.0]: does not intersect the geometry given with it, "
        "and only their intersection is processed. Give one of the two.",
        {"processRequest__input__bounds": {"bbox": [1, 41, 2, 42], "geometry": polygon(SQUARE)}},
    ),
    _bad(
        "A CRS written as a code",
        "processRequest.input.bounds.properties.crs = 'EPSG:4326': must be the address of a CRS. Write "
        "http://www.opengis.net/def/crs/OGC/1.3/CRS84 or http://www.opengis.net/def/crs/EPSG/0/32633.",
        {"processRequest__input__bounds": {"bbox": BOX, "properties": {"crs": "EPSG:4326"}}},
    ),
    _bad(
        "A CRS that the service does not know",
        "processRequest.input.bounds.properties.crs = 'http://www.opengis.net/def/crs/EPSG/0/31287': is not a "
        "coordinate reference system the service supports. Reproject the area, e.g. to "
        "http://www.opengis.net/def/crs/OGC/1.3/CRS84 (longitude and latitude).",
        {"processRequest__input__bounds": {"bbox": BOX, "properties": {"crs": f"{EPSG}31287"}}},
    ),
    _bad(
        "An area outside the grid",
        "processRequest.input.bounds = [100.0, 10.0, 101.0, 11.0]: is in an area where tiling grid 7 (LAEA 20 km) "
        "has no tiles. Choose another grid, e.g. 3 (WGS84 1 degree), which covers the world.",
        {
            "input": {"type": "tiling-grid", "id": 7, "resolution": 10},
            "processRequest__input__bounds": {"bbox": [100, 10, 101, 11]},
        },
    ),
    _bad(
        "A period that ends before it begins",
        "processRequest.input.data.0.dataFilter.timeRange = {'from': '2019-06-01T00:00:01Z', 'to': "
        "'2019-06-01T00:00:00Z'}: timeRange.from is after timeRange.to. Swap the two.",
        {"processRequest__input__data": source("2019-06-01T00:00:01Z", "2019-06-01T00:00:00Z")},
    ),
    _bad(
        "A date without a time",
        "processRequest.input.data.0.dataFilter.timeRange.from = '2019-04-01': is a date without a time. Write it "
        "like 2019-04-01T00:00:00Z.",
        {"processRequest__input__data": source("2019-04-01", "2019-06-30T23:59:59Z")},
    ),
    _bad(
        "Two invalid dates",
        "processRequest.input.data.0.dataFilter.timeRange.from = 'yesterday': is not a date and time. Write it like "
        "2019-04-01T00:00:00Z.\nprocessRequest.input.data.0.dataFilter.timeRange.to = '2019-06-31T00:00:00Z': is "
        "not a date and time. Write it like 2019-04-01T00:00:00Z.",
        {"processRequest__input__data": source("yesterday", "2019-06-31T00:00:00Z")},
    ),
    _bad(
        "A cloud cover of more than 100 %",
        "processRequest.input.data.0.dataFilter.maxCloudCoverage = 120: must be a number from 0 to 100, in percent. "
        "Write e.g. 30, or leave it out.",
        {"processRequest__input__data": [{"type": "sentinel-2-l2a", "dataFilter": {"maxCloudCoverage": 120}}]},
    ),
    _bad(
        "An unknown mosaicking order",
        "processRequest.input.data.0.dataFilter.mosaickingOrder = 'leastCloudy': must be one of mostRecent, "
        "leastRecent, leastCC. Choose one, or leave it out: the default is mostRecent.",
        {"processRequest__input__data": [{"type": "sentinel-2-l2a", "dataFilter": {"mosaickingOrder": "leastCloudy"}}]},
    ),
    _bad(
        "A misspelled filter",
        "processRequest.input.data.0.dataFilter.maxCloudCover = 20: is not a filter, and nearly maxCloudCoverage. "
        "Write maxCloudCoverage.",
        {"processRequest__input__data": [{"type": "sentinel-2-l2a", "dataFilter": {"maxCloudCover": 20}}]},
    ),
    _bad(
        "A null in a list",
        "processRequest.input.data.0.dataFilter.tiles.1 = None: must not be null: the service refuses nulls."
        " Leave it out.",
        {"processRequest__input__data": [{"type": "sentinel-2-l2a", "dataFilter": {"tiles": ["32TNM", None]}}]},
    ),
    _bad(
        "A number that JSON cannot express",
        "processRequest.input.data.0.dataFilter.maxCloudCoverage = nan: cannot be written in JSON. Correct the number.",
        {"processRequest__input__data": [{"type": "sentinel-2-l2a", "dataFilter": {"maxCloudCoverage": float("nan")}}]},
    ),
    _bad(
        "An empty evalscript",
        "processRequest.evalscript = ' ': is empty. Give the script's text, or a path that ends in .js.",
        {"processRequest__evalscript": " "},
    ),
    _bad(
        "The path of an evalscript instead of its text",
        "processRequest.evalscript = 'max_ndvi.js': is the path of a file, but the service needs the text of the "
        "script. Read the file and give its text.",
        {"processRequest__evalscript": "max_ndvi.js"},
    ),
    _bad(
        "The path of a file that is not read",
        "processRequest.evalscript = 'evalscripts/ndvi.txt': looks like the path of a file, and only files that end in "
        ".js are read. Rename the file, or give the text of the script.",
        {"processRequest__evalscript": "evalscripts/ndvi.txt"},
    ),
    BadInput(
        "A request for statistics in an operator for images",
        "request = ['input', 'aggregation', 'calculations', 'output']: is a request of Batch Statistical, and this is "
        "Batch Processing V2. Use SentinelHubBatchStatisticalOperator.",
        lambda _: _examine(_statistics()),
    ),
    _bad(
        "An evalscript of an older version",
        "processRequest.evalscript = '//VERSION=2': is of version 2, not //VERSION=3. Make that its first line.",
        {"processRequest__evalscript": script().replace("=3", "=2", 1)},
    ),
    _bad(
        "An evalscript with a bracket missing",
        'processRequest.evalscript = \'function setup() { return {input: ["B04", "B08"], output: {id: \\\'default\\\','
        " bands: 1, sampleType: \\'FLOAT32\\'}; }': is not JavaScript (line 2, column 107): Unexpected token ';'. "
        "Correct the script.",
        {"processRequest__evalscript": script().replace("}}; }", "}; }", 1)},
    ),
    _bad(
        "An evalscript without evaluatePixel()",
        "processRequest.evalscript = '//VERSION=3': has no function evaluatePixel(). Write a function evaluatePixel.",
        {"processRequest__evalscript": script().partition("function evaluatePixel")[0]},
    ),
    _bad(
        "An unknown mosaicking type",
        "processRequest.evalscript = 'mosaicking: DAILY': is not a mosaicking type. Choose one of SIMPLE, ORBIT, TILE.",
        {"processRequest__evalscript": script().replace("return {", "return {mosaicking: 'DAILY', ", 1)},
    ),
    _bad(
        "An unknown sample type",
        "processRequest.evalscript = 'sampleType: FLOAT64': is not a sample type; it is that of output default in"
        " setup(). Choose one of AUTO, INT8, UINT8, INT16, UINT16, FLOAT32.",
        {"processRequest__evalscript": script(sampleType="FLOAT64")},
    ),
    _bad(
        "Two outputs with the same id",
        "processRequest.evalscript = 'id: ndvi': is the id of 2 outputs in setup(). Give each output its own id.",
        {
            "processRequest__evalscript": SCRIPT.format(output='[{id: "ndvi", bands: 1}, {id: "ndvi", bands: 2}]'),
            "processRequest__output": {"responses": [tiff("ndvi")]},
        },
    ),
    _bad(
        "A band that the collection does not have",
        "processRequest.evalscript = 'bands: B4': is not a band of sentinel-2-l2a. Write B04.",
        {"processRequest__evalscript": script().replace('"B04"', '"B4"')},
    ),
    _bad(
        "A unit that the band does not have",
        "processRequest.evalscript = 'units: REFLECTANCE': is not a unit of SCL of sentinel-2-l2a; there is DN. Write "
        "DN, in a list with one unit for each band.",
        {
            "processRequest__evalscript": script().replace(
                '["B04", "B08"]', '[{bands: ["B04", "SCL"], units: "REFLECTANCE"}]'
            )
        },
    ),
    _bad(
        "A datasource that is not a data source",
        "processRequest.evalscript = 'datasource: L2A': is not the id of a data source; processRequest.input.data "
        "has l1c, l2a. Use the same id in both.",
        {
            "processRequest__evalscript": FUSION,
            "processRequest__input__data": [
                {"id": "l1c", "type": "sentinel-2-l1c"},
                {"id": "l2a", "type": "sentinel-2-l2a"},
            ],
        },
    ),
    _bad(
        "A response for an output that the evalscript does not have",
        "processRequest.output.responses.0.identifier = 'nvdi': is not an output of the evalscript; the "
        "evalscript's setup() has ndvi. Write ndvi, or correct the evalscript.",
        {"processRequest__output": {"responses": [tiff("nvdi")]}, "processRequest__evalscript": script(id="ndvi")},
    ),
    _bad(
        "No response, and no default output",
        "processRequest.output.responses = None: is absent, which means the output default, but the evalscript's "
        "setup() has ndvi. Add a response for each output you want.",
        {"processRequest__output": ..., "processRequest__evalscript": script(id="ndvi")},
    ),
    _bad(
        "Two responses for one output",
        "processRequest.output.responses.1.identifier = 'default': is used twice. Use each identifier once.",
        {"processRequest__output": {"responses": [tiff("default"), tiff("default")]}},
    ),
    _bad(
        "An image format that a batch does not write",
        "processRequest.output.responses.0.format.type = 'image/png': batch writes image/tiff, application/json "
        "and zarr/array only. Choose one of them.",
        {"processRequest__output": {"responses": [{"format": {"type": "image/png"}}]}},
    ),
    _bad(
        "JSON that is not userdata",
        "processRequest.output.responses.0.format.type = 'application/json': is allowed for the identifier userdata "
        "only. Write image/tiff, or name it userdata.",
        {"processRequest__output": {"responses": [{"identifier": "default", "format": {"type": "application/json"}}]}},
    ),
    _bad(
        "A size in pixels",
        "processRequest.output = {'width': 512, 'height': 512}: a batch takes no height, width. Remove it: the "
        "tiling grid's resolution, or the GeoPackage's, decides the size.",
        {"processRequest__output": {"width": 512, "height": 512}},
    ),
    _bad(
        "A misspelled field",
        "output.skipExisitng = True: is not a field of this part of the request. Check the spelling.",
        {"output__skipExisitng": True},
    ),
    _bad(
        "A text instead of true or false",
        "output.overwrite = 'yes': must be true or false. Write true or false, without quotes.",
        {"output__overwrite": "yes"},
    ),
    _bad(
        "A part that is not an object",
        "output = 's3://my-bucket/ndvi': must be a JSON object. Write an object with the fields in it.",
        {"output": "s3://my-bucket/ndvi"},
    ),
    BadInput(
        "A request that is not an object",
        "request = ['max_ndvi']: must be a JSON object. Give the request as a dict or as its JSON text.",
        lambda _: _examine(["max_ndvi"]),
    ),
    _bad(
        "A delivery URL with https",
        "output.delivery.s3.url = 'https://my-bucket.s3.amazonaws.com/ndvi': must start with s3:// or gs://. "
        "Write s3://bucket/folder or gs://bucket/folder.",
        {"output__delivery": {"s3": {"url": "https://my-bucket.s3.amazonaws.com/ndvi"}}},
    ),
    _bad(
        "A bucket name that a template left empty",
        "output.delivery.s3.url = 's3:///ndvi': the bucket name needs at least 3 letters, digits, dots, hyphens "
        "or underscores. Write s3://bucket/folder/name, gs://bucket/folder/name or file:///folder/name. A tenant "
        "is written tenant:bucket.",
        {"output__delivery": {"s3": {"url": "s3:///ndvi"}}},
    ),
    _bad(
        "A bucket of the other cloud",
        "output.delivery.s3.url = 'gs://my-bucket/ndvi': is under s3 and must start with s3://. Write "
        "s3://bucket/folder, or put it under gs.",
        {"output__delivery": {"s3": {"url": "gs://my-bucket/ndvi"}}},
    ),
    _bad(
        "A template with <requestId> only",
        "output.delivery.s3.url = 's3://my-bucket/ndvi/<requestId>': a template must hold <tileName>, or tiles "
        "overwrite each other. Add <tileName>, or remove <requestId> for the default layout.",
        {"output__delivery": {"s3": {"url": "s3://my-bucket/ndvi/<requestId>"}}},
    ),
    _bad(
        "A template without <tileName>",
        "output.delivery.s3.url = 's3://my-bucket/<outputId>.tif': a template must hold <tileName>, or tiles "
        "overwrite each other. Add <tileName>, or remove <outputId> for the default layout.",
        {"output__delivery": {"s3": {"url": "s3://my-bucket/<outputId>.tif"}}},
    ),
    _bad(
        "Several outputs, and a template without <outputId>",
        "output.delivery.s3.url = 's3://my-bucket/<tileName>.tif': with 2 outputs a template must hold "
        "<outputId>, or outputs overwrite each other. Add <outputId>.",
        {"output__delivery": {"s3": {"url": "s3://my-bucket/<tileName>.tif"}}, **TWO},
    ),
    _bad(
        "A placeholder that does not exist",
        "output.delivery.s3.url = 's3://my-bucket/<tileID>.tif': <tileID> is not a placeholder the service knows."
        " Write <tileName> instead.",
        {"output__delivery": {"s3": {"url": "s3://my-bucket/<tileID>.tif"}}},
    ),
    _bad(
        "Credentials in the request",
        "output.delivery.s3.secretAccessKey = '***': must not be in a request, where everybody who can see the"
        " DAG can read it. Put it in the connection named by aws_conn_id or gcp_conn_id; it is added when the "
        "request is sent.",
        {"output__delivery": {"s3": {"url": "s3://my-bucket/ndvi", "secretAccessKey": "wJalrXUtnFEMI"}}},
    ),
    _bad(
        "Google Cloud Storage on the Copernicus deployment",
        "output.delivery.gs.url = 'gs://my-bucket/ndvi': is on Google Cloud Storage, which Copernicus Data Space "
        "Ecosystem does not support. Use a bucket on S3.",
        {"output__delivery": {"gs": {"url": "gs://my-bucket/ndvi"}}},
        "cdse",
    ),
    _bad(
        "COG with INT8",
        "processRequest.evalscript = 'sampleType: INT8': is not allowed with output.cogOutput; it is that of "
        "output default in setup(). Use INT16, or remove cogOutput.",
        {"output__cogOutput": True, "processRequest__evalscript": script(sampleType="INT8")},
    ),
    _bad(
        "COG with a block size that TIFF does not allow",
        "output.cogParameters.blockxsize = 500: must be a multiple of 16, as TIFF requires. Write e.g. 256, 512 or "
        "1024.",
        {"output__cogOutput": True, "output__cogParameters": {"blockxsize": 500}},
    ),
    _bad(
        "A collection of files that are not COGs",
        "output.createCollection = True: needs cloud optimised GeoTIFFs. Set output.cogOutput to true.",
        {"output__createCollection": True},
    ),
    _bad(
        "A collection without a GeoTIFF",
        "processRequest.output.responses = 'userdata': has no response of the format image/tiff, of which "
        "output.createCollection makes a collection. Add one for an output of the evalscript.",
        {
            **COLLECTION,
            "processRequest__output": {
                "responses": [{"identifier": "userdata", "format": {"type": "application/json"}}]
            },
        },
    ),
    _bad(
        "A collection with more bands than it has names for",
        "processRequest.evalscript = 'bands: 120': is too many for a collection: its bands are named default, "
        "default2 to default99. Write outputs of at most 99 bands.",
        {**COLLECTION, "processRequest__evalscript": script(bands=120)},
    ),
    _bad(
        "A collection with two bands of the same name",
        "output.createCollection = True: would have the band result2 twice: of output result and of output "
        "result2. Rename one of the outputs.",
        {
            **COLLECTION,
            **TWO,
            "processRequest__evalscript": SCRIPT.format(output='[{id: "result", bands: 3}, {id: "result2", bands: 1}]'),
        },
    ),
    _bad(
        "A collection with an invalid id",
        "output.collectionId = 'byoc-4a2b': is not the id (UUID) of a collection. Write the id without the prefix "
        "byoc-.",
        {"output__cogOutput": True, "output__collectionId": "byoc-4a2b"},
    ),
    _bad(
        "A collection in another region",
        "output.delivery.s3.region = 'us-west-2': is not eu-central-1, the region of AWS EU (Frankfurt), but "
        "output.createCollection requires that. Deliver to a bucket in eu-central-1.",
        {**COLLECTION, "output__delivery": {"s3": {"url": "s3://my-bucket/ndvi", "region": "us-west-2"}}},
        "aws-eu-central-1",
    ),
    _bad(
        "A collection on Google Cloud Storage",
        "output.createCollection = True: needs a bucket on S3, in the region of the deployment. Deliver to "
        "output.delivery.s3.",
        {**COLLECTION, "output__delivery": {"gs": {"url": "gs://my-bucket/ndvi"}}},
    ),
    _bad(
        "A GeoPackage with a width but no height",
        "input.defaults = {'width': 512}: width and height must be given together. Give both, or a resolution instead.",
        {"input": {**GEOPACKAGE, "defaults": {"width": 512}}},
    ),
    _bad(
        "Features of more than 3500 pixels",
        "input.defaults.width = 4000: input should be less than or equal to 3500. Correct the value.",
        {"input": {**GEOPACKAGE, "defaults": {"width": 4000, "height": 3000}}},
    ),
    _bad(
        "A folder instead of a GeoPackage",
        "input.features.s3.url = 's3://my-bucket/fields/': must name an object, not a folder. Write "
        "s3://bucket/folder/name, gs://bucket/folder/name or file:///folder/name.",
        {"input": {"type": "geopackage", "features": {"s3": {"url": "s3://my-bucket/fields/"}}}},
    ),
    _bad(
        "Zarr on a UTM grid",
        "input.id = 0: is a UTM grid (UTM 20 km), but Zarr supports WGS84 and LAEA grids only. Choose one of 3 "
        "(WGS84 1 degree), 6 (LAEA 100 km), 7 (LAEA 20 km), or deliver rasters.",
        {**ZARR, "input": {"type": "tiling-grid", "id": 0, "resolution": 10}},
    ),
    _bad(
        "Zarr of a GeoPackage",
        "input.type = 'geopackage': cannot be written as Zarr, which supports the service's WGS84 and LAEA grids "
        "only. Use one of the grids 3 (WGS84 1 degree), 6 (LAEA 100 km), 7 (LAEA 20 km), or deliver rasters.",
        {**ZARR, "input": GEOPACKAGE},
    ),
    _bad(
        "Zarr with several bands in an output",
        "processRequest.evalscript = 'bands: 3': is too many for Zarr, which has one band per output; it belongs to "
        "output default in setup(). Write an output for each band.",
        {**ZARR, "processRequest__evalscript": script(bands=3)},
    ),
    _bad(
        "Zarr with userdata",
        "processRequest.output.responses.1.format.type = 'application/json': cannot be written into a Zarr group, "
        "which contains zarr/array only. Remove this response, or deliver rasters.",
        {
            **ZARR,
            "processRequest__output": {
                "responses": [zarr("default"), {"identifier": "userdata", "format": {"type": "application/json"}}]
            },
        },
    ),
    _bad(
        "Zarr with a placeholder other than <requestId>",
        "output.delivery.s3.url = 's3://my-bucket/<tileName>': a Zarr path may hold <requestId> only. Remove "
        "<tileName>.",
        {**ZARR, "output__delivery": {"s3": {"url": "s3://my-bucket/<tileName>"}}},
    ),
    _bad(
        "Zarr chunks that do not divide a tile",
        "output.arrayParameters.chunks = [1, 512, 512]: must divide a tile, which has 2000 x 2000 pixels at this "
        "resolution. Write e.g. [1, 1000, 1000].",
        {**ZARR, "output__arrayParameters__chunks": [1, 512, 512]},
    ),
    _bad(
        "Zarr with a type too small for the output",
        "output.arrayParameters.dtype = '|u1': cannot hold the sampleType FLOAT32 of output default. Choose one "
        "of <f4, >f4, <f8, >f8.",
        {**ZARR, "output__arrayParameters__dtype": "|u1"},
    ),
    _bad(
        "Zarr with a fill value of another type",
        "output.arrayParameters.fill_value = -9999.0: cannot be stored as <u2. Choose a value of that type.",
        {
            **ZARR,
            "processRequest__evalscript": script(sampleType="UINT16"),
            "output__arrayParameters__dtype": "<u2",
            "output__arrayParameters__fill_value": -9999,
        },
    ),
    _bad(
        "Zarr without array parameters",
        "output.arrayParameters = None: lacks dtype, order, chunks, fill_value for the output default. Write e.g."
        ' {"dtype": "<f4", "order": "C", "chunks": [1, 1000, 1000], "fill_value": 0}.',
        {**ZARR, "output__arrayParameters": ...},
    ),
    _bad(
        "A Zarr override of an array that does not exist",
        "output.arrayOverrides.nvdi = 'nvdi': is not the identifier of a response: default. Correct the name.",
        {**ZARR, "output__arrayOverrides": {"nvdi": {"dtype": "<f8"}}},
    ),
    _bad(
        "Several mistakes, all of them reported",
        "input.id = 5: is not the id of a tiling grid. Choose one of 0 (UTM 20 km); 1 (UTM 10 km); 2 (UTM 100 "
        "km); 3 (WGS84 1 degree); 6 (LAEA 100 km); 7 (LAEA 20 km).\n"
        "output.delivery.s3.url = 's3://my-bucket/<tileID>': <tileID> is not a placeholder the service knows. "
        "Write <tileName> instead.\n"
        "processRequest.evalscript = 'sampleType: INT8': is not allowed with output.cogOutput; it is that of "
        "output default in setup(). Use INT16, or remove cogOutput.",
        {
            "input__id": 5,
            "output__cogOutput": True,
            "output__delivery": {"s3": {"url": "s3://my-bucket/<tileID>"}},
            "processRequest__evalscript": script(sampleType="INT8"),
        },
    ),
    *STATISTICS,
)

DELIVERY = {"output__delivery": {"s3": {"url": "s3://my-bucket/ndvi"}}}
ELSEWHERE: Answers = {"HEAD": (403, {"x-amz-bucket-region": "us-west-2"}, b"")}

BUCKETS = (
    _bad_bucket(
        "A bucket that does not exist",
        "output.delivery.s3.url = 's3://no-such-bucket/ndvi': the bucket refused connection 'aws_default'. "
        "Could not write s3://no-such-bucket/ndvi/write-check/request-write-check.json. The storage said: HTTP "
        "404, NoSuchBucket, The specified bucket does not exist. Check the bucket name, the endpoint URL and the "
        "tenant; the bucket does not exist there. If the service can reach it and Airflow cannot, switch this "
        "check off with check_bucket=False.",
        {"output__delivery": {"s3": {"url": "s3://no-such-bucket/ndvi"}}},
    ),
    _bad_bucket(
        "A secret that does not belong to the key",
        "output.delivery.s3.url = 's3://my-bucket/ndvi': the bucket refused connection 'aws_default'. Could "
        "not write s3://my-bucket/ndvi/write-check/request-write-check.json. The storage said: HTTP 403, "
        "SignatureDoesNotMatch, The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method. Check the access key and secret in the connection used for this "
        "bucket: the secret does not belong to the key. If the service can reach it and Airflow cannot, switch "
        "this check off with check_bucket=False.",
        DELIVERY,
        secret="not-" + SECRET,
    ),
    _bad_bucket(
        "A key that the bucket does not know",
        "output.delivery.s3.url = 's3://my-bucket/ndvi': the bucket refused connection 'aws_default'. Could "
        "not write s3://my-bucket/ndvi/write-check/request-write-check.json. The storage said: HTTP 403, "
        "InvalidAccessKeyId, The Access Key Id you provided does not exist in our records. Check the access key "
        "and secret in the connection used for this bucket: this endpoint does not know the key. If the service "
        "can reach it and Airflow cannot, switch this check off with check_bucket=False.",
        DELIVERY,
        key="AKIAIOSFODNN7EXAMPLE",
    ),
    _bad_bucket(
        "A bucket without the permission to write",
        "output.delivery.s3.url = 's3://my-bucket/ndvi': the bucket refused connection 'aws_default'. Could "
        "not write s3://my-bucket/ndvi/write-check/request-write-check.json. The storage said: HTTP 403, "
        "AccessDenied, Access Denied. Check the access key and secret in the connection used for this bucket, and"
        " that they allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket; without s3:ListBucket a "
        "missing object is refused too. If the service can reach it and Airflow cannot, switch this check off "
        "with check_bucket=False.",
        DELIVERY,
        {"PUT": (403, {}, DENIED)},
    ),
    _bad_bucket(
        "A bucket without the permission to read",
        "output.delivery.s3.url = 's3://my-bucket/ndvi': the bucket refused connection 'aws_default'. Could "
        "not read s3://my-bucket/ndvi/write-check/request-write-check.json. The storage said: HTTP 403, "
        "AccessDenied, Access Denied. Check the access key and secret in the connection used for this bucket, and"
        " that they allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket; without s3:ListBucket a "
        "missing object is refused too. If the service can reach it and Airflow cannot, switch this check off "
        "with check_bucket=False.",
        DELIVERY,
        {"GET": (403, {}, DENIED)},
    ),
    _bad_bucket(
        "A bucket without the permission to list",
        "output.delivery.s3.url = 's3://my-bucket/ndvi': the bucket refused connection 'aws_default'. Could "
        "not list s3://my-bucket/ndvi/write-check/request-write-check.json. The storage said: HTTP 403, "
        "AccessDenied, Access Denied. Check the access key and secret in the connection used for this bucket, and"
        " that they allow s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket; without s3:ListBucket a "
        "missing object is refused too. If the service can reach it and Airflow cannot, switch this check off "
        "with check_bucket=False.",
        DELIVERY,
        {"LIST": (403, {}, DENIED)},
    ),
    _bad_bucket(
        "A bucket without the permission to delete",
        "output.delivery.s3.url = 's3://my-bucket/ndvi': the bucket refused connection 'aws_default'. Could "
        "not delete s3://my-bucket/ndvi/write-check/request-write-check.json. The storage said: AccessDenied. "
        "Check the access key and secret in the connection used for this bucket, and that they allow "
        "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket; without s3:ListBucket a missing object is"
        " refused too. If the service can reach it and Airflow cannot, switch this check off with "
        "check_bucket=False.",
        DELIVERY,
        {"POST": (200, {}, NOT_DELETED)},
    ),
    _bad_bucket(
        "A GeoPackage that does not exist",
        "input.features.s3.url = 's3://my-bucket/fields.gpkg': does not exist. Write the GeoPackage first, or "
        "correct the URL.",
        {**DELIVERY, "input": GEOPACKAGE},
    ),
    _bad_bucket(
        "A bucket in another region than the request names",
        "output.delivery.s3.region = 'eu-west-1': is not us-west-2, where the bucket is. Write \"region\": "
        '"us-west-2" beside the url.',
        {"output__delivery": {"s3": {"url": "s3://my-bucket/ndvi", "region": "eu-west-1"}}},
        ELSEWHERE,
        deployment="aws-eu-central-1",
    ),
    _bad_bucket(
        "A bucket in another region that the request does not name",
        "output.delivery.s3.region = None: is absent, which means the deployment's own, and not for "
        'us-west-2, where the bucket is. Write "region": "us-west-2" beside the url.',
        DELIVERY,
        ELSEWHERE,
        deployment="aws-eu-central-1",
    ),
    _bad_bucket(
        "A collection in a bucket of another region",
        "output.delivery.s3.region = None: is absent, which means the deployment's own, and not for "
        'us-west-2, where the bucket is. Write "region": "us-west-2" beside the url.\n'
        "output.delivery.s3.region = 'us-west-2': is not eu-central-1, the region of AWS EU (Frankfurt), but "
        "output.createCollection requires that. Deliver to a bucket in eu-central-1.",
        {**COLLECTION, **DELIVERY},
        ELSEWHERE,
        deployment="aws-eu-central-1",
    ),
    _bad_bucket(
        "Two buckets that refuse access",
        "output.delivery.s3.url = 's3://no-such-bucket/ndvi': the bucket refused connection 'aws_default'. "
        "Could not write s3://no-such-bucket/ndvi/write-check/request-write-check.json. The storage said: HTTP "
        "404, NoSuchBucket, The specified bucket does not exist. Check the bucket name, the endpoint URL and the "
        "tenant; the bucket does not exist there. If the service can reach it and Airflow cannot, switch this "
        "check off with check_bucket=False.\n"
        "input.features.s3.url = 's3://my-bucket/fields.gpkg': does not exist. Write the GeoPackage first, or "
        "correct the URL.",
        {"output__delivery": {"s3": {"url": "s3://no-such-bucket/ndvi"}}, "input": GEOPACKAGE},
    ),
)
