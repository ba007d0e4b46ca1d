"""The wait for a remote task that somebody else started. For every asynchronous API."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf

from airflow_provider_sentinelhub.hooks.checks import ON_PARTIAL, flags, number, one_of, rendered
from airflow_provider_sentinelhub.hooks.failures import airflow_failures, published
from airflow_provider_sentinelhub.hooks.outcome import conclude, with_reruns
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

_TRIGGER_MARGIN_S = 120.0


class BatchTaskSensor(BaseSensorOperator):
    """
    Base of the sensors.

    :param batch_task_id: Id of the task. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection of the bucket.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage.
    :param deferrable: Wait in the triggerer instead of holding a worker.
    :param on_partial: What to do when the task is DONE but some features failed: ``fail`` or ``warn``. Templated.
    :param poll_interval: Seconds between two looks while deferred; ``poke_interval``, which cannot be templated,
        where absent. Templated.
    :param progress_interval: Seconds between two countings of the features while deferred, shown in the XCom
        ``sentinelhub_progress``; 0 for none. Templated.
    """

    template_fields: Sequence[str] = (
        "batch_task_id",
        "sentinelhub_conn_id",
        "aws_conn_id",
        "gcp_conn_id",
        "on_partial",
        "poll_interval",
        "progress_interval",
    )
    ui_color = "#f0f4d7"
    api: ClassVar[str]

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        on_partial: str = "fail",
        poll_interval: float | str | None = None,
        progress_interval: float | str = 300.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        flags(deferrable=deferrable)
        self.batch_task_id: str = batch_task_id  # type: ignore[assignment]  # a string once it is rendered
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.deferrable = deferrable
        self.on_partial = on_partial
        self.poll_interval = poll_interval
        self.progress_interval = progress_interval
        self._check_parameters(parsing=True)

    @cached_property
    def hook(self) -> SentinelHubBatchHook:
        """Works with the remote task."""
        from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

        return SentinelHubBatchHook(self.api, self.sentinelhub_conn_id, self.aws_conn_id, self.gcp_conn_id)

    def look(self) -> BatchTask:
        """Return the remote task as it is now."""
        return self.hook.get(self.batch_task_id)

    def execute(self, context: Context) -> Any:
        """
        Wait for the task.

        :param context: The task's context.
        """
        if not self.deferrable:
            return super().execute(context)
        done = self.poke(context)
        if done.is_done:
            return done.xcom_value
        return self._wait_in_triggerer(time.time() + self.timeout)

    def poke(self, context: Context) -> PokeReturnValue:
        """
        Look at the task once.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.client.errors import ApiError

        with airflow_failures(), published(context):
            self._check_parameters(parsing=False)
            try:
                task = self.look()
            except ApiError as e:
                if not e.retryable:
                    raise
                # The task goes on while the service cannot be asked, so the wait does.
                self.log.warning("Could not look at task %s: %s", self.batch_task_id, e)
                return PokeReturnValue(is_done=False)
            if not self.hook.api.is_over(task):
                self.log.info("Task %s is %s (%s %%)", task.id, task.status, task.completion_percentage or 0)
                return PokeReturnValue(is_done=False)
            tasks = with_reruns(self.hook, task)
            result = conclude(self.hook, tasks, on_partial=self.on_partial)
            return PokeReturnValue(is_done=True, xcom_value=result)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Go on after waiting.

        :param context: The task's context.
        :param event: What the trigger said; nothing where somebody else has woken the task.
        :raises AirflowSensorTimeout: The task did not end in time; it was left running.
        :raises AirflowSkipException: The same, where ``soft_fail`` is on.
        """
        from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

        from airflow_provider_sentinelhub.triggers.events import BatchEvent, EventKind

        happened = BatchEvent.from_payload(event)
        done = self.poke(context)
        if done.is_done:
            return done.xcom_value
        if happened and happened.kind is EventKind.LATE:
            message = f"Task {self.batch_task_id} did not end within {self.timeout} s; it was left running."
            raise AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)
        return self._wait_in_triggerer(happened.deadline if happened else time.time() + self.timeout)

    def _check_parameters(self, *, parsing: bool) -> None:
        if not parsing:
            rendered(**{name: getattr(self, name) for name in self.template_fields})
        one_of("on_partial", self.on_partial, ON_PARTIAL, parsing=parsing)
        for name in ("poll_interval", "progress_interval"):
            number(name, getattr(self, name), at_least=0, parsing=parsing)

    def _wait_in_triggerer(self, deadline: float | None) -> None:
        from airflow_provider_sentinelhub.client.lifecycle.spec import Goal
        from airflow_provider_sentinelhub.triggers.batch import SentinelHubBatchTrigger

        trigger = SentinelHubBatchTrigger(
            api=self.api,
            batch_task_id=self.batch_task_id,
            goal=Goal.OBSERVE.value,
            sentinelhub_conn_id=self.sentinelhub_conn_id,
            aws_conn_id=self.aws_conn_id,
            gcp_conn_id=self.gcp_conn_id,
            poll_interval=self.poke_interval if self.poll_interval is None else float(self.poll_interval),
            deadline=deadline,
            stop_on_kill=False,
            progress_interval=float(self.progress_interval),
        )
        spare = None if deadline is None else max(0.0, deadline - time.time()) + _TRIGGER_MARGIN_S
        self.defer(trigger=trigger, method_name="execute_complete", timeout=spare)
