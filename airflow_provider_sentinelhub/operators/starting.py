"""
Operators that start a remote task: within a limit of processing units, on record, and with a report at the end.

What runs failed features again differs between the APIs: see :mod:`~.rerunning` and :mod:`~.restarting`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_sentinelhub.client.costs.amounts import pu_text
from airflow_provider_sentinelhub.client.errors import ArtifactMissing, TaskError
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.budget import check_budget, check_start, limit_of, needs_analysis
from airflow_provider_sentinelhub.hooks.outcome import Advice, GivenUp, conclude
from airflow_provider_sentinelhub.operators.outlets import announce
from airflow_provider_sentinelhub.operators.record import TaskRecord, intent_of
from airflow_provider_sentinelhub.operators.waiting import WaitingOperatorBase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.triggers.events import BatchEvent


class StartingOperatorBase(WaitingOperatorBase):
    """
    Base of the operators that start a remote task and report on it.

    :param on_partial: What to do when the remote task has ended but some features failed: ``fail`` or ``warn``.
        Templated.
    :param max_pu: Maximum processing units for everything that is started here. Before a start, the cost is estimated
        from the analysed features, and a task that would cost more is not started. A running task that has spent more
        is stopped. Default: the limit of the connection; without one, nothing is stopped, but a task of more than
        10,000 PU or 1,000,000 km2 is not started. Templated.
    """

    template_fields: Sequence[str] = (*WaitingOperatorBase.template_fields, "on_partial", "max_pu")
    starts = True
    resumes_after_clear = True
    more_time = "Raise the limit and clear this Airflow task to continue with the same task"
    owns_original = True
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "on_partial": partial(checks.one_of, choices=checks.ON_PARTIAL),
        "max_pu": checks.LIMIT_IN_PU,
    }

    # Delivered features are not paid for twice, unless an operator that creates tasks says otherwise.
    on_clear: Literal["resume", "new", "adopt"] = "adopt"

    def __init__(self, *, on_partial: str = "fail", max_pu: float | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_partial = on_partial
        self.max_pu = max_pu
        self.spent_pu = 0.0
        self._is_resuming = False
        # Whether this attempt has judged the cost of what it created, by its request.
        self._is_judged = False
        self._current: TaskRecord | None = None
        self.check_parameters(parsing=True)

    def check_limit(self) -> None:
        """
        Read the limit now, so that an invalid one in the connection fails before anything is created.

        :raises InvalidConfiguration: The connection's is invalid.
        """
        limit_of(self.hook, self.max_pu)

    def check_on_partial(self) -> None:
        """
        Check, before anything is created, that the request allows what ``on_partial`` asks for.

        :raises InvalidParameter: It does not.
        """

    @property
    def body(self) -> Mapping[str, Any]:
        """The request the original task was created with, without credentials."""
        raise NotImplementedError

    def deadline_of(self, context: Context) -> float | None:
        """
        Return the recorded deadline, which applies to all retries and reruns.

        :param context: The task's context.
        """
        record = TaskRecord.read(context)
        return record.deadline if record else super().deadline_of(context)

    def carry_on(self, context: Context, task: BatchTask, deadline: float | None) -> Any:
        """
        Take the steps the remote task needs, wait for the rest, and return the result.

        :param context: The task's context.
        :param task: The remote task as last read.
        :param deadline: When the wait ends, in seconds since the epoch; ``None`` for never.
        """
        record = self._current = self._record_of(context, task, deadline)
        last = task if record.id == task.id else self.hook.get(record.id)
        self._is_guest = not record.is_own
        # What was spent before a clear counts as well.
        first = 0 if self.owns_original else record.inherited + (record.before_pu is None)
        own = record.earlier[first:]
        self.spent_pu = sum(self.hook.get(each).cost_pu or 0.0 for each in own) - (record.before_pu or 0.0)
        return super().carry_on(context, last, deadline)

    def continue_after(self, context: Context, happened: BatchEvent | None) -> Any:
        """
        Read the remote task, and continue with it.

        :param context: The task's context.
        :param happened: The trigger's event, if there is one.
        """
        self._current = None
        return super().continue_after(context, happened)

    def _is_own(self, context: Context, task: BatchTask) -> bool:
        """Whether a task was created for this task instance."""
        intent = self.hook.api.intent_of(task)
        if intent is None:
            # Its description was replaced.
            return self.owns_original
        return intent.instance == intent_of(context, {}).instance

    def plan(self, task: BatchTask) -> str:
        """
        Return the goal for the remote task now.

        :param task: The remote task as last read.
        :raises BudgetExceeded: The task is analysed, and would cost more than its limit.
        """
        self._is_resuming = self._is_resuming and self.hook.api.is_stopped(task)
        if self._is_resuming:
            return "resume"
        if task.user_action != "START":
            if task.status in {"CREATED", "ANALYSING"} and needs_analysis(self.hook, task, self.max_pu):
                return "analyse"
            if task.status == "ANALYSIS_DONE":
                check_budget(self.hook, task, self.max_pu, self.spent_pu)
            if task.status == "CREATED" and not self.hook.api.can.analyse and not self._is_judged:
                # Created by an attempt before this one, which may have had another limit.
                check_start(self.hook, task, self.max_pu, self.spent_pu)
        return super().plan(task)

    def budget(self) -> float | None:
        """Return the processing units the remote task may spend; ``None`` for no limit."""
        limit = limit_of(self.hook, self.max_pu)
        return None if limit is None or self._is_guest else limit - self.spent_pu

    def limit(self) -> str:
        """Return the limit of processing units as text."""
        before = f" less the {pu_text(self.spent_pu)} spent before" if self.spent_pu > 0 else ""
        of = "" if self.max_pu is not None else f" of connection {self.sentinelhub_conn_id!r}"
        return f"max_pu = {(self.budget() or 0.0) + self.spent_pu:g}{of}{before}"

    def finish(self, context: Context, task: BatchTask) -> Any:
        """
        Start the remote task again, if it was stopped; run failed features again, if that is wanted; or report.

        :param context: The task's context.
        :param task: The remote task.
        """
        record = self._current or self._record_of(context, task, self.deadline_of(context))
        if self.hook.api.may_resume(task) and self.may_resume(task, record):
            self._check_remaining_budget(task, record)
            return self.resume(context, task, record)
        if task.status in self.hook.api.answered and not task.was_skipped:
            run_again = self.recovery(context, task, record)
            if run_again is not None:
                return run_again()
        return self._conclude(context, task, record)

    def recovery(self, context: Context, task: BatchTask, record: TaskRecord) -> Callable[[], Any] | None:  # noqa: ARG002 - subclasses use them
        """
        Return what runs the failed features again and returns the result; ``None`` if they are not run again.

        :param context: The task's context.
        :param task: The remote task, which has ended.
        :param record: Its record.
        """
        return None

    def _check_remaining_budget(self, task: BatchTask, record: TaskRecord) -> None:
        """
        Check, before a stopped task is started again, that its cost stays within the limit.

        :raises BudgetExceeded: It has spent its limit, or would exceed it.
        """
        from airflow_provider_sentinelhub.client.errors import BudgetExceeded

        left = self.budget() if record.is_own else None
        if left is None:
            return
        if (task.cost_pu or 0.0) >= left:
            raise BudgetExceeded(
                f"Task {task.id} is STOPPED and has spent {pu_text(task.cost_pu)}, all of {self.limit()}. It was "
                "not started again. Raise max_pu, and clear the Airflow task to continue with it."
            )
        check_budget(self.hook, task, self.max_pu, self.spent_pu)

    def _conclude(self, context: Context, task: BatchTask, record: TaskRecord, given_up: GivenUp | None = None) -> Any:
        tasks = [*(self.hook.get(each) for each in record.earlier), task]
        try:
            result = conclude(self.hook, tasks, on_partial=self.on_partial, given_up=given_up, advice=self.advice())
        except TaskError as error:
            self.push_progress(context, task, error.result)
            raise
        except ArtifactMissing as error:
            if not record.after_clear:
                raise
            raise ArtifactMissing(
                f"{error} To run everything again, set on_clear='new' and clear the Airflow task."
            ) from error
        self.push_progress(context, task, result)
        announce(context, self.hook, self.outlets, task, result)
        return result

    def advice(self) -> Advice:
        """Return the advice for a task that was stopped, and for features that were not delivered."""
        return Advice(failed="Clear this Airflow task to try again.")

    def may_resume(self, task: BatchTask, record: TaskRecord) -> bool:  # noqa: ARG002 - subclasses use it
        """
        Whether a stopped task may be started again; if a user has stopped it, only after a clear.

        :param task: The remote task.
        :param record: Its record.
        """
        return record.found_stopped and not record.resumes and len(record.earlier) == record.inherited

    def resume(self, context: Context, task: BatchTask, record: TaskRecord) -> Any:
        """
        Start a stopped task again, as soon as the service's lock has expired, and wait for it.

        :param context: The task's context.
        :param task: The remote task.
        :param record: Its record.
        """
        self.log.info("Task %s was STOPPED (%s): starting it again", task.id, task.stopped_status_reason)
        before_pu = record.before_pu if record.is_own else task.cost_pu or 0.0
        replace(record, id=task.id, resumes=record.resumes + 1, before_pu=before_pu, is_own=True).write(context)
        self._is_resuming = True
        return self.carry_on(context, task, record.deadline)

    def _record_of(self, context: Context, task: BatchTask, deadline: float | None) -> TaskRecord:
        """Return the record of a task; if it is lost or outdated, rebuild it from the tags."""
        record = TaskRecord.read(context)
        if record is not None and record.id == task.id:
            return record
        self.log.warning(
            "Task %s is not on record (%s is): searching by tags", task.id, record.id if record else "none"
        )
        known = replace(
            self.record_by_tags(context, task), inherited=record.inherited if record else 0, deadline=deadline
        )
        known.write(context)
        return known

    def record_by_tags(self, context: Context, task: BatchTask) -> TaskRecord:
        """
        Return a record of a task from what only the service knows.

        :param context: The task's context.
        :param task: The task.
        """
        wanted = intent_of(context, self.body)
        return TaskRecord(
            task.id,
            wanted.digest,
            wanted.generation,
            deadline=self.new_deadline(),
            is_own=self._is_own(context, task),
        )
