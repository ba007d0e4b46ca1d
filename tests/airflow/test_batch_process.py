from __future__ import annotations

import asyncio
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import shapely
from airflow.sdk.definitions._internal.mixins import ResolveMixin

from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_blob
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import add_layer, finish_layer, new_geopackage
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_process import (
    SentinelHubAnalyseBatchProcessOperator,
    SentinelHubBatchProcessOperator,
    SentinelHubBatchReportOperator,
    SentinelHubCreateBatchProcessOperator,
    SentinelHubStartBatchProcessOperator,
    SentinelHubStopBatchProcessOperator,
)
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import EVALSCRIPT, Comms, Run, RunTask, first_event, request

if TYPE_CHECKING:
    from pathlib import Path

FAST: dict[str, Any] = {"poll_interval": 0.2, "progress_interval": 0}


def operator(sim: Simulator, **kwargs: Any) -> SentinelHubBatchProcessOperator:
    kwargs.setdefault("request", request(sim.ready))
    return SentinelHubBatchProcessOperator(task_id="t", **{**FAST, **kwargs})


def cause_of(run: Run) -> BaseException | None:
    return run.error.__cause__ if run.error else None


def start(sim: Simulator, comms: Comms) -> str:
    """Start the remote task as the trigger does; returns its id."""
    task_id: str = comms.xcoms["sentinelhub_task_id"]
    assert sim.call("POST", f"/batch/v2/process/{task_id}/start").status == 204
    return task_id


def seen(sim: Simulator, task_id: str) -> dict[str, Any]:
    """The task as the service shows it to anybody."""
    body: dict[str, Any] = sim.call("GET", f"/batch/v2/process/{task_id}").body
    return body


def test_blocking_run_answers_for_every_feature(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    run = run_task(operator(sim, deferrable=False))

    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["status"]) == ("DONE", "DONE")
    assert result["total"] == result["delivered"] == len(sim.task(result["task_id"])["features"]) > 0
    assert result["cost_pu"] > 0
    report = sim.bucket_folder / result["report_url"].split("/", 3)[3]
    assert report.read_bytes()[:4] == b"PAR1"
    assert comms.xcoms["sentinelhub_task_id"] == result["task_id"]


def test_deferred_run_is_one_deferral_and_one_remote_task(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    op = operator(sim, deferrable=True)
    first = run_task(op)
    assert first.state == "deferred", first.error
    assert first.message.next_method == "execute_complete"

    event = asyncio.run(first_event(first.trigger, comms))
    second = run_task(
        operator(sim, deferrable=True, request=op.request), next_method="execute_complete", next_kwargs={"event": event}
    )

    assert second.state == "success", second.error
    assert comms.xcoms["return_value"]["outcome"] == "DONE"
    assert sim.requests()["counts"]["POST /batch/v2/process"] == 1
    assert sim.requests()["counts"]["POST /batch/v2/process/{id}/start"] == 1


@pytest.mark.parametrize("deferrable", [True, False])
def test_analysis_comes_first_where_asked(sim: Simulator, run_task: RunTask, comms: Comms, deferrable: bool) -> None:
    op = operator(sim, deferrable=deferrable, analyse_first=True)
    run = run_task(op)
    if deferrable:
        event = asyncio.run(first_event(run.trigger, comms))
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "success", run.error
    events = [entry["event"] for entry in sim.task(comms.xcoms["sentinelhub_task_id"])["history"]]
    assert events.index("user ANALYSE") < events.index("status ANALYSIS_DONE") < events.index("user START")


def test_a_task_that_nobody_waits_for_was_not_started(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    # Killed before a triggerer picks the trigger up, it is forgotten by Airflow without a word.
    run_task(operator(sim, deferrable=True))
    assert seen(sim, comms.xcoms["sentinelhub_task_id"])["userAction"] == "NONE"


@pytest.mark.parametrize("deferrable", [True, False])
def test_retry_resumes_the_recorded_task(sim: Simulator, run_task: RunTask, comms: Comms, deferrable: bool) -> None:
    op = operator(sim, deferrable=True)
    run_task(op, max_tries=2)
    again = run_task(operator(sim, deferrable=deferrable, request=op.request), try_number=2, max_tries=2)
    assert again.state == ("deferred" if deferrable else "success"), again.error
    assert sim.requests()["counts"]["POST /batch/v2/process"] == 1


def test_retry_finds_its_task_by_the_tag_where_the_record_is_gone(
    sim: Simulator, run_task: RunTask, comms: Comms
) -> None:
    op = operator(sim, deferrable=True)
    run_task(op, max_tries=2)
    first = comms.xcoms["sentinelhub_task_id"]
    comms.state.clear()
    run_task(op, try_number=2, max_tries=2)
    assert comms.xcoms["sentinelhub_task_id"] == first
    assert sim.requests()["counts"]["POST /batch/v2/process"] == 1


def test_clear_makes_a_new_task_and_stops_the_old_one_where_that_is_asked_for(
    sim: Simulator, run_task: RunTask, comms: Comms
) -> None:
    sim.set_script({"timing": {"feature_seconds": 100_000}})
    op = operator(sim, deferrable=True, on_clear="new")
    run_task(op, max_tries=0)
    old = start(sim, comms)
    run_task(op, try_number=2, max_tries=1)
    assert comms.xcoms["sentinelhub_task_id"] != old
    assert seen(sim, old)["userAction"] == "STOP"


def test_another_payload_is_another_task(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    run_task(operator(sim, deferrable=True), max_tries=2)
    old = comms.xcoms["sentinelhub_task_id"]
    run_task(operator(sim, deferrable=True), try_number=2, max_tries=2)
    assert comms.xcoms["sentinelhub_task_id"] != old


def test_mapped_tasks_have_intents_of_their_own(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    body = request(sim.ready, output__overwrite=True)
    run_task(operator(sim, deferrable=True, request=body), map_index=0)
    first = comms.xcoms["sentinelhub_task_id"]
    comms.state.clear()
    run_task(operator(sim, deferrable=True, request=body), map_index=1)
    assert comms.xcoms["sentinelhub_task_id"] != first


def test_lost_answer_to_the_create_is_found_again(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"endpoints": [{"method": "POST", "path": "/process$", "count": 1, "action": "drop_after"}]})
    run = run_task(operator(sim, deferrable=True))
    assert run.state == "deferred", run.error
    assert sim.requests()["counts"]["POST /batch/v2/process"] == 1


def test_failed_features_fail_the_task_with_names_and_reasons(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "indexes": [0], "error": "no such band"}]})
    run = run_task(operator(sim, deferrable=False))
    assert run.state == "failed"
    assert type(run.error).__name__ == "AirflowFailException"
    assert type(cause_of(run)).__name__ == "FeaturesFailed"
    name = sim.task(comms.xcoms["sentinelhub_task_id"])["features"][0]["name"]
    assert name in str(run.error)
    assert "no such band" in str(run.error)


def test_failed_features_may_be_a_warning(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "indexes": [0], "error": "no such band"}]})
    run = run_task(operator(sim, deferrable=False, on_partial="{{ 'warn' }}"))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["failed"]) == ("PARTIAL", 1)
    assert result["error_groups"][0]["message"] == "no such band"


def test_failed_analysis_says_what_the_service_said(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"tasks": [{"analysis_error": "Evalscript: B99 is not a band"}]})
    run = run_task(operator(sim, deferrable=False))
    assert run.state == "failed"
    assert "B99 is not a band" in str(run.error)


def test_service_stop_is_told_apart(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"tasks": [{"stop": {"reason": "OUT_OF_PU", "after_fraction": 0.5}}]})
    run = run_task(operator(sim, deferrable=False))
    assert run.state == "failed"
    assert "ran out of processing units" in str(run.error)


@pytest.mark.parametrize("deferrable", [True, False])
def test_stop_by_a_user_is_told_with_its_time_and_not_retried(
    sim: Simulator, run_task: RunTask, comms: Comms, deferrable: bool
) -> None:
    sim.set_script({"timing": {"feature_seconds": 100_000}})
    op = operator(sim, deferrable=deferrable)
    with ThreadPoolExecutor(1) as dashboard:
        stopping = dashboard.submit(stop_when_it_runs, sim, comms)
        run = run_task(op, max_tries=2)
        if deferrable:
            event = asyncio.run(first_event(run.trigger, comms))
            run = run_task(op, next_method="execute_complete", next_kwargs={"event": event}, max_tries=2)
        stopped = stopping.result()
    assert (stopped["status"], stopped["stoppedStatusReason"]) == ("STOPPED", "USER_ACTION")
    assert type(run.error).__name__ == "AirflowFailException"  # which Airflow does not retry, whatever is left
    assert type(cause_of(run)).__name__ == "TaskStopped"
    moment = datetime.fromisoformat(stopped["userActionUpdated"])
    said = f"Task {stopped['id']} was STOPPED by a user at {moment:%Y-%m-%d %H:%M:%S} UTC"
    assert said in str(run.error)
    # Nor did anybody start it again.
    assert sim.requests()["counts"]["POST /batch/v2/process/{id}/start"] == 1


def test_the_end_of_its_process_is_not_called_a_user(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    """As in dag.test(): one process defers the task and runs its trigger, which has no task instance."""
    sim.set_script({"timing": {"feature_seconds": 100_000}})
    op = operator(sim, deferrable=True, poll_interval=0.05)
    run = run_task(op)
    trigger, killed = run.trigger, run.ti.task

    async def end() -> dict[str, Any]:
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.to_thread(reach, sim, comms, "PROCESSING")
        # Airflow's handler of SIGTERM calls it.
        killed.on_kill()
        payload: dict[str, Any] = (await waiting).payload
        return payload

    resumed = run_task(operator(sim), next_method="execute_complete", next_kwargs={"event": asyncio.run(end())})
    said = "was STOPPED by Airflow (the process of the Airflow task was stopped) at 20"
    assert said in str(resumed.error)
    # Only that once: the next stop may be anybody's.
    again = run_task(operator(sim), next_method="execute_complete", next_kwargs={"event": None})
    assert "was STOPPED by a user at 20" in str(again.error)


def stop_when_it_runs(sim: Simulator, comms: Comms) -> dict[str, Any]:
    """Press the dashboard's button; returns the task when it has stopped."""
    reach(sim, comms, "PROCESSING")
    sim.call("POST", f"/batch/v2/process/{comms.xcoms['sentinelhub_task_id']}/stop")
    return reach(sim, comms, "STOPPED")


def reach(sim: Simulator, comms: Comms, status: str) -> dict[str, Any]:
    """Wait until the remote task has a status."""
    for _ in range(1000):
        task_id = comms.xcoms.get("sentinelhub_task_id")
        if task_id and (task := seen(sim, task_id))["status"] == status:
            return task
        time.sleep(0.02)
    raise AssertionError(f"never {status}")


def test_late_execution_database_is_waited_for(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"tasks": [{"execution_database": {"mode": "late", "seconds": 2400}}]})
    run = run_task(operator(sim, deferrable=False))
    assert run.state == "success", run.error
    assert comms.xcoms["return_value"]["pending"] == 0


def test_execution_database_that_does_not_come_fails_an_attempt_and_the_next_one_reads_it(
    sim: Simulator, run_task: RunTask, comms: Comms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    op = operator(sim, deferrable=True)
    event = asyncio.run(first_event(run_task(op, max_tries=1).trigger, comms))
    (database,) = sim.bucket_folder.rglob(f"execution-{event['batch_task_id']}.sqlite")
    url = f"s3://{sim.ready.bucket}/{database.relative_to(sim.bucket_folder)}"
    storage = SentinelHubBatchHook().storage
    storage.download(url, tmp_path / "kept.sqlite")
    storage.delete(url)
    with monkeypatch.context() as impatient:
        impatient.setattr("airflow_provider_sentinelhub.artifacts.report.final_database.PATIENCE_S", 1.0)
        began = time.monotonic()
        first = run_task(op, next_method="execute_complete", next_kwargs={"event": event}, max_tries=1)
        assert time.monotonic() - began > 0.5  # it was looked for again
    assert type(first.error).__name__ == "ArtifactMissing"  # which Airflow retries
    assert database.name in str(first.error)
    assert "return_value" not in comms.xcoms

    storage.upload(tmp_path / "kept.sqlite", url)
    second = run_task(op, try_number=2, max_tries=1)
    assert second.state == "success", second.error
    result = comms.xcoms["return_value"]
    assert (result["task_id"], result["delivered"]) == (event["batch_task_id"], 4)
    counts = sim.requests()["counts"]
    assert (counts["POST /batch/v2/process"], counts["POST /batch/v2/process/{id}/start"]) == (1, 1)


def test_timeout_stops_the_remote_task(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"timing": {"feature_seconds": 100_000}})
    run = run_task(operator(sim, deferrable=False, timeout=3))
    assert run.state == "failed"
    assert type(cause_of(run)).__name__ == "TaskTimedOut"
    assert seen(sim, comms.xcoms["sentinelhub_task_id"])["userAction"] == "STOP"


def test_timeout_while_deferred_stops_the_remote_task(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    sim.set_script({"timing": {"feature_seconds": 100_000}})
    op = operator(sim, deferrable=True, timeout=5)
    event = asyncio.run(first_event(run_task(op).trigger, comms))
    assert event["kind"] == "late"
    run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "failed"
    assert seen(sim, event["batch_task_id"])["userAction"] == "STOP"


@pytest.mark.parametrize("reason", ["Trigger timeout", "Trigger failure"])
def test_crashed_trigger_leads_to_a_look_not_to_a_new_task(
    sim: Simulator, run_task: RunTask, comms: Comms, reason: str
) -> None:
    op = operator(sim, deferrable=True)
    first = run_task(op)
    asyncio.run(first_event(first.trigger, comms))
    run = run_task(op, next_method="__fail__", next_kwargs={"error": reason})
    assert run.state == "success", run.error
    assert sim.requests()["counts"]["POST /batch/v2/process"] == 1


@pytest.mark.parametrize("reason", ["Trigger timeout", "Trigger failure"])
def test_crashed_trigger_of_a_running_task_leads_to_another_wait_for_it(
    sim: Simulator, run_task: RunTask, comms: Comms, reason: str
) -> None:
    sim.set_script({"timing": {"feature_seconds": 3000}})
    op = operator(sim, deferrable=True)
    run_task(op)
    task_id = start(sim, comms)
    reach(sim, comms, "PROCESSING")
    again = run_task(op, next_method="__fail__", next_kwargs={"error": reason})
    assert again.state == "deferred", again.error
    assert again.trigger.batch_task_id == task_id
    assert seen(sim, task_id)["userAction"] == "START"

    event = asyncio.run(first_event(again.trigger, comms))
    last = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert last.state == "success", last.error
    assert comms.xcoms["return_value"]["task_id"] == task_id
    counts = sim.requests()["counts"]
    assert (counts["POST /batch/v2/process"], counts["POST /batch/v2/process/{id}/start"]) == (1, 1)


@pytest.mark.parametrize("reason", ["Trigger timeout", "Trigger failure"])
def test_crashed_trigger_of_a_failed_task_leads_to_the_reason_of_that(
    sim: Simulator, run_task: RunTask, comms: Comms, reason: str
) -> None:
    sim.set_script({"tasks": [{"analysis_error": "Evalscript: B99 is not a band"}]})
    op = operator(sim, deferrable=True)
    run_task(op, max_tries=2)
    start(sim, comms)
    reach(sim, comms, "FAILED")
    run = run_task(op, next_method="__fail__", next_kwargs={"error": reason}, max_tries=2)
    assert type(run.error).__name__ == "AirflowFailException"
    assert type(cause_of(run)).__name__ == "TaskFailed"
    assert "B99 is not a band" in str(run.error)
    assert sim.requests()["counts"]["POST /batch/v2/process"] == 1


UNKNOWN: list[Any] = [
    None,
    {},
    "done",
    {"kind": "done", "batch_task_id": "x"},
    {"kind": "ready", "batch_task_id": ""},
    {"kind": "ready", "batch_task_id": 7, "deadline": "soon"},
]


@pytest.mark.parametrize("payload", UNKNOWN)
def test_unknown_event_never_passes_for_success(sim: Simulator, run_task: RunTask, comms: Comms, payload: Any) -> None:
    sim.set_script({"timing": {"feature_seconds": 100_000}})
    op = operator(sim, deferrable=True)
    task_id = run_task(op).trigger.batch_task_id
    # Nothing has happened, so there is nothing but to wait on.
    run = run_task(op, next_method="execute_complete", next_kwargs={"event": payload})
    assert run.state == "deferred"
    assert run.trigger.batch_task_id == task_id


@pytest.mark.parametrize("payload", UNKNOWN[:3])
def test_an_event_about_nothing_fails_an_attempt(sim: Simulator, run_task: RunTask, comms: Comms, payload: Any) -> None:
    run = run_task(operator(sim), next_method="execute_complete", next_kwargs={"event": payload})
    assert "no remote task is on record" in str(run.error)


def test_woken_by_airflow_tasks_test_or_a_newer_triggerer(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    op = operator(sim, deferrable=True)
    event = asyncio.run(first_event(run_task(op).trigger, comms))
    newer = {**event, "seen_by": "a newer version", "kind": "finished"}
    for kwargs in ({}, {"event": newer}):
        run = run_task(op, next_method="execute_complete", next_kwargs=kwargs)
        assert run.state == "success", run.error
        assert comms.xcoms["return_value"]["delivered"] == 4
    assert sim.requests()["counts"]["POST /batch/v2/process"] == 1


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_failed_run_has_its_result_and_its_last_progress(
    sim: Simulator, run_task: RunTask, comms: Comms, deferrable: bool
) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "indexes": [0]}]})
    op = operator(sim, deferrable=deferrable, progress_interval=300)
    run = run_task(op)
    if deferrable:
        event = asyncio.run(first_event(run.trigger, comms))
        run = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert run.state == "failed"
    result = comms.xcoms["return_value"]
    assert (result["outcome"], result["status"], result["total"], result["failed"]) == ("PARTIAL", "DONE", 4, 1)
    assert len(result["failed_names"]) == 1
    assert result["report_url"].endswith(".parquet")
    progress = comms.xcoms["sentinelhub_progress"]
    assert (progress["status"], progress["features"]["failed"]) == ("DONE", 1)
    assert progress["cost_pu"] == result["cost_pu"] == 100


def test_secrets_stay_out_of_everything_airflow_keeps(
    sim: Simulator, run_task: RunTask, comms: Comms, capfd: pytest.CaptureFixture[str]
) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "indexes": [0]}]})
    op = operator(sim, deferrable=True)
    first = run_task(op)
    event = asyncio.run(first_event(first.trigger, comms))
    last = run_task(op, next_method="execute_complete", next_kwargs={"event": event})
    assert last.state == "failed"
    # MaskSecret is how a task tells its supervisor what to hide.
    told = comms.said() + repr(first.message) + str(last.error) + repr(op.request) + "".join(capfd.readouterr())
    for secret in (sim.ready.client_secret, sim.ready.secret_access_key, sim.ready.access_key_id):
        assert secret not in told


def test_role_is_handed_to_the_service(
    sim: Simulator, run_task: RunTask, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json
    import os

    connection = json.loads(os.environ["AIRFLOW_CONN_AWS_DEFAULT"])
    connection["extra"]["role_arn"] = sim.ready.role_arn
    monkeypatch.setenv("AIRFLOW_CONN_AWS_ROLE", json.dumps(connection))
    # Nobody here can assume the role, so the bucket is not asked.
    op = SentinelHubCreateBatchProcessOperator(
        task_id="t", request=request(sim.ready), aws_conn_id="aws_role", check_bucket=False
    )
    run = run_task(op)
    assert run.state == "success", run.error
    log = seen(sim, comms.xcoms["return_value"])["request"]["output"]["delivery"]["s3"]
    assert log.get("iamRoleARN") == sim.ready.role_arn
    assert "accessKey" not in log


def test_a_role_the_service_cannot_assume_is_explained(
    sim: Simulator, run_task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json
    import os

    role = "arn:aws:iam::123456789012:role/that-admits-nobody"
    connection = json.loads(os.environ["AIRFLOW_CONN_AWS_DEFAULT"])
    connection["extra"]["role_arn"] = role
    monkeypatch.setenv("AIRFLOW_CONN_AWS_ROLE", json.dumps(connection))
    service = json.loads(os.environ["AIRFLOW_CONN_SENTINELHUB_DEFAULT"])
    service["extra"]["deployment"] = "aws-eu-central-1"
    monkeypatch.setenv("AIRFLOW_CONN_SENTINELHUB_DEFAULT", json.dumps(service))
    run = run_task(
        SentinelHubCreateBatchProcessOperator(
            task_id="t", request=request(sim.ready), aws_conn_id="aws_role", check_bucket=False
        )
    )
    assert run.state == "failed"
    assert (
        f"The trust policy of {role} must let AWS account 614251495211 assume it, with the id of your Sentinel Hub "
        "account as external id; see docs/roles.md."
    ) in str(run.error)


class XComLike(ResolveMixin):
    """What ``task.output`` is to the templating: resolved when rendered, and not rendered further."""

    def __init__(self, key: str) -> None:
        self.key = key

    def iter_references(self) -> list[Any]:
        return []

    def resolve(self, context: Any) -> Any:
        return context["ti"].xcom_pull(key=self.key, task_ids="made", map_indexes=-1)


class TestTemplating:
    def sent(self, sim: Simulator, run_task: RunTask, comms: Comms, body: Any, **kwargs: Any) -> dict[str, Any]:
        run = run_task(SentinelHubCreateBatchProcessOperator(task_id="t", request=body), **kwargs)
        assert run.state == "success", run.error
        found: dict[str, Any] = seen(sim, comms.xcoms["return_value"])["request"]
        return found

    def test_javascript_arrives_unharmed(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        sent = self.sent(sim, run_task, comms, request(sim.ready))
        assert sent["processRequest"]["evalscript"] == EVALSCRIPT

    def test_script_is_read_from_a_file(self, sim: Simulator, run_task: RunTask, comms: Comms, tmp_path: Path) -> None:
        (tmp_path / "s.js").write_text(EVALSCRIPT)
        body = request(sim.ready, processRequest__evalscript="{{ params.folder }}/s.js")
        sent = self.sent(sim, run_task, comms, body, params={"folder": str(tmp_path)})
        assert sent["processRequest"]["evalscript"] == EVALSCRIPT

    def test_lists_and_dicts_that_jinja_made_strings_of(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        body = request(
            sim.ready,
            processRequest__input__bounds="{{ params.bounds }}",
            processRequest__input__data="{{ params.data | tojson }}",
            input__resolution="{{ params.resolution }}",
            input__id="{{ params.grid }}",
        )
        params = {
            "bounds": {"bbox": [8.9, 41.80, 8.95, 41.82]},
            "data": [{"type": "sentinel-2-l2a", "dataFilter": {"maxCloudCoverage": 70}}],
            "resolution": 60,
            "grid": 0,
        }
        sent = self.sent(sim, run_task, comms, body, params=params)
        assert sent["processRequest"]["input"]["bounds"]["bbox"] == [8.9, 41.80, 8.95, 41.82]
        assert sent["processRequest"]["input"]["data"][0]["dataFilter"]["maxCloudCoverage"] == 70
        assert sent["input"]["resolution"] == 60

    def test_request_is_read_from_a_file(self, sim: Simulator, run_task: RunTask, comms: Comms, tmp_path: Path) -> None:
        import json

        body = request(sim.ready, processRequest__input__bounds={"bbox": "{{ params.bbox }}"})
        (tmp_path / "r.json").write_text(json.dumps(body))
        sent = self.sent(sim, run_task, comms, str(tmp_path / "r.json"), params={"bbox": [8.9, 41.80, 8.95, 41.82]})
        assert sent["processRequest"]["input"]["bounds"]["bbox"] == [8.9, 41.80, 8.95, 41.82]
        assert sent["processRequest"]["evalscript"] == EVALSCRIPT

    def test_a_file_that_cannot_be_read_is_named_with_its_field(
        self, sim: Simulator, run_task: RunTask, tmp_path: Path
    ) -> None:
        (tmp_path / "r.json").write_text("{")
        for body, said in (
            (request(sim.ready, processRequest__evalscript="/no/s.js"), "processRequest.evalscript = '/no/s.js': this"),
            ({"aggregation": {"evalscript": "/no/s.js"}}, "aggregation.evalscript = '/no/s.js': this file cannot be"),
            ("/no/r.json", "request = '/no/r.json': this file cannot be read"),
            (str(tmp_path / "r.json"), "r.json': this file is not JSON"),
        ):
            run = run_task(SentinelHubCreateBatchProcessOperator(task_id="t", request=body))
            assert run.state == "failed"
            assert said in str(run.error)

    def test_request_of_another_task_may_name_a_script(
        self, sim: Simulator, run_task: RunTask, comms: Comms, tmp_path: Path
    ) -> None:
        # Airflow does not render what another task returned.
        (tmp_path / "s.js").write_text(EVALSCRIPT)
        comms.xcoms["made"] = request(sim.ready, processRequest__evalscript=str(tmp_path / "s.js"))
        sent = self.sent(sim, run_task, comms, XComLike("made"))
        assert sent["processRequest"]["evalscript"] == EVALSCRIPT

    def test_description_keeps_the_users_words_first(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        sent = self.sent(
            sim,
            run_task,
            comms,
            {**request(sim.ready), "description": "Corsica {{ params.year }}"},
            params={"year": 2019},
        )
        assert re.match(r"Corsica 2019 \| airflow:[0-9a-f]{8}/unit/", sent["description"])


OPEN = [[0, 0], [1, 0], [1, 1], [0, 1]]
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown grid": ({"input__id": 5}, "input.id = 5: is not the id of a tiling grid. Choose one of 0 (UTM 20 km)"),
    "unknown resolution": (
        {"input__resolution": 25},
        "input.resolution = 25: is not a resolution of tiling grid 0 (UTM 20 km). Choose one of 10, 20, 30, 60.",
    ),
    "no area": (
        {"processRequest__input__bounds": None},
        "processRequest.input.bounds = None: is required with a tiling grid. Add a bbox or a geometry",
    ),
    "open ring": (
        {"processRequest__input__bounds": {"geometry": {"type": "Polygon", "coordinates": [OPEN]}}},
        "a ring of polygon 0 is open: it starts at [0, 0] and ends at [0, 1]. Repeat its first point at the end.",
    ),
    "empty evalscript": (
        {"processRequest__evalscript": " "},
        "processRequest.evalscript = ' ': is empty. Give the script",
    ),
    "bad bucket": (
        {"output__delivery__s3__url": "https://my-bucket/x"},
        "output.delivery.s3.url = 'https://my-bucket/x': must start with s3:// or gs://. Write s3://bucket/folder",
    ),
    "secret in the request": (
        {"output__delivery__s3__secretAccessKey": "hush-hush"},
        "output.delivery.s3.secretAccessKey = '***': must not be in a request",
    ),
    "typing mistake": ({"output__skipExistng": True}, "output.skipExistng = True: is not a field of this part"),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_request_is_refused_before_anything_is_sent(
    sim: Simulator, run_task: RunTask, comms: Comms, case: str
) -> None:
    changes, message = BAD[case]
    run = run_task(operator(sim, request=request(sim.ready, **changes)))
    assert run.state == "failed"
    assert type(run.error).__name__ == "AirflowFailException"
    assert message in str(run.error)
    assert "hush-hush" not in str(run.error)
    assert sim.requests()["total"] == 0


class TestSteps:
    def test_each_step_alone_and_twice(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        create = SentinelHubCreateBatchProcessOperator(task_id="create", request=request(sim.ready))
        assert run_task(create).state == "success"
        task_id = comms.xcoms["return_value"]
        assert run_task(create, try_number=2).state == "success"
        assert comms.xcoms["return_value"] == task_id
        assert seen(sim, task_id)["status"] == "CREATED"

        for _ in range(2):
            analyse = SentinelHubAnalyseBatchProcessOperator(
                task_id="analyse", batch_task_id=task_id, deferrable=False, **FAST
            )
            assert run_task(analyse).state == "success"
            assert seen(sim, task_id)["status"] == "ANALYSIS_DONE"

        for _ in range(2):
            start = SentinelHubStartBatchProcessOperator(task_id="start", batch_task_id=task_id)
            assert run_task(start).state == "success"
        assert sim.requests()["counts"]["POST /batch/v2/process/{id}/start"] == 1

        report = SentinelHubBatchReportOperator(task_id="report", batch_task_id=task_id)
        for _ in range(100):
            run = run_task(report)
            assert run.state == "success", run.error
            if comms.xcoms["return_value"]["status"] == "DONE":
                break
        assert comms.xcoms["return_value"]["outcome"] == "DONE"
        for _ in range(2):
            stop = SentinelHubStopBatchProcessOperator(task_id="stop", batch_task_id=task_id)
            assert run_task(stop).state == "success"
        assert "POST /batch/v2/process/{id}/stop" not in sim.requests()["counts"]

    def test_stopping_a_created_task_leaves_it_as_it_is(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        create = SentinelHubCreateBatchProcessOperator(task_id="create", request=request(sim.ready))
        run_task(create)
        stop = SentinelHubStopBatchProcessOperator(task_id="stop", batch_task_id=comms.xcoms["return_value"])
        assert run_task(stop).state == "success"
        assert seen(sim, comms.xcoms["return_value"])["status"] == "CREATED"

    def test_stop_waits_until_a_start_was_picked_up(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        sim.set_script({"timing": {"pickup_seconds": 600, "feature_seconds": 100_000}})
        run_task(operator(sim, deferrable=True))
        task_id = start(sim, comms)
        assert seen(sim, task_id)["status"] == "CREATED"
        stop = SentinelHubStopBatchProcessOperator(task_id="stop", batch_task_id=task_id)
        assert run_task(stop).state == "success"
        assert seen(sim, task_id)["userAction"] == "STOP"

    def test_kill_of_a_blocking_run_stops_the_remote_task(
        self, sim: Simulator, run_task: RunTask, comms: Comms
    ) -> None:
        sim.set_script({"timing": {"feature_seconds": 100_000}})
        op = operator(sim, deferrable=True)
        run = run_task(op)
        task_id = start(sim, comms)
        run.ti.task.on_kill()
        assert seen(sim, task_id)["userAction"] == "STOP"


def test_bucket_that_says_no_is_found_before_the_create(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    body = request(sim.ready, output__delivery__s3__url="s3://no-such-bucket/results")
    run = run_task(operator(sim, request=body))
    assert "output.delivery.s3.url = 's3://no-such-bucket/results'" in str(run.error)
    assert "check_bucket=False" in str(run.error)
    assert sim.requests()["counts"].get("POST /batch/v2/process", 0) == 0


def test_a_connection_that_is_not_named_is_asked_for_before_anything_is_sent(sim: Simulator, run_task: RunTask) -> None:
    run = run_task(operator(sim, request=request(sim.ready, output__delivery={"gs": {"url": "gs://bucket/results"}})))
    said = "gcp_conn_id = None: is needed for output.delivery.gs.url = 'gs://bucket/results'. Set it to the id of"
    assert said in str(run.error)
    assert sim.requests()["counts"] == {}


def test_a_stop_of_nothing_and_a_start_of_what_has_ended_say_so(
    sim: Simulator, run_task: RunTask, comms: Comms, capfd: pytest.CaptureFixture[str]
) -> None:
    nobody = str(uuid.uuid4())
    run_task(SentinelHubStopBatchProcessOperator(task_id="stop", batch_task_id=nobody))
    assert f"There is no task {nobody}: the service has removed it, or the id" in capfd.readouterr().out
    assert run_task(operator(sim, deferrable=False)).state == "success"
    done = comms.xcoms["sentinelhub_task_id"]
    run_task(SentinelHubStartBatchProcessOperator(task_id="start", batch_task_id=done))
    assert f"Task {done} was DONE, and is DONE (START)" in capfd.readouterr().out


def test_features_the_service_would_refuse_are_found_before_the_create(
    sim: Simulator, run_task: RunTask, comms: Comms, tmp_path: Path
) -> None:
    url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}/fields.gpkg"
    with new_geopackage(tmp_path / "fields.gpkg") as connection:
        layer = add_layer(connection, 32632)
        shape = shapely.box(500_000, 4_600_000, 550_000, 4_650_000)
        blob = geometry_blob(shape.wkb, 32632, shape.bounds)
        connection.execute(layer.insert, (1, "too large", 5000, 5000, None, blob))
        finish_layer(connection, layer, (500_000, 4_600_000, 550_000, 4_650_000))
    SentinelHubBatchHook().storage.upload(tmp_path / "fields.gpkg", url)
    body = request(sim.ready, input={"type": "geopackage", "features": {"s3": {"url": url}}})
    run = run_task(operator(sim, request=body))
    assert "fields.gpkg, size = ['too large" in str(run.error)
    assert "1 feature has more than 3500 x 3500 pixels" in str(run.error)
    assert sim.requests()["counts"].get("POST /batch/v2/process", 0) == 0


def test_half_written_execution_database_fails_an_attempt_that_is_retried(
    sim: Simulator, run_task: RunTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_sentinelhub.artifacts.report.final_database.PATIENCE_S", 0.0)
    sim.set_script({"tasks": [{"execution_database": {"mode": "truncated"}}]})
    run = run_task(operator(sim, deferrable=False), max_tries=1)
    assert type(run.error).__name__ == "ArtifactMissing", run.error
