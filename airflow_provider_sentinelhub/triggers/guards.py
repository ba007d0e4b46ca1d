"""A guard around ``BaseTrigger.on_kill``, which Airflow cancels about a second after it starts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """
    Carry work out to its end; only then let a cancel through.

    A call to the service that is cut off may have been carried out all the same, and nobody would know.

    :param work: What must not be left half done; it bounds its own time.
    :raises asyncio.CancelledError: Somebody cancelled meanwhile; the work was finished all the same.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as e:
            # The first one says why; the triggerer sends further ones at every state sync.
            cancelled = cancelled or e
    if cancelled is not None:
        raise cancelled
    return task.result()
