"""A worker's task is killed as Airflow does it: a SIGTERM, ``on_kill`` out of its handler, and then it works on."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import TaskInstanceState

from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import Comms, Run, RunTask, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEVER_ENDS = {"timing": {"feature_seconds": 1_000_000}}


@pytest.fixture(autouse=True)
def handler_of_the_test_run() -> Iterator[None]:
    """Airflow's task runner leaves its handler behind."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def operator(sim: Simulator, **kwargs: Any) -> SentinelHubBatchProcessOperator:
    options = {"request": request(sim.ready), "poll_interval": 0.05, "progress_interval": 0, **kwargs}
    return SentinelHubBatchProcessOperator(task_id="t", deferrable=False, **options)


def killed(run: Callable[[], Run], when: Callable[[], bool], later: float = 0.0) -> Run:
    """Run, and send this process a SIGTERM when it is time, or so many seconds later."""

    def kill() -> None:
        give_up_at = time.monotonic() + 20
        while not when() and time.monotonic() < give_up_at:
            time.sleep(0.02)
        time.sleep(later)
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        return run()
    finally:
        killer.join()


class Remote:
    """What the service has of this test's one task."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim
        self._others = {task["id"] for task in sim.tasks()}

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return [task for task in self._sim.tasks() if task["id"] not in self._others]

    @property
    def id(self) -> str:
        (task,) = self.tasks
        return str(task["id"])

    def actions(self) -> list[str]:
        entries = [entry["event"] for task in self.tasks for entry in task["history"]]
        return [entry for entry in entries if entry.startswith("user ")]

    def is_processed(self) -> bool:
        return any(task["status"] == "PROCESSING" for task in self.tasks)

    def was_asked(self, path: str) -> bool:
        return int(self._sim.requests()["counts"].get(path, 0)) > 0


@pytest.fixture
def remote(sim: Simulator) -> Remote:
    return Remote(sim)


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_user_ends_it_while_it_is_waited_for(
    sim: Simulator, run_task: RunTask, comms: Comms, remote: Remote, state: str
) -> None:
    sim.set_script(NEVER_ENDS)
    comms.ti_states["t"] = state
    run = killed(lambda: run_task(operator(sim), max_tries=3), remote.is_processed)
    assert "killed" in str(run.error)
    assert remote.actions() == ["user START", "user STOP"]


def test_the_kill_interrupts_a_message_to_airflow(
    sim: Simulator, run_task: RunTask, comms: Comms, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time.comms import OKResponse

    asked: list[str] = []
    answer = comms.send

    def shifted(msg: Any) -> Any:
        name = type(msg).__name__
        if name == "GetTaskStates":
            asked.append(name)
            if len(asked) == 1:
                # That to the message that was interrupted.
                return OKResponse(ok=True)
        return answer(msg)

    monkeypatch.setattr(comms, "send", shifted)
    sim.set_script(NEVER_ENDS)
    comms.ti_states["t"] = "failed"
    killed(lambda: run_task(operator(sim), max_tries=3), remote.is_processed)
    assert remote.actions() == ["user START", "user STOP"]


@pytest.mark.parametrize("max_tries", [0, 3])
@pytest.mark.parametrize(("on_clear", "is_stopped"), [("resume", False), ("adopt", False), ("new", True)])
def test_a_user_clears_it_while_it_is_waited_for(
    sim: Simulator, run_task: RunTask, comms: Comms, remote: Remote, on_clear: str, is_stopped: bool, max_tries: int
) -> None:
    sim.set_script(NEVER_ENDS)
    comms.ti_states["t"] = TaskInstanceState.RESTARTING.value
    run = killed(lambda: run_task(operator(sim, on_clear=on_clear), max_tries=max_tries), remote.is_processed)
    assert "killed" in str(run.error)
    assert remote.actions() == ["user START", *["user STOP"] * is_stopped]


def test_a_user_ends_it_while_the_start_is_on_its_way(
    sim: Simulator, run_task: RunTask, comms: Comms, remote: Remote
) -> None:
    slow = {"method": "POST", "path": "/start$", "action": "delay", "delay_seconds": 2.0, "count": 1}
    sim.set_script({**NEVER_ENDS, "endpoints": [slow]})
    comms.ti_states["t"] = "failed"
    run = killed(lambda: run_task(operator(sim)), lambda: bool(remote.tasks), later=0.5)
    assert "killed" in str(run.error)
    assert remote.actions() == ["user START", "user STOP"]


def test_a_user_ends_it_before_it_was_started(sim: Simulator, run_task: RunTask, comms: Comms, remote: Remote) -> None:
    slow = {"method": "POST", "path": "/process$", "action": "delay", "delay_seconds": 1.0, "count": 1}
    sim.set_script({**NEVER_ENDS, "endpoints": [slow]})
    comms.ti_states["t"] = "failed"
    killed(lambda: run_task(operator(sim)), lambda: remote.was_asked("GET /batch/v2/process"), later=0.3)
    time.sleep(1.5)
    assert remote.actions() == []


@pytest.mark.parametrize("state", ["running", "up_for_retry", "queued"])
def test_the_machine_is_taken_away_and_the_next_attempt_goes_on(
    sim: Simulator, run_task: RunTask, comms: Comms, remote: Remote, state: str
) -> None:
    sim.set_script(NEVER_ENDS)
    comms.ti_states["t"] = state
    body = request(sim.ready)
    first = killed(lambda: run_task(operator(sim, request=body), max_tries=1), remote.is_processed)
    assert "killed" in str(first.error)
    assert remote.actions() == ["user START"]

    # The second one is killed by a user, so that it ends.
    comms.ti_states["t"] = "failed"
    killed(
        lambda: run_task(operator(sim, request=body), try_number=2, max_tries=1),
        lambda: True,
        later=1.0,
    )
    assert remote.actions() == ["user START", "user STOP"]


def test_the_machine_is_taken_away_from_the_last_attempt(
    sim: Simulator, run_task: RunTask, comms: Comms, remote: Remote
) -> None:
    sim.set_script(NEVER_ENDS)
    comms.ti_states["t"] = "running"
    killed(lambda: run_task(operator(sim), try_number=2, max_tries=1), remote.is_processed)
    assert remote.actions() == ["user START", "user STOP"]


def test_killed_with_stop_on_kill_off(sim: Simulator, run_task: RunTask, comms: Comms, remote: Remote) -> None:
    sim.set_script(NEVER_ENDS)
    comms.ti_states["t"] = "failed"
    run = killed(lambda: run_task(operator(sim, stop_on_kill=False)), remote.is_processed)
    assert "killed" in str(run.error)
    assert remote.actions() == ["user START"]


def test_killed_before_its_work_it_does_none(sim: Simulator, run_task: RunTask, remote: Remote) -> None:
    op = operator(sim)
    op.on_kill()
    assert "killed" in str(run_task(op).error)
    assert remote.tasks == []
