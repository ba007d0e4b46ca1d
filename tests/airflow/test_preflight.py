"""The hook asks the buckets before a task is created; what it learns decides, or is logged."""

from __future__ import annotations

import json
import logging

import pytest

from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidParameter, StorageUnavailable
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import request
from tests.bad_inputs.buckets import connections, tiny_s3
from tests.bad_inputs.requests import DELIVERY
from tests.bad_inputs.requests import request as plain_request

WEST = {"x-amz-bucket-region": "us-west-2"}


def test_a_good_request_passes_and_leaves_nothing_in_the_bucket(sim: Simulator) -> None:
    hook, document = SentinelHubBatchHook(), request(sim.ready)
    body = hook.prepare(document)
    assert body == document
    hook.check_buckets(body)
    assert list(hook.storage.list(document["output"]["delivery"]["s3"]["url"])) == []
    assert sim.requests()["total"] == 0


def test_features_that_are_there_are_found(sim: Simulator) -> None:
    hook = SentinelHubBatchHook()
    url = f"s3://{sim.ready.bucket}/preflight/fields.gpkg"
    features = {"type": "geopackage", "features": {"s3": {"url": url}}}
    body = hook.prepare(request(sim.ready, input=features))
    with pytest.raises(InvalidParameter, match=r"input\.features\.s3\.url = .* does not exist"):
        hook.check_buckets(body)
    hook.storage.upload(b"anything", url)
    hook.check_buckets(body)


def test_warnings_are_logged_and_do_not_stand_in_the_way(sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    document = request(sim.ready, processRequest__evalscript=plain_request()["processRequest"]["evalscript"])
    document["output"]["cogParameters"] = {"blockxsize": 256}
    with caplog.at_level(logging.WARNING, "airflow_provider_sentinelhub"):
        assert SentinelHubBatchHook().prepare(document) == document
    assert "output.cogParameters: is ignored" in caplog.text


def test_the_surcharge_of_a_bucket_elsewhere_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    there = {"output__delivery": {"s3": {"url": "s3://my-bucket/ndvi", "region": "us-west-2"}}}
    with (
        tiny_s3({"HEAD": (200, WEST, b"")}) as (endpoint, _),
        connections(endpoint, deployment="aws-eu-central-1"),
        caplog.at_level(logging.WARNING, "airflow_provider_sentinelhub"),
    ):
        hook = SentinelHubBatchHook()
        hook.check_buckets(hook.prepare(plain_request(**there)))
    assert [record.getMessage() for record in caplog.records if "0.03 PU for each MB" in record.getMessage()]
    # That the connection leads to a test's server may be said as well.
    assert len([record for record in caplog.records if record.name.endswith("hooks.preflight")]) == 1


@pytest.mark.parametrize(("deployment", "asked"), [("aws-eu-central-1", 1), ("cdse", 0), ("custom", 0)])
def test_the_region_is_asked_for_where_the_deployment_has_one(deployment: str, asked: int) -> None:
    with tiny_s3({}) as (endpoint, seen), connections(endpoint, deployment=deployment):
        hook = SentinelHubBatchHook()
        hook.check_buckets(hook.prepare(plain_request(**DELIVERY)))
    assert len([each for each in seen if each.startswith("HEAD")]) == asked
    assert len(seen) == 4 + asked


def test_a_bucket_that_cannot_be_asked_may_be_asked_again_later() -> None:
    with connections("http://127.0.0.1:9"):
        hook = SentinelHubBatchHook()
        body = hook.prepare(plain_request(**DELIVERY))
        with pytest.raises(StorageUnavailable) as caught:
            hook.check_buckets(body)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("status", "code", "said"), [(403, b"AccessDenied", "the bucket refused connection 'google'"), (200, b"", "")]
)
def test_google_cloud_storage(monkeypatch: pytest.MonkeyPatch, status: int, code: bytes, said: str) -> None:
    answer = (status, {"ETag": '"1"'}, b"<Error><Code>%b</Code></Error>" % code)
    with tiny_s3({"PUT": answer, "DELETE": (204, {}, b"")}) as (endpoint, seen), connections(endpoint):
        key = {"gcs_base_url": endpoint, "disable_oauth": True}
        key |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        google = {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": key}}
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE", json.dumps(google))
        hook = SentinelHubBatchHook(aws_conn_id=None, gcp_conn_id="google")
        body = hook.prepare(plain_request(output__delivery={"gs": {"url": "gs://my-bucket/ndvi"}}))
        if said:
            with pytest.raises(InvalidParameter, match=said):
                hook.check_buckets(body)
        else:
            hook.check_buckets(body)
    methods = [each.split()[0] for each in seen]
    assert methods == (["PUT"] if said else ["PUT", "GET", "GET", "DELETE"])


def role(sts: str, **config: object) -> str:
    extra = {
        "role_arn": "arn:aws:iam::123456789012:role/sentinelhub",
        "region_name": "eu-central-1",
        "service_config": {"sts": {"endpoint_url": sts}},
        "config_kwargs": config,
    }
    return json.dumps({"conn_type": "aws", "login": "a-key-of-airflow", "password": "its-secret", "extra": extra})


def test_a_role_that_airflow_may_not_assume(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not you</Message></Error></ErrorResponse>"
    with tiny_s3({"POST": (403, {}, denied)}) as (endpoint, _), connections(endpoint):
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", role(endpoint))
        hook = SentinelHubBatchHook()
        with pytest.raises(InvalidConfiguration, match=r"'aws_default': Airflow cannot use it .*Not you.*check_bucket"):
            hook.check_buckets(hook.prepare(plain_request(**DELIVERY)))


def test_a_role_that_cannot_be_asked_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    with connections("http://127.0.0.1:9"):
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", role("http://127.0.0.1:9", retries={"max_attempts": 0}))
        hook = SentinelHubBatchHook()
        with pytest.raises(StorageUnavailable, match="AWS could not be asked for credentials"):
            hook.check_buckets(hook.prepare(plain_request(**DELIVERY)))
