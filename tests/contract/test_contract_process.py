"""The Process API against the service's own documents; ``test_contract.py`` says where those are."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.process import calls, models
from airflow_provider_sentinelhub.client.apis.process.spec import PROCESS
from airflow_provider_sentinelhub.client.preflight.examine import examine
from tests.client.client_harness import image_document
from tests.contract import test_contract as contract

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

pytestmark = contract.pytestmark


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(contract.DOCUMENT.read_text(encoding="utf-8"))
    return found


@cache
def violations() -> Callable[[Any], list[str]]:
    """What the document finds wrong with a request; not a fixture, whose repr would be megabytes."""
    found = yaml.safe_load(contract.DOCUMENT.read_text(encoding="utf-8"))["components"]["schemas"]
    schemas = json.loads(json.dumps(found, default=str))
    # What is written as an enum of the identifiers is a placeholder for any of them.
    del schemas["ProcessRequestOutputResponse"]["properties"]["identifier"]["enum"]
    reference = {"components": {"schemas": schemas}, "$ref": "#/components/schemas/ProcessRequest"}
    validator = jsonschema.Draft4Validator(reference)
    return lambda body: [f"{list(each.absolute_path)}: {each.message}"[:500] for each in validator.iter_errors(body)]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("ProcessRequest", models.ImageRequest),
        ("ProcessRequestInput", models.ImageInput),
        ("ProcessRequestOutput", models.ImageOutput),
        ("ProcessRequestOutputResponse", models.ImageResponse),
    ],
)
def test_a_request_has_the_fields_of_the_document(name: str, model: type[BaseModel], document: dict[str, Any]) -> None:
    assert contract.fields_of(model) == set(document["components"]["schemas"][name]["properties"])


def test_the_formats_are_those_of_the_document(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    listed = schemas["ProcessRequestOutputResponse"]["properties"]["format"]["oneOf"]
    named = [schemas[each["$ref"].rpartition("/")[2]]["allOf"][1]["properties"] for each in listed]
    assert {kind for each in named for kind in each["type"]["enum"]} == set(models.FORMATS)
    assert {name for each in named for name in each} == contract.fields_of(models.ImageFormat)
    asked = document["paths"]["/api/v1/process"]["post"]["parameters"][0]["description"]
    assert all(f"`{kind}`" in asked for kind in (calls.TAR, *models.FORMATS))


def test_the_size_is_that_of_the_document(document: dict[str, Any]) -> None:
    sides = document["components"]["schemas"]["ProcessRequestOutput"]["properties"]
    assert {sides[side]["maximum"] for side in ("width", "height")} == {calls.MAX_PX}


OUTPUTS = st.one_of(
    st.fixed_dictionaries({}, optional={side: st.integers(1, calls.MAX_PX) for side in ("width", "height")}),
    st.fixed_dictionaries({side: st.floats(1, 100) for side in ("resx", "resy")}),
)
RESPONSE = {"identifier": "ndvi", "format": {"type": "image/tiff"}}
RESPONSES = st.sampled_from(
    [[RESPONSE], [{**RESPONSE, "format": {"type": "image/jpeg", "quality": 50}}], [{"identifier": "ndvi"}]]
)


@settings(max_examples=40, deadline=None, database=None)
@given(output=OUTPUTS, responses=RESPONSES)
def test_what_is_sent_is_valid(output: dict[str, Any], responses: list[Any]) -> None:
    # With less, it could be any collection, and the document wants to know which.
    source = {"type": "sentinel-2-l2a", "dataFilter": {"mosaickingOrder": "leastCC"}}
    request = image_document(output={**output, "responses": responses}, input__data=[source])
    body = calls.sized(examine(request, PROCESS.check, PROCESS.rules).accepted())
    assert violations()(body) == []
    call = calls.image(body, io.BytesIO())
    assert call.accept == responses[0].get("format", {}).get("type", "image/png")
    for cell in calls.parts_of(body, 2000):
        assert violations()(calls.request_of(body, calls.raster_of(body), cell)) == []
