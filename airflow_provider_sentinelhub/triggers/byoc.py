"""Waits until the tiles of a collection are ingested, without holding a worker."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_sentinelhub.client.text import one_line
from airflow_provider_sentinelhub.triggers.guards import settling_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LOOK_S = 60.0


class SentinelHubByocTrigger(BaseTrigger):
    """
    Resume the Airflow task when no tile is waiting or being ingested, or the deadline has passed.

    It reads a few pages of the list of tiles, however many there are. A failed look does not end the wait, unless the
    service refuses each of them for a quarter of an hour. Nothing is to be stopped when the Airflow task is killed.

    :param collection_id: Id of the collection.
    :param path_prefix: What the paths of the tiles begin with; empty for all tiles.
    :param at_least: How many such tiles there must be.
    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param poll_interval: Seconds between two looks.
    :param deadline: When the wait ends, in seconds since the epoch; ``None`` for never.
    :param lost_after: Seconds of refused looks after which the Airflow task is resumed.
    """

    def __init__(
        self,
        *,
        collection_id: str,
        path_prefix: str,
        at_least: int,
        sentinelhub_conn_id: str,
        poll_interval: float,
        deadline: float | None = None,
        lost_after: float = 900.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is untyped
        self.collection_id = collection_id
        self.path_prefix = path_prefix
        self.at_least = at_least
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.lost_after = lost_after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, which contain no secret."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "collection_id": self.collection_id,
                "path_prefix": self.path_prefix,
                "at_least": self.at_least,
                "sentinelhub_conn_id": self.sentinelhub_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "lost_after": self.lost_after,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event: ``{"kind": "ready" | "late" | "lost", "message": ...}``."""
        not_before = time.monotonic() + settling_time()
        event = await self._wait()
        await asyncio.sleep(max(0.0, not_before - time.monotonic()))
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # Airflow's own is untyped

    async def _wait(self) -> dict[str, Any]:
        from airflow_provider_sentinelhub.client.errors import ApiError, AuthenticationError
        from airflow_provider_sentinelhub.hooks.sentinel_hub import forget_shared_sender

        refused_since: float | None = None
        said = ""
        while True:
            try:
                why = await self._look()
                refused_since = None
                if not why:
                    return {"kind": "ready", "message": ""}
            except Exception as e:  # noqa: BLE001 - no failed look may end the wait while the service goes on
                why = f"the list could not be read: {one_line(e)}"
                if isinstance(e, AuthenticationError):
                    # A user may be changing the secret in the connection.
                    forget_shared_sender(self.sentinelhub_conn_id)
                if isinstance(e, TimeoutError) or (isinstance(e, ApiError) and e.retryable):
                    refused_since = None
                else:
                    refused_since = refused_since or time.monotonic()
                    if time.monotonic() - refused_since >= self.lost_after:
                        return {"kind": "lost", "message": why}
            if why != said:
                self.log.info("Collection %s: %s", self.collection_id, why)
                said = why
            if self.deadline is not None and time.time() >= self.deadline:
                return {"kind": "late", "message": why}
            await asyncio.sleep(self._pause())

    async def _look(self) -> str:
        from airflow_provider_sentinelhub.client.apis.byoc.calls import first_unsettled
        from airflow_provider_sentinelhub.hooks.sentinel_hub import shared_async_sender

        async with shared_async_sender(self.sentinelhub_conn_id) as sender, asyncio.timeout(_LOOK_S):
            return await sender.run(first_unsettled(self.collection_id, self.path_prefix, self.at_least))

    def _pause(self) -> float:
        pause = self.poll_interval * random.uniform(0.9, 1.1)
        return pause if self.deadline is None else min(pause, max(0.0, self.deadline - time.time()))
