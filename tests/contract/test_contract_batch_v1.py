"""Batch Processing V1 against the service's own documents; ``test_contract.py`` says where those are."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.apis.batch_v1 import answers, calls, collections, models
from airflow_provider_sentinelhub.client.apis.batch_v1.spec import BATCH_V1
from airflow_provider_sentinelhub.client.http.deployments import PathLayout
from airflow_provider_sentinelhub.client.http.policy import Attempt, decide
from airflow_provider_sentinelhub.client.http.problems import Reply
from airflow_provider_sentinelhub.client.lifecycle import tiling_grids
from airflow_provider_sentinelhub.client.requests import delivery, process
from airflow_provider_sentinelhub.client.requests.tiling_grids import TilingGridSettings
from tests.client.client_harness import batch_v1_document
from tests.contract import test_contract as contract
from tests.contract.test_contract_statistical import at
from tests.contract.test_contract_statistical import properties as all_properties

if TYPE_CHECKING:
    from pydantic import BaseModel

    from airflow_provider_sentinelhub.client.http.call import Call

pytestmark = contract.pytestmark

ROOT = "/api/v1/batch"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(contract.DOCUMENT.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def schemas(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"]
    return found


def properties(schemas: dict[str, Any], path: str, *, read_only: bool | None = None) -> set[str]:
    schema = at(schemas, path)
    names = set(schema["properties"]) if "properties" in schema else all_properties(schema, schemas)
    if read_only is None:
        return names
    return {name for name in names if bool(schema["properties"][name].get("readOnly")) is read_only}


# Ours without theirs, for each schema.
ONLY_OURS: dict[str, set[str]] = {
    # The service's Python client could write it, and the text about overwrite mentions "all tilePaths".
    "BatchProcessOutput": {"responses"},
    # One model serves the parameters of all arrays and the overrides of one; only the latter have attributes.
    "ArrayParameters": {"customAttributes"},
}


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("TilingGridSettings", TilingGridSettings),
        ("BatchProcessOutput", models.TileOutput),
        ("BatchCogParameters", delivery.CogParameters),
        ("BatchZarrParameters", models.ZarrOutput),
        ("Group", delivery.ZarrGroup),
        ("Group/coordinates", delivery.ZarrCoordinates),
        ("ArrayParameters", delivery.ZarrArray),
        ("ArrayOverride", delivery.ZarrArray),
        ("ProcessRequestForBatch", process.ProcessRequest),
        ("ProcessRequestOutputForBatch", process.ProcessOutput),
        ("ProcessRequestOutputBatchResponse", process.OutputResponse),
        ("ProcessRequestInput", process.ProcessInput),
    ],
)
def test_a_request_has_the_fields_of_the_document(path: str, model: type[BaseModel], schemas: dict[str, Any]) -> None:
    ours, theirs = contract.fields_of(model), properties(schemas, path)
    assert ours - theirs == ONLY_OURS.get(path, set())
    assert theirs <= ours


def test_request_and_task_are_one_schema_in_the_document(schemas: dict[str, Any]) -> None:
    written = properties(schemas, "BatchProcessRequest", read_only=False)
    assert contract.fields_of(models.BatchV1Request) == written == set(answers.REQUEST_FIELDS)
    read = properties(schemas, "BatchProcessRequest", read_only=True)
    # Fields of the other APIs' tasks; "request" is put together of the fields above.
    others = {"request", "lastUpdated", "completionPercentage", "costPU", "stoppedStatusReason"}
    assert contract.fields_of(answers.BatchV1Task) == contract.fields_of(answers.ListedBatchV1Task) == read | others


@pytest.mark.parametrize(
    ("path", "model", "only_ours"),
    [
        # The name is in real answers. The cause of a failure is in none of the documents; it is read if there is one.
        ("BatchTile", answers.Tile, {"name", "error"}),
        ("BatchCollection", answers.BatchCollection, set()),
        ("BatchCollection/batchData", answers.BatchData, set()),
        ("TilingGridDescriptor", tiling_grids.GridDescription, set()),
        ("TilingGridDescriptorProperties", tiling_grids.GridProperties, set()),
    ],
)
def test_an_answer_has_the_fields_of_the_document(
    path: str, model: type[BaseModel], only_ours: set[str], schemas: dict[str, Any]
) -> None:
    ours, theirs = contract.fields_of(model), properties(schemas, path)
    assert ours - theirs == only_ours
    assert theirs <= ours
    assert model.model_config["extra"] == "allow"


def test_values_are_those_of_the_document(schemas: dict[str, Any], document: dict[str, Any]) -> None:
    task = schemas["BatchProcessRequest"]["properties"]
    assert BATCH_V1.terminal < BATCH_V1.analysed < set(task["status"]["enum"])
    assert BATCH_V1.stopped in task["status"]["enum"]
    assert BATCH_V1.stop_asked in task["userAction"]["enum"]
    assert set(calls.TileStatus) == set(schemas["BatchTile"]["properties"]["status"]["enum"])
    parameters = document["paths"][f"{ROOT}/process"]["get"]["parameters"]
    (sort,) = (each for each in parameters if each.get("name") == "sort")
    assert set(calls.Sort) == set(sort["schema"]["enum"])


# --- the 18 operations -----------------------------------------------------------------------------------------------

TASK = "2e0d4c5f-6a3b-4e57-9c6d-0f1a2b3c4d5e"
OPERATIONS: dict[str, Call[Any]] = {
    "createNewBatchProcessingRequest": calls.TASKS.create({}),
    "getAllBatchProcessRequests": calls.listed(
        collection_id=TASK, count=5, search="Corsica", sort="created:desc", user_id="u", token="t"
    ),
    "getSingleBatchProcessRequestById": calls.TASKS.get(TASK),
    "updateBatchProcessRequest": calls.update(TASK, description="Corsica", collection_id=TASK),
    "deleteBatchProcessRequest": calls.delete(TASK),
    "batchAnalyse": calls.TASKS.analyse(TASK),
    "batchStartProcessRequest": calls.TASKS.start(TASK),
    "batchCancelProcessRequest": calls.TASKS.stop(TASK),
    "batchRestartPartialProcessRequest": calls.TASKS.restart(TASK),
    "getAllBatchProcessTiles": calls.tiles(TASK, "FAILED", 10, "t"),
    "getBatchTileById": calls.tile(TASK, 34260),
    "createNewBatchCollection": collections.create("Corsica", "bucket"),
    "getAllBatchCollections": collections.listed(5, "Corsica", "t"),
    "getSingleBatchCollectionById": collections.get(TASK),
    "updateBatchCollection": collections.update(TASK, "Corsica"),
    "deleteBatchCollection": collections.delete(TASK),
    "getBatchTilingGridsProperties": calls.tiling_grids(5, "t"),
    "getBatchTilingGridProperties": calls.tiling_grid(0),
}
# Only the service's Python client knew it.
UNDOCUMENTED = {"userid"}


def in_document(document: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        if path.startswith(f"{ROOT}/")
        for method, operation in methods.items()
    }


def test_every_operation_has_a_call(document: dict[str, Any]) -> None:
    assert len(OPERATIONS) == 18
    assert OPERATIONS.keys() == in_document(document).keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_call_is_the_operation_of_the_document(name: str, document: dict[str, Any]) -> None:
    call, (method, path, operation) = OPERATIONS[name], in_document(document)[name]
    for layout in PathLayout:
        sent = f"{call.service.prefix(layout)}{call.path}"
        assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), sent), sent
    assert call.method == method
    assert (call.body is not None) == ("requestBody" in operation)
    named = set()
    for each in operation.get("parameters", ()):
        found = each
        if "$ref" in each:
            found = document["components"]["parameters"][each["$ref"].rsplit("/", 1)[1]]
        if found["in"] == "query":
            named.add(found["name"])
    assert set(call.query) - UNDOCUMENTED == named


# --- what we send ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validators(schemas: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(schemas, default=str))
    # The enumeration is an example: the identifier is any output of the evalscript.
    del copy["ProcessRequestOutputBatchResponse"]["properties"]["identifier"]["enum"]
    # "Overrides" would otherwise have to repeat all that they do not override.
    copy["ArrayOverride"]["allOf"] = copy["ArrayOverride"]["allOf"][1:]
    whole = {"components": {"schemas": copy}}
    return {
        name: jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{name}", **whole})
        for name in (
            "BatchProcessRequest",
            "BatchProcessRequestUpdatePayload",
            "BatchCollectionCreatePayload",
            "BatchCollectionUpdatePayload",
        )
    }


grids = st.one_of(
    st.fixed_dictionaries(
        {"tilingGrid": st.fixed_dictionaries({"id": st.just(0), "resolution": st.sampled_from([10, 20.0, 60])})}
    ),
    st.just({"tilingGrid": {"id": 6, "resolution": 50.0, "bufferX": 5, "bufferY": 0}}),
    st.just({"tilingGridId": 0, "resolution": 60}),
    st.just({"tilingGridId": 3, "resolution": 0.0001, "tilingGrid": {"id": 3, "resolution": 0.0001}}),
)
rasters = st.fixed_dictionaries(
    {"defaultTilePath": st.just("s3://bucket/<requestId>/<tileName>/<outputId>.<format>")},
    optional={
        "overwrite": st.booleans(),
        "skipExisting": st.booleans(),
        "cogOutput": st.booleans(),
        "cogParameters": contract.cogs,
        "createCollection": st.booleans(),
        "collectionId": st.uuids().map(str),
        "responses": st.just([{"identifier": "ndvi", "tilePath": "s3://bucket/<tileId>.tif"}]),
    },
)
zarrs = st.fixed_dictionaries(
    {
        "path": st.just("s3://bucket/<requestId>"),
        "group": st.just({"zarr_format": 2}),
        "arrayParameters": contract.arrays,
    },
    optional={"arrayOverrides": st.just({"ndvi": {"dtype": "<u2", "customAttributes": {"units": "1"}}})},
)
places = st.one_of(
    st.fixed_dictionaries({"output": rasters}),
    st.fixed_dictionaries({"zarrOutput": zarrs}),
    st.just({"bucketName": "bucket"}),
)


@given(grid=grids, place=places, description=st.none() | st.text(max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40, database=None)
def test_what_we_send_is_what_the_document_asks_for(
    grid: Any, place: Any, description: str | None, validators: dict[str, Any]
) -> None:
    request = batch_v1_document(tilingGrid=..., output=...)
    request["processRequest"]["input"]["data"][0]["dataFilter"] = {"mosaickingOrder": "leastCC"}
    request |= {**grid, **place, "description": description}
    if "zarrOutput" in place:
        request["processRequest"]["output"]["responses"][0]["format"]["type"] = "zarr/array"
    sent = json.loads(json.dumps(calls.check(request)))
    validators["BatchProcessRequest"].validate(sent)
    assert not {"tilingGridId", "resolution"} & sent.keys()


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("BatchProcessRequestUpdatePayload", OPERATIONS["updateBatchProcessRequest"].body),
        ("BatchProcessRequestUpdatePayload", calls.update(TASK, unlink=True).body),
        ("BatchCollectionCreatePayload", OPERATIONS["createNewBatchCollection"].body),
        ("BatchCollectionUpdatePayload", OPERATIONS["updateBatchCollection"].body),
    ],
)
def test_other_bodies_are_what_the_document_asks_for(
    name: str, body: Any, validators: dict[str, Any], schemas: dict[str, Any]
) -> None:
    validators[name].validate(body)
    assert set(body) <= set(schemas[name]["properties"])


# --- what the service really answered --------------------------------------------------------------------------------


def test_a_real_tile() -> None:
    tile = answers.Tile.model_validate_json(contract.fixture("batchv2_tile_grid2.json"))
    assert (tile.id, tile.name, tile.cost, tile.error) == (34260, "36MZT_0_0", None, None)
    assert tile.geometry["type"] == "Polygon"
    assert tile.origin["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32736"


def test_a_real_refusal_of_a_restart() -> None:
    reply = Reply(400, {}, contract.fixture("error_400_restartpartial.json"))
    with pytest.raises(errors.IllegalAction, match=r"Only requests with status PARTIAL can be restarted\."):
        decide(calls.TASKS.restart(TASK), Attempt(), reply, contract.LIMITS)
