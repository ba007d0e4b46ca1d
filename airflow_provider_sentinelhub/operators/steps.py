"""
The steps of a remote task, each an operator of its own: create, analyse, estimate, start, stop, report.

Each is idempotent, and serves every asynchronous API.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.budget import check_start, estimate_of_task
from airflow_provider_sentinelhub.hooks.outcome import check_not_failed, conclude, with_reruns
from airflow_provider_sentinelhub.operators.base import IdentifierColumnMixin, RemoteTaskOperatorBase
from airflow_provider_sentinelhub.operators.running import CreatingOperatorBase
from airflow_provider_sentinelhub.operators.waiting import WaitingOperatorBase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask


class CreateOperatorBase(CreatingOperatorBase):
    """
    Base of the operators that create a remote task and return its id.

    :param on_clear: What to do with the remote task after a user has cleared the Airflow task. ``adopt``: return it
        again, unless it is FAILED, cannot be started again or the request has changed, so that clearing a whole DAG run
        pays for nothing twice. ``resume``: the same, unless it was analysed or started. ``new``: stop it and create a
        new one.
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
            self.publish(context, task.id)
            return task.id


class ExistingTaskOperatorBase(RemoteTaskOperatorBase):
    """
    Base of the operators on an existing remote task.

    :param batch_task_id: The id of the remote task, e.g. the output of the operator that created it. Templated.
    """

    template_fields: Sequence[str] = ("batch_task_id", *RemoteTaskOperatorBase.template_fields)
    rules: ClassVar[Mapping[str, checks.Rule]] = {"batch_task_id": checks.BATCH_TASK}
    ui_color = "#e3edd8"

    def __init__(self, *, batch_task_id: str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_task_id: str = batch_task_id  # type: ignore[assignment]  # a string once it is rendered
        self.check_parameters(parsing=True)


class AnalyseOperatorBase(ExistingTaskOperatorBase, WaitingOperatorBase):
    """Base of the operators that have a remote task analysed and return its id."""

    template_fields: Sequence[str] = ("batch_task_id", *WaitingOperatorBase.template_fields)
    goal = "analyse"

    def execute(self, context: Context) -> str:
        """
        Have the remote task analysed.

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
        check_not_failed(self.hook, task)
        return task.id


class EstimateOperatorBase(AnalyseOperatorBase):
    """Base of the operators that have a remote task analysed and return what it would cost."""

    def finish(self, context: Context, task: BatchTask) -> Any:
        """
        Return the estimate.

        :param context: The task's context.
        :param task: The remote task.
        """
        task_id = super().finish(context, task)
        estimate = estimate_of_task(self.hook, task)
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


class StartOperatorBase(ExistingTaskOperatorBase):
    """
    Base of the operators that start a remote task and return its id.

    :param max_pu: Maximum processing units the remote task may cost, as estimated from its analysed features. A task
        that would cost more, or is not analysed yet, is not started. Default: the limit of the connection; without
        one, a task of more than 10,000 PU or 1,000,000 km2 is not started. Templated.
    """

    template_fields: Sequence[str] = (*ExistingTaskOperatorBase.template_fields, "max_pu")
    rules: ClassVar[Mapping[str, checks.Rule]] = {"max_pu": checks.LIMIT_IN_PU}
    starts = True
    waits = False
    stop_on_kill = True

    def __init__(self, *, max_pu: float | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_pu = max_pu
        self.check_parameters(parsing=True)

    def execute(self, context: Context) -> str:
        """
        Start the remote task.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.client.lifecycle.spec import Goal

        with self.at_work(context):
            task = self.hook.get(self.batch_task_id)
            # Before it is remembered: a task that was not started here must not be stopped here.
            check_start(self.hook, task, self.max_pu)
            self.publish(context, task.id)
            before, task = task, self.hook.act(task, Goal.RUN)
            self.log.info("Task %s was %s, and is %s (%s)", task.id, before.status, task.status, task.user_action)
            check_not_failed(self.hook, task)
            return task.id


class StopOperatorBase(ExistingTaskOperatorBase):
    """Base of the operators that stop a remote task and return its id."""

    def execute(self, context: Context) -> str:
        """
        Stop the remote task.

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


class ReportOperatorBase(ExistingTaskOperatorBase):
    """
    Base of the operators that report the outcome of every feature of a remote task.

    :param on_partial: What to do when the remote task has ended but some features failed: ``fail`` or ``warn``.
        Templated.
    """

    template_fields: Sequence[str] = (*ExistingTaskOperatorBase.template_fields, "on_partial")
    rules: ClassVar[Mapping[str, checks.Rule]] = {"on_partial": partial(checks.one_of, choices=checks.ON_PARTIAL)}

    def __init__(self, *, on_partial: str = "fail", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_partial = on_partial
        self.check_parameters(parsing=True)

    def look(self) -> BatchTask:
        """Return the remote task as it is now."""
        return self.hook.get(self.batch_task_id)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Return the report.

        :param context: The task's context.
        """
        with self.at_work(context):
            tasks = with_reruns(self.hook, self.look())
            return conclude(self.hook, tasks, on_partial=self.on_partial)


class ReportOnDeletedOperatorBase(IdentifierColumnMixin, ReportOperatorBase):
    """
    Base of the operators that also report on a remote task that the service has deleted.

    :param delivery_url: Where the remote task delivered to: ``output.s3.url`` of its request. Needed only if the
        service has deleted the task; the files in the bucket are then read. Templated.
    :param features_url: Its GeoPackage: ``input.features.s3.url`` of its request. Shows which features have no file.
        Needed only with ``delivery_url``. Templated.
    """

    template_fields: Sequence[str] = (
        *ReportOperatorBase.template_fields,
        "delivery_url",
        "features_url",
        "identifier_column",
    )
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
