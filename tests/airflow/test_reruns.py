"""What failed is run again, alone, once; and what was delivered is not paid for twice."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Asset, AssetAlias

from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_blob
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import add_layer, finish_layer, new_geopackage
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
from airflow_provider_sentinelhub.client.errors import ArtifactMissing
from airflow_provider_sentinelhub.client.lifecycle.spec import Goal
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubBatchProcessOperator,
    SentinelHubBatchReportOperator,
)
from airflow_provider_sentinelhub.operators.rerun_failed import SentinelHubRerunFailedOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.triggers.events import EventKind
from tests.airflow.airflow_harness import EVALSCRIPT, Comms, Run, RunTask, first_event, request

if TYPE_CHECKING:
    from pathlib import Path

CORSICA = [8.44, 41.31, 9.66, 43.1]


def operator(sim: Simulator, **kwargs: Any) -> SentinelHubBatchProcessOperator:
    options = {"request": request(sim.ready), "poll_interval": 0.05, "progress_interval": 0, **kwargs}
    return SentinelHubBatchProcessOperator(task_id="t", on_partial=options.pop("on_partial", "rerun"), **options)


def fatal(names: list[str], times: int, error: str | None = None) -> dict[str, Any]:
    """Features that fail in the original task and in the reruns after it, so many times in all."""
    reruns = "|".join(str(number) for number in range(1, times)) or "-"
    rule = {"outcome": "fatal", "names": names, "task": rf"~\d+(\^({reruns}):\S+)?$"}
    return rule | ({"error": error} if error else {})


def calls(sim: Simulator, action: str = "") -> int:
    path = f"POST /batch/v2/process/{{id}}/{action}" if action else "POST /batch/v2/process"
    return int(sim.requests()["counts"].get(path, 0))


def files(result: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """CRS, transform and size of every delivered raster, by its path below the task's own folder."""
    from rasterio.io import MemoryFile

    storage: Storage = SentinelHubBatchHook().storage
    root = result["report_url"].rpartition("/")[0]
    found = {}
    for item in storage.list(root):
        if item.url.endswith(".tif"):
            with MemoryFile(storage.read(item.url)) as memory, memory.open() as raster:
                found[item.url.removeprefix(root)] = (str(raster.crs), tuple(raster.transform), raster.shape)
    return found


@pytest.fixture
def names(sim: Simulator, run_task: RunTask, comms: Comms) -> list[str]:
    """Names of the features of the usual request."""
    assert run_task(operator(sim)).state == "success"
    root = comms.xcoms["return_value"]["report_url"].rpartition("/")[0]
    found = {item.url.removeprefix(root).split("/")[1] for item in SentinelHubBatchHook().storage.list(root)}
    comms.xcoms.clear()
    comms.state.clear()
    sim.admin("DELETE", "/requests")
    return sorted(name for name in found if "." not in name)


def test_corsica(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"timing": {"parallel": 40}})
    body = request(sim.ready, processRequest__input__bounds__bbox=CORSICA)
    whole = run_task(operator(sim, request=body))
    assert whole.state == "success", whole.error
    intact = files(comms.xcoms["return_value"])
    assert len(intact) == 66
    tiles = sorted(path.split("/")[1] for path in intact)

    once, twice, always = tiles[3:15], tiles[20:22], tiles[40:41]
    sim.set_script({"timing": {"parallel": 40}, "features": [fatal(once, 1), fatal(twice, 2), fatal(always, 9)]})
    body = request(sim.ready, processRequest__input__bounds__bbox=CORSICA)
    comms.state.clear()
    run = run_task(operator(sim, request=body, on_partial="rerun_then_warn", max_reruns=3))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["delivered"], result["failed"], result["total"]) == (65, 1, 66)
    assert result["failed_names"] == always
    restored = files(result)
    assert restored == {path: facts for path, facts in intact.items() if path.split("/")[1] not in always}
    assert len(result["task_ids"]) == 4


def test_what_failed_once_is_delivered(sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    run = run_task(operator(sim))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["delivered"], result["total"], len(result["task_ids"])) == ("DONE", 4, 4, 2)
    assert result["task_id"] == result["task_ids"][0]
    hook = SentinelHubBatchHook()
    costs = [hook.get(task_id).cost_pu or 0 for task_id in result["task_ids"]]
    assert result["cost_pu"] == pytest.approx(sum(costs))
    assert (calls(sim), calls(sim, "start")) == (2, 2)


def test_who_only_looks_sees_what_was_mended(sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    assert run_task(operator(sim)).state == "success"
    mended = comms.xcoms["return_value"]
    report = SentinelHubBatchReportOperator(task_id="r", batch_task_id=mended["task_id"])
    run = run_task(report)
    assert run.state == "success", run.error
    assert comms.xcoms["return_value"] == mended


def test_ends_when_a_rerun_mends_nothing(sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]) -> None:
    sim.set_script({"features": [fatal(names[:1], 9)]})
    run = run_task(operator(sim, max_reruns=5))
    assert run.state == "failed"
    assert "after 1 rerun 1 of 4 features were not delivered" in str(run.error)
    assert calls(sim, "start") == 2


def test_what_would_fail_again_is_left_out(sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]) -> None:
    hopeless = "Requested band 'HH' is not present in Sentinel 1 tile 'x'"
    sim.set_script({"features": [fatal(names[:1], 9, hopeless)]})
    assert run_task(operator(sim)).state == "failed"
    assert calls(sim, "start") == 1


def test_deferred(sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]) -> None:
    sim.set_script({"features": [fatal(names[:1], 2), fatal(names[1:2], 1)]})
    op = operator(sim, deferrable=True)
    run = run_task(op)
    for _ in range(4):
        if run.state != "deferred":
            break
        event = asyncio.run(first_event(run.trigger, comms))
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "success", run.error
    assert comms.xcoms["return_value"]["delivered"] == 4
    assert calls(sim) == calls(sim, "start") == 3


@pytest.mark.parametrize("lost", ["SetTaskStateStore", "SetXCom"])
def test_worker_lost_between_create_and_start_of_a_rerun(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str], monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    working = comms.send
    seen = []

    def failing(msg: Any) -> Any:
        if type(msg).__name__ == lost:
            seen.append(msg)
            if len(seen) == 2:
                raise ConnectionError("gone")
        return working(msg)

    op = operator(sim)
    monkeypatch.setattr(comms, "send", failing)
    assert run_task(op, max_tries=1).state in {"failed", "up_for_retry"}
    assert (calls(sim), calls(sim, "start")) == (2, 1)
    monkeypatch.setattr(comms, "send", working)
    second = run_task(op, try_number=2, max_tries=1)
    assert second.state == "success", second.error
    assert comms.xcoms["return_value"]["delivered"] == 4
    assert (calls(sim), calls(sim, "start")) == (2, 2)


def test_store_emptied_while_a_rerun_is_waited_for(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
) -> None:
    sim.set_script({"features": [fatal(names[:2], 1), fatal(names[2:3], 2)]})
    op = operator(sim, deferrable=True)
    run = run_task(op)
    starts = 0
    while run.state == "deferred" and starts < 6:
        event = asyncio.run(first_event(run.trigger, comms))
        comms.state.clear()
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
        starts += 1
    assert run.state == "success", run.error
    assert (calls(sim), calls(sim, "start")) == (3, 3)
    assert comms.xcoms["return_value"]["delivered"] == 4
    assert len(comms.xcoms["return_value"]["task_ids"]) == 3


@pytest.mark.parametrize("forgotten", [True, False])
@pytest.mark.parametrize(("on_clear", "starts"), [("adopt", 2), ("new", 4), ("resume", 4)])
def test_clear_after_a_success(
    sim: Simulator,
    run_task: RunTask,
    comms: Comms,
    names: list[str],
    on_clear: str,
    starts: int,
    forgotten: bool,
) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    op = operator(sim, on_clear=on_clear)
    assert run_task(op).state == "success"
    if forgotten:
        comms.state.clear()
    assert run_task(op, try_number=2, max_tries=2).state == "success"
    assert comms.xcoms["return_value"]["delivered"] == 4
    assert calls(sim, "start") == starts


def test_no_rerun_without_units_for_it(sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    assert run_task(operator(sim, max_pu=150, on_partial="rerun_then_warn")).state == "success"
    assert (comms.xcoms["return_value"]["delivered"], comms.xcoms["return_value"]["failed"]) == (2, 2)
    assert calls(sim) == calls(sim, "start") == 1


def test_rerun_over_budget_leaves_what_there_is(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
) -> None:
    sim.set_script({"features": [fatal(names[:3], 1)]})
    # Three tiles at 10 m with twelve bands in FLOAT32 cost 122 PU; one costs 41, and is billed as 100.
    body = request(sim.ready)
    body["input"]["resolution"] = 10
    bands = str(["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"])
    body["processRequest"]["evalscript"] = EVALSCRIPT.replace('["B04"]', bands).replace("UINT8", "FLOAT32")
    run = run_task(operator(sim, request=body, max_pu=201, on_partial="rerun_then_warn"))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["delivered"], result["failed"], len(result["task_ids"])) == (1, 3, 2)
    assert (calls(sim), calls(sim, "start")) == (2, 1)


def test_rerun_out_of_time_leaves_what_there_is(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)], "timing": {"visible_after_seconds": 0}})
    op = operator(sim, deferrable=True, on_partial="rerun", timeout=600)
    run = run_task(op)
    event = asyncio.run(first_event(run.trigger, comms))
    run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "deferred"
    late = {**event, "batch_task_id": comms.xcoms["sentinelhub_task_id"], "kind": EventKind.LATE.value}
    run = run_task(op, next_method="execute_complete", next_kwargs={"event": late})
    assert run.state == "failed"
    assert "after 1 rerun 2 of 4 features were not delivered" in str(run.error)
    assert "The last rerun was given up" in str(run.error)
    assert "it was never started" in str(run.error)
    assert (calls(sim), calls(sim, "start")) == (2, 1)


def test_results_that_existed_are_neither_missing_nor_run_again(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
) -> None:
    url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}/<tileName>.tif"
    body = request(sim.ready, output__delivery__s3__url=url, output__skipExisting=True)
    sim.set_script({"features": [fatal(names[:1], 1)]})
    assert run_task(operator(sim, request=body, on_partial="warn")).state == "success"
    assert comms.xcoms["return_value"]["delivered"] == 3
    comms.state.clear()
    sim.set_script({})
    again = run_task(operator(sim, request={**body, "description": "again"}), max_tries=1)
    assert again.state == "success", again.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["total"], result["delivered"], result["reruns"]) == ("DONE", 4, 4, 0)
    assert "3 features were not processed: their results were there before" in result["notes"][0]
    assert calls(sim, "start") == 2


def test_two_layers_of_the_user_in_two_systems(sim: Simulator, run_task: RunTask, comms: Comms, tmp_path: Path) -> None:
    features = two_layers(tmp_path)
    url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}/parcels.gpkg"
    SentinelHubBatchHook().storage.upload(features, url)
    changes = {
        # The size of the last feature is neither in its row nor to be had from whole pixels.
        "input": {"type": "geopackage", "features": {"s3": {"url": url}}, "defaults": {"resolution": 0.00011}},
        "processRequest__input__bounds": None,
    }
    assert run_task(operator(sim, request=request(sim.ready, **changes))).state == "success"
    intact = files(comms.xcoms["return_value"])
    assert {facts[0] for facts in intact.values()} == {"EPSG:32632", "EPSG:4326"}

    sim.set_script({"features": [fatal(["north-0", "degrees-1"], 1), fatal(["north-1"], 2)]})
    comms.state.clear()
    run = run_task(operator(sim, request=request(sim.ready, **changes)))
    assert run.state == "success", run.error
    assert files(comms.xcoms["return_value"]) == intact
    assert len(comms.xcoms["return_value"]["task_ids"]) == 3


def two_layers(folder: Path) -> Path:
    """Write two features in metres, with sizes of their own, and two in degrees."""
    import shapely

    path = folder / "parcels.gpkg"
    metres = [shapely.box(517000 + 1000 * n, 4657000, 517600 + 1000 * n, 4657300) for n in range(2)]
    degrees = [shapely.box(9.21 + 0.01 * n, 42.08, 9.215 + 0.01 * n, 42.084) for n in range(2)]
    with new_geopackage(path) as connection:
        for epsg, name, shapes in ((32632, "north", metres), (4326, "degrees", degrees)):
            layer = add_layer(connection, epsg)
            for number, shape in enumerate(shapes):
                blob = geometry_blob(shape.wkb, epsg, shape.bounds)
                size = (None, None) if (name, number) == ("degrees", 1) else (60 + number, 30)
                connection.execute(layer.insert, (number, f"{name}-{number}", *size, None, blob))
            west, south, east, north = shapely.union_all(shapes).bounds
            finish_layer(connection, layer, (west, south, east, north))
    return path


def test_nothing_is_told_or_run_again_on_the_word_of_an_old_execution_database(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("airflow_provider_sentinelhub.artifacts.report.final_database.PATIENCE_S", 0.0)
    sim.set_script({})
    op = operator(sim)
    assert run_task(op).state == "success"
    result = comms.xcoms["return_value"]
    # As an upload that was made while the last feature was being processed.
    execution = result["report_url"].replace("/report-", "/execution-").replace(".parquet", ".sqlite")
    storage = SentinelHubBatchHook().storage
    storage.download(execution, path := tmp_path / "execution.sqlite")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE features SET status = 'PENDING', delivered = 0 WHERE name = ?", names[:1])
    storage.upload(path, execution)
    before = datetime(2026, 1, 1, tzinfo=UTC)
    hook = SentinelHubBatchHook()
    task = hook.get(result["task_id"]).model_copy(update={"created": before})
    with pytest.raises(ArtifactMissing, match="calls 1 features PENDING, and files of some of them are in the bucket"):
        hook.request_for_failed([task], op.body, only_after_progress=False)
    with pytest.raises(ArtifactMissing, match="calls 1 features PENDING"):
        hook.report(task)

    # Where the files are of an earlier run, the feature is lost.
    later = task.model_copy(update={"created": datetime(2100, 1, 1, tzinfo=UTC)})
    body = hook.request_for_failed([later], op.body, only_after_progress=False)
    assert body is not None
    assert body["input"]["features"]["s3"]["url"].endswith(f"rerun-{task.id}-1.gpkg")
    assert hook.report(later).pending == 1


def test_results_that_were_there_already_are_not_run_again(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
) -> None:
    url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}/<tileName>.tif"
    body = request(sim.ready, output__delivery__s3__url=url, output__skipExisting=True)
    assert run_task(operator(sim, request=body)).state == "success"
    first = comms.xcoms["return_value"]
    comms.state.clear()
    again = run_task(operator(sim, request={**body, "description": "again"}), max_tries=1)
    assert again.state == "success", again.error
    result = comms.xcoms["return_value"]
    assert result.keys() == first.keys()
    assert (result["outcome"], result["total"], result["delivered"], result["cost_pu"]) == ("DONE", 4, 4, 0.0)
    assert result["notes"] == ["4 features were not processed: their results were there before (skipExisting)."]
    assert SentinelHubBatchHook().storage.exists(result["report_url"])
    assert calls(sim) == 2


def test_zarr_is_refused_before_anything_is_sent(sim: Simulator, run_task: RunTask) -> None:
    body = request(sim.ready, input={"type": "tiling-grid", "id": 6, "resolution": 100})
    body["processRequest"]["output"]["responses"][0]["format"]["type"] = "zarr/array"
    array = {"dtype": "|u1", "order": "C", "chunks": [1, 1000, 1000], "fill_value": 0}
    body["output"] |= {"type": "zarr", "group": {"zarr_format": 2}, "arrayParameters": array}
    run = run_task(operator(sim, request=body))
    assert "on_partial = 'rerun': works with raster output only" in str(run.error)
    assert calls(sim) == 0


class TestStopped:
    def test_unhealthy_task_is_started_again(
        self, sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
    ) -> None:
        sim.set_script({"tasks": [{"stop": {"reason": "UNHEALTHY", "after_fraction": 0.5}}]})
        run = run_task(operator(sim))
        assert run.state == "success", run.error
        assert comms.xcoms["return_value"]["delivered"] == 4
        assert calls(sim) == 1

    def test_without_rerun_it_is_not(self, sim: Simulator, run_task: RunTask, names: list[str]) -> None:
        sim.set_script({"tasks": [{"stop": {"reason": "UNHEALTHY", "after_fraction": 0.5}}]})
        error = str(run_task(operator(sim, on_partial="fail")).error)
        assert "too many features failed" in error
        assert "on_partial='rerun' does so, up to max_reruns times. Clear this Airflow task" in error
        assert calls(sim, "start") == 1

    def test_what_a_user_stopped_is_started_again_by_the_operator_the_message_names(
        self, sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
    ) -> None:
        sim.set_script({"timing": {"feature_seconds": 1_000_000}})
        op = operator(sim, on_partial="rerun_then_warn", deferrable=True)
        trigger, task_id = run_task(op).trigger, comms.xcoms["sentinelhub_task_id"]
        hook = SentinelHubBatchHook()
        hook.act(hook.get(task_id), Goal.RUN)
        hook.stop(task_id)
        event = asyncio.run(first_event(trigger, comms))
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
        assert "was STOPPED by a user" in str(run.error)
        assert "Clear this Airflow task to have it started again when that lock has expired" in str(run.error)
        assert calls(sim, "start") == 1
        sim.set_script({"timing": {"restart_lock_seconds": 0}})
        comms.state.clear()
        again = SentinelHubRerunFailedOperator(
            task_id="again", batch_task_id=task_id, poll_interval=0.05, progress_interval=0
        )
        run = run_task(again)
        assert run.state == "success", run.error
        assert comms.xcoms["return_value"]["task_ids"] == [task_id]


class Looks:
    """Calls a method, but finds nothing the first times, as one does who looks too early."""

    def __init__(self, method: Any, blind: int) -> None:
        self._method, self._blind = method, blind

    def __get__(self, hook: Any, _: type) -> Any:
        def look(original: Any) -> list[Any]:
            self._blind -= 1
            return [] if self._blind >= 0 else self._method(hook, original)

        return look


class TestRerunFailedOperator:
    def partial(self, sim: Simulator, run_task: RunTask, comms: Comms, rules: list[dict[str, Any]]) -> str:
        sim.set_script({"features": rules})
        described = {**request(sim.ready), "description": "For the ministry"}
        run = run_task(operator(sim, request=described, on_partial="warn"))
        assert run.state == "success", run.error
        comms.state.clear()
        sim.admin("DELETE", "/requests")
        return str(comms.xcoms["return_value"]["task_id"])

    def rerun(self, run_task: RunTask, task_id: str, **kwargs: Any) -> Run:
        options = {"poll_interval": 0.05, "progress_interval": 0, **kwargs}
        return run_task(SentinelHubRerunFailedOperator(task_id="again", batch_task_id=task_id, **options))

    def test_runs_what_failed(self, sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]) -> None:
        task_id = self.partial(sim, run_task, comms, [fatal(names[:2], 1), fatal(names[2:3], 2)])
        run = self.rerun(run_task, task_id)
        assert run.state == "success", run.error
        result = comms.xcoms["return_value"]
        assert (result["task_id"], result["delivered"], len(result["task_ids"])) == (task_id, 4, 3)
        assert calls(sim, "start") == 2
        described = [sim.task(each)["description"] for each in result["task_ids"]]
        assert [text.startswith("For the ministry | airflow:") for text in described] == [True] * 3, described

    def test_second_one_goes_on_where_the_first_has_ended(
        self, sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
    ) -> None:
        task_id = self.partial(sim, run_task, comms, [fatal(names[:2], 1), fatal(names[2:3], 2)])
        assert self.rerun(run_task, task_id, max_reruns=1, on_partial="warn").state == "success"
        comms.state.clear()
        run = self.rerun(run_task, task_id, max_reruns=1)
        assert run.state == "success", run.error
        assert comms.xcoms["return_value"]["delivered"] == 4
        assert calls(sim, "start") == 2

    def test_goes_on_after_a_rerun_that_did_not_help(
        self, sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
    ) -> None:
        sim.set_script({"features": [fatal(names[:1], 2)]})
        assert run_task(operator(sim, on_partial="rerun_then_warn")).state == "success"
        assert comms.xcoms["return_value"]["failed"] == 1
        comms.state.clear()
        assert self.rerun(run_task, comms.xcoms["return_value"]["task_id"]).state == "success"
        assert calls(sim, "start") == 3

    def test_two_at_the_same_moment_begin_one_rerun(
        self,
        sim: Simulator,
        run_task: RunTask,
        comms: Comms,
        names: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        task_id = self.partial(sim, run_task, comms, [fatal(names[:2], 1)])
        options: dict[str, Any] = {"batch_task_id": task_id, "poll_interval": 0.05, "progress_interval": 0}
        options["deferrable"] = True
        one = run_task(SentinelHubRerunFailedOperator(task_id="one", **options))
        assert one.state == "deferred"
        # The other one had looked before the first had created its rerun.
        with monkeypatch.context() as patch:
            patch.setattr(SentinelHubBatchHook, "reruns_of", Looks(SentinelHubBatchHook.reruns_of, blind=1))
            comms.state.clear()
            other = run_task(SentinelHubRerunFailedOperator(task_id="other", **options))
        assert (one.trigger.batch_task_id, calls(sim)) == (other.trigger.batch_task_id, 2)

    def test_max_pu(self, sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]) -> None:
        task_id = self.partial(sim, run_task, comms, [fatal(names[:2], 1), fatal(names[2:3], 2)])
        run = self.rerun(run_task, task_id, max_pu=150)
        assert "after 1 rerun 1 of 4 features were not delivered" in str(run.error)
        assert calls(sim, "start") == 1

    def test_nothing_failed(self, sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]) -> None:
        task_id = self.partial(sim, run_task, comms, [])
        assert self.rerun(run_task, task_id).state == "success"
        assert calls(sim) == calls(sim, "start") == 0

    def test_clear_resumes_what_was_begun(
        self, sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
    ) -> None:
        task_id = self.partial(sim, run_task, comms, [fatal(names[:2], 2), fatal(names[2:3], 3)])
        op = SentinelHubRerunFailedOperator(
            task_id="again", batch_task_id=task_id, deferrable=True, poll_interval=0.05, progress_interval=0
        )
        run = run_task(op)
        assert run.state == "deferred"
        before = comms.xcoms["sentinelhub_task_id"]
        assert run_task(op, try_number=2, max_tries=1).state == "deferred"
        assert comms.xcoms["sentinelhub_task_id"] == before
        assert calls(sim) == 1

    def test_a_task_that_goes_on_is_left_alone(
        self, sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
    ) -> None:
        sim.set_script({"timing": {"feature_seconds": 1_000_000}})
        run_task(operator(sim, deferrable=True))
        task_id = comms.xcoms["sentinelhub_task_id"]
        comms.state.clear()
        assert "must be a task that has ended" in str(self.rerun(run_task, task_id).error)
        assert calls(sim) == 1


class TestOutlets:
    def events(self, run: Run) -> Any:
        return run.message.outlet_events

    def test_alias_gets_the_delivered_folder(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        run = run_task(operator(sim, outlets=[AssetAlias("ndvi")]))
        (event,) = self.events(run)
        result = comms.xcoms["return_value"]
        assert event["source_alias_name"] == "ndvi"
        assert event["dest_asset_key"]["uri"] == result["report_url"].rpartition("/")[0]
        assert (event["extra"]["task_id"], event["extra"]["delivered"]) == (result["task_id"], 4)
        assert event["extra"]["bbox"] == [9.21, 42.07, 9.27, 42.11]

    def test_alias_gets_nothing_where_nothing_was_delivered(
        self, sim: Simulator, run_task: RunTask, comms: Comms
    ) -> None:
        sim.set_script({"features": [{"outcome": "no_data"}]})
        run = run_task(operator(sim, outlets=[AssetAlias("ndvi")]))
        assert run.state == "success", run.error
        assert self.events(run) == []

    def test_own_asset_is_described(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        body = request(sim.ready)
        source = body["processRequest"]["input"]
        source["bounds"] = {
            "geometry": {"type": "Polygon", "coordinates": [[[9, 42], [9.1, 42], [9.1, 42.1], [9, 42]]]}
        }
        times = {"from": "2019-04-01T00:00:00Z", "to": "2019-06-30T23:59:59Z"}
        source["data"][0]["dataFilter"] = {"timeRange": times}
        run = run_task(operator(sim, request=body, outlets=[Asset("s3://bucket/ndvi")]))
        (event,) = self.events(run)
        assert event["extra"]["bbox"] == [9, 42, 9.1, 42.1]
        assert event["extra"]["time_range"] == times
        assert event["extra"]["report_url"] == comms.xcoms["return_value"]["report_url"]


def test_a_choice_of_an_earlier_version_does_not_hide_failed_features(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
) -> None:
    """An attempt that is resumed does not check its parameters again, and a Variable may still hold the old choice."""
    sim.set_script({"features": [fatal(names[:2], 9)]})
    op = operator(sim, on_partial="{{ var.value.choice }}", deferrable=True)
    comms.variables["choice"] = "rerun"
    event = asyncio.run(first_event(run_task(op).trigger, comms))
    comms.variables["choice"] = "restart"
    run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "failed"
    assert "2 of 4 features were not delivered" in str(run.error)


def test_a_resumed_attempt_reads_numbers_as_the_first_one(
    sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]
) -> None:
    sim.set_script({"features": [fatal(names[:2], 9)]})
    comms.variables["most"] = "2.0"
    op = operator(sim, max_reruns="{{ var.value.most }}", deferrable=True)
    event = asyncio.run(first_event(run_task(op).trigger, comms))
    run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "deferred", run.error
    assert calls(sim) == 2
