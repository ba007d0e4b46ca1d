"""The Catalog API against the service's own document; ``test_contract.py`` says where that is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from airflow_provider_sentinelhub.client.apis.catalog import calls, models
from airflow_provider_sentinelhub.client.apis.catalog.answers import ItemPage
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.contract import test_contract as contract

pytestmark = contract.pytestmark

PREFIX = "/api/v1/catalog/1.0.0"
SEARCH = {
    "collections": ["sentinel-2-l2a"],
    "datetime": "2026-06-01T00:00:00Z/2026-07-01T00:00:00Z",
    "bbox": [13.0, 45.0, 14.0, 46.0],
    "limit": 3,
}
POINT = {"type": "Point", "coordinates": [13.5, 45.5]}
COMPARISON = {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 50]}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(contract.DOCUMENT.read_text(encoding="utf-8"))
    # Dates in its examples.
    whole: dict[str, Any] = json.loads(json.dumps(found, default=str))
    scalar = whole["components"]["schemas"]["Cql2ScalarExpression"]
    # A property is one of both kinds: with oneOf no comparison would be valid, not even that of its own example.
    scalar["anyOf"] = scalar.pop("oneOf")
    summaries = whole["components"]["schemas"]["CatalogCollection"]["properties"]["summaries"]["additionalProperties"]
    # Its own examples, and STAC 1.0, say minimum and maximum.
    summaries["oneOf"][1]["required"] = ["minimum", "maximum"]
    fitting: dict[str, Any] = nullable(whole)
    return fitting


def nullable(schema: Any) -> Any:
    """Replace what only earlier versions of OpenAPI know: a type that is nullable."""
    if isinstance(schema, list):
        return [nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: nullable(each) for key, each in schema.items()}
    return {**changed, "type": [changed["type"], "null"]} if changed.get("nullable") is True else changed


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulator]:
    with Simulator.start() as simulator:
        yield simulator


def schema_of(document: dict[str, Any], path: str, method: str, status: str) -> dict[str, Any]:
    answer = document["paths"][path][method]["responses"][status]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    (content,) = answer["content"].values()
    found: dict[str, Any] = content["schema"]
    return found


def check(document: dict[str, Any], schema: Any, value: Any) -> None:
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def test_a_search_has_the_fields_of_the_document(document: dict[str, Any]) -> None:
    post = document["paths"][f"{PREFIX}/search"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schemas = document["components"]["schemas"]

    def names(schema: Any) -> set[str]:
        schema = schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
        return set(schema.get("properties", ())).union(*map(names, schema.get("allOf", ())))

    # The document has next only in links and in the context of answers.
    assert {each.alias or name for name, each in models.SearchRequest.model_fields.items()} == names(post) | {"next"}
    assert set(models.Fields.model_fields) == names(schemas["CatalogItemSearchFieldsFields"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bbox": None, "intersects": POINT},
        {"ids": ["a", "b"], "next": 10, "distinct": "date"},
        {"filter": COMPARISON, "fields": {"include": ["id"], "exclude": ["links"]}},
        {"filter": {"op": "and", "args": [COMPARISON, {"op": "between", "args": [{"property": "a"}, 1, 2]}]}},
    ],
)
def test_what_we_send_is_what_the_document_asks_for(document: dict[str, Any], changes: Any) -> None:
    body = calls.check({**SEARCH, **changes})
    post = document["paths"][f"{PREFIX}/search"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    check(document, post, json.loads(json.dumps(body)))


def test_every_operation_of_the_document_is_here(document: dict[str, Any]) -> None:
    theirs = {
        (method.upper(), path.removeprefix(PREFIX).replace("{collectionId}", "c").replace("{featureId}", "f"))
        for path, methods in document["paths"].items()
        if path.startswith(PREFIX)
        for method in methods
    }
    made: list[Any] = [
        calls.landing_page(),
        calls.conformance(),
        calls.collections(),
        calls.collection("c"),
        calls.queryables("c"),
        calls.items("c"),
        calls.item("c", "f"),
        calls.search(SEARCH),
        calls.simple_search(SEARCH),
    ]
    assert {(call.method, call.path) for call in made} == theirs
    assert len(theirs) == 9


def test_the_answers_of_the_simulator_are_what_the_document_promises(document: dict[str, Any], sim: Simulator) -> None:
    found = sim.call("POST", f"{PREFIX}/search", SEARCH).body
    item = found["features"][0]
    collection = f"{PREFIX}/collections/sentinel-2-l2a"
    items = f"{collection}/items?bbox=13,45,14,46&datetime={SEARCH['datetime']}"
    by_get = f"{PREFIX}/search?collections=sentinel-2-l2a&bbox=13,45,14,46&datetime={SEARCH['datetime']}"
    asked = {
        PREFIX: PREFIX,
        f"{PREFIX}/conformance": f"{PREFIX}/conformance",
        f"{PREFIX}/collections": f"{PREFIX}/collections",
        f"{PREFIX}/collections/{{collectionId}}": collection,
        f"{PREFIX}/collections/{{collectionId}}/queryables": f"{collection}/queryables",
        f"{PREFIX}/collections/{{collectionId}}/items": items,
        f"{PREFIX}/collections/{{collectionId}}/items/{{featureId}}": f"{collection}/items/{item['id']}",
        f"{PREFIX}/search": by_get,
    }
    for path, url in asked.items():
        answer = sim.call("GET", url)
        assert answer.status == 200
        check(document, schema_of(document, path, "get", "200"), answer.body)
    check(document, schema_of(document, f"{PREFIX}/search", "post", "200"), found)
    refused = sim.call("POST", f"{PREFIX}/search", {})
    assert refused.status == 400
    check(document, schema_of(document, f"{PREFIX}/search", "post", "400"), refused.body)


def test_the_examples_of_the_document_are_read(document: dict[str, Any]) -> None:
    operations = document["paths"][f"{PREFIX}/search"]
    post = operations["post"]["requestBody"]["content"]["application/json"]["example"]
    assert calls.check(post) == post
    for method in ("get", "post"):
        (content,) = operations[method]["responses"]["200"]["content"].values()
        page = ItemPage.parse(content["example"])
        assert (page.next, page.returned, len(page.items)) == (1, 1, 1)
    listed = document["components"]["responses"]["CatalogFeaturesFeatures"]["content"]["application/geo+json"]
    assert ItemPage.parse(listed["example"]).next == 1
