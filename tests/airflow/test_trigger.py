from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_sentinelhub.client.http import auth
from airflow_provider_sentinelhub.client.lifecycle import watch
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.triggers.batch import SentinelHubBatchTrigger
from airflow_provider_sentinelhub.triggers.events import BatchEvent, EventKind
from airflow_provider_sentinelhub.triggers.guards import uninterrupted
from tests.airflow.airflow_harness import Comms, RunTask, first_event, request
from tests.artifacts.artifact_s3 import sockets_to

if TYPE_CHECKING:
    from collections.abc import Callable

SLOW = {"timing": {"feature_seconds": 100_000}}


@pytest.fixture
def deferred(sim: Simulator, run_task: RunTask) -> Any:
    """Starts a remote task and returns the trigger that waits for it."""

    def defer(script: dict[str, Any] | None = None, **kwargs: Any) -> SentinelHubBatchTrigger:
        sim.set_script(script or {})
        options = {"poll_interval": 0.1, "progress_interval": 0, **kwargs}
        operator = SentinelHubBatchProcessOperator(task_id="t", request=request(sim.ready), deferrable=True, **options)
        run = run_task(operator)
        assert run.state == "deferred", run.error
        sim.admin("DELETE", "/requests")
        trigger: SentinelHubBatchTrigger = run.trigger
        return trigger

    return defer


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the condition never came true")


@pytest.fixture
def running(sim: Simulator, deferred: Any) -> Any:
    """The same for a remote task that the trigger has started."""

    def start(script: dict[str, Any] | None = None, **kwargs: Any) -> SentinelHubBatchTrigger:
        trigger: SentinelHubBatchTrigger = deferred(script, **kwargs)
        assert sim.call("POST", f"/batch/v2/process/{trigger.batch_task_id}/start").status == 204
        sim.admin("DELETE", "/requests")
        return trigger

    return start


def user_action(sim: Simulator, trigger: SentinelHubBatchTrigger) -> str:
    return str(sim.call("GET", f"/batch/v2/process/{trigger.batch_task_id}").body["userAction"])


def test_serialises_to_small_json_without_secrets(sim: Simulator, deferred: Any) -> None:
    trigger = deferred()
    path, kwargs = trigger.serialize()
    assert path == "airflow_provider_sentinelhub.triggers.batch.SentinelHubBatchTrigger"
    text = json.dumps(kwargs)
    assert len(text) < 600
    assert sim.ready.client_secret not in text
    assert SentinelHubBatchTrigger(**kwargs).serialize() == (path, kwargs)


async def test_ends_when_the_task_has_ended(sim: Simulator, deferred: Any, comms: Comms) -> None:
    event = BatchEvent.from_payload(await first_event(deferred(), comms))
    assert event is not None
    assert (event.kind, event.status) == (EventKind.READY, "DONE")


async def test_starts_the_task_itself(sim: Simulator, deferred: Any, comms: Comms) -> None:
    trigger = deferred()
    assert user_action(sim, trigger) == "NONE"
    await first_event(trigger, comms)
    assert sim.requests()["counts"]["POST /batch/v2/process/{id}/start"] == 1


async def test_start_that_is_cut_off_is_finished_before_the_kill_stops_it(
    sim: Simulator, deferred: Any, comms: Comms
) -> None:
    trigger = deferred(SLOW)
    sim.set_script({**SLOW, "endpoints": [{"path": "/start$", "action": "delay", "delay_seconds": 0.5}]})
    waiting = asyncio.ensure_future(first_event(trigger, comms))
    await asyncio.sleep(0.3)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    comms.ti_states = {"t": "failed"}
    await trigger.on_kill()
    assert user_action(sim, trigger) == "STOP"


async def test_refused_start_wakes_the_task_with_the_reason(
    sim: Simulator, deferred: Any, comms: Comms, run_task: RunTask
) -> None:
    trigger = deferred()
    body = {
        "error": {
            "status": 403,
            "message": "Insufficient processing units",
            "code": "ACCESS_INSUFFICIENT_PROCESSING_UNITS",
        }
    }
    sim.set_script({"endpoints": [{"path": "/start$", "status": 403, "body": body}]})
    event = await first_event(trigger, comms)
    assert (event["kind"], event["error"]) == ("refused", "InsufficientProcessingUnits")
    operator = SentinelHubBatchProcessOperator(task_id="t", request=request(sim.ready))
    run = run_task(operator, next_method="execute_complete", next_kwargs={"event": event})
    assert type(run.error).__name__ == "AirflowFailException"
    assert "Top up the account's processing units" in str(run.error)


async def test_survives_failed_looks(sim: Simulator, deferred: Any, comms: Comms) -> None:
    trigger = deferred()
    sim.set_script(
        {
            "endpoints": [
                {"method": "GET", "count": 2, "action": "drop_before"},
                {"method": "GET", "count": 2, "status": 500},
                {"method": "GET", "count": 1, "status": 429, "retry_after_ms": 100},
            ]
        }
    )
    assert (await first_event(trigger, comms))["status"] == "DONE"


async def test_refused_credentials_end_the_wait_only_after_a_while(sim: Simulator, deferred: Any, comms: Comms) -> None:
    trigger = deferred(SLOW)
    trigger.lost_after = 0.5
    sim.set_script({**SLOW, "endpoints": [{"method": "GET", "status": 403}]})
    event = await first_event(trigger, comms)
    assert event["kind"] == "lost"
    assert "403" in event["message"]


async def test_new_secret_in_the_connection_mends_the_wait(
    sim: Simulator, deferred: Any, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred()
    name = "AIRFLOW_CONN_SENTINELHUB_DEFAULT"
    good = os.environ[name]
    monkeypatch.setenv(name, json.dumps({**json.loads(good), "password": f"worn out {uuid.uuid4()}"}))
    waiting = asyncio.ensure_future(first_event(trigger, comms))
    token_path = f"POST {urlsplit(sim.ready.token_url).path}"
    await until(lambda: sim.requests()["counts"].get(token_path, 0) >= 2)
    assert "POST /batch/v2/process/{id}/start" not in sim.requests()["counts"]
    assert not waiting.done()

    monkeypatch.setenv(name, good)
    event = await asyncio.wait_for(waiting, 60)
    assert (event["kind"], event["status"]) == ("ready", "DONE")


async def test_logs_transitions_and_not_looks(
    sim: Simulator, deferred: Any, comms: Comms, capfd: pytest.CaptureFixture[str]
) -> None:
    script = {"timing": {"feature_seconds": 300, "parallel": 4, "finalising_seconds": 600}}
    trigger = deferred(script, poll_interval=0.02)
    await first_event(trigger, comms)
    looks = sim.requests()["counts"]["GET /batch/v2/process/{id}"]
    lines = [line for line in capfd.readouterr().out.splitlines() if f"Task {trigger.batch_task_id}: " in line]
    assert looks > 10
    assert len(lines) < looks
    assert 3 <= len(lines) <= 16


async def test_percentage_does_not_end_the_wait(sim: Simulator, deferred: Any, comms: Comms) -> None:
    event = await first_event(deferred({"timing": {"finalising_seconds": 1200}}), comms)
    assert event["status"] == "DONE"


# A fetch of a token that fails takes longer than that.
@pytest.mark.timeout(25)
async def test_deadline_holds_while_there_is_no_token(
    sim: Simulator, deferred: Any, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_LOOK_S", 0.2)
    trigger = deferred(SLOW)
    trigger.stop_on_kill = False
    # As in a triggerer that has just started.
    monkeypatch.setattr(auth, "_sources", {})
    sim.set_script({**SLOW, "endpoints": [{"path": "/token$", "status": 503}]})
    trigger.deadline = time.time() + 0.3
    event = await first_event(trigger, comms)
    assert event["kind"] == EventKind.LATE


async def test_deadline_is_absolute_and_checked_after_a_last_look(
    sim: Simulator, deferred: Any, running: Any, comms: Comms
) -> None:
    trigger = deferred(SLOW)
    trigger.deadline = time.time() + 0.3
    assert (await first_event(trigger, comms))["kind"] == "late"
    assert user_action(sim, trigger) == "STOP"

    ended = running()
    await until(lambda: sim.task(ended.batch_task_id)["status"] == "DONE")
    ended.deadline = time.time() - 1
    assert (await first_event(ended, comms))["kind"] == "ready"


async def test_first_event_comes_only_when_the_task_has_settled(
    sim: Simulator, running: Any, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = running()
    await until(lambda: sim.task(trigger.batch_task_id)["status"] == "DONE")
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "1")
    started = time.monotonic()
    await first_event(trigger, comms)
    # A supervisor lingers for one heartbeat; twice that is safe.
    assert time.monotonic() - started >= 2.0


async def test_many_triggers_share_one_token_and_few_connections(sim: Simulator, deferred: Any, comms: Comms) -> None:
    trigger = deferred(SLOW)
    before = sim.admin("GET", "/tokens")["issued"]
    triggers = [SentinelHubBatchTrigger(**trigger.serialize()[1]) for _ in range(50)]
    waits = [asyncio.ensure_future(first_event(each, comms)) for each in triggers]
    await until(lambda: sim.requests()["counts"].get("GET /batch/v2/process/{id}", 0) >= 100)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert sim.admin("GET", "/tokens")["issued"] == before


async def test_many_triggers_share_few_connections_to_the_bucket(sim: Simulator, running: Any, comms: Comms) -> None:
    trigger = running(SLOW, progress_interval=0.1)
    triggers = [SentinelHubBatchTrigger(**trigger.serialize()[1]) for _ in range(50)]
    before = sockets_to(sim.ready.s3_endpoint)
    waits = [asyncio.ensure_future(first_event(each, comms)) for each in triggers]

    def told() -> int:
        shown = [m.value for m in comms.sent if type(m).__name__ == "SetXCom" and m.key == "sentinelhub_progress"]
        return sum(each["status"] == "PROCESSING" for each in shown)

    await until(lambda: told() >= 50)
    opened = sockets_to(sim.ready.s3_endpoint) - before
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)
    assert opened <= 8


async def test_progress_continues_with_new_keys_in_the_connection(
    sim: Simulator, running: Any, comms: Comms, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = os.environ["AIRFLOW_CONN_AWS_DEFAULT"]
    trigger = running({"timing": {"feature_seconds": 1200, "execution_seconds": 100}}, progress_interval=0.1)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", right.replace(sim.ready.secret_access_key, "an-old-secret"))
    wait = asyncio.ensure_future(first_event(trigger, comms))
    await until(lambda: "Could not report the progress" in caplog.text)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", right)
    await wait
    assert comms.xcoms["sentinelhub_progress"]["features"]["total"] == 4


async def test_progress_is_shown_while_the_task_runs(sim: Simulator, deferred: Any, comms: Comms) -> None:
    script = {
        "timing": {"feature_seconds": 1200, "parallel": 1, "execution_seconds": 100},
        "features": [{"outcome": "fatal", "indexes": [0]}, {"outcome": "no_data", "indexes": [1]}],
    }
    trigger = deferred(script, progress_interval=0.1)
    await first_event(trigger, comms)
    shown = comms.xcoms["sentinelhub_progress"]
    assert shown["task_id"] == trigger.batch_task_id
    assert shown["features"]["total"] == 4
    steps = [m.value for m in comms.sent if type(m).__name__ == "SetXCom" and m.key == "sentinelhub_progress"]
    assert len({step["features"]["pending"] for step in steps if step["features"]}) > 1


async def test_unreadable_bucket_does_not_end_the_wait(
    sim: Simulator, deferred: Any, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(progress_interval=0.1)
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT")
    assert (await first_event(trigger, comms))["status"] == "DONE"


async def becomes(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - the service tells nobody
            await asyncio.sleep(0.1)


class TestOnKill:
    """``on_kill`` of Airflow 3.3.2 also comes when nobody killed anything, and is cut off after a second."""

    def ready(self, trigger: SentinelHubBatchTrigger, map_index: int = -1) -> SentinelHubBatchTrigger:
        trigger.task_instance = SimpleNamespace(dag_id="unit", task_id="t", run_id="r", map_index=map_index)  # type: ignore[assignment]
        return trigger

    async def test_kill_stops_the_remote_task(self, sim: Simulator, running: Any, comms: Comms) -> None:
        trigger = self.ready(running(SLOW))
        comms.ti_states = {"t": "failed"}
        await trigger.on_kill()
        assert user_action(sim, trigger) == "STOP"

    async def test_redistribution_does_not(self, sim: Simulator, running: Any, comms: Comms) -> None:
        trigger = self.ready(running(SLOW))
        comms.ti_states = {"t": "deferred"}
        await trigger.on_kill()
        assert user_action(sim, trigger) == "START"

    async def test_redistribution_of_a_mapped_task_does_not(self, sim: Simulator, running: Any, comms: Comms) -> None:
        trigger = self.ready(running(SLOW), map_index=3)
        comms.ti_states = {"t_3": "deferred", "t": "failed"}
        await trigger.on_kill()
        assert user_action(sim, trigger) == "START"

    async def test_clear_whose_new_attempt_waits_for_another_task_does(
        self, sim: Simulator, running: Any, comms: Comms
    ) -> None:
        trigger = self.ready(running(SLOW))
        comms.ti_states = {"t": "deferred"}
        comms.xcoms["sentinelhub_task_id"] = "another"
        await trigger.on_kill()
        assert user_action(sim, trigger) == "STOP"

    @pytest.mark.parametrize("state", [None, "scheduled", "queued", "running"])
    async def test_clear_whose_new_attempt_resumes_it_does_not(
        self, sim: Simulator, running: Any, comms: Comms, state: str | None
    ) -> None:
        trigger = self.ready(running(SLOW))
        comms.xcoms.clear()
        comms.ti_states = {"t": state}  # type: ignore[dict-item]  # a task that is cleared has none
        killing = asyncio.ensure_future(trigger.on_kill())
        await asyncio.sleep(0.5)
        assert not killing.done()
        comms.ti_states = {"t": "deferred"}
        comms.xcoms["sentinelhub_task_id"] = trigger.batch_task_id
        await killing
        assert user_action(sim, trigger) == "START"

    async def test_clear_whose_new_attempt_does_not_come_does(
        self, sim: Simulator, running: Any, comms: Comms, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("airflow_provider_sentinelhub.triggers.pay_owed_stops._COMES_WITHIN_S", 0.5)
        trigger = self.ready(running(SLOW))
        comms.xcoms.clear()
        comms.ti_states = {"t": "queued"}
        await trigger.on_kill()
        assert user_action(sim, trigger) == "STOP"

    async def test_unreadable_state_leaves_the_task_alone_until_it_can_be_read(
        self,
        sim: Simulator,
        running: Any,
        comms: Comms,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        trigger = self.ready(running(SLOW))

        async def unreachable(msg: Any) -> None:
            raise ConnectionError("the API server is down")

        monkeypatch.setattr("airflow_provider_sentinelhub.triggers.pay_owed_stops._ASK_S", 0.5)
        monkeypatch.setattr("airflow_provider_sentinelhub.triggers.pay_owed_stops._PAUSE_S", 0.1)
        with monkeypatch.context() as outage:
            outage.setattr(comms, "asend", unreachable)
            await trigger.on_kill()
            assert user_action(sim, trigger) == "START"
        assert f"The stop of task {trigger.batch_task_id} is owed" in caplog.text
        comms.ti_states = {"t": "failed"}
        await becomes(lambda: user_action(sim, trigger) == "STOP")

    async def test_is_not_cut_off(self, sim: Simulator, running: Any, comms: Comms) -> None:
        trigger = self.ready(running(SLOW))
        comms.ti_states = {"t": "failed"}
        sim.set_script({**SLOW, "endpoints": [{"method": "GET", "action": "delay", "delay_seconds": 0.5, "count": 1}]})
        killing = asyncio.ensure_future(trigger.on_kill())
        for _ in range(8):
            await asyncio.sleep(0.1)
            killing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killing
        assert user_action(sim, trigger) == "STOP"

    async def test_can_be_switched_off(self, sim: Simulator, running: Any, comms: Comms) -> None:
        trigger = self.ready(running(SLOW, stop_on_kill=False))
        comms.ti_states = {"t": "failed"}
        await trigger.on_kill()
        assert user_action(sim, trigger) == "START"

    async def test_plain_cancel_sends_nothing(self, sim: Simulator, running: Any, comms: Comms) -> None:
        trigger = self.ready(running(SLOW))
        waiting = asyncio.ensure_future(first_event(trigger, comms))
        await asyncio.sleep(0.3)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await trigger.cleanup()
        assert not [path for path in sim.requests()["counts"] if path.startswith("POST /batch")]


async def test_work_is_finished_despite_cancels() -> None:
    done = []

    async def work() -> None:
        for step in range(5):
            await asyncio.sleep(0.02)
            done.append(step)

    finishing = asyncio.ensure_future(uninterrupted(work()))
    await asyncio.sleep(0)  # a task cancelled before it starts runs no line at all
    while not finishing.done():
        finishing.cancel("why")
        await asyncio.sleep(0.005)
    assert done == [0, 1, 2, 3, 4]
    with pytest.raises(asyncio.CancelledError, match="why"):
        await finishing
