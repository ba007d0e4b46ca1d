"""What a request and its buckets say before a task is created."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from airflow_provider_sentinelhub.artifacts.results.preflight import examine
from airflow_provider_sentinelhub.artifacts.storage.errors import answer_of
from airflow_provider_sentinelhub.artifacts.storage.object_stores import StorageKeys, StorageOptions
from airflow_provider_sentinelhub.artifacts.storage.probe import bucket_region, probe_bucket
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.errors import StorageUnavailable
from tests.artifacts.artifact_s3 import KEY, SECRET, start_s3
from tests.bad_inputs.buckets import DENIED, NOT_DELETED, tiny_s3
from tests.bad_inputs.requests import request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.artifacts.artifact_s3 import S3

PROBE = "write-check/request-write-check.json"


def at(endpoint: str) -> Storage:
    return Storage(StorageOptions(StorageKeys(KEY, SECRET), region="x", endpoint_url=endpoint))


@pytest.mark.parametrize(
    ("delivery", "place"),
    [
        ("s3://bucket/f", f"s3://bucket/f/{PROBE}"),
        ("s3://bucket", f"s3://bucket/{PROBE}"),
        ("s3://tenant:bucket/f", f"s3://tenant:bucket/f/{PROBE}"),
        ("s3://bucket/f/<requestId>/<tileName>.tif", f"s3://bucket/f/{PROBE}"),
        ("s3://bucket/f/<tileName>/<outputId>.tif", "s3://bucket/f/request-write-check.json"),
        ("s3://bucket/<tileName>", "s3://bucket/request-write-check.json"),
    ],
)
def test_a_bucket_is_written_to_where_the_service_will_begin(s3: S3, delivery: str, place: str) -> None:
    storage = s3.storage()
    assert probe_bucket(storage, delivery) == place
    assert not storage.exists(place)


def test_it_costs_four_round_trips() -> None:
    with tiny_s3({}) as (endpoint, seen):
        probe_bucket(at(endpoint), "s3://bucket/f")
    assert [each.partition("?")[0] for each in seen] == [
        f"PUT /bucket/f/{PROBE}",
        f"GET /bucket/f/{PROBE}",
        "GET /bucket",
        "POST /bucket",
    ]
    # What lies beside it is not listed.
    assert f"prefix=f/{PROBE}/" in unquote(seen[2])


@pytest.mark.parametrize(("method", "action"), [("PUT", "write"), ("GET", "read"), ("LIST", "list")])
def test_each_permission_is_tried(method: str, action: str) -> None:
    with tiny_s3({method: (403, {}, DENIED)}) as (endpoint, seen):
        with pytest.raises(StorageUnavailable, match=f"Could not {action} s3://bucket/f") as caught:
            probe_bucket(at(endpoint), "s3://bucket/f")
        # The object does not stay behind.
        assert ("POST /bucket?delete" in seen) is (method != "PUT")
    answer = answer_of(caught.value)
    assert answer is not None
    assert answer.is_refusal
    assert "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:ListBucket" in str(caught.value)


def test_two_at_once_do_not_disturb_each_other(s3: S3) -> None:
    with ThreadPoolExecutor(4) as pool:
        places = list(pool.map(lambda _: probe_bucket(s3.storage(), "s3://bucket/both"), range(40)))
    assert set(places) == {f"s3://bucket/both/{PROBE}"}


@pytest.mark.parametrize(
    ("url", "skips_existing", "is_said"),
    [
        ("s3://bucket/<tileName>.tif", False, True),
        ("s3://bucket/<tileName>.tif", True, False),
        ("s3://bucket/<requestId>/<tileName>.tif", False, False),
        ("s3://bucket/<tileName>/<requestId>.tif", False, False),
        ("s3://bucket/folder", False, False),
    ],
)
def test_a_place_that_another_task_may_deliver_to_is_a_warning(url: str, skips_existing: bool, is_said: bool) -> None:
    body = request(output__delivery__s3__url=url, output__skipExisting=skips_existing)
    said = [str(each) for each in examine(BATCH_V2, body).findings.warnings if each.field.endswith(".url")]
    expected = (
        "output.delivery.s3.url: does not hold <requestId>, so another run or DAG that delivers there replaces the "
        "files of this one. Write e.g. s3://bucket/<requestId>/<tileName>/<outputId>.tif."
    )
    assert said == [expected] * is_said


@pytest.mark.parametrize(("url", "is_said"), [("s3://bucket/a", True), ("s3://bucket/a/<requestId>", False)])
def test_a_zarr_of_which_there_can_be_one_only_is_a_warning(url: str, is_said: bool) -> None:
    delivery = {"s3": {"url": url}}
    body = request(output={"type": "zarr", "delivery": delivery, "group": {"zarr_format": 2}})
    said = [str(each) for each in examine(BATCH_V2, body).findings.warnings if each.field.endswith(".url")]
    expected = (
        "output.delivery.s3.url: does not hold <requestId>, but a Zarr needs an empty folder, so no second task can "
        "deliver there. Write e.g. s3://bucket/folder/<requestId>."
    )
    assert said == [expected] * is_said


def refused(storage: Storage, url: str) -> bool:
    with pytest.raises(StorageUnavailable) as caught:
        probe_bucket(storage, url)
    answer = answer_of(caught.value)
    assert answer is not None
    return answer.is_refusal


def test_a_no_is_told_from_trouble_that_may_pass(s3: S3, tmp_path: Path) -> None:
    assert refused(s3.storage(), "s3://no-such-bucket/f")
    assert refused(s3.storage(secret_access_key="wrong"), "s3://bucket/f")
    assert refused(s3.storage(access_key_id="somebody-else-entirely"), "s3://bucket/f")
    assert not refused(s3.storage(endpoint_url="http://127.0.0.1:9", read_timeout=1.0), "s3://bucket/f")
    with tiny_s3({"PUT": (403, {}, DENIED)}) as (endpoint, _):
        assert refused(at(endpoint), "s3://bucket/ndvi")
    with tiny_s3({"POST": (200, {}, NOT_DELETED)}) as (endpoint, _):
        assert refused(at(endpoint), "s3://bucket/ndvi")
    # This server says that it is broken, not that it may not be written to.
    server = start_s3(tmp_path / "buckets", tmp_path / "log", "--auth-key", f"{KEY},{SECRET}", "--read-only")
    try:
        assert not refused(server.storage(), "s3://bucket/f")
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.parametrize("status", [200, 301, 403])
def test_the_region_of_a_bucket_is_told_even_with_a_refusal(status: int) -> None:
    with tiny_s3({"HEAD": (status, {"x-amz-bucket-region": "us-west-2", "Location": "/x"}, b"")}) as (endpoint, seen):
        assert bucket_region("my-bucket", endpoint) == "us-west-2"
        assert bucket_region("tenant:bucket", f"{endpoint}/") == "us-west-2"
    assert seen == ["HEAD /my-bucket", "HEAD /tenant%3Abucket"]


def test_no_region_is_no_error(s3: S3) -> None:
    assert bucket_region("bucket", s3.endpoint) is None
    assert bucket_region("bucket", "http://127.0.0.1:9") is None


def test_urls_and_credentials_are_looked_at_with_everything_else() -> None:
    found = examine(
        BATCH_V2,
        request(
            input={"type": "geopackage", "features": {"s3": {"url": "fields.gpkg", "accessKey": "a"}}},
            output__delivery={"s3": {"url": "s3://my-bucket/<tile>", "iamRoleARN": "arn"}},
            output__cogParameters={"blockxsize": 100},
        ),
    ).findings
    assert [error.field for error in found.errors] == [
        "output.delivery.s3.iamRoleARN",
        "output.delivery.s3.url",
        "input.features.s3.accessKey",
        "input.features.s3.url",
        "output.cogParameters.blockxsize",
    ]
    assert [warning.field for warning in found.warnings] == ["output.cogParameters"]


@pytest.mark.parametrize("url", ["s3://user:hush@bucket/f", "gs://bucket/f?signature=hush", "https://bucket/f?x=hush"])
def test_a_url_shows_no_secret(url: str) -> None:
    assert "hush" not in str(examine(BATCH_V2, request(output__delivery={"s3": {"url": url}})).findings.errors)


@pytest.mark.parametrize("delivery", [None, [], "x", {"s3": None}, {"s3": {"url": 5}}, {"s3": {"url": "s3://["}}])
def test_no_delivery_is_too_odd(delivery: Any) -> None:
    errors = examine(BATCH_V2, request(output__delivery=delivery)).findings.errors
    assert all(error.field.startswith("output.delivery") for error in errors)
    assert errors
