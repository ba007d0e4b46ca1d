from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.batch_v2 import calls as batch_v2
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.lifecycle import description
from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask, TaskPage
from airflow_provider_sentinelhub.client.models import from_text
from tests.client.client_harness import build_document, everything_said

GRIDS = "0 (UTM 20 km); 1 (UTM 10 km); 2 (UTM 100 km); 3 (WGS84 1 degree); 6 (LAEA 100 km); 7 (LAEA 20 km)"  # one list
OPEN_RING = {"type": "Polygon", "coordinates": [[[8, 41], [9, 41], [9, 42], [8, 42]]]}
CLOSED_RING = {"type": "Polygon", "coordinates": [[[8, 41], [9, 41], [9, 42], [8, 41]]]}
GEOPACKAGE = {"type": "geopackage", "features": {"s3": {"url": "s3://bucket/features.gpkg"}}}
ZARR = {"type": "zarr", "delivery": {"s3": {"url": "s3://b/<requestId>"}}, "group": {"zarr_format": 2}}
BOUNDS = "processRequest__input__bounds"


def refusal(**changes: Any) -> str:
    with pytest.raises(InvalidParameter) as caught:
        batch_v2.check(build_document(**changes))
    return str(caught.value)


@pytest.mark.parametrize("resolution", [-1, 0, "10 m", True, [], {}, float("nan"), 10.0])
def test_a_default_resolution_beside_width_and_height_is_ignored(resolution: Any) -> None:
    given = {"width": 100, "height": 100, "resolution": resolution}
    sent = batch_v2.check(build_document(input={**GEOPACKAGE, "defaults": given}))["input"]["defaults"]
    # It is sent as it is where the service can read it.
    assert sent == ({**given} if resolution == 10.0 else {"width": 100, "height": 100})


def test_a_default_width_alone_is_allowed_beside_a_resolution() -> None:
    given = {"width": 100, "resolution": 10.0}
    assert batch_v2.check(build_document(input={**GEOPACKAGE, "defaults": given}))["input"]["defaults"] == given
    assert "greater than 0" in refusal(input={**GEOPACKAGE, "defaults": {"width": 100, "resolution": 0}})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input__id": 99}, f"input.id = 99: is not the id of a tiling grid. Choose one of {GRIDS}."),
        (
            {"input__resolution": 15},
            "input.resolution = 15: is not a resolution of tiling grid 0 (UTM 20 km). Choose one of 10, 20, 30, 60.",
        ),
        (
            {"input__id": 3},
            (
                "input.resolution = 10.0: is not a resolution of tiling grid 3 (WGS84 1 degree). "
                "Choose one of 0.0001, 0.0002."
            ),
        ),
        (
            {BOUNDS: {"geometry": OPEN_RING}},
            (
                "processRequest.input.bounds.geometry = {'type': 'Polygon', 'coordinates': [[[8, 41], [9, 41], "
                "[9, 42], [8, 42]]]}: a ring of polygon 0 is open: it starts at [8, 41] and ends at [8, 42]. "
                "Repeat its first point at the end."
            ),
        ),
        (
            {BOUNDS: {"geometry": {"type": "Point", "coordinates": [8, 41]}}},
            (
                "processRequest.input.bounds.geometry = {'type': 'Point', 'coordinates': [8, 41]}: must be a GeoJSON "
                "Polygon or MultiPolygon with coordinates. Convert or merge other geometries."
            ),
        ),
        (
            {"processRequest__evalscript": " \n"},
            "processRequest.evalscript = ' \\n': is empty. Give the script's text, or a path that ends in .js.",
        ),
        (
            {"processRequest__evalscript": None},
            "processRequest.evalscript = None: input should be a valid string. Correct the value.",
        ),
        ({"processRequest__evalscript": ...}, "processRequest.evalscript = None: is required. Add it."),
        ({"input": None}, "input = None: must be a JSON object. Write an object with the fields in it."),
        (
            {f"{BOUNDS}__bbox": [9.6, 41.3, 8.5, 43.1]},
            (
                "processRequest.input.bounds.bbox = [9.6, 41.3, 8.5, 43.1]: west must be less than east, and south "
                "less than north. Write [west, south, east, north], probably [8.5, 41.3, 9.6, 43.1]."
            ),
        ),
        (
            {f"{BOUNDS}__bbox": [8.5, 41.3]},
            "processRequest.input.bounds.bbox = [8.5, 41.3]: must have four numbers. Write [west, south, east, north].",
        ),
        (
            {f"{BOUNDS}__bbox": [8.5, 41.3, float("inf"), 43.1]},
            "processRequest.input.bounds.bbox.2 = inf: input should be a finite number. Correct the value.",
        ),
        (
            {f"{BOUNDS}__properties": {"crs": "EPSG:4326"}},
            (
                "processRequest.input.bounds.properties.crs = 'EPSG:4326': must be the address of a CRS. "
                "Write http://www.opengis.net/def/crs/OGC/1.3/CRS84 or http://www.opengis.net/def/crs/EPSG/0/32633."
            ),
        ),
        (
            {"input__bufferx": 5},
            "input.bufferx = 5: is not a field of this part of the request. Check the spelling.",
        ),
        ({"input__bufferX": True}, "input.bufferX = True: is not a number. Write a number."),
        ({"input__resolution": True}, "input.resolution = True: is not a number. Write a number."),
        ({f"{BOUNDS}__bbox": [True, 41.3, 9.6, 43.1]}, "processRequest.input.bounds.bbox.0 = True: is not a number."),
        (
            {f"{BOUNDS}__properties": {"CRS": "EPSG:4326"}},
            "processRequest.input.bounds.properties.CRS = 'EPSG:4326': is not a field of this part of the request.",
        ),
        (
            {"output__delivery__s3__region": ""},
            "output.delivery.s3.region = '': is not the name of a region. Write it as the provider of the bucket does",
        ),
        (
            {"processRequest__input__data__0__processing": {"speckleFilter": "LEE"}},
            "processRequest.input.data.0.processing.speckleFilter = 'LEE': must be a JSON object.",
        ),
        (
            {"processRequest__input__data__0__processing": {"upsampling": "cubic"}},
            "processRequest.input.data.0.processing.upsampling = 'cubic': input should be 'NEAREST', 'BILINEAR', 'BI",
        ),
        (
            {"processRequest__input__data__0__dataFilter": {"timeRange": {"fron": "2024-04-01T00:00:00Z"}}},
            "processRequest.input.data.0.dataFilter.timeRange.fron = '2024-04-01T00:00:00Z': is not a field of this",
        ),
        (
            {"processRequest__input__data__0__dataFilter": {"timeRange": {"from": "0001-01-01T00:00:00+14:00"}}},
            "processRequest.input.data.0.dataFilter.timeRange.from = '0001-01-01T00:00:00+14:00': is outside of the",
        ),
        ({"input__bufferX": -1}, "input.bufferX = -1: input should be greater than or equal to 0. Correct the value."),
        ({"input__type": "grid"}, "input.type = 'grid': must be one of 'tiling-grid', 'geopackage'. Choose one."),
        ({"input__type": ...}, "input.type = None: is required. Add it."),
        ({"output__type": ...}, "output.type = None: is required. Add it."),
        (
            {"processRequest__output__width": 512, "processRequest__output__resx": 10},
            (
                ": a batch takes no resx, width. Remove it: the tiling grid's resolution, or the GeoPackage's, "
                "decides the size."
            ),
        ),
        (
            {"processRequest__output__responses": [{"format": {"type": "image/png"}}]},
            (
                "processRequest.output.responses.0.format.type = 'image/png': batch writes image/tiff, "
                "application/json and zarr/array only. Choose one of them."
            ),
        ),
        ({"processRequest__input__data": []}, "processRequest.input.data = []: value should have at least 1 item"),
        (
            {"output__delivery": {}},
            'output.delivery = {}: must hold either s3 or gs. Write {"s3": {"url": "s3://bucket/path"}}.',
        ),
        (
            {"input": {**GEOPACKAGE, "defaults": {"width": 100}}},
            (
                "input.defaults = {'width': 100}: width and height must be given together. Give both, or a resolution "
                "instead."
            ),
        ),
        (
            {"input": {**GEOPACKAGE, "defaults": {"width": 3501, "height": 1}}},
            "input.defaults.width = 3501: input should be less than or equal to 3500. Correct the value.",
        ),
        (
            {"output": {**ZARR, "arrayParameters": {"chunks": [2, 10, 10]}}},
            "output.arrayParameters.chunks = [2, 10, 10]: must be [1, height, width]. Write e.g. [1, 1000, 1000].",
        ),
        (
            {"output": {**ZARR, "arrayOverrides": {"ndvi": {"order": "F"}}}},
            "output.arrayOverrides.ndvi.order = 'F': input should be 'C'. Correct the value.",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(**changes)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidParameter) as caught:
        batch_v2.check(
            build_document(
                processRequest__evalscript="",
                processRequest__input__bounds__bbox=[2, 2, 1, 1],
                input__id=99,
                output__skipExistin=True,
            )
        )
    error = caught.value
    assert [line.split(" = ")[0] for line in str(error).splitlines()] == [
        "processRequest.input.bounds.bbox",
        "processRequest.evalscript",
        "input.id",
        "output.skipExistin",
    ]
    assert error.field == "processRequest.input.bounds.bbox"
    assert [other.field for other in error.others] == ["processRequest.evalscript", "input.id", "output.skipExistin"]
    assert (error.rule, error.fix) == (
        "west must be less than east, and south less than north",
        "Write [west, south, east, north], probably [1.0, 1.0, 2.0, 2.0].",
    )


def test_a_long_value_is_shortened() -> None:
    long = [[[n, n] for n in range(1000)]]
    said = refusal(processRequest__input__bounds__geometry={"type": "Polygon", "coordinates": long})
    assert len(said) < 500
    assert "characters)" in said


@pytest.mark.parametrize("request_", ["nonsense", None, 5, [], "[1]"])
def test_what_is_no_request_at_all_is_refused(request_: Any) -> None:
    with pytest.raises(InvalidParameter, match=r"^request = "):
        batch_v2.check(request_)


@pytest.mark.parametrize("text", ["{{ 1 }}", "{{1}}", "{[]: 1}", "{{ bounds }}", "[" * 5000, "{", "(", "[1, 2"])
@pytest.mark.parametrize("path", [BOUNDS, f"{BOUNDS}__geometry", f"{BOUNDS}__bbox", "input", "output__delivery"])
def test_a_text_that_is_no_list_or_dict_is_refused(path: str, text: str) -> None:
    assert f"{path.replace('__', '.')} = " in refusal(**{path: text})


@pytest.mark.parametrize(
    "coordinates", [[1], [[1]], [[[1]]], [None], [[None]], ["text"], [{}], [[[[]]]], [[]] * 2, [1, [2]]]
)
@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
def test_coordinates_of_the_wrong_depth_are_no_accident(kind: str, coordinates: Any) -> None:
    geometry = {"type": kind, "coordinates": coordinates}
    try:
        batch_v2.check(build_document(processRequest__input__bounds__geometry=geometry))
    except InvalidParameter as e:
        assert "geometry" in str(e)  # noqa: PT017 - an empty polygon is left to the service


SECRET = "wJalrXUtnFEMIbPxRfiCY"
KEYS = {"url": "s3://b", "accessKey": SECRET, "secretAccessKey": SECRET}


@pytest.mark.parametrize(
    "changes",
    [
        {"output": {"delivery": {"s3": KEYS}}},
        {"output__type": "rasta", "output__delivery": {"s3": KEYS}},
        {"output__delivery": {"s3": KEYS, "gs": {"url": "gs://b", "credentials": SECRET}}},
        {"output__delivery": {"s3": {**KEYS, "secretAccesKey": SECRET}}},
        {"output__delivery": {"s3": {**KEYS, "accessKey": [SECRET]}}},
        {"output__delivery": {"s3": str(KEYS)[:-1]}},
        {"output__delivery": {"gs": {"url": "gs://b", "Credentials": SECRET}}},
        {"output__delivery": [KEYS]},
        {"input__delivery": {"s3": KEYS}},
    ],
)
def test_no_message_shows_a_secret(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter) as caught:
        batch_v2.check(build_document(**changes))
    assert SECRET not in everything_said(caught.value)
    assert SECRET not in repr([vars(other) for other in caught.value.others])


# --- what templating makes of lists and dicts ---------------------------------------------------------------------


def containers(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if isinstance(value, (dict, list)) else []
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [deeper for key, item in items for deeper in containers(item, (*path, key))]


FULL = build_document(
    processRequest__input__data=[
        {"type": "sentinel-2-l2a", "dataFilter": {"maxCloudCoverage": 20}, "processing": {"upsampling": "BILINEAR"}}
    ],
    processRequest__input__bounds={
        "bbox": [8.5, 41.3, 9.6, 43.1],
        "geometry": CLOSED_RING,
        "properties": {"crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
    },
    output__cogParameters={"overviewLevels": [2, 4], "usePredictor": True},
)
FULL_ZARR = build_document(
    input={**GEOPACKAGE, "defaults": {"resolution": 10.0}},
    output={
        **ZARR,
        "group": {"zarr_format": 2, "coordinates": {"origin": "topLeft"}, "customAttributes": {"by": ["us", "them"]}},
        "arrayParameters": {"dtype": "<f4", "chunks": [1, 10, 10], "fill_value": 0.0, "compressor": {"id": "blosc"}},
        "arrayOverrides": {"ndvi": {"dtype": "<u2", "customAttributes": {"units": "1"}}},
    },
)
# A list of points deep inside a geometry, and the user's own attributes, are passed on as they are.
OPAQUE = {"geometry", "dataFilter", "processing", "compressor", "customAttributes"}
PLACES = [
    (document, path)
    for document in (FULL, FULL_ZARR)
    for path in containers(document)
    if not OPAQUE & set(path[:-1]) and path[-2:-1] != ("responses",)
]


@pytest.mark.parametrize(("document", "path"), PLACES, ids=lambda value: ".".join(map(str, value)) or "request")
@pytest.mark.parametrize(
    "write", [json.dumps, repr, lambda value: f"\n    {json.dumps(value, indent=2)}\n", lambda v: f"\n  {v!r}"]
)
def test_a_text_is_as_good_as_what_it_stands_for(document: Any, path: tuple[Any, ...], write: Any) -> None:
    if not path:
        assert batch_v2.check(write(document)) == document
        return
    templated = copy.deepcopy(document)
    target = templated
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = write(target[path[-1]])
    assert batch_v2.check(templated) == document


@given(st.text(max_size=30) | st.text("[]{}()'\",:1 \n", max_size=30))
def test_any_text_at_all_can_be_looked_at(text: str) -> None:
    read = from_text(text)
    assert read == text or isinstance(read, (list, dict, set, tuple, int, float, str)) or read is None


SCRIPT = """//VERSION=3
function setup() { return {input: [{bands: ["B04"]}], output: {bands: 1}}; }
const names = {"a": [1, 2], 'b': `{{ not.jinja }} ${1}`};
function evaluatePixel(s) { return [s.B04]; }
"""


@pytest.mark.parametrize("script", [SCRIPT, "{}", "[1]", '{"a": 1}', "({})", "\ud83d lone", "é{\u2028}"])
def test_a_script_is_never_touched(script: str) -> None:
    assert batch_v2.check(build_document(processRequest__evalscript=script))["processRequest"]["evalscript"] == script


# --- what goes in comes out ----------------------------------------------------------------------------------------

words = st.text("abcdefghijk-_ éß{}[]", min_size=1, max_size=12)
names = words.filter(str.strip)
free = st.dictionaries(
    words,
    st.recursive(
        st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)


def fields(required: dict[str, Any] | None = None, **optional: Any) -> Any:
    return st.fixed_dictionaries(required or {}, optional=optional)


s3 = fields(
    {"url": words.map(lambda word: f"s3://bucket/{word}")},
    iamRoleARN=words,
    accessKey=words,
    secretAccessKey=words,
    region=st.text("abcdefghij-_019", min_size=1, max_size=12),
)
gs = fields({"url": words.map(lambda word: f"gs://bucket/{word}")}, credentials=words)
storage = fields({"s3": s3}) | fields({"gs": gs})
bbox = st.tuples(*[st.floats(-90, 0, exclude_max=True)] * 2, *[st.floats(0, 90)] * 2).map(list)
ring = st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)).map(list), min_size=3, max_size=5).map(
    lambda points: [*points, points[0]]
)
polygon = st.lists(ring, min_size=1, max_size=2)
geometry = fields({"type": st.just("Polygon"), "coordinates": polygon}, crs=free) | fields(
    {"type": st.just("MultiPolygon"), "coordinates": st.lists(polygon, min_size=1, max_size=2)}
)
properties = fields(crs=st.sampled_from(["http://www.opengis.net/def/crs/EPSG/0/3035", "urn:ogc:def:crs:OGC::CRS84"]))
area = fields({"bbox": bbox}, properties=properties) | fields({"geometry": geometry}, properties=properties, bbox=bbox)
source = fields({"type": names}, dataFilter=free, processing=free, id=words)
responses = st.lists(
    fields(
        {"format": fields({"type": st.sampled_from(["image/tiff", "application/json", "zarr/array"])})},
        identifier=names,
        logo=st.booleans(),
    ),
    max_size=3,
)
grid_input = st.sampled_from([(0, 10.0), (1, 20.0), (2, 360.0), (3, 0.0002), (6, 40.0), (7, 10.0)]).flatmap(
    lambda grid: fields(
        {"type": st.just("tiling-grid"), "id": st.just(grid[0]), "resolution": st.just(grid[1])},
        bufferX=st.integers(0, 32767),
        bufferY=st.integers(0, 32767),
    )
)
pixels = st.integers(1, 3500)
geopackage_input = fields(
    {"type": st.just("geopackage"), "features": storage},
    defaults=fields({"width": pixels, "height": pixels})
    | fields({"resolution": st.floats(0, exclude_min=True, allow_infinity=False)}),
)
cog = fields(
    overviewLevels=st.lists(st.integers(1, 64), max_size=3),
    overviewMinSize=st.integers(1, 512),
    resamplingAlgorithm=st.sampled_from(
        ["nearest", "average", "gauss", "cubic", "cubicspline", "lanczos", "average_magphase", "mode"]
    ),
    blockxsize=st.integers(16, 4096),
    blockysize=st.integers(16, 4096),
    usePredictor=st.booleans(),
)
raster_output = fields(
    {"type": st.just("raster"), "delivery": storage},
    overwrite=st.booleans(),
    skipExisting=st.booleans(),
    cogOutput=st.booleans(),
    cogParameters=cog,
    createCollection=st.booleans(),
    collectionId=words,
)
array = fields(
    dtype=words,
    order=st.just("C"),
    chunks=st.tuples(st.just(1), pixels, pixels).map(list),
    fill_value=st.floats(allow_nan=False, allow_infinity=False),
    compressor=free,
    customAttributes=free,
)
zarr_output = fields(
    {
        "type": st.just("zarr"),
        "delivery": storage,
        "group": fields(
            {"zarr_format": st.just(2)},
            coordinates=fields(origin=st.sampled_from(["topLeft", "bottomLeft"])),
            customAttributes=free,
        ),
    },
    arrayParameters=array,
    arrayOverrides=st.dictionaries(words, array, max_size=2),
)


def documents(source_input: Any, bounds: dict[str, Any], output: Any) -> Any:
    read = fields({"data": st.lists(source, min_size=1, max_size=2), **bounds})
    process = fields({"input": read, "evalscript": names}, output=fields(responses=responses))
    return fields(
        {"processRequest": process, "input": source_input, "output": output},
        description=words,
        instanceType=st.sampled_from(["normal", "large"]),
    )


valid_documents = (
    documents(grid_input, {"bounds": area}, raster_output)
    | documents(grid_input, {"bounds": area}, zarr_output)
    | documents(geopackage_input, {}, raster_output)
    | documents(geopackage_input, {"bounds": area}, zarr_output)
)


@pytest.mark.parametrize("given", [None, "", "not JSON", '{"input": ', "[]", [], 7, True])
def test_a_request_that_is_no_object(given: Any) -> None:
    with pytest.raises(InvalidParameter) as caught:
        batch_v2.check(given)
    assert str(caught.value).startswith("request = ")
    assert str(caught.value).endswith(": must be a JSON object. Give the request as a dict or as its JSON text.")


@pytest.mark.parametrize("name", ["overwrite", "skipExisting", "cogOutput", "createCollection"])
@pytest.mark.parametrize("value", [1, 0, 1.0, "yes", "on", "1", "", [], {}])
def test_only_true_and_false_are_true_and_false(name: str, value: Any) -> None:
    said = refusal(**{f"output__{name}": value})
    assert said == f"output.{name} = {value!r}: must be true or false. Write true or false, without quotes."


@pytest.mark.parametrize(("text", "meant"), [("True", True), ("false", False), (" TRUE ", True)])
def test_what_templating_makes_of_true_and_false_is_understood(text: str, meant: bool) -> None:
    assert batch_v2.check(build_document(output__overwrite=text))["output"]["overwrite"] is meant


@given(valid_documents)
def test_a_valid_request_is_sent_as_it_was_written(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    body = batch_v2.check(document)
    assert body == document == before
    assert batch_v2.check(body) == body
    assert batch_v2.check(json.dumps(document)) == body
    assert json.loads(json.dumps(body)) == body


@given(valid_documents, st.data())
def test_no_null_is_ever_sent(document: dict[str, Any], data: st.DataObject) -> None:
    places = [path for path in containers(document) if not {"coordinates", "bbox", "chunks"} & set(path)]
    target: Any = document
    for step in data.draw(st.sampled_from(places)):
        target = target[step]
    if isinstance(target, dict) and target:
        target[data.draw(st.sampled_from(sorted(target)))] = None
    try:
        body = batch_v2.check(document)
    except InvalidParameter:
        return
    assert "null" not in json.dumps(body, ensure_ascii=False)


def test_coordinates_may_be_tuples_as_geometry_libraries_give_them() -> None:
    from shapely.geometry import box, mapping

    body = batch_v2.check(build_document(processRequest__input__bounds={"geometry": mapping(box(8, 41, 9, 42))}))
    ring = body["processRequest"]["input"]["bounds"]["geometry"]["coordinates"][0]
    assert json.loads(json.dumps(ring)) == [list(point) for point in ring]
    assert len(ring) == 5


# --- answers -------------------------------------------------------------------------------------------------------


def test_an_answer_may_grow() -> None:
    task = BatchTask.model_validate(
        {
            "id": "t",
            "status": "HIBERNATING",
            "userAction": "PAUSE",
            "stoppedStatusReason": "LUNCH",
            "costPU": 1.5,
            "workspaceId": "w",
            "created": "2021-08-17T12:02:12.306339Z",
            "request": {"description": "d", "output": {"delivery": {"gs": {"url": "gs://b/f"}}}},
            "new": {"deep": [1]},
        }
    )
    assert (task.status, task.user_action, task.stopped_status_reason) == ("HIBERNATING", "PAUSE", "LUNCH")
    assert (task.cost_pu, description.tag_of(task.request), batch_v2.delivery_url(task.request)) == (
        1.5,
        "d",
        "gs://b/f",
    )
    dumped = task.model_dump(by_alias=True, exclude_unset=True)
    assert dumped["workspaceId"] == "w"
    assert dumped["new"] == {"deep": [1]}
    assert task.created is not None
    assert task.created.tzinfo is not None


def test_an_answer_may_be_short() -> None:
    task = BatchTask.model_validate({"id": "t", "status": "CREATED"})
    assert (task.user_action, description.tag_of(task.request), batch_v2.delivery_url(task.request)) == ("NONE", "", "")
    assert TaskPage.model_validate({"data": []}).links.next_token is None
    assert TaskPage.model_validate({"data": [], "links": {"nextToken": "n", "@id": "x"}}).links.next_token == "n"


def test_one_field_of_batch_v1_makes_no_request_of_it() -> None:
    with pytest.raises(InvalidParameter, match=r"tilingGrid = .*: is not a field"):
        batch_v2.check(build_document(tilingGrid={"id": 0}))
