"""
Shows that every batch is started exactly once under faults: ``python -m devtools.chaos``, or ``make chaos``.

Real Airflow processes run batches on the simulated service: images, and statistics of parcels. At each numbered step
of a batch's life workers, triggerer, scheduler and API server are killed with signal 9, the network is cut and answers
are lost. Then the service's own records are counted. The exit status is 0 only if every batch was started exactly
once, no remote task runs without an Airflow task that waits for it, and every run succeeded with complete results: all
features delivered, and each statistic once in its table.

``--naive`` injects the same faults into batches that are created and started without record and search: that has to
fail.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.simulator.__main__ import positive
from devtools.airflow_names import Run
from devtools.arguments import count, some_of
from devtools.chaos.records import evidence
from devtools.chaos.report import print_runs, print_scenarios
from devtools.chaos.runs import RunDriver, RunPlan, plans
from devtools.chaos.scenario_runner import ScenarioRunner
from devtools.chaos.scenarios import QUICK, Action, GroupName, ScenarioGroup, groups
from devtools.chaos.stack import ChaosStack
from devtools.chaos.steps import STEPS, Variant
from devtools.state_folder import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from devtools.chaos.runs import RunResult
    from devtools.chaos.scenarios import Scenario
    from devtools.chaos.stack import Lane

_SHORT_MIN = 7.5
_LONG_MIN = 50.0
_LONG_KILLS = 220


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """
    Read the command line.

    :param given: Words; those of the process when ``None``.
    """
    parser = argparse.ArgumentParser(
        prog="python -m devtools.chaos", description="Injects faults, then verifies what the service recorded."
    )
    parser.add_argument("--seed", type=int, help="repeat the faults of an earlier experiment (default: a new seed)")
    parser.add_argument(
        "--long", action="store_true", help=f"until {_LONG_KILLS} kills, at most {_LONG_MIN:.0f} minutes"
    )
    parser.add_argument(
        "--minutes", type=positive, help=f"start no further run after this time (default: {_SHORT_MIN:.0f})"
    )
    parser.add_argument("--runs", type=count(0), help="start no more runs than this")
    parser.add_argument("--lanes", type=count(1), default=6, help="parallel runs (default: 6)")
    numbers = [str(step.number) for step in STEPS]
    parser.add_argument(
        "--steps", type=some_of(numbers), default=[], help="inject faults at these steps only, e.g. 2,3,11"
    )
    parser.add_argument(
        "--variants", type=some_of([*Variant]), default=[*Variant], help=f"any of {', '.join(Variant)} (default: all)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out faults that Airflow notices after half a minute, outages, and the second Airflow",
    )
    parser.add_argument("--naive", action="store_true", help="run the batches without record and search")
    parser.add_argument(
        "--scenarios", type=count(0), help="run at most this many scenarios of each group (default: all)"
    )
    parser.add_argument(
        "--groups",
        type=some_of([*GroupName]),
        default=[*GroupName],
        help=f"scenarios of {', '.join(GroupName)} (default: all; {', '.join(QUICK)} if --quick)",
    )
    parser.add_argument("--actions", default="", help="run the scenarios of these actions only, e.g. clear")
    parser.add_argument("--list", action="store_true", help="list the steps")
    options = parser.parse_args(given)
    options.seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    options.steps = [int(number) for number in options.steps]
    options.variants = [Variant(name) for name in options.variants]
    options.groups = [GroupName(name) for name in options.groups]
    if options.quick:
        options.groups = [name for name in options.groups if name in QUICK]
    chosen = [step for step in STEPS if not options.steps or step.number in options.steps]
    if not any(step.occurs(variant) for step in chosen for variant in options.variants):
        parser.error("none of these --steps occurs in any of these --variants")
    if not options.groups:
        parser.error(f"with --quick, --groups are of {', '.join(QUICK)}")
    if not any(options.actions in action.value for action in Action):
        parser.error(f"--actions {options.actions}: no such action; they are {', '.join(Action)}")
    options.minutes = options.minutes or (_LONG_MIN if options.long else _SHORT_MIN)
    return options


class ChaosExperiment:
    """
    Runs on all lanes, and then the scenarios.

    :param options: The command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._plans: Iterator[RunPlan] = plans(options.seed, options.steps, ways=options.variants, quick=options.quick)
        self._lock = threading.Lock()
        self._stop_at = 0.0
        self._folder = Path(tempfile.mkdtemp(prefix=f"chaos-{options.seed}-", dir=state_folder()))
        self.results: list[RunResult] = []
        self.errors: list[str] = []

    def run(self, stack: ChaosStack) -> None:
        """
        Run batches under faults until time is up.

        :param stack: Airflow, service and proxies.
        """
        self._stop_at = time.monotonic() + 60 * self._options.minutes
        threading.Thread(target=self._restart_dead, args=(stack,), daemon=True).start()
        self._on_all_lanes(lambda lane: self._drive_lane(stack, lane), stack)

    def _restart_dead(self, stack: ChaosStack) -> None:
        # Until this process or Airflow ends.
        with contextlib.suppress(Exception):
            while True:
                for name in stack.injector.restart_dead():
                    print(f"{name} had ended unexpectedly and was restarted", flush=True)
                time.sleep(2.0)

    def _on_all_lanes(self, drive: Callable[[Lane], None], stack: ChaosStack) -> None:
        threads = [threading.Thread(target=drive, args=(lane,), daemon=True) for lane in stack.lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def run_scenarios(self, stack: ChaosStack) -> list[Scenario]:
        """
        Run the scenarios.

        :param stack: Airflow, service and proxies.
        """
        return [scenario for group in groups(self._options) for scenario in self._run_group(stack, group)]

    def _run_group(self, stack: ChaosStack, group: ScenarioGroup) -> list[Scenario]:
        stack.sim.set_script(group.script)
        finished: list[Scenario] = []
        waiting = list(group.scenarios)

        def drive(lane: Lane) -> None:
            runner = ScenarioRunner(stack, lane)
            while True:
                lane.restore()
                with self._lock:
                    if not waiting:
                        return
                    scenario = waiting.pop(0)
                try:
                    runner.run(scenario)
                except Exception:  # noqa: BLE001 - the other scenarios continue, and this one has failed
                    scenario.violations.append(traceback.format_exc())
                if scenario.violations:
                    found = evidence(stack, Run(f"chaos_{scenario.variant}", scenario.run_id))
                    self._keep(stack, scenario.run_id, [f"{scenario}", found])
                with self._lock:
                    finished.append(scenario)
                    print(f"{scenario.title}: {'; '.join(scenario.violations) or 'ok'}", flush=True)

        self._on_all_lanes(drive, stack)
        return finished

    def _keep(self, stack: ChaosStack, name: str, lines: Sequence[str]) -> None:
        (self._folder / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
        stack.airflow.keep = True

    def _next(self) -> RunPlan | None:
        with self._lock:
            kills = sum(result.kills for result in self.results)
            if time.monotonic() > self._stop_at or (self._options.long and kills >= _LONG_KILLS):
                return None
            plan = next(self._plans)
            return None if self._options.runs is not None and plan.number > self._options.runs else plan

    def _drive_lane(self, stack: ChaosStack, lane: Lane) -> None:
        driver = RunDriver(stack, lane, self._options.seed + lane.number)
        try:
            while (plan := self._next()) is not None:
                result = driver.drive(plan)
                with self._lock:
                    self.results.append(result)
                    _report(result)
                if result.violations:
                    found = [
                        *(f"injected: {injection}" for injection in result.injected),
                        *result.violations,
                        evidence(stack, result.run),
                    ]
                    self._keep(stack, f"run-{plan.number}", found)
        except Exception:  # noqa: BLE001 - an error in one lane must not end the others, and must be reported
            self.errors.append(traceback.format_exc())


def _report(result: RunResult) -> None:
    verdict = "; ".join(result.violations) or "ok"
    print(
        f"run {result.plan.number:3} {result.plan.variant.value:28} {result.seconds:4.0f} s  {result.kills} kills of "
        f"{len(result.injected)}/{len(result.plan.injections)} faults  created {result.created}  {verdict}",
        flush=True,
    )
    if result.violations:
        for injection in result.injected:
            print(f"        {injection}")


def main(given: Sequence[str] | None = None) -> int:
    """
    Inject faults, and verify what came of them.

    :param given: Command line; that of the process when ``None``.
    :returns: Exit status.
    """
    options = arguments(given)
    if options.list:
        for step in STEPS:
            print(f"{step.number:3} {step.name}")
        return 0
    print(f"seed {options.seed}{', NAIVE' if options.naive else ''}", flush=True)
    experiment = ChaosExperiment(options)
    start = time.monotonic()
    with ChaosStack(options.lanes, naive=options.naive) as stack:
        print(f"Airflow is in {stack.airflow.home}", flush=True)
        experiment.run(stack)
        finished = experiment.run_scenarios(stack)
    for error in experiment.errors:
        print(error, file=sys.stderr)
    is_right = print_runs(experiment.results)
    is_right = print_scenarios(finished) and is_right and not experiment.errors
    print(f"\n{(time.monotonic() - start) / 60:.1f} minutes, seed {options.seed}: {'ok' if is_right else 'FAILED'}")
    return 0 if is_right and (experiment.results or finished) else 1


if __name__ == "__main__":
    sys.exit(main())
