"""The whole way of a task: create it, start it, wait, run again what failed, report. For every asynchronous API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_sentinelhub.client.errors import ArtifactMissing
from airflow_provider_sentinelhub.hooks.checks import flags, one_of
from airflow_provider_sentinelhub.hooks.outcome import Advice
from airflow_provider_sentinelhub.operators import rivals
from airflow_provider_sentinelhub.operators.creating import CreatesBatchTask
from airflow_provider_sentinelhub.operators.restarting import RestartsFailedFeatures

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.models.answers import BatchTask
    from airflow_provider_sentinelhub.operators.record import TaskRecord


class RunsBatchTask(CreatesBatchTask, RestartsFailedFeatures):
    """
    Base of the operators that take a task the whole way.

    :param analyse_first: Have the task analysed, and start it only then.
    :param on_out_of_pu: What to do when the service stops the task because the account ran out of processing units:
        ``fail``, or ``wait`` and start it again when the service's lock of 60 minutes is over and units are back.
    """

    template_fields: Sequence[str] = ("request", *RestartsFailedFeatures.template_fields)

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
            if self.restarts():
                self.hook.api.check_retry(self.body)
            task, deadline = self.obtain(context, self.new_deadline())
            result: dict[str, Any] = self.carry_on(context, task, deadline)
            return result

    def taken_over(self, context: Context, task: BatchTask, record: TaskRecord) -> TaskRecord:
        """
        Return the record of a task from before a clear, with the restarts it has had.

        :param context: The task's context.
        :param task: The remote task.
        :param record: What is known of it here.
        """
        *earlier, last = self.found(context, task).ids
        # A restart that is FAILED is replaced by a new one, as any task is.
        while earlier and self.hook.get(last).status == "FAILED":
            last = earlier.pop()
        return replace(record, id=last, earlier=tuple(earlier), inherited=len(earlier))

    def has_succeeded(self, task: BatchTask) -> bool:
        """
        Whether the attempts before a clear succeeded: everything there is to deliver is there, and was reported.

        :param task: The remote task they had.
        """
        from airflow_provider_sentinelhub.artifacts.report import Outcome, outcome_of

        tasks = (task, *rivals.begun(self.hook.api, self.hook.restarts_of(task)))
        if tasks[-1].status not in self.hook.api.answered:
            return False
        if task.was_skipped:
            return True
        try:
            if not self.hook.results.was_reported(task):
                return False
            outcome = outcome_of(tasks[-1].status, self.hook.report(tasks[0], tasks[1:]))
        except ArtifactMissing:
            return False
        return outcome is Outcome.DONE or (outcome is Outcome.PARTIAL and self.on_partial.endswith("warn"))

    def advice(self) -> Advice:
        """Say what can still be done about a task that was stopped, and about features that were not delivered."""
        from airflow_provider_sentinelhub.client.estimate import MINIMUM_PU

        first = f"{self.no_restart} " if self.no_restart else ""
        if self.on_clear == "new":
            return Advice(f"{first}Set on_clear='resume' and clear this Airflow task to run only them again.")
        stopped = (
            "Clear this Airflow task to have it started again when that lock is over: what it delivered is not paid "
            "for again."
        )
        anew = "A new DAG run, or a clear with on_clear='new', pays for everything again."
        if why_not := self.cannot_restart():
            return Advice(f"{why_not} {anew}", stopped)
        warn = " on_partial='warn' continues with what was delivered." if self.on_partial == "fail" else ""
        return Advice(
            f"{first}Clear this Airflow task to run only them again, for {MINIMUM_PU:g} PU or more; "
            f"on_partial='restart' does so by itself.{warn} {anew}",
            stopped,
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
