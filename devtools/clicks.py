"""
Shows what a user's clicks create, start and cost: ``python -m devtools.clicks``, or ``make clicks``.

Real Airflows, scheduler and all, run a batch on the simulated service. After each click the service's own records are
counted: tasks created, how often one was started, and the processing units charged. Nothing is verified; the figures
are for comparing before and after a change.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.airflow_api import FINISHED_RUN
from devtools.chaos.airflow import ChaosAirflow
from devtools.chaos.records import started
from devtools.chaos.report import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from devtools.airflow_names import Run

DAGS = Path(__file__).resolve().parent / "click_dags"
_SPEED = 600
_TIMEOUT_S = 180.0
_LOOK_S = 0.3
_QUIET_S = 8.0
# Nothing has changed yet, and something will.
_NOT_BEGUN = frozenset({None, "scheduled", "queued", "running"})
# The five fail in the first remote task only.
_FIVE_FAIL = {"features": [{"outcome": "fatal", "indexes": [3, 20, 41, 77, 110], "first_tasks": 1}]}
# Remote tasks do not end within the minutes of a scenario.
_SLOW = {"timing": {"feature_seconds": 100_000, "restart_lock_seconds": 6000}}
_FOUR_TILES = [9.21, 42.07, 9.27, 42.11]
# West, south, east, north is 14.4, 46.0, 14.6, 46.1.
_MISTYPED = [14.4, 14.6, 46.0, 46.1]
_ENDED = frozenset({"DONE", "FAILED", "STOPPED"})


@dataclass(slots=True)
class Scenario:
    """
    A sequence of clicks, and the service's records after each.

    :param name: Its name.
    :param sim: The service.
    :param rows: The figures.
    :param errors: Errors that Airflow showed.
    """

    name: str
    sim: Simulator
    rows: list[tuple[object, ...]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def note(self, what: str, *says: str) -> None:
        """
        Add a row of figures.

        :param what: The click.
        :param says: The state in each Airflow, and after a line break the error.
        """
        states, _, errors = zip(*(each.partition("\n") for each in says), strict=True)
        self.errors += [f"  {what}: {error}" for error in errors if error]
        tasks = self.sim.tasks()
        charged = sum(task["cost_pu"] or 0.0 for task in tasks)
        features = [len(self.sim.task(task["id"])["features"]) for task in tasks]
        each = ", ".join(f"{task['status']} ({count})" for task, count in zip(tasks, features, strict=True))
        self.rows.append((what, len(tasks), sum(map(started, tasks)), f"{charged:.1f}", each or "-", "; ".join(states)))

    def text(self) -> str:
        """Return the table."""
        head = ("", "created", "starts", "PU charged", "remote tasks (features)", "Airflow")
        return "\n".join([f"===== {self.name}", table([head, *self.rows]), *self.errors])


class Clicker:
    """
    Clicks in one Airflow, and waits for the result.

    :param name: Its name.
    :param airflow: The Airflow.
    :param sim: The service.
    """

    def __init__(self, name: str, airflow: ChaosAirflow, sim: Simulator) -> None:
        self.name = name
        self.airflow = airflow
        self.sim = sim

    def trigger(self, run_id: str, **conf: object) -> Run:
        """
        Start a run.

        :param run_id: Its name.
        :param conf: Values of its params.
        """
        return self.airflow.api.trigger("clicks", conf, run_id)

    def clear(self, run: Run) -> None:
        """
        Clear the task.

        :param run: Its run.
        """
        self.airflow.api.clear(run.task("batch"))

    def fail(self, run: Run) -> None:
        """
        Mark the task as failed.

        :param run: Its run.
        """
        self.airflow.api.set_state(run.task("batch"), "failed")

    def ended(self, run: Run, attempt: int = 1) -> str:
        """
        Wait for the end of a run, and return what Airflow shows.

        :param run: The run.
        :param attempt: The attempt that has to end at least. Default: the first.
        """

        def look() -> bool:
            ti = self.airflow.api.task_instance(run.task("batch"))
            return ti.try_number >= attempt and self.airflow.api.run_state(run) in FINISHED_RUN

        until(look, _TIMEOUT_S)
        return self.says(run)

    def quiet(self, run: Run) -> str:
        """
        Wait until the remote tasks have not changed for some seconds, and return what Airflow shows.

        :param run: The run.
        """
        seen, since = self._seen(run), time.monotonic()
        give_up_at = since + _TIMEOUT_S
        while time.monotonic() < min(since + _QUIET_S, give_up_at):
            time.sleep(_LOOK_S)
            now = self._seen(run)
            if now != seen or now[-2] in _NOT_BEGUN:
                seen, since = now, time.monotonic()
        return self.says(run)

    def _seen(self, run: Run) -> list[Any]:
        ti = self.airflow.api.task_instance(run.task("batch"))
        return [*((task["id"], task["status"], started(task)) for task in self.sim.tasks()), ti.state, ti.try_number]

    def says(self, run: Run) -> str:
        """
        Return the state of the task and the error in its log.

        :param run: The run.
        """
        ti = self.airflow.api.task_instance(run.task("batch"))
        error = self.airflow.api.error(run.task("batch")) if ti.state == "failed" else None
        said = f"\n{' '.join(error.split())}" if error else ""
        return f"{self.name}: {ti.state}, attempt {ti.try_number}{said}"


def until(done: Callable[[], bool], seconds: float) -> bool:
    """
    Wait for a condition, and return whether it came true.

    :param done: The condition.
    :param seconds: How long to wait at most.
    """
    give_up_at = time.monotonic() + seconds
    while not (is_done := done()) and time.monotonic() < give_up_at:
        time.sleep(_LOOK_S)
    return is_done


def failed_run_cleared(first: Clicker, scenario: Scenario) -> None:
    """
    Clear a run in which five features failed, and clear it again after its success.

    :param first: The Airflow.
    :param scenario: Takes the figures.
    """
    first.sim.set_script(_FIVE_FAIL)
    run = first.trigger("failed_run_cleared")
    scenario.note("run, 5 features fail", first.ended(run))
    for attempt in (2, 3):
        before = first.airflow.api.task_instance(run.task("batch")).state
        first.clear(run)
        scenario.note(f"clear, it was {before}", first.ended(run, attempt))


def stopped_run_cleared(first: Clicker, scenario: Scenario) -> None:
    """
    Clear a run that was marked failed.

    :param first: The Airflow.
    :param scenario: Takes the figures.
    """
    first.sim.set_script(_SLOW)
    run = first.trigger("stopped_run_cleared", bbox=_FOUR_TILES)
    _until_processed(first, 1)
    scenario.note("run", first.quiet(run))
    first.fail(run)
    until(lambda: first.sim.tasks()[0]["status"] == "STOPPED", _TIMEOUT_S)
    scenario.note("mark failed", first.quiet(run))
    first.clear(run)
    until(lambda: sum(map(started, first.sim.tasks())) > 1, _TIMEOUT_S)
    scenario.note("clear", first.quiet(run))
    first.fail(run)
    scenario.note("mark failed", first.quiet(run))


def running_run_cleared(first: Clicker, scenario: Scenario) -> None:
    """
    Clear a task while its remote task is processed.

    :param first: The Airflow.
    :param scenario: Takes the figures.
    """
    first.sim.set_script(_SLOW)
    run = first.trigger("running_run_cleared", bbox=_FOUR_TILES)
    _until_processed(first, 1)
    scenario.note("run", first.quiet(run))
    first.clear(run)
    until(lambda: first.airflow.api.task_instance(run.task("batch")).try_number > 1, _TIMEOUT_S)
    scenario.note("clear", first.quiet(run))
    first.fail(run)
    scenario.note("mark failed", first.quiet(run))


def mistyped_box(first: Clicker, scenario: Scenario) -> None:
    """
    Swap two numbers of a bbox, and notice it 15 seconds later.

    :param first: The Airflow.
    :param scenario: Takes the figures.
    """
    first.sim.set_script({"timing": {"analysis_seconds": 60}})
    run = first.trigger("mistyped_box", bbox=_MISTYPED)
    until(lambda: _processing(first.sim) > 0 or first.airflow.api.run_state(run) in FINISHED_RUN, _TIMEOUT_S)
    time.sleep(15)
    scenario.note("15 s after the start, or the refusal", first.says(run))
    if first.airflow.api.run_state(run) not in FINISHED_RUN:
        first.fail(run)
        until(lambda: all(task["status"] in _ENDED for task in first.sim.tasks()), _TIMEOUT_S)
        scenario.note("mark failed", first.quiet(run))


def two_airflows(first: Clicker, second: Clicker, scenario: Scenario) -> None:
    """
    Run a DAG of the same name, with runs of the same name, in two Airflows that use one account.

    :param first: One Airflow.
    :param second: The other one.
    :param scenario: Takes the figures.
    """
    first.sim.set_script(_SLOW)
    run = first.trigger("two_airflows", bbox=_FOUR_TILES)
    _until_processed(first, 1)
    scenario.note("run in the first one", first.quiet(run))
    second.trigger("two_airflows", bbox=_FOUR_TILES)
    scenario.note("the same in the second", second.quiet(run), first.says(run))
    second.fail(run)
    scenario.note("mark failed in the second", second.quiet(run), first.quiet(run))
    if first.airflow.api.run_state(run) not in FINISHED_RUN:
        first.fail(run)
        scenario.note("mark failed in the first", first.quiet(run), second.says(run))


def _processing(sim: Simulator) -> int:
    return sum(task["status"] == "PROCESSING" for task in sim.tasks())


def _until_processed(clicker: Clicker, count: int) -> None:
    if not until(lambda: _processing(clicker.sim) >= count, _TIMEOUT_S):
        raise TimeoutError(f"The remote task was not processed within {_TIMEOUT_S:.0f} s")


SCENARIOS: dict[str, Callable[[Clicker, Scenario], None]] = {
    "clear a failed run": failed_run_cleared,
    "clear a run that was marked failed": stopped_run_cleared,
    "clear a running task": running_run_cleared,
    "swap two numbers of a bbox": mistyped_box,
}
TWO = "two Airflows, one account, one base_url"


@contextmanager
def airflow_on(sim: Simulator, name: str) -> Iterator[Clicker]:
    """
    Start an Airflow with the same base URL as every other one here.

    :param name: Its name.
    :param sim: The service it uses.
    """
    env = {**sim.ready.airflow_connections(), "AIRFLOW__API__BASE_URL": "http://localhost:8080"}
    with ChaosAirflow(env, 2, DAGS) as airflow:
        yield Clicker(name, airflow, sim)


def main(given: Sequence[str] | None = None) -> int:
    """
    Click, and print the figures.

    :param given: Command line; that of the process when ``None``.
    :returns: Exit status: 0.
    """
    parser = argparse.ArgumentParser(prog="python -m devtools.clicks", description="What a user's clicks cost.")
    parser.add_argument("--only", default="", help="run only the scenarios whose names contain this")
    options = parser.parse_args(given)
    names = [name for name in (*SCENARIOS, TWO) if options.only in name]
    if not names:
        parser.error(f"--only {options.only}: in no name of a scenario; they are {', '.join((*SCENARIOS, TWO))}")
    for name in names:
        # A service of its own for each, so that its records contain these clicks only.
        with ExitStack() as stack:
            sim = stack.enter_context(Simulator.start(speed=_SPEED, quick=True))
            first = stack.enter_context(airflow_on(sim, "first"))
            scenario = Scenario(name, sim)
            try:
                if name == TWO:
                    two_airflows(first, stack.enter_context(airflow_on(sim, "second")), scenario)
                else:
                    SCENARIOS[name](first, scenario)
            finally:
                print(f"\n{scenario.text()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
