"""BYOC against the service's own documents; ``test_contract.py`` says where those are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from airflow_provider_sentinelhub.client.apis.byoc import answers, calls, models
from airflow_provider_sentinelhub.client.lifecycle import collections
from tests.contract import test_contract as contract

if TYPE_CHECKING:
    from pydantic import BaseModel

    from airflow_provider_sentinelhub.client.http.call import Call

pytestmark = contract.pytestmark
ID = "75a7bf54-2772-44b1-b87f-3f4ec96096cf"
SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(contract.DOCUMENT.read_bytes(), Loader=yaml.CSafeLoader)
    return found


def writable(schema: dict[str, Any]) -> set[str]:
    return {name for name, each in schema["properties"].items() if not each.get("readOnly")}


@pytest.mark.parametrize(
    ("name", "model", "only_theirs"),
    [
        # Whether it has bands is the service's to say, although the document does not call it readOnly.
        ("BYOCCollection", models.CollectionRequest, {"isConfigured"}),
        ("BYOCCollectionUpdatePayload", models.CollectionRequest, set()),
        # The extent is the service's, too.
        ("BYOCCollectionAdditionalData", models.CollectionDataRequest, {"extent"}),
        ("BYOCFormat", models.BandRequest, set()),
        # Status and what is said about it are answers.
        ("BYOCTile", models.TileRequest, {"status", "additionalData"}),
        ("BYOCTileUpdatePayload", models.TileChanges, set()),
    ],
)
def test_a_request_has_the_fields_of_the_document(
    name: str, model: type[BaseModel], only_theirs: set[str], document: dict[str, Any]
) -> None:
    theirs = writable(document["components"]["schemas"][name])
    assert theirs - contract.fields_of(model) == only_theirs
    assert contract.fields_of(model) <= theirs


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("BYOCTile", answers.ByocTile),
        ("BYOCCollection", collections.Collection),
        ("BYOCFormat", collections.Band),
        ("BYOCCollectionAdditionalData", collections.CollectionData),
    ],
)
def test_an_answer_reads_fields_of_the_document(name: str, model: type[BaseModel], document: dict[str, Any]) -> None:
    assert contract.fields_of(model) <= {*document["components"]["schemas"][name]["properties"]}


def test_the_answer_of_the_service_is_read() -> None:
    tile = answers.tile_of(json.loads((contract.FIXTURES / "byoc_tile_created.json").read_text()))
    assert (tile.id, tile.status, tile.path) == (ID, "WAITING", "2019/11/27/28V/(BAND).tif")
    assert tile.sensing_time is not None


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (
            "BYOCCollection",
            calls.create_collection(
                {
                    "name": "n",
                    "s3Bucket": "bucket",
                    "additionalData": {"bands": {"B4": {"source": "red", "bitDepth": 16, "sampleFormat": "UINT"}}},
                }
            ).body,
        ),
        (
            "BYOCTile",
            calls.create_tile(
                ID, {"path": "a/(BAND).tif", "sensingTime": "2026-06-01T10:30:00Z", "coverGeometry": SQUARE}
            ).body,
        ),
        ("BYOCTileUpdatePayload", calls.update_tile(ID, ID, {"sensingTime": "2026-06-01T10:30:00Z"}).body),
    ],
)
def test_what_is_sent_validates(name: str, body: Any, document: dict[str, Any]) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(body)


def test_every_operation_of_the_document_has_a_call(document: dict[str, Any]) -> None:
    collection = {"name": "n", "s3Bucket": "bucket"}
    made: list[Call[Any]] = [
        calls.list_collections(),
        calls.create_collection(collection),
        calls.get_collection(ID),
        calls.update_collection(ID, collection),
        calls.delete_collection(ID),
        calls.copy_tiles(ID, ID),
        calls.list_tiles(ID),
        calls.create_tile(ID, {"path": "a"}),
        calls.get_tile(ID, ID),
        calls.update_tile(ID, ID, {}),
        calls.delete_tile(ID, ID),
        calls.reingest_tile(ID, ID),
    ]
    ours = {
        (call.method, call.path.replace(f"/tiles/{ID}", "/tiles/{tileId}").replace(ID, "{collectionId}"))
        for call in made
    }
    theirs = {
        (method.upper(), path.removeprefix("/api/v1/byoc"))
        for path, methods in document["paths"].items()
        if path.startswith("/api/v1/byoc/")
        for method in methods
        if method in {"get", "post", "put", "delete"}
    }
    assert ours == theirs
