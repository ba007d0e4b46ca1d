"""Runs scenarios on one lane: brings a run to the moment, acts as the user does, and verifies the result."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS
from devtools.airflow_api import FINISHED_RUN, FINISHED_TASK
from devtools.airflow_http import AirflowApiError
from devtools.airflow_stack import StackError
from devtools.chaos.records import is_running, restarted, started, stopped, tasks_of, twice
from devtools.chaos.scenarios import AFTER_THE_END, PROCESSING, Action, Scenario
from devtools.chaos.steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from devtools.airflow_api import AirflowApi
    from devtools.airflow_names import Run, Task, TaskInstance
    from devtools.chaos.airflow import ChaosAirflow
    from devtools.chaos.faults import Outage
    from devtools.chaos.stack import ChaosStack, Lane

_REACHED_S = 150.0
_ENDED_S = 180.0
_QUIET_S = 90.0
_HELD_S = 3.0
_LASTS_S = 4.0
_INTO_OUTAGE_S = 3.0
# Airflow calls a trigger's on_kill some seconds later, and not at all if the triggerer has died by then. on_kill
# records the stop it owes.
_ON_KILL_S = 60.0
_WRITES_S = 5.0
_ON_KILL = "invoking on_kill"
_DOWN_S = 2.0
_TWINS = frozenset({Action.TWIN, Action.TWIN_FAIL, Action.TWIN_CLEAR})
_CLEARS = frozenset({Action.CLEAR, Action.CLEAR_STOPPED, Action.TWIN_CLEAR}) | AFTER_THE_END
_SAYS_DEADLINE = re.compile(r"deadline|timeout|timed out|too long", re.IGNORECASE)


class ScenarioRunner:
    """
    Runs scenarios on one lane.

    :param stack: Airflow, service and proxies.
    :param lane: The lane.
    """

    def __init__(self, stack: ChaosStack, lane: Lane) -> None:
        self._stack = stack
        self._lane = lane

    def run(self, scenario: Scenario) -> None:
        """
        Run a scenario, and note what is wrong in it.

        :param scenario: The scenario.
        """
        run = self._begin(scenario, self._stack.airflow)
        if scenario.outage is not None:
            self._through(scenario.outage, scenario, run)
        elif scenario.action in AFTER_THE_END:
            self._until_ended(scenario, run)
            self._act(scenario, run)
        elif scenario.step != PROCESSING:
            self._act_while_held(scenario, run)
        else:
            self._until_processed(scenario, run)
            if scenario.action in _TWINS:
                self._begin_again(scenario)
            self._act(scenario, run)
        self._verify(scenario, run)

    def _begin(self, scenario: Scenario, airflow: ChaosAirflow, suffix: str = "") -> Run:
        conf = {"lane": str(self._lane.number)}
        dag_id, run_id = f"chaos_{scenario.variant}", f"{scenario.run_id}{suffix}"
        return self._stack.act(lambda _: airflow.api.trigger(dag_id, conf, run_id))

    # ------------------------------------------------------------------------------------------------------ moments

    def _until_processed(self, scenario: Scenario, run: Run) -> None:
        wanted = 2 if scenario.variant.endswith("mapped") else 1
        if not self._until(lambda: self._processing(run) >= wanted, _REACHED_S):
            scenario.violations.append("the remote task was never processed")

    def _until_ended(self, scenario: Scenario, run: Run) -> None:
        if not self._until(lambda: self._stack.airflow.api.run_state(run) in FINISHED_RUN, _ENDED_S):
            scenario.violations.append("the run has not ended")

    def _begin_again(self, scenario: Scenario) -> None:
        run = self._begin(scenario, self._stack.second_airflow)
        if not self._until(lambda: self._processing(run) == scenario.created, _REACHED_S):
            scenario.violations.append("the second Airflow created no remote task of its own")

    def _act_while_held(self, scenario: Scenario, run: Run) -> None:
        step = next(step for step in STEPS if step.number == scenario.step)
        interceptor = self._stack.intercept(self._lane, run.run_id, step)
        if not interceptor.caught.wait(_REACHED_S):
            self._stack.drop_interceptor(self._lane, interceptor)
            scenario.violations.append("the step was never reached")
            return
        self._act(scenario, run)
        time.sleep(_HELD_S)
        interceptor.release(verdict=True)

    def _through(self, outage: Outage, scenario: Scenario, run: Run) -> None:
        self._until_processed(scenario, run)
        with outage.over(self._lane, self._stack.sim):
            begun_at = time.monotonic()
            time.sleep(_INTO_OUTAGE_S)
            if scenario.state == "success" and not self._until(lambda: self._processing(run) == 0, _REACHED_S):
                scenario.violations.append("the remote task did not end")
            self._act(scenario, run)
            left = begun_at + outage.seconds - time.monotonic()
            if scenario.action is Action.WAIT and self._until(lambda: self._has_ended(scenario, run), left):
                scenario.note = f"the Airflow task ended after {time.monotonic() - begun_at:.0f} s"
            time.sleep(max(0.0, begun_at + outage.seconds - time.monotonic()))

    # -------------------------------------------------------------------------------------------------------- actions

    def _act(self, scenario: Scenario, run: Run) -> None:
        try:
            self._perform(scenario, run)
        except AirflowApiError as error:
            scenario.note = f"HTTP {error.status}"

    def _perform(self, scenario: Scenario, run: Run) -> None:
        task = run.task("batch", scenario.map_index)
        second = scenario.action in _TWINS
        match scenario.action:
            case Action.FAIL | Action.TWIN_FAIL:
                self._do(
                    lambda api: api.set_state(task, "failed"),
                    second=second,
                    on_kill_of=task if scenario.outage else None,
                )
            case Action.SUCCEED:
                self._do(lambda api: api.set_state(task, "success"))
            case Action.FAIL_AND_KILL:
                self._do(lambda api: api.set_state(task, "failed"), on_kill_of=task)
                self._kill_triggerer()
            case Action.KILL:
                self._kill(scenario, run)
            case Action.FAIL_RUN:
                self._do(lambda api: api.fail_run(run))
            case Action.DELETE_RUN:
                self._do(lambda api: api.delete_run(run))
            case _ if scenario.action in _CLEARS:
                self._clear(scenario, run)

    def _clear(self, scenario: Scenario, run: Run) -> None:
        task = run.task("batch", scenario.map_index)
        if scenario.action is Action.CLEAR_STOPPED:
            self._do(lambda api: api.set_state(task, "failed"))
            if not self._until(lambda: self._running(run) == 0, _QUIET_S):
                scenario.violations.append("the remote task was not stopped")
        self._do(lambda api: api.clear(task), second=scenario.action in _TWINS)

    def _do(
        self, action: Callable[[AirflowApi], None], *, second: bool = False, on_kill_of: Task | None = None
    ) -> None:
        airflow = self._stack.second_airflow if second else self._stack.airflow
        if on_kill_of is None:
            self._stack.act(lambda _: action(airflow.api))
            return
        with self._stack.no_kills:
            self._stack.act(lambda _: action(airflow.api))
            if "deferred" in on_kill_of.dag_id:
                self._until(lambda: _ON_KILL in airflow.api.log(on_kill_of), _ON_KILL_S)
            time.sleep(_WRITES_S)

    def _kill(self, scenario: Scenario, run: Run) -> None:
        task = run.task("batch", scenario.map_index)
        if scenario.variant.startswith("deferred") and scenario.state != "success":
            self._kill_triggerer()
            return
        try:
            self._stack.airflow.kill_task(task, supervisor=True)
        except StackError:
            scenario.violations.append("there was no process to kill")

    def _kill_triggerer(self) -> None:
        with self._stack.no_kills:
            self._stack.injector.kill_component("triggerer", lambda: None, down=_DOWN_S)

    # ----------------------------------------------------------------------------------------------------- verification

    def _verify(self, scenario: Scenario, run: Run) -> None:
        # Calls that are still in flight have to arrive first.
        time.sleep(_LASTS_S)
        if scenario.state is not None:
            self._verify_state(scenario, run, scenario.state)
        elif scenario.action in _CLEARS:
            airflow = self._stack.second_airflow if scenario.action in _TWINS else self._stack.airflow
            if not self._until(lambda: self._waits_again(scenario, airflow, run), _QUIET_S):
                scenario.violations.append("no Airflow task waits after the clear")
        if not self._until(lambda: self._settled(scenario, run), _QUIET_S) and scenario.outage is not None:
            self._finish_by_next_run(scenario, run)
        time.sleep(_LASTS_S)
        self._count(scenario, run)
        if scenario.running:
            self._end(scenario, run)

    def _settled(self, scenario: Scenario, run: Run) -> bool:
        return self._running(run) == scenario.running and scenario.created in {None, len(tasks_of(self._stack, run))}

    def _verify_state(self, scenario: Scenario, run: Run, state: str) -> None:
        self._until(lambda: self._has_ended(scenario, run), _ENDED_S)
        ti = self._instance(self._stack.airflow, scenario, run)
        if ti.state != state:
            scenario.violations.append(f"the Airflow task is {ti.state} in attempt {ti.try_number}")
        elif scenario.action is Action.WAIT:
            self._verify_error(scenario, run)

    def _has_ended(self, scenario: Scenario, run: Run) -> bool:
        attempt = 2 if scenario.action in AFTER_THE_END else 1
        ti = self._instance(self._stack.airflow, scenario, run)
        return ti.try_number >= attempt and ti.state in FINISHED_TASK

    def _verify_error(self, scenario: Scenario, run: Run) -> None:
        error = self._stack.airflow.api.error(run.task("batch", scenario.map_index)) or ""
        if not _SAYS_DEADLINE.search(error) or not all(task["id"] in error for _, task in tasks_of(self._stack, run)):
            scenario.violations.append(f"the error does not name the deadline and the remote task: {error[:200]!r}")

    def _waits_again(self, scenario: Scenario, airflow: ChaosAirflow, run: Run) -> bool:
        ti = self._instance(airflow, scenario, run)
        if ti.try_number < 2 or ti.state not in {"deferred", "running"}:  # noqa: PLR2004 - the attempt after the first
            return False
        waited_for = airflow.api.xcom(run.task("batch", scenario.map_index), "sentinelhub_task_id")
        return any(task["id"] == waited_for and is_running(task) for _, task in tasks_of(self._stack, run))

    def _finish_by_next_run(self, scenario: Scenario, run: Run) -> None:
        """Start another run on the same connection, which has to make the stop that is still owed."""
        later = self._begin(scenario, self._stack.airflow, "-later")
        is_settled = self._until(lambda: self._settled(scenario, run), _REACHED_S)
        if is_settled:
            scenario.note = "; ".join(filter(None, [scenario.note, "the stop was made by the next run"]))
        self._until(lambda: self._processing(later) > 0, _REACHED_S)
        self._stack.act(lambda api: api.fail_run(later))
        if not self._until(lambda: self._running(later) == 0, _QUIET_S):
            scenario.violations.append("the next run's remote task still runs after that run was marked failed")

    def _count(self, scenario: Scenario, run: Run) -> None:
        found = self._running(run)
        scenario.tasks = [task for _, task in tasks_of(self._stack, run)]
        starts = sum(started(task) for task in scenario.tasks)
        if found != scenario.running:
            scenario.violations.append(f"{found} remote tasks run, not {scenario.running}")
        if scenario.created not in {None, len(scenario.tasks)}:
            scenario.violations.append(f"{len(scenario.tasks)} remote tasks were created, not {scenario.created}")
        if scenario.starts not in {None, starts}:
            scenario.violations.append(f"{starts} starts, not {scenario.starts}")
        if any(started(task) > 1 + stopped(task) for task in scenario.tasks):
            scenario.violations.append("a remote task was started twice")
        restarts = sum(restarted(task) for task in scenario.tasks)
        if scenario.restarts not in {None, restarts}:
            scenario.violations.append(f"{restarts} restarts, not {scenario.restarts}")
        self._verify_ends(scenario)
        features = tuple(len(self._stack.sim.task(task["id"])["features"]) for task in scenario.tasks)
        if scenario.features not in {None, features}:
            scenario.violations.append(f"the remote tasks have {features} features, not {scenario.features}")
        if scenario.action is Action.DELETE_RUN and not scenario.note:
            scenario.violations.append("a run was deleted while a remote task runs")

    def _verify_ends(self, scenario: Scenario) -> None:
        for task in scenario.tasks:
            if twice(self._stack.sim.task(task["id"])):
                scenario.violations.append("features were processed again after they had succeeded")
            # Killed before the restart was sent, it stays as it ended.
            ends = {TASK_APIS[task["api"]].stopped, *TASK_APIS[task["api"]].restartable}
            if scenario.state is None and started(task) and not is_running(task) and task["status"] not in ends:
                scenario.violations.append(f"a remote task ended as {task['status']}, and was not stopped")

    def _end(self, scenario: Scenario, run: Run) -> None:
        airflows = [self._stack.airflow, *([self._stack.second_airflow] if scenario.action in _TWINS else [])]
        for airflow in airflows:
            ti = self._instance(airflow, scenario, run)
            if airflow is self._stack.airflow and scenario.map_index < 0 and ti.state in FINISHED_TASK:
                scenario.violations.append(f"the Airflow task is {ti.state}, and its remote task still runs")
            self._do(lambda api: api.fail_run(run), second=airflow is not self._stack.airflow)
        if not self._until(lambda: self._running(run) == 0, _QUIET_S):
            scenario.violations.append("a remote task still runs after the run was marked failed")

    # ------------------------------------------------------------------------------------------------------ observation

    def _instance(self, airflow: ChaosAirflow, scenario: Scenario, run: Run) -> TaskInstance:
        return airflow.api.task_instance(run.task("batch", scenario.map_index))

    def _processing(self, run: Run) -> int:
        return sum(task["status"] == "PROCESSING" for _, task in tasks_of(self._stack, run))

    def _running(self, run: Run) -> int:
        return sum(is_running(task) for _, task in tasks_of(self._stack, run))

    def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        give_up_at = time.monotonic() + seconds
        while not (is_done := self._look(done)) and time.monotonic() < give_up_at:
            time.sleep(0.3)
        return is_done

    @staticmethod
    def _look(done: Callable[[], bool]) -> bool:
        try:
            return done()
        except AirflowApiError as error:
            if not error.passing:
                raise
            return False
