"""
Operators that rerun failed features: of the remote task they run themselves, or of one that ran elsewhere.

A rerun is a remote task with an intent of its own. It is created only after the task before it has ended, and recorded
before it is started. Wherever an attempt ends, the next one finds the recorded task, or the one before it, and the same
steps lead to the same rerun.

The record alone is not enough. Airflow's client repeats a write that was not answered within seconds, and the store
keeps whatever arrives last: the first copy of an old record may arrive long after the record of a rerun. The tags,
which are written only once, then show which tasks came before.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_sentinelhub.client.costs.amounts import pu_text
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.budget import check_request, describe_limit, limit_of
from airflow_provider_sentinelhub.hooks.outcome import Advice, GivenUp
from airflow_provider_sentinelhub.operators.record import TaskRecord, created_since, intent_of
from airflow_provider_sentinelhub.operators.starting import StartingOperatorBase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.triggers.events import BatchEvent

# A rerun with one of these statuses leaves its number to another one.
_IS_GIVEN_UP = frozenset({"FAILED", "STOPPED"})


class RerunningOperatorBase(StartingOperatorBase):
    """
    Base of the operators that rerun failed features.

    :param on_partial: What to do when the remote task is DONE but some features failed: ``fail``, ``warn``, ``rerun``
        (rerun them alone, then ``fail`` if some are still missing) or ``rerun_then_warn``. Templated.
    :param max_reruns: How many times failed features are rerun at most. There is no further rerun after one that
        recovered nothing, and features whose error is permanent are left out. Templated.
    :param max_pu: Maximum processing units for everything that is started here, reruns included. Before a start, the
        cost is estimated from the analysed features, and a task that would cost more is not started. A running task
        that has spent more is stopped. Default: the limit of the connection; without one, nothing is stopped, but a
        task of more than 10,000 PU or 1,000,000 km2 is not started. Templated.
    """

    template_fields: Sequence[str] = (*StartingOperatorBase.template_fields, "max_reruns")
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "on_partial": partial(checks.one_of, choices=checks.ON_PARTIAL_WITH_RERUN),
        "max_reruns": partial(checks.number, at_least=0, whole=True),
    }

    def __init__(self, *, max_reruns: int | str = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_reruns = max_reruns
        self.no_rerun = ""
        self.check_parameters(parsing=True)

    def check_on_partial(self) -> None:
        """
        Check, before anything is created, that features of the request can be rerun alone, if that is asked for.

        :raises InvalidParameter: They cannot.
        """
        if self.reruns():
            self.hook.api.check_rerun(self.body)

    def carry_on(self, context: Context, task: BatchTask, deadline: float | None) -> Any:
        """
        Take the steps the remote task needs, wait for the rest, and return the result.

        :param context: The task's context.
        :param task: The remote task as last read.
        :param deadline: When the wait ends, in seconds since the epoch; ``None`` for never.
        """
        proceed = super().carry_on
        return self._or_report_before(context, lambda: proceed(context, task, deadline), deadline)

    def continue_after(self, context: Context, happened: BatchEvent | None) -> Any:
        """
        Read the remote task, and continue with it.

        :param context: The task's context.
        :param happened: The trigger's event, if there is one.
        """
        proceed = super().continue_after
        deadline = happened.deadline if happened else self.deadline_of(context)
        return self._or_report_before(context, lambda: proceed(context, happened), deadline)

    def _or_report_before(self, context: Context, work: Callable[[], Any], deadline: float | None) -> Any:
        """Do the work; if a rerun runs out of budget or time, report what the tasks before it delivered."""
        from airflow_provider_sentinelhub.client.errors import BudgetExceeded, ServiceUnavailable, TaskTimedOut

        try:
            return work()
        except (BudgetExceeded, TaskTimedOut) as error:
            record = self._current or self._record_of(context, self.hook.get(str(self._remote_id)), deadline)
            if not record.earlier:
                raise
            self.log.warning("Giving up the rerun: %s", error)
            *earlier, last = record.earlier
            before = replace(record, id=last, earlier=tuple(earlier))
            try:
                return self._conclude(context, self.hook.get(last), before, GivenUp(record.id, str(error)))
            except ServiceUnavailable:
                raise error from None

    def recovery(self, context: Context, task: BatchTask, record: TaskRecord) -> Callable[[], Any] | None:
        """
        Return what reruns the failed features and returns the result; ``None`` if they are not rerun.

        :param context: The task's context.
        :param task: The remote task, which has ended.
        :param record: Its record.
        """
        if not self._may_rerun(task, record):
            return None
        body = self._body_for_failed(task, record)
        if body is None or not self._is_affordable(task, body, record):
            return None
        return lambda: self._rerun(context, task, body, record)

    def _is_affordable(self, task: BatchTask, body: Mapping[str, Any], record: TaskRecord) -> bool:
        """Whether a rerun that the service cannot analyse stays within the limit, as estimated from its request."""
        from airflow_provider_sentinelhub.client.errors import BudgetExceeded

        if self.hook.api.can.analyse or limit_of(self.hook, self.max_pu) is None:
            return True
        try:
            check_request(self.hook, body, self.max_pu, self._spent_with(task, record))
            self._is_judged = True
        except BudgetExceeded as error:
            self.no_rerun = f"They were not rerun. {error}"
            self.log.warning("%s", self.no_rerun)
            return False
        return True

    def _spent_with(self, task: BatchTask, record: TaskRecord) -> float:
        return self.spent_pu + (task.cost_pu or 0.0 if record.is_own else 0.0)

    def advice(self) -> Advice:
        """Return the advice for a task that was stopped, and for features that were not delivered."""
        return Advice(failed=self.no_rerun or "Clear this Airflow task to try again.")

    def cannot_rerun(self) -> str:
        """Return why features of the request cannot be rerun alone; an empty text if they can."""
        from airflow_provider_sentinelhub.client.errors import InvalidParameter

        try:
            self.hook.api.check_rerun(self.body)
        except InvalidParameter as error:
            return f"Failed features cannot be rerun alone: on_partial='rerun' {error.rule}."
        return ""

    def _may_rerun(self, task: BatchTask, record: TaskRecord) -> bool:
        from airflow_provider_sentinelhub.client.costs.estimate import MINIMUM_PU

        asked_for = self.reruns() or (record.after_clear and self.on_partial == "fail")
        most = int(self.max_reruns) if self.reruns() else min(1, int(self.max_reruns))
        if not asked_for or len(record.earlier) - record.inherited >= most or self.cannot_rerun():
            return False
        spent = self._spent_with(task, record)
        limit = limit_of(self.hook, self.max_pu)
        if limit is not None and limit - spent < MINIMUM_PU:
            self.no_rerun = (
                f"They were not rerun: that costs {MINIMUM_PU:g} PU or more, and {pu_text(spent)} are spent already, "
                f"of {describe_limit(self.hook, self.max_pu)}. Raise max_pu and clear this Airflow task to rerun only "
                "them."
            )
            self.log.warning("%s", self.no_rerun)
            return False
        return True

    def reruns(self) -> bool:
        """Whether failed features are rerun."""
        return self.on_partial.startswith("rerun")

    def may_resume(self, task: BatchTask, record: TaskRecord) -> bool:
        """
        Whether a stopped task may be started again; if a user has stopped it, only after a clear.

        :param task: The remote task.
        :param record: Its record.
        """
        stopped_by_service = task.stopped_status_reason in {"UNHEALTHY", "OUT_OF_PU"}
        may_again = self.reruns() and stopped_by_service and record.resumes < int(self.max_reruns)
        return may_again or super().may_resume(task, record)

    def record_by_tags(self, context: Context, task: BatchTask) -> TaskRecord:
        """
        Return a record from the tags: of the last rerun of a task, with the tasks before it.

        :param context: The task's context.
        :param task: A task, or a rerun of one.
        """
        intent = self.hook.api.intent_of(task)
        original = self.hook.get(intent.original) if intent and intent.rerun else task
        known = [original.id, *(rerun.id for rerun in _begun(self.hook.api, self.hook.reruns_of(original)))]
        # A task that was just created may not be listed yet.
        *earlier, last = known if task.id in known else [*known, task.id]
        # A FAILED rerun is replaced by a new one, like any FAILED task.
        while earlier and self.hook.get(last).status == "FAILED":
            last = earlier.pop()
        wanted = intent_of(context, self.body)
        return TaskRecord(
            last,
            wanted.digest,
            wanted.generation,
            earlier=tuple(earlier),
            deadline=self.new_deadline(),
            is_own=self._is_own(context, task if last == task.id else self.hook.get(last)),
        )

    def _body_for_failed(self, task: BatchTask, record: TaskRecord) -> dict[str, Any] | None:
        runs = [*(self.hook.get(each) for each in record.earlier), task]
        return self.hook.request_for_failed(runs, self.body, only_after_progress=len(record.earlier) > record.inherited)

    def _resumes_rerun(self, task: BatchTask) -> bool:
        return self.on_clear != "new" and task.status not in {"FAILED", "STOPPED"}

    def _rerun(self, context: Context, task: BatchTask, body: dict[str, Any], record: TaskRecord) -> Any:
        earlier = (*record.earlier, task.id)
        intent = replace(intent_of(context, body), rerun=len(earlier), original=earlier[0])
        since = created_since(context)
        found = self.hook.search(intent, recorded=None, since=since, resumes=self._resumes_rerun)
        rerun = found.task or self.hook.create(intent, body, since=since, others=found.others)
        first = _first(self.hook.api, self.hook.reruns_of(self.hook.get(intent.original)), rerun)
        if first.id != rerun.id:
            self.log.warning("Rerun %d was already begun elsewhere: continuing with it", intent.rerun)
        rerun = first
        self.log.info("Rerun %d of task %s: task %s", len(earlier), earlier[0], rerun.id)
        is_own = self._is_own(context, rerun)
        replace(record, id=rerun.id, earlier=earlier, resumes=0, is_own=is_own).write(context)
        return self.carry_on(context, rerun, record.deadline)


class RerunFailedOperatorBase(RerunningOperatorBase):
    """
    Base of the operators that rerun the failed features of a remote task that has ended.

    :param batch_task_id: The id of the remote task. Templated.
    :param on_partial: What to do when features are still missing after the reruns: ``fail`` or ``warn``. Templated.
    """

    template_fields: Sequence[str] = ("batch_task_id", *RerunningOperatorBase.template_fields)
    ui_color = "#e3edd8"
    owns_original = False
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "batch_task_id": checks.BATCH_TASK,
        "on_partial": partial(checks.one_of, choices=checks.ON_PARTIAL),
        "max_reruns": partial(checks.number, at_least=1, whole=True),
    }

    def __init__(self, *, batch_task_id: str | XComArg, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batch_task_id: str = batch_task_id  # type: ignore[assignment]  # a string once it is rendered
        self.check_parameters(parsing=True)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Rerun the failed features, and return the result of all tasks.

        :param context: The task's context.
        """
        from airflow_provider_sentinelhub.client.errors import InvalidParameter

        with self.at_work(context):
            self.check_limit()
            record = self._own_record(context)
            task = self.hook.get(record.id)
            # A rerun that is still running is waited for, whoever has begun it.
            if not record.earlier and not self.hook.api.is_over(task):
                raise InvalidParameter(
                    "batch_task_id",
                    task.id,
                    f"must be a task that has ended, and this one is {task.status}",
                    "Wait for it with a sensor first.",
                )
            result: dict[str, Any] = self.carry_on(context, task, record.deadline)
            return result

    def _own_record(self, context: Context) -> TaskRecord:
        record, wanted = TaskRecord.read(context), intent_of(context, self.body)
        if record is None or (record.digest, record.max_tries) != (wanted.digest, wanted.generation):
            if record is not None and record.is_own and record.digest != wanted.digest:
                self.log.info("A different task is to be rerun: stopping task %s", record.id)
                self.hook.stop(record.id)
            record = self.record_by_tags(context, self.hook.get(self.batch_task_id))
            record = replace(record, inherited=len(record.earlier))
            record.write(context)
        return record

    def reruns(self) -> bool:
        """Whether failed features are rerun: always."""
        return True

    def may_resume(self, task: BatchTask, record: TaskRecord) -> bool:
        """
        Whether a stopped task may be started again: this operator is meant for one that was found stopped.

        :param task: The remote task.
        :param record: Its record.
        """
        is_as_found = not record.resumes and len(record.earlier) == record.inherited
        return is_as_found or super().may_resume(task, record)

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """The request of the remote task, as the service returns it, without credentials."""
        from airflow_provider_sentinelhub.hooks.credentials import without_credentials

        request = self.hook.get(self.batch_task_id).request
        body: Mapping[str, Any] = self.hook.with_script(without_credentials(self.hook.api, request))
        self.hook.api.check_rerun(body)
        return body


def _begun(api: TaskApiSpec, reruns: Iterable[BatchTask]) -> list[BatchTask]:
    """
    Return the reruns without those of a number that was already begun elsewhere: they are never started.

    Two operators may begin the same rerun at the same time; the first one counts.

    :param api: The API.
    :param reruns: The reruns of one task, the oldest first.
    """
    found: list[BatchTask] = []
    numbers: set[int] = set()
    for task in reruns:
        number = _number(api, task)
        if task.status == "CREATED" and number in numbers:
            continue
        found.append(task)
        if task.status not in _IS_GIVEN_UP:
            numbers.add(number)
    return found


def _first(api: TaskApiSpec, reruns: Iterable[BatchTask], own: BatchTask) -> BatchTask:
    """
    Return the first task that was created for the same rerun.

    :param api: The API.
    :param reruns: The reruns of one task, the oldest first. If ``own`` is not listed yet, all of them are older.
    :param own: The task that was just created.
    """
    number = _number(api, own)
    return next((task for task in reruns if _number(api, task) == number and task.status not in _IS_GIVEN_UP), own)


def _number(api: TaskApiSpec, task: BatchTask) -> int:
    intent = api.intent_of(task)
    return intent.rerun if intent else 0
