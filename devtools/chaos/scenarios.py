"""Scenarios: what users do to batches and when, and the remote tasks that are expected afterwards."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from devtools.chaos.faults import LONG_OUTAGE_S, OUTAGE_S, Outage, Target
from devtools.chaos.proxy import FailureMode
from devtools.chaos.stack import ENDING, ENDLESS, RESTARTING
from devtools.chaos.steps import STEPS, api_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterator, Sequence

PROCESSING = 0
_SHORT_OUTAGES = 6
# DAGs of the same variant with other settings.
_SUFFIXES = ("_timeout", "_deadline", "_progress", "_patient", "_new", "_adopt")


class Action(StrEnum):
    """What a user does, or a fault."""

    FAIL = "mark failed"
    SUCCEED = "mark success"
    CLEAR = "clear"
    CLEAR_STOPPED = "mark failed, clear"
    CLEAR_PARTIAL = "let features fail, clear"
    CLEAR_FAILED = "let the analysis fail, clear"
    CLEAR_SUCCESS = "let it succeed, clear"
    FAIL_RUN = "mark the run failed"
    DELETE_RUN = "delete the run"
    WAIT = "let it time out"
    KILL = "kill -9 the waiting process"
    FAIL_AND_KILL = "mark failed, kill -9 the triggerer"
    TWIN = "run it in a second Airflow"
    TWIN_FAIL = "mark failed in the second Airflow"
    TWIN_CLEAR = "clear in the second Airflow"


@dataclass(slots=True)
class Scenario:
    """
    One action on one run, what is expected of it, and its result.

    :param action: The action.
    :param variant: The DAG is ``chaos_<variant>``.
    :param step: Number of the step at which it is taken, while the call that marks the step is held. Default: while
        the remote task is processed.
    :param map_index: Map index of the task instance.
    :param running: How many remote tasks still run at the end, each with an Airflow task that waits for it.
    :param created: How many remote tasks there are at the end. Default: any number.
    :param starts: How often they were started, in total. Default: each once, and once more after each stop.
    :param restarts: How often their failed features were run again, in total. Default: any number.
    :param features: How many features each remote task has at the end, the oldest first. Default: any.
    :param state: State of the Airflow task at the end. Default: any.
    :param outage: An outage during and after the action. Default: none.
    :param number: Makes the run id unique.
    :param note: What Airflow answered where it refused, and other remarks.
    :param tasks: The service's own records at the end.
    :param violations: What is wrong.
    """

    action: Action
    variant: str
    step: int = PROCESSING
    map_index: int = -1
    running: int = 0
    created: int | None = None
    starts: int | None = None
    restarts: int | None = None
    features: tuple[int, ...] | None = None
    state: str | None = None
    outage: Outage | None = None
    number: int = 0
    note: str = ""
    tasks: list[dict[str, Any]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return f"{self.action.name.lower().replace('_', '-')}-{self.number}"

    @property
    def title(self) -> str:
        """The scenario in one line."""
        return f"{self.action.value}, {self.variant}, {self.when}"

    @property
    def when(self) -> str:
        """When the action is taken, in words."""
        if self.outage is not None:
            return str(self.outage)
        if self.action in AFTER_THE_END:
            return "when it has ended"
        step = next((step for step in STEPS if step.number == self.step), None)
        return f"{step.number} {step.name}" if step else "while it is processed"


AFTER_THE_END = frozenset({Action.CLEAR_PARTIAL, Action.CLEAR_FAILED, Action.CLEAR_SUCCESS})
"""Actions on runs that have ended."""


def of_ended_runs() -> list[Scenario]:
    """Return the scenarios of runs that have ended and are cleared."""
    found = []
    for variant in ("deferred", "blocking", "deferred_v1", "blocking_v1"):
        found += [
            # One of four tiles fails, and only that one is run again: by a rerun, or by a restart of the same task.
            Scenario(Action.CLEAR_PARTIAL, variant, state="success", restarts=1, **_same(1, (4,)))
            if api_of(variant).restartable
            else Scenario(Action.CLEAR_PARTIAL, variant, state="success", **_same(2, (4, 1))),
            Scenario(Action.CLEAR_SUCCESS, variant, created=2, starts=2, features=(4, 4), state="success"),
            Scenario(Action.CLEAR_FAILED, variant, created=2, starts=2, features=(0, 4), state="success"),
            Scenario(Action.CLEAR_PARTIAL, f"{variant}_new", created=2, starts=2, features=(4, 4), state="success"),
            Scenario(Action.CLEAR_SUCCESS, f"{variant}_adopt", created=1, starts=1, features=(4,), state="success"),
        ]
    found += [
        Scenario(Action.CLEAR_PARTIAL, variant, state="success", **_same(2, (4, 1)))
        for variant in ("deferred_statistical", "blocking_statistical")
    ]
    return found


def _same(count: int, features: tuple[int, ...]) -> dict[str, Any]:
    return {"created": count, "starts": count, "features": features}


def of_running_runs() -> list[Scenario]:
    """Return the scenarios of runs whose remote tasks still run, the most telling first."""
    found = []
    for variant in ("deferred", "blocking", "deferred_v1", "blocking_v1"):
        # Airflow kills the worker of a task that is cleared, which stops the remote task; so it is started again.
        once = 1 if variant.startswith("deferred") else None
        # What was stopped is started again, or replaced.
        again = 1 if api_of(variant).can.resume else 2
        found += [
            Scenario(Action.FAIL, variant),
            Scenario(Action.CLEAR, variant, running=1, created=1, starts=once),
            Scenario(Action.CLEAR_STOPPED, variant, running=1, created=again, starts=2),
            Scenario(Action.WAIT, f"{variant}_timeout"),
            Scenario(Action.FAIL, variant, step=12),
            Scenario(Action.FAIL, variant, step=13),
            Scenario(Action.CLEAR, variant, step=12, running=1, created=1),
            Scenario(Action.CLEAR, variant, step=13, running=1, created=1),
            Scenario(Action.FAIL, variant, step=4),
            Scenario(Action.CLEAR, variant, step=4, running=1, created=1, starts=1),
            Scenario(Action.FAIL, variant, step=6),
            Scenario(Action.SUCCEED, variant),
            Scenario(Action.FAIL_RUN, variant),
            Scenario(Action.FAIL_RUN, f"{variant}_mapped"),
            Scenario(Action.FAIL, f"{variant}_mapped", map_index=0, running=1),
            Scenario(Action.CLEAR, f"{variant}_mapped", map_index=0, running=2, created=2, starts=once and 2),
            Scenario(Action.CLEAR, f"{variant}_new", running=1, created=2, starts=2),
            Scenario(Action.CLEAR, f"{variant}_new", step=13, running=1, created=2, starts=2),
            Scenario(Action.CLEAR_STOPPED, f"{variant}_new", running=1, created=2, starts=2),
            Scenario(Action.CLEAR, f"{variant}_adopt", running=1, created=1, starts=once),
        ]
    found += [
        Scenario(Action.FAIL, "deferred", step=8),
        Scenario(Action.CLEAR, "deferred", step=8, running=1, created=1, starts=1),
        Scenario(Action.FAIL, "deferred", step=9),
        Scenario(Action.DELETE_RUN, "deferred", running=1),
    ]
    for variant in ("deferred_statistical", "blocking_statistical"):
        once = 1 if variant.startswith("deferred") else None
        found += [
            Scenario(Action.FAIL, variant),
            Scenario(Action.CLEAR, variant, running=1, created=1, starts=once),
            Scenario(Action.WAIT, f"{variant}_timeout"),
            Scenario(Action.FAIL, variant, step=13),
            Scenario(Action.CLEAR, variant, step=4, running=1, created=1, starts=1),
            Scenario(Action.SUCCEED, variant),
            Scenario(Action.FAIL_RUN, variant),
        ]
    found.append(Scenario(Action.DELETE_RUN, "deferred_statistical", running=1))
    return found


def of_restarts() -> list[Scenario]:
    """Return the scenarios of runs in which failed features are run again in the same remote task."""
    found = []
    for variant in ("deferred_v1_restart", "blocking_v1_restart"):
        found += [Scenario(Action.FAIL, variant, step=step, created=1, starts=1, restarts=1) for step in (37, 38, 40)]
        # Airflow kills the worker some seconds later: the restart may have been sent by then.
        found.append(Scenario(Action.FAIL, variant, step=36, created=1, starts=1))
        found.append(Scenario(Action.CLEAR, variant, step=38, running=1, created=1, starts=1, restarts=1))
        found.append(Scenario(Action.CLEAR, variant, step=40, running=1, created=1, starts=1, restarts=1))
        found.append(Scenario(Action.FAIL_RUN, variant, step=38, created=1, starts=1, restarts=1))
    return found


def of_outages() -> list[Scenario]:
    """Return the scenarios of outages that last longer than any retry, the most telling first."""
    tokens, api, bucket = Target.TOKENS, Target.API, Target.BUCKET
    busy, reset, silent = FailureMode.BUSY, FailureMode.RESET, FailureMode.SILENT

    def end(action: Action, variant: str, target: Target, mode: FailureMode, running: int = 0) -> Scenario:
        state = "failed" if action is Action.WAIT else None
        dag = f"{variant}_deadline" if action is Action.WAIT else f"{variant}_progress"
        # Long enough for the retry in which the deadline passes and for the one that stops the remote task.
        outage = Outage(target, mode, LONG_OUTAGE_S if action is Action.WAIT else OUTAGE_S)
        return Scenario(action, dag, running=running, created=1, starts=1, state=state, outage=outage)

    def kill(variant: str, target: Target, mode: FailureMode) -> Scenario:
        return end(Action.KILL, variant, target, mode, running=1)

    return [
        end(Action.FAIL, "deferred", tokens, busy),
        end(Action.WAIT, "deferred", tokens, busy),
        end(Action.FAIL, "blocking", api, busy),
        end(Action.WAIT, "blocking", tokens, busy),
        kill("deferred", tokens, silent),
        end(Action.FAIL_AND_KILL, "deferred", api, busy),
        # The short form ends here, see _SHORT_OUTAGES.
        end(Action.FAIL, "blocking", tokens, busy),
        end(Action.WAIT, "deferred", api, reset),
        end(Action.WAIT, "blocking", api, busy),
        end(Action.FAIL, "deferred", api, silent),
        kill("blocking", tokens, busy),
        kill("deferred", api, busy),
        kill("blocking", api, reset),
        end(Action.FAIL_AND_KILL, "deferred", tokens, busy),
        end(Action.FAIL, "deferred", bucket, silent),
        end(Action.WAIT, "deferred", bucket, busy),
        kill("deferred", bucket, busy),
        end(Action.FAIL, "blocking", bucket, busy),
        end(Action.WAIT, "blocking", bucket, silent),
        kill("blocking", bucket, reset),
        end(Action.FAIL, "deferred", tokens, silent),
        end(Action.WAIT, "deferred", tokens, silent),
        end(Action.WAIT, "blocking", api, silent),
    ]


def of_outages_at_the_end() -> list[Scenario]:
    """Return the scenarios of an outage of a bucket that already has the results."""
    ways = {
        "deferred_patient": FailureMode.BUSY,
        "blocking_patient": FailureMode.SILENT,
        "deferred_statistical_patient": FailureMode.RESET,
        "blocking_statistical_patient": FailureMode.BUSY,
    }
    return [
        Scenario(Action.KILL, way, created=1, starts=1, state="success", outage=Outage(Target.BUCKET, mode))
        for way, mode in ways.items()
    ]


def of_two_airflows() -> list[Scenario]:
    """Return the scenarios of two Airflows with DAGs and runs of the same names on one account."""
    found = []
    for variant in ("deferred", "blocking", "deferred_statistical"):
        found += [
            Scenario(Action.TWIN_FAIL, variant, running=1, created=2, starts=2),
            Scenario(Action.TWIN_CLEAR, variant, running=2, created=2, starts=2),
        ]
    return found


def way_of(variant: str) -> str:
    """
    Return the variant of a scenario's DAG, without its other settings.

    :param variant: The DAG without ``chaos_``.
    """
    for suffix in _SUFFIXES:
        variant = variant.removesuffix(suffix)
    return variant


def selected(scenarios: Collection[Scenario], ways: Collection[str], words: str) -> list[Scenario]:
    """
    Return the scenarios that the command line selects.

    :param scenarios: All scenarios.
    :param ways: Variants to include.
    :param words: Part of the name of the action.
    """
    return [scenario for scenario in scenarios if way_of(scenario.variant) in ways and words in scenario.action.value]


class GroupName(StrEnum):
    """What the scenarios of a group have in common."""

    ENDED = "ended"
    RUNNING = "running"
    RESTARTS = "restarts"
    TWINS = "twins"
    OUTAGES = "outages"


QUICK = (GroupName.ENDED, GroupName.RUNNING, GroupName.RESTARTS)
"""The groups that do not take minutes."""


@dataclass(frozen=True, slots=True)
class ScenarioGroup:
    """
    Scenarios that run at the same time.

    :param name: Its name.
    :param script: The script of the simulated service.
    :param scenarios: The scenarios.
    """

    name: GroupName
    script: dict[str, Any]
    scenarios: Sequence[Scenario]


def _all(*, long: bool) -> Iterator[ScenarioGroup]:
    yield ScenarioGroup(GroupName.ENDED, ENDING, of_ended_runs())
    yield ScenarioGroup(GroupName.RUNNING, ENDLESS, of_running_runs())
    yield ScenarioGroup(GroupName.RESTARTS, RESTARTING, of_restarts())
    yield ScenarioGroup(GroupName.TWINS, ENDLESS, of_two_airflows())
    # Not together with others: the triggerer is killed here, and without one Airflow calls no on_kill.
    yield ScenarioGroup(GroupName.OUTAGES, ENDLESS, of_outages() if long else of_outages()[:_SHORT_OUTAGES])
    if long:
        yield ScenarioGroup(GroupName.OUTAGES, ENDING, of_outages_at_the_end())


def groups(options: argparse.Namespace) -> list[ScenarioGroup]:
    """
    Return the groups that the command line selects.

    :param options: The command line.
    """
    numbers = itertools.count()
    chosen = []
    for group in _all(long=options.long):
        scenarios = selected(group.scenarios, options.variants, options.actions)[: options.scenarios]
        if group.name not in options.groups or not scenarios:
            continue
        for scenario in scenarios:
            scenario.number = next(numbers)
        chosen.append(ScenarioGroup(group.name, group.script, scenarios))
    return chosen
