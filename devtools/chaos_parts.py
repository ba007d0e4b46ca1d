"""Which scenes are played, and in which order: those that need the same service go together."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from devtools.chaos_actions import (
    Scene,
    chosen,
    of_ended_runs,
    of_outages,
    of_outages_at_the_end,
    of_running_runs,
    of_two_airflows,
)
from devtools.chaos_stack import ENDING, ENDLESS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

_SHORT_OUTAGES = 6


class PartName(StrEnum):
    """What the scenes of a part have in common."""

    ENDED = "ended"
    RUNNING = "running"
    TWINS = "twins"
    OUTAGES = "outages"


QUICK = (PartName.ENDED, PartName.RUNNING)
"""The parts without those that take minutes."""


@dataclass(frozen=True, slots=True)
class Part:
    """
    Scenes that are played at the same time.

    :param name: What they have in common.
    :param script: What the service does meanwhile.
    :param scenes: The scenes.
    """

    name: PartName
    script: dict[str, Any]
    scenes: Sequence[Scene]


def _all(*, long: bool) -> Iterator[Part]:
    yield Part(PartName.ENDED, ENDING, of_ended_runs())
    yield Part(PartName.RUNNING, ENDLESS, of_running_runs())
    yield Part(PartName.TWINS, ENDLESS, of_two_airflows())
    # Apart from all others: the triggerer is killed here, and Airflow tells nobody of what is marked meanwhile.
    yield Part(PartName.OUTAGES, ENDLESS, of_outages() if long else of_outages()[:_SHORT_OUTAGES])
    if long:
        yield Part(PartName.OUTAGES, ENDING, of_outages_at_the_end())


def parts(options: argparse.Namespace) -> list[Part]:
    """
    Return the parts that are asked for.

    :param options: The command line.
    """
    numbers = itertools.count()
    asked = []
    for part in _all(long=options.long):
        scenes = chosen(part.scenes, options.variants, options.actions)[: options.scenes]
        if part.name not in options.parts or not scenes:
            continue
        for scene in scenes:
            scene.number = next(numbers)
        asked.append(Part(part.name, part.script, scenes))
    return asked
