"""
Operators for Batch Processing V2.

Source: https://docs.planet.com/develop/apis/batch-processing/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_sentinelhub.hooks.budget import check_budget
from airflow_provider_sentinelhub.hooks.checks import ON_PARTIAL, number, one_of
from airflow_provider_sentinelhub.hooks.outcome import check_not_failed, conclude
from airflow_provider_sentinelhub.operators.base import BatchTaskOperator
from airflow_provider_sentinelhub.operators.creating import CreatesBatchTask
from airflow_provider_sentinelhub.operators.record import TaskRecord
from airflow_provider_sentinelhub.operators.waiting import WaitsForBatchTask

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.client.models.answers import BatchTask


class SentinelHubBatchProcessOperator(CreatesBatchTask, WaitsForBatchTask):
    """
    Create a batch task, start it, wait until it ends, and answer for every feature.

    Returns a small dict: ``task_id``, ``outcome`` (DONE or PARTIAL), ``status``, ``cost_pu``, the number of features
    in ``total`` and by outcome (``delivered``, ``no_data``, ``undelivered``, ``failed``, ``pending``, ``unknown``),
    ``error_groups``, ``failed_names`` (some of them) and ``report_url`` (the full table, Parquet).

    .. seealso:: ``docs/howto/batch_process.md``

    :param analyse_first: Have the task analysed, and start it only then.
    :param max_pu: Processing units it may cost at most. Before the start, the cost is estimated from the analysed
        features, and a task that would cost more is not started; while it runs, one that has spent more is stopped.
        ``None`` for any. Templated.
    :param on_partial: What to do when the task is DONE but some features failed: ``fail`` or ``warn``. Templated.
    :param on_out_of_pu: What to do when the service stops the task because the account ran out of processing units:
        ``fail``, or ``wait`` and start it again when the service's lock of 60 minutes is over and units are back.
    """

    template_fields: Sequence[str] = (
        "request",
        *WaitsForBatchTask.template_fields,
        "on_partial",
        "max_pu",
    )

    def __init__(
        self,
        *,
        analyse_first: bool = False,
        max_pu: float | str | None = None,
        on_partial: str = "fail",
        on_out_of_pu: Literal["fail", "wait"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.analyse_first = analyse_first
        self.max_pu = max_pu
        self.on_partial = on_partial
        self.on_out_of_pu = on_out_of_pu

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Run the batch.

        :param context: The task's context.
        """
        with self.at_work(context):
            one_of("on_partial", self.on_partial, ON_PARTIAL)
            one_of("on_out_of_pu", self.on_out_of_pu, ("fail", "wait"))
            number("max_pu", self.max_pu, at_least=1)
            number("poll_interval", self.poll_interval, at_least=0)
            number("progress_interval", self.progress_interval, at_least=0)
            task, deadline = self.obtain(context, self.new_deadline())
            result: dict[str, Any] = self.carry_on(context, task, deadline)
            return result

    def deadline_of(self, context: Context) -> float | None:
        """
        Return the recorded deadline.

        :param context: The task's context.
        """
        record = TaskRecord.read(context)
        return record.deadline if record else super().deadline_of(context)

    def plan(self, task: BatchTask) -> str:
        """
        Return what is wanted of the remote task now.

        :param task: The remote task as last seen.
        :raises BudgetExceeded: It is analysed, and starting it would cost too much.
        """
        is_started = task.user_action == "START"
        if self.max_pu is not None and not is_started:
            if task.status in {"CREATED", "ANALYSING"}:
                return "analyse"
            if task.status == "ANALYSIS_DONE":
                check_budget(self.hook, task, float(self.max_pu))
        if self.analyse_first and task.status == "CREATED":
            return "analyse_then_run"
        return "run_through" if self.on_out_of_pu == "wait" else "run"

    def budget(self) -> float | None:
        """Return the processing units the remote task may spend; ``None`` for any."""
        return None if self.max_pu is None else float(self.max_pu)

    def finish(self, context: Context, task: BatchTask) -> dict[str, Any]:  # noqa: ARG002 - the base's signature
        """
        Report on the ended task.

        :param context: The task's context.
        :param task: The remote task.
        """
        return conclude(self.hook, task, on_partial=self.on_partial)


class SentinelHubCreateBatchProcessOperator(CreatesBatchTask):
    """
    Create a batch task and return its id; a retry returns the same task. It costs nothing until analysed or started.

    .. seealso:: ``docs/howto/batch_steps.md``
    """

    def execute(self, context: Context) -> str:
        """
        Create the task.

        :param context: The task's context.
        """
        with self.at_work(context):
            task, _ = self.obtain(context)
            self.remember(context, task.id)
            return task.id


class _WorksOnTask(BatchTaskOperator):
    """
    Base of the operators on a task that exists.

    :param batch_task_id: Id of the task, e.g. the output of :class:`SentinelHubCreateBatchProcessOperator`. Templated.
    """

    template_fields: Sequence[str] = ("batch_task_id", *BatchTaskOperator.template_fields)
    ui_color = "#e3edd8"

    def __init__(self, *, batch_task_id: str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_task_id: str = batch_task_id  # type: ignore[assignment]  # a string once it is rendered


class SentinelHubAnalyseBatchProcessOperator(_WorksOnTask, WaitsForBatchTask):
    """
    Have a batch task analysed, wait for that, and return the task's id. An analysed task is left as it is.

    .. seealso:: ``docs/howto/batch_steps.md``
    """

    template_fields: Sequence[str] = ("batch_task_id", *WaitsForBatchTask.template_fields)
    goal = "analyse"

    def execute(self, context: Context) -> str:
        """
        Analyse the task.

        :param context: The task's context.
        """
        with self.at_work(context):
            task_id: str = self.carry_on(context, self.hook.get(self.batch_task_id), self.new_deadline())
            return task_id

    def finish(self, context: Context, task: BatchTask) -> str:  # noqa: ARG002 - the base's signature
        """
        Return the id of the analysed task.

        :param context: The task's context.
        :param task: The remote task.
        """
        check_not_failed(task)
        return task.id


class SentinelHubEstimateBatchProcessOperator(SentinelHubAnalyseBatchProcessOperator):
    """
    Have a batch task analysed, and return what starting it would cost, and how wrong that can be.

    Returns a small dict: ``task_id``, ``pu``, ``low_pu``, ``high_pu``, ``features``, ``pixels`` and ``assumptions``.

    .. seealso:: ``docs/cost.md``
    """

    def finish(self, context: Context, task: BatchTask) -> Any:
        """
        Return the estimate.

        :param context: The task's context.
        :param task: The remote task.
        """
        task_id = super().finish(context, task)
        estimate = self.hook.estimate(task)
        self.log.info("%s", estimate.text())
        return {
            "task_id": task_id,
            "pu": estimate.pu,
            "low_pu": estimate.low_pu,
            "high_pu": estimate.high_pu,
            "features": estimate.features,
            "pixels": estimate.pixels,
            "assumptions": list(estimate.assumptions),
        }


class SentinelHubStartBatchProcessOperator(_WorksOnTask):
    """
    Start a batch task and return its id, without waiting for it. Starting a started task is fine.

    .. seealso:: ``docs/howto/batch_steps.md``
    """

    stop_on_kill = True

    def execute(self, context: Context) -> str:
        """
        Start the task.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.client.batch import Goal

        with self.at_work(context):
            self.remember(context, self.batch_task_id)
            task = self.hook.act(self.hook.get(self.batch_task_id), Goal.RUN)
            check_not_failed(task)
            return task.id


class SentinelHubStopBatchProcessOperator(_WorksOnTask):
    """
    Stop a batch task and return its id. Features already processed, or being processed, are charged.

    An ended task and one that was never started are left as they are.

    .. seealso:: ``docs/howto/batch_steps.md``
    """

    def execute(self, context: Context) -> str:
        """
        Stop the task.

        :param context: The task's context.
        """
        with self.at_work(context):
            task = self.hook.stop(self.batch_task_id)
            self.log.info("Task %s is %s", self.batch_task_id, task.status if task else "gone")
            return self.batch_task_id


class SentinelHubBatchReportOperator(_WorksOnTask):
    """
    Answer for every feature of a batch task that has ended, or is still running; returns what the main operator does.

    .. seealso:: ``docs/howto/batch_report.md``

    :param on_partial: What to do when the task is DONE but some features failed: ``fail`` or ``warn``. Templated.
    """

    template_fields: Sequence[str] = (*_WorksOnTask.template_fields, "on_partial")

    def __init__(self, *, on_partial: str = "fail", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_partial = on_partial

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Report on the task.

        :param context: The task's context.
        """
        with self.at_work(context):
            one_of("on_partial", self.on_partial, ON_PARTIAL)
            return conclude(self.hook, self.hook.get(self.batch_task_id), on_partial=self.on_partial)
