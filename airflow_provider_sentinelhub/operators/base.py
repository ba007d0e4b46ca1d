"""
What all operators on a remote task share: the connections, and what their own end means for the remote task.

An Airflow task may end at any line: killed, cleared, out of time, or with an error.
:meth:`RemoteTaskOperatorBase.at_work` surrounds all work and decides, for each of these ends, whether the remote task
is stopped or left to the next attempt.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_sentinelhub.client.errors import SentinelHubError
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.failures import UNSEEN, airflow_failures, may_run_on, published
from airflow_provider_sentinelhub.hooks.owed_stops import (
    TASK_ID_XCOM,
    OwedStop,
    Stopped,
    forget,
    hand_over,
    pay,
    stop_or_owe,
)
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.operators.record import DISOWNED, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

log = logging.getLogger(__name__)

_IS_TO_RUN = frozenset({"running", "up_for_retry", "up_for_reschedule", "queued", "scheduled", "deferred"})


class Killed(BaseException):
    """
    Raised in Airflow's signal handler to interrupt the work.

    Not an :class:`Exception`: no library in between may handle it as a failed request.
    """


class RemoteTaskOperatorBase(checks.CheckedParametersMixin, BaseOperator):
    """
    Base of the operators on a remote task.

    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    template_fields: Sequence[str] = ("sentinelhub_conn_id", "aws_conn_id", "gcp_conn_id")
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "sentinelhub_conn_id": checks.CONNECTION,
        "aws_conn_id": checks.OPTIONAL_CONNECTION,
        "gcp_conn_id": checks.OPTIONAL_CONNECTION,
    }
    api: ClassVar[str]
    # Whether it starts the remote task, which costs processing units from then on.
    starts: ClassVar[bool] = False
    stop_on_kill: bool = False
    # Whether it waits for the end of the remote task. If not, the remote task outlives a successful Airflow task.
    waits: ClassVar[bool] = True
    # Whether an attempt after a clear continues with the same remote task.
    resumes_after_clear: bool = False

    def __init__(
        self,
        *,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self._remote_id: str | None = None
        self._is_at_work = False
        self._was_killed = False
        self._is_guest = False
        self._ti: RuntimeTaskInstanceProtocol | None = None
        self._owed: tuple[OwedStop, ...] = ()
        self.check_parameters(parsing=True)

    @cached_property
    def hook(self) -> SentinelHubBatchHook:
        """The hook that reaches the service and the bucket."""
        from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

        return SentinelHubBatchHook(self.api, self.sentinelhub_conn_id, self.aws_conn_id, self.gcp_conn_id)

    def publish(self, context: Context, task_id: str) -> None:
        """
        Publish which remote task this Airflow task works on: ``on_kill``, the trigger and other tasks read it.

        :param context: The task's context.
        :param task_id: The id of the remote task.
        """
        self._remote_id = task_id
        context["ti"].xcom_push(key=TASK_ID_XCOM, value=task_id)
        forget(self._owed, task_id)

    @contextmanager
    def at_work(self, context: Context, *, resumed: bool = False) -> Iterator[None]:
        """
        Surround all work, and stop the remote task or leave it to the next attempt, however the work ends.

        :param context: The task's context.
        :param resumed: Whether the attempt continues after a deferral. Then parameters may be invalid: what has become
            wrong meanwhile must not hide what became of the remote task.
        :raises AirflowFailException: Replaces an error that a retry cannot resolve.
        :raises AirflowException: The Airflow task was killed. Also replaces an error that says nothing about the
            state of the remote task, so that a retry checks it.
        """
        from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout

        self._is_at_work = not self._was_killed
        if self._was_killed:
            raise AirflowException("The Airflow task was killed")
        try:
            with airflow_failures(), published(context):
                self._ti = context["ti"]
                self._read_record(context)
                self._owed = pay(self.hook, context)
                try:
                    if resumed:
                        self.check_rendered()
                        self.make_own()
                    else:
                        self.check_parameters(parsing=False)
                    yield
                except AirflowTaskTimeout:
                    self.on_execution_timeout(context)
                    raise
                except Exception as error:
                    self._after_error(context, error)
                    raise
        except Killed:
            if self.stops and self._remote_id:
                if _an_attempt_follows(context["ti"], resumes_after_clear=self.resumes_after_clear):
                    self.log.warning("Killed: task %s is left running for the next attempt", self._remote_id)
                    self._hand_over(self._remote_id)
                else:
                    try:
                        self._stop_remote_task()
                    finally:
                        self._forbid_resuming(context)
            raise AirflowException("The Airflow task was killed") from None
        finally:
            self._is_at_work = False

    def _read_record(self, context: Context) -> None:
        """Read, before anything can fail, which remote task an earlier attempt may have left running."""
        if (record := TaskRecord.read(context)) and record.is_own:
            self._remote_id = record.id

    def _forbid_resuming(self, context: Context) -> None:
        """Keep later attempts from continuing with a remote task that a user has ended by killing this attempt."""
        # A clear raises max_tries only where the executor reports the killed worker's success.
        if record := TaskRecord.read(context):
            replace(record, max_tries=DISOWNED).write(context)

    def on_execution_timeout(self, context: Context) -> None:
        """
        Handle the remote task when Airflow's ``execution_timeout`` ends the work.

        :param context: The task's context.
        """

    @property
    def stops(self) -> bool:
        """Whether the remote task is stopped when this Airflow task ends early, as far as the service can."""
        return self.stop_on_kill and not self._is_guest and self.hook.api.can.stop

    def _after_error(self, context: Context, error: Exception) -> None:
        """
        Stop the remote task after an error, unless a retry can continue with it.

        :raises AirflowException: Replaces an error that Airflow would not retry, so that a retry follows.
        """
        from airflow.sdk.exceptions import AirflowException

        if not (self._remote_id and self.starts and self.stops and may_run_on(error)):
            return
        is_unseen = isinstance(error, UNSEEN)
        if not _is_last_attempt(context["ti"]) and (
            is_unseen or not isinstance(error, SentinelHubError) or error.retryable
        ):
            self._hand_over(self._remote_id)
            if is_unseen:
                raise AirflowException(str(error)) from error
            return
        self._stop_remote_task("No attempt follows")

    def on_kill(self) -> None:
        """
        Stop the remote task, so that nothing more is paid for after the Airflow task was killed.

        Airflow calls this in a signal handler and lets the work continue for some seconds. So the work is interrupted
        first; otherwise it could start what has just been stopped.
        """
        if self._was_killed:
            return
        self._was_killed = True
        if self._is_at_work:
            raise Killed
        self._stop_remote_task()

    def _stop_remote_task(self, why: str = "The process of the Airflow task was stopped") -> None:
        if self._remote_id and self.stops:
            self.stop_or_owe(self._remote_id, why)

    def hand_over(self, task: BatchTask) -> bool:
        """
        Record that a running remote task must be stopped if no attempt takes it over.

        Airflow notifies nobody when a task is marked failed while neither a worker nor a trigger holds it.

        :param task: The remote task.
        :returns: Whether it was recorded.
        """
        return self.stops and self.hook.api.is_running(task) and self._hand_over(task.id)

    def _hand_over(self, task_id: str) -> bool:
        if not self.waits:
            return False
        why = "The Airflow task has ended"
        return hand_over(OwedStop.of(self.api, task_id, self.sentinelhub_conn_id, self._ti, why))

    def stop_or_owe(self, task_id: str, why: str) -> Stopped:
        """
        Stop a remote task; if the service does not answer, record that the stop is still owed.

        :param task_id: The id of the remote task.
        :param why: The reason, for the log.
        """
        self.log.info("%s: stopping task %s", why, task_id)
        return stop_or_owe(self.hook, OwedStop.of(self.api, task_id, self.sentinelhub_conn_id, self._ti, why))


def _is_last_attempt(ti: RuntimeTaskInstanceProtocol) -> bool:
    """
    Whether no retry follows if this attempt fails.

    :param ti: The task instance.
    """
    return ti.try_number > ti.max_tries


def _an_attempt_follows(ti: RuntimeTaskInstanceProtocol, *, resumes_after_clear: bool) -> bool:
    """
    Whether another attempt follows a killed one, and continues with the remote task.

    One does when the machine was taken away, when Airflow has lost the attempt, or when a user has cleared it. When a
    user has marked the task failed or success, its state says so.

    :param ti: The task instance of the killed attempt.
    :param resumes_after_clear: Whether an attempt after a clear continues with the same remote task.
    """
    from airflow.sdk import TaskInstanceState

    mapped = ti.map_index is not None and ti.map_index >= 0
    for is_last in (False, True):
        try:
            states = ti.get_task_states(
                dag_id=ti.dag_id,
                task_ids=[ti.task_id],
                run_ids=[ti.run_id],
                map_index=ti.map_index if mapped else None,
            )
        except Exception:
            # The kill may have interrupted a message to Airflow, and the first answer is the one to that message.
            if not is_last:
                continue
            # Without an answer from Airflow, assume that no user has changed the state.
            log.exception("Cannot read the task's state")
            return not _is_last_attempt(ti)
        break
    state = states.get(ti.run_id, {}).get(f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id)
    # A running task that a user has cleared; it has nothing to do with a rerun.
    if state == TaskInstanceState.RESTARTING:
        return resumes_after_clear
    return state in _IS_TO_RUN and not _is_last_attempt(ti)


class IdentifierColumnMixin(RemoteTaskOperatorBase):
    """
    What operators share that make a table of statistics: where the names of features come from.

    :param identifier_column: The column of the GeoPackage with the names of the features, if that is not
        ``identifier``, which is the only one that the service reads. Tables and messages then have these names, also
        in later reports. Templated.
    """

    template_fields: Sequence[str] = ("identifier_column", *RemoteTaskOperatorBase.template_fields)
    rules: ClassVar[Mapping[str, checks.Rule]] = {"identifier_column": checks.IDENTIFIER_COLUMN}

    def __init__(self, *, identifier_column: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.identifier_column = identifier_column
        self.check_parameters(parsing=True)

    @cached_property
    def hook(self) -> SentinelHubBatchHook:
        """The hook that reaches the service and the bucket."""
        hook = super().hook
        hook.identifier_column = self.identifier_column or None
        return hook
