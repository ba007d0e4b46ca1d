"""What each run has to go through: drawn at random, so that every step of every variant has its turn."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devtools.chaos_steps import STEPS, Harm, Step
from devtools.chaos_variants import Variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


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
    Harm.LATE: 2.0,
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
