"""
Starts a task of one of the asynchronous APIs and waits for it, without holding a worker.

Why the trigger starts it, and not the worker that created it: a user may kill an Airflow task between its deferral
and the moment a triggerer picks its trigger up, and Airflow then tells nobody. What was not started costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_sentinelhub.triggers.events import BatchEvent, EventKind
from airflow_provider_sentinelhub.triggers.guards import is_still_wanted, uninterrupted

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.watch import Watch

TASK_ID_XCOM = "sentinelhub_task_id"

# Many may be killed at once, and the service may be slow to take up a start that has to be stopped. Airflow's own limit
# of 30 seconds only cancels, see guards.
_ASK_S = 120.0
_STOP_S = 900.0


class SentinelHubBatchTrigger(BaseTrigger):
    """
    Takes the steps a remote task needs, and wakes its own task when it has ended or the deadline has passed.

    Failed looks do not end the wait: the remote task goes on, so the wait does. Transitions are logged, looks are
    not. Killing the Airflow task stops the remote task; restarting or losing the triggerer does not.

    :param api: Key of the API, e.g. ``batch-v2``.
    :param batch_task_id: Id of the remote task.
    :param goal: What is wanted of it, a :class:`~airflow_provider_sentinelhub.client.batch.Goal`.
    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection, to count features while the task runs; ``None`` to leave that.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage.
    :param poll_interval: Seconds between two looks.
    :param deadline: Moment, in seconds since the epoch, after which the wait is over; ``None`` for never.
    :param max_pu: Processing units the remote task may spend before it is stopped; ``None`` for any.
    :param stop_on_kill: Whether killing the Airflow task stops the remote task.
    :param progress_interval: Seconds between two countings of features; 0 for none.
    :param lost_after: Seconds for which the service may refuse every look before the task is woken.
    """

    def __init__(
        self,
        *,
        api: str,
        batch_task_id: str,
        goal: str,
        sentinelhub_conn_id: str,
        aws_conn_id: str | None,
        poll_interval: float,
        gcp_conn_id: str | None = None,
        deadline: float | None = None,
        max_pu: float | None = None,
        stop_on_kill: bool = True,
        progress_interval: float = 0.0,
        lost_after: float = 900.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is untyped
        self.api = api
        self.batch_task_id = batch_task_id
        self.goal = goal
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.max_pu = max_pu
        self.stop_on_kill = stop_on_kill
        self.progress_interval = progress_interval
        self.lost_after = lost_after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again elsewhere; no secret among it."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "api": self.api,
                "batch_task_id": self.batch_task_id,
                "goal": self.goal,
                "sentinelhub_conn_id": self.sentinelhub_conn_id,
                "aws_conn_id": self.aws_conn_id,
                "gcp_conn_id": self.gcp_conn_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "max_pu": self.max_pu,
                "stop_on_kill": self.stop_on_kill,
                "progress_interval": self.progress_interval,
                "lost_after": self.lost_after,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event."""
        from airflow_provider_sentinelhub.client.watch import Watch

        not_before = time.monotonic() + _settling_time()
        event = await self._wait(
            Watch(self.poll_interval, self.deadline, max_pu=self.max_pu, lost_after=self.lost_after)
        )
        await asyncio.sleep(max(0.0, not_before - time.monotonic()))
        yield TriggerEvent(event.to_payload())  # type: ignore[no-untyped-call]  # Airflow's own is untyped

    async def _wait(self, watch: Watch) -> BatchEvent:
        from airflow_provider_sentinelhub.client.batch import APIS, Goal, Step
        from airflow_provider_sentinelhub.triggers.looker import Looker, Refused
        from airflow_provider_sentinelhub.triggers.progress import Progress

        api, goal = APIS[self.api], Goal(self.goal)
        progress = Progress(
            APIS[self.api], self.aws_conn_id, self.gcp_conn_id, self.progress_interval, self.task_instance
        )
        status = ""
        async with Looker(self.sentinelhub_conn_id) as looker:
            while True:
                try:
                    async with asyncio.timeout(watch.patience()):
                        task = await looker.look(api, self.batch_task_id, goal)
                except Refused as e:
                    return self._event(EventKind.REFUSED, status, str(e.error), type(e.error).__name__)
                except Exception as e:  # noqa: BLE001 - no failed look may end the wait while the remote task goes on
                    self._say(watch.missed(e), logging.WARNING)
                    if watch.is_lost:
                        return self._event(EventKind.LOST, status, str(e))
                else:
                    status = task.status
                    self._say(watch.saw(task), logging.INFO)
                    await progress.tell(task)
                    if api.next_step(task, goal) is Step.FINISH:
                        return self._event(EventKind.READY, status)
                    if watch.is_over_budget(task):
                        return await self._end(EventKind.OVER_BUDGET, status, "It has spent more than it may")
                # After the look, so that a task which ended in time is never called late.
                if watch.is_late:
                    return await self._end(EventKind.LATE, status, "The deadline has passed")
                await asyncio.sleep(watch.pause())

    async def _end(self, kind: EventKind, status: str, why: str) -> BatchEvent:
        # Here and not only in the woken task: that one may be killed before it runs.
        if self.stop_on_kill or kind is EventKind.OVER_BUDGET:
            await uninterrupted(self._stop(why))
        return self._event(kind, status)

    def _say(self, line: str | None, level: int) -> None:
        if line is not None:
            self.log.log(level, line)

    def _event(self, kind: EventKind, status: str, message: str = "", error: str = "") -> BatchEvent:
        return BatchEvent(kind, self.batch_task_id, status, self.deadline, message, error)

    async def on_kill(self) -> None:
        """Stop the remote task, if this is a kill and not a triggerer that lost its triggers to another."""
        if self.stop_on_kill:
            await uninterrupted(self._stop_if_killed())

    async def _stop_if_killed(self) -> None:
        try:
            async with asyncio.timeout(_ASK_S):
                wanted = await self._still_wanted()
        except TimeoutError:
            # One stopped by mistake is lost work; one left running is at least named here.
            self.log.error("Cannot tell whether task %s was killed. It is left alone: look at it", self.batch_task_id)  # noqa: TRY400 - the trace says nothing more
            return
        if wanted:
            self.log.info("Task %s is still waited for elsewhere: left running", self.batch_task_id)
        else:
            await self._stop("The Airflow task was killed")

    async def _stop(self, why: str) -> None:
        from airflow_provider_sentinelhub.client.batch import APIS
        from airflow_provider_sentinelhub.client.procedures import stop
        from airflow_provider_sentinelhub.hooks.sentinel_hub import shared_async_sender

        self.log.info("%s: stopping task %s", why, self.batch_task_id)
        try:
            async with asyncio.timeout(_STOP_S), shared_async_sender(self.sentinelhub_conn_id) as sender:
                await sender.run(stop(APIS[self.api], self.batch_task_id))
        except Exception:
            self.log.exception("Could not stop task %s: look at it, it may still be running", self.batch_task_id)

    async def _still_wanted(self) -> bool:
        while True:
            try:
                return await is_still_wanted(self.task_instance, TASK_ID_XCOM, self.batch_task_id)
            except Exception as e:  # noqa: BLE001 - without an answer nothing may be stopped, so it is asked again
                self.log.warning("Could not read the Airflow task's state; asking again: %s", e)
                await asyncio.sleep(1.0)


def _settling_time() -> float:
    """
    Return the seconds a task needs to be safely deferred.

    The worker's supervisor lingers for a heartbeat after the task has deferred; an event that arrives before lets the
    scheduler take the lingering process's end for the failure of the resumed task (apache/airflow#66374).
    """
    from airflow.sdk.configuration import conf

    return 2.0 * int(conf.getint("workers", "min_heartbeat_interval", fallback=5))
