"""What can be known about a request offline: rules one by one, all of them together, and against the simulator."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS, Deployment
from airflow_provider_sentinelhub.client.preflight.examine import examine
from airflow_provider_sentinelhub.client.requests.crs import SUPPORTED_EPSG, epsg_of
from airflow_provider_sentinelhub.client.requests.findings import Findings
from airflow_provider_sentinelhub.simulator.apis.batch_v2 import BatchV2
from airflow_provider_sentinelhub.simulator.evalscript import parse
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed, Problem
from tests.client.client_harness import build_document, everything_said

BOUNDS = "processRequest__input__bounds"
RESPONSES = "processRequest__output"
SCRIPT = """//VERSION=3
function setup() {{ return {{input: {input}, output: {output}}}; }}
function evaluatePixel(s) {{ return [s.B04]; }}
"""
EU, US, CDSE = (DEPLOYMENTS[key] for key in ("aws-eu-central-1", "aws-us-west-2", "cdse"))
TIFF, JSON, ZARR_ARRAY = ({"type": kind} for kind in ("image/tiff", "application/json", "zarr/array"))
ZARR: dict[str, Any] = {
    "input": {"type": "tiling-grid", "id": 6, "resolution": 50.0},
    RESPONSES: {"responses": [{"identifier": "default", "format": ZARR_ARRAY}]},
    "output": {
        "type": "zarr",
        "delivery": {"s3": {"url": "s3://bucket/f"}},
        "group": {"zarr_format": 2},
        "arrayParameters": {"dtype": "<f4", "order": "C", "chunks": [1, 1000, 1000], "fill_value": 0.0},
    },
}


def script(output: str = "{bands: 1}", source: str = '["B04"]') -> str:
    return SCRIPT.format(input=source, output=output)


# The one band that every collection has.
ANY_DATA = script(source='["dataMask"]')


def look(deployment: Any = None, **changes: Any) -> Findings:
    document = build_document(**{"processRequest__evalscript": script(), **changes})
    return examine(document, BATCH_V2.check, BATCH_V2.rules, deployment).findings


def errors(deployment: Any = None, **changes: Any) -> list[str]:
    return [error.field for error in look(deployment, **changes).errors]


def warnings(deployment: Any = None, **changes: Any) -> list[str]:
    found = look(deployment, **changes)
    assert found.errors == ()
    return [str(warning) for warning in found.warnings]


def test_nothing_is_said_of_a_good_request() -> None:
    assert look(EU) == look() == look(**ZARR) == Findings()


@pytest.mark.parametrize(
    "changes",
    [
        {RESPONSES: {"responses": [{"format": {"type": ["image/tiff"]}}]}},
        {f"{BOUNDS}": {"geometry": {"type": "Polygon", "coordinates": [[[10**400, 1], [2, 3], [4, 5], [10**400, 1]]]}}},
        {f"{BOUNDS}": {"geometry": {"type": [None], "coordinates": []}}},
        {"input__id": [0]},
        {"output": {"type": {}, "delivery": 5}},
        {"processRequest__input__data": [{"type": "dem", "dataFilter": {"maxCloudCoverage": 10**400}}]},
    ],
)
def test_no_value_stops_the_search_for_others(changes: dict[str, Any]) -> None:
    found = errors(**changes, description=5)
    assert "description" in found
    assert len(found) > 1


@pytest.mark.parametrize(
    ("name", "meant"), [("datafilter", "dataFilter"), ("processing ", "processing"), ("Type", "type")]
)
def test_a_misspelt_field_of_a_data_source(name: str, meant: str) -> None:
    (error,) = look(processRequest__input__data=[{"type": "sentinel-2-l2a", name: "x"}]).errors
    assert f"processRequest.input.data.0.{name} = 'x': is not a field, and nearly {meant}. Write {meant}." in str(error)


# --- the area ------------------------------------------------------------------------------------------------------


def square(x: float, y: float, side: float = 1.0) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


@pytest.mark.parametrize(
    ("bounds", "field"),
    [
        ({"bbox": [8, 41, 181, 42]}, "bbox"),
        ({"bbox": [8, -91, 9, 42]}, "bbox"),
        ({"geometry": {"type": "Polygon", "coordinates": [square(41, 100)]}}, "geometry"),
        ({"geometry": {"type": "MultiPolygon", "coordinates": [[square(8, 41)], [square(8.5, 41)]]}}, "geometry"),
        ({"geometry": {"type": "Polygon", "coordinates": [square(8, 41), square(10, 41)]}}, "geometry"),
        ({"geometry": {"type": "Polygon", "coordinates": [[]]}}, "geometry"),
        ({"geometry": {"type": "MultiPolygon", "coordinates": [[]]}}, "geometry"),
        ({"geometry": {"type": "Polygon", "coordinates": [[["a", "b"]] * 4]}}, "geometry"),
        ({"bbox": [8, 41, 9, 42], "geometry": {"type": "Polygon", "coordinates": [square(20, 41)]}}, "bbox"),
        ({"bbox": [8, 41, 9, 42], "properties": {"crs": "urn:ogc:def:crs:EPSG::27700"}}, "properties.crs"),
        ({"bbox": [8, 41, 9, 42], "properties": {"crs": "urn:ogc:def:crs:whatever"}}, "properties.crs"),
    ],
)
def test_an_area_that_is_none(bounds: dict[str, Any], field: str) -> None:
    assert errors(**{BOUNDS: bounds}) == [f"processRequest.input.bounds.{field}"]


@pytest.mark.parametrize(
    ("grid", "resolution", "bbox", "is_there"),
    [
        (0, 60.0, [0, 79, 1, 80], True),
        (0, 60.0, [0, 83, 1, 84], False),
        (2, 60.0, [0, -90, 1, -85], False),
        (0, 60.0, [10, 80.65, 11, 80.69], True),
        (0, 60.0, [10, 80.75, 11, 80.9], False),
        (1, 20.0, [10, 80.65, 11, 80.69], False),
        (1, 20.0, [10, -80.59, 11, -80.5], True),
        (2, 60.0, [10, -80.99, 11, -80.9], True),
        (2, 60.0, [10, -81.2, 11, -81.1], False),
        (3, 0.0001, [0, 83, 1, 84], True),
        (6, 50.0, [-31, 37, -25, 39], True),  # the Azores
        (6, 50.0, [-18, 27, -13, 29], True),  # the Canary Islands
        (6, 50.0, [43, 37, 45, 40], True),  # the east of Turkey
        (7, 20.0, [10, 76, 30, 81], True),  # Svalbard
        (7, 20.0, [-80, 25, -79, 26], False),  # Florida
        (7, 20.0, [-60, 40, -59, 41], False),
        (7, 20.0, [30, -5, 31, -4], False),
    ],
)
def test_an_area_where_a_grid_has_no_tiles(grid: int, resolution: float, bbox: list[float], is_there: bool) -> None:
    changes = {"input": {"type": "tiling-grid", "id": grid, "resolution": resolution}, BOUNDS: {"bbox": bbox}}
    assert errors(**changes) == ([] if is_there else ["processRequest.input.bounds"])


@pytest.mark.parametrize(
    ("grid", "epsg", "bbox", "is_there"),
    [
        (6, 32633, [480_000, 4_570_000, 560_000, 4_770_000], True),
        (6, 32721, [480_000, 8_890_000, 560_000, 8_970_000], False),  # Brazil
        (6, 3857, [-6_600_000, 4_900_000, -6_500_000, 5_000_000], False),  # the Atlantic
        (2, 32632, [500_000, 9_000_000, 510_000, 9_100_000], False),
        (2, 32632, [500_000, 8_900_000, 510_000, 8_910_000], True),
    ],
)
def test_an_area_in_metres_where_a_grid_has_no_tiles(grid: int, epsg: int, bbox: list[float], is_there: bool) -> None:
    bounds = {"bbox": bbox, "properties": {"crs": f"http://www.opengis.net/def/crs/EPSG/0/{epsg}"}}
    found = look(
        **{"input": {"type": "tiling-grid", "id": grid, "resolution": 60.0 if grid == 2 else 50.0}, BOUNDS: bounds}
    )
    assert [error.field for error in found.errors] == ([] if is_there else ["processRequest.input.bounds"])
    assert all("latitude came first" not in error.fix for error in found.errors)


def test_an_area_that_reaches_beyond_its_grid() -> None:
    (said,) = warnings(**{BOUNDS: {"bbox": [10, 80, 11, 82]}})
    assert "reaches beyond latitude 80.7, where tiling grid 0 (UTM 20 km) ends" in said
    world = {"input": {"type": "tiling-grid", "id": 3, "resolution": 0.0002}, BOUNDS: {"bbox": [-180, -90, 180, 90]}}
    assert warnings(**world) == []


def test_metres_are_taken_for_metres() -> None:
    utm = {"crs": "http://www.opengis.net/def/crs/EPSG/0/32632"}
    assert warnings(**{BOUNDS: {"bbox": [480000, 4570000, 560000, 4770000], "properties": utm}}) == []
    (said,) = warnings(**{BOUNDS: {"bbox": [8, 41, 9, 42], "properties": utm}})
    assert "looks like degrees" in said


@pytest.mark.parametrize(
    ("epsg", "bbox", "is_there"),
    [
        (32632, [-900_000, -500_000, 1_900_000, 9_300_000], True),
        (32732, [300_000, 1_000_000, 700_000, 10_500_000], True),
        (32632, [4_600_000, 500_000, 4_600_500, 500_500], False),
        (32732, [6_300_000, 300_000, 6_300_500, 300_500], False),
        (32632, [500_000, 10_100_000, 500_500, 10_200_000], False),
        (3035, [4_600_000, 500_000, 4_600_500, 500_500], True),
    ],
)
def test_a_utm_zone_ends_somewhere(epsg: int, bbox: list[float], is_there: bool) -> None:
    bounds = {"bbox": bbox, "properties": {"crs": f"http://www.opengis.net/def/crs/EPSG/0/{epsg}"}}
    assert errors(**{BOUNDS: bounds}) == ([] if is_there else ["processRequest.input.bounds.bbox"])


@pytest.mark.parametrize(
    ("own", "is_wrong"),
    [
        ("urn:ogc:def:crs:EPSG::32632", True),
        ("EPSG:32632", True),
        ("urn:ogc:def:crs:EPSG::32633", False),
        ("ESRI:54009", None),
    ],
)
def test_a_geometrys_own_system_is_that_of_the_request(own: str, is_wrong: bool | None) -> None:
    crs = {"type": "name", "properties": {"name": own}}
    geometry = {"type": "Polygon", "coordinates": [square(500_000, 4_600_000, 1000)], "crs": crs}
    properties = {"crs": "http://www.opengis.net/def/crs/EPSG/0/32633"}
    found = look(**{BOUNDS: {"geometry": geometry, "properties": properties}})
    said = [str(each) for each in (found.warnings if is_wrong is None else found.errors)]
    assert len(said) == (is_wrong is not False)
    for each in said:
        assert each.startswith("processRequest.input.bounds.geometry.crs")
        assert "takes the coordinates to be in EPSG:32633" in each


def test_parts_that_share_an_edge_are_pointed_out() -> None:
    parts = [[square(8, 41)], [square(9, 41)]]
    bounds = {"geometry": {"type": "MultiPolygon", "coordinates": parts}, "bbox": [8.5, 41, 9.5, 42]}
    (said,) = warnings(**{BOUNDS: bounds})
    assert "geometry: has parts that share an edge" in said


def test_a_geometry_of_very_many_parts_is_pointed_out() -> None:
    parts = [[square(8 + n % 40 / 20, 41 + n // 40 / 20, 0.01)] for n in range(1001)]
    (said,) = warnings(**{BOUNDS: {"geometry": {"type": "MultiPolygon", "coordinates": parts}}})
    assert "1,001 parts" in said


def test_an_area_is_asked_for_beside_other_mistakes() -> None:
    assert errors(**{BOUNDS: ..., "input__id": 99}) == ["input.id", "processRequest.input.bounds"]
    assert errors(**{BOUNDS: ..., "input": {"type": "geopackage", "features": {"s3": {"url": "s3://bucket/f"}}}}) == []


@pytest.mark.parametrize(
    ("address", "epsg"),
    [
        ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", 4326),
        ("urn:ogc:def:crs:OGC::CRS84", 4326),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", 4326),
        ("http://www.opengis.net/def/crs/EPSG/0/3035", 3035),
        ("https://www.opengis.net/def/crs/EPSG/0/32760", 32760),
        ("urn:ogc:def:crs:EPSG::32633", 32633),
        ("urn:ogc:def:crs:EPSG:9.6:4326", 4326),
        ("urn:ogc:def:crs:EPSG::", None),
        ("EPSG:4326 ", None),
    ],
)
def test_the_code_in_the_address_of_a_crs(address: str, epsg: int | None) -> None:
    assert epsg_of(address) == epsg


def test_the_systems_the_service_knows() -> None:
    assert {4326, 3857, 3035, 32601, 32660, 32701, 32760, 28992} <= SUPPORTED_EPSG
    assert not {27700, 31287, 32600, 32661, 32700, 32761} & SUPPORTED_EPSG
    assert len(SUPPORTED_EPSG) == 2 + 60 + 60 + 24


# --- outputs and the evalscript ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "evalscript",
    [
        script(),
        "  //VERSION=3\n" + script(),
        "\ufeff" + script(),
        script().replace("//VERSION=3", "//VERSION=3 (auto-converted from 1)"),
        script().replace("//VERSION=3", "// version = 3"),
        script('{id: "default", bands: ["a", "b"], sampleType: SampleType.FLOAT32}'),
        script('{bands: 3, sampleType: "uint16"}'),
    ],
)
def test_scripts_the_service_takes(evalscript: str) -> None:
    assert warnings(processRequest__evalscript=evalscript) == []


@pytest.mark.parametrize("evalscript", ["//VERSION=30\n", "//VERSION=1\n", "/* old */ // version = 2\n"])
def test_a_script_of_another_version_is_refused(evalscript: str) -> None:
    found = errors(processRequest__evalscript=script().replace("//VERSION=3\n", evalscript))
    assert found == ["processRequest.evalscript"]


@pytest.mark.parametrize(
    ("evalscript", "said"),
    [
        ("// a script\n//VERSION=3\n", "has comments before //VERSION=3"),
        ("/* a script\n * of ours */\n\n  //VERSION=3 (converted)\n", "has comments before //VERSION=3"),
        ("", "has no line //VERSION=3"),
        ("//VERSION 3\n", "has no line //VERSION=3"),
        ("/* //VERSION=3 */", "has no line //VERSION=3"),
        ("const a = 1;\n//VERSION=3\n", "has no line //VERSION=3"),
    ],
)
def test_a_script_that_does_not_begin_with_its_version_is_pointed_out(evalscript: str, said: str) -> None:
    text = script().replace("//VERSION=3\n", evalscript)
    (warned,) = warnings(processRequest__evalscript=text)
    assert warned.startswith(f"processRequest.evalscript: {said}")
    assert parse(text) == parse(script())


def test_outputs_that_are_computed_are_compared_with_the_responses() -> None:
    computed = script('["default", "mask"].map((id) => ({id, bands: 1}))')
    (said,) = warnings(processRequest__evalscript=computed)
    assert "evalscript's output mask, so it is not delivered" in said


def test_numbers_of_bands_that_the_script_sets_later_are_not_judged() -> None:
    resizes = "function updateOutput(outputs, collections) { outputs.r.bands = collections.scenes.length; }"
    changes: dict[str, Any] = {
        "output__cogOutput": True,
        "output__createCollection": True,
        RESPONSES: {"responses": [{"identifier": name, "format": TIFF} for name in ("r", "r2")]},
    }
    outputs = script('[{id: "r", bands: 3}, {id: "r2", bands: 1}]')
    assert errors(processRequest__evalscript=outputs, **changes) == ["output.createCollection"]
    assert errors(processRequest__evalscript=outputs + resizes, **changes) == []
    assert errors(processRequest__evalscript=f"{outputs}// {resizes}", **changes) == ["output.createCollection"]


def test_outputs_that_cannot_be_read_are_no_mistake() -> None:
    (said,) = warnings(processRequest__evalscript=script("[{id: 7, bands: 1}, {bands: 1}]"))
    assert "not all outputs of setup() can be read" in said


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ("{bands: 1", "is not JavaScript (line 2, column"),
        ("{bands: number}", "fails in setup() (line 2, column"),
        ("{bands: 1}, get input() { throw new Error('no input') }", "Error: no input"),
    ],
)
def test_a_script_that_fails_is_refused_with_its_line(outputs: str, said: str) -> None:
    (error,) = look(processRequest__evalscript=script(outputs)).errors
    assert said in str(error)
    assert str(error.value).startswith("function setup() {")


def test_an_output_nobody_asked_for_is_pointed_out() -> None:
    (said,) = warnings(processRequest__evalscript=script('[{bands: 1}, {id: "mask", bands: 1}, {id: "x", bands: 1}]'))
    assert "evalscript's output mask, x, so it is not delivered" in said


def test_userdata_nobody_writes_is_pointed_out() -> None:
    responses = {"responses": [{"format": TIFF}, {"identifier": "userdata", "format": JSON}]}
    (said,) = warnings(**{RESPONSES: responses})
    assert "never sets outputMetadata.userData" in said
    writes = script() + "function updateOutputMetadata(scenes, inp, out) { out.userData = {}; }"
    assert warnings(**{RESPONSES: responses, "processRequest__evalscript": writes}) == []


@pytest.mark.parametrize(
    ("responses", "fields"),
    [
        ([{"format": TIFF}, {"identifier": "default", "format": TIFF}], [".1.identifier"]),
        ([{"identifier": "userdata", "format": TIFF}], [".0.identifier"]),
        ([{"format": JSON}], [".0.format.type"]),
        ([{"format": ZARR_ARRAY}], [".0.format.type"]),
        (
            [{"identifier": "b", "format": TIFF}, {"identifier": "a", "format": TIFF}],
            [".0.identifier", ".1.identifier"],
        ),
    ],
)
def test_responses_that_cannot_be(responses: list[Any], fields: list[str]) -> None:
    found = errors(**{RESPONSES: {"responses": responses}})
    assert found == [f"processRequest.output.responses{field}" for field in fields]


def test_inputs_and_data_sources_are_compared_where_there_are_several() -> None:
    two = [{"id": "a", "type": "sentinel-2-l2a"}, {"id": "b", "type": "sentinel-2-l1c"}]
    both = script(source='[{datasource: "a", bands: ["B04"]}, {datasource: "b", bands: ["B04"]}]')
    assert warnings(processRequest__input__data=two, processRequest__evalscript=both) == []
    unnamed = script(source='[{bands: ["B04"]}, {bands: ["B04"]}]')
    assert warnings(processRequest__input__data=two, processRequest__evalscript=unnamed) == []
    (said,) = warnings(processRequest__input__data=two)
    assert "setup() has 1 inputs for 2 data sources" in said


def test_two_data_sources_have_two_ids() -> None:
    two = [{"id": "a", "type": "sentinel-2-l2a"}, {"id": "a", "type": "sentinel-2-l1c"}]
    both = script(source='[{datasource: "a", bands: ["B04"]}, {datasource: "a", bands: ["B04"]}]')
    found = errors(processRequest__input__data=two, processRequest__evalscript=both)
    assert found == ["processRequest.input.data.1.id"]


# --- files, collections, Zarr --------------------------------------------------------------------------------------


UUID = "5c1d7f36-1a2b-4c3d-8e9f-0a1b2c3d4e5f"


@pytest.mark.parametrize("kind", ["sentinel-2-l2a", "dem", "S2L2A", f"byoc-{UUID}", f"batch-{UUID}"])
def test_data_the_service_documents_pass(kind: str) -> None:
    assert warnings(processRequest__input__data=[{"type": kind}], processRequest__evalscript=ANY_DATA) == []


@pytest.mark.parametrize(
    ("kind", "fact", "fix"),
    [
        ("sentinel-2-l2", "is not a data type", "Write sentinel-2-l"),
        ("ikonos", "is not a data type", "Known are sentinel-1-grd, "),
        ("byoc-mine", "does not end with the id of a collection", "Write byoc- or batch-"),
    ],
)
def test_data_nobody_knows_are_pointed_out(kind: str, fact: str, fix: str) -> None:
    (said,) = warnings(processRequest__input__data=[{"type": kind}])
    assert said.startswith(f"processRequest.input.data.0.type: {kind} {fact}")
    assert fix in said


def test_a_misspelt_filter_is_named_beside_other_mistakes() -> None:
    wrong = {"maxCloudCover": 20, "timeRange": {"from": "2019-04-01"}, "orbitDirection": "ASCENDING"}
    assert sorted(errors(processRequest__input__data=[{"type": "sentinel-2-l2a", "dataFilter": wrong}])) == [
        "processRequest.input.data.0.dataFilter.maxCloudCover",
        "processRequest.input.data.0.dataFilter.timeRange.from",
    ]


def test_a_period_that_is_a_single_moment_is_pointed_out() -> None:
    moment = {"from": "2026-11-01T00:00:00+01:00", "to": "2026-10-31T23:00:00Z"}
    (said,) = warnings(processRequest__input__data=[{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": moment}}])
    assert "timeRange: is a single point in time" in said
    assert "If the schedule has no data interval, data_interval_start equals data_interval_end" in said


def test_what_is_skipped_is_not_overwritten() -> None:
    (said,) = warnings(output__overwrite=True, output__skipExisting=True)
    assert said.startswith("output.overwrite: has no effect on features whose results all exist")
    assert warnings(output__overwrite=True, output__skipExisting=False) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"input__id": False}, "input.id"),
        ({"output__cogParameters": {"overviewLevels": [2, 0]}}, "output.cogParameters.overviewLevels.1"),
        ({"output__cogParameters": {"overviewMinSize": -1}}, "output.cogParameters.overviewMinSize"),
    ],
)
def test_numbers_that_are_none(changes: dict[str, Any], field: str) -> None:
    assert errors(**changes, output__cogOutput=True) == [field]


def test_cog_parameters_without_cog_are_pointed_out() -> None:
    (said,) = warnings(output__cogParameters={"blockxsize": 512})
    assert "is ignored" in said
    assert warnings(output__cogOutput=True, output__cogParameters={"blockxsize": 512, "blockysize": 256}) == []


@pytest.mark.parametrize(
    ("output", "names", "clashes"),
    [
        ('[{id: "r", bands: 3}, {id: "r2", bands: 1}]', ["r", "r2"], 1),
        ('[{id: "r2", bands: 1}, {id: "r", bands: 3}]', ["r", "r2"], 1),
        ('[{id: "r", bands: 1}, {id: "r2", bands: 1}]', ["r", "r2"], 0),
        ('[{id: "r", bands: 3}, {id: "r2", bands: 2}, {id: "r3", bands: 1}]', ["r", "r2", "r3"], 2),
        ('[{id: "r", bands: 12}, {id: "r1", bands: 2}]', ["r", "r1"], 1),
        # The analysis looks at outputs without a response as well.
        ('[{id: "r", bands: 3}, {id: "r2", bands: 1}]', ["r"], 1),
        ('[{id: "r", bands: "?"}, {id: "r2", bands: 1}]', ["r", "r2"], 0),
    ],
)
def test_bands_of_a_collection_have_names_of_their_own(output: str, names: list[str], clashes: int) -> None:
    found = look(
        output__cogOutput=True,
        output__createCollection=True,
        processRequest__evalscript=script(output),
        **{RESPONSES: {"responses": [{"identifier": name, "format": TIFF} for name in names]}},
    )
    assert [error.field for error in found.errors] == ["output.createCollection"] * clashes


@pytest.mark.parametrize(
    ("dtype", "sample_type", "fits"),
    [
        ("|u1", "UINT8", True),
        ("|u1", "AUTO", True),
        ("|u1", "INT8", False),
        ("|i1", "INT8", True),
        ("|i1", "AUTO", False),
        ("<u2", "UINT8", True),
        (">u2", "INT16", False),
        ("<i2", "UINT8", True),
        (">i2", "UINT16", False),
        ("<f8", "FLOAT32", True),
        ("<f4", "INT8", True),
        ("<u2", "FLOAT32", False),
    ],
)
def test_an_array_holds_what_the_script_writes(dtype: str, sample_type: str, fits: bool) -> None:
    evalscript = script(f'{{bands: 1, sampleType: "{sample_type}"}}')
    changes = {**ZARR, "processRequest__evalscript": evalscript, "output__arrayParameters__dtype": dtype}
    assert errors(**changes) == ([] if fits else ["output.arrayParameters.dtype"])


@pytest.mark.parametrize(
    ("grid", "resolution", "chunks", "fits"),
    [
        (6, 50.0, [1, 2000, 400], True),
        (6, 50.0, [1, 2000, 600], False),
        (6, 100.0, [1, 500, 250], True),
        (3, 0.0001, [1, 1000, 1000], True),
        (3, 0.0002, [1, 625, 625], True),
        (3, 0.0002, [1, 640, 625], False),
        (7, 10.0, [1, 4000, 4000], False),
    ],
)
def test_chunks_divide_a_tile(grid: int, resolution: float, chunks: list[int], fits: bool) -> None:
    changes = copy.deepcopy(ZARR)
    changes["input"] = {"type": "tiling-grid", "id": grid, "resolution": resolution}
    changes["output"]["arrayParameters"]["chunks"] = chunks
    assert errors(**changes) == ([] if fits else ["output.arrayParameters.chunks"])


def test_overrides_complete_and_correct_the_common_parameters() -> None:
    array = ZARR["output"]["arrayParameters"]
    changes = {**ZARR, "output__arrayParameters": ..., "output__arrayOverrides": {"default": array}}
    assert errors(**changes) == []
    assert errors(**{**ZARR, "output__arrayOverrides": {"default": {"dtype": "<f2"}}}) == [
        "output.arrayOverrides.default.dtype"
    ]
    assert errors(**{**ZARR, "output__arrayOverrides": {"default": {"fill_value": 0.5}}}) == []
    assert errors(**{**ZARR, "output__arrayOverrides": {"default": {"dtype": "<i2", "fill_value": 0.5}}}) == [
        "output.arrayOverrides.default.fill_value"
    ]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_float_array_may_be_filled_with_what_json_has_no_number_for(word: str) -> None:
    changes = {**ZARR, "output__arrayOverrides": {"default": {"fill_value": word}}}
    document = build_document(**{"processRequest__evalscript": script(), **changes})
    body = examine(document, BATCH_V2.check, BATCH_V2.rules).accepted()
    assert body["output"]["arrayOverrides"] == {"default": {"fill_value": word}}
    assert errors(**{**changes, "output__arrayParameters__dtype": "<i2"})[:1] == [
        "output.arrayOverrides.default.fill_value"
    ]


@pytest.mark.parametrize("value", ["nan", "none", float("nan"), float("-inf"), [0], "1e999"])
def test_what_cannot_fill_an_array(value: Any) -> None:
    assert errors(**{**ZARR, "output__arrayParameters__fill_value": value}) == ["output.arrayParameters.fill_value"]


# --- places --------------------------------------------------------------------------------------------------------


def test_delivery_to_another_region_has_a_price() -> None:
    there = {"output__delivery": {"s3": {"url": "s3://bucket/f", "region": "us-west-2"}}}
    (said,) = warnings(EU, **there)
    assert "0.03 PU for each MB" in said
    assert "in eu-central-1" in said
    landsat = {"processRequest__input__data": [{"type": "landsat-ot-l2"}]}
    assert warnings(US, **there, **landsat) == warnings(None, **there) == warnings(CDSE, **there) == []


@pytest.mark.parametrize(
    ("region", "fix"),
    [
        ("eu-central1", "Write eu-central-1."),
        ("EU-CENTRAL-1", "Write eu-central-1."),
        ("frankfurt", "Write it as AWS does, e.g. eu-central-1."),
    ],
)
def test_a_region_that_is_none(region: str, fix: str) -> None:
    found = look(EU, output__delivery={"s3": {"url": "s3://bucket/f", "region": region}})
    assert [(error.field, error.fix) for error in found.errors] == [("output.delivery.s3.region", fix)]
    assert found.warnings == ()


@pytest.mark.parametrize("region", ["us-gov-west-1", "ap-southeast-2", "eu-isoe-west-1", "mx-central-1"])
def test_regions_of_all_kinds_have_a_price(region: str) -> None:
    assert len(warnings(EU, output__delivery={"s3": {"url": "s3://bucket/f", "region": region}})) == 1


def test_delivery_to_another_cloud_has_a_price() -> None:
    there = {"output__delivery": {"gs": {"url": "gs://bucket/f"}}}
    (said,) = warnings(EU, **there)
    assert "0.1 PU for each MB" in said
    assert errors(CDSE, **there) == ["output.delivery.gs.url"]


@pytest.mark.parametrize(
    ("kind", "deployment", "is_there"),
    [
        ("sentinel-2-l2a", EU, True),
        ("S2L2A", US, False),
        ("sentinel-5p-l2", EU, False),
        ("sentinel-5p-l2", CDSE, True),
        ("landsat-ot-l1", CDSE, True),
        ("landsat-tm-l2", CDSE, False),
        ("byoc-017aa0ae-33a6-45d3-8548-0f7d1041b40c", US, True),
        ("dem", US, True),
        ("sentinel-5p-l2", DEPLOYMENTS["custom"], True),
    ],
)
def test_data_of_another_deployment_is_refused(kind: str, deployment: Deployment, is_there: bool) -> None:
    of = {"processRequest__input__data": [{"type": kind}], "processRequest__evalscript": ANY_DATA}
    found = errors(deployment, **of)
    assert found == ["processRequest.input.data.0.type"] * (not is_there)


def test_thirty_metres_exist_on_one_deployment() -> None:
    assert errors(EU, input__resolution=30) == errors(US, input__resolution=30)[:1] == ["input.resolution"]
    assert errors(CDSE, input__resolution=30) == errors(DEPLOYMENTS["custom"], input__resolution=30) == []
    assert warnings(CDSE, input__resolution=30) == []
    (said,) = warnings(input__resolution=30)
    assert "30 m exists on Copernicus Data Space Ecosystem only" in said
    assert "10, 20, 60" in said


# --- the whole -----------------------------------------------------------------------------------------------------


def test_a_large_request_is_pointed_out() -> None:
    ring = [[8 + n / 100_000, 41.0] for n in range(60_000)]
    geometry = {"type": "Polygon", "coordinates": [[*ring, [8, 42], [8, 41]]]}
    (said,) = warnings(**{BOUNDS: {"geometry": geometry}})
    assert said.startswith("request: is 1.")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [None], [1, {"a": [None]}]])
def test_what_json_cannot_say_is_not_dropped_silently(value: Any) -> None:
    (field,) = errors(processRequest__input__data=[{"type": "sentinel-2-l2a", "dataFilter": {"own": value}}])
    assert field.startswith("processRequest.input.data.0.dataFilter.own")
    assert errors(processRequest__input__data=[{"type": "sentinel-2-l2a", "dataFilter": {"own": None}}]) == []


def test_of_many_nulls_a_few_are_named() -> None:
    source = {"type": "sentinel-2-l2a", "dataFilter": {"own": [None] * 1000}}
    assert len(errors(processRequest__input__data=[source])) == 5


def test_all_is_said_at_once_whatever_its_kind() -> None:
    found = errors(
        EU,
        input__id=99,
        output__skipExistin=True,
        output__cogOutput=True,
        output__collectionId="mine",
        processRequest__evalscript=script('{id: "other", bands: 1, sampleType: "INT8"}'),
        **{BOUNDS: {"bbox": [8, 95, 9, 96]}},
    )
    assert found == [
        "input.id",
        "output.skipExistin",
        "processRequest.input.bounds.bbox",
        "processRequest.output.responses.0.identifier",
        "output.collectionId",
    ]


def test_what_templating_made_of_a_part_is_read_beside_other_mistakes() -> None:
    bounds = json.dumps({"bbox": [8, 95, 9, 96]})
    assert errors(**{BOUNDS: bounds, "input__id": 99}) == ["input.id", "processRequest.input.bounds.bbox"]


SECRET = "wJalrXUtnFEMIbPxRfiCY"


@pytest.mark.parametrize("changes", [{}, {"input__id": 99}, {"output__type": "rasta"}])
def test_no_secret_is_shown(changes: dict[str, Any]) -> None:
    bucket = {"url": "s3://bucket/<x>", "accessKey": SECRET, "secretAccessKey": SECRET, "secretAccesKey": SECRET}
    found = look(EU, output__delivery={"s3": bucket}, output__createCollection=True, **changes)
    with pytest.raises(InvalidParameter) as caught:
        found.raise_errors()
    assert SECRET not in everything_said(caught.value) + repr(found)


KEYS = [
    "type",
    "id",
    "bbox",
    "geometry",
    "coordinates",
    "properties",
    "crs",
    "responses",
    "identifier",
    "format",
    "s3",
    "gs",
    "url",
    "region",
    "chunks",
    "dtype",
    "fill_value",
    "default",
    "data",
    "resolution",
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5000)
    | st.floats()
    | st.sampled_from(
        ["zarr", "raster", "tiling-grid", "geopackage", "image/tiff", "<f4", "Polygon", script(), "{", "a"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
PATHS = [
    "processRequest", "processRequest__input", BOUNDS, "processRequest__input__data", RESPONSES,
    "processRequest__evalscript", "input", "input__id", "input__resolution", "output", "output__delivery",
    "output__delivery__s3", "output__delivery__s3__region", "output__cogParameters", "output__createCollection",
    "output__collectionId", "output__arrayParameters", "output__arrayOverrides",
]  # fmt: skip


@given(st.sampled_from(PATHS), values, st.booleans(), st.sampled_from([None, *DEPLOYMENTS.values()]))
def test_no_request_is_too_odd(path: str, value: Any, zarr: bool, deployment: Deployment | None) -> None:
    found = look(deployment, **{**(ZARR if zarr else {}), path: value})
    assert all(error.rule and error.fix for error in found.errors)


@given(values)
def test_no_json_is_too_odd(value: Any) -> None:
    assert examine(value, BATCH_V2.check, BATCH_V2.rules).findings.errors


MUTATIONS: dict[str, list[Any]] = {
    BOUNDS: [
        ...,
        {},
        {"bbox": [9, 41, 8, 42]},
        {"bbox": [8, 41, 9, 42]},
        {"geometry": {"type": "Polygon", "coordinates": [[[8, 41], [9, 42], [9, 41], [8, 42], [8, 41]]]}},
    ],
    f"{BOUNDS}__bbox": [[8, 41, 9], [8, 41, 9, 42]],
    f"{BOUNDS}__geometry": [
        {"type": "Polygon", "coordinates": [square(8, 41)]},
        {"type": "Polygon", "coordinates": [square(8, 41)[:-1]]},
    ],
    "processRequest__input__data": [[], [{}], [{"type": "dem"}]],
    RESPONSES: [
        ...,
        {"width": 5},
        {"responses": [{"format": JSON}]},
        {"responses": [{"identifier": "userdata", "format": TIFF}]},
        {"responses": [{"format": TIFF}, {"format": TIFF}]},
        {"responses": [{"identifier": "mask", "format": TIFF}, {"format": TIFF}]},
        {"responses": [{"format": ZARR_ARRAY}]},
        {"responses": [{"format": {"type": "image/png"}}]},
    ],
    "processRequest__evalscript": [
        "",
        "function setup() {}",
        script().replace("setup", "start"),
        script().replace("evaluatePixel", "evaluate"),
        script('[{bands: 1}, {id: "mask", bands: 1}]'),
        script('{id: "mask", bands: 1}'),
    ],
    "input": [
        {"type": "tiling-grid", "id": 5, "resolution": 10},
        {"type": "tiling-grid", "id": 6, "resolution": 10},
        {"type": "tiling-grid", "id": 6, "resolution": 50},
        {"type": "tiling-grid", "id": 0, "resolution": 10, "bufferX": -1},
        {"type": "geopackage", "features": {"s3": {"url": "s3://bucket/f.gpkg"}}},
        {"type": "geopackage", "features": {"s3": {"url": "s3://bucket/f.gpkg"}}, "defaults": {"resolution": 0}},
        {"type": "features"},
    ],
    "output": [ZARR["output"], {"type": "zarr"}, {"type": "raster"}],
    "output__cogOutput": [True],
    "output__createCollection": [True],
    "output__cogParameters": [{"resamplingAlgorithm": "best"}],
    "output__arrayParameters": [..., {"dtype": "<f2"}, {"chunks": [1, 3, 3]}, {"chunks": [2, 10, 10]}],
}
mutations = st.lists(
    st.sampled_from(sorted(MUTATIONS)).flatmap(lambda path: st.tuples(st.just(path), st.sampled_from(MUTATIONS[path]))),
    max_size=3,
    # A box and a geometry together are another test's.
    unique_by=lambda change: BOUNDS if change[0].startswith(BOUNDS) else change[0],
).map(lambda changes: dict(sorted(changes)))


def simulator_refuses(document: dict[str, Any]) -> bool:
    """Whether the service, as far as the simulator knows it, would refuse a request or fail it for its evalscript."""
    document = copy.deepcopy(document)
    for place in (document.get("output", {}).get("delivery"), document.get("input", {}).get("features")):
        if isinstance(place, dict) and isinstance(place.get("s3"), dict):
            place["s3"]["iamRoleARN"] = "arn:aws:iam::123456789012:role/somebody"
    try:
        filled = BatchV2().check(document)
        setup = parse(filled["processRequest"]["evalscript"])
    except (Problem, AnalysisFailed):
        return True
    wanted = {each["identifier"] for each in filled["processRequest"]["output"]["responses"]} - {"userdata"}
    return not wanted <= set(setup.outputs)


@given(mutations, st.booleans())
def test_what_the_simulator_refuses_is_found_before(changes: dict[str, Any], zarr: bool) -> None:
    start = {"processRequest__evalscript": script(), **(ZARR if zarr else {})}
    try:
        document = build_document(**{**start, **changes})
    except (KeyError, TypeError):
        return  # one change took away what another one changes
    found = examine(document, BATCH_V2.check, BATCH_V2.rules).findings
    if simulator_refuses(document):
        assert found.errors
