"""A clear runs again what failed, and buys nothing twice; with the task state store, and without: 3.4 empties it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

import pytest

from airflow_provider_sentinelhub.client.lifecycle.spec import Goal
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.operators.batch_process import SentinelHubBatchProcessOperator
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.airflow.airflow_harness import Comms, Run, RunTask, first_event, request
from tests.airflow.test_reruns import calls, fatal, names
from tests.client.client_harness import describe_call

__all__ = ["names"]  # a fixture

pytestmark = pytest.mark.parametrize("forgets", [False, True], ids=["3.3", "3.4"])


def operator(sim: Simulator, **kwargs: Any) -> SentinelHubBatchProcessOperator:
    options = {"request": request(sim.ready), "poll_interval": 0.05, "progress_interval": 0, **kwargs}
    return SentinelHubBatchProcessOperator(task_id="t", **options)


class User:
    """Runs an Airflow task, and clears it."""

    def __init__(self, run_task: RunTask, comms: Comms, *, forgets: bool) -> None:
        self._run_task = run_task
        self._comms = comms
        self._forgets = forgets
        self._tries = 0

    def runs(self, op: SentinelHubBatchProcessOperator) -> Run:
        self._tries += 1
        # Without retries, each clear makes the one attempt that follows the last one.
        return self._run_task(op, try_number=self._tries, max_tries=self._tries - 1)

    def clears(self, op: SentinelHubBatchProcessOperator) -> Run:
        self._comms.xcoms.clear()
        if self._forgets:
            self._comms.state.clear()
        return self.runs(op)


@pytest.fixture
def user(run_task: RunTask, comms: Comms, forgets: bool) -> User:
    return User(run_task, comms, forgets=forgets)


def test_only_what_failed_is_run_again(
    sim: Simulator, user: User, comms: Comms, names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    sim.set_script({"features": [fatal(names[:1], 1)]})
    op = operator(sim)
    failed = user.runs(op)
    assert "1 of 4 features were not delivered" in str(failed.error)
    assert "Clear this Airflow task to rerun only them, for 100 PU or more" in str(failed.error)
    capsys.readouterr()
    cleared = user.clears(op)
    assert cleared.state == "success", cleared.error
    assert (calls(sim), calls(sim, "start")) == (2, 2)
    result = comms.xcoms["return_value"]
    assert (result["delivered"], [task["total"] for task in result["tasks"]]) == (4, [4, 1])
    said = capsys.readouterr().out
    assert "What it delivered is not paid for again" in said
    assert "Rerunning failed features: 1, for at least 100 PU. The tasks so far cost 100.0 PU" in said
    assert "on_clear='new'" in said


def test_each_clear_runs_again_what_is_still_missing(
    sim: Simulator, user: User, comms: Comms, names: list[str]
) -> None:
    sim.set_script({"features": [fatal(names[:3], 1), fatal(names[:2], 2)]})
    op = operator(sim)
    assert user.runs(op).state == "failed"
    assert "after 1 rerun 2 of 4 features" in str(user.clears(op).error)
    last = user.clears(op)
    assert last.state == "success", last.error
    result = comms.xcoms["return_value"]
    assert [task["total"] for task in result["tasks"]] == [4, 3, 2]
    assert (calls(sim), calls(sim, "start")) == (3, 3)


def test_what_would_fail_again_is_not_bought_again(sim: Simulator, user: User, names: list[str]) -> None:
    sim.set_script({"features": [fatal(names[:1], 9, "Band B99 does not exist")]})
    op = operator(sim)
    for run in (user.runs(op), user.clears(op)):
        assert "They would fail again: correct what the messages name" in str(run.error)
    assert calls(sim, "start") == 1


def stopped_by_a_user(run_task: RunTask, comms: Comms, op: SentinelHubBatchProcessOperator, run: Run) -> Run:
    """Somebody stops in the dashboard what a deferred task waits for."""
    hook = SentinelHubBatchHook()
    task = hook.act(hook.get(run.trigger.batch_task_id), Goal.RUN)
    while hook.get(task.id).status != "PROCESSING":
        time.sleep(0.02)
    hook.stop(task.id)
    event = asyncio.run(first_event(run.trigger, comms))
    return run_task(
        op,
        next_method="execute_complete",
        next_kwargs={"event": event},
        try_number=run.ti.try_number,
        max_tries=run.ti.max_tries,
    )


STAYS = {"feature_seconds": 1500, "parallel": 1}


def test_a_stopped_task_is_started_again_when_its_lock_is_over(
    sim: Simulator, user: User, run_task: RunTask, comms: Comms
) -> None:
    sim.set_script({"timing": STAYS})
    op = operator(sim, deferrable=True)
    failed = stopped_by_a_user(run_task, comms, op, user.runs(op))
    assert "STOPPED by a user" in str(failed.error)
    assert "Clear this Airflow task to have it started again" in str(failed.error)
    op.deferrable = False
    cleared = user.clears(op)
    assert cleared.state == "success", cleared.error
    assert comms.xcoms["return_value"]["delivered"] == 4
    assert calls(sim) == 1


def test_one_that_a_user_stops_after_the_clear_stays_stopped(
    sim: Simulator, user: User, run_task: RunTask, comms: Comms
) -> None:
    sim.set_script({"timing": STAYS})
    op = operator(sim, deferrable=True)
    user.runs(op)
    cleared = user.clears(op)
    assert "STOPPED by a user" in str(stopped_by_a_user(run_task, comms, op, cleared).error)
    assert calls(sim) == 1


def test_a_stopped_task_that_would_cost_too_much_is_not_started_again(
    sim: Simulator, user: User, run_task: RunTask, comms: Comms
) -> None:
    sim.set_script({"timing": STAYS})
    body = request(sim.ready)
    op = operator(sim, deferrable=True, request=body)
    stopped_by_a_user(run_task, comms, op, user.runs(op))
    sim.admin("DELETE", "/requests")
    cleared = user.clears(operator(sim, request=body, max_pu=1))
    assert "would cost about 100.0 PU for 4 features, more than max_pu = 1" in str(cleared.error)
    assert "left as it is, STOPPED" in str(cleared.error)
    assert calls(sim, "start") == 0
    last = user.clears(operator(sim, request=body, max_pu=500))
    assert last.state == "success", last.error
    assert calls(sim) == 0


def test_a_failed_task_is_replaced_by_a_new_one(sim: Simulator, user: User) -> None:
    sim.set_script({"tasks": [{"analysis_error": "No access", "count": 1}]})
    op = operator(sim)
    failed = user.runs(op)
    assert "clear the Airflow task" in str(failed.error)
    assert user.clears(op).state == "success"
    assert calls(sim) == 2


def test_a_failed_rerun_is_replaced_by_a_new_one(sim: Simulator, user: User, comms: Comms, names: list[str]) -> None:
    broken = {"analysis_error": "No access", "match": r"\^1:\S+$", "count": 1}
    sim.set_script({"features": [fatal(names[:2], 1)], "tasks": [broken]})
    op = operator(sim)
    assert user.runs(op).state == "failed"
    assert "No access" in str(user.clears(op).error)
    last = user.clears(op)
    assert last.state == "success", last.error
    assert comms.xcoms["return_value"]["delivered"] == 4
    assert (calls(sim), calls(sim, "start")) == (3, 3)


def test_a_changed_request_is_a_new_task(
    sim: Simulator, user: User, names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    assert user.runs(operator(sim)).state == "failed"
    assert user.clears(operator(sim, on_partial="warn")).state == "success"
    assert (calls(sim), calls(sim, "start")) == (2, 2)
    assert "The request differs from that of task" in caplog.text


@pytest.mark.parametrize("option", [{"on_partial": "warn"}, {"on_partial": "rerun_then_warn", "max_reruns": 0}])
def test_accepting_what_was_delivered_costs_nothing(
    sim: Simulator, user: User, comms: Comms, names: list[str], option: dict[str, Any]
) -> None:
    sim.set_script({"features": [fatal(names[:1], 1)]})
    body = request(sim.ready)
    assert user.runs(operator(sim, request=body)).state == "failed"
    run = user.clears(operator(sim, request=body, **option))
    assert run.state == "success", run.error
    assert (comms.xcoms["return_value"]["delivered"], calls(sim, "start")) == (3, 1)


def test_a_success_with_a_warning_says_that_a_clear_buys_everything(
    sim: Simulator, user: User, names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    sim.set_script({"features": [fatal(names[:1], 1)]})
    op = operator(sim, on_partial="warn")
    assert user.runs(op).state == "success"
    assert "This Airflow task still succeeds, and a clear then pays for everything again" in caplog.text
    assert "Clear this Airflow task to rerun only them" not in caplog.text
    user.clears(op)
    assert calls(sim, "start") == 2


def test_a_spent_limit_is_told_with_what_to_do(sim: Simulator, user: User, names: list[str]) -> None:
    sim.set_script({"features": [fatal(names[:1], 1)]})
    body = request(sim.ready)
    user.runs(operator(sim, request=body, max_pu=150))
    said = str(user.clears(operator(sim, request=body, max_pu=150)).error)
    assert "100.0 PU are spent already, of max_pu = 150. Raise max_pu and clear this Airflow task" in said
    assert "Clear this Airflow task to rerun only them" not in said
    assert user.clears(operator(sim, request=body, max_pu=200)).state == "success"


def test_what_came_before_another_request_is_not_taken_up(sim: Simulator, user: User, names: list[str]) -> None:
    sim.set_script({"features": [fatal(names[:1], 1)]})
    body = request(sim.ready)
    other = request(sim.ready)
    assert user.runs(operator(sim, request=body)).state == "failed"
    assert user.clears(operator(sim, request=other)).state == "failed"
    user.clears(operator(sim, request=body))
    assert (calls(sim), calls(sim, "start")) == (3, 3)


def test_a_rerun_operator_replaces_a_rerun_that_is_failed(
    sim: Simulator, user: User, run_task: RunTask, comms: Comms, names: list[str], forgets: bool
) -> None:
    from airflow_provider_sentinelhub.operators.rerun_failed import SentinelHubRerunFailedOperator

    broken = {"analysis_error": "No access", "match": r"\^1:\S+$", "count": 1}
    sim.set_script({"features": [fatal(names[:1], 1)], "tasks": [broken]})
    assert user.runs(operator(sim, on_partial="warn")).state == "success"
    original = comms.xcoms["return_value"]["task_id"]
    again = SentinelHubRerunFailedOperator(
        task_id="again", batch_task_id=original, poll_interval=0.05, progress_interval=0, deferrable=False
    )
    comms.state.clear()
    assert "No access" in str(run_task(again).error)
    if forgets:
        comms.state.clear()
    cleared = run_task(again, try_number=2, max_tries=1)
    assert cleared.state == "success", cleared.error


def test_a_new_one_where_that_is_asked_for(sim: Simulator, user: User, comms: Comms, names: list[str]) -> None:
    sim.set_script({"features": [fatal(names[:2], 1)]})
    op = operator(sim, on_clear="new")
    assert user.runs(op).state == "failed"
    assert "Set on_clear='adopt' and clear this Airflow task" in str(user.clears(op).error)
    assert (calls(sim), calls(sim, "start")) == (2, 2)


def test_a_report_that_could_not_be_read_is_read_again(
    sim: Simulator, user: User, comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = request(sim.ready)
    connection = json.loads(os.environ["AIRFLOW_CONN_AWS_DEFAULT"])
    connection["extra"]["endpoint_url"] = "http://127.0.0.1:9"
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        patch.setattr("airflow_provider_sentinelhub.artifacts.report.final_database.PATIENCE_S", 0.0)
        failed = user.runs(operator(sim, request=body, check_bucket=False, check_features=False))
    assert failed.state == "failed"
    cleared = user.clears(operator(sim, request=body))
    assert cleared.state == "success", cleared.error
    assert (calls(sim), calls(sim, "start")) == (1, 1)
    assert comms.xcoms["return_value"]["delivered"] == 4


def test_a_lost_description_does_not_lose_what_is_on_record(
    sim: Simulator, user: User, names: list[str], forgets: bool
) -> None:
    from airflow_provider_sentinelhub.client.apis.batch_v2 import calls as batch_v2

    sim.set_script({"features": [fatal(names[:1], 1)]})
    op = operator(sim)
    assert user.runs(op).state == "failed"
    hook = SentinelHubBatchHook()
    (task,) = hook.send(batch_v2.TASKS.page(None)).data[:1]
    hook.send(describe_call(task.id, "Somebody's own words"))
    user.clears(op)
    # Where Airflow discards the record as well, nothing is left to find it by.
    assert calls(sim, "start") == 2
    assert (hook.reruns_of(hook.get(task.id)) == []) is forgets
