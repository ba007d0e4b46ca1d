"""Batch Statistical: the same operators, guarantees and reports, and one table of all statistics."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_statistical import SentinelHubBatchStatisticalOperator
from airflow_provider_sentinelhub.sensors.batch_statistical import SentinelHubBatchStatisticalSensor
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import Comms, RunTask, first_event
from tests.airflow.statistical_harness import NDVI, parcels, statistical_request
from tests.airflow.test_restarts import two_layers

PATH = "/statistics/batch/v1"


def operator(sim: Simulator, **kwargs: Any) -> SentinelHubBatchStatisticalOperator:
    kwargs.setdefault("request", statistical_request(sim, parcels(sim)))
    options = {"poll_interval": 0.1, "progress_interval": 0, **kwargs}
    return SentinelHubBatchStatisticalOperator(task_id="t", **options)


def table(sim: Simulator, result: dict[str, Any]) -> list[dict[str, Any]]:
    path = sim.bucket_folder / result["statistics_url"].split("/", 3)[3]
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def calls(sim: Simulator, action: str = "") -> int:
    path = f"POST {PATH}/{{id}}/{action}" if action else f"POST {PATH}"
    return int(sim.requests()["counts"].get(path, 0))


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_run_gives_one_table(sim: Simulator, run_task: RunTask, comms: Comms, *, deferrable: bool) -> None:
    op = operator(sim, deferrable=deferrable)
    run = run_task(op)
    if deferrable:
        assert run.state == "deferred", run.error
        event = asyncio.run(first_event(run.trigger, comms))
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["total"], result["delivered"] + result["no_data"]) == ("DONE", 4, 4)
    rows = table(sim, result)
    assert {row["identifier"] for row in rows} == {f"parcel-{number}" for number in range(1, 5)}
    assert len(rows) == 4 * 4 == result["intervals_with_data"] + result["intervals_without_data"]
    assert (calls(sim), calls(sim, "start")) == (1, 1)


def test_a_long_script_goes_into_the_bucket(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    body = statistical_request(sim, parcels(sim), aggregation__evalscript=NDVI + "// far and wide\n" * 3000)
    run = run_task(operator(sim, request=body))
    assert run.state == "success", run.error
    hook = SentinelHubBatchHook("batch-statistical")
    sent = hook.get(comms.xcoms["return_value"]["task_id"])
    assert "evalscript" not in sent.request["aggregation"]
    found = hook.api.intent_of(sent)
    assert found is not None
    assert found.task_id == "t"
    # Where the script lies makes no difference to what is wanted: a retry finds its task again.
    place = sent.request["aggregation"]["evalscriptReference"]["s3"]["url"]
    assert hook.storage.read(place).decode() == body["aggregation"]["evalscript"]
    comms.state.clear()
    referring = {**body, "aggregation": {**body["aggregation"], "evalscriptReference": {"s3": {"url": place}}}}
    del referring["aggregation"]["evalscript"]
    assert run_task(operator(sim, request=referring)).state == "success"
    assert comms.xcoms["return_value"]["task_id"] == sent.id
    assert (calls(sim), calls(sim, "start")) == (1, 1)


def test_a_lost_store_finds_the_task_by_the_comment_in_its_script(
    sim: Simulator, run_task: RunTask, comms: Comms
) -> None:
    op = operator(sim)
    assert run_task(op).state == "success"
    first = comms.xcoms["return_value"]["task_id"]
    comms.state.clear()
    assert run_task(op).state == "success"
    assert comms.xcoms["return_value"]["task_id"] == first
    assert calls(sim) == 1


def test_several_layers_are_refused_before_anything_is_sent(sim: Simulator, run_task: RunTask, tmp_path: Path) -> None:
    path = two_layers(tmp_path)
    url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}/two.gpkg"
    SentinelHubBatchHook().storage.upload(path, url)
    run = run_task(operator(sim, request=statistical_request(sim, url)))
    assert run.state == "failed"
    assert "there are 2 layers, and statistics take one table" in str(run.error)
    assert calls(sim) == 0


def test_a_deleted_task_is_looked_for_in_the_bucket(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    body = statistical_request(sim, parcels(sim))
    assert run_task(operator(sim, request=body)).state == "success"
    before = comms.xcoms["return_value"]
    sim.admin("POST", "/clock", {"advance_seconds": 31 * 24 * 3600})
    sensor = SentinelHubBatchStatisticalSensor(task_id="s", batch_task_id=before["task_id"], poke_interval=1)
    run = run_task(sensor)
    assert run.state == "failed"
    assert "CREATED ones after 7 days, FAILED ones after 15, others after 30" in str(run.error)
    assert "give its delivery_url" in str(run.error)
    places = {"delivery_url": body["output"]["s3"]["url"], "features_url": body["input"]["features"]["s3"]["url"]}
    sensor = SentinelHubBatchStatisticalSensor(task_id="s", batch_task_id=before["task_id"], **places)
    run = run_task(sensor)
    assert run.state == "success", run.error
    after = comms.xcoms["return_value"]
    assert (after["status"], after["outcome"]) == ("DELETED", "DONE")
    assert after["statistics_url"] == before["statistics_url"]
