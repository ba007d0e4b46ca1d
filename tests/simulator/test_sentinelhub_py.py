"""The public client, unchanged, against the simulator."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sentinelhub.api.batch import utils
from sentinelhub.api.batch.base import BatchRequestStatus, BatchUserAction
from sentinelhub.api.batch.process import BatchProcessClient
from sentinelhub.api.process import SentinelHubRequest
from sentinelhub.config import SHConfig
from sentinelhub.constants import CRS, MimeType
from sentinelhub.data_collections import DataCollection
from sentinelhub.download.sentinelhub_client import SentinelHubDownloadClient
from sentinelhub.exceptions import DownloadFailedException
from sentinelhub.geometry import BBox

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import EVALSCRIPT, FOUR_TILES


@pytest.fixture
def client(sim: Simulator, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    # The client caches tokens for the whole process, and other tests revoke them.
    SentinelHubDownloadClient.clear_cache()
    config = SHConfig(use_defaults=True)
    config.sh_base_url = sim.ready.base_url
    config.sh_token_url = sim.ready.token_url
    config.sh_client_id = sim.ready.client_id
    config.sh_client_secret = sim.ready.client_secret
    return BatchProcessClient(config=config)


@pytest.fixture
def created(sim: Simulator, client: Any) -> Any:
    request = SentinelHubRequest(
        evalscript=EVALSCRIPT,
        input_data=[
            SentinelHubRequest.input_data(
                DataCollection.SENTINEL2_L2A.define_from(f"AT {sim.ready.base_url}", service_url=sim.ready.base_url),
                time_interval=("2024-07-01", "2024-07-31"),
            )
        ],
        responses=[SentinelHubRequest.output_response("default", MimeType.TIFF)],
        bbox=BBox(FOUR_TILES, crs=CRS.WGS84),
        config=client.config,
    )
    delivery = BatchProcessClient.s3_specification(
        f"s3://{sim.ready.bucket}/sentinelhub-py-{time.time_ns()}",
        access_key=sim.ready.access_key_id,
        secret_access_key=sim.ready.secret_access_key,
    )
    return client.create(
        request,
        input=BatchProcessClient.tiling_grid_input(0, 60, buffer_x=2),
        output=BatchProcessClient.raster_output(delivery),
        description="sentinelhub-py",
    )


def until(client: Any, created: Any, status: Any) -> Any:
    deadline = time.monotonic() + 30
    while (task := client.get_request(created)).status is not status:
        assert time.monotonic() < deadline, task
        time.sleep(0.05)
    return task


def test_create_analyse_start_and_monitor(sim: Simulator, client: Any, created: Any) -> None:
    assert created.status is BatchRequestStatus.CREATED
    client.start_analysis(created)
    until(client, created, BatchRequestStatus.ANALYSIS_DONE)
    client.update_request(created, "changed")
    client.start_job(created)
    done = until(client, created, BatchRequestStatus.DONE)
    assert done.user_action is BatchUserAction.START
    assert (done.completion_percentage, done.cost_PU, done.request["description"]) == (100, 100.0, "changed")
    done.raise_for_status()
    assert len(sim.task(created.request_id)["features"]) == 4


def test_its_own_monitor_follows_a_task_to_the_end(client: Any, created: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The client waits a minute at least between two polls, which is half an hour here.
    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(min(seconds, 0.05)))
    client.start_job(created)
    done = utils.monitor_batch_process_job(created, client, sleep_time=60, analysis_sleep_time=5)
    assert done.status is BatchRequestStatus.DONE


def test_lists_and_grids(client: Any, created: Any) -> None:
    assert created.request_id in [task.request_id for task in client.iter_requests(count=1)]
    assert [grid["id"] for grid in client.iter_tiling_grids()] == [0, 1, 2, 3, 6, 7]
    assert client.get_tiling_grid(2)["properties"]["tileWidth"] == 100_080.0


def test_an_illegal_action_raises_with_the_service_s_words(client: Any, created: Any) -> None:
    with pytest.raises(DownloadFailedException, match="Illegal to change userAction from NONE to STOP"):
        client.stop_job(created)
