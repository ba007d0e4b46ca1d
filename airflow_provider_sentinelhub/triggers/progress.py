"""Counts features while a task runs, and shows the counts in an XCom of the waiting task."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_sentinelhub.artifacts.results.base import Counter
    from airflow_provider_sentinelhub.client.http.call import Procedure
    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

T = TypeVar("T")

log = logging.getLogger(__name__)

# A small pool of its own: hundreds of tasks may wait for a slow bucket, and must not occupy the event loop's threads.
_POOL = ThreadPoolExecutor(max_workers=4, thread_name_prefix="sentinelhub-progress")

_ASK_S = 120.0

PROGRESS_XCOM = "sentinelhub_progress"


def progress_of(task: BatchTask, features: Mapping[str, int] | None) -> dict[str, Any]:
    """
    Return what the XCom shows of a task: status, cost and features by outcome.

    :param task: The task.
    :param features: Their number in ``total`` and by outcome; ``None`` where it is not known.
    """
    return {
        "task_id": task.id,
        "status": task.status,
        "cost_pu": task.cost_pu,
        "completion_percentage": task.completion_percentage,
        "features": None if features is None else dict(features),
    }


class Progress:
    """
    Shows the progress of a task: status, processing units and features by outcome.

    It is a convenience, so any error is only logged.

    :param api: The task's API.
    :param interval: Seconds between two counts; 0 for none.
    :param task_instance: The task instance whose XCom shows the counts.
    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection, for results on S3; ``None`` to leave their features out.
    :param gcp_conn_id: The Google Cloud connection, for results on Google Cloud Storage; likewise.
    """

    def __init__(
        self,
        api: TaskApiSpec,
        interval: float,
        task_instance: Any,
        *,
        sentinelhub_conn_id: str,
        aws_conn_id: str | None,
        gcp_conn_id: str | None,
    ) -> None:
        self._api = api
        self._conn_id = sentinelhub_conn_id
        self._aws_conn_id = aws_conn_id
        self._gcp_conn_id = gcp_conn_id
        self._interval = interval
        self._task_instance = task_instance
        self._next_at = 0.0
        self._told: dict[str, Any] | None = None
        self._counter: Counter | None = None
        self._is_open = False

    async def tell(self, task: BatchTask) -> None:
        """
        Show the progress, if the interval is over and something changed.

        :param task: The task as just read.
        """
        if not self._interval or self._task_instance is None or time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + self._interval
        try:
            told = progress_of(task, await self._features(task))
            if told != self._told:
                await self._show(told)
                self._told = told
        except Exception as e:  # noqa: BLE001 - see the class
            # The connection is read again next time: its credentials may have been corrected.
            self._is_open = False
            log.warning("Could not report the progress of task %s: %s", task.id, type(e).__name__)

    async def _features(self, task: BatchTask) -> dict[str, int] | None:
        if task.status not in {"PROCESSING", self._api.stopped, *self._api.answered}:
            return None
        if not self._is_open:
            self._counter = await self._open(task)
            self._is_open = True
        if self._counter is None:
            return None
        # Downloading and counting hundreds of thousands of features would block the event loop.
        report = await in_pool(self._counter)
        if report is None:
            return None
        return {"total": report.total, **{outcome.lower(): count for outcome, count in report.counts().items()}}

    async def _open(self, task: BatchTask) -> Counter | None:
        from airflow_provider_sentinelhub.artifacts.results.registry import results_of
        from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
        from airflow_provider_sentinelhub.hooks.bucket_connections import storage_options
        from airflow_provider_sentinelhub.hooks.connections import ConnectionFacts

        scheme = self._api.delivery_url(task.request).partition("://")[0]
        conn_id = self._gcp_conn_id if scheme == "gs" else self._aws_conn_id
        if conn_id is None:
            return None
        # Read here, because the counter runs in a thread, from which Airflow must not be called.
        facts = await ConnectionFacts.aread(conn_id)
        options = await in_pool(partial(storage_options, scheme, facts))
        loop = asyncio.get_running_loop()

        def ask(procedure: Procedure[T]) -> T:
            # The counter runs in a thread, and the connection's sender in the event loop.
            return asyncio.run_coroutine_threadsafe(self._ask(procedure), loop).result(_ASK_S)

        return results_of(self._api, Storage(options), ask).counter(task)

    async def _ask(self, procedure: Procedure[T]) -> T:
        from airflow_provider_sentinelhub.hooks.sentinel_hub import shared_async_sender

        async with shared_async_sender(self._conn_id) as sender:
            return await sender.run(procedure)

    async def _show(self, told: dict[str, Any]) -> None:
        from airflow.sdk.execution_time.xcom import XCom

        ti = self._task_instance
        await XCom.aset(
            key=PROGRESS_XCOM,
            value=told,
            dag_id=ti.dag_id,
            task_id=ti.task_id,
            run_id=ti.run_id,
            map_index=ti.map_index,
        )


async def in_pool(work: Callable[[], T]) -> T:
    """
    Do work that blocks, such as reading a bucket, beside the event loop.

    :param work: The work.
    """
    return await asyncio.get_running_loop().run_in_executor(_POOL, work)
