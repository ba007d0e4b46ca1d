"""
Operators for Batch Processing V2.

Source: https://docs.planet.com/develop/apis/batch-processing/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.hooks.checks import ON_PARTIAL, one_of
from airflow_provider_sentinelhub.hooks.outcome import check_not_failed, conclude
from airflow_provider_sentinelhub.operators.base import BatchTaskOperator
from airflow_provider_sentinelhub.operators.creating import CreatesBatchTask
from airflow_provider_sentinelhub.operators.running import RunsBatchTask
from airflow_provider_sentinelhub.operators.waiting import WaitsForBatchTask

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.client.models.answers import BatchTask


class SentinelHubBatchProcessOperator(RunsBatchTask):
    """
    Create a batch task, start it, wait until it ends, run again what failed, and answer for every feature.

    Returns a small dict: ``task_id``, ``task_ids`` (with those of restarts), ``outcome`` (DONE or PARTIAL),
    ``status``, ``cost_pu`` of all of them, the number of features in ``total`` and by outcome (``delivered``,
    ``no_data``, ``undelivered``, ``failed``, ``pending``, ``unknown``), ``error_groups``, ``failed_names`` (some of
    them) and ``report_url`` (the full table, Parquet).

    .. seealso:: ``docs/howto/batch_process.md``
    """


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
