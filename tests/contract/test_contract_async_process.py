"""Async Process against the service's own documents; ``test_contract.py`` says where those are."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.async_process import calls, models, rules
from airflow_provider_sentinelhub.client.apis.async_process.spec import ASYNC_PROCESS
from airflow_provider_sentinelhub.client.apis.process import models as process_models
from airflow_provider_sentinelhub.client.errors import RateLimited, TooManyRunning
from airflow_provider_sentinelhub.client.http.deployments import PathLayout
from airflow_provider_sentinelhub.client.http.policy import Attempt, Done, RetryLimits, TryAgain, decide
from airflow_provider_sentinelhub.client.http.problems import Reply
from airflow_provider_sentinelhub.client.preflight.examine import examine
from tests.client.client_harness import image_document
from tests.contract import test_contract as contract

if TYPE_CHECKING:
    from pydantic import BaseModel

pytestmark = contract.pytestmark

PATH = "/api/v1/async/process"


@cache
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(contract.DOCUMENT.read_text(encoding="utf-8"))
    return found


@cache
def validator(name: str) -> Any:
    schemas = json.loads(json.dumps(document()["components"]["schemas"], default=str))
    # What is written as an enum of the identifiers is a placeholder for any of them.
    del schemas["ProcessRequestOutputResponse"]["properties"]["identifier"]["enum"]
    return jsonschema.Draft4Validator({"components": {"schemas": schemas}, "$ref": f"#/components/schemas/{name}"})


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("AsyncProcessRequest", models.AsyncProcessRequest),
        ("ProcessRequestInput", process_models.ImageInput),
        ("AsyncProcessRequestOutput", models.DeliveredOutput),
        ("AsyncStatusResponse", models.AcceptedRequest),
    ],
)
def test_fields_are_those_of_the_document(name: str, model: type[BaseModel]) -> None:
    assert contract.fields_of(model) == set(document()["components"]["schemas"][name]["properties"])


def test_size_paths_and_refusal_are_those_of_the_document() -> None:
    sides = document()["components"]["schemas"]["AsyncProcessRequestOutput"]["properties"]
    assert {sides[side]["maximum"] for side in ("width", "height")} == {rules.MAX_PX}
    submit, status = calls.submit({}), calls.status("id-1")
    prefix = submit.service.prefix(PathLayout.LEGACY)
    assert {f"{prefix}{submit.path}", f"{prefix}{status.path}".replace("id-1", "{requestId}")} < set(
        document()["paths"]
    )
    said = document()["paths"][PATH]["post"]["responses"]["429"]["description"]
    with pytest.raises(TooManyRunning):
        decide(submit, Attempt(), Reply(429, {}, json.dumps({"error": {"message": said}}).encode()), RetryLimits())
    # A rate limit is something else, and is waited for at once.
    limited = Reply(429, {}, b'{"error": {"message": "You have exceeded your rate limit"}}')
    assert isinstance(decide(submit, Attempt(), limited, RetryLimits()), TryAgain)
    with pytest.raises(RateLimited):
        decide(submit, Attempt(), limited, RetryLimits(attempts=1))


def test_an_answer_of_the_document_is_read() -> None:
    answer = {"id": "3d8a1f2e-0000-4000-8000-000000000000", "status": "RUNNING"}
    validator("AsyncStatusResponse").validate(answer)
    done = decide(calls.submit({}), Attempt(), Reply(200, {}, json.dumps(answer).encode()), RetryLimits())
    assert isinstance(done, Done)
    assert (done.value.id, done.value.status) == (answer["id"], "RUNNING")


OUTPUTS = st.one_of(
    st.fixed_dictionaries({side: st.integers(1, rules.MAX_PX) for side in ("width", "height")}),
    st.fixed_dictionaries({side: st.floats(1, 100) for side in ("resx", "resy")}),
)
DELIVERY = {"s3": {"url": "s3://bucket/<REQUEST_ID>/<OUTPUT>", "region": "eu-central-1"}}


@settings(max_examples=30, deadline=None, database=None)
@given(output=OUTPUTS, by_reference=st.booleans())
def test_what_is_sent_is_valid(output: dict[str, Any], *, by_reference: bool) -> None:
    source = {"type": "sentinel-2-l2a", "dataFilter": {"mosaickingOrder": "leastCC"}}
    responses = [{"identifier": "ndvi", "format": {"type": "image/tiff"}}]
    request = image_document(output={**output, "responses": responses, "delivery": DELIVERY}, input__data=[source])
    if by_reference:
        del request["evalscript"]
        request["evalscriptReference"] = {"s3": {**DELIVERY["s3"], "accessKey": "a", "secretAccessKey": "b"}}
        assert ASYNC_PROCESS.check(request) == request
    else:
        request = examine(request, ASYNC_PROCESS.check, ASYNC_PROCESS.rules).accepted()
    validator("AsyncProcessRequest").validate(request)
