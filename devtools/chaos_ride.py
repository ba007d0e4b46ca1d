"""One run: it is started, struck at the steps its plan names, and looked at when it has ended."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from devtools.airflow_http import AirflowApiError
from devtools.airflow_runs import FINISHED_RUN
from devtools.chaos_gate import Call, Gate, Reply, Trap
from devtools.chaos_judge import Ride, judge
from devtools.chaos_steps import Harm

if TYPE_CHECKING:
    from collections.abc import Callable

    from devtools.airflow_names import Run
    from devtools.chaos_plans import Plan, Strike
    from devtools.chaos_stack import ChaosStack, Lane

_LOOK_EVERY_S = 0.5
_CUT_S = 3.0
_STALL_S = 4.0
_TRIES = 6
_TERMINAL = frozenset({"DONE", "FAILED", "STOPPED"})
_BUSY = Reply(503, {"Content-Type": "application/json"}, b'{"error": {"status": 503, "message": "busy"}}')
_SLOWER = Reply(
    429,
    {"Content-Type": "application/json", "Retry-After": "400"},
    b'{"error": {"status": 429, "message": "slower", "code": "RATE_LIMIT_EXCEEDED"}}',
)
_UNKNOWN = Reply(
    404,
    {"Content-Type": "application/json"},
    b'{"error": {"status": 404, "message": "Not found.", "code": "COMMON_NOT_FOUND"}}',
)


class Rider:
    """
    Takes runs along one lane.

    :param stack: What is harmed.
    :param lane: The lane.
    :param seed: Where delays are drawn from.
    :param patience: Seconds after which a run is given up.
    """

    def __init__(self, stack: ChaosStack, lane: Lane, seed: int, patience: float = 400.0) -> None:
        self._stack = stack
        self._lane = lane
        self._draw = random.Random(seed)
        self._patience = patience

    def ride(self, plan: Plan) -> Ride:
        """
        Take one run along the lane.

        :param plan: What it has to go through.
        """
        start = time.monotonic()
        self._lane.mend()
        ride = Ride(plan, self._begin(plan))
        give_up_at = start + self._patience
        waiting = list(plan.strikes)
        while waiting:
            waiting = self._strike_next(ride, waiting, give_up_at)
        while not self._has_ended(ride) and time.monotonic() < give_up_at:
            time.sleep(_LOOK_EVERY_S)
        ride.seconds = time.monotonic() - start
        judge(self._stack, ride)
        return ride

    def _begin(self, plan: Plan) -> Run:
        run_id = f"chaos-{plan.number}"
        conf = {"lane": str(self._lane.number)}
        while True:
            try:
                return self._stack.act(lambda api: api.trigger(plan.variant.dag_id, conf, run_id))
            except OSError:
                time.sleep(1.0)
            except AirflowApiError as error:
                if error.status == 409:  # noqa: PLR2004 - the first answer was lost
                    from devtools.airflow_names import Run

                    return Run(plan.variant.dag_id, run_id)
                if not error.passing:
                    raise
                time.sleep(1.0)

    def _has_ended(self, ride: Ride) -> bool:
        try:
            ride.state = self._stack.airflow.api.run_state(ride.run)
        except (OSError, AirflowApiError):
            # The API server may be the one that was killed.
            return False
        return ride.state in FINISHED_RUN

    # --------------------------------------------------------------------------------------------------------- harm

    def _strike_next(self, ride: Ride, waiting: list[Strike], give_up_at: float) -> list[Strike]:
        """Strike at the next of these steps that comes; return those that are left, none when the run has ended."""
        for _ in range(_TRIES):
            traps = [self._stack.trap(self._lane, ride.run.run_id, strike.step) for strike in waiting]
            try:
                place = self._wait_for_one(ride, traps, give_up_at)
                if place is None:
                    return []
                strike, trap = waiting[place], traps[place]
                gate = self._stack.gate_of(self._lane, strike.step)
                if trap.call is not None and self._harm(strike.harm, trap, trap.call, gate):
                    ride.struck.append(strike)
                    return waiting[place + 1 :]
                # The caller was killed by somebody else's harm, so this step comes again.
                trap.release(verdict=True)
            finally:
                for trap in traps:
                    if not trap.sprung.is_set():
                        self._stack.drop_trap(self._lane, trap)
        return waiting[1:]

    def _wait_for_one(self, ride: Ride, traps: list[Trap], give_up_at: float) -> int | None:
        look_at = 0.0
        while time.monotonic() < give_up_at:
            for place, trap in enumerate(traps):
                if trap.sprung.is_set():
                    # Nothing else of this run may be held meanwhile.
                    for other in traps[:place] + traps[place + 1 :]:
                        self._stack.drop_trap(self._lane, other)
                    return place
            if time.monotonic() > look_at:
                if self._has_ended(ride):
                    return None
                look_at = time.monotonic() + _LOOK_EVERY_S
            time.sleep(0.05)
        return None

    def _harm(self, harm: Harm, trap: Trap, call: Call, gate: Gate) -> bool:
        """Do harm; say whether it could be done."""
        stack, harmer = self._stack, self._stack.harmer

        def lost() -> None:
            trap.release(verdict=False)

        def passed() -> None:
            trap.release(verdict=True)

        def arrives() -> None:
            threading.Timer(self._draw.uniform(0.5, 4.0), passed).start()

        def comes_late() -> None:
            # Airflow's client waits for 5 s before it repeats a call; what is processed here takes less than a minute.
            threading.Timer(self._draw.uniform(6.0, 30.0), passed).start()

        # A task talks to Airflow through a process that outlives it, and tells of its death.
        own = passed if gate is stack.execution else lost
        actions: dict[Harm, Callable[[], bool]] = {
            Harm.KILL: lambda: harmer.kill_caller(call, own),
            Harm.KILL_THEN_ARRIVE: lambda: harmer.kill_caller(call, arrives),
            Harm.LOSE_WORKER: lambda: harmer.lose_worker(call, lost),
            Harm.KILL_TRIGGERER: lambda: harmer.kill_component("triggerer", passed, away=2.0),
            Harm.KILL_SCHEDULER: lambda: harmer.kill_component("scheduler", lost),
            Harm.KILL_API_SERVER: lambda: harmer.kill_api_server(lost),
            Harm.STALL: lambda: harmer.stall_triggerer(passed, _STALL_S),
            Harm.TAKE_OVER: lambda: harmer.take_over(passed),
            Harm.CUT: lambda: harmer.cut([gate] if gate is stack.execution else self._lane.gates, lost, _CUT_S),
            Harm.LOSE: lambda: _at_once(lost),
            Harm.LATE: lambda: _at_once(comes_late),
            Harm.BURST: lambda: _answers(gate, trap, _BUSY, lambda _: True),
            Harm.THROTTLE: lambda: _answers(gate, trap, _SLOWER, lambda _: True),
            Harm.UNKNOWN: lambda: _answers(gate, trap, _UNKNOWN, lambda later: later.path.startswith(call.path)),
        }
        return actions[harm]()


def _at_once(verdict: Callable[[], None]) -> bool:
    verdict()
    return True


def _answers(gate: Gate, trap: Trap, reply: Reply, wanted: Callable[[Call], bool]) -> bool:
    gate.answer_next(3 if reply is not _UNKNOWN else 2, wanted, reply)
    trap.release(reply)
    return True
