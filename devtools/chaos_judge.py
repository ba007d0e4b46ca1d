"""What became of a run, and whether that is right."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devtools.airflow_http import AirflowApiError
from devtools.chaos_records import is_running, started, tasks_of
from devtools.chaos_statistics import statistics_faults
from devtools.chaos_steps import KILLS

if TYPE_CHECKING:
    from devtools.airflow_names import Run
    from devtools.chaos_plans import Plan, Strike
    from devtools.chaos_stack import ChaosStack


@dataclass(slots=True)
class Ride:
    """
    What became of a run.

    :param plan: What it had to go through.
    :param run: The run.
    :param struck: The strikes that hit.
    :param state: The run's state in the end.
    :param seconds: How long it took.
    :param created: Tasks the service has created for it.
    :param starts: How often the service was made to start a task, for each map index and rerun.
    :param orphans: Started tasks that had not ended when the run had.
    :param faults: What is wrong.
    """

    plan: Plan
    run: Run
    struck: list[Strike] = field(default_factory=list)
    state: str = ""
    seconds: float = 0.0
    created: int = 0
    starts: dict[tuple[int, int], int] = field(default_factory=dict)
    orphans: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How many of the strikes were a kill."""
        return sum(strike.harm in KILLS for strike in self.struck)


def judge(stack: ChaosStack, ride: Ride) -> None:
    """
    Count, and say what is wrong with a run that has ended.

    :param stack: What was harmed.
    :param ride: The run; filled in.
    """
    variant = ride.plan.variant
    tasks = tasks_of(stack, ride.run)
    ride.created = len(tasks)
    for intended in itertools.product(variant.map_indexes, variant.reruns):
        starts = sum(started(task) for intent, task in tasks if (intent.map_index, intent.rerun) == intended)
        ride.starts[intended] = starts
        if starts != 1:
            ride.faults.append(f"started {starts} times, map index {intended[0]}, rerun {intended[1]}")
    ride.orphans = sum(is_running(task) for _, task in tasks)
    if ride.orphans:
        ride.faults.append(f"{ride.orphans} orphans")
    if ride.state != "success":
        ride.faults.append(f"the run is {ride.state or 'unknown'} after {ride.seconds:.0f} s")
        return
    for index in variant.map_indexes:
        originals = {task["id"] for intent, task in tasks if intent.map_index == index and not intent.rerun}
        result = _result(stack, ride, index)
        if result is None or (result["outcome"], result["delivered"]) != ("DONE", result["total"]):
            ride.faults.append(f"wrong result, map index {index}: {result}")
        elif result["task_id"] not in originals:
            ride.faults.append(f"result of another task, map index {index}: {result['task_id']}")
        elif variant.is_statistical:
            features = {feature["name"] for feature in stack.sim.task(result["task_id"])["features"]}
            ride.faults += statistics_faults(stack.sim.bucket_folder, result, features)


def _result(stack: ChaosStack, ride: Ride, index: int) -> dict[str, Any] | None:
    for _ in range(60):
        try:
            result: dict[str, Any] | None = stack.airflow.api.xcom(ride.run.task("batch", index))
        except (OSError, AirflowApiError):
            time.sleep(1.0)
        else:
            return result
    return None
