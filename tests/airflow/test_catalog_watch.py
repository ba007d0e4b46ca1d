"""The watcher killed at any step, while items come late and again: nothing is lost, and repeats are marked."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.apis.catalog.acquisitions import acquisition_of
from airflow_provider_sentinelhub.client.apis.catalog.watching import LookBack, Policy
from airflow_provider_sentinelhub.triggers.catalog import payload_of
from airflow_provider_sentinelhub.triggers.catalog_watch import CatalogWatch, Report, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_sentinelhub.client.apis.catalog.watching import Window

BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
BACK = LookBack(timedelta(days=5), timedelta(days=20), timedelta(days=1))
LOG = logging.getLogger("watch")
LOG.setLevel(logging.CRITICAL)


class Killed(BaseException):
    """The process is gone, and nothing in it runs any more."""


@dataclass
class World:
    """What outlives a process: the catalog, Airflow's database and the clock."""

    published: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    store: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    now: datetime = BEGIN
    largest: int = 0


@dataclass
class Process:
    """One life of a triggerer; each of its steps may be the last, before or after it took effect."""

    world: World
    steps: int
    until: datetime
    settings: Settings
    fails: Callable[[], bool] = lambda: False

    def step(self, effect: Callable[[], Any]) -> Any:
        self.steps -= 1
        if self.steps <= 0:
            raise Killed
        result = effect()
        self.steps -= 1
        if self.steps <= 0:
            raise Killed
        return result

    # The state store

    async def aget(self, key: str, default: Any = None) -> Any:
        await asyncio.sleep(0)
        return self.step(lambda: self.world.store.get(key, default))

    async def aset(self, key: str, value: Any) -> None:
        await asyncio.sleep(0)
        self.world.largest = max(self.world.largest, len(str(value)))
        self.step(lambda: self.world.store.__setitem__(key, value))

    async def adelete(self, key: str) -> None:
        await asyncio.sleep(0)
        self.step(lambda: self.world.store.pop(key, None))

    # The service

    async def search(self, window: Window, take: Callable[[Sequence[Any]], object]) -> None:
        there = [
            item
            for at, item in self.world.published
            if at <= self.world.now
            and window.start <= datetime.fromisoformat(item["properties"]["datetime"]) <= window.end
        ]
        for begin in range(0, len(there), 3):
            await asyncio.sleep(0)
            self.step(lambda begin=begin: take(there[begin : begin + 3]))  # type: ignore[misc]  # bound at once
            if self.fails():
                raise ConnectionError("lost")

    async def sleep(self, seconds: float) -> None:
        self.world.now += timedelta(seconds=seconds)
        if self.world.now > self.until:
            raise Killed
        await asyncio.sleep(0)

    # Airflow

    async def live(self) -> None:
        watch = CatalogWatch(self.settings, self.search, LOG, now=lambda: self.world.now, sleep=self.sleep)
        outbox: asyncio.Queue[Report] = asyncio.Queue()

        async def triggers() -> None:
            async for given_, payload in watch.open_stream():
                if payload is None:
                    given_.attach(self)
                else:
                    await outbox.put(payload)

        async def supervisor() -> None:
            while True:
                report = await outbox.get()
                payload = payload_of(report, "w", self.settings.policy)
                self.step(lambda payload=payload: self.world.events.append((self.world.now, payload)))  # type: ignore[misc]  # as above
                await watch.settle([(report, True)])

        tasks = [asyncio.ensure_future(triggers()), asyncio.ensure_future(supervisor())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self.steps = 1
            for task in tasks:
                task.cancel()
        ended = [task for task in tasks if task.done() and not task.cancelled()]
        await asyncio.gather(*tasks, return_exceptions=True)
        errors = [task.exception() for task in ended]
        assert all(isinstance(error, Killed) for error in errors), errors


def how(policy: Policy, start: datetime | None = None, batch_size: int = 4) -> Settings:
    return Settings("w", "key", policy, start, BACK, 12 * 3600.0, batch_size)


def item(number: int, sensed: datetime, version: int = 0, seconds: int = 0) -> dict[str, Any]:
    """A version of an acquisition: as after another processing, or from another station."""
    day = sensed.strftime("%Y%m%dT%H%M%S")
    made = (sensed + HOUR * (1 + version)).strftime("%Y%m%dT%H%M%S")
    item_id = f"S2C_MSIL2A_{day}_N05{version:02}_R022_T{number:02}TUK_{made}"
    at = (sensed + timedelta(seconds=seconds)).isoformat()
    return {
        "id": item_id,
        "collection": "c",
        "properties": {"datetime": at, "platform": "sentinel-2c"},
        "bbox": [1, 2, 3, 4],
    }


@st.composite
def catalogs(draw: st.DrawFn) -> list[tuple[datetime, dict[str, Any]]]:
    published = []
    for number in range(1, draw(st.integers(1, 12)) + 1):
        # From a day before the watcher begins to ten days after; within BACK.each of its acquisition, or of BACK.wide.
        sensed = BEGIN + HOUR * draw(st.integers(1, 24 * 9))
        late = HOUR * draw(st.integers(0, 24 * 4) | st.integers(0, 24 * 12))
        published.append((sensed + late, item(number, sensed)))
        for version in range(1, draw(st.sampled_from([1, 1, 1, 2, 3]))):
            again = item(number, sensed, version, draw(st.integers(-90, 90)))
            published.append((sensed + late + HOUR * draw(st.integers(-3, 60)), again))
    return published


def lives(
    world: World, kills: Sequence[int], gaps: Sequence[int], policy: Policy, start: datetime | None = BEGIN
) -> None:
    async def all_of_them() -> None:
        for steps, gap in zip(kills, gaps, strict=True):
            await Process(world, steps, world.now + timedelta(days=4), how(policy, start)).live()
            world.now += HOUR * gap
        end = max([world.now, *(at for at, _ in world.published)]) + timedelta(days=2)
        await Process(world, 10**6, end, how(policy, start)).live()

    asyncio.run(all_of_them())


def without_repeats(world: World) -> list[dict[str, Any]]:
    """What the consumer keeps; each repeat must say that it may be one, and since when."""
    told: dict[str, datetime] = {}
    kept = []
    for at, payload in world.events:
        original = told.get(payload["report"])
        if original is None:
            told[payload["report"]] = at
            kept.append(payload)
        else:
            assert payload["may_repeat_since"] is not None
            assert datetime.fromisoformat(payload["may_repeat_since"]) < original
    return kept


KILLS = st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0, 1, 30, 200])), max_size=6)


@settings(max_examples=40, deadline=None)
@given(catalogs(), KILLS)
def test_each_acquisition_is_reported_exactly_once_under_first(
    published: list[tuple[datetime, dict[str, Any]]], kills: list[tuple[int, int]]
) -> None:
    world = World(published)
    lives(world, [steps for steps, _ in kills], [gap for _, gap in kills], Policy.FIRST)
    kept = Counter(payload["tile"] for payload in without_repeats(world))
    assert kept == {found.tile: 1 for _, each in published if (found := acquisition_of(each))}
    # A life that ends repeats what it could not settle, and no more.
    assert len(world.events) - len(kept) <= 4 * len(kills)


@settings(max_examples=20, deadline=None)
@given(catalogs(), KILLS)
def test_each_item_is_reported_exactly_once_under_every(
    published: list[tuple[datetime, dict[str, Any]]], kills: list[tuple[int, int]]
) -> None:
    world = World(published)
    lives(world, [steps for steps, _ in kills], [gap for _, gap in kills], Policy.EVERY)
    kept = Counter(payload["item_id"] for payload in without_repeats(world))
    assert kept == {each["id"]: 1 for _, each in published}


@settings(max_examples=20, deadline=None)
@given(catalogs(), KILLS)
def test_the_newest_version_is_the_last_one_reported_under_latest(
    published: list[tuple[datetime, dict[str, Any]]], kills: list[tuple[int, int]]
) -> None:
    world = World(published)
    lives(world, [steps for steps, _ in kills], [gap for _, gap in kills], Policy.LATEST)
    newest: dict[str, str] = {}
    for _, each in sorted(published, key=lambda one: one[1]["id"]):
        newest[each["id"].split("_")[5]] = each["id"]
    reported: dict[str, list[int]] = {}
    last: dict[str, str] = {}
    for payload in without_repeats(world):
        reported.setdefault(payload["tile"], []).append(payload["version"])
        last[f"T{payload['tile']}"] = payload["item_id"]
    assert last == newest
    assert all(versions == sorted(set(versions)) for versions in reported.values())
