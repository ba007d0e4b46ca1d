"""Guards of triggers: around ``on_kill``, which Airflow cancels a second after it starts, and before an event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def settling_time() -> float:
    """
    Return the seconds until a task is safely deferred.

    The worker's supervisor runs for another heartbeat after the task has deferred. If an event arrives earlier, the
    scheduler mistakes the end of that process for a failure of the resumed task (apache/airflow#66374).
    """
    from airflow.sdk.configuration import conf

    return 2.0 * int(conf.getint("workers", "min_heartbeat_interval", fallback=5))


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """
    Finish work before a cancellation takes effect.

    The service may still carry out a request that was cut off, and nobody would know.

    :param work: Work that must not be interrupted; it limits its own time.
    :raises asyncio.CancelledError: It was cancelled meanwhile; the work is finished.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as e:
            # The first one has the reason; the triggerer sends further ones at every state sync.
            cancelled = cancelled or e
    if cancelled is not None:
        raise cancelled
    return task.result()
