"""Waits for scenes of the catalog, without holding a worker."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_sentinelhub.client.apis.catalog.coverage import Condition
    from airflow_provider_sentinelhub.client.http.transport import AsyncSender
    from airflow_provider_sentinelhub.client.lifecycle.watch import Watch


class SceneEvent(StrEnum):
    """Why a sensor is resumed."""

    READY = "ready"
    """The scenes seem to be enough."""

    LATE = "late"
    """The deadline has passed."""

    LOST = "lost"
    """The service has refused every search for too long."""


class SentinelHubCatalogSensorTrigger(BaseTrigger):
    """
    Search the catalog from time to time, and resume the sensor when its scenes seem to be enough.

    The sensor then looks for itself. A failed search does not end the wait. Nothing is to be undone after a kill.

    :param condition: What scenes are waited for, as
        :meth:`~airflow_provider_sentinelhub.client.apis.catalog.coverage.Condition.to_dict` returns it. No secret.
    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param poll_interval: Seconds between two searches.
    :param seen: Which scenes the sensor has judged, if its area is too large for the condition: then the sensor is
        resumed as soon as there are others. Default: the condition says what is enough.
    :param deadline: When the wait ends, in seconds since the epoch; ``None`` for never.
    :param lost_after: Seconds of refused searches after which the sensor is resumed.
    """

    def __init__(
        self,
        *,
        condition: dict[str, Any],
        sentinelhub_conn_id: str,
        poll_interval: float,
        seen: str | None = None,
        deadline: float | None = None,
        lost_after: float = 900.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is untyped
        self.condition = condition
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.poll_interval = poll_interval
        self.seen = seen
        self.deadline = deadline
        self.lost_after = lost_after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, which contain no secret."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "condition": self.condition,
                "sentinelhub_conn_id": self.sentinelhub_conn_id,
                "poll_interval": self.poll_interval,
                "seen": self.seen,
                "deadline": self.deadline,
                "lost_after": self.lost_after,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event."""
        from airflow_provider_sentinelhub.client.apis.catalog.coverage import Condition
        from airflow_provider_sentinelhub.triggers.guards import settling_time

        not_before = time.monotonic() + settling_time()
        kind = await self._wait(Condition(**self.condition))
        await asyncio.sleep(max(0.0, not_before - time.monotonic()))
        yield TriggerEvent({"kind": kind.value, "deadline": self.deadline})  # type: ignore[no-untyped-call]  # as above

    async def _wait(self, condition: Condition) -> SceneEvent:
        shown = ""
        watch = self._new_watch()
        async with AsyncExitStack() as stack:
            sender: AsyncSender | None = None
            while True:
                # The sensor has looked just before.
                await asyncio.sleep(watch.pause())
                try:
                    async with asyncio.timeout(watch.patience()):
                        sender = sender or await self._sender(stack)
                        items = await sender.run(condition.look())
                        # Geometry takes time, and other triggers share this thread.
                        found = await asyncio.to_thread(condition.judge, items)
                except Exception as e:  # noqa: BLE001 - no failed search may end the wait
                    sender = self._after(e, sender)
                    if (line := watch.missed(e)) is not None:
                        self.log.warning("%s", line)
                    if watch.is_lost:
                        return SceneEvent.LOST
                else:
                    watch = self._new_watch()
                    if (text := found.text()) != shown:
                        shown = text
                        self.log.info("%s", text)
                    if found.is_enough if self.seen is None else found.passing != self.seen:
                        return SceneEvent.READY
                # After the search, so that scenes that came in time are never late.
                if watch.is_late:
                    return SceneEvent.LATE

    def _new_watch(self) -> Watch:
        from airflow_provider_sentinelhub.client.lifecycle.watch import Watch

        return Watch(self.poll_interval, self.deadline, lost_after=self.lost_after)

    async def _sender(self, stack: AsyncExitStack) -> AsyncSender:
        from airflow_provider_sentinelhub.hooks.sentinel_hub import shared_async_sender

        return await stack.enter_async_context(shared_async_sender(self.sentinelhub_conn_id))

    def _after(self, error: Exception, sender: AsyncSender | None) -> AsyncSender | None:
        from airflow_provider_sentinelhub.client.errors import AuthenticationError
        from airflow_provider_sentinelhub.hooks.sentinel_hub import forget_shared_sender

        if not isinstance(error, AuthenticationError):
            return sender
        # A user may be changing the secret in the connection.
        forget_shared_sender(self.sentinelhub_conn_id)
        return None
