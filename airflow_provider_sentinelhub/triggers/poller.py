"""Polls a remote task from a trigger, and takes its next steps."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import ApiError, AuthenticationError
from airflow_provider_sentinelhub.client.lifecycle.procedures import act
from airflow_provider_sentinelhub.client.lifecycle.spec import Goal, NextStep, TaskApiSpec
from airflow_provider_sentinelhub.hooks.sentinel_hub import forget_shared_sender, shared_async_sender
from airflow_provider_sentinelhub.triggers.guards import uninterrupted

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.transport import AsyncSender
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

_ACT_S = 60.0


class Refused(Exception):
    """
    The service refused a step, did not take it, and will refuse it again.

    :param error: Its answer.
    """

    def __init__(self, error: ApiError) -> None:
        super().__init__(str(error))
        self.error = error


class Poller(AsyncExitStack):
    """
    Use the shared sender for one wait, and a new one after its credentials were refused.

    :param sentinelhub_conn_id: The Sentinel Hub connection.
    """

    def __init__(self, sentinelhub_conn_id: str) -> None:
        super().__init__()
        self._conn_id = sentinelhub_conn_id
        self._sender: AsyncSender | None = None

    async def poll(self, api: TaskApiSpec, task_id: str, goal: Goal) -> BatchTask:
        """
        Read a task, take its next steps, and return it as it is afterwards.

        :param api: The task's API.
        :param task_id: Its id.
        :param goal: What the task should reach.
        :raises Refused: The service refused a step for good.
        """
        if self._sender is None:
            self._sender = await self.enter_async_context(shared_async_sender(self._conn_id))
        try:
            task = await self._sender.send(api.calls.get(task_id))
            if api.next_step(task, goal) in {NextStep.WAIT, NextStep.FINISH}:
                return task
            return await uninterrupted(self._act(self._sender, api, task, goal))
        except AuthenticationError:
            # A user may be changing the secret in the connection.
            forget_shared_sender(self._conn_id)
            self._sender = None
            raise

    async def _act(self, sender: AsyncSender, api: TaskApiSpec, task: BatchTask, goal: Goal) -> BatchTask:
        try:
            async with asyncio.timeout(_ACT_S):
                return await sender.run(act(api, task, goal))
        except ApiError as e:
            if e.refuses_action:
                raise Refused(e) from e
            raise
