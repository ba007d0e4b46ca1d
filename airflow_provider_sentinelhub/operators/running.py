"""The whole way of a task: create it, start it, wait, run again what failed, report. For every asynchronous API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_sentinelhub.hooks.checks import ON_PARTIAL_WITH_RESTART, is_literal, number, one_of
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
        self.analyse_first = analyse_first
        self.on_out_of_pu = on_out_of_pu
        one_of("on_out_of_pu", on_out_of_pu, ("fail", "wait"))
        self._check(parsing=True)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Run the batch.

        :param context: The task's context.
        """
        with self.at_work(context):
            self._check(parsing=False)
            if self.restarts():
                self.hook.api.check_retry(self.body)
            task, deadline = self.obtain(context, self.new_deadline())
            result: dict[str, Any] = self.carry_on(context, task, deadline)
            return result

    def _check(self, *, parsing: bool) -> None:
        """Check the operator's own parameters; while the DAG is parsed, those that are known by then."""

        def is_known(name: str) -> bool:
            return not parsing or is_literal(getattr(self, name))

        if is_known("on_partial"):
            one_of("on_partial", self.on_partial, ON_PARTIAL_WITH_RESTART)
        for name, least in (("max_pu", 1), ("max_restarts", 0), ("poll_interval", 0), ("progress_interval", 0)):
            if is_known(name):
                number(name, getattr(self, name), at_least=least)

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
