"""One run: the plan of its faults, their injection, and the verification of the result."""

from __future__ import annotations

import itertools
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devtools.airflow_api import FINISHED_RUN
from devtools.airflow_http import AirflowApiError
from devtools.airflow_names import Run
from devtools.chaos.faults import KILLS, Fault
from devtools.chaos.proxy import Call, Interceptor, Proxy, Reply
from devtools.chaos.records import (
    async_requests_of,
    is_running,
    restarted,
    started,
    statistics_violations,
    tasks_of,
    twice,
)
from devtools.chaos.steps import STEPS, ChaosStep, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from devtools.chaos.stack import ChaosStack, Lane

_LOOK_EVERY_S = 0.5
_CUT_S = 3.0
_STALL_S = 4.0
_TRIES = 6
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


class RunDriver:
    """
    Drives runs on one lane, one after the other.

    :param stack: Airflow, service and proxies.
    :param lane: The lane.
    :param seed: Seed of the random delays.
    :param patience: Seconds after which a run is given up.
    """

    def __init__(self, stack: ChaosStack, lane: Lane, seed: int, patience: float = 400.0) -> None:
        self._stack = stack
        self._lane = lane
        self._draw = random.Random(seed)
        self._patience = patience

    def drive(self, plan: RunPlan) -> RunResult:
        """
        Start a run, inject its faults, wait for its end, and verify it.

        :param plan: The plan.
        """
        start = time.monotonic()
        self._lane.restore()
        result = RunResult(plan, self._begin(plan))
        give_up_at = start + self._patience
        waiting = list(plan.injections)
        while waiting:
            waiting = self._inject_next(result, waiting, give_up_at)
        while not self._has_ended(result) and time.monotonic() < give_up_at:
            time.sleep(_LOOK_EVERY_S)
        result.seconds = time.monotonic() - start
        verify(self._stack, result)
        return result

    def _begin(self, plan: RunPlan) -> Run:
        run_id = f"chaos-{plan.number}"
        conf = {"lane": str(self._lane.number)}
        while True:
            try:
                return self._stack.act(lambda api: api.trigger(plan.variant.dag_id, conf, run_id))
            except OSError:
                time.sleep(1.0)
            except AirflowApiError as error:
                if error.status == 409:  # noqa: PLR2004 - the first answer was lost
                    return Run(plan.variant.dag_id, run_id)
                if not error.passing:
                    raise
                time.sleep(1.0)

    def _has_ended(self, result: RunResult) -> bool:
        try:
            result.state = self._stack.airflow.api.run_state(result.run)
        except (OSError, AirflowApiError):
            # The API server may be the one that was killed.
            return False
        return result.state in FINISHED_RUN

    # --------------------------------------------------------------------------------------------------------- faults

    def _inject_next(self, result: RunResult, waiting: list[Injection], give_up_at: float) -> list[Injection]:
        """Inject a fault at the first of these steps that is reached; return what is left, nothing if the run ended."""
        for _ in range(_TRIES):
            interceptors = [
                self._stack.intercept(self._lane, result.run.run_id, injection.step) for injection in waiting
            ]
            try:
                index = self._wait_for_one(result, interceptors, give_up_at)
                if index is None:
                    return []
                injection, interceptor = waiting[index], interceptors[index]
                proxy = self._stack.proxy_of(self._lane, injection.step)
                if interceptor.call is not None and self._inject(injection.fault, interceptor, interceptor.call, proxy):
                    result.injected.append(injection)
                    return waiting[index + 1 :]
                # Another run's fault has killed the caller, so this step will be reached again.
                interceptor.release(verdict=True)
            finally:
                for interceptor in interceptors:
                    if not interceptor.caught.is_set():
                        self._stack.drop_interceptor(self._lane, interceptor)
        return waiting[1:]

    def _wait_for_one(self, result: RunResult, interceptors: list[Interceptor], give_up_at: float) -> int | None:
        look_at = 0.0
        while time.monotonic() < give_up_at:
            for index, interceptor in enumerate(interceptors):
                if interceptor.caught.is_set():
                    # No other call of this run may be held meanwhile.
                    for other in interceptors[:index] + interceptors[index + 1 :]:
                        self._stack.drop_interceptor(self._lane, other)
                    return index
            if time.monotonic() > look_at:
                if self._has_ended(result):
                    return None
                look_at = time.monotonic() + _LOOK_EVERY_S
            time.sleep(0.05)
        return None

    def _inject(self, fault: Fault, interceptor: Interceptor, call: Call, proxy: Proxy) -> bool:
        """Inject a fault; return whether that was possible."""
        stack, injector = self._stack, self._stack.injector

        def lost() -> None:
            interceptor.release(verdict=False)

        def passed() -> None:
            interceptor.release(verdict=True)

        def arrives() -> None:
            threading.Timer(self._draw.uniform(0.5, 4.0), passed).start()

        def comes_late() -> None:
            # Airflow's client waits for 5 s before it repeats a call; what is processed here takes less than a minute.
            threading.Timer(self._draw.uniform(6.0, 30.0), passed).start()

        # A task talks to Airflow through its supervisor, which outlives it and reports its death.
        own = passed if proxy is stack.execution else lost
        actions: dict[Fault, Callable[[], bool]] = {
            Fault.KILL: lambda: injector.kill_caller(call, own),
            Fault.KILL_THEN_ARRIVE: lambda: injector.kill_caller(call, arrives),
            Fault.LOSE_WORKER: lambda: injector.lose_worker(call, lost),
            Fault.KILL_TRIGGERER: lambda: injector.kill_component("triggerer", passed, down=2.0),
            Fault.KILL_SCHEDULER: lambda: injector.kill_component("scheduler", lost),
            Fault.KILL_API_SERVER: lambda: injector.kill_api_server(lost),
            Fault.STALL: lambda: injector.stall_triggerer(passed, _STALL_S),
            Fault.TAKE_OVER: lambda: injector.take_over(passed),
            Fault.CUT: lambda: injector.cut([proxy] if proxy is stack.execution else self._lane.proxies, lost, _CUT_S),
            Fault.LOSE: lambda: _at_once(lost),
            Fault.LATE: lambda: _at_once(comes_late),
            Fault.BURST: lambda: _answers(proxy, interceptor, _BUSY, lambda _: True),
            Fault.THROTTLE: lambda: _answers(proxy, interceptor, _SLOWER, lambda _: True),
            Fault.UNKNOWN: lambda: _answers(
                proxy, interceptor, _UNKNOWN, lambda later: later.path.startswith(call.path)
            ),
        }
        return actions[fault]()


def _at_once(verdict: Callable[[], None]) -> bool:
    verdict()
    return True


def _answers(proxy: Proxy, interceptor: Interceptor, reply: Reply, wanted: Callable[[Call], bool]) -> bool:
    proxy.answer_next(3 if reply is not _UNKNOWN else 2, wanted, reply)
    interceptor.release(reply)
    return True


@dataclass(frozen=True, slots=True)
class Injection:
    """
    A fault at a step.

    :param step: The step.
    :param fault: The fault.
    """

    step: ChaosStep
    fault: Fault

    def __str__(self) -> str:
        return f"{self.step.number} {self.step.name}: {self.fault.value}"


@dataclass(frozen=True, slots=True)
class RunPlan:
    """
    How a run is started, and the faults that are injected into it.

    :param number: The run's number.
    :param variant: How the batch is run.
    :param injections: The faults, in the order of the steps.
    """

    number: int
    variant: Variant
    injections: tuple[Injection, ...]


# Some faults delay all runs by half a minute, and show little that a plain kill does not.
_WEIGHTS = {
    Fault.KILL: 9.0,
    Fault.KILL_THEN_ARRIVE: 3.0,
    Fault.LOSE: 2.0,
    Fault.LATE: 2.0,
    Fault.CUT: 1.5,
    Fault.LOSE_WORKER: 0.8,
    Fault.KILL_SCHEDULER: 0.25,
    Fault.KILL_API_SERVER: 0.25,
    Fault.TAKE_OVER: 0.7,
}
_SLOW = frozenset({Fault.LOSE_WORKER, Fault.KILL_SCHEDULER, Fault.TAKE_OVER})
_FAULTS_PER_RUN = (2, 3, 3, 4, 5)


def plans(
    seed: int, only: Iterable[int] = (), *, ways: Sequence[Variant] = tuple(Variant), quick: bool = False
) -> Iterator[RunPlan]:
    """
    Draw plans without end: every variant and every step in turn, the faults at random.

    :param seed: The same seed gives the same plans.
    :param only: Numbers of the steps at which faults are injected. Default: all.
    :param ways: Variants to choose from.
    :param quick: Leave out faults that Airflow notices after half a minute.
    """
    draw = random.Random(seed)
    numbers = frozenset(only) or frozenset(step.number for step in STEPS)
    waiting: dict[Variant, list[ChaosStep]] = {variant: [] for variant in Variant}
    number = 0
    while True:
        for variant in draw.sample(ways, len(ways)):
            possible = [step for step in STEPS if step.number in numbers and step.occurs(variant)]
            if not possible:
                continue
            steps: set[ChaosStep] = set()
            for _ in range(min(draw.choice(_FAULTS_PER_RUN), len(possible))):
                if not waiting[variant]:
                    waiting[variant] = draw.sample(possible, len(possible))
                steps.add(waiting[variant].pop())
            number += 1
            ordered = sorted(steps, key=lambda step: step.place)
            yield RunPlan(
                number, variant, tuple(Injection(step, _draw(draw, step, variant, quick=quick)) for step in ordered)
            )


def _draw(draw: random.Random, step: ChaosStep, variant: Variant, *, quick: bool) -> Fault:
    faults = [fault for fault in step.faults(variant) if not (quick and fault in _SLOW)]
    return draw.choices(faults, [_WEIGHTS.get(fault, 1.0) for fault in faults])[0]


@dataclass(slots=True)
class RunResult:
    """
    The result of a run.

    :param plan: Its plan.
    :param run: The run.
    :param injected: The faults that were injected.
    :param state: State of the run at the end.
    :param seconds: How long it took.
    :param created: Tasks the service has created for it.
    :param starts: How often the service started a task, for each map index and rerun.
    :param restarts: How often the service ran failed features of a task again, for each map index.
    :param orphans: Remote tasks that still ran when the run had ended.
    :param violations: What is wrong.
    """

    plan: RunPlan
    run: Run
    injected: list[Injection] = field(default_factory=list)
    state: str = ""
    seconds: float = 0.0
    created: int = 0
    starts: dict[tuple[int, int], int] = field(default_factory=dict)
    restarts: dict[int, int] = field(default_factory=dict)
    orphans: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """How many of the injected faults were kills."""
        return sum(injection.fault in KILLS for injection in self.injected)


def verify(stack: ChaosStack, result: RunResult) -> None:
    """
    Verify a run that has ended, and note what is wrong.

    :param stack: Airflow, service and proxies.
    :param result: The run; filled in.
    """
    (_verify_request if result.plan.variant.is_async else _verify_tasks)(stack, result)


def _verify_tasks(stack: ChaosStack, result: RunResult) -> None:
    variant = result.plan.variant
    tasks = tasks_of(stack, result.run)
    result.created = len(tasks)
    for intended in itertools.product(variant.map_indexes, variant.reruns):
        starts = sum(started(task) for intent, task in tasks if (intent.map_index, intent.rerun) == intended)
        result.starts[intended] = starts
        if starts != 1:
            result.violations.append(f"started {starts} times, map index {intended[0]}, rerun {intended[1]}")
    for index in variant.map_indexes:
        _verify_restarts(stack, result, index, [task for intent, task in tasks if intent.map_index == index])
    result.orphans = sum(is_running(task) for _, task in tasks)
    if result.orphans:
        result.violations.append(f"{result.orphans} orphans")
    if result.state != "success":
        result.violations.append(f"the run is {result.state or 'unknown'} after {result.seconds:.0f} s")
        return
    for index in variant.map_indexes:
        originals = {task["id"] for intent, task in tasks if intent.map_index == index and not intent.rerun}
        returned = _returned(stack, result.run, index)
        lost = variant.outcome != "DONE"
        if returned is None or (returned["outcome"], returned["delivered"]) != (
            variant.outcome,
            returned["total"] - lost,
        ):
            result.violations.append(f"wrong result, map index {index}: {returned}")
        elif returned["task_id"] not in originals:
            result.violations.append(f"result of another task, map index {index}: {returned['task_id']}")
        elif variant.is_statistical:
            features = {feature["name"] for feature in stack.sim.task(returned["task_id"])["features"]}
            result.violations += statistics_violations(stack.sim.bucket_folder, returned, features)


def _verify_request(stack: ChaosStack, result: RunResult) -> None:
    """Verify that the service has accepted one request for the run, and that the run has waited for it."""
    requests = async_requests_of(stack, result.run)
    result.created = len(requests)
    result.starts[-1, 0] = len(requests)
    if len(requests) != 1:
        result.violations.append(f"{len(requests)} requests were accepted and charged")
    # The service cannot cancel one, so nobody may have stopped waiting.
    result.orphans = sum(each["status"] == "RUNNING" for each in requests)
    if result.orphans:
        result.violations.append(f"{result.orphans} orphans")
    if result.state != "success":
        result.violations.append(f"the run is {result.state or 'unknown'} after {result.seconds:.0f} s")
        return
    returned = _returned(stack, result.run, -1)
    if returned is None or returned["outcome"] != "DONE" or returned["cost_pu"] is None:
        result.violations.append(f"wrong result: {returned}")
    elif returned["request_id"] not in {each["id"] for each in requests}:
        result.violations.append(f"result of another request: {returned['request_id']}")
    else:
        files = [stack.sim.bucket_folder / url.split("/", 3)[3] for url in returned["output_urls"].values()]
        result.violations += [f"{file.name} is not in the bucket" for file in files if not file.exists()]


def _verify_restarts(stack: ChaosStack, result: RunResult, index: int, tasks: Sequence[dict[str, Any]]) -> None:
    variant = result.plan.variant
    count = sum(restarted(task) for task in tasks)
    if variant.restarts:
        result.restarts[index] = count
    # One more for each attempt that may have been killed between the record and the request.
    most = variant.restarts + (result.kills if variant.restarts else 0)
    if not variant.restarts <= count <= most:
        result.violations.append(f"restarted {count} times, not {variant.restarts}..{most}, map index {index}")
    if again := sum(twice(stack.sim.task(task["id"])) for task in tasks):
        result.violations.append(f"{again} features were processed again after they had succeeded, map index {index}")


def _returned(stack: ChaosStack, run: Run, index: int) -> dict[str, Any] | None:
    for _ in range(60):
        try:
            returned: dict[str, Any] | None = stack.airflow.api.xcom(run.task("batch", index))
        except (OSError, AirflowApiError):
            time.sleep(1.0)
        else:
            return returned
    return None
