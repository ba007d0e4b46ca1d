"""What all operators on a remote task share: the connections, which task it is, and what a kill means for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_sentinelhub.hooks.failures import airflow_failures
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.operators.killing import Killed, an_attempt_follows

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

TASK_ID_XCOM = "sentinelhub_task_id"


class BatchTaskOperator(BaseOperator):
    """
    Base of the operators on a remote task.

    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection of the bucket.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage.
    """

    template_fields: Sequence[str] = ("sentinelhub_conn_id", "aws_conn_id", "gcp_conn_id")
    api: ClassVar[str]
    stop_on_kill: bool = False

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

    @contextmanager
    def at_work(self, context: Context) -> Iterator[None]:
        """
        Surround all work: end it where the Airflow task is killed, and see to the remote task then.

        :param context: The task's context.
        :raises AirflowFailException: In place of an error that no retry can mend.
        :raises AirflowException: The Airflow task was killed.
        """
        from airflow.sdk.exceptions import AirflowException

        self._is_at_work = not self._was_killed
        if self._was_killed:
            raise AirflowException("The Airflow task was killed")
        try:
            with airflow_failures():
                yield
        except Killed:
            if self.stop_on_kill and self._remote_id and an_attempt_follows(context["ti"]):
                self.log.warning("Killed, but not by a user: task %s goes on for the next attempt", self._remote_id)
            else:
                self._stop_remote_task()
            raise AirflowException("The Airflow task was killed") from None
        finally:
            self._is_at_work = False

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

    def _stop_remote_task(self) -> None:
        if self._remote_id and self.stop_on_kill:
            self.log.info("Killed: stopping task %s", self._remote_id)
            self.hook.stop(self._remote_id)
