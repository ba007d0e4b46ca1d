"""The public client, unchanged, against both statistical APIs and the bucket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from sentinelhub.api.batch import utils
from sentinelhub.api.batch.base import BatchRequestStatus, BatchUserAction
from sentinelhub.api.batch.statistical import SentinelHubBatchStatistical
from sentinelhub.api.statistical import SentinelHubStatistical
from sentinelhub.aws.batch import AwsBatchStatisticalResults
from sentinelhub.config import SHConfig
from sentinelhub.constants import CRS
from sentinelhub.data_collections import DataCollection
from sentinelhub.data_utils import get_failed_statistical_requests, statistical_to_dataframe
from sentinelhub.download.sentinelhub_client import SentinelHubDownloadClient
from sentinelhub.geometry import BBox

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import STATISTICS_EVALSCRIPT
from tests.simulator.statistics_support import results

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]
WEEKS = 6


@pytest.fixture
def config(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    # The client caches tokens for the whole process, and other tests revoke them.
    SentinelHubDownloadClient.clear_cache()
    # The client builds its S3 client without an endpoint: botocore reads it from the environment.
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", sim.ready.s3_endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", sim.ready.region)
    config = SHConfig(use_defaults=True)
    config.sh_base_url = sim.ready.base_url
    config.sh_token_url = sim.ready.token_url
    config.sh_client_id = sim.ready.client_id
    config.sh_client_secret = sim.ready.client_secret
    config.aws_access_key_id = sim.ready.access_key_id
    config.aws_secret_access_key = sim.ready.secret_access_key
    return config


def statistical(sim: Simulator, config: Any, **more: Any) -> Any:
    collection = DataCollection.SENTINEL2_L2A.define_from(f"AT {sim.ready.base_url}", service_url=sim.ready.base_url)
    return SentinelHubStatistical(
        aggregation=SentinelHubStatistical.aggregation(
            STATISTICS_EVALSCRIPT, ("2024-04-01", "2024-05-13"), "P7D", resolution=(10, 10)
        ),
        input_data=[SentinelHubStatistical.input_data(collection)],
        bbox=BBox((600_000, 5_330_000, 600_200, 5_330_200 + time.time_ns() % 10**6 / 10**6), CRS("32632")),
        calculations={"default": {"statistics": {"default": {"percentiles": {"k": [50]}}}}},
        config=config,
        **more,
    )


def create(sim: Simulator, client: Any, config: Any, request: Json) -> Any:
    access, keys = request["output"]["s3"], ("access_key", "secret_access_key")
    credentials = dict(zip(keys, (access["accessKey"], access["secretAccessKey"]), strict=True))
    return client.create_from_request(
        statistical(sim, config),
        client.s3_specification(f"{access['url']}/parcels.gpkg", **credentials),
        client.s3_specification(access["url"], **credentials),
    )


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    # The client waits many seconds between two polls, which are hours here.
    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.05)))


def until_done(client: Any, created: Any) -> Any:
    deadline = time.monotonic() + 30
    while (task := client.get_request(created)).status is not BatchRequestStatus.DONE:
        assert time.monotonic() < deadline, task
        time.sleep(0.05)
    return task


def test_create_start_monitor_and_download(
    sim: Simulator, config: Any, statistics_for: Callable[..., Json], patient: None
) -> None:
    sim.set_script({"features": [{"ids": [2], "outcome": "fatal"}], "intervals": [{"ids": [3], "intervals": [1]}]})
    client = SentinelHubBatchStatistical(config)
    created = create(sim, client, config, statistics_for())
    assert created.status is BatchRequestStatus.CREATED
    client.start_job(created)
    status = utils.monitor_batch_statistical_job(created, config=config, sleep_time=15, analysis_sleep_time=5)
    assert status["completionPercentage"] == 100
    done = until_done(client, created)
    assert (done.user_action, done.cost_pu) == (BatchUserAction.START, 100.0)
    assert client.get_status(done)["costPU"] == 100.0

    downloaded = AwsBatchStatisticalResults(done, config=config).get_data()
    task = {"id": done.request_id, "request": done.request}
    assert sorted(downloaded, key=lambda each: each["id"]) == [each for _, each in sorted(results(sim, task).items())]
    one = AwsBatchStatisticalResults(done, feature_ids=[1], config=config).get_data()
    assert one == [results(sim, task)["1"]]

    pytest.importorskip("pandas")
    frame = statistical_to_dataframe(downloaded)
    # It keeps features 1 and 4 only, and of them the intervals that have data.
    kept = [each for each in downloaded if each["id"] in {1, 4}]
    stats = [entry["outputs"]["ndvi"]["bands"]["B0"]["stats"] for each in kept for entry in each["response"]["data"]]
    assert sorted(frame["ndvi_B0_mean"]) == sorted(each["mean"] for each in stats if each["mean"] != "NaN")
    failed = {each["identifier"]: each["failed_intervals"] for each in get_failed_statistical_requests(downloaded)}
    second, third = (each["identifier"] for each in sorted(downloaded, key=lambda each: each["id"])[1:3])
    assert failed == {second: "full time range", third: [("2024-04-08T00:00:00Z", "2024-04-15T00:00:00Z")]}


def test_analyse_and_stop(sim: Simulator, config: Any, statistics_for: Callable[..., Json], patient: None) -> None:
    client = SentinelHubBatchStatistical(config)
    created = create(sim, client, config, statistics_for())
    client.start_analysis(created)
    analysed = utils.monitor_batch_statistical_analysis(created, config=config, sleep_time=5)
    assert analysed.status is BatchRequestStatus.ANALYSIS_DONE
    client.stop_job(created)
    deadline = time.monotonic() + 30
    while client.get_request(created).status is not BatchRequestStatus.STOPPED:
        assert time.monotonic() < deadline
    with pytest.raises(RuntimeError, match="STOPPED"):
        utils.monitor_batch_statistical_analysis(created, config=config, sleep_time=5)


def test_the_statistical_api_and_its_retry_of_failed_intervals(sim: Simulator, config: Any) -> None:
    sim.set_script({"intervals": [{"intervals": [0], "outcome": "TIMEOUT", "dates": ["2024-04-01"], "first_tasks": 1}]})
    request = statistical(sim, config)
    [answer] = request.get_data()
    # The client requests the failed interval again, alone, and puts it in its place; the status stays.
    assert (len(answer["data"]), answer["status"]) == (WEEKS, "PARTIAL")
    assert all("outputs" in entry for entry in answer["data"])
    assert sim.requests()["counts"]["POST /api/v1/statistics"] == 2
    [again] = request.get_data()
    assert again == {**answer, "status": "OK"}
