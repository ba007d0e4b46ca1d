"""The hook for Batch Processing V1 against the simulator."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sentinelhub.api.process import SentinelHubRequest
from sentinelhub.config import SHConfig
from sentinelhub.constants import CRS, MimeType
from sentinelhub.data_collections import DataCollection
from sentinelhub.geometry import BBox

from airflow_provider_sentinelhub.client.errors import Conflict, InvalidParameter, InvalidRequest, NotFound
from airflow_provider_sentinelhub.hooks.batch_v1 import SentinelHubBatchV1Hook
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import EVALSCRIPT, FOUR_TILES, sample_request

GRID = SentinelHubBatchV1Hook.tiling_grid(0, 60)


@pytest.fixture
def hook(sim: Simulator) -> SentinelHubBatchV1Hook:
    return SentinelHubBatchV1Hook()


def of_the_public_client(sim: Simulator) -> SentinelHubRequest:
    config = SHConfig(use_defaults=True)
    config.sh_base_url = sim.ready.base_url
    return SentinelHubRequest(
        evalscript=EVALSCRIPT,
        input_data=[
            SentinelHubRequest.input_data(
                DataCollection.SENTINEL2_L2A.define_from(f"AT {sim.ready.base_url}", service_url=sim.ready.base_url),
                time_interval=("2024-07-01", "2024-07-31"),
            )
        ],
        responses=[SentinelHubRequest.output_response("default", MimeType.TIFF)],
        bbox=BBox(FOUR_TILES, crs=CRS.WGS84),
        config=config,
    )


def until(hook: SentinelHubBatchV1Hook, task: Any, status: str) -> Any:
    deadline = time.monotonic() + 30
    while (now := hook.get_request(task)).status != status:
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    return now


def test_every_operation(sim: Simulator, hook: SentinelHubBatchV1Hook) -> None:
    folder = f"hook-v1-{time.time_ns()}"
    sim.set_script({"features": [{"names": ["32TNM_0_1"], "outcome": "fatal", "first_attempts": 1}]})
    process = sample_request(sim.ready, folder)["processRequest"]
    path = f"s3://{sim.ready.bucket}/{folder}/<requestId>/<tileName>/<outputId>.<format>"

    assert [grid.id for grid in hook.iter_tiling_grids()] == [0, 1, 2, 3, 6, 7]
    assert hook.get_tiling_grid(0).properties.tile_width == 20_040

    collection = hook.create_collection(folder, sim.ready.bucket)
    hook.update_collection(collection.id, f"{folder} renamed")
    assert hook.get_collection(collection.id).name == f"{folder} renamed"
    assert collection.id in {each.id for each in hook.iter_collections(count=1)}

    task = hook.create_request(process, GRID, hook.output(default_tile_path=path), description=folder)
    assert task.status == "CREATED"
    assert hook.get_latest_request().id == task.id
    assert [each.id for each in hook.iter_requests(search=folder)] == [task.id]
    assert hook.update_request(task, description="changed").request["description"] == "changed"

    hook.start_analysis(task)
    analysed = until(hook, task.id, "ANALYSIS_DONE")
    assert (analysed.tile_count, analysed.value_estimate > 0) == (4, True)
    tiles = list(hook.iter_tiles(task, count=1))
    assert hook.get_tile(task, tiles[0].id) == tiles[0]

    hook.start_job(task)
    until(hook, task, "PARTIAL")
    assert [tile.name for tile in hook.iter_tiles(task, "FAILED")] == ["32TNM_0_1"]
    hook.restart_job(task)
    until(hook, task, "DONE")
    with pytest.raises(InvalidRequest, match="Only requests with status PARTIAL can be restarted"):
        hook.restart_job(task)
    with pytest.raises(Conflict):
        hook.delete_request(task)

    # The service refuses actions on what it has just created.
    # Two seconds here: longer than it takes to send the first of them.
    sim.set_script({"timing": {"actions_after_seconds": 2400}})
    canceled = hook.create_request(process, GRID, bucket_name=sim.ready.bucket)
    hook.cancel_job(canceled)
    deleted = hook.create_request(of_the_public_client(sim), GRID, bucket_name=sim.ready.bucket)
    assert deleted.request["processRequest"]["input"]["bounds"]["bbox"] == list(FOUR_TILES)
    until(hook, canceled, "CANCELED")
    hook.delete_request(deleted)
    with pytest.raises(NotFound):
        hook.get_request(deleted)
    hook.delete_collection(collection.id)
    with pytest.raises(NotFound):
        hook.get_collection(collection.id)

    counts = sim.requests()["counts"]
    assert len([name for name in counts if "/batch/" in name]) == 18
    assert counts["POST /api/v1/batch/process/{id}/cancel"] > 1


def test_what_cannot_be_right_is_not_sent(sim: Simulator, hook: SentinelHubBatchV1Hook) -> None:
    process = sample_request(sim.ready, "x")["processRequest"]
    with pytest.raises(InvalidParameter, match=r"output.*bucketName|bucketName.*output"):
        hook.create_request(process, GRID)
    with pytest.raises(InvalidParameter, match="sort"):
        hook.iter_requests(sort="newest")
    with pytest.raises(InvalidParameter, match="status"):
        hook.iter_tiles("a-request", "DONE")
    with pytest.raises(InvalidParameter, match="batch_task_id"):
        hook.start_job("None")
    assert sim.requests()["total"] == 0


def test_helpers_leave_out_what_was_not_given() -> None:
    assert SentinelHubBatchV1Hook.tiling_grid(0, 10.0, (3, 0), more=1) == {
        "id": 0,
        "resolution": 10.0,
        "bufferX": 3,
        "bufferY": 0,
        "more": 1,
    }
    assert SentinelHubBatchV1Hook.output() == {}
    assert SentinelHubBatchV1Hook.output(overwrite=False, cog_output=True, default_tile_path="s3://b", new=2) == {
        "defaultTilePath": "s3://b",
        "overwrite": False,
        "cogOutput": True,
        "new": 2,
    }
