"""What a request refers to is read before a task is created."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from tests.client.client_harness import build_document, serving

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

    from tests.client.client_harness import Seen

NUMBER = "017aa0ae-33a6-45d3-8548-0f7d1041b40c"
BANDS = {"default": {"bitDepth": 8, "sampleFormat": "UINT"}}
SCRIPT = '//VERSION=3\nfunction setup() { return {input: ["B04"], output: {bands: 1, sampleType: "FLOAT32"}}; }'


def checked(
    monkeypatch: pytest.MonkeyPatch, status: int, answer: Any, deployment: str = "aws-eu-central-1", **changes: Any
) -> list[str]:
    """Check a request against a service that answers so; returns what it was asked."""

    def answering(seen: Seen, _: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        if seen.path == "/token":
            return 200, {}, json.dumps({"access_token": "t", "expires_in": 3600}).encode()
        return status, {}, json.dumps(answer).encode()

    with serving(answering) as plan:
        connection = {
            "conn_type": "sentinelhub",
            "login": "id",
            "password": "secret",
            "host": plan.base_url,
            "extra": {"deployment": deployment, "token_url": f"{plan.base_url}/token"},
        }
        monkeypatch.setenv("AIRFLOW_CONN_SENTINELHUB_DEFAULT", json.dumps(connection))
        document = build_document(processRequest__evalscript=SCRIPT, output__cogOutput=True, **changes)
        try:
            SentinelHubBatchHook().check_references(document)
        finally:
            asked = [f"{seen.method} {seen.path}" for seen in plan.seen if seen.path != "/token"]
    return asked


def test_a_collection_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"data": {"s3Bucket": "bucket", "additionalData": {"bands": BANDS}}}
    with pytest.raises(InvalidParameter, match="is that of band default, which has 8 bits UINT in the collection"):
        checked(monkeypatch, 200, answer, output__collectionId=NUMBER)


def test_one_that_fits_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bands = {"default": {"bitDepth": 32, "sampleFormat": "FLOAT"}}
    answer = {"data": {"s3Bucket": "bucket", "additionalData": {"bands": bands}}}
    asked = checked(monkeypatch, 200, answer, output__collectionId=NUMBER)
    assert asked == [f"GET /byoc/v1/collections/{NUMBER}"]


def test_nothing_is_asked_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checked(monkeypatch, 500, {}) == []


def test_one_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = rf"output.collectionId = '{NUMBER}': does not exist on AWS EU \(Frankfurt\), or not in this account"
    with pytest.raises(InvalidParameter, match=said):
        checked(monkeypatch, 404, {}, output__collectionId=NUMBER)


@pytest.mark.parametrize(("status", "deployment"), [(404, "custom"), (403, "aws-eu-central-1"), (400, "cdse")])
def test_one_that_cannot_be_read_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int, deployment: str
) -> None:
    with caplog.at_level(logging.WARNING):
        checked(monkeypatch, status, {"error": {"message": "no"}}, deployment, output__collectionId=NUMBER)
    assert f"output.collectionId: {NUMBER} could not be read, so the request was not compared with it" in caplog.text
