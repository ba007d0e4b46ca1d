"""Batch Statistical: the same operators, guarantees and reports, and one table of all statistics."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
import uuid
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from airflow_provider_sentinelhub.artifacts.results import batch_statistical as batch_statistical_results
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_statistical import (
    SentinelHubAnalyseBatchStatisticalOperator,
    SentinelHubBatchStatisticalOperator,
    SentinelHubBatchStatisticalReportOperator,
    SentinelHubCreateBatchStatisticalOperator,
    SentinelHubEstimateBatchStatisticalOperator,
    SentinelHubRerunFailedBatchStatisticalOperator,
    SentinelHubStartBatchStatisticalOperator,
    SentinelHubStopBatchStatisticalOperator,
)
from airflow_provider_sentinelhub.sensors.batch_statistical import SentinelHubBatchStatisticalSensor
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import Comms, RunTask, first_event
from tests.airflow.statistical_harness import NDVI, parcels, statistical_request, write_parcels
from tests.airflow.test_reruns import two_layers

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/statistics/batch/v1"
# The original task, and the first rerun of it, by the end of their tags.
ONCE, TWICE = r"~\d+$", r"~\d+(\^1:\S+)?$"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features without a result are looked for again for a while; here they never come."""
    monkeypatch.setattr(batch_statistical_results, "PATIENCE_S", 0.0)


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


def test_names_are_in_the_column_that_is_named(sim: Simulator, run_task: RunTask, comms: Comms, tmp_path: Path) -> None:
    features, url = write_parcels(tmp_path / "parcels.gpkg", 2), parcels(sim)
    with closing(sqlite3.connect(features)) as connection, connection:
        connection.execute("ALTER TABLE features_32632 RENAME COLUMN identifier TO parcel")
    SentinelHubBatchHook().storage.upload(features, url)
    body = statistical_request(sim, url)
    run = run_task(operator(sim, request=body, identifier_column="plot"))
    assert "identifier_column = 'plot': parcels.gpkg has no such column, only ['geometry', 'height', " in str(run.error)
    assert calls(sim) == 0
    run = run_task(operator(sim, request=body, identifier_column="{{ 'parcel' }}"))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert {row["feature_id"]: row["identifier"] for row in table(sim, result)} == {1: "parcel-1", 2: "parcel-2"}
    for column, found in ((None, {"parcel-1", "parcel-2"}), ("id", {"1", "2"}), (None, {"1", "2"})):
        report = SentinelHubBatchStatisticalReportOperator(
            task_id="r", batch_task_id=result["task_id"], identifier_column=column
        )
        assert run_task(report).state == "success"
        assert {row["identifier"] for row in table(sim, comms.xcoms["return_value"])} == found


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
    assert run_task(operator(sim, request=referring), try_number=2).state == "success"
    assert comms.xcoms["return_value"]["task_id"] == sent.id
    assert (calls(sim), calls(sim, "start")) == (1, 1)


def test_a_lost_store_finds_the_task_by_the_comment_in_its_script(
    sim: Simulator, run_task: RunTask, comms: Comms
) -> None:
    op = operator(sim)
    assert run_task(op).state == "success"
    first = comms.xcoms["return_value"]["task_id"]
    comms.state.clear()
    assert run_task(op, try_number=2).state == "success"
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


def keys(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["feature_id"], row["interval_from"], row["output"], row["band"]) for row in rows]


def sent(sim: Simulator, task_id: str) -> dict[str, Any]:
    body: dict[str, Any] = sim.call("GET", f"{PATH}/{task_id}").body["request"]
    return body


def test_what_failed_is_run_again_and_each_interval_stands_once(
    sim: Simulator, run_task: RunTask, comms: Comms
) -> None:
    url = parcels(sim, 8)
    assert run_task(operator(sim, request=statistical_request(sim, url))).state == "success"
    rows = table(sim, comms.xcoms["return_value"])
    intact = {key: row["mean"] for key, row in zip(keys(rows), rows, strict=True)}
    assert len(intact) == 8 * 4

    comms.state.clear()
    sim.set_script(
        {
            "features": [
                {"outcome": "fatal", "ids": [1], "task": ONCE},
                {"outcome": "failed", "ids": [2], "task": TWICE},
                {"outcome": "missing_file", "ids": [3], "task": ONCE},
                {"outcome": "fatal", "ids": [5]},
            ],
            "intervals": [{"ids": [4], "dates": ["2025-05-14"], "task": ONCE}],
        }
    )
    run = run_task(operator(sim, request=statistical_request(sim, url), on_partial="rerun_then_warn"))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["delivered"], result["failed"]) == ("PARTIAL", 7, 1)
    assert result["failed_names"] == ["parcel-5"]
    # The original; then five parcels; then the two that were lost again; then the one that is lost for good.
    assert [each["total"] for each in result["tasks"]] == [8, 5, 2, 1]
    rows = table(sim, result)
    answers = {key: row["mean"] for key, row in zip(keys(rows), rows, strict=True) if row["error"] is None}
    assert answers == {key: mean for key, mean in intact.items() if key[0] != 5}
    assert len(keys(rows)) == len(set(keys(rows)))
    assert [row["feature_id"] for row in rows if row["error"]] == [5]


def test_a_late_result_is_not_paid_for_again(
    sim: Simulator, run_task: RunTask, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.set_script({"features": [{"outcome": "missing_file", "ids": [3]}]})
    monkeypatch.setattr(batch_statistical_results, "PATIENCE_S", 30.0)
    monkeypatch.setattr(batch_statistical_results, "_LOOK_EVERY_S", 0.1)
    storage = SentinelHubBatchHook().storage
    body = statistical_request(sim, parcels(sim))
    looks = iter(range(600, 0, -1))

    def deliver_late() -> None:
        while not sim.requests()["counts"].get(f"GET {PATH}/{{id}}") and next(looks):
            time.sleep(0.1)
        root = f"{body['output']['s3']['url']}/{comms.xcoms['sentinelhub_task_id']}"
        while sim.call("GET", f"{PATH}/{root.rpartition('/')[2]}").body["status"] != "DONE" and next(looks):
            time.sleep(0.1)
        time.sleep(1)
        storage.upload(storage.read(f"{root}/2.json").replace(b'"id": 2', b'"id": 3'), f"{root}/3.json")

    late = threading.Thread(target=deliver_late)
    late.start()
    run = run_task(operator(sim, request=body, on_partial="rerun"))
    late.join()
    assert run.state == "success", run.error
    assert (comms.xcoms["return_value"]["delivered"], calls(sim, "start")) == (4, 1)


def test_only_the_weeks_that_failed_are_asked_for_again(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script(
        {"intervals": [{"ids": [1, 2], "dates": ["2025-05-14", "2025-05-21"], "task": ONCE, "outcome": "TIMEOUT"}]}
    )
    run = run_task(operator(sim, on_partial="rerun"))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["intervals_failed"]) == ("DONE", 0)
    original, rerun = (sent(sim, task_id) for task_id in result["task_ids"])
    assert rerun["aggregation"]["timeRange"] == {"from": "2025-05-12T00:00:00Z", "to": "2025-05-26T00:00:00Z"}
    assert len(keys(table(sim, result))) == len(set(keys(table(sim, result)))) == 4 * 4
    assert {row["rerun"] for row in table(sim, result)} == {0, 1}
    assert (
        original["aggregation"]["evalscript"].split("\n// airflow:")[0]
        == (rerun["aggregation"]["evalscript"].split("\n// airflow:")[0])
    )


def test_a_mended_week_is_progress(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script(
        {
            "intervals": [
                {"ids": [1], "dates": ["2025-05-14"], "task": ONCE},
                {"ids": [1], "dates": ["2025-05-21"], "task": TWICE},
            ]
        }
    )
    run = run_task(operator(sim, on_partial="rerun"))
    assert run.state == "success", run.error
    assert (comms.xcoms["return_value"]["outcome"], calls(sim, "start")) == ("DONE", 3)


def test_what_would_fail_again_is_left_out(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"intervals": [{"ids": [1], "dates": ["2025-05-14"], "outcome": "BAD_REQUEST"}]})
    run = run_task(operator(sim, on_partial="rerun"))
    assert run.state == "failed"
    assert "1 of 4 features were not delivered" in str(run.error)
    assert "BAD_REQUEST" in str(run.error)
    assert calls(sim, "start") == 1


def test_results_in_a_template(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "ids": [2], "task": ONCE}]})
    url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}"
    body = statistical_request(sim, parcels(sim), output__s3__url=f"{url}/<REQUEST_ID>/of-<IDENTIFIER>.json")
    run = run_task(operator(sim, request=body, on_partial="rerun"))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert result["statistics_url"] == f"{url}/{result['task_id']}/statistics-{result['task_id']}.parquet"
    assert len(set(keys(table(sim, result)))) == 4 * 4


def test_results_that_another_task_would_be_given_are_refused(sim: Simulator, run_task: RunTask) -> None:
    body = statistical_request(sim, parcels(sim), output__s3__url=f"s3://{sim.ready.bucket}/april/<ID>.json")
    run = run_task(operator(sim, request=body))
    assert run.state == "failed"
    assert "must hold <REQUEST_ID>, or what another run left there would be taken for answers" in str(run.error)
    assert calls(sim) == 0


def test_who_only_looks_loses_nothing_that_was_mended(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "ids": [2], "task": ONCE}]})
    body = statistical_request(sim, parcels(sim))
    assert run_task(operator(sim, request=body, on_partial="rerun")).state == "success"
    mended, rows = comms.xcoms["return_value"], table(sim, comms.xcoms["return_value"])
    which: dict[str, Any] = {"batch_task_id": mended["task_id"]}
    places = {"delivery_url": body["output"]["s3"]["url"], "features_url": body["input"]["features"]["s3"]["url"]}
    for days in (0, 31):
        # Thirty-one days later the service has deleted the task and its rerun.
        sim.admin("POST", "/clock", {"advance_seconds": days * 24 * 3600})
        for looking in (
            SentinelHubBatchStatisticalReportOperator(task_id="r", **which, **places),
            SentinelHubBatchStatisticalSensor(task_id="s", **which, **places),
        ):
            run = run_task(looking)
            assert run.state == "success", run.error
            seen = comms.xcoms["return_value"]
            assert (seen["outcome"], seen["delivered"]) == ("DONE", 4)
            assert [each["task_id"] for each in seen["tasks"]] == mended["task_ids"]
            assert table(sim, seen) == rows


def test_where_nothing_lies_nothing_is_written(sim: Simulator, run_task: RunTask) -> None:
    elsewhere = f"s3://{sim.ready.bucket}/{uuid.uuid4()}"
    no_task = "00000000-0000-4000-8000-000000000000"
    looking = SentinelHubBatchStatisticalSensor(
        task_id="s", batch_task_id=no_task, delivery_url=elsewhere, features_url=parcels(sim), on_partial="warn"
    )
    run = run_task(looking)
    assert run.state != "success"
    assert f"there is nothing at {elsewhere}/{no_task}. Check its id" in str(run.error)
    assert list(SentinelHubBatchHook().storage.list(elsewhere)) == []


def test_worker_lost_while_a_rerun_goes_on(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "ids": [2], "task": ONCE}]})
    op = operator(sim, on_partial="rerun", deferrable=True)
    run = run_task(op)
    event = asyncio.run(first_event(run.trigger, comms))
    again = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert again.state == "deferred"
    rerun = comms.xcoms["sentinelhub_task_id"]
    # The worker died after it had created the rerun, and the store was emptied by hand.
    comms.state.clear()
    comms.xcoms.clear()
    assert run_task(op, try_number=2).state == "deferred"
    assert comms.xcoms["sentinelhub_task_id"] == rerun
    assert calls(sim) == 2


def test_stopped_for_lack_of_units_it_is_started_again(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"tasks": [{"stop": {"reason": "OUT_OF_PU", "after_fraction": 0.5}}]})
    run = run_task(operator(sim, on_out_of_pu="wait"))
    assert run.state == "success", run.error
    assert comms.xcoms["return_value"]["outcome"] == "DONE"


def test_never_started_over_budget(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    body = statistical_request(sim, parcels(sim), aggregation__resx=0.05, aggregation__resy=0.05)
    run = run_task(operator(sim, request=body, max_pu=100))
    assert run.state == "failed"
    assert "more than max_pu = 100" in str(run.error)
    assert calls(sim, "start") == 0


def test_a_long_script_costs_what_a_short_one_does(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    fine = {"aggregation__resx": 0.05, "aggregation__resy": 0.05}
    hook, found = SentinelHubBatchHook("batch-statistical"), []
    for script in (NDVI, NDVI + "// far and wide\n" * 3000):
        body = statistical_request(sim, parcels(sim), aggregation__evalscript=script, **fine)
        comms.state.clear()
        assert run_task(operator(sim, request=body)).state == "success"
        found.append(hook.estimate(hook.get(comms.xcoms["return_value"]["task_id"])))
    assert found[0] == found[1]
    assert found[0].pu > 100


def test_killed_it_stops(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"timing": {"feature_seconds": 100_000}})
    run = run_task(operator(sim, deferrable=True))
    assert run.state == "deferred"
    trigger, task_id = run.trigger, comms.xcoms["sentinelhub_task_id"]
    assert sim.call("POST", f"{PATH}/{task_id}/start").status == 204
    trigger.task_instance = SimpleNamespace(dag_id="unit", task_id="t", run_id="r", map_index=-1)
    comms.ti_states = {"t": "failed"}
    asyncio.run(trigger.on_kill())
    assert sim.call("GET", f"{PATH}/{task_id}").body["userAction"] == "STOP"


def test_steps(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    def done(op: Any) -> Any:
        comms.state.clear()
        run = run_task(op)
        assert run.state == "success", run.error
        return comms.xcoms["return_value"]

    sim.set_script({"features": [{"outcome": "fatal", "ids": [2], "task": ONCE}]})
    body = statistical_request(sim, parcels(sim))
    task_id = done(SentinelHubCreateBatchStatisticalOperator(task_id="c", request=body))
    which: dict[str, Any] = {"batch_task_id": task_id}
    assert done(SentinelHubAnalyseBatchStatisticalOperator(task_id="a", poll_interval=0.1, **which)) == task_id
    estimate = done(SentinelHubEstimateBatchStatisticalOperator(task_id="e", poll_interval=0.1, **which))
    assert (estimate["features"], estimate["pu"]) == (4, 100)
    for _ in range(2):
        assert done(SentinelHubStartBatchStatisticalOperator(task_id="s", **which)) == task_id
    sensor = SentinelHubBatchStatisticalSensor(task_id="w", poke_interval=0.1, on_partial="warn", **which)
    waited = done(sensor)
    report = done(SentinelHubBatchStatisticalReportOperator(task_id="r", on_partial="warn", **which))
    assert waited == report
    assert (report["outcome"], report["delivered"], report["failed"]) == ("PARTIAL", 3, 1)
    mended = done(SentinelHubRerunFailedBatchStatisticalOperator(task_id="m", poll_interval=0.1, **which))
    assert (mended["outcome"], mended["delivered"], len(mended["task_ids"])) == ("DONE", 4, 2)
    assert mended["statistics_url"] == report["statistics_url"]
    assert done(SentinelHubStopBatchStatisticalOperator(task_id="x", **which)) == task_id


def test_no_secret_is_told(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    body = statistical_request(sim, parcels(sim), aggregation__evalscript=NDVI + "// far and wide\n" * 3000)
    run = run_task(operator(sim, request=body))
    assert run.state == "success", run.error
    for secret in (sim.ready.secret_access_key, sim.ready.client_secret):
        assert secret not in comms.said()
        assert secret not in str(comms.xcoms)
