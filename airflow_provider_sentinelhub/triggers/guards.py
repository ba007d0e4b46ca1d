"""
Guards around ``BaseTrigger.on_kill`` of Airflow 3.3.

It is also called when a triggerer that had stalled wakes up and finds its triggers taken over by another one, where
nobody wants the remote task stopped (apache/airflow#73454); and it is cancelled about a second after it starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_WAITS = frozenset({"deferred", "running"})


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


async def is_still_wanted(task_instance: Any, xcom_key: str, value: str) -> bool:
    """
    Whether a task instance waits, or works, and for this very thing.

    The state alone does not tell: after a clear the new attempt may already be deferred again, on something else.
    Queued is not enough, though one that was woken is queued as well: after a clear it may be so for hours.

    :param task_instance: The task instance the trigger was made for.
    :param xcom_key: XCom in which each attempt says what it waits for.
    :param value: What this trigger waits for.
    :raises RuntimeError: The state cannot be read.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult
    from airflow.sdk.execution_time.xcom import XCom

    answer = await task_runner.SUPERVISOR_COMMS.asend(
        GetTaskStates(
            dag_id=task_instance.dag_id,
            task_ids=[task_instance.task_id],
            run_ids=[task_instance.run_id],
            map_index=task_instance.map_index,
        )
    )
    if not isinstance(answer, TaskStatesResult):
        raise RuntimeError(f"cannot read the task's state: {type(answer).__name__}")  # noqa: TRY004 - an answer, not an argument
    mapped = task_instance.map_index is not None and task_instance.map_index >= 0
    key = f"{task_instance.task_id}_{task_instance.map_index}" if mapped else task_instance.task_id
    if answer.task_states.get(task_instance.run_id, {}).get(key) not in _WAITS:
        return False
    current = await XCom.aget_one(
        key=xcom_key,
        dag_id=task_instance.dag_id,
        task_id=task_instance.task_id,
        run_id=task_instance.run_id,
        map_index=task_instance.map_index,
    )
    return bool(current == value)
