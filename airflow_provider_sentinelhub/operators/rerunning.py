"""
What the operators share that run failed features again.

A rerun is a task of its own, with an intent of its own. It is created only after the task before it has ended, and
recorded before it is started. Whoever dies when: the next attempt finds the task that is recorded, or the one before,
and comes by the same steps to the same rerun.

A record is not taken at its word where another task is at hand. Airflow's client sends a write again that was not
answered within seconds, the store keeps whatever arrives last, and the first copy of a record may arrive long after the
record of a rerun. The tags, which nobody writes twice, then say what came before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_sentinelhub.client.errors import ArtifactMissing, TaskError
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.budget import check_budget, describe_limit, limit_of, needs_analysis
from airflow_provider_sentinelhub.hooks.outcome import Advice, GivenUp, conclude
from airflow_provider_sentinelhub.operators import concurrent_reruns as rivals
from airflow_provider_sentinelhub.operators.outlets import announce
from airflow_provider_sentinelhub.operators.record import TaskRecord, created_since, intent_of
from airflow_provider_sentinelhub.operators.waiting import WaitsForBatchTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask
    from airflow_provider_sentinelhub.triggers.events import BatchEvent


class RerunsFailedFeatures(WaitsForBatchTask):
    """
    Base of the operators that run failed features again.

    :param on_partial: What to do when the task is DONE but some features failed: ``fail``, ``warn``, ``rerun`` (run
        them again, alone, then ``fail`` if some are still missing) or ``rerun_then_warn``. Templated.
    :param max_reruns: How often failed features are run again at most. No rerun follows one that has mended
        nothing, and features whose error says that they would fail again are left out. Templated.
    :param max_pu: Processing units all that is started here may cost at most, reruns included. Before a start, the
        cost is estimated from the analysed features, and a task that would cost more is not started; while it runs,
        one that has spent more is stopped. Default: that of the connection; where that has none either, nothing is
        stopped, but a task of more than 10,000 PU or 1,000,000 km2 is not started. Templated.
    """

    template_fields: Sequence[str] = (*WaitsForBatchTask.template_fields, "on_partial", "max_reruns", "max_pu")
    starts = True
    resumes_after_clear = True
    more_time = "Raise the limit and clear this Airflow task to continue with the same task"
    owns_original = True
    choices: ClassVar[tuple[str, ...]] = checks.ON_PARTIAL_WITH_RERUN
    fewest_reruns: ClassVar[int] = 0

    # What was mended is not paid for twice, unless an operator that creates tasks says otherwise.
    on_clear: Literal["resume", "new", "adopt"] = "adopt"

    def __init__(
        self,
        *,
        on_partial: str = "fail",
        max_reruns: int | str = 3,
        max_pu: float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.on_partial = on_partial
        self.max_reruns = max_reruns
        self.max_pu = max_pu
        self.spent_pu = 0.0
        self._is_resuming = False
        self.no_rerun = ""
        self._remembered: TaskRecord | None = None
        self.check_parameters(parsing=True)

    def check_parameters(self, *, parsing: bool) -> None:
        """Check the operator's own parameters; see the base."""
        super().check_parameters(parsing=parsing)
        checks.one_of("on_partial", self.on_partial, self.choices, parsing=parsing)
        checks.number("max_reruns", self.max_reruns, at_least=self.fewest_reruns, whole=True, parsing=parsing)
        checks.number("max_pu", self.max_pu, at_least=1, parsing=parsing)
        if not parsing:
            # A wrong limit in the connection is told before anything is created.
            limit_of(self.hook, self.max_pu)

    @property
    def body(self) -> Mapping[str, Any]:
        """The request the original task was created with, without credentials."""
        raise NotImplementedError

    def deadline_of(self, context: Context) -> float | None:
        """
        Return the recorded deadline, which holds over all retries and reruns.

        :param context: The task's context.
        """
        record = TaskRecord.read(context)
        return record.deadline if record else super().deadline_of(context)

    def carry_on(self, context: Context, task: BatchTask, deadline: float | None) -> Any:
        """
        Take the steps the remote task needs, wait for the rest, and return the result.

        :param context: The task's context.
        :param task: The remote task as last seen.
        :param deadline: Moment at which the wait is over, in seconds since the epoch; ``None`` for never.
        """
        record = self._remembered = self._record_of(context, task, deadline)
        last = task if record.id == task.id else self.hook.get(record.id)
        self._is_guest = not record.is_own
        # What was spent before a clear was spent here, too.
        first = 0 if self.owns_original else record.inherited + (record.before_pu is None)
        own = record.earlier[first:]
        self.spent_pu = sum(self.hook.get(each).cost_pu or 0.0 for each in own) - (record.before_pu or 0.0)
        go_on = super().carry_on
        return self._or_what_there_is(context, lambda: go_on(context, last, deadline), deadline)

    def woken(self, context: Context, happened: BatchEvent | None) -> Any:
        """
        Look at the task, and continue with it.

        :param context: The task's context.
        :param happened: What the trigger said, if it said anything.
        """
        self._remembered = None
        woken = super().woken
        deadline = happened.deadline if happened else self.deadline_of(context)
        return self._or_what_there_is(context, lambda: woken(context, happened), deadline)

    def _is_own(self, context: Context, task: BatchTask) -> bool:
        """Whether a task was created for this task instance."""
        intent = self.hook.api.intent_of(task)
        if intent is None:
            # Somebody has replaced its description.
            return self.owns_original
        return intent.instance == intent_of(context, {}).instance

    def _or_what_there_is(self, context: Context, work: Callable[[], Any], deadline: float | None) -> Any:
        """Do some work; where a rerun has no money or time left, report on what the tasks before it delivered."""
        from airflow_provider_sentinelhub.client.errors import BudgetExceeded, ServiceUnavailable, TaskTimedOut

        try:
            return work()
        except (BudgetExceeded, TaskTimedOut) as error:
            record = self._remembered or self._record_of(context, self.hook.get(str(self._remote_id)), deadline)
            if not record.earlier:
                raise
            self.log.warning("The rerun is given up: %s", error)
            *earlier, last = record.earlier
            before = replace(record, id=last, earlier=tuple(earlier))
            try:
                return self._conclude(context, self.hook.get(last), before, GivenUp(record.id, str(error)))
            except ServiceUnavailable:
                raise error from None

    def plan(self, task: BatchTask) -> str:
        """
        Return what is wanted of the remote task now.

        :param task: The remote task as last seen.
        :raises BudgetExceeded: It is analysed, and starting it would cost too much.
        """
        self._is_resuming = self._is_resuming and task.status == "STOPPED"
        if self._is_resuming:
            return "resume"
        if task.user_action != "START":
            if task.status in {"CREATED", "ANALYSING"} and needs_analysis(self.hook, task, self.max_pu):
                return "analyse"
            if task.status == "ANALYSIS_DONE":
                check_budget(self.hook, task, self.max_pu, self.spent_pu)
        return super().plan(task)

    def budget(self) -> float | None:
        """Return the processing units the remote task may spend; ``None`` for any."""
        limit = limit_of(self.hook, self.max_pu)
        return None if limit is None or self._is_guest else limit - self.spent_pu

    def limit(self) -> str:
        """Say what the remote task may spend."""
        before = f" less the {self.spent_pu:.1f} PU spent before" if self.spent_pu > 0 else ""
        of = "" if self.max_pu is not None else f" of connection {self.sentinelhub_conn_id!r}"
        return f"max_pu = {(self.budget() or 0.0) + self.spent_pu:g}{of}{before}"

    def finish(self, context: Context, task: BatchTask) -> Any:
        """
        Run failed features again, or report on all that was run.

        :param context: The task's context.
        :param task: The remote task.
        """
        record = self._remembered or self._record_of(context, task, self.deadline_of(context))
        if task.status == "STOPPED" and self.may_resume(task, record):
            self._check_what_is_left(task, record)
            return self.resume(context, task, record)
        if task.status in self.hook.api.answered and not task.was_skipped and self._may_rerun(task, record):
            body = self._body_for_failed(task, record)
            if body is not None:
                return self._rerun(context, task, body, record)
        return self._conclude(context, task, record)

    def _check_what_is_left(self, task: BatchTask, record: TaskRecord) -> None:
        """
        Refuse to start a stopped task again that would cost, or has cost, more than it may.

        :raises BudgetExceeded: It would, or has.
        """
        from airflow_provider_sentinelhub.client.errors import BudgetExceeded

        left = self.budget() if record.is_own else None
        if left is None:
            return
        if (task.cost_pu or 0.0) >= left:
            raise BudgetExceeded(
                f"Task {task.id} is STOPPED and has spent {task.cost_pu or 0.0:.1f} PU, all of {self.limit()}. It was "
                "not started again. Raise max_pu, and clear the Airflow task to continue with it."
            )
        check_budget(self.hook, task, self.max_pu, self.spent_pu)

    def _conclude(self, context: Context, task: BatchTask, record: TaskRecord, given_up: GivenUp | None = None) -> Any:
        tasks = [*(self.hook.get(each) for each in record.earlier), task]
        try:
            result = conclude(self.hook, tasks, on_partial=self.on_partial, given_up=given_up, advice=self.advice())
        except TaskError as error:
            self.show(context, task, error.result)
            raise
        except ArtifactMissing as error:
            if not record.after_clear:
                raise
            raise ArtifactMissing(f"{error} To run everything again, set on_clear='new' and clear.") from error
        self.show(context, task, result)
        announce(context, self.hook, self.outlets, task, result)
        return result

    def advice(self) -> Advice:
        """Say what can still be done about a task that was stopped, and about features that were not delivered."""
        return Advice(failed=self.no_rerun or "Clear this Airflow task to try once more.")

    def cannot_rerun(self) -> str:
        """Say why features of the request cannot be run again alone; nothing where they can."""
        from airflow_provider_sentinelhub.client.errors import InvalidParameter

        try:
            self.hook.api.check_rerun(self.body)
        except InvalidParameter as error:
            return f"Features cannot be run again alone: on_partial='rerun' {error.rule}."
        return ""

    def _may_rerun(self, task: BatchTask, record: TaskRecord) -> bool:
        from airflow_provider_sentinelhub.client.costs.estimate import MINIMUM_PU

        asked_for = self.reruns() or (record.after_clear and self.on_partial == "fail")
        most = int(self.max_reruns) if self.reruns() else min(1, int(self.max_reruns))
        if not asked_for or len(record.earlier) - record.inherited >= most or self.cannot_rerun():
            return False
        spent = self.spent_pu + (task.cost_pu or 0.0 if record.is_own else 0.0)
        limit = limit_of(self.hook, self.max_pu)
        if limit is not None and limit - spent < MINIMUM_PU:
            self.no_rerun = (
                f"They were not run again: that costs {MINIMUM_PU:g} PU or more, and {spent:.1f} PU are spent already, "
                f"of {describe_limit(self.hook, self.max_pu)}. Raise max_pu and clear this Airflow task to run only "
                "them again."
            )
            self.log.warning("%s", self.no_rerun)
            return False
        return True

    def reruns(self) -> bool:
        """Whether failed features are run again."""
        return self.on_partial.startswith("rerun")

    def may_resume(self, task: BatchTask, record: TaskRecord) -> bool:
        """
        Whether a stopped task may be started again: where a user has stopped it, not before somebody clears.

        :param task: The remote task.
        :param record: What is remembered of it.
        """
        if record.found_stopped and not record.resumes and len(record.earlier) == record.inherited:
            return True
        stopped_by_service = task.stopped_status_reason in {"UNHEALTHY", "OUT_OF_PU"}
        return self.reruns() and stopped_by_service and record.resumes < int(self.max_reruns)

    def resume(self, context: Context, task: BatchTask, record: TaskRecord) -> Any:
        """
        Start a stopped task again, as soon as the service's lock is over, and wait for it.

        :param context: The task's context.
        :param task: The remote task.
        :param record: What is remembered of it.
        """
        self.log.info("Task %s was STOPPED (%s): starting it again", task.id, task.stopped_status_reason)
        before_pu = record.before_pu if record.is_own else task.cost_pu or 0.0
        replace(record, id=task.id, resumes=record.resumes + 1, before_pu=before_pu, is_own=True).write(context)
        self._is_resuming = True
        return self.carry_on(context, task, record.deadline)

    def _record_of(self, context: Context, task: BatchTask, deadline: float | None) -> TaskRecord:
        """Return what is remembered of a task; where that was lost, or an older record came back, by the tags."""
        record = TaskRecord.read(context)
        if record is not None and record.id == task.id:
            return record
        self.log.warning(
            "Task %s is not on record (%s is): going by the tags", task.id, record.id if record else "none"
        )
        known = replace(self.found(context, task), inherited=record.inherited if record else 0, deadline=deadline)
        known.write(context)
        return known

    def found(self, context: Context, task: BatchTask) -> TaskRecord:
        """
        Return a record where there is none: of the last task that belongs to a task, after those before it.

        :param context: The task's context.
        :param task: A task, or a rerun of one.
        """
        intent = self.hook.api.intent_of(task)
        original = self.hook.get(intent.original) if intent and intent.rerun else task
        known = [original.id, *(rerun.id for rerun in rivals.begun(self.hook.api, self.hook.reruns_of(original)))]
        # One that was created a moment ago may not be listed yet.
        *earlier, last = known if task.id in known else [*known, task.id]
        # A rerun that is FAILED is replaced by a new one, as any task is.
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
        first = rivals.first(self.hook.api, self.hook.reruns_of(self.hook.get(intent.original)), rerun)
        if first.id != rerun.id:
            self.log.warning("Somebody else has begun rerun %d: continuing with theirs", intent.rerun)
        rerun = first
        self.log.info("Rerun %d of task %s: task %s", len(earlier), earlier[0], rerun.id)
        is_own = self._is_own(context, rerun)
        replace(record, id=rerun.id, earlier=earlier, resumes=0, is_own=is_own).write(context)
        return self.carry_on(context, rerun, record.deadline)
