"""The whole way of a task: create it, start it, wait, run again what failed, report. For every asynchronous API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_sentinelhub.hooks.checks import flags, one_of
from airflow_provider_sentinelhub.operators.creating import CreatesBatchTask
from airflow_provider_sentinelhub.operators.restarting import RestartsFailedFeatures

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.models.answers import BatchTask


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
