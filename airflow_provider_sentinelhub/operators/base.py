"""What all operators on a remote task share: the connections, which task it is, and what their own end means for it."""

from __future__ import annotations

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
from airflow_provider_sentinelhub.operators.killing import Killed, an_attempt_follows, is_last_attempt
from airflow_provider_sentinelhub.operators.record import DISOWNED, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook


class BatchTaskOperator(BaseOperator):
    """
    Base of the operators on a remote task.

    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection of the bucket.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage.
    """

    template_fields: Sequence[str] = ("sentinelhub_conn_id", "aws_conn_id", "gcp_conn_id")
    api: ClassVar[str]
    # Whether it starts the remote task, which costs something from then on.
    starts: ClassVar[bool] = False
    stop_on_kill: bool = False
    # Whether it waits for the end of the remote task: that of others runs on where the Airflow task has succeeded.
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

    @cached_property
    def hook(self) -> SentinelHubBatchHook:
        """Works with the remote tasks."""
        from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

        return SentinelHubBatchHook(self.api, self.sentinelhub_conn_id, self.aws_conn_id, self.gcp_conn_id)

    def remember(self, context: Context, task_id: str) -> None:
        """
        Say, for ``on_kill`` here and in the trigger, and for everybody else, which remote task this one works on.

        :param context: The task's context.
        :param task_id: Id of the remote task.
        """
        self._remote_id = task_id
        context["ti"].xcom_push(key=TASK_ID_XCOM, value=task_id)
        forget(self._owed, task_id)

    @contextmanager
    def at_work(self, context: Context) -> Iterator[None]:
        """
        Surround all work: end it where the Airflow task is killed, and see to the remote task however it ends.

        :param context: The task's context.
        :raises AirflowFailException: In place of an error that no retry can mend.
        :raises AirflowException: The Airflow task was killed; or in place of an error that says nothing about the
            remote task, which a retry therefore looks at.
        """
        from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout

        self._is_at_work = not self._was_killed
        if self._was_killed:
            raise AirflowException("The Airflow task was killed")
        try:
            with airflow_failures(), published(context):
                self._ti = context["ti"]
                self._recall(context)
                self._owed = pay(self.hook, context)
                try:
                    checks.rendered(**{name: getattr(self, name) for name in self.template_fields if name != "request"})
                    yield
                except AirflowTaskTimeout:
                    self.out_of_time(context)
                    raise
                except Exception as error:
                    self._leave(context, error)
                    raise
        except Killed:
            if self.stops and self._remote_id:
                if an_attempt_follows(context["ti"], resumes_after_clear=self.resumes_after_clear):
                    self.log.warning("Killed: task %s goes on for the attempt that follows", self._remote_id)
                    self._hand_over(self._remote_id)
                else:
                    try:
                        self._stop_remote_task()
                    finally:
                        self._disown(context)
            raise AirflowException("The Airflow task was killed") from None
        finally:
            self._is_at_work = False

    def _recall(self, context: Context) -> None:
        """Before anything can fail, learn which remote task an earlier attempt may have left running."""
        if (record := TaskRecord.read(context)) and record.is_own:
            self._remote_id = record.id

    def _disown(self, context: Context) -> None:
        """See to it that no attempt takes up again what a user has ended by killing this one."""
        # A clear raises max_tries only where the executor reports the killed worker's success.
        if record := TaskRecord.read(context):
            replace(record, max_tries=DISOWNED).write(context)

    def out_of_time(self, context: Context) -> None:
        """
        See to the remote task where Airflow's ``execution_timeout`` ends the work.

        :param context: The task's context.
        """

    @property
    def stops(self) -> bool:
        """Whether the end of this Airflow task is to be the end of the remote one."""
        return self.stop_on_kill and not self._is_guest

    def _leave(self, context: Context, error: Exception) -> None:
        """
        Leave no remote task running that nobody waits for, and none alone that a retry can look at again.

        :raises AirflowException: In place of an error that Airflow would not retry, because a retry follows.
        """
        from airflow.sdk.exceptions import AirflowException

        if not (self._remote_id and self.starts and self.stops and may_run_on(error)):
            return
        is_unseen = isinstance(error, UNSEEN)
        if not is_last_attempt(context["ti"]) and (
            is_unseen or not isinstance(error, SentinelHubError) or error.retryable
        ):
            self._hand_over(self._remote_id)
            if is_unseen:
                raise AirflowException(str(error)) from error
            return
        self._stop_remote_task("No attempt follows")

    def on_kill(self) -> None:
        """
        Stop the remote task: whoever kills the Airflow task does not want to pay for the rest.

        Airflow calls this out of a signal handler, and lets the work go on afterwards for some seconds; so the work
        is interrupted first, or it would start what has just been stopped.
        """
        if self._was_killed:
            return
        self._was_killed = True
        if self._is_at_work:
            raise Killed
        self._stop_remote_task()

    def _stop_remote_task(self, why: str = "Killed") -> None:
        if self._remote_id and self.stops:
            self.stop_or_owe(self._remote_id, why)

    def hand_over(self, task: BatchTask) -> bool:
        """
        Where a remote task runs, write down that it is to be stopped if nobody takes it over from here.

        Airflow tells nobody that a task was marked failed which no trigger and no worker holds.

        :param task: The remote task.
        :returns: Whether that is written down.
        """
        return self.stops and self.hook.api.is_running(task) and self._hand_over(task.id)

    def _hand_over(self, task_id: str) -> bool:
        if not self.waits:
            return False
        why = "The Airflow task has ended"
        return hand_over(OwedStop.of(self.api, task_id, self.sentinelhub_conn_id, self._ti, why))

    def stop_or_owe(self, task_id: str, why: str) -> Stopped:
        """
        Stop a remote task; where the service does not answer, others stop it as soon as it does.

        :param task_id: Id of the remote task.
        :param why: Why it is to be stopped.
        """
        self.log.info("%s: stopping task %s", why, task_id)
        return stop_or_owe(self.hook, OwedStop.of(self.api, task_id, self.sentinelhub_conn_id, self._ti, why))
