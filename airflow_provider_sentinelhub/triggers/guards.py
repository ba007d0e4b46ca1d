"""A guard around ``BaseTrigger.on_kill``, which Airflow cancels about a second after it starts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


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
