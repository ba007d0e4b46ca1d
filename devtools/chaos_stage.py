"""Plays scenes on one lane: brings a run to the moment, does what users do, and counts."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from devtools.airflow_http import AirflowApiError
from devtools.airflow_runs import FINISHED_RUN
from devtools.airflow_stack import StackError
from devtools.airflow_tasks import FINISHED_TASK
from devtools.chaos_actions import AFTER_THE_END, PROCESSING, Action, Scene
from devtools.chaos_records import is_running, started, stopped, tasks_of
from devtools.chaos_steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from devtools.airflow_api import AirflowApi
    from devtools.airflow_names import Run, Task, TaskInstance
    from devtools.chaos_airflow import ChaosAirflow
    from devtools.chaos_outages import Outage
    from devtools.chaos_stack import ChaosStack, Lane

_REACHED_S = 150.0
_ENDED_S = 180.0
_QUIET_S = 90.0
_HELD_S = 3.0
_LASTS_S = 4.0
_INTO_OUTAGE_S = 3.0
# Airflow tells a trigger of a kill some seconds later, and tells nobody where the triggerer has died meanwhile. What is
# told writes down what it owes.
_IS_TOLD_S = 60.0
_WRITES_S = 5.0
_TOLD = "invoking on_kill"
_AWAY_S = 2.0
_TWINS = frozenset({Action.TWIN, Action.TWIN_FAIL, Action.TWIN_CLEAR})
_CLEARS = frozenset({Action.CLEAR, Action.CLEAR_STOPPED, Action.TWIN_CLEAR}) | AFTER_THE_END
_SAYS_DEADLINE = re.compile(r"deadline|timeout|timed out|too long", re.IGNORECASE)


class Stage:
    """
    Plays scenes on one lane.

    :param stack: What takes part.
    :param lane: The lane.
    """

    def __init__(self, stack: ChaosStack, lane: Lane) -> None:
        self._stack = stack
        self._lane = lane

    def play(self, scene: Scene) -> None:
        """
        Play a scene.

        :param scene: The scene.
        """
        run = self._begin(scene, self._stack.airflow)
        if scene.outage is not None:
            self._through(scene.outage, scene, run)
        elif scene.action in AFTER_THE_END:
            self._until_ended(scene, run)
            self._act(scene, run)
        elif scene.step != PROCESSING:
            self._act_while_held(scene, run)
        else:
            self._until_processed(scene, run)
            if scene.action in _TWINS:
                self._begin_again(scene)
            self._act(scene, run)
        self._judge(scene, run)

    def _begin(self, scene: Scene, airflow: ChaosAirflow, suffix: str = "") -> Run:
        conf = {"lane": str(self._lane.number)}
        dag_id, run_id = f"chaos_{scene.variant}", f"{scene.run_id}{suffix}"
        return self._stack.act(lambda _: airflow.api.trigger(dag_id, conf, run_id))

    # ------------------------------------------------------------------------------------------------------ moments

    def _until_processed(self, scene: Scene, run: Run) -> None:
        wanted = 2 if scene.variant.endswith("mapped") else 1
        if not self._until(lambda: self._processing(run) >= wanted, _REACHED_S):
            scene.faults.append("was never processed")

    def _until_ended(self, scene: Scene, run: Run) -> None:
        if not self._until(lambda: self._stack.airflow.api.run_state(run) in FINISHED_RUN, _ENDED_S):
            scene.faults.append("has not ended")

    def _begin_again(self, scene: Scene) -> None:
        run = self._begin(scene, self._stack.neighbour)
        if not self._until(lambda: self._processing(run) == scene.created, _REACHED_S):
            scene.faults.append("the second Airflow has no remote task of its own")

    def _act_while_held(self, scene: Scene, run: Run) -> None:
        step = next(step for step in STEPS if step.number == scene.step)
        trap = self._stack.trap(self._lane, run.run_id, step)
        if not trap.sprung.wait(_REACHED_S):
            self._stack.drop_trap(self._lane, trap)
            scene.faults.append("the step was never reached")
            return
        self._act(scene, run)
        time.sleep(_HELD_S)
        trap.release(verdict=True)

    def _through(self, outage: Outage, scene: Scene, run: Run) -> None:
        self._until_processed(scene, run)
        with outage.over(self._lane, self._stack.sim):
            begun_at = time.monotonic()
            time.sleep(_INTO_OUTAGE_S)
            if scene.state == "success" and not self._until(lambda: self._processing(run) == 0, _REACHED_S):
                scene.faults.append("the remote task did not end")
            self._act(scene, run)
            left = begun_at + outage.seconds - time.monotonic()
            if scene.action is Action.WAIT and self._until(lambda: self._has_ended(scene, run), left):
                scene.said = f"the Airflow task ended after {time.monotonic() - begun_at:.0f} s"
            time.sleep(max(0.0, begun_at + outage.seconds - time.monotonic()))

    # -------------------------------------------------------------------------------------------------------- deeds

    def _act(self, scene: Scene, run: Run) -> None:
        try:
            self._deeds(scene, run)
        except AirflowApiError as error:
            scene.said = f"HTTP {error.status}"

    def _deeds(self, scene: Scene, run: Run) -> None:
        task = run.task("batch", scene.map_index)
        second = scene.action in _TWINS
        match scene.action:
            case Action.FAIL | Action.TWIN_FAIL:
                self._do(lambda api: api.set_state(task, "failed"), second=second, told=task if scene.outage else None)
            case Action.SUCCEED:
                self._do(lambda api: api.set_state(task, "success"))
            case Action.FAIL_AND_KILL:
                self._do(lambda api: api.set_state(task, "failed"), told=task)
                self._kill_triggerer()
            case Action.KILL:
                self._kill(scene, run)
            case Action.FAIL_RUN:
                self._do(lambda api: api.fail_run(run))
            case Action.DELETE_RUN:
                self._do(lambda api: api.delete_run(run))
            case _ if scene.action in _CLEARS:
                self._clear(scene, run)

    def _clear(self, scene: Scene, run: Run) -> None:
        task = run.task("batch", scene.map_index)
        if scene.action is Action.CLEAR_STOPPED:
            self._do(lambda api: api.set_state(task, "failed"))
            if not self._until(lambda: self._running(run) == 0, _QUIET_S):
                scene.faults.append("was not stopped")
        self._do(lambda api: api.clear(task), second=scene.action in _TWINS)

    def _do(self, deed: Callable[[AirflowApi], None], *, second: bool = False, told: Task | None = None) -> None:
        airflow = self._stack.neighbour if second else self._stack.airflow
        if told is None:
            self._stack.act(lambda _: deed(airflow.api))
            return
        with self._stack.no_kills:
            self._stack.act(lambda _: deed(airflow.api))
            if "deferred" in told.dag_id:
                self._until(lambda: _TOLD in airflow.api.log(told), _IS_TOLD_S)
            time.sleep(_WRITES_S)

    def _kill(self, scene: Scene, run: Run) -> None:
        task = run.task("batch", scene.map_index)
        if scene.variant.startswith("deferred") and scene.state != "success":
            self._kill_triggerer()
            return
        try:
            # Whoever reads results may be between two attempts just now.
            self._stack.airflow.kill_task(task, supervisor=True)
        except StackError:
            scene.faults.append("there was nobody to kill")

    def _kill_triggerer(self) -> None:
        with self._stack.no_kills:
            self._stack.harmer.kill_component("triggerer", lambda: None, away=_AWAY_S)

    # ----------------------------------------------------------------------------------------------------- judgement

    def _judge(self, scene: Scene, run: Run) -> None:
        # Whatever is still on its way has to arrive before the counting.
        time.sleep(_LASTS_S)
        if scene.state is not None:
            self._judge_state(scene, run, scene.state)
        elif scene.action in _CLEARS:
            airflow = self._stack.neighbour if scene.action in _TWINS else self._stack.airflow
            if not self._until(lambda: self._waits_again(scene, airflow, run), _QUIET_S):
                scene.faults.append("nobody waits after the clear")
        if not self._until(lambda: self._settled(scene, run), _QUIET_S) and scene.outage is not None:
            self._have_it_paid(scene, run)
        time.sleep(_LASTS_S)
        self._count(scene, run)
        if scene.running:
            self._end(scene, run)

    def _settled(self, scene: Scene, run: Run) -> bool:
        return self._running(run) == scene.running and scene.created in {None, len(tasks_of(self._stack, run))}

    def _judge_state(self, scene: Scene, run: Run, state: str) -> None:
        self._until(lambda: self._has_ended(scene, run), _ENDED_S)
        ti = self._instance(self._stack.airflow, scene, run)
        if ti.state != state:
            scene.faults.append(f"the Airflow task is {ti.state} in attempt {ti.try_number}")
        elif scene.action is Action.WAIT:
            self._judge_error(scene, run)

    def _has_ended(self, scene: Scene, run: Run) -> bool:
        attempt = 2 if scene.action in AFTER_THE_END else 1
        ti = self._instance(self._stack.airflow, scene, run)
        return ti.try_number >= attempt and ti.state in FINISHED_TASK

    def _judge_error(self, scene: Scene, run: Run) -> None:
        error = self._stack.airflow.api.error(run.task("batch", scene.map_index)) or ""
        if not _SAYS_DEADLINE.search(error) or not all(task["id"] in error for _, task in tasks_of(self._stack, run)):
            scene.faults.append(f"the error does not name the deadline and the remote task: {error[:200]!r}")

    def _waits_again(self, scene: Scene, airflow: ChaosAirflow, run: Run) -> bool:
        ti = self._instance(airflow, scene, run)
        if ti.try_number < 2 or ti.state not in {"deferred", "running"}:  # noqa: PLR2004 - the attempt after the first
            return False
        waited_for = airflow.api.xcom(run.task("batch", scene.map_index), "sentinelhub_task_id")
        return any(task["id"] == waited_for and is_running(task) for _, task in tasks_of(self._stack, run))

    def _have_it_paid(self, scene: Scene, run: Run) -> None:
        """Run something else on the same connection: whoever comes next has to do what is still owed."""
        later = self._begin(scene, self._stack.airflow, "-later")
        paid = self._until(lambda: self._settled(scene, run), _REACHED_S)
        if paid:
            scene.said = "; ".join(filter(None, [scene.said, "the stop was done by the next run"]))
        self._until(lambda: self._processing(later) > 0, _REACHED_S)
        self._stack.act(lambda api: api.fail_run(later))
        if not self._until(lambda: self._running(later) == 0, _QUIET_S):
            scene.faults.append("the next run's task is still running after the run was marked failed")

    def _count(self, scene: Scene, run: Run) -> None:
        found = self._running(run)
        scene.tasks = [task for _, task in tasks_of(self._stack, run)]
        starts = sum(started(task) for task in scene.tasks)
        if found != scene.running:
            scene.faults.append(f"{found} remote tasks are running, not {scene.running}")
        if scene.created not in {None, len(scene.tasks)}:
            scene.faults.append(f"{len(scene.tasks)} remote tasks were created, not {scene.created}")
        if scene.starts not in {None, starts}:
            scene.faults.append(f"{starts} starts, not {scene.starts}")
        if any(started(task) > 1 + stopped(task) for task in scene.tasks):
            scene.faults.append("a remote task was started twice")
        features = tuple(len(self._stack.sim.task(task["id"])["features"]) for task in scene.tasks)
        if scene.features not in {None, features}:
            scene.faults.append(f"the remote tasks have {features} features, not {scene.features}")
        if scene.action is Action.DELETE_RUN and not scene.said:
            scene.faults.append("a run was deleted while a remote task runs")

    def _end(self, scene: Scene, run: Run) -> None:
        airflows = [self._stack.airflow, *([self._stack.neighbour] if scene.action in _TWINS else [])]
        for airflow in airflows:
            ti = self._instance(airflow, scene, run)
            if airflow is self._stack.airflow and scene.map_index < 0 and ti.state in FINISHED_TASK:
                scene.faults.append(f"the Airflow task is {ti.state}, and its remote task is running")
            self._do(lambda api: api.fail_run(run), second=airflow is not self._stack.airflow)
        if not self._until(lambda: self._running(run) == 0, _QUIET_S):
            scene.faults.append("still running after the run was marked failed")

    # ------------------------------------------------------------------------------------------------------ looking

    def _instance(self, airflow: ChaosAirflow, scene: Scene, run: Run) -> TaskInstance:
        return airflow.api.task_instance(run.task("batch", scene.map_index))

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
