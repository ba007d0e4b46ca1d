"""
Starts a remote task and waits for it, without holding a worker.

The trigger starts the task, not the worker that created it: a user may kill the Airflow task after it is deferred and
before a triggerer runs its trigger, and Airflow then calls no ``on_kill``. A task that was not started costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_sentinelhub.hooks.owed_stops import OwedStop
from airflow_provider_sentinelhub.triggers.events import BatchEvent, EventKind
from airflow_provider_sentinelhub.triggers.guards import settling_time, uninterrupted
from airflow_provider_sentinelhub.triggers.pay_owed_stops import (
    awaited,
    hand_over,
    look_for_owed,
    stop_if_unwanted,
    stop_or_owe,
    take_over,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_sentinelhub.client.lifecycle.watch import Watch
    from airflow_provider_sentinelhub.triggers.poller import Poller
    from airflow_provider_sentinelhub.triggers.progress import Progress

# A passed deadline is reported soon, even if the service does not answer.
_LATE_STOP_S = 60.0
_STOPS_BECAUSE = {
    EventKind.LATE: "The deadline has passed",
    EventKind.OVER_BUDGET: "It has spent more than it may",
}


class SentinelHubBatchTrigger(BaseTrigger):
    """
    Take the next steps of a remote task, and resume the Airflow task when it has ended or the deadline has passed.

    A failed poll does not end the wait, because the remote task continues. Changes of its status are logged, polls are
    not. Killing the Airflow task stops the remote task; restarting or losing the triggerer does not.

    :param api: Key of the API, e.g. ``batch-v2``.
    :param batch_task_id: Id of the remote task.
    :param goal: What it should reach, a :class:`~airflow_provider_sentinelhub.client.lifecycle.spec.Goal`.
    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection, to count features while the task runs; ``None`` to not count them.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage.
    :param poll_interval: Seconds between two polls.
    :param deadline: When the wait ends, in seconds since the epoch; ``None`` for never.
    :param max_pu: Processing units after which the remote task is stopped; ``None`` for no limit.
    :param stop_on_kill: Whether killing the Airflow task stops the remote task.
    :param progress_interval: Seconds between two counts of features; 0 for none.
    :param lost_after: Seconds of failing polls after which the Airflow task is resumed.
    :param is_handed_over: Whether the remote task already runs, and a stored stop must be deleted to take it over.
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
        is_handed_over: bool = False,
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
        self.is_handed_over = is_handed_over
        self._status = ""
        self._runs = True

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, which contain no secret."""
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
                "is_handed_over": self.is_handed_over,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event."""
        from airflow_provider_sentinelhub.client.lifecycle.watch import Watch

        not_before = time.monotonic() + settling_time()
        # In dag.test() a trigger has no task instance, and nobody else could take the remote task over.
        is_known = self.stop_on_kill and self.task_instance is not None
        with awaited(self.batch_task_id, self.task_instance) if is_known else nullcontext():
            event = await self._wait(
                Watch(self.poll_interval, self.deadline, max_pu=self.max_pu, lost_after=self.lost_after)
            )
        event = await uninterrupted(self._see_to_the_task(event))
        await asyncio.sleep(max(0.0, not_before - time.monotonic()))
        yield TriggerEvent(event.to_payload())  # type: ignore[no-untyped-call]  # Airflow's own is untyped

    async def _wait(self, watch: Watch) -> BatchEvent:
        from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS
        from airflow_provider_sentinelhub.triggers.poller import Poller
        from airflow_provider_sentinelhub.triggers.progress import Progress

        progress = Progress(
            TASK_APIS[self.api],
            self.progress_interval,
            self.task_instance,
            sentinelhub_conn_id=self.sentinelhub_conn_id,
            aws_conn_id=self.aws_conn_id,
            gcp_conn_id=self.gcp_conn_id,
        )
        async with Poller(self.sentinelhub_conn_id) as poller:
            while True:
                if self.is_handed_over:
                    self.is_handed_over = not await take_over(self.sentinelhub_conn_id, self.batch_task_id)
                look_for_owed(self.sentinelhub_conn_id)
                if (event := await self._look(poller, watch, progress)) is not None:
                    return event
                # After the poll, so that a task that ended in time is never late.
                if watch.is_late:
                    return self._event(EventKind.LATE)
                await asyncio.sleep(watch.pause())

    async def _look(self, poller: Poller, watch: Watch, progress: Progress) -> BatchEvent | None:
        from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS
        from airflow_provider_sentinelhub.client.lifecycle.spec import Goal, NextStep
        from airflow_provider_sentinelhub.triggers.poller import Refused

        api, goal = TASK_APIS[self.api], Goal(self.goal)
        try:
            async with asyncio.timeout(watch.patience()):
                task = await poller.poll(api, self.batch_task_id, goal)
        except Refused as e:
            return self._event(EventKind.REFUSED, str(e.error), type(e.error).__name__)
        except Exception as e:  # noqa: BLE001 - no failed poll may end the wait while the remote task continues
            self._say(watch.missed(e), logging.WARNING)
            return self._event(EventKind.LOST, str(e)) if watch.is_lost else None
        self._status, self._runs = task.status, api.is_running(task)
        self._say(watch.saw(task), logging.INFO)
        await progress.tell(task)
        if api.next_step(task, goal) is NextStep.FINISH:
            return self._event(EventKind.READY)
        return self._event(EventKind.OVER_BUDGET) if watch.is_over_budget(task) else None

    async def _see_to_the_task(self, event: BatchEvent) -> BatchEvent:
        # Here and not only in the resumed task, which may be killed before it runs.
        from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS

        if not TASK_APIS[self.api].can.stop:
            return event
        why = _STOPS_BECAUSE.get(event.kind)
        if why is not None and (self.stop_on_kill or event.kind is EventKind.OVER_BUDGET):
            self.log.info("%s: stopping task %s", why, self.batch_task_id)
            return replace(event, message=await stop_or_owe(self._stop(why), patience_s=_LATE_STOP_S))
        is_left = why is None and self._runs and event.kind is not EventKind.REFUSED
        if is_left and self.stop_on_kill and self.task_instance is not None:
            await hand_over(self._stop("The Airflow task has ended"))
        return event

    def _stop(self, why: str) -> OwedStop:
        return OwedStop.of(self.api, self.batch_task_id, self.sentinelhub_conn_id, self.task_instance, why)

    def _say(self, line: str | None, level: int) -> None:
        if line is not None:
            self.log.log(level, line)

    def _event(self, kind: EventKind, message: str = "", error: str = "") -> BatchEvent:
        return BatchEvent(kind, self.batch_task_id, self._status, self.deadline, message, error)

    async def on_kill(self) -> None:
        """Stop the remote task, unless another triggerer has only taken this trigger over."""
        if self.stop_on_kill:
            await uninterrupted(stop_if_unwanted(self._stop("The Airflow task was killed")))
