"""What users do to running batches, at moments that matter, and what becomes of the remote tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from devtools.airflow_http import AirflowApiError
from devtools.chaos_records import is_running, started, tasks_of
from devtools.chaos_steps import STEPS
from devtools.chaos_variants import Variant

if TYPE_CHECKING:
    from devtools.airflow_names import Run
    from devtools.chaos_stack import ChaosStack, Lane

# Remote tasks that never end by themselves.
TIMING: dict[str, Any] = {"analysis_seconds": 60, "feature_seconds": 1_000_000}
PROCESSING = 0
_REACHED_S = 90.0
_QUIET_S = 60.0
_HELD_S = 3.0
_LASTS_S = 4.0


class Action(StrEnum):
    """What a user does."""

    FAIL = "mark failed"
    SUCCEED = "mark success"
    CLEAR = "clear"
    FAIL_RUN = "mark the run failed"
    DELETE_RUN = "delete the run"
    WAIT = "let it time out"


@dataclass(slots=True)
class Scene:
    """
    One action on one run, and what came of it.

    :param action: What is done.
    :param variant: The DAG is ``chaos_<variant>``.
    :param step: Number of the step at which it is done, while the call that marks it is held; 0 for: while the remote
        task is processed.
    :param map_index: The task instance it is done to.
    :param running: How many remote tasks may run on: that of a cleared task's new attempt, or those nobody touched.
    :param said: What Airflow answered, where it refused.
    :param tasks: The service's own records in the end.
    :param faults: What is wrong.
    """

    action: Action
    variant: str
    step: int = PROCESSING
    map_index: int = -1
    running: int = 0
    said: str = ""
    tasks: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def when(self) -> str:
        """The moment, in words."""
        step = next((step for step in STEPS if step.number == self.step), None)
        return f"{step.number} {step.name}" if step else "while it is processed"


def scenes(ways: Collection[Variant] = tuple(Variant)) -> list[Scene]:
    """
    Return all scenes, those that show most first.

    :param ways: Variants to keep to.
    """
    found = []
    for variant in ("deferred", "blocking"):
        found += [
            Scene(Action.FAIL, variant),
            Scene(Action.CLEAR, variant, running=1),
            Scene(Action.WAIT, f"{variant}_timeout"),
            Scene(Action.FAIL, variant, step=12),
            Scene(Action.FAIL, variant, step=13),
            Scene(Action.CLEAR, variant, step=12, running=1),
            Scene(Action.CLEAR, variant, step=13, running=1),
            Scene(Action.FAIL, variant, step=4),
            Scene(Action.CLEAR, variant, step=4, running=1),
            Scene(Action.FAIL, variant, step=6),
            Scene(Action.SUCCEED, variant),
            Scene(Action.FAIL_RUN, variant),
            Scene(Action.FAIL_RUN, f"{variant}_mapped"),
            Scene(Action.FAIL, f"{variant}_mapped", map_index=0, running=1),
            Scene(Action.CLEAR, f"{variant}_mapped", map_index=0, running=2),
        ]
    found += [
        Scene(Action.FAIL, "deferred", step=8),
        Scene(Action.CLEAR, "deferred", step=8, running=1),
        Scene(Action.FAIL, "deferred", step=9),
        Scene(Action.DELETE_RUN, "deferred", running=1),
    ]
    for variant in ("deferred_statistical", "blocking_statistical"):
        found += [
            Scene(Action.FAIL, variant),
            Scene(Action.CLEAR, variant, running=1),
            Scene(Action.WAIT, f"{variant}_timeout"),
            Scene(Action.FAIL, variant, step=13),
            Scene(Action.CLEAR, variant, step=4, running=1),
            Scene(Action.SUCCEED, variant),
            Scene(Action.FAIL_RUN, variant),
        ]
    found.append(Scene(Action.DELETE_RUN, "deferred_statistical", running=1))
    return [scene for scene in found if Variant(scene.variant.removesuffix("_timeout")) in ways]


class Stage:
    """
    Plays scenes on one lane.

    :param stack: What takes part.
    :param lane: The lane.
    """

    def __init__(self, stack: ChaosStack, lane: Lane) -> None:
        self._stack = stack
        self._lane = lane

    def play(self, scene: Scene, number: int) -> None:
        """
        Play a scene.

        :param scene: The scene.
        :param number: Makes the run's name.
        """
        conf = {"lane": str(self._lane.number)}
        run = self._stack.act(lambda api: api.trigger(f"chaos_{scene.variant}", conf, f"scene-{number}"))
        if scene.step == PROCESSING:
            wanted = 2 if scene.variant.endswith("mapped") else 1
            if not self._until(lambda: self._processing(run) >= wanted, _REACHED_S):
                scene.faults.append("was never processed")
            self._act(scene, run)
        else:
            self._act_while_held(scene, run)
        self._judge(scene, run)

    def _processing(self, run: Run) -> int:
        return sum(task["status"] == "PROCESSING" for _, task in tasks_of(self._stack, run))

    def _running(self, run: Run) -> int:
        return sum(is_running(task) for _, task in tasks_of(self._stack, run))

    def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        give_up_at = time.monotonic() + seconds
        while not (is_done := done()) and time.monotonic() < give_up_at:
            time.sleep(0.3)
        return is_done

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

    def _act(self, scene: Scene, run: Run) -> None:
        task = run.task("batch", scene.map_index)
        try:
            match scene.action:
                case Action.FAIL | Action.SUCCEED:
                    state = "failed" if scene.action is Action.FAIL else "success"
                    self._stack.act(lambda api: api.set_state(task, state))
                case Action.CLEAR:
                    self._stack.act(lambda api: api.clear(task))
                case Action.FAIL_RUN:
                    self._stack.act(lambda api: api.fail_run(run))
                case Action.DELETE_RUN:
                    self._stack.act(lambda api: api.delete_run(run))
                case Action.WAIT:
                    pass
        except AirflowApiError as error:
            scene.said = f"HTTP {error.status}"

    def _judge(self, scene: Scene, run: Run) -> None:
        # Whatever is still on its way has to arrive before the counting.
        time.sleep(_LASTS_S)
        if scene.action is Action.CLEAR:
            self._until(lambda: self._new_one_runs(scene, run), _QUIET_S)
        self._until(lambda: self._running(run) == scene.running, _QUIET_S)
        time.sleep(_LASTS_S)
        found = self._running(run)
        scene.tasks = [task for _, task in tasks_of(self._stack, run)]
        if found != scene.running:
            scene.faults.append(f"{found} remote tasks are running, not {scene.running}")
        if any(started(task) > 1 for task in scene.tasks):
            scene.faults.append("a remote task was started twice")
        if scene.action is Action.DELETE_RUN and not scene.said:
            scene.faults.append("a run was deleted while a remote task runs")
        if scene.running:
            self._stack.act(lambda api: api.fail_run(run))
            if not self._until(lambda: self._running(run) == 0, _QUIET_S):
                scene.faults.append("still running after the run was marked failed")

    def _new_one_runs(self, scene: Scene, run: Run) -> bool:
        generations = {
            intent.generation
            for intent, task in tasks_of(self._stack, run)
            if intent.map_index == scene.map_index and is_running(task)
        }
        return bool(generations) and max(generations) > self._first_generation(run)

    def _first_generation(self, run: Run) -> int:
        return min(intent.generation for intent, _ in tasks_of(self._stack, run))
