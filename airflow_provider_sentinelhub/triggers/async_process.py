"""Waits for an Async Process request without holding a worker: asks the service, and looks into the bucket."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_sentinelhub.client.errors import AuthenticationError, NotFound
from airflow_provider_sentinelhub.triggers.guards import settling_time
from airflow_provider_sentinelhub.triggers.progress import in_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from airflow_provider_sentinelhub.artifacts.results.async_process import Deliveries, Patience, State, Waited
    from airflow_provider_sentinelhub.client.lifecycle.watch import Watch

_MANY = 5


class SentinelHubAsyncProcessTrigger(BaseTrigger):
    """
    Wait until an Async Process request has ended, and its results are in the bucket.

    The service cannot cancel a request, so killing the Airflow task does not end it.

    :param url: Delivery URL or template of the user's request.
    :param name: Name of the intent.
    :param number: Number of the submission.
    :param formats: Media types of the outputs by identifier.
    :param request_id: Id of the request; empty if it is not known.
    :param since: When it was submitted, in seconds since the epoch.
    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection, for buckets on S3.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage.
    :param poll_interval: Seconds between two polls.
    :param trace_timeout: Seconds to wait for a trace of the request, and for its results after its end.
    :param deadline: When the wait ends, in seconds since the epoch; ``None`` for never.
    :param pause_until: Only wait until this time, in seconds since the epoch.
    """

    def __init__(
        self,
        *,
        url: str,
        name: str,
        number: int,
        formats: Mapping[str, str],
        request_id: str,
        since: float,
        sentinelhub_conn_id: str,
        aws_conn_id: str | None,
        gcp_conn_id: str | None,
        poll_interval: float,
        trace_timeout: float,
        deadline: float | None = None,
        pause_until: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is untyped
        self.url = url
        self.name = name
        self.number = number
        self.formats = dict(formats)
        self.request_id = request_id
        self.since = since
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.poll_interval = poll_interval
        self.trace_timeout = trace_timeout
        self.deadline = deadline
        self.pause_until = pause_until
        self._deliveries: Deliveries | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments, which contain no secret."""
        names = (
            "url",
            "name",
            "number",
            "formats",
            "request_id",
            "since",
            "sentinelhub_conn_id",
            "aws_conn_id",
            "gcp_conn_id",
            "poll_interval",
            "trace_timeout",
            "deadline",
            "pause_until",
        )
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then yield one event."""
        not_before = time.monotonic() + settling_time()
        if self.pause_until is None:
            waited, message = await self._wait()
        else:
            await asyncio.sleep(max(0.0, self.pause_until - time.time()))
            waited, message = "paused", ""
        await asyncio.sleep(max(0.0, not_before - time.monotonic()))
        payload = {"waited": waited, "request_id": self.request_id, "message": message}
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]  # Airflow's own is untyped

    async def _wait(self) -> tuple[str, str]:
        from airflow_provider_sentinelhub.artifacts.results.async_process import Patience, Waited
        from airflow_provider_sentinelhub.client.lifecycle.watch import Watch

        watch, patience = Watch(self.poll_interval, self.deadline), Patience(self.since, self.trace_timeout)
        while True:
            try:
                async with asyncio.timeout(watch.patience()):
                    ended = self._saw(watch, patience, await self._look())
            except Exception as e:  # noqa: BLE001 - no failed poll may end the wait while the request runs
                # The connection is read again next time: its credentials may have been corrected.
                self._deliveries = None
                self._say(watch.missed(e), logging.WARNING)
                ended = None
                if watch.is_lost:
                    return str(Waited.LOST), str(e)
            # After the poll, so that a request that ended in time is never late.
            if ended is not None or watch.is_late:
                return str(ended or Waited.LATE), ""
            await asyncio.sleep(watch.pause())

    def _saw(self, watch: Watch, patience: Patience, state: State) -> Waited | None:
        from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

        self._say(watch.saw(BatchTask(id=state.request_id or "unknown", status=state.stage)), logging.INFO)
        return patience.ends_with(state)

    def _say(self, line: str | None, level: int) -> None:
        if line is not None:
            self.log.log(level, line)

    async def _look(self) -> State:
        from airflow_provider_sentinelhub.artifacts.results.async_process import Stage, State, best

        async with AsyncExitStack() as stack:
            ids, states = [self.request_id] if self.request_id else [], []
            if not ids:
                ids = (await in_pool(partial((await self._opened()).trace, self.number)))[:_MANY]
            for each in ids:
                if await self._is_running(stack, each):
                    states.append(State(Stage.RUNNING, each))
                else:
                    states.append(await in_pool(partial((await self._opened()).ended, self.number, each)))
        found = best(states)
        # Only one that is found for sure: another one may yet appear.
        self.request_id = self.request_id or found.request_id
        return found

    async def _is_running(self, stack: AsyncExitStack, request_id: str) -> bool:
        from airflow_provider_sentinelhub.client.apis.async_process.calls import status
        from airflow_provider_sentinelhub.hooks.sentinel_hub import forget_shared_sender, shared_async_sender

        sender = await stack.enter_async_context(shared_async_sender(self.sentinelhub_conn_id))
        try:
            await sender.send(status(request_id))
        except NotFound:
            return False
        except AuthenticationError:
            forget_shared_sender(self.sentinelhub_conn_id)
            raise
        return True

    async def _opened(self) -> Deliveries:
        if self._deliveries is None:
            from airflow_provider_sentinelhub.artifacts.results.async_process import Deliveries
            from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
            from airflow_provider_sentinelhub.hooks import credentials
            from airflow_provider_sentinelhub.hooks.bucket_connections import storage_options
            from airflow_provider_sentinelhub.hooks.connections import ConnectionFacts

            scheme = self.url.partition("://")[0]
            parameter = "gcp_conn_id" if scheme == "gs" else "aws_conn_id"
            facts = await ConnectionFacts.aread(credentials.needed(getattr(self, parameter), parameter))
            options = await in_pool(partial(storage_options, scheme, facts))
            self._deliveries = Deliveries(Storage(options), self.url, self.name, self.formats)
        return self._deliveries

    async def on_kill(self) -> None:
        """Log that the request runs on: the service cannot cancel it."""
        if self.pause_until is not None:
            # Nothing was submitted.
            return
        about = self.request_id or f"that delivers to {self.name}-{self.number}"
        self.log.warning(
            "The Airflow task was killed. Request %s cannot be cancelled: it runs to its end, and is charged. A clear "
            "of this Airflow task continues with it",
            about,
        )
