"""Runs what failed in a task again, for pipelines that decide later."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.hooks.checks import ON_PARTIAL
from airflow_provider_sentinelhub.operators.record import TaskRecord, intent_of
from airflow_provider_sentinelhub.operators.rerunning import RerunsFailedFeatures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask


class RerunsFailedOfTask(RerunsFailedFeatures):
    """
    Base of the operators that run again what failed in a task somebody else ran.

    :param batch_task_id: Id of the task that has ended. Templated.
    :param on_partial: What to do when features are still missing afterwards: ``fail`` or ``warn``. Templated.
    """

    template_fields: Sequence[str] = ("batch_task_id", *RerunsFailedFeatures.template_fields)
    ui_color = "#e3edd8"
    owns_original = False
    choices = ON_PARTIAL
    fewest_reruns = 1

    def __init__(self, *, batch_task_id: str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_task_id: str = batch_task_id  # type: ignore[assignment]  # a string once it is rendered

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Run what failed again.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.client.errors import InvalidParameter

        with self.at_work(context):
            self.check_parameters(parsing=False)
            record = self._record(context)
            task = self.hook.get(record.id)
            # A rerun that goes on is waited for, whoever has begun it.
            if not record.earlier and not self.hook.api.is_over(task):
                raise InvalidParameter(
                    "batch_task_id",
                    task.id,
                    f"must be a task that has ended, and this one is {task.status}",
                    "Wait for it with a sensor first.",
                )
            result: dict[str, Any] = self.carry_on(context, task, record.deadline)
            return result

    def _record(self, context: Context) -> TaskRecord:
        record, wanted = TaskRecord.read(context), intent_of(context, self.body)
        if record is None or (record.digest, record.max_tries) != (wanted.digest, wanted.generation):
            if record is not None and record.is_own and record.digest != wanted.digest:
                self.log.info("Another task is to be rerun now: stopping task %s", record.id)
                self.hook.stop(record.id)
            record = self.found(context, self.hook.get(self.batch_task_id))
            record = replace(record, inherited=len(record.earlier))
            record.write(context)
        return record

    def reruns(self) -> bool:
        """Whether failed features are run again: that is what it is for."""
        return True

    def may_resume(self, task: BatchTask, record: TaskRecord) -> bool:
        """
        Whether a stopped task may be started again: the user of this operator says so of what he found stopped.

        :param task: The remote task.
        :param record: What is remembered of it.
        """
        is_as_found = not record.resumes and len(record.earlier) == record.inherited
        return is_as_found or super().may_resume(task, record)

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """The request of the given task as the service describes it, without credentials."""
        from airflow_provider_sentinelhub.hooks.credentials import without_credentials

        request = self.hook.get(self.batch_task_id).request
        body: Mapping[str, Any] = self.hook.with_script(without_credentials(self.hook.api, request))
        self.hook.api.check_rerun(body)
        return body


class SentinelHubRerunFailedOperator(RerunsFailedOfTask):
    """
    Run again, alone, the features that failed in a batch task; start a stopped task again.

    A task that is DONE is followed by a new one of its failed features, which writes to the places the task itself
    would have written to. A task that is STOPPED, by whomever, is started again as soon as the service allows it.
    Returns what :class:`~airflow_provider_sentinelhub.operators.batch_process.SentinelHubBatchProcessOperator`
    returns, for the task and all its reruns together.

    .. seealso:: ``docs/howto/reruns.md``
    """

    api = "batch-v2"
