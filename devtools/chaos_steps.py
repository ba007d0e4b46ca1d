"""The life of a task, step by step: which call marks each step, and what can be done to it there."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from devtools.chaos_gate import Call

_LIST = re.compile(r"/process$")
_ONE = re.compile(r"/process/[0-9a-f-]{36}$")
_ANALYSE = re.compile(r"/process/[0-9a-f-]{36}/analyse$")
_START = re.compile(r"/process/[0-9a-f-]{36}/start$")
_STORE = re.compile(r"/store/ti/[^/]+/sentinelhub_batch$")
_STATE = re.compile(r"/task-instances/[0-9a-f-]{36}/state$")
_RUN = re.compile(r"/task-instances/[0-9a-f-]{36}/run$")
_DATABASE = re.compile(r"/execution-[^/]+\.sqlite$")
_FEATURES = re.compile(r"/retry-[^/]+\.gpkg$")
_TABLE = re.compile(r"/report-[^/]+\.parquet$")

Place = Literal["service", "bucket", "airflow"]
Held = Literal["before", "after"]


class Variant(StrEnum):
    """A way to run a batch; the DAG is named after it."""

    DEFERRED = "deferred"
    BLOCKING = "blocking"
    DEFERRED_MAPPED = "deferred_mapped"
    BLOCKING_MAPPED = "blocking_mapped"
    DEFERRED_ANALYSE = "deferred_analyse"
    BLOCKING_ANALYSE = "blocking_analyse"
    DEFERRED_RESTART = "deferred_restart"
    BLOCKING_RESTART = "blocking_restart"

    @property
    def dag_id(self) -> str:
        """The DAG."""
        return f"chaos_{self.value}"

    @property
    def deferred(self) -> bool:
        """Whether the wait is in the triggerer."""
        return self.value.startswith("deferred")

    @property
    def analyses(self) -> bool:
        """Whether the analysis is asked for before the start."""
        return self.value.endswith("analyse")

    @property
    def rounds(self) -> tuple[int, ...]:
        """The task itself, and each restart of what failed in it."""
        return (0, 1) if self.value.endswith("restart") else (0,)

    @property
    def map_indexes(self) -> tuple[int, ...]:
        """The task instances."""
        return (0, 1) if self.value.endswith("mapped") else (-1,)


class Harm(StrEnum):
    """What is done while a call is held."""

    KILL = "kill -9 the caller"
    KILL_THEN_ARRIVE = "kill -9 the caller, its call still arrives"
    LOSE_WORKER = "kill -9 worker and supervisor"
    KILL_TRIGGERER = "kill -9 the triggerer"
    KILL_SCHEDULER = "kill -9 the scheduler and all workers"
    KILL_API_SERVER = "kill -9 the API server"
    STALL = "stop the triggerer for 4 s"
    TAKE_OVER = "stop the triggerer until another has taken over"
    CUT = "cut the network for 3 s"
    LOSE = "lose this call, or its answer"
    BURST = "answer 503 four times"
    THROTTLE = "answer 429 four times"
    UNKNOWN = "answer 404 three times"


KILLS = frozenset(
    {
        Harm.KILL,
        Harm.KILL_THEN_ARRIVE,
        Harm.LOSE_WORKER,
        Harm.KILL_TRIGGERER,
        Harm.KILL_SCHEDULER,
        Harm.KILL_API_SERVER,
        Harm.TAKE_OVER,
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """
    A point in the life of a task.

    :param number: Its number.
    :param name: What it is called in the tables.
    :param place: Whom the call that marks it is for.
    :param method: Its method.
    :param path: What its path looks like.
    :param held: Before the other side hears of it, or after it has acted.
    :param words: What the request and its answer have in them.
    :param deferred: Whether it occurs when the wait is deferred.
    :param blocking: Whether it occurs when it is not.
    :param analyse: Whether it occurs only (True), or never (False), when the analysis comes first.
    :param restart: Whether it occurs only when failed features are run again.
    :param in_trigger: Whether the trigger makes the call, where there is one.
    :param fresh: Whether the service may not know the task's id yet.
    """

    number: int
    name: str
    place: Place
    method: str
    path: re.Pattern[str]
    held: Held
    words: tuple[str, ...] = ()
    deferred: bool = True
    blocking: bool = True
    analyse: bool | None = None
    restart: bool = False
    in_trigger: bool = False
    fresh: bool = False

    def occurs(self, variant: Variant) -> bool:
        """
        Whether this step is in the life of a task.

        :param variant: How the task is run.
        """
        if self.analyse is not None and self.analyse is not variant.analyses:
            return False
        if self.restart and len(variant.rounds) == 1:
            return False
        return self.deferred if variant.deferred else self.blocking

    def marks(self, call: Call) -> bool:
        """
        Whether a call marks this step.

        :param call: The call.
        """
        return (
            call.method == self.method
            and (call.reply is not None) is (self.held == "after")
            and self.path.search(call.path) is not None
            and all(word.encode() in call.body + (call.reply.body if call.reply else b"") for word in self.words)
        )

    def harms(self, variant: Variant) -> Iterator[Harm]:
        """
        Give what can be done here.

        :param variant: How the task is run.
        """
        by_trigger = self.in_trigger and variant.deferred
        yield Harm.KILL
        if self.held == "before" and self.place != "airflow":
            yield Harm.KILL_THEN_ARRIVE
        yield from (Harm.CUT, Harm.LOSE, Harm.KILL_SCHEDULER, Harm.KILL_API_SERVER)
        if by_trigger:
            yield from (Harm.STALL, Harm.TAKE_OVER)
        else:
            yield Harm.LOSE_WORKER
            if variant.deferred:
                yield Harm.KILL_TRIGGERER
        if self.place == "service":
            yield Harm.BURST
            if self.held == "before":
                yield Harm.THROTTLE
            if self.fresh:
                yield Harm.UNKNOWN


def _status(status: str, action: str | None = None) -> tuple[str, ...]:
    found = (f'"status":"{status}"',)
    return found if action is None else (*found, f'"userAction":"{action}"')


# Only a restart takes its features from a GeoPackage.
_RESTART = ("geopackage",)
_REPROCESSING, _REDONE = (*_RESTART, *_status("PROCESSING")), (*_RESTART, *_status("DONE"))

STEPS = (
    Step(1, "looking for an earlier task", "service", "GET", _LIST, "before"),
    Step(2, "create on its way", "service", "POST", _LIST, "before"),
    Step(3, "created, answer on its way", "service", "POST", _LIST, "after"),
    Step(4, "created, before the record", "airflow", "PUT", _STORE, "before"),
    Step(5, "recorded", "airflow", "PUT", _STORE, "after"),
    Step(6, "before the deferral", "airflow", "PATCH", _STATE, "before", ('"deferred"',), blocking=False),
    Step(7, "deferred, not yet taken", "airflow", "PATCH", _STATE, "after", ('"deferred"',), blocking=False),
    Step(8, "first look", "service", "GET", _ONE, "after", _status("CREATED", "NONE"), in_trigger=True, fresh=True),
    Step(9, "analyse on its way", "service", "POST", _ANALYSE, "before", analyse=True, in_trigger=True),
    Step(10, "analysing, answer on its way", "service", "POST", _ANALYSE, "after", analyse=True, in_trigger=True),
    Step(11, "start on its way", "service", "POST", _START, "before", in_trigger=True, fresh=True),
    Step(12, "started, answer on its way", "service", "POST", _START, "after", in_trigger=True),
    Step(13, "analysing", "service", "GET", _ONE, "after", _status("ANALYSING"), analyse=False, in_trigger=True),
    Step(14, "processing", "service", "GET", _ONE, "after", _status("PROCESSING"), in_trigger=True),
    Step(15, "ended, before the event", "service", "GET", _ONE, "after", _status("DONE"), in_trigger=True),
    Step(16, "woken up", "airflow", "PATCH", _RUN, "after", ('"execute_complete"',), blocking=False),
    Step(17, "reading the report", "bucket", "GET", _DATABASE, "before"),
    Step(18, "lost features on their way", "bucket", "PUT", _FEATURES, "before", restart=True),
    Step(19, "restart: create on its way", "service", "POST", _LIST, "before", _RESTART, restart=True),
    Step(20, "restart: created, answer on its way", "service", "POST", _LIST, "after", _RESTART, restart=True),
    Step(21, "restart: created, before the record", "airflow", "PUT", _STORE, "before", ('["',), restart=True),
    Step(22, "restart: processing", "service", "GET", _ONE, "after", _REPROCESSING, in_trigger=True, restart=True),
    Step(
        23, "restart: ended, before the event", "service", "GET", _ONE, "after", _REDONE, in_trigger=True, restart=True
    ),
    Step(24, "table written", "bucket", "PUT", _TABLE, "after"),
    Step(25, "success on its way", "airflow", "PATCH", _STATE, "before", ('"success"',)),
    Step(26, "success, answer on its way", "airflow", "PATCH", _STATE, "after", ('"success"',)),
)


@dataclass(frozen=True, slots=True)
class Strike:
    """
    One harm at one step.

    :param step: Where.
    :param harm: What.
    """

    step: Step
    harm: Harm

    def __str__(self) -> str:
        return f"{self.step.number} {self.step.name}: {self.harm.value}"


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What one run has to go through.

    :param number: The run's number.
    :param variant: How the batch is run.
    :param strikes: In the order of the task's life.
    """

    number: int
    variant: Variant
    strikes: tuple[Strike, ...]


# Some harms hold everybody up for half a minute, and most of what they show is shown by a plain kill.
_WEIGHTS = {
    Harm.KILL: 9.0,
    Harm.KILL_THEN_ARRIVE: 3.0,
    Harm.LOSE: 2.0,
    Harm.CUT: 1.5,
    Harm.LOSE_WORKER: 0.8,
    Harm.KILL_SCHEDULER: 0.25,
    Harm.KILL_API_SERVER: 0.25,
    Harm.TAKE_OVER: 0.7,
}
_SLOW = frozenset({Harm.LOSE_WORKER, Harm.KILL_SCHEDULER, Harm.TAKE_OVER})
_STRIKES = (2, 3, 3, 4, 5)


def plans(
    seed: int, only: Iterable[int] = (), *, ways: Sequence[Variant] = tuple(Variant), quick: bool = False
) -> Iterator[Plan]:
    """
    Draw plans for ever: every variant and every step in turn, the harms at random.

    :param seed: The same seed gives the same plans.
    :param only: Numbers of the steps to keep to; all where there are none.
    :param ways: Variants to keep to.
    :param quick: Leave out what takes Airflow half a minute to notice.
    """
    draw = random.Random(seed)
    numbers = frozenset(only) or frozenset(step.number for step in STEPS)
    waiting: dict[Variant, list[Step]] = {variant: [] for variant in Variant}
    number = 0
    while True:
        for variant in draw.sample(ways, len(ways)):
            possible = [step for step in STEPS if step.number in numbers and step.occurs(variant)]
            if not possible:
                continue
            steps: set[Step] = set()
            for _ in range(min(draw.choice(_STRIKES), len(possible))):
                if not waiting[variant]:
                    waiting[variant] = draw.sample(possible, len(possible))
                steps.add(waiting[variant].pop())
            number += 1
            ordered = sorted(steps, key=lambda step: step.number)
            yield Plan(
                number, variant, tuple(Strike(step, _draw(draw, step, variant, quick=quick)) for step in ordered)
            )


def _draw(draw: random.Random, step: Step, variant: Variant, *, quick: bool) -> Harm:
    harms = [harm for harm in step.harms(variant) if not (quick and harm in _SLOW)]
    return draw.choices(harms, [_WEIGHTS.get(harm, 1.0) for harm in harms])[0]
