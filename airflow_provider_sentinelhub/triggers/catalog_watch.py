"""
Watches the catalog, and hands over each acquisition until Airflow has stored the event about it.

Airflow hands a trigger's events from process to process before they are in its database, and a triggerer may be killed
in between. A trigger is not told, but the producer of a shared stream is: Airflow says which of its events are stored.
Only those are remembered. So no event is lost, and one is repeated only if the triggerer is killed in the second or two
after Airflow has stored it. The consumer's helper recognises repeats.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from airflow.triggers.shared_stream import SharedStreamProducer

from airflow_provider_sentinelhub.client.apis.catalog.acquisitions import acquisition_of
from airflow_provider_sentinelhub.client.apis.catalog.watching import MOST_REMEMBERED, LookBack, Memory, News, Policy
from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, SentinelHubError
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import AdvanceItem

    from airflow_provider_sentinelhub.client.apis.catalog.acquisitions import Acquisition
    from airflow_provider_sentinelhub.client.apis.catalog.watching import Window

MOST_NEW: Final = 10_000
"""How many new acquisitions one look collects; the next look finds the others."""

_APART_S = 10.0
_SLOWEST_S = 900.0
_REFUSED_S = 1800.0
_SAY_AGAIN_S = 3600.0
# Clocks of different machines differ.
_SKEW = timedelta(minutes=5)


class Store(Protocol):
    """What is used of Airflow's asset state store."""

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return a value."""

    async def aset(self, key: str, value: Any) -> None:
        """Store a value."""

    async def adelete(self, key: str) -> None:
        """Delete a value."""


Search = Callable[["Window", Callable[[Sequence[Any]], object]], Awaitable[None]]
"""Reads all items of a window, and hands over each page."""


@dataclass(frozen=True, slots=True)
class Report:
    """
    One acquisition to report.

    :param key: What identifies it.
    :param acquisition: The version that is reported.
    :param repeats_since: If it may have been reported before: since when. ``None`` if it was not.
    """

    key: str
    acquisition: Acquisition
    repeats_since: datetime | None


@dataclass(frozen=True, slots=True)
class Settings:
    """
    How to watch.

    :param name: Name of the watcher, for the log.
    :param state_key: What the keys in the state store begin with.
    :param policy: Which versions to report.
    :param start: Report what was acquired from then on; ``None`` for what appears from now on.
    :param back: How far to look back.
    :param poll_interval: Seconds between two looks.
    :param batch_size: How many events to hand over before Airflow has stored them.
    """

    name: str
    state_key: str
    policy: Policy
    start: datetime | None
    back: LookBack
    poll_interval: float
    batch_size: int


class CatalogWatch(SharedStreamProducer):
    """
    Look for new acquisitions for ever.

    :param settings: How.
    :param search: Reads the items of a window.
    :param log: Where to log.
    :param now: The clock.
    :param sleep: How to wait.
    """

    def __init__(
        self,
        settings: Settings,
        search: Search,
        log: Any,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._search = search
        self._log = log
        self._now = now
        self._sleep = sleep
        self._store: asyncio.Future[Store] = asyncio.get_running_loop().create_future()
        self._memory: Memory | None = None
        self._stored: dict[str, Any] = {}
        self._waiting = 0
        self._is_settled = asyncio.Event()
        self._is_lost = False
        self._settled_at: datetime | None = None
        self._failures = 0
        self._said: tuple[str, datetime] | None = None

    def attach(self, store: Store | None) -> None:
        """
        Take the state store, which Airflow gives to the trigger and not to its producer.

        :param store: The trigger's ``asset_state_store``.
        """
        if self._store.done():
            return
        if store is None:
            # Not retried: Airflow gives it when it creates the trigger, or never.
            self._store.set_exception(
                RuntimeError(
                    "SentinelHubCatalogTrigger has no asset state store. Use it in an AssetWatcher of an Asset: "
                    "Asset(..., watchers=[AssetWatcher(name=..., trigger=SentinelHubCatalogTrigger(...))])."
                )
            )
        else:
            self._store.set_result(store)

    # ------------------------------------------------------------------------------------------- what Airflow calls

    async def open_stream(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield this object, so that the trigger can attach its store; then a :class:`Report` for each acquisition."""
        yield self, None
        await self._store
        memory = await self._persistently(self._load)
        self._memory = memory
        # What was reported and not remembered before this process began is reported again.
        repeats_since = memory.settled_at and memory.settled_at - _SKEW
        while True:
            window = memory.window(self._now(), self._settings.back)
            news = await self._persistently(lambda window=window: self._look(memory, window))  # type: ignore[misc]  # bound at once
            reports = [Report(key, acquisition, repeats_since) for key, acquisition in news]
            for batch in self._batches(reports):
                if batch[-1] is reports[-1]:
                    await self._apart()
                self._waiting = len(batch)
                self._is_settled.clear()
                for report in batch:
                    yield report, report
                await self._is_settled.wait()
                if self._is_lost:
                    raise RuntimeError("Airflow did not say that it has stored all events; starting again")
            await self._persistently(self._save)
            if news.is_complete:
                memory.looked(window, self._settings.back)
                self._limit(memory)
                await self._persistently(self._save_forgotten)
                repeats_since = None
                await self._sleep(self._settings.poll_interval)

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """
        Remember what Airflow has stored.

        :param batch: What became of the reports.
        """
        reports = [(item.broker_payload, item.outcome.is_clean) for item in batch if item.broker_payload is not None]
        await self.settle(reports)

    async def settle(self, reports: Sequence[tuple[Report, bool]]) -> None:
        """
        Remember reports whose events are stored.

        :param reports: The reports, and whether their events are stored.
        """
        if self._memory is None or not reports:
            return
        for report, is_stored in reports:
            if is_stored:
                self._memory.remember(report.key, report.acquisition)
            else:
                self._is_lost = True
        try:
            await self._save()
        except Exception as e:  # noqa: BLE001 - an exception here would end the watch; the next save stores it all
            self._log.warning("Cannot store what was reported, trying again later: %s", one_line(e))
        self._settled_at = self._now()
        self._waiting -= len(reports)
        if self._waiting <= 0:
            self._is_settled.set()

    def _batches(self, reports: Sequence[Report]) -> Iterator[Sequence[Report]]:
        for begin in range(0, len(reports) - 1, self._settings.batch_size):
            yield reports[begin : min(begin + self._settings.batch_size, len(reports) - 1)]
        if reports:
            yield reports[-1:]

    async def _apart(self) -> None:
        """
        Hold back the last event of a look until the scheduler has seen those before it.

        What is stored while the scheduler creates a run for an earlier event is in no run until another event comes
        (apache/airflow#56050). So the last one comes by itself, and its run has those that were left over.
        """
        if self._settled_at is not None:
            passed = (self._now() - self._settled_at).total_seconds()
            if 0 <= passed < _APART_S:
                await self._sleep(_APART_S - passed)

    # ------------------------------------------------------------------------------------------------------ one look

    async def _look(self, memory: Memory, window: Window) -> News:
        is_first = memory.last_look is None and self._settings.start is None
        news = News(memory, MOST_NEW)

        def take(items: Sequence[Any]) -> None:
            for item in items:
                acquisition = acquisition_of(item) if isinstance(item, dict) else None
                if acquisition is None:
                    continue
                if not is_first:
                    news.take(acquisition)
                elif (key := memory.key_of_new(acquisition)) is not None:
                    # Nothing that is there already is new.
                    memory.remember(key, acquisition)

        await self._search(window, take)
        if is_first:
            self._log.info(
                "%s: %d acquisitions since %s are there already; reporting what appears from now on",
                self._settings.name,
                len(memory),
                window.start.date(),
            )
        elif len(news):
            more = "" if news.is_complete else ", and there are more"
            self._log.info("%s: %d new acquisitions%s", self._settings.name, len(news), more)
        return news

    async def _persistently(self, step: Callable[[], Awaitable[Any]]) -> Any:
        """Try a step until it succeeds: a watcher that ends would be started again at once, and fail again."""
        while True:
            try:
                done = await step()
            except Exception as e:  # noqa: BLE001 - see above
                await self._sleep(self._pause_after(e))
            else:
                if self._said is not None:
                    self._log.info("%s: works again", self._settings.name)
                self._failures, self._said = 0, None
                return done

    def _pause_after(self, error: Exception) -> float:
        self._failures += 1
        is_refused = isinstance(error, SentinelHubError) and not error.retryable
        text, now = f"{type(error).__name__}: {one_line(error)}", self._now()
        if self._said is None or self._said[0] != text or now - self._said[1] >= timedelta(seconds=_SAY_AGAIN_S):
            self._said = text, now
            self._log.log(logging.ERROR if is_refused else logging.WARNING, "%s: %s", self._settings.name, text)
        interval = self._settings.poll_interval
        if is_refused:
            return max(interval, min(_REFUSED_S, 60.0 * float(2 ** min(self._failures, 10))))
        return min(max(interval, _SLOWEST_S), interval * float(2 ** min(self._failures - 1, 10)))

    # ----------------------------------------------------------------------------------------------- the state store

    async def _load(self) -> Memory:
        store, settings = self._store.result(), self._settings
        try:
            head = await store.aget(f"{settings.state_key}.head")
        except ValueError as e:
            raise InvalidConfiguration(
                f"Several assets share the watcher {settings.name!r}, so it has no place to remember what it has "
                "reported. Give the trigger of each asset a name of its own."
            ) from e
        if head is None:
            now = self._now()
            memory = Memory(settings.policy, settings.start or now - settings.back.wide, settled_at=now)
            # Before the first event: a repeat of it can be told by this time.
            await self._put(self._head(memory))
            return memory
        memory = Memory.read(settings.policy, head)
        for part in range(memory.parts):
            name = self._name(memory.parts, part)
            text = await store.aget(name)
            if text is not None:
                memory.read_part(text)
                self._stored[name] = text
        self._stored[f"{settings.state_key}.head"] = head
        return memory

    def _limit(self, memory: Memory) -> None:
        if (floor := memory.forget_excess()) is not None:
            self._log.warning(
                "%s: more than %d acquisitions to remember. What was acquired before %s is not reported any more. "
                "Use a shorter wide_look_back or several watchers with smaller areas.",
                self._settings.name,
                MOST_REMEMBERED,
                floor.date(),
            )

    async def _save(self) -> None:
        """Store what was reported: the keys, then the head that counts them, so that a kill in between loses none."""
        if self._memory is None:
            return
        wanted = self._parts(self._memory)
        await self._put(wanted)
        await self._put(self._head(self._memory))
        for name in [name for name in self._stored if name not in wanted and not name.endswith(".head")]:
            await self._store.result().adelete(name)
            del self._stored[name]

    async def _save_forgotten(self) -> None:
        """Store that a look is complete: the head, then the keys, so that none is forgotten that can be asked for."""
        if self._memory is not None:
            await self._put(self._head(self._memory))
            await self._put(self._parts(self._memory))

    def _parts(self, memory: Memory) -> dict[str, Any]:
        texts = memory.divided()
        return {self._name(len(texts), number): text for number, text in enumerate(texts)}

    def _head(self, memory: Memory) -> dict[str, Any]:
        return {f"{self._settings.state_key}.head": memory.head()}

    async def _put(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if self._stored.get(name) != value:
                await self._store.result().aset(name, value)
                self._stored[name] = value

    def _name(self, parts: int, number: int) -> str:
        return f"{self._settings.state_key}.{parts}.{number}"
