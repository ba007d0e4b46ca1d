"""What users do to batches, at moments that matter, and what should become of the remote tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from devtools.chaos_gate import Manner
from devtools.chaos_outages import LASTS_S, LONGER_S, Outage, Place
from devtools.chaos_steps import STEPS

if TYPE_CHECKING:
    from collections.abc import Collection

PROCESSING = 0
# How the DAGs that need more than the way of running them are called.
_SUFFIXES = ("_timeout", "_deadline", "_progress", "_patient", "_new", "_adopt")


class Action(StrEnum):
    """What a user does, or what is done to Airflow."""

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
    KILL = "kill -9 who waits"
    FAIL_AND_KILL = "mark failed, kill -9 the triggerer"
    TWIN = "run it in a second Airflow"
    TWIN_FAIL = "mark failed in the second Airflow"
    TWIN_CLEAR = "clear in the second Airflow"


@dataclass(slots=True)
class Scene:
    """
    One action on one run, and what came of it.

    :param action: What is done.
    :param variant: The DAG is ``chaos_<variant>``.
    :param step: Number of the step at which it is done, while the call that marks it is held; 0 for: while the remote
        task is processed.
    :param map_index: The task instance it is done to.
    :param running: How many remote tasks may run on: those that are waited for.
    :param created: How many remote tasks there are in the end; ``None`` where it is not for this scene to say.
    :param starts: How often any of them was started; ``None`` for: each once, and once more after each stop.
    :param features: How many features each remote task has in the end, the oldest first; ``None`` for any.
    :param state: State of the Airflow task in the end; ``None`` for any.
    :param outage: Who is out of order when it is done, and afterwards.
    :param number: Makes the run's name.
    :param said: What Airflow answered, where it refused, or what else there is to say.
    :param tasks: The service's own records in the end.
    :param faults: What is wrong.
    """

    action: Action
    variant: str
    step: int = PROCESSING
    map_index: int = -1
    running: int = 0
    created: int | None = None
    starts: int | None = None
    features: tuple[int, ...] | None = None
    state: str | None = None
    outage: Outage | None = None
    number: int = 0
    said: str = ""
    tasks: list[dict[str, Any]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        """The run's name."""
        return f"{self.action.name.lower().replace('_', '-')}-{self.number}"

    @property
    def title(self) -> str:
        """What it is, in a line."""
        return f"{self.action.value}, {self.variant}, {self.when}"

    @property
    def when(self) -> str:
        """The moment, in words."""
        if self.outage is not None:
            return str(self.outage)
        if self.action in AFTER_THE_END:
            return "when it has ended"
        step = next((step for step in STEPS if step.number == self.step), None)
        return f"{step.number} {step.name}" if step else "while it is processed"


AFTER_THE_END = frozenset({Action.CLEAR_PARTIAL, Action.CLEAR_FAILED, Action.CLEAR_SUCCESS})
"""What is done to runs that have ended."""


def of_ended_runs() -> list[Scene]:
    """Return what users do to runs that have ended: clear them."""
    found = []
    for variant in ("deferred", "blocking"):
        found += [
            # One of four tiles is lost, and only that one is run again.
            Scene(Action.CLEAR_PARTIAL, variant, created=2, starts=2, features=(4, 1), state="success"),
            Scene(Action.CLEAR_SUCCESS, variant, created=2, starts=2, features=(4, 4), state="success"),
            Scene(Action.CLEAR_FAILED, variant, created=2, starts=2, features=(0, 4), state="success"),
            Scene(Action.CLEAR_PARTIAL, f"{variant}_new", created=2, starts=2, features=(4, 4), state="success"),
            Scene(Action.CLEAR_SUCCESS, f"{variant}_adopt", created=1, starts=1, features=(4,), state="success"),
            Scene(
                Action.CLEAR_PARTIAL, f"{variant}_statistical", created=2, starts=2, features=(4, 1), state="success"
            ),
        ]
    return found


def of_running_runs() -> list[Scene]:
    """Return what users do to runs whose remote tasks run, those that show most first."""
    found = []
    for variant in ("deferred", "blocking"):
        # Airflow kills a worker whose task is cleared, and that one stops the remote task: it is started again.
        once = 1 if variant == "deferred" else None
        found += [
            Scene(Action.FAIL, variant),
            Scene(Action.CLEAR, variant, running=1, created=1, starts=once),
            Scene(Action.CLEAR_STOPPED, variant, running=1, created=1, starts=2),
            Scene(Action.WAIT, f"{variant}_timeout"),
            Scene(Action.FAIL, variant, step=12),
            Scene(Action.FAIL, variant, step=13),
            Scene(Action.CLEAR, variant, step=12, running=1, created=1),
            Scene(Action.CLEAR, variant, step=13, running=1, created=1),
            Scene(Action.FAIL, variant, step=4),
            Scene(Action.CLEAR, variant, step=4, running=1, created=1, starts=1),
            Scene(Action.FAIL, variant, step=6),
            Scene(Action.SUCCEED, variant),
            Scene(Action.FAIL_RUN, variant),
            Scene(Action.FAIL_RUN, f"{variant}_mapped"),
            Scene(Action.FAIL, f"{variant}_mapped", map_index=0, running=1),
            Scene(Action.CLEAR, f"{variant}_mapped", map_index=0, running=2, created=2, starts=once and 2),
            Scene(Action.CLEAR, f"{variant}_new", running=1, created=2, starts=2),
            Scene(Action.CLEAR, f"{variant}_new", step=13, running=1, created=2, starts=2),
            Scene(Action.CLEAR_STOPPED, f"{variant}_new", running=1, created=2, starts=2),
            Scene(Action.CLEAR, f"{variant}_adopt", running=1, created=1, starts=once),
        ]
    found += [
        Scene(Action.FAIL, "deferred", step=8),
        Scene(Action.CLEAR, "deferred", step=8, running=1, created=1, starts=1),
        Scene(Action.FAIL, "deferred", step=9),
        Scene(Action.DELETE_RUN, "deferred", running=1),
    ]
    for variant in ("deferred_statistical", "blocking_statistical"):
        once = 1 if variant.startswith("deferred") else None
        found += [
            Scene(Action.FAIL, variant),
            Scene(Action.CLEAR, variant, running=1, created=1, starts=once),
            Scene(Action.WAIT, f"{variant}_timeout"),
            Scene(Action.FAIL, variant, step=13),
            Scene(Action.CLEAR, variant, step=4, running=1, created=1, starts=1),
            Scene(Action.SUCCEED, variant),
            Scene(Action.FAIL_RUN, variant),
        ]
    found.append(Scene(Action.DELETE_RUN, "deferred_statistical", running=1))
    return found


def of_outages() -> list[Scene]:
    """Return what users and time do while somebody is out of order for longer than any retry, the best first."""
    tokens, api, bucket = Place.TOKENS, Place.API, Place.BUCKET
    busy, reset, silent = Manner.BUSY, Manner.RESET, Manner.SILENT

    def end(action: Action, variant: str, place: Place, manner: Manner, running: int = 0) -> Scene:
        state = "failed" if action is Action.WAIT else None
        dag = f"{variant}_deadline" if action is Action.WAIT else f"{variant}_progress"
        # One retry begins when the deadline passes, and another one is the stop.
        outage = Outage(place, manner, LONGER_S if action is Action.WAIT else LASTS_S)
        return Scene(action, dag, running=running, created=1, starts=1, state=state, outage=outage)

    def kill(variant: str, place: Place, manner: Manner) -> Scene:
        return end(Action.KILL, variant, place, manner, running=1)

    return [
        end(Action.FAIL, "deferred", tokens, busy),
        end(Action.WAIT, "deferred", tokens, busy),
        end(Action.FAIL, "blocking", api, busy),
        end(Action.WAIT, "blocking", tokens, busy),
        kill("deferred", tokens, silent),
        end(Action.FAIL_AND_KILL, "deferred", api, busy),
        # Up to here they are in the short form, too.
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


def of_outages_at_the_end() -> list[Scene]:
    """Return what is done while a bucket is out of order in which the results lie already."""
    ways = {
        "deferred_patient": Manner.BUSY,
        "blocking_patient": Manner.SILENT,
        "deferred_statistical_patient": Manner.RESET,
        "blocking_statistical_patient": Manner.BUSY,
    }
    return [
        Scene(Action.KILL, way, created=1, starts=1, state="success", outage=Outage(Place.BUCKET, manner))
        for way, manner in ways.items()
    ]


def of_two_airflows() -> list[Scene]:
    """Return what is done where two Airflows have DAGs and runs of the same names, and one account."""
    found = []
    for variant in ("deferred", "blocking", "deferred_statistical"):
        found += [
            Scene(Action.TWIN_FAIL, variant, running=1, created=2, starts=2),
            Scene(Action.TWIN_CLEAR, variant, running=2, created=2, starts=2),
        ]
    return found


def way_of(variant: str) -> str:
    """
    Return the way of running a batch which a scene's DAG is about, as the variants name it.

    :param variant: The DAG without ``chaos_``.
    """
    for suffix in _SUFFIXES:
        variant = variant.removesuffix(suffix)
    return variant


def chosen(scenes: Collection[Scene], ways: Collection[str], words: str) -> list[Scene]:
    """
    Return those scenes that are asked for.

    :param scenes: All.
    :param ways: Variants to keep to.
    :param words: What the action has to contain.
    """
    return [scene for scene in scenes if way_of(scene.variant) in ways and words in scene.action.value]
