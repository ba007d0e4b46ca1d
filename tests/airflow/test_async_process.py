"""Async Process as Airflow runs it, against the simulator: one request for each intent, whatever happens."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_sentinelhub.artifacts.results.async_process import NOTE
from airflow_provider_sentinelhub.hooks.async_process import SentinelHubAsyncProcessHook
from airflow_provider_sentinelhub.operators.async_process import SentinelHubAsyncProcessOperator
from tests.airflow.airflow_harness import Comms, Run, RunTask, first_event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_sentinelhub.simulator.process import Simulator

SCRIPT = """//VERSION=3
function setup() { return {input: ["B04"], output: [{id: "default", bands: 1}, {id: "second", bands: 1}]}; }
function evaluatePixel(s) { return {default: [s.B04], second: [s.B04]}; }
"""
CREATE, STATUS = "POST /async/v1/process", "GET /async/v1/process/{id}"
TIFF = {"type": "image/tiff"}
QUICK: dict[str, Any] = {"pixels": "quick", "timing": {"async_seconds": 60}}
NEVER = 1e9


@pytest.fixture
def url(sim: Simulator) -> str:
    sim.set_script(QUICK)
    return f"s3://{sim.ready.bucket}/{uuid.uuid4()}"


def request(url: str, **output: Any) -> dict[str, Any]:
    return {
        "input": {"bounds": {"bbox": [9.21, 42.07, 9.27, 42.11]}, "data": [{"type": "sentinel-2-l2a"}]},
        "output": {
            "width": 64,
            "height": 32,
            "responses": [{"identifier": name, "format": TIFF} for name in ("default", "second")],
            "delivery": {"s3": {"url": url}},
            **output,
        },
        "evalscript": SCRIPT,
    }


@pytest.fixture
def go(run_task: RunTask, comms: Comms, url: str) -> Callable[..., Run]:
    """Runs an attempt through all its deferrals."""

    def run(attempt: dict[str, Any] | None = None, **parameters: Any) -> Run:
        given = {"task_id": "image", "request": request(url), "deferrable": True, "poll_interval": 0.05, **parameters}
        operator = SentinelHubAsyncProcessOperator(**given)
        at = {"try_number": 1, "max_tries": 1, **(attempt or {})}
        found = run_task(operator, **at)
        while found.state == "deferred":
            event = asyncio.run(first_event(found.trigger, comms))
            known = dict(found.message.next_kwargs or {})
            operator = SentinelHubAsyncProcessOperator(**given)
            found = run_task(operator, next_method="execute_complete", next_kwargs={**known, "event": event}, **at)
        return found

    return run


def submitted(sim: Simulator, url: str) -> list[dict[str, Any]]:
    """The requests that the service has accepted below a URL."""
    return [each for each in sim.async_requests() if each["request"]["output"]["delivery"]["s3"]["url"].startswith(url)]


def files(sim: Simulator, url: str) -> list[Path]:
    folder = sim.bucket_folder / url.split("/", 3)[3]
    return sorted(path for path in folder.rglob("*") if path.is_file())


def note_of(sim: Simulator, url: str) -> Path:
    (note,) = [path for path in files(sim, url) if path.name == NOTE]
    return note


def overwrite(sim: Simulator, path: Path, text: str) -> None:
    # Through the S3 server, which caches sizes.
    hook = SentinelHubAsyncProcessHook()
    hook.storage.upload(text.encode(), f"s3://{sim.ready.bucket}/{path.relative_to(sim.bucket_folder)}")


def calls(sim: Simulator, endpoint: str) -> int:
    return int(sim.requests()["counts"].get(endpoint, 0))


@pytest.mark.parametrize("deferrable", [True, False])
def test_an_image_is_delivered_and_its_urls_are_returned(
    go: Callable[..., Run], sim: Simulator, comms: Comms, url: str, *, deferrable: bool
) -> None:
    assert go(deferrable=deferrable).state == "success"
    result = comms.xcoms["return_value"]
    assert len(json.dumps(result)) < 4000
    (sent,) = submitted(sim, url)
    assert (result["request_id"], result["outcome"], result["cost_pu"]) == (sent["id"], "DONE", 10.0)
    assert [*result["output_urls"]] == ["default", "second"]
    assert all((sim.bucket_folder / each.split("/", 3)[3]).exists() for each in result["output_urls"].values())
    assert result["folder_url"].startswith(f"{url}/airflow-")
    assert sim.ready.secret_access_key not in comms.said()


def test_a_template_is_filled_in_below_the_folder_of_the_intent(
    go: Callable[..., Run], sim: Simulator, comms: Comms, url: str
) -> None:
    body = request(f"{url}/img-<REQUEST_ID>/x-<OUTPUT>")
    assert go(request=body).state == "success"
    (sent,) = submitted(sim, url)
    result = comms.xcoms["return_value"]
    assert result["output_urls"]["second"] == f"{result['folder_url']}/img-{sent['id']}/x-second.tif"


def test_a_lost_answer_leads_to_the_request_that_was_accepted(
    go: Callable[..., Run], sim: Simulator, url: str, comms: Comms
) -> None:
    lost = {"path": "/async/v1/process$", "method": "POST", "action": "drop_after", "count": 1}
    sim.set_script({**QUICK, "endpoints": [lost]})
    assert go().state == "success"
    (sent,) = submitted(sim, url)
    assert comms.xcoms["return_value"]["request_id"] == sent["id"]
    assert calls(sim, CREATE) == 1


@pytest.mark.parametrize("on_unknown", ["fail", "create"])
def test_without_a_trace_nothing_is_submitted_again_unless_that_is_wanted(
    go: Callable[..., Run], sim: Simulator, url: str, on_unknown: str
) -> None:
    lost = {"path": "/async/v1/process$", "method": "POST", "action": "drop_before", "count": 1}
    sim.set_script({**QUICK, "endpoints": [lost]})
    found = go(trace_timeout=0.1, on_unknown=on_unknown)
    if on_unknown == "fail":
        assert found.state == "failed"
        assert "on_clear='new'" in str(found.error)
        assert submitted(sim, url) == []
        # Neither does a clear, until its user says so.
        assert go({"max_tries": 2, "try_number": 2}, trace_timeout=0.1).state == "failed"
        assert submitted(sim, url) == []
        assert go({"max_tries": 3, "try_number": 3}, on_clear="new").state == "success"
    else:
        assert found.state == "success"
    assert len(submitted(sim, url)) == 1


def test_a_request_whose_trace_appears_late_is_continued_with(
    go: Callable[..., Run], sim: Simulator, url: str, comms: Comms
) -> None:
    lost = {"path": "/async/v1/process$", "method": "POST", "action": "drop_after", "count": 1}
    timing = {"async_seconds": 900, "async_copy_seconds": 600}
    sim.set_script({**QUICK, "timing": timing, "endpoints": [lost]})
    assert go(trace_timeout=20).state == "success"
    (sent,) = submitted(sim, url)
    assert comms.xcoms["return_value"]["request_id"] == sent["id"]


def test_a_retry_continues_with_the_request_of_a_killed_attempt(
    go: Callable[..., Run], run_task: RunTask, sim: Simulator, comms: Comms, url: str
) -> None:
    # The worker of the first attempt is gone after the deferral, and Airflow has lost what it knew.
    assert run_task(operator(url), max_tries=1).state == "deferred"
    comms.state.clear()
    assert go({"try_number": 2}).state == "success"
    assert len(submitted(sim, url)) == 1


def test_a_retry_finds_a_request_that_neither_note_nor_record_names(
    go: Callable[..., Run], run_task: RunTask, sim: Simulator, comms: Comms, url: str
) -> None:
    assert run_task(operator(url), max_tries=1).state == "deferred"
    comms.state.clear()
    note = note_of(sim, url)
    overwrite(sim, note, json.dumps({**json.loads(note.read_text()), "request_id": ""}))
    assert go({"try_number": 2}).state == "success"
    assert len(submitted(sim, url)) == 1


def test_a_deleted_note_is_replaced_by_what_airflow_knows(
    go: Callable[..., Run], run_task: RunTask, sim: Simulator, url: str
) -> None:
    assert run_task(operator(url), max_tries=1).state == "deferred"
    note = note_of(sim, url)
    SentinelHubAsyncProcessHook().storage.delete(f"s3://{sim.ready.bucket}/{note.relative_to(sim.bucket_folder)}")
    assert go({"try_number": 2}).state == "success"
    assert len(submitted(sim, url)) == 1


def test_a_deleted_note_is_replaced_by_what_the_service_has_written(
    go: Callable[..., Run], run_task: RunTask, sim: Simulator, comms: Comms, url: str
) -> None:
    assert run_task(operator(url), max_tries=1).state == "deferred"
    note = note_of(sim, url)
    SentinelHubAsyncProcessHook().storage.delete(f"s3://{sim.ready.bucket}/{note.relative_to(sim.bucket_folder)}")
    comms.state.clear()
    assert go({"try_number": 2}).state == "success"
    assert len(submitted(sim, url)) == 1


def test_a_first_attempt_that_is_run_again_continues_with_its_request(
    go: Callable[..., Run], sim: Simulator, url: str
) -> None:
    assert go().state == "success"
    # As if the worker had died before it noted the success.
    note = note_of(sim, url)
    overwrite(sim, note, json.dumps({**json.loads(note.read_text()), "succeeded": False}))
    assert go().state == "success"
    assert len(submitted(sim, url)) == 1


ODD = {"generation": 1, "token": "", "request_id": "../x", "at": "nan", "deadline": 1e400, "succeeded": 1}


@pytest.mark.parametrize("damage", ["not json", "{}", "[1]", json.dumps(ODD)])
def test_a_damaged_note_still_says_that_a_request_was_sent(
    go: Callable[..., Run], run_task: RunTask, sim: Simulator, comms: Comms, url: str, damage: str
) -> None:
    assert run_task(operator(url), max_tries=1).state == "deferred"
    overwrite(sim, note_of(sim, url), damage)
    # Airflow 3.4 forgets the id when the task is cleared.
    comms.state.clear()
    assert go({"try_number": 2}).state == "success"
    assert len(submitted(sim, url)) == 1


def operator(url: str, **parameters: Any) -> SentinelHubAsyncProcessOperator:
    given = {"task_id": "image", "request": request(url), "deferrable": True, "poll_interval": 0.05, **parameters}
    return SentinelHubAsyncProcessOperator(**given)


def failing(error: str, count: int | None = 1) -> dict[str, Any]:
    return {**QUICK, "tasks": [{"analysis_error": error, "count": count}]}


def test_a_failed_request_is_submitted_again_by_a_retry(go: Callable[..., Run], sim: Simulator, url: str) -> None:
    sim.set_script(failing("Internal server error"))
    found = go()
    assert "Internal server error" in str(found.error)
    assert not isinstance(found.error, AirflowFailException)
    assert go({"try_number": 2}).state == "success"
    assert [each["status"] for each in submitted(sim, url)] == ["FAILED", "DELIVERED"]


def test_what_would_fail_again_is_not_submitted_again(
    go: Callable[..., Run], sim: Simulator, url: str, comms: Comms
) -> None:
    sim.set_script(failing("ReferenceError: B99 is not defined\x1b[2J"))
    found = go()
    assert found.state == "failed"
    assert "\x1b" not in str(found.error)
    assert comms.xcoms["return_value"]["outcome"] == "FAILED"
    # A retry after all: the attempt before was killed before it could say so.
    assert go({"try_number": 2}).state == "failed"
    assert len(submitted(sim, url)) == 1
    # A clear is a user's wish.
    assert go({"try_number": 3, "max_tries": 2}).state == "success"
    assert len(submitted(sim, url)) == 2


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_full_account_is_waited_out(go: Callable[..., Run], sim: Simulator, url: str, *, deferrable: bool) -> None:
    full = {"error": {"status": 429, "message": "Maximum number of concurrent async requests reached."}}
    answer = {"path": "/async/v1/process$", "method": "POST", "status": 429, "body": full, "count": 2}
    sim.set_script({**QUICK, "endpoints": [answer]})
    assert go(deferrable=deferrable).state == "success"
    assert calls(sim, CREATE) == 3
    assert len(submitted(sim, url)) == 1


def test_the_simulator_runs_so_many_requests_at_a_time(
    go: Callable[..., Run], run_task: RunTask, sim: Simulator, url: str
) -> None:
    sim.set_script({**QUICK, "async_requests": 1, "timing": {"async_seconds": 300}})
    assert run_task(operator(f"{url}/first", task_id="first")).state == "deferred"
    assert go().state == "success"
    assert len(submitted(sim, url)) == 2
    assert calls(sim, CREATE) > 2


def test_results_that_come_late_are_waited_for(go: Callable[..., Run], sim: Simulator, url: str) -> None:
    sim.set_script({**QUICK, "timing": {"async_seconds": 60, "async_lag_seconds": 300}})
    assert go().state == "success"
    assert len(submitted(sim, url)) == 1


def test_a_new_request_that_the_service_does_not_know_yet_is_waited_for(go: Callable[..., Run], sim: Simulator) -> None:
    sim.set_script({**QUICK, "timing": {"async_seconds": 300, "visible_after_seconds": 120}})
    assert go().state == "success"


@pytest.mark.parametrize("deferrable", [True, False])
def test_results_that_never_come_are_an_error_that_says_what_there_is(
    go: Callable[..., Run], sim: Simulator, url: str, *, deferrable: bool
) -> None:
    sim.set_script({**QUICK, "timing": {"async_seconds": 60, "async_lag_seconds": NEVER}})
    found = go(trace_timeout=0.1, deferrable=deferrable)
    assert found.state == "failed"
    assert "default and second" in str(found.error)
    assert "request-" in str(found.error)
    assert go({"try_number": 2}, trace_timeout=0.1).state == "failed"
    assert len(submitted(sim, url)) == 1


@pytest.mark.parametrize(
    ("on_clear", "requests"),
    [("resume", 2), ("adopt", 1), ("new", 2)],
)
def test_a_clear_after_a_success(
    go: Callable[..., Run], sim: Simulator, url: str, on_clear: str, requests: int
) -> None:
    assert go(on_clear=on_clear).state == "success"
    assert go({"try_number": 2, "max_tries": 2}, on_clear=on_clear).state == "success"
    assert len(submitted(sim, url)) == requests


@pytest.mark.parametrize(("on_clear", "requests"), [("resume", 1), ("new", 2)])
def test_a_clear_of_a_killed_task(
    go: Callable[..., Run], run_task: RunTask, sim: Simulator, url: str, on_clear: str, requests: int
) -> None:
    assert run_task(operator(url), max_tries=1).state == "deferred"
    # Airflow 3.4 keeps no state across a clear; nothing here depends on it.
    assert go({"try_number": 2, "max_tries": 3}, on_clear=on_clear).state == "success"
    assert len(submitted(sim, url)) == requests


def test_another_run_of_the_same_name_uses_no_results_of_a_deleted_one(
    go: Callable[..., Run], sim: Simulator, url: str
) -> None:
    assert go().state == "success"
    assert go().state == "success"
    assert len(submitted(sim, url)) == 2


def test_a_deadline_leaves_the_request_running_for_a_clear(go: Callable[..., Run], sim: Simulator, url: str) -> None:
    sim.set_script({**QUICK, "timing": {"async_seconds": 1200}})
    found = go(timeout=0.1)
    assert found.state == "failed"
    assert "cannot cancel it" in str(found.error)
    assert go({"try_number": 2, "max_tries": 2}, timeout=60).state == "success"
    assert len(submitted(sim, url)) == 1


def test_the_service_and_the_bucket_may_fail_while_it_waits(go: Callable[..., Run], sim: Simulator, url: str) -> None:
    down = {"path": "/async/v1/process/", "status": 404, "action": "drop_before", "count": 3}
    sim.set_script({**QUICK, "endpoints": [down]})
    assert go().state == "success"
    assert len(submitted(sim, url)) == 1


def test_a_refused_request_leaves_no_note(go: Callable[..., Run], sim: Simulator, url: str) -> None:
    answer = {"path": "/async/v1/process$", "method": "POST", "status": 403, "count": 1}
    sim.set_script({**QUICK, "endpoints": [answer]})
    assert go().state == "failed"
    assert files(sim, url) == []
    assert go({"try_number": 2}).state == "success"


def test_too_dear_a_request_is_not_sent(go: Callable[..., Run], sim: Simulator) -> None:
    found = go(max_pu=9)
    assert found.state == "failed"
    assert "max_pu = 9" in str(found.error)
    assert calls(sim, CREATE) == 0


def test_a_long_script_is_put_into_the_bucket(go: Callable[..., Run], sim: Simulator, url: str) -> None:
    body = {**request(url), "evalscript": SCRIPT + "// far and wide" * 3000}
    assert go(request=body).state == "success"
    (sent,) = submitted(sim, url)
    assert sent["request"]["evalscriptReference"]["s3"]["url"].endswith("/evalscripts/evalscript.js")


def test_a_script_in_the_bucket_is_read_checked_and_sent(go: Callable[..., Run], sim: Simulator, url: str) -> None:
    overwrite(sim, sim.bucket_folder / "script.js", SCRIPT)
    body = {key: value for key, value in request(url).items() if key != "evalscript"}
    body["evalscriptReference"] = {"s3": {"url": f"s3://{sim.ready.bucket}/script.js"}}
    assert go(request=body).state == "success"
    (sent,) = submitted(sim, url)
    assert sent["request"]["evalscript"] == SCRIPT


def test_outlets_name_what_was_delivered(go: Callable[..., Run], comms: Comms, url: str) -> None:
    found = go(outlets=[AssetAlias("images"), Asset("sentinelhub://images")])
    assert found.state == "success"
    events = found.ti.get_template_context()["outlet_events"]
    del events
    assert comms.xcoms["return_value"]["folder_url"] in comms.said()


def test_a_crashed_trigger_is_replaced_by_the_worker(run_task: RunTask, sim: Simulator, url: str, comms: Comms) -> None:
    assert run_task(operator(url)).state == "deferred"
    found = run_task(operator(url), next_method="__fail__", next_kwargs={"error": "Trigger failure"})
    assert found.state == "success", found.error
    assert comms.xcoms["return_value"]["outcome"] == "DONE"
    assert len(submitted(sim, url)) == 1
