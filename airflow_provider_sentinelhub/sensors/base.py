"""The wait for a remote task that was started elsewhere, for every asynchronous API."""

from __future__ import annotations

import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.configuration import conf

from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.failures import airflow_failures, published
from airflow_provider_sentinelhub.hooks.outcome import conclude, with_reruns
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

_TRIGGER_MARGIN_S = 120.0


class RemoteTaskSensorBase(checks.CheckedParametersMixin, BaseSensorOperator):
    """
    Base of the sensors.

    :param batch_task_id: The id of the remote task. Templated.
    :param on_partial: What to do when the remote task has ended but some features failed: ``fail`` or ``warn``.
        Templated.
    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two checks of the remote task while deferred. Default:
        ``poke_interval``, which cannot be templated. Templated.
    :param progress_interval: Time in seconds between two counts of the features while deferred, pushed to the XCom
        ``sentinelhub_progress``; 0 for none. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
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
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "batch_task_id": checks.BATCH_TASK,
        "sentinelhub_conn_id": checks.CONNECTION,
        "aws_conn_id": checks.OPTIONAL_CONNECTION,
        "gcp_conn_id": checks.OPTIONAL_CONNECTION,
        "deferrable": checks.flag,
        "on_partial": partial(checks.one_of, choices=checks.ON_PARTIAL),
        "poll_interval": partial(checks.number, at_least=0, optional=True),
        "progress_interval": checks.SECONDS,
    }
    ui_color = "#f0f4d7"
    api: ClassVar[str]

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        on_partial: str = "fail",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str | None = None,
        progress_interval: float | str = 300.0,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.batch_task_id: str = batch_task_id  # type: ignore[assignment]  # a string once it is rendered
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self.aws_conn_id = aws_conn_id
        self.gcp_conn_id = gcp_conn_id
        self.deferrable = deferrable
        self.on_partial = on_partial
        self.poll_interval = poll_interval
        self.progress_interval = progress_interval
        self.check_parameters(parsing=True)

    @cached_property
    def hook(self) -> SentinelHubBatchHook:
        """The hook that reaches the service and the bucket."""
        from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

        return SentinelHubBatchHook(self.api, self.sentinelhub_conn_id, self.aws_conn_id, self.gcp_conn_id)

    def look(self) -> BatchTask:
        """Return the remote task as it is now."""
        return self.hook.get(self.batch_task_id)

    def execute(self, context: Context) -> Any:
        """
        Wait for the remote task, and return its result.

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
        Check the remote task once.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.client.errors import ApiError

        with airflow_failures(), published(context):
            self.check_parameters(parsing=False)
            try:
                task = self.look()
            except ApiError as e:
                if not e.retryable:
                    raise
                # The remote task continues while the service is unavailable, and so does the wait.
                self.log.warning("Could not look at task %s: %s", self.batch_task_id, e)
                return PokeReturnValue(is_done=False)
            if not self.hook.api.is_over(task):
                percent = task.completion_percentage
                self.log.info("Task %s is %s%s", task.id, task.status, "" if percent is None else f" ({percent:g} %)")
                return PokeReturnValue(is_done=False)
            tasks = with_reruns(self.hook, task)
            result = conclude(self.hook, tasks, on_partial=self.on_partial)
            return PokeReturnValue(is_done=True, xcom_value=result)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Continue after the deferral.

        :param context: The task's context.
        :param event: The payload of the trigger's event; ``None`` if something else resumed the Airflow task.
        :raises AirflowSensorTimeout: The remote task did not end in time; it was left running.
        :raises AirflowSkipException: The same, if ``soft_fail`` is set.
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


class DeletedTaskSensorBase(RemoteTaskSensorBase):
    """
    Base of the sensors that also report on a remote task that the service has deleted.

    :param delivery_url: Where the remote task delivered to: ``output.s3.url`` of its request. Needed only if the
        service has deleted the task; the files in the bucket are then read. Templated.
    :param features_url: Its GeoPackage: ``input.features.s3.url`` of its request. Shows which features have no file.
        Needed only with ``delivery_url``. Templated.
    """

    template_fields: Sequence[str] = (*RemoteTaskSensorBase.template_fields, "delivery_url", "features_url")
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "delivery_url": checks.OPTIONAL_URL,
        "features_url": checks.OPTIONAL_URL,
    }

    def __init__(
        self,
        *,
        delivery_url: str | XComArg | None = None,
        features_url: str | XComArg | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Strings once they are rendered.
        self.delivery_url: str | None = delivery_url  # type: ignore[assignment]
        self.features_url: str | None = features_url  # type: ignore[assignment]
        self.check_parameters(parsing=True)

    def look(self) -> BatchTask:
        """Return the remote task as it is now, or a stand-in if the service has deleted it."""
        from airflow_provider_sentinelhub.hooks.outcome import get_even_deleted

        return get_even_deleted(self.hook, self.batch_task_id, self.delivery_url, self.features_url)
