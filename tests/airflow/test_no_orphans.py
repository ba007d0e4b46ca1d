"""However an Airflow task ends, no remote task goes on that nobody waits for; and none of anybody else's is touched."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import TaskInstanceState

from airflow_provider_sentinelhub.client.errors import PermissionDenied
from airflow_provider_sentinelhub.client.lifecycle.spec import Goal
from airflow_provider_sentinelhub.client.lifecycle.watch import Watch
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.operators.rerun_failed import SentinelHubRerunFailedOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.triggers.batch import SentinelHubBatchTrigger
from airflow_provider_sentinelhub.triggers.events import BatchEvent, EventKind
from tests.airflow.airflow_harness import Comms, Run, RunTask, first_event, request
from tests.airflow.test_kills import handler_of_the_test_run, killed
from tests.airflow.test_money import expensive
from tests.airflow.test_reruns import fatal, names

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["handler_of_the_test_run", "names"]

NEVER_ENDS = {"timing": {"feature_seconds": 1_000_000}}
UNSEEN = {**NEVER_ENDS, "endpoints": [{"method": "GET", "status": 403}]}
QUICK: dict[str, Any] = {"poll_interval": 0.05, "progress_interval": 0}


def operator(sim: Simulator, **kwargs: Any) -> SentinelHubBatchProcessOperator:
    return SentinelHubBatchProcessOperator(
        task_id="t", **{"request": request(sim.ready), "deferrable": True, **QUICK, **kwargs}
    )


@pytest.fixture
def hook(sim: Simulator) -> SentinelHubBatchHook:
    return SentinelHubBatchHook()


@pytest.fixture
def begun(sim: Simulator, run_task: RunTask, hook: SentinelHubBatchHook) -> Callable[..., tuple[Any, str]]:
    """A task that is being processed, and the operator that waits for it."""

    def begin(**kwargs: Any) -> tuple[Any, str]:
        sim.set_script(NEVER_ENDS)
        op = operator(sim, **kwargs)
        task_id: str = run_task(op, max_tries=2).trigger.batch_task_id
        hook.act(hook.get(task_id), Goal.RUN)
        return op, task_id

    return begin


def action(sim: Simulator, task_id: str) -> str:
    return str(sim.call("GET", f"/batch/v2/process/{task_id}").body["userAction"])


def woken(run_task: RunTask, op: Any, kind: EventKind, task_id: str, **kwargs: Any) -> Run:
    event = BatchEvent(kind, task_id, "PROCESSING", None, "403").to_payload()
    return run_task(op, next_method="execute_complete", next_kwargs={"event": event}, **kwargs)


class TestUnseen:
    """Nobody can look at the task: it may well be running."""

    def test_is_looked_at_again_by_the_retry(self, sim: Simulator, run_task: RunTask, begun: Any) -> None:
        op, task_id = begun()
        sim.set_script(UNSEEN)
        run = woken(run_task, op, EventKind.LOST, task_id, max_tries=2)
        assert type(run.error).__name__ == "AirflowException"
        assert "not authorized" in str(run.error)
        sim.set_script(NEVER_ENDS)
        assert run_task(op, try_number=2, max_tries=2).trigger.batch_task_id == task_id
        assert action(sim, task_id) == "START"

    def test_is_stopped_where_no_attempt_follows(self, sim: Simulator, run_task: RunTask, begun: Any) -> None:
        op, task_id = begun()
        once = {"method": "GET", "status": 403, "count": 1}
        sim.set_script({**NEVER_ENDS, "endpoints": [once]})
        run = woken(run_task, op, EventKind.LOST, task_id, try_number=3, max_tries=2)
        assert type(run.error).__name__ == "AirflowFailException"
        assert action(sim, task_id) == "STOP"

    def test_is_left_alone_with_stop_on_kill_off(self, sim: Simulator, run_task: RunTask, begun: Any) -> None:
        op, task_id = begun(stop_on_kill=False)
        sim.set_script({**NEVER_ENDS, "endpoints": [{"method": "GET", "status": 403, "count": 1}]})
        woken(run_task, op, EventKind.LOST, task_id, try_number=3, max_tries=2)
        assert action(sim, task_id) == "START"

    def test_is_named_where_it_cannot_be_stopped(
        self, sim: Simulator, run_task: RunTask, begun: Any, comms: Comms, caplog: pytest.LogCaptureFixture
    ) -> None:
        op, task_id = begun()
        sim.set_script(UNSEEN)
        woken(run_task, op, EventKind.LOST, task_id, try_number=3, max_tries=2)
        assert f"Could not stop task {task_id}" in caplog.text
        assert f"The stop of task {task_id} is owed" in caplog.text
        assert f"sentinelhub_owed_stop:sentinelhub_default:{task_id}" in comms.variables

    def test_ends_a_blocking_wait_too(self, sim: Simulator, begun: Any, hook: SentinelHubBatchHook) -> None:
        _, task_id = begun()
        task = hook.get(task_id)
        sim.set_script(UNSEEN)
        with pytest.raises(PermissionDenied):
            hook.wait(task, Goal.RUN, Watch(0.05, time.time() + 60, lost_after=0.3))

    def test_after_a_start_that_was_carried_out_is_no_refusal(
        self, sim: Simulator, run_task: RunTask, comms: Comms
    ) -> None:
        sim.set_script({**NEVER_ENDS, "endpoints": [{"path": "/start$", "action": "delay", "delay_seconds": 0.5}]})
        trigger = run_task(operator(sim)).trigger
        trigger.lost_after = 0.5

        async def until_it_tells() -> dict[str, Any]:
            waiting = asyncio.ensure_future(first_event(trigger, comms))
            await asyncio.to_thread(until_the_start_is_on_its_way, sim)
            await asyncio.to_thread(sim.set_script, UNSEEN)
            return await waiting

        assert asyncio.run(until_it_tells())["kind"] == "lost"


def until_the_start_is_on_its_way(sim: Simulator) -> None:
    while not sim.requests()["counts"].get("POST /batch/v2/process/{id}/start"):
        time.sleep(0.02)


def test_a_retry_that_cannot_be_prepared_stops_what_runs(sim: Simulator, run_task: RunTask, begun: Any) -> None:
    body = request(sim.ready)
    _, task_id = begun(request=body)
    wrong = {**body, "input": {"type": "tiling-grid", "id": 0, "resolution": 61}}
    run = run_task(operator(sim, request=wrong), try_number=2, max_tries=2)
    assert "resolution" in str(run.error)
    assert action(sim, task_id) == "STOP"


def test_a_retry_without_its_connection_leaves_the_task_to_the_next_one(
    sim: Simulator, run_task: RunTask, begun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    op, task_id = begun()
    with monkeypatch.context() as broken:
        broken.delenv("AIRFLOW_CONN_SENTINELHUB_DEFAULT")
        run = run_task(op, try_number=2, max_tries=2)
    assert type(run.error).__name__ == "AirflowException"
    assert action(sim, task_id) == "START"


def test_a_retry_without_the_bucket_s_connection_waits_on(
    sim: Simulator, run_task: RunTask, begun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    op, task_id = begun()
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", '{"conn_type": "aws", "extra": {"profile_name": "mine"}}')
    assert run_task(op, try_number=2, max_tries=2).trigger.batch_task_id == task_id
    assert action(sim, task_id) == "START"


def test_any_failure_of_the_last_attempt_stops_it(
    sim: Simulator, run_task: RunTask, comms: Comms, begun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    op, task_id = begun()
    said = comms.send

    def no_xcoms(msg: Any) -> Any:
        if type(msg).__name__ == "SetXCom":
            raise ConnectionError("the API server is down")
        return said(msg)

    monkeypatch.setattr(comms, "send", no_xcoms)
    run = run_task(op, try_number=3, max_tries=2)
    assert "API server" in str(run.error)
    assert action(sim, task_id) == "STOP"


class TestExecutionTimeout:
    def test_of_a_blocking_task(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        sim.set_script(NEVER_ENDS)
        limit = timedelta(seconds=8)
        run = run_task(operator(sim, deferrable=False, execution_timeout=limit), max_tries=2)
        assert type(run.error).__name__ == "AirflowFailException"
        assert f"did not finish within execution_timeout = {limit}" in str(run.error)
        assert action(sim, comms.xcoms["sentinelhub_task_id"]) == "STOP"

    def test_that_rings_before_the_own_deadline(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        # The look hangs for longer than the margin between the own deadline and Airflow's alarm.
        slow = {"method": "GET", "path": "/process/", "action": "delay", "delay_seconds": 5.0}
        sim.set_script({**NEVER_ENDS, "endpoints": [slow]})
        run = run_task(operator(sim, deferrable=False, execution_timeout=timedelta(seconds=8)), max_tries=2)
        assert type(run.error).__name__ == "AirflowFailException"
        assert "did not finish within execution_timeout" in str(run.error)
        assert action(sim, comms.xcoms["sentinelhub_task_id"]) == "STOP"


class TestOnKill:
    def ready(self, trigger: Any, comms: Comms, state: str) -> Any:
        trigger.task_instance = SimpleNamespace(dag_id="unit", task_id="t", run_id="r", map_index=-1)
        comms.ti_states = {"t": state}
        return trigger

    async def test_waits_for_a_start_that_is_taken_up_late(
        self, sim: Simulator, run_task: RunTask, comms: Comms
    ) -> None:
        sim.set_script({"timing": {"pickup_seconds": 1200 * 15, "feature_seconds": 1_000_000}})
        trigger = self.ready(run_task(operator(sim)).trigger, comms, "failed")
        sim.call("POST", f"/batch/v2/process/{trigger.batch_task_id}/start")
        await trigger.on_kill()
        assert action(sim, trigger.batch_task_id) == "STOP"

    async def test_of_many_at_once_stops_them_all(
        self, sim: Simulator, run_task: RunTask, comms: Comms, capfd: pytest.CaptureFixture[str]
    ) -> None:
        kwargs = run_task(operator(sim)).trigger.serialize()[1]
        # Each needs two calls, four go at a time: 15 seconds.
        sim.set_script({"endpoints": [{"path": "/process/", "action": "delay", "delay_seconds": 0.3}]})
        many = [
            self.ready(SentinelHubBatchTrigger(**{**kwargs, "batch_task_id": str(uuid.uuid4())}), comms, "failed")
            for _ in range(100)
        ]
        await asyncio.gather(*(trigger.on_kill() for trigger in many))
        assert "Could not stop" not in capfd.readouterr().out

    async def test_spares_what_a_worker_waits_for(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        sim.set_script(NEVER_ENDS)
        trigger = self.ready(run_task(operator(sim)).trigger, comms, "running")
        sim.call("POST", f"/batch/v2/process/{trigger.batch_task_id}/start")
        await trigger.on_kill()
        assert action(sim, trigger.batch_task_id) == "START"


class TestWhose:
    @pytest.mark.parametrize("base_url", ["", "https://airflow.example.org"])
    def test_another_airflow_of_the_same_account(
        self,
        sim: Simulator,
        run_task: RunTask,
        comms: Comms,
        begun: Any,
        monkeypatch: pytest.MonkeyPatch,
        base_url: str,
    ) -> None:
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
        op, production = begun()
        # Another metadata database: it has its own Variables, and nothing of the first one's.
        for kept in (comms.state, comms.xcoms, comms.variables):
            kept.clear()
        for again in (op, operator(sim)):
            assert run_task(again, try_number=2, max_tries=2).trigger.batch_task_id != production
            comms.state.clear()
        assert action(sim, production) == "START"

    def test_the_first_task_makes_the_id_of_the_installation_and_all_others_take_it(
        self, sim: Simulator, run_task: RunTask, comms: Comms
    ) -> None:
        comms.variables.clear()
        sim.set_script(NEVER_ENDS)
        body = request(sim.ready)
        first = run_task(operator(sim, request=body)).trigger.batch_task_id
        (key,) = comms.variables
        comms.state.clear()
        assert run_task(operator(sim, request=body), try_number=2, max_tries=0).trigger.batch_task_id == first
        assert list(comms.variables) == [key]
        tagged = sim.call("GET", f"/batch/v2/process/{first}").body["request"]["description"]
        assert key.removeprefix("sentinelhub_installation:") in tagged

    @pytest.mark.parametrize("ended", [True, False])
    def test_a_run_that_was_deleted_and_made_again(
        self, sim: Simulator, run_task: RunTask, comms: Comms, begun: Any, hook: SentinelHubBatchHook, ended: bool
    ) -> None:
        op, old = begun()
        if ended:
            hook.stop(old)
            while hook.get(old).status != "STOPPED":
                time.sleep(0.05)
        comms.state.clear()
        comms.xcoms.clear()
        assert (run_task(op, max_tries=2).trigger.batch_task_id == old) is not ended

    def test_cleared_by_a_user_though_airflow_takes_it_for_a_retry(
        self, sim: Simulator, run_task: RunTask, comms: Comms, hook: SentinelHubBatchHook
    ) -> None:
        sim.set_script(NEVER_ENDS)
        body = request(sim.ready)
        comms.ti_states["t"] = TaskInstanceState.RESTARTING.value

        def is_processed() -> bool:
            found = comms.xcoms.get("sentinelhub_task_id")
            return found is not None and hook.get(str(found)).status == "PROCESSING"

        killed(lambda: run_task(operator(sim, request=body, deferrable=False), max_tries=2), is_processed)
        old = comms.xcoms["sentinelhub_task_id"]
        # It is left running for the attempt that the clear has ordered, and stopped if that one never comes to it.
        assert action(sim, old) == "START"
        assert f"sentinelhub_owed_stop:sentinelhub_default:{old}" in comms.variables
        trigger = run_task(operator(sim, request=body), try_number=2, max_tries=2).trigger
        assert (trigger.batch_task_id, trigger.goal) == (old, "run")

    def test_cleared_by_a_user_who_wants_a_new_one(
        self, sim: Simulator, run_task: RunTask, comms: Comms, hook: SentinelHubBatchHook
    ) -> None:
        sim.set_script(NEVER_ENDS)
        options: dict[str, Any] = {"request": request(sim.ready), "on_clear": "new"}
        comms.ti_states["t"] = TaskInstanceState.RESTARTING.value

        def is_processed() -> bool:
            found = comms.xcoms.get("sentinelhub_task_id")
            return found is not None and hook.get(str(found)).status == "PROCESSING"

        killed(lambda: run_task(operator(sim, deferrable=False, **options), max_tries=2), is_processed)
        old = comms.xcoms["sentinelhub_task_id"]
        assert action(sim, old) == "STOP"
        assert run_task(operator(sim, **options), try_number=2, max_tries=2).trigger.batch_task_id != old


class TestRerunFailed:
    @pytest.fixture
    def original(self, sim: Simulator, run_task: RunTask, comms: Comms, names: list[str]) -> Callable[[], str]:
        """Makes a task in which a feature has failed."""

        def make() -> str:
            sim.set_script({"features": [fatal(names[:1], 1)]})
            run = run_task(operator(sim, deferrable=False, on_partial="warn", request=request(sim.ready)))
            assert run.state == "success", run.error
            task_id: str = comms.xcoms["return_value"]["task_id"]
            assert comms.xcoms["return_value"]["failed"] > 0
            comms.state.clear()
            comms.xcoms.clear()
            return task_id

        return make

    def rerun(self, task_id: str, **kwargs: Any) -> SentinelHubRerunFailedOperator:
        options = {"deferrable": True, **QUICK, **kwargs}
        return SentinelHubRerunFailedOperator(task_id="again", batch_task_id=task_id, **options)

    def test_of_another_task_stops_what_it_ran_before(
        self, sim: Simulator, run_task: RunTask, hook: SentinelHubBatchHook, original: Callable[[], str]
    ) -> None:
        first, second = original(), original()
        rerun: str = run_task(self.rerun(first), max_tries=2).trigger.batch_task_id
        sim.set_script(NEVER_ENDS)
        hook.act(hook.get(rerun), Goal.RUN)
        again = run_task(self.rerun(second), try_number=2, max_tries=2)
        assert again.trigger.batch_task_id not in {first, second, rerun}
        assert action(sim, rerun) == "STOP"

    def test_stops_no_rerun_that_somebody_else_has_begun(
        self, sim: Simulator, run_task: RunTask, comms: Comms, hook: SentinelHubBatchHook, original: Callable[[], str]
    ) -> None:
        task_id = original()
        theirs: str = run_task(self.rerun(task_id)).trigger.batch_task_id
        sim.set_script(NEVER_ENDS)
        hook.act(hook.get(theirs), Goal.RUN)
        comms.state.clear()
        other = SentinelHubRerunFailedOperator(
            task_id="other", batch_task_id=task_id, deferrable=False, timeout=0.5, max_pu=1, **QUICK
        )
        run = run_task(other)
        assert comms.xcoms["sentinelhub_task_id"] == theirs
        assert run.state == "failed"
        assert action(sim, theirs) == "START"

    def test_pays_only_for_what_comes_after_a_stop(self, sim: Simulator, run_task: RunTask, comms: Comms) -> None:
        stops = {"tasks": [{"stop": {"reason": "OUT_OF_PU", "after_fraction": 0.5}, "count": 1}]}
        timing = {"feature_seconds": 1200, "billing_seconds": 30, "out_of_pu_lock_seconds": 0}
        sim.set_script({"timing": timing, **stops})
        run_task(operator(sim, deferrable=False, request=expensive(sim)))
        task_id = comms.xcoms["sentinelhub_task_id"]
        comms.state.clear()
        before = sim.call("GET", f"/batch/v2/process/{task_id}").body["costPU"]
        assert before > 600
        enough = run_task(self.rerun(task_id, deferrable=False, max_pu=2 * before))
        assert enough.state == "success", enough.error
