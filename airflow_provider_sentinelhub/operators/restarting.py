"""
Operators that have the service run failed features again, in the same remote task.

A restart is recorded before it is sent. An attempt that ends in between leaves a record of a restart that may not have
been sent: the next attempt sends it, and counts it once. What the service has delivered is never processed again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_sentinelhub.client.costs.amounts import pu_text
from airflow_provider_sentinelhub.client.errors import TaskError
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.budget import describe_limit, limit_of
from airflow_provider_sentinelhub.hooks.outcome import Advice, GivenUp
from airflow_provider_sentinelhub.operators.record import TaskRecord, intent_of
from airflow_provider_sentinelhub.operators.starting import StartingOperatorBase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask


class RestartingOperatorBase(StartingOperatorBase):
    """
    Base of the operators that have the service run failed features again.

    :param on_partial: What to do when the remote task is PARTIAL, because some features failed: ``fail``, ``warn``,
        ``restart`` (have the service run them again, then ``fail`` if some are still missing) or
        ``restart_then_warn``. With ``fail``, a clear restarts them once. Templated.
    :param max_restarts: How many times failed features are restarted at most. Templated.
    :param max_pu: Maximum processing units the remote task may cost, restarts included. It is not started or restarted
        if the service estimates that it would cost more. A running task is not stopped for its cost, because the
        service does not tell it. Default: the limit of the connection; without one, a task of more than 10,000 PU or
        1,000,000 km2 is not started. Templated.
    """

    template_fields: Sequence[str] = (*StartingOperatorBase.template_fields, "max_restarts")
    more_time = "Raise the limit; a task that was stopped can neither be continued nor restarted"
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "on_partial": partial(checks.one_of, choices=checks.ON_PARTIAL_WITH_RESTART),
        "max_restarts": partial(checks.number, at_least=0, whole=True),
    }

    def __init__(self, *, max_restarts: int | str = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_restarts = max_restarts
        self.no_restart = ""
        self.check_parameters(parsing=True)

    def restarts(self) -> bool:
        """Whether failed features are restarted."""
        return self.on_partial.startswith("restart")

    def carry_on(self, context: Context, task: BatchTask, deadline: float | None) -> Any:
        """
        Take the steps the remote task needs, wait for the rest, and return the result.

        :param context: The task's context.
        :param task: The remote task as last read.
        :param deadline: When the wait ends, in seconds since the epoch; ``None`` for never.
        """
        record = TaskRecord.read(context)
        if record is not None and record.is_restarting and task.status not in self.hook.api.restartable:
            # It was sent.
            replace(record, is_restarting=False).write(context)
        return super().carry_on(context, task, deadline)

    def recovery(self, context: Context, task: BatchTask, record: TaskRecord) -> Callable[[], Any] | None:
        """
        Return what restarts the failed features and returns the result; ``None`` if they are not restarted.

        :param context: The task's context.
        :param task: The remote task, which has ended.
        :param record: Its record.
        """
        if task.status not in self.hook.api.restartable:
            return None
        asked_for = self.restarts() or (record.after_clear and self.on_partial == "fail")
        most = int(self.max_restarts) if self.restarts() else min(1, int(self.max_restarts))
        if not asked_for or (record.resumes >= most and not record.is_restarting):
            return None
        if not record.is_restarting and record.deadline is not None and time.time() >= record.deadline:
            # It would be stopped at once, and a stopped task can neither be continued nor restarted.
            self.no_restart = (
                "They were not restarted, because the time limit has passed. Raise it and clear this Airflow task to "
                "restart only them."
            )
            return None
        counts = self.hook.results.counts(task)
        if not self._is_affordable(task, counts):
            return None
        return lambda: self._restart(context, task, record, counts)

    def _is_affordable(self, task: BatchTask, counts: FeatureReport) -> bool:
        limit, told = limit_of(self.hook, self.max_pu), self.hook.api.estimate_of(task)
        if limit is None or told is None:
            return True
        spent, again = counts.cost_pu or 0.0, told.pu * counts.failed / max(counts.total, 1)
        if spent + again <= limit:
            return True
        self.no_restart = (
            f"They were not restarted: that would cost about {pu_text(again)}, and {pu_text(spent)} are spent already, "
            f"of {describe_limit(self.hook, self.max_pu)}. Raise max_pu and clear this Airflow task to restart only "
            "them."
        )
        self.log.warning("%s", self.no_restart)
        return False

    def _restart(self, context: Context, task: BatchTask, record: TaskRecord, counts: FeatureReport) -> Any:
        if not record.is_restarting:
            record = replace(record, resumes=record.resumes + 1, is_restarting=True, is_own=True)
            record.write(context)
        # From now on a kill stops it.
        self._is_guest = False
        self.log.info(
            "Restart %d of task %s: %d of %d features failed. The task has cost %s so far",
            record.resumes,
            task.id,
            counts.failed,
            counts.total,
            pu_text(counts.cost_pu),
        )
        task = self.hook.restart(task)
        replace(record, is_restarting=False).write(context)
        return self.carry_on(context, task, record.deadline)

    def _conclude(self, context: Context, task: BatchTask, record: TaskRecord, given_up: GivenUp | None = None) -> Any:
        try:
            result = super()._conclude(context, task, record, given_up)
        except TaskError as error:
            if error.result is not None:
                error.result = {**error.result, "restarts": record.resumes}
            raise
        return {**result, "restarts": record.resumes}

    def advice(self) -> Advice:
        """Return the advice for features that were not delivered."""
        return Advice(failed=self.no_restart or "Clear this Airflow task to try again.")


class RestartFailedOperatorBase(RestartingOperatorBase):
    """
    Base of the operators that have the service run the failed features of a remote task again.

    :param batch_task_id: The id of the remote task. Templated.
    :param on_partial: What to do when features are still missing after the restarts: ``fail`` or ``warn``. Templated.
    """

    template_fields: Sequence[str] = ("batch_task_id", *RestartingOperatorBase.template_fields)
    ui_color = "#e3edd8"
    owns_original = False
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "batch_task_id": checks.BATCH_TASK,
        "on_partial": partial(checks.one_of, choices=checks.ON_PARTIAL),
        "max_restarts": partial(checks.number, at_least=1, whole=True),
    }

    def __init__(self, *, batch_task_id: str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_task_id: str = batch_task_id  # type: ignore[assignment]  # a string once it is rendered
        self.check_parameters(parsing=True)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Restart the failed features, and return the result of the remote task.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.client.errors import InvalidParameter

        with self.at_work(context):
            self.check_limit()
            task = self.hook.get(self.batch_task_id)
            record, wanted = TaskRecord.read(context), intent_of(context, self.body)
            if record is None or (record.id, record.max_tries) != (task.id, wanted.generation):
                # A restart that somebody else has begun is waited for only by whoever begins one here.
                if not self.hook.api.is_over(task):
                    raise InvalidParameter(
                        "batch_task_id",
                        task.id,
                        f"must be a task that has ended, and this one is {task.status}",
                        "Wait for it with a sensor first.",
                    )
                record = self.record_by_tags(context, task)
                record.write(context)
            result: dict[str, Any] = self.carry_on(context, task, record.deadline)
            return result

    def restarts(self) -> bool:
        """Whether failed features are restarted: always."""
        return True

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """The request of the remote task, as the service returns it, without credentials."""
        from airflow_provider_sentinelhub.hooks.credentials import without_credentials

        return without_credentials(self.hook.api, self.hook.get(self.batch_task_id).request)
