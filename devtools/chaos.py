"""
Shows that batches are started once, whoever dies when: ``python -m devtools.chaos``, or ``make chaos``.

Real Airflow processes run batches on the simulated service: images, and statistics of parcels. At each numbered step
of a batch's life workers, triggerer, scheduler and API server are killed with signal 9, the network is cut and answers
are lost. Then the service's own records are counted. The exit status is 0 only if every batch was started exactly
once, nothing runs that nobody waits for, and every run ended right: with all that was asked for, and each statistic
once in its table.

``--naive`` does the same to batches that are created and started without record and search: that has to fail.
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

from devtools.airflow_names import Run
from devtools.chaos_parts import QUICK, Part, PartName, parts
from devtools.chaos_plans import Plan, plans
from devtools.chaos_records import evidence
from devtools.chaos_ride import Rider
from devtools.chaos_stack import ChaosStack
from devtools.chaos_stage import Stage
from devtools.chaos_steps import STEPS
from devtools.chaos_tables import print_rides, print_scenes
from devtools.chaos_variants import Variant
from devtools.state_folder import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from devtools.chaos_actions import Scene
    from devtools.chaos_judge import Ride
    from devtools.chaos_stack import Lane

_SHORT_MIN = 7.5
_LONG_MIN = 50.0
_LONG_KILLS = 220


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """
    Read the command line.

    :param given: Words; those of the process when ``None``.
    """
    parser = argparse.ArgumentParser(prog="python -m devtools.chaos", description="Kills everything, then counts.")
    parser.add_argument("--seed", type=int, help="repeat the harm of an earlier time (default: a new one)")
    parser.add_argument(
        "--long", action="store_true", help=f"until {_LONG_KILLS} kills, at most {_LONG_MIN:.0f} minutes"
    )
    parser.add_argument("--minutes", type=float, help=f"start no run after so long (default: {_SHORT_MIN:.0f})")
    parser.add_argument("--runs", type=int, help="start no more runs than this")
    parser.add_argument("--lanes", type=int, default=6, help="runs at the same time (default: 6)")
    parser.add_argument("--steps", help="harm at these steps only, e.g. 2,3,11")
    parser.add_argument("--variants", help=f"of {', '.join(Variant)} (default: all)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out what takes Airflow half a minute to notice, outages, and the second Airflow",
    )
    parser.add_argument("--naive", action="store_true", help="run the batches without record and search")
    parser.add_argument("--scenes", type=int, help="play no more scenes of each part than this (default: all)")
    parser.add_argument(
        "--parts", help=f"scenes of {', '.join(PartName)} (default: all; {', '.join(QUICK)} if --quick)"
    )
    parser.add_argument("--actions", default="", help="play the scenes of these actions only, e.g. clear")
    parser.add_argument("--list", action="store_true", help="list the steps and what can be done at them")
    options = parser.parse_args(given)
    options.seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    options.steps = [int(number) for number in options.steps.split(",")] if options.steps else []
    options.variants = [Variant(name) for name in options.variants.split(",")] if options.variants else list(Variant)
    options.parts = [PartName(name) for name in options.parts.split(",")] if options.parts else list(PartName)
    if options.quick:
        options.parts = [name for name in options.parts if name in QUICK]
    options.minutes = options.minutes or (_LONG_MIN if options.long else _SHORT_MIN)
    return options


class Race:
    """
    All lanes together.

    :param options: The command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._plans: Iterator[Plan] = plans(options.seed, options.steps, ways=options.variants, quick=options.quick)
        self._lock = threading.Lock()
        self._stop_at = 0.0
        self._folder = Path(tempfile.mkdtemp(prefix=f"chaos-{options.seed}-", dir=state_folder()))
        self.rides: list[Ride] = []
        self.errors: list[str] = []

    def run(self, stack: ChaosStack) -> None:
        """
        Run until it is enough.

        :param stack: What is harmed.
        """
        self._stop_at = time.monotonic() + 60 * self._options.minutes
        threading.Thread(target=self._watch, args=(stack,), daemon=True).start()
        self._all(lambda lane: self._drive(stack, lane), stack)

    def _watch(self, stack: ChaosStack) -> None:
        # Until the process ends, or the Airflow has.
        with contextlib.suppress(Exception):
            while True:
                for name in stack.harmer.revive():
                    print(f"{name} had ended by itself, and was started again", flush=True)
                time.sleep(2.0)

    def _all(self, drive: Callable[[Lane], None], stack: ChaosStack) -> None:
        threads = [threading.Thread(target=drive, args=(lane,), daemon=True) for lane in stack.lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def play(self, stack: ChaosStack) -> list[Scene]:
        """
        Do what users do.

        :param stack: What takes part.
        """
        return [scene for part in parts(self._options) for scene in self._play(stack, part)]

    def _play(self, stack: ChaosStack, part: Part) -> list[Scene]:
        stack.sim.set_script(part.script)
        played: list[Scene] = []
        waiting = list(part.scenes)

        def drive(lane: Lane) -> None:
            stage = Stage(stack, lane)
            lane.mend()
            while True:
                with self._lock:
                    if not waiting:
                        return
                    scene = waiting.pop(0)
                try:
                    stage.play(scene)
                except Exception:  # noqa: BLE001 - the other scenes go on, and this one has failed
                    scene.faults.append(traceback.format_exc())
                if scene.faults:
                    found = evidence(stack, Run(f"chaos_{scene.variant}", scene.run_id))
                    self._keep(stack, scene.run_id, [f"{scene}", found])
                with self._lock:
                    played.append(scene)
                    print(f"{scene.title}: {'; '.join(scene.faults) or 'right'}", flush=True)

        self._all(drive, stack)
        return played

    def _keep(self, stack: ChaosStack, name: str, lines: Sequence[str]) -> None:
        (self._folder / f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
        stack.airflow.keep = True

    def _next(self) -> Plan | None:
        with self._lock:
            kills = sum(ride.kills for ride in self.rides)
            if time.monotonic() > self._stop_at or (self._options.long and kills >= _LONG_KILLS):
                return None
            plan = next(self._plans)
            return None if self._options.runs is not None and plan.number > self._options.runs else plan

    def _drive(self, stack: ChaosStack, lane: Lane) -> None:
        rider = Rider(stack, lane, self._options.seed + lane.number)
        try:
            while (plan := self._next()) is not None:
                ride = rider.ride(plan)
                with self._lock:
                    self.rides.append(ride)
                    _report(ride)
                if ride.faults:
                    found = [*(f"struck: {strike}" for strike in ride.struck), *ride.faults, evidence(stack, ride.run)]
                    self._keep(stack, f"run-{plan.number}", found)
        except Exception:  # noqa: BLE001 - a lane that breaks must not end the others, and must not go unnoticed
            self.errors.append(traceback.format_exc())


def _report(ride: Ride) -> None:
    verdict = "; ".join(ride.faults) or "right"
    print(
        f"run {ride.plan.number:3} {ride.plan.variant.value:28} {ride.seconds:4.0f} s  {ride.kills} kills of "
        f"{len(ride.struck)}/{len(ride.plan.strikes)} strikes  created {ride.created}  {verdict}",
        flush=True,
    )
    if ride.faults:
        for strike in ride.struck:
            print(f"        {strike}")


def main(given: Sequence[str] | None = None) -> int:
    """
    Do harm, and count.

    :param given: Command line; that of the process when ``None``.
    :returns: Exit status.
    """
    options = arguments(given)
    if options.list:
        for step in STEPS:
            print(f"{step.number:3} {step.name}")
        return 0
    print(f"seed {options.seed}{', NAIVE' if options.naive else ''}", flush=True)
    race = Race(options)
    start = time.monotonic()
    with ChaosStack(options.lanes, naive=options.naive) as stack:
        print(f"Airflow is in {stack.airflow.home}", flush=True)
        race.run(stack)
        played = race.play(stack)
    for error in race.errors:
        print(error, file=sys.stderr)
    right = print_rides(race.rides)
    right = print_scenes(played) and right
    print(f"\n{(time.monotonic() - start) / 60:.1f} minutes, seed {options.seed}: {'right' if right else 'WRONG'}")
    return 0 if right and (race.rides or played) and not race.errors else 1


if __name__ == "__main__":
    sys.exit(main())
