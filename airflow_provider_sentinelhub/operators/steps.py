"""The steps of a task's way, each an operator of its own and idempotent. For every asynchronous API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_sentinelhub.hooks.budget import check_start
from airflow_provider_sentinelhub.hooks.checks import ON_PARTIAL, number, one_of
from airflow_provider_sentinelhub.hooks.outcome import check_not_failed, conclude, with_reruns
from airflow_provider_sentinelhub.operators.base import BatchTaskOperator
from airflow_provider_sentinelhub.operators.creating import CreatesBatchTask
from airflow_provider_sentinelhub.operators.waiting import WaitsForBatchTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask


class CreatesOneBatchTask(CreatesBatchTask):
    """
    Base of the operators that create a task, and return its id.

    :param on_clear: What a clear by a user means for the task there is. ``adopt``: return it again, unless it is FAILED
        or the request has changed, so that clearing a whole run buys nothing again. ``resume``: the same, unless it was
        analysed or started. ``new``: stop it and create a new one.
    """

    def __init__(self, *, on_clear: Literal["resume", "new", "adopt"] = "adopt", **kwargs: Any) -> None:
        super().__init__(on_clear=on_clear, **kwargs)

    def execute(self, context: Context) -> str:
        """
        Create the task.

        :param context: The task's context.
        """
        with self.at_work(context):
            task, _ = self.obtain(context)
            self.remember(context, task.id)
            return task.id


class WorksOnBatchTask(BatchTaskOperator):
    """
    Base of the operators on a task that exists.

    :param batch_task_id: Id of the task, e.g. what the operator that creates it returned. Templated.
    """

    template_fields: Sequence[str] = ("batch_task_id", *BatchTaskOperator.template_fields)
    ui_color = "#e3edd8"

    def __init__(self, *, batch_task_id: str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_task_id: str = batch_task_id  # type: ignore[assignment]  # a string once it is rendered


class AnalysesBatchTask(WorksOnBatchTask, WaitsForBatchTask):
    """Base of the operators that have a task analysed, and return its id."""

    template_fields: Sequence[str] = ("batch_task_id", *WaitsForBatchTask.template_fields)
    goal = "analyse"

    def execute(self, context: Context) -> str:
        """
        Analyse the task.

        :param context: The task's context.
        """
        with self.at_work(context):
            self.check_parameters(parsing=False)
            task_id: str = self.carry_on(context, self.hook.get(self.batch_task_id), self.new_deadline())
            return task_id

    def finish(self, context: Context, task: BatchTask) -> str:  # noqa: ARG002 - the base's signature
        """
        Return the id of the analysed task.

        :param context: The task's context.
        :param task: The remote task.
        """
        check_not_failed(self.hook, task)
        return task.id


class EstimatesBatchTask(AnalysesBatchTask):
    """Base of the operators that have a task analysed, and return what starting it would cost."""

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


class StartsBatchTask(WorksOnBatchTask):
    """
    Base of the operators that start a task, and return its id.

    :param max_pu: Processing units it may cost at most, by the estimate from its analysed features; one that would cost
        more is not started, nor is one that is not analysed yet. Default: that of the connection; where that has none
        either, a task of more than 10,000 PU or 1,000,000 km2 is not started. Templated.
    """

    template_fields: Sequence[str] = (*WorksOnBatchTask.template_fields, "max_pu")
    starts = True
    waits = False
    stop_on_kill = True

    def __init__(self, *, max_pu: float | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_pu = max_pu
        number("max_pu", max_pu, at_least=1, parsing=True)

    def execute(self, context: Context) -> str:
        """
        Start the task.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.client.lifecycle.spec import Goal

        with self.at_work(context):
            number("max_pu", self.max_pu, at_least=1)
            task = self.hook.get(self.batch_task_id)
            # Before it is remembered: what was not started here is not stopped here either.
            check_start(self.hook, task, self.max_pu)
            self.remember(context, task.id)
            before, task = task, self.hook.act(task, Goal.RUN)
            self.log.info("Task %s was %s, and is %s (%s)", task.id, before.status, task.status, task.user_action)
            check_not_failed(self.hook, task)
            return task.id


class StopsBatchTask(WorksOnBatchTask):
    """Base of the operators that stop a task, and return its id."""

    def execute(self, context: Context) -> str:
        """
        Stop the task.

        :param context: The task's context.
        """
        with self.at_work(context):
            task = self.hook.stop(self.batch_task_id)
            if task is None:
                self.log.warning(
                    "There is no task %s: the service has removed it, or the id or the account is another one",
                    self.batch_task_id,
                )
            else:
                self.log.info("Task %s is %s", task.id, task.status)
            return self.batch_task_id


class ReportsOnBatchTask(WorksOnBatchTask):
    """
    Base of the operators that answer for every feature of a task.

    :param on_partial: What to do when the task is DONE but some features failed: ``fail`` or ``warn``. Templated.
    """

    template_fields: Sequence[str] = (*WorksOnBatchTask.template_fields, "on_partial")

    def __init__(self, *, on_partial: str = "fail", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_partial = on_partial
        one_of("on_partial", on_partial, ON_PARTIAL, parsing=True)

    def look(self) -> BatchTask:
        """Return the remote task as it is now."""
        return self.hook.get(self.batch_task_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Report on the task.

        :param context: The task's context.
        """
        with self.at_work(context):
            one_of("on_partial", self.on_partial, ON_PARTIAL)
            tasks = with_reruns(self.hook, self.look())
            return conclude(self.hook, tasks, on_partial=self.on_partial)
