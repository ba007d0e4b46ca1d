"""Buckets are opened with the connection for their scheme, and with credentials that outlive none of their keys."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from shapely import box

from airflow_provider_sentinelhub.artifacts.storage.errors import answer_of
from airflow_provider_sentinelhub.artifacts.storage.object_stores import StorageKeys, open_store
from airflow_provider_sentinelhub.artifacts.storage.parallel_read import read_many
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.errors import (
    ArtifactMissing,
    InvalidConfiguration,
    InvalidParameter,
    StorageUnavailable,
)
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.hooks.bucket_connections import open_buckets, storage_options
from airflow_provider_sentinelhub.hooks.connections import ConnectionFacts, s3_delivery_credentials
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.operators.input_features import SentinelHubInputFeaturesOperator
from airflow_provider_sentinelhub.triggers.batch import SentinelHubBatchTrigger
from airflow_provider_sentinelhub.triggers.progress import PROGRESS_XCOM, Progress
from tests.airflow.airflow_harness import first_event, request
from tests.airflow.short_lived import Aws, short_lived_s3
from tests.artifacts.artifact_s3 import start_s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.simulator.process import Simulator
    from tests.airflow.airflow_harness import Comms, RunTask

# Keys are refreshed two seconds before their end, so a request has those to arrive, also on a busy machine.
LIFETIME_S = 5.0
BOXES = {name: box(west, 42.08, west + 0.01, 42.09).wkt for name, west in {"a": 9.22, "b": 9.24}.items()}


@pytest.fixture
def aws(sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """The simulator's bucket, for keys that soon expire."""
    with short_lived_s3(sim.bucket_folder.parent, tmp_path / "short-lived.log", LIFETIME_S) as aws:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_ROLE", aws.as_json())
        yield aws


@pytest.fixture
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """Another bucket of the name of the simulator's, on Google Cloud Storage: its own server speaks that as well."""
    server = start_s3(tmp_path / "google", tmp_path / "google.log")
    key = {"gcs_base_url": server.endpoint, "disable_oauth": True}
    key |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    connection = {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": key}}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE", json.dumps(connection))
    yield open_buckets(None, "google")
    server.process.kill()
    server.process.wait()


class TestRefresh:
    """Keys are refreshed before they expire, by one for all."""

    def test_a_listing_outlives_its_keys(self, aws: Aws, sim: Simulator) -> None:
        folder = sim.bucket_folder / "many"
        folder.mkdir()
        for number in range(3500):
            (folder / f"{number:04}").touch()
        aws.delay_s = 2.5
        assert len(list(open_buckets("aws_role", None).list(f"s3://{sim.ready.bucket}/many"))) == 3500
        assert aws.keys_used >= 2
        assert aws.refused == 0

    def test_a_long_read_outlives_its_keys(self, aws: Aws, sim: Simulator) -> None:
        storage, folder = open_buckets("aws_role", None), f"s3://{sim.ready.bucket}/long-read"
        urls = [(f"{folder}/{number}", 4) for number in range(200)]
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda each: storage.upload(b"1234", each[0]), urls))
        aws.delay_s = 1.5
        read = list(read_many(storage, urls))
        assert [url for url, found in read if isinstance(found, tuple)] == [url for url, _ in urls]
        assert aws.keys_used >= 2
        assert aws.refused == 0

    async def test_a_wait_outlives_its_keys(
        self, aws: Aws, sim: Simulator, run_task: RunTask, comms: Comms, caplog: pytest.LogCaptureFixture
    ) -> None:
        sim.set_script({"timing": {"feature_seconds": 3600, "parallel": 1, "execution_seconds": 100}})
        operator = SentinelHubBatchProcessOperator(
            task_id="t", request=request(sim.ready), deferrable=True, poll_interval=0.1, progress_interval=0.2
        )
        run = run_task(operator)
        assert run.state == "deferred", run.error
        # The service cannot assume the role, so another connection creates the task.
        trigger = SentinelHubBatchTrigger(**{**run.trigger.serialize()[1], "aws_conn_id": "aws_role"})
        await first_event(trigger, comms)
        assert comms.xcoms[PROGRESS_XCOM]["features"]["delivered"] >= 1
        assert aws.keys_used >= 2
        assert aws.refused == 0
        assert "Could not report the progress" not in caplog.text

    def test_it_is_asked_for_keys_once_for_all_and_not_before_each_request(self) -> None:
        with Aws(lifetime_s=300) as aws, ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: storage_options("s3", aws.connection()), range(8)))
            assert len({options.identity for options in found}) == 1
            assert len({id(open_store("s3", "bucket", options)) for options in found}) == 1
            asked = aws.asked
            for _ in range(20):
                keys = found[0].current_keys()
            # botocore alone would have, for keys that are valid for five minutes.
            assert aws.asked == asked
            assert keys is not None
            assert "secret" not in repr((found[0], found[0].identity, keys))
            assert "token" not in repr((found[0], found[0].identity, keys))

    def test_the_role_is_assumed_as_its_trust_policy_asks(self) -> None:
        with Aws(lifetime_s=300) as aws:
            facts = aws.connection("aws_external_id")
            asked = {"ExternalId": "11111111-2222-3333-4444-555555555555", "RoleSessionName": "sentinelhub"}
            facts.extra["assume_role_kwargs"] = asked
            storage_options("s3", facts)
            assert asked.items() <= aws.assumed[0].items()
            # The service gets the role alone: it has an external id of its own.
            given = s3_delivery_credentials(facts, DEPLOYMENTS["aws-eu-central-1"])
            assert given == {"iamRoleARN": "arn:aws:iam::123456789012:role/reader"}

    def test_another_connection_or_another_secret_has_connections_of_its_own(self) -> None:
        with Aws(lifetime_s=300) as aws:
            here, there = (storage_options("s3", aws.connection(name)) for name in ("here", "there"))
        assert here.identity != there.identity
        assert open_store("s3", "bucket", here) is not open_store("s3", "bucket", there)
        old, new = (storage_options("s3", ConnectionFacts("c", "AKIA", secret)) for secret in ("old", "new"))
        assert old.identity != new.identity
        assert new.identity == storage_options("s3", ConnectionFacts("c", "AKIA", "new")).identity

    def test_keys_are_used_until_their_end_while_aws_is_in_trouble(
        self, aws: Aws, sim: Simulator, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage, url = open_buckets("aws_role", None), f"s3://{sim.ready.bucket}/in-trouble"
        storage.upload(b"1", url)
        aws.is_down, asked = True, aws.asked
        began = time.monotonic()
        with caplog.at_level(logging.WARNING):
            while time.monotonic() < began + 0.8 * LIFETIME_S:
                assert storage.read(url) == b"1"
                time.sleep(0.05)
        assert "Could not refresh AWS credentials, which are still valid" in caplog.text
        # Not with each of the requests.
        assert 1 <= aws.asked - asked <= 3
        time.sleep(0.3 * LIFETIME_S)
        for call in (storage.read, lambda url: list(storage.list(url))):
            with pytest.raises(StorageUnavailable, match="New credentials could not be fetched") as caught:
                call(url)
            assert "secret" not in str(caught.value)
            answer = answer_of(caught.value)
            # The bucket was not asked.
            assert answer is not None
            assert not answer.is_refusal
        aws.is_down = False
        assert storage.read(url) == b"1"
        assert [item.url for item in storage.list(f"s3://{sim.ready.bucket}/in-trouble")] == []
        assert aws.refused == 0

    def test_a_token_service_in_trouble_is_asked_again_later(self) -> None:
        with Aws(lifetime_s=300) as aws:
            aws.is_down = True
            with pytest.raises(StorageUnavailable, match="'aws_role': AWS could not be asked for credentials"):
                storage_options("s3", aws.connection())
            aws.is_down = False
            assert storage_options("s3", aws.connection()).current_keys() is not None

    def test_the_session_factory_of_the_installation_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow.providers.amazon.aws.hooks import base_aws

        class Factory(base_aws.BaseSessionFactory):
            def create_session(self, deferrable: bool = False) -> Any:
                import boto3  # type: ignore[import-untyped]  # ships no types

                return boto3.session.Session("federated", "secret", region_name="eu-west-1")

        monkeypatch.setattr(base_aws, "SessionFactory", Factory)
        found = storage_options("s3", ConnectionFacts("aws_federated", "AKIA", "other"))
        assert (found.keys, found.region) == (StorageKeys("federated", "secret"), "eu-west-1")

    def test_keys_that_do_not_refresh_themselves_are_looked_up_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody else may have written new ones."""
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path := tmp_path / "credentials"))
        facts = ConnectionFacts("profile", extra={"profile_name": "mine"})
        for name in ("first", "second"):
            path.write_text(f"[mine]\naws_access_key_id={name}\naws_secret_access_key=s\naws_session_token=t\n")
            assert storage_options("s3", facts).keys == StorageKeys(name, "s", "t")


class TestMixed:
    """Features on one cloud, results on the other; each bucket is only on its own server."""

    @pytest.fixture
    def ended(self, sim: Simulator, run_task: RunTask, comms: Comms, url: str) -> BatchTask:
        """A task whose features and results lie on S3, of which one feature failed."""
        made = SentinelHubInputFeaturesOperator(
            task_id="features",
            url=url,
            geometries=BOXES,
            epsg=4326,
            resolution=0.001,
        )
        assert run_task(made).state == "success"
        sim.set_script({"features": [{"outcome": "fatal", "names": ["a"]}]})
        operator = SentinelHubBatchProcessOperator(
            task_id="t",
            request=request(sim.ready, input={"type": "geopackage", "features": {"s3": {"url": url}}}),
            on_partial="warn",
            poll_interval=0.05,
            progress_interval=0,
        )
        assert run_task(operator).state == "success"
        return SentinelHubBatchHook().get(comms.xcoms["return_value"]["task_id"])

    @pytest.fixture
    def url(self, sim: Simulator) -> str:
        return f"s3://{sim.ready.bucket}/mixed-{time.time_ns()}/fields.gpkg"

    def test_features_on_google_and_results_on_s3(
        self, sim: Simulator, google: Storage, ended: BatchTask, url: str
    ) -> None:
        there = _moved(SentinelHubBatchHook().storage, google, url)
        self.check(ended, {**ended.request, "input": {"type": "geopackage", "features": {"gs": {"url": there}}}}, "s3")

    def test_features_on_s3_and_results_on_google(
        self, sim: Simulator, google: Storage, ended: BatchTask, url: str
    ) -> None:
        storage = SentinelHubBatchHook().storage
        for item in list(storage.list(BATCH_V2.delivery_url(ended.request))):
            there = _moved(storage, google, item.url)
        folder = there[: there.index(ended.id)].rstrip("/")
        output = {**ended.request["output"], "delivery": {"gs": {"url": folder}}}
        self.check(ended, {**ended.request, "output": output}, "gs")

    def check(self, ended: BatchTask, body: dict[str, Any], results: str) -> None:
        hook = SentinelHubBatchHook(gcp_conn_id="google")
        task = ended.model_copy(update={"request": body})
        hook.check_buckets(_as_sent(body))
        hook.check_features(_as_sent(body))
        report = hook.report(task)
        assert (report.delivered, report.failed) == (1, 1)
        assert report.report_url is not None
        assert report.report_url.startswith(f"{results}://")
        assert [each["name"] for each in hook.failed_features(report.report_url)] == ["a"]
        again = hook.request_for_failed([task], _as_sent(body), only_after_progress=False)
        assert again is not None
        ((kind, features),) = again["input"]["features"].items()
        assert kind == results
        assert hook.storage.exists(features["url"])
        told = asyncio.run(_told(task, "aws_default", "google"))
        assert told["features"]["delivered"] == 1

    def test_progress_leaves_features_out_where_their_bucket_has_no_connection(
        self, sim: Simulator, google: Storage, ended: BatchTask
    ) -> None:
        assert asyncio.run(_told(ended, None, "google"))["features"] is None
        assert asyncio.run(_told(ended, "aws_default", None))["features"]["total"] == 2

    def test_input_features_go_from_one_cloud_to_the_other(
        self, sim: Simulator, google: Storage, run_task: RunTask, url: str
    ) -> None:
        there = f"gs://bucket/{time.time_ns()}/fields.gpkg"
        steps: list[dict[str, Any]] = [
            {"url": there, "geometries": BOXES, "epsg": 4326, "resolution": 0.001},
            {"url": url, "source": there},
        ]
        for step in steps:
            operator = SentinelHubInputFeaturesOperator(task_id="t", gcp_conn_id="google", **step)
            run = run_task(operator)
            assert run.state == "success", run.error
        assert google.exists(there)
        assert open_buckets("aws_default", None).exists(url)

    def test_a_missing_connection_is_named_when_its_bucket_is_needed(self, sim: Simulator) -> None:
        storage = open_buckets("aws_default", None)
        with pytest.raises(ArtifactMissing):
            storage.read(f"s3://{sim.ready.bucket}/nothing")
        with pytest.raises(InvalidConfiguration, match="gcp_conn_id is needed to reach the bucket"):
            storage.read("gs://bucket/nothing")
        with pytest.raises(InvalidConfiguration, match="aws_conn_id is needed to reach the bucket"):
            open_buckets(None, "google").read("s3://bucket/nothing")
        body = request(sim.ready)
        with pytest.raises(InvalidParameter, match=r"aws_conn_id = None: is needed for output\.delivery\.s3\.url"):
            SentinelHubBatchHook(aws_conn_id=None).check_buckets(body)


def _instance() -> Any:
    return SimpleNamespace(dag_id="unit", task_id="t", run_id="r", map_index=-1)


async def _told(task: BatchTask, aws_conn_id: str | None, gcp_conn_id: str | None) -> Any:
    from airflow.sdk.execution_time import task_runner

    buckets = {"aws_conn_id": aws_conn_id, "gcp_conn_id": gcp_conn_id}
    await Progress(BATCH_V2, 0.01, _instance(), sentinelhub_conn_id="sentinelhub_default", **buckets).tell(task)
    return task_runner.SUPERVISOR_COMMS.xcoms[PROGRESS_XCOM]  # type: ignore[attr-defined]  # the harness's


def _moved(source: Storage, target: Storage, url: str) -> str:
    """Move an object from S3 to Google Cloud Storage, and return its URL there."""
    there = "gs://bucket/" + url.removeprefix("s3://").partition("/")[2]
    target.upload(source.read(url), there)
    source.delete(url)
    return there


def _as_sent(body: dict[str, Any]) -> dict[str, Any]:
    """The request without what the service adds to it."""
    from airflow_provider_sentinelhub.hooks.credentials import without_credentials

    return without_credentials(BATCH_V2, body)
