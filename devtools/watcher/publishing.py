"""Items as a catalog publishes them: in any order, late, processed again, and received by two stations."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

COLLECTION: Final = "sentinel-2-l2a"
PERIOD: Final = timedelta(days=10)
_MOST_LATE = timedelta(days=5)
_TILES = tuple(f"32T{first}{second}" for first in "LMNPQ" for second in "MNPQR")


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What is published, and what that is.

    :param waves: The items, in the order in which they are published.
    :param acquisitions: Number of acquisitions.
    :param late: How many of them are published late.
    :param reprocessed: How many are processed again.
    :param doubled: How many were received by two stations.
    """

    waves: list[list[dict[str, Any]]]
    acquisitions: int
    late: int
    reprocessed: int
    doubled: int


def plan(count: int, waves: int, seed: int, now: datetime | None = None) -> Plan:
    """
    Plan what is published.

    :param count: How many acquisitions.
    :param waves: In how many parts, which stand for ten days.
    :param seed: Chooses everything.
    :param now: When the ten days end.
    """
    chance = random.Random(seed)
    begin = (now or datetime.now(UTC)).replace(microsecond=0) - PERIOD
    published: list[tuple[datetime, dict[str, Any]]] = []
    late, again, doubled = (set(chance.sample(range(count), count * percent // 100)) for percent in (10, 5, 5))
    for number in range(count):
        # A tile is seen once in some hours, by one of three satellites.
        tile, turn = _TILES[number % len(_TILES)], number // len(_TILES)
        platform, orbit = "ABC"[turn % 3], 8 + turn % 100
        steps = PERIOD / (count // len(_TILES) + 1)
        sensed = begin + steps * turn + timedelta(seconds=chance.randrange(900))
        # In any order: the ten days are published at random, and the late ones up to five days later than that.
        at = begin + PERIOD * chance.random() * 0.6
        if number in late:
            at += _MOST_LATE * chance.random()
        published.append((at, _item(platform, orbit, tile, sensed)))
        if number in again:
            later = at + _MOST_LATE * chance.random() * 0.5
            published.append((later, _item(platform, orbit, tile, sensed, again=True)))
        if number in doubled:
            twin = _item(platform, orbit, tile, sensed, made=1800 + number, shift=chance.randrange(1, 15))
            published.append((at + timedelta(hours=chance.uniform(-6, 6)), twin))
    published.sort(key=lambda each: each[0])
    size = -(-len(published) // waves)
    items = [item for _, item in published]
    return Plan(
        [items[at : at + size] for at in range(0, len(items), size)], count, len(late), len(again), len(doubled)
    )


def _item(
    platform: str,
    orbit: int,
    tile: str,
    sensed: datetime,
    *,
    again: bool = False,
    made: int = 3600,
    shift: int = 0,
) -> dict[str, Any]:
    number = _TILES.index(tile)
    west, south = 8.0 + 0.4 * (number % 5), 41.0 + 0.4 * (number // 5)
    ring = [[west, south], [west + 0.3, south], [west + 0.3, south + 0.3], [west, south + 0.3], [west, south]]
    processed = sensed + timedelta(days=2 if again else 0, seconds=made)
    start, end = (f"{each:%Y%m%dT%H%M%S}" for each in (sensed, processed))
    return {
        "id": f"S2{platform}_MSIL2A_{start}_N{511 if again else 510:04}_R{orbit:03}_T{tile}_{end}",
        "collection": COLLECTION,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "datetime": f"{sensed + timedelta(seconds=300 + shift):%Y-%m-%dT%H:%M:%SZ}",
            "platform": f"sentinel-2{platform.lower()}",
            "eo:cloud_cover": 10.0,
        },
    }
