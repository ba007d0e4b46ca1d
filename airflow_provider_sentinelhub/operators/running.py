"""The whole way of a task: create it, start it, wait, run again what failed, report. For every asynchronous API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_sentinelhub.client.errors import StorageUnavailable
from airflow_provider_sentinelhub.hooks.checks import flags, one_of
from airflow_provider_sentinelhub.hooks.outcome import Advice, GivenUp
from airflow_provider_sentinelhub.operators.creating import CreatesBatchTask
from airflow_provider_sentinelhub.operators.rerunning import RerunsFailedFeatures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask
    from airflow_provider_sentinelhub.operators.record import TaskRecord


class RunsBatchTask(CreatesBatchTask, RerunsFailedFeatures):
    """
    Base of the operators that take a task the whole way.

    :param analyse_first: Have the task analysed, and start it only then.
    :param on_out_of_pu: What to do when the service stops the task because the account ran out of processing units:
        ``fail``, or ``wait`` and start it again when the service's lock of 60 minutes is over and units are back.
    """

    template_fields: Sequence[str] = ("request", *RerunsFailedFeatures.template_fields)

    def __init__(
        self,
        *,
        analyse_first: bool = False,
        on_out_of_pu: Literal["fail", "wait"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        flags(analyse_first=analyse_first)
        self.analyse_first = analyse_first
        self.on_out_of_pu = on_out_of_pu
        one_of("on_out_of_pu", on_out_of_pu, ("fail", "wait"))

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Run the batch.

        :param context: The task's context.
        """
        with self.at_work(context):
            self.check_parameters(parsing=False)
            if self.reruns():
                self.hook.api.check_rerun(self.body)
            task, deadline = self.obtain(context, self.new_deadline())
            result: dict[str, Any] = self.carry_on(context, task, deadline)
            return result

    def taken_over(self, context: Context, task: BatchTask, record: TaskRecord) -> TaskRecord:
        """
        Return the record of a task from before a clear, with the reruns it has had.

        :param context: The task's context.
        :param task: The remote task.
        :param record: What is known of it here.
        """
        *earlier, last = self.found(context, task).ids
        return replace(record, id=last, earlier=tuple(earlier), inherited=len(earlier))

    def has_succeeded(self, task: BatchTask) -> bool:
        """
        Whether the attempts before a clear succeeded: they leave a mark in the bucket.

        :param task: The remote task they had.
        """
        return self.hook.results.has_succeeded(task)

    def _conclude(self, context: Context, task: BatchTask, record: TaskRecord, given_up: GivenUp | None = None) -> Any:
        result = super()._conclude(context, task, record, given_up)
        try:
            self.hook.results.mark_success(self.hook.get(result["task_id"]))
        except StorageUnavailable as error:
            # A clear then continues with what there is, and costs nothing.
            self.log.warning("Could not mark the success in the bucket: %s", error)
        return result

    def advice(self) -> Advice:
        """Say what can still be done about a task that was stopped, and about features that were not delivered."""
        from airflow_provider_sentinelhub.client.costs.estimate import MINIMUM_PU

        anew = "A new DAG run, or a clear with on_clear='new', pays for everything again."
        if self.on_clear == "new":
            said = "With on_clear='new' a clear pays for everything. Set on_clear='adopt' and clear this Airflow task"
            only_them = f"{said} to run only them again."
            return Advice(only_them, f"{said} to have it started again.", only_them)
        stopped = (
            "Clear this Airflow task to have it started again when that lock is over: what it delivered is not paid "
            "for again."
        )
        succeeded = "This Airflow task succeeds all the same, and a clear then pays for everything again"
        if why_not := self.cannot_rerun() or self.no_rerun:
            return Advice(f"{why_not} {anew}", stopped, f"{why_not} {succeeded}.")
        by_itself = "" if self.reruns() else " on_partial='rerun' does so by itself."
        warn = " on_partial='warn' accepts what was delivered." if self.on_partial == "fail" else ""
        return Advice(
            f"Clear this Airflow task to run only them again, for {MINIMUM_PU:g} PU or more.{by_itself}{warn} {anew}",
            stopped,
            f"{succeeded}; with on_partial='rerun_then_warn' and on_clear='adopt' a clear runs only them again.",
        )

    def plan(self, task: BatchTask) -> str:
        """
        Return what is wanted of the remote task now.

        :param task: The remote task as last seen.
        """
        if (goal := super().plan(task)) != self.goal:
            return goal
        if self.analyse_first and task.status == "CREATED":
            return "analyse_then_run"
        return "run_through" if self.on_out_of_pu == "wait" else goal
