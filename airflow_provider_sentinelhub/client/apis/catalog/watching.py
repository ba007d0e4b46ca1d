"""
What a watcher of the catalog remembers, and what is new to it. Nothing here does I/O.

Items are published late, out of order and after gaps, and do not say when. So a watcher looks some days back each time,
further back once a day, and remembers what it has reported.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.apis.catalog.acquisitions import KEY_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_sentinelhub.client.apis.catalog.acquisitions import Acquisition

MOST_REMEMBERED: Final = 200_000
"""How many keys a watcher remembers at most: 2.6 MB."""

_RANK_LENGTH = 16
_PART_BYTES = 60_000
_AHEAD = timedelta(days=1)


class Policy(StrEnum):
    """
    Which versions of an acquisition are reported.

    ``FIRST``: the first that is seen. ``LATEST``: that one, and each newer one. ``EVERY``: each item.
    """

    FIRST = "first"
    LATEST = "latest"
    EVERY = "every"


@dataclass(frozen=True, slots=True)
class Window:
    """
    The time a look asks about.

    :param start: Its start.
    :param end: Its end.
    :param at: When the look began.
    :param is_wide: Whether this is a wide look.
    """

    start: datetime
    end: datetime
    at: datetime
    is_wide: bool


@dataclass(frozen=True, slots=True)
class LookBack:
    """
    How far back a watcher looks.

    :param each: In each look.
    :param wide: In a wide look.
    :param wide_every: Time between two wide looks.
    """

    each: timedelta
    wide: timedelta
    wide_every: timedelta


@dataclass(slots=True)
class Memory:
    """
    What a watcher remembers between two looks.

    :param policy: Which versions it reports.
    :param floor: Nothing older is reported, because it is not remembered any more, or was never asked for.
    :param last_look: When the last complete look began.
    :param last_wide: When the last complete wide look began.
    :param settled_at: Everything that was reported before is remembered.
    :param parts: Into how many parts the keys are divided when stored.
    """

    policy: Policy
    floor: datetime | None = None
    last_look: datetime | None = None
    last_wide: datetime | None = None
    settled_at: datetime | None = None
    parts: int = 1
    # The day of each key, and for LATEST the rank of the version that was reported.
    _days: dict[str, int] = field(default_factory=dict)
    _ranks: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._days)

    # ------------------------------------------------------------------------------------------------------ the looks

    def window(self, now: datetime, back: LookBack) -> Window:
        """
        Return what the next look asks about.

        It begins before the last complete look, not before now: after an outage it reaches over all of it.

        :param now: The time.
        :param back: How far to look back.
        """
        last_look, last_wide = self.last_look or now, self.last_wide or now
        is_wide = self.last_wide is None or not timedelta(0) <= now - self.last_wide < back.wide_every
        start = min(last_look, now) - back.each
        if is_wide:
            start = min(start, min(last_wide, now) - back.wide)
        if self.floor is not None:
            # Of the first look, all that was asked for; later what has not been forgotten.
            start = self.floor if self.last_look is None else max(start, self.floor)
        return Window(start, max(now + _AHEAD, start), now, is_wide)

    def looked(self, window: Window, back: LookBack) -> None:
        """
        Note that a look is complete and everything it found was reported, and forget what no look will ask about again.

        :param window: What it asked about.
        :param back: How far to look back.
        """
        self.last_look = self.settled_at = window.at
        if window.is_wide:
            self.last_wide = window.at
        oldest = min(window.at - back.each, (self.last_wide or window.at) - back.wide)
        self._raise_floor(max(self.floor or oldest, oldest))

    def _raise_floor(self, floor: datetime) -> None:
        self.floor = floor
        # A day more: the times of versions differ by seconds, also around midnight.
        first = _day(floor) - 1
        for key in [key for key, day in self._days.items() if day < first]:
            del self._days[key]
            self._ranks.pop(key, None)

    # ------------------------------------------------------------------------------------------------- what was seen

    def key_of_new(self, acquisition: Acquisition) -> str | None:
        """
        Return the key of an acquisition that is to be reported; ``None`` if there is nothing to report.

        :param acquisition: A version of it.
        """
        if self.floor is not None and acquisition.sensed < self.floor:
            return None
        if self.policy is Policy.EVERY:
            return None if acquisition.item_key in self._days else acquisition.keys[0]
        known = next((key for key in acquisition.keys if key in self._days), None)
        if known is None:
            return acquisition.keys[0]
        if self.policy is Policy.FIRST:
            return None
        if acquisition.rank == 0:
            # Nothing says which version is newer, so the one that appears later is.
            return None if acquisition.item_key in self._days else known
        return known if acquisition.rank > self._ranks.get(known, 0) else None

    def remember(self, key: str, acquisition: Acquisition) -> None:
        """
        Note that an acquisition was reported.

        :param key: The key it was reported under.
        :param acquisition: The version that was reported.
        """
        day = _day(acquisition.sensed)
        if self.policy is not Policy.EVERY:
            self._days[key] = day
        if self.policy is Policy.EVERY or (self.policy is Policy.LATEST and acquisition.rank == 0):
            self._days[acquisition.item_key] = day
        if self.policy is Policy.LATEST and acquisition.rank > self._ranks.get(key, 0):
            self._ranks[key] = acquisition.rank

    def forget_excess(self, most: int = MOST_REMEMBERED) -> datetime | None:
        """
        Forget the oldest days if there is too much to remember; they are not reported again.

        :param most: How many keys to keep.
        :returns: Since when everything is remembered; ``None`` if nothing was forgotten.
        """
        if len(self._days) <= most:
            return None
        kept = sorted(self._days.values(), reverse=True)[:most]
        floor = datetime.fromordinal(kept[-1] + 2).replace(tzinfo=UTC)
        self._raise_floor(max(self.floor or floor, floor))
        return self.floor

    # --------------------------------------------------------------------------------------------------- stored form

    def head(self) -> dict[str, Any]:
        """Return everything but the keys, as JSON."""
        return {
            "version": 1,
            "floor": _text(self.floor),
            "last_look": _text(self.last_look),
            "last_wide_look": _text(self.last_wide),
            "settled_at": _text(self.settled_at),
            "parts": self.parts,
            "remembered": len(self._days),
        }

    def divided(self) -> list[str]:
        """Return the keys in parts that each fit into Airflow's state store, and let :attr:`parts` say how many."""
        texts = self._texts(self.parts)
        while max(map(len, texts)) > _PART_BYTES and self.parts < MOST_REMEMBERED:
            self.parts *= 2
            texts = self._texts(self.parts)
        return texts

    def _texts(self, parts: int) -> list[str]:
        found: list[dict[str, list[str]]] = [{} for _ in range(parts)]
        for key, day in self._days.items():
            rank = f"{self._ranks.get(key, 0):0{_RANK_LENGTH}x}" if self.policy is Policy.LATEST else ""
            date = datetime.fromordinal(day).strftime("%Y%m%d")
            found[hash_of(key) % parts].setdefault(date, []).append(key + rank)
        return [json.dumps({day: "".join(part[day]) for day in sorted(part)}, separators=(",", ":")) for part in found]

    @classmethod
    def read(cls, policy: Policy, head: Mapping[str, Any]) -> Memory:
        """
        Read :meth:`head`; the keys follow by :meth:`read_part`.

        :param policy: The policy.
        :param head: What was stored.
        :raises ValueError: It was not stored by this version.
        """
        parts = head.get("parts")
        if head.get("version") != 1 or not isinstance(parts, int) or not 1 <= parts <= MOST_REMEMBERED:
            raise ValueError("not what a watcher of this version has stored")
        floor, last_look = _read(head, "floor"), _read(head, "last_look")
        return cls(policy, floor, last_look, _read(head, "last_wide_look"), _read(head, "settled_at"), parts)

    def read_part(self, text: str) -> None:
        """
        Read one of the parts of :meth:`divided`.

        :param text: What was stored.
        :raises ValueError: It is something else.
        """
        stored = json.loads(text)
        if not isinstance(stored, dict) or not all(isinstance(each, str) for each in stored.values()):
            raise ValueError("not what a watcher of this version has stored")
        for date, keys in stored.items():
            day = datetime.strptime(date, "%Y%m%d").toordinal()  # noqa: DTZ007 - a day, not a time
            for key, rank in _split(keys, _RANK_LENGTH if self.policy is Policy.LATEST else 0):
                self._days[key] = day
                if rank and int(rank, 16):
                    self._ranks[key] = int(rank, 16)


@dataclass(slots=True)
class News:
    """
    What one look has found that is to be reported: of each acquisition the newest version, unless each item is.

    :param memory: What was reported before.
    :param most: How many to collect; what is left is found by the next look.
    """

    memory: Memory
    most: int
    is_complete: bool = True
    _found: dict[str, tuple[str, Acquisition]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def take(self, acquisition: Acquisition) -> None:
        """
        Take a version of an acquisition.

        :param acquisition: It.
        """
        key = self.memory.key_of_new(acquisition)
        if key is None:
            return
        if self.memory.policy is Policy.EVERY:
            name = acquisition.item_key
        else:
            name = next((self._names[each] for each in (key, *acquisition.keys) if each in self._names), key)
        if name not in self._found:
            if len(self._found) >= self.most:
                self.is_complete = False
                return
            self._names[name] = name
            if self.memory.policy is not Policy.EVERY:
                self._names[acquisition.keys[0]] = name
        elif acquisition.rank <= self._found[name][1].rank:
            return
        self._found[name] = (key if self.memory.policy is Policy.EVERY else name, acquisition)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._found)

    def __iter__(self) -> Iterator[tuple[str, Acquisition]]:
        """Iterate over them with their keys, in the order in which they were acquired."""
        return iter(sorted(self._found.values(), key=lambda each: (each[1].sensed, each[1].tile, each[1].item_id)))


def hash_of(key: str) -> int:
    """
    Return a number that depends on a key alone.

    :param key: The key.
    """
    return int.from_bytes(key.encode(), "little") % 1_000_003


def _split(text: str, rank_length: int) -> Iterator[tuple[str, str]]:
    length = KEY_LENGTH + rank_length
    for begin in range(0, len(text), length):
        yield text[begin : begin + KEY_LENGTH], text[begin + KEY_LENGTH : begin + length]


def _day(moment: datetime) -> int:
    return moment.astimezone(UTC).toordinal()


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _read(head: Mapping[str, Any], name: str) -> datetime | None:
    given = head.get(name)
    return datetime.fromisoformat(given) if isinstance(given, str) else None
