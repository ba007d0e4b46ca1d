"""
Operators that create a remote task: one for each task instance, recorded before it is started.

:class:`CreatingOperatorBase` finds or creates the task, :class:`RunningOperatorBase` takes it all the way: start, wait,
rerun failed features, report. Both serve every asynchronous API.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_provider_sentinelhub.client.costs.amounts import state_text
from airflow_provider_sentinelhub.client.errors import StorageUnavailable
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.budget import check_request
from airflow_provider_sentinelhub.hooks.outcome import Advice, GivenUp
from airflow_provider_sentinelhub.hooks.owed_stops import take_over
from airflow_provider_sentinelhub.operators.base import IdentifierColumnMixin, RemoteTaskOperatorBase
from airflow_provider_sentinelhub.operators.record import TaskRecord, created_since, intent_of
from airflow_provider_sentinelhub.operators.rerunning import RerunningOperatorBase
from airflow_provider_sentinelhub.operators.restarting import RestartingOperatorBase
from airflow_provider_sentinelhub.operators.starting import StartingOperatorBase
from airflow_provider_sentinelhub.operators.templating import RequestTemplateMixin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask


class CreatingOperatorBase(RequestTemplateMixin, RemoteTaskOperatorBase):
    """
    Base of the operators that create a remote task.

    :param request: The service's own request, as a dict, its JSON text, or the path of a ``.json`` file. It holds no
        credentials: those are taken from the connections when it is sent. An ``evalscript`` may be the path of a
        ``.js`` file; its text is sent as it is. Templated.
    :param on_clear: What to do with the remote task of earlier attempts after a user has cleared the Airflow task.
        ``resume``: continue with it, unless the Airflow task succeeded or the request has changed. A running task is
        waited for; a stopped one is started again once the service's lock has expired; of one that is DONE, only
        failed features are rerun; one that is FAILED is replaced by a new one. ``new``: stop it and create a new one.
        ``adopt``: like ``resume``, also after a success.
    :param check_bucket: Check the bucket before a task is created: that it can be used (a small object is written,
        read, listed and deleted), that it holds the features, and in which region it is.
    :param check_features: Download the GeoPackage that a request names as its input, before a task is created, and
        refuse what the service would refuse.
    """

    template_fields: Sequence[str] = ("request", *RemoteTaskOperatorBase.template_fields)
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "request": checks.request,
        "on_clear": partial(checks.one_of, choices=("resume", "new", "adopt")),
        "check_bucket": checks.flag,
        "check_features": checks.flag,
    }
    may_hold_braces = frozenset({"request"})
    template_fields_renderers = {"request": "json"}  # noqa: RUF012 - Airflow's own convention
    ui_color = "#d4e7c5"

    def __init__(
        self,
        *,
        request: Mapping[str, Any] | str | XComArg,
        on_clear: Literal["resume", "new", "adopt"] = "resume",
        check_bucket: bool = True,
        check_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.request = request
        self.on_clear = on_clear
        self.resumes_after_clear = on_clear != "new"
        self.check_bucket = check_bucket
        self.check_features = check_features
        self.check_parameters(parsing=True)

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """The checked request as JSON, without credentials."""
        return self.hook.prepare(self.hook.with_script(self.with_files(self.request)))

    def obtain(self, context: Context, deadline: float | None = None) -> tuple[BatchTask, float | None]:
        """
        Return the one remote task of this task instance, and its deadline; create it only if none exists.

        :param context: The task's context.
        :param deadline: The deadline of a new one, in seconds since the epoch; ``None`` for never.
        """
        from airflow_provider_sentinelhub.client.lifecycle.submission import Before

        body = self.body
        intent = intent_of(context, body)
        record = TaskRecord.read(context)
        ours = record is not None and (record.digest, record.max_tries) == (intent.digest, intent.generation)
        before = Before(record.ids, record.digest == intent.digest) if record and not ours else None
        since = created_since(context)
        # A first attempt learns what is wrong before the account is searched.
        is_first = record is None and context["ti"].try_number == 1
        if is_first:
            self._check(body)
        found = self.hook.search(
            intent,
            recorded=record.id if record and ours else None,
            before=before,
            since=since,
            resumes=self._resumes,
            adopt_ended=context["ti"].try_number > 1,
        )
        if found.task is None and not is_first:
            self._check(body)
        if found.task is None:
            self.check_cost(body)
        task = found.task or self.hook.create(intent, body, since=since, others=found.others)
        if record and ours and task.id == record.id:
            self.log.info("Continuing with task %s, which an earlier attempt created", task.id)
            return task, record.deadline
        self.log.info("Task %s for %s", task.id, intent.tag)
        # A stopped task was started, and so recorded: if there is no record, a clear has discarded it.
        after_clear = found.is_older or (record is None and self.hook.api.is_stopped(task))
        new = TaskRecord(task.id, intent.digest, intent.generation, deadline=deadline, after_clear=after_clear)
        if after_clear:
            new = self.record_after_clear(context, task, new)
            task, api = self.hook.get(new.id), self.hook.api
            new = replace(new, found_stopped=api.is_stopped(task) or task.user_action == api.stop_asked)
            self.log.warning(
                "Cleared: continuing with task %s, which is %s. What it delivered is not paid for again. "
                "For a new task, trigger a new DAG run, or set on_clear='new' and clear again",
                task.id,
                state_text(task.status, task.cost_pu),
            )
        new.write(context)
        if after_clear:
            # Its old trigger may have recorded that it must be stopped.
            take_over(self.sentinelhub_conn_id, task.id)
        return task, deadline

    def check_cost(self, body: Mapping[str, Any]) -> None:
        """
        Check, before a task is created, what can only be checked then: it may start at once.

        :param body: The checked request.
        :raises BudgetExceeded: It would cost more than the limit of the connection.
        """
        if not self.hook.api.can.start:
            check_request(self.hook, body, None)

    def _check(self, body: Mapping[str, Any]) -> None:
        self.hook.check_references(body)
        if self.check_bucket:
            self.hook.check_buckets(body)
        if self.check_features:
            self.hook.check_features(body)

    def record_after_clear(self, context: Context, task: BatchTask, record: TaskRecord) -> TaskRecord:  # noqa: ARG002 - subclasses use them
        """
        Return the record of a task from before a clear, completed with what only the service knows.

        :param context: The task's context.
        :param task: The remote task.
        :param record: Its record so far.
        """
        return record

    def has_succeeded(self, task: BatchTask) -> bool:
        """
        Whether the attempts before a clear succeeded.

        :param task: Their remote task.
        """
        return task.status != "CREATED" or task.user_action != "NONE"

    def _resumes(self, task: BatchTask) -> bool:
        """Whether to continue with a task from before a clear; if not, log what is done instead."""
        if self.on_clear == "new":
            self.log.warning("Cleared: a new task replaces task %s, because on_clear is 'new'", task.id)
            return False
        is_lost = self.hook.api.is_stopped(task) and not self.hook.api.can.resume
        if task.status == "FAILED" or is_lost:
            self.log.warning("Cleared: a new task replaces task %s, which is %s", task.id, task.status)
            return False
        if self.on_clear == "adopt":
            return True
        if not self.has_succeeded(task):
            return True
        self.log.warning(
            "Cleared after a success: a new task replaces task %s (%s), and everything is paid for again. To "
            "continue with what there is, set on_clear='adopt'",
            task.id,
            state_text(task.status, task.cost_pu),
        )
        return False


class RunningOperatorBase(CreatingOperatorBase, StartingOperatorBase):
    """
    Base of the operators that create a remote task and take it all the way to its report.

    :param analyse_first: Have the remote task analysed first, and start it only then.
    """

    template_fields: Sequence[str] = ("request", *StartingOperatorBase.template_fields)
    rules: ClassVar[Mapping[str, checks.Rule]] = {"analyse_first": checks.flag}

    def __init__(self, *, analyse_first: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.analyse_first = analyse_first
        self.check_parameters(parsing=True)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Create the remote task, wait for it, and return the result.

        :param context: The task's context.
        """
        with self.at_work(context):
            self.check_limit()
            self.check_on_partial()
            task, deadline = self.obtain(context, self.new_deadline())
            result: dict[str, Any] = self.carry_on(context, task, deadline)
            return result

    def check_cost(self, body: Mapping[str, Any]) -> None:
        """
        Check, before a task is created, what cannot be checked by an analysis afterwards.

        :param body: The checked request.
        :raises BudgetExceeded: It would cost more than ``max_pu``.
        """
        if not self.hook.api.can.analyse:
            check_request(self.hook, body, self.max_pu)
            self._is_judged = True

    def record_after_clear(self, context: Context, task: BatchTask, record: TaskRecord) -> TaskRecord:
        """
        Return the record of a task from before a clear, with the reruns of that task.

        :param context: The task's context.
        :param task: The remote task.
        :param record: Its record so far.
        """
        *earlier, last = self.record_by_tags(context, task).ids
        return replace(record, id=last, earlier=tuple(earlier), inherited=len(earlier))

    def has_succeeded(self, task: BatchTask) -> bool:
        """
        Whether the attempts before a clear succeeded: they leave a mark in the bucket.

        :param task: Their remote task.
        """
        return self.hook.results.has_succeeded(task)

    def _conclude(self, context: Context, task: BatchTask, record: TaskRecord, given_up: GivenUp | None = None) -> Any:
        result = super()._conclude(context, task, record, given_up)
        try:
            self.hook.results.mark_success(self.hook.get(result["task_id"]))
        except StorageUnavailable as error:
            # A clear then continues with this task, and costs nothing.
            self.log.warning("Could not mark the success in the bucket: %s", error)
        return result

    def plan(self, task: BatchTask) -> str:
        """
        Return the goal for the remote task now.

        :param task: The remote task as last read.
        """
        if (goal := super().plan(task)) != self.goal:
            return goal
        return "analyse_then_run" if self.analyse_first and task.status == "CREATED" else goal


class RunningWithRerunsOperatorBase(RunningOperatorBase, RerunningOperatorBase):
    """
    Base of the operators that run a task which the service may stop, and whose failed features are rerun.

    :param on_out_of_pu: What to do when the service stops the remote task because the account has run out of
        processing units: ``fail``, or ``wait`` and start it again once the service's lock of 60 minutes has expired
        and processing units are available.
    """

    template_fields: Sequence[str] = ("request", *RerunningOperatorBase.template_fields)
    rules: ClassVar[Mapping[str, checks.Rule]] = {"on_out_of_pu": partial(checks.one_of, choices=("fail", "wait"))}

    def __init__(self, *, on_out_of_pu: Literal["fail", "wait"] = "fail", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_out_of_pu = on_out_of_pu
        self.check_parameters(parsing=True)

    def advice(self) -> Advice:
        """Return the advice for a task that was stopped, and for features that were not delivered."""
        from airflow_provider_sentinelhub.client.costs.estimate import MINIMUM_PU

        anew = "A new DAG run, or a clear with on_clear='new', pays for everything again."
        if self.on_clear == "new":
            said = "With on_clear='new' a clear pays for everything. Set on_clear='adopt' and clear this Airflow task"
            only_them = f"{said} to rerun only them."
            return Advice(only_them, f"{said} to have it started again.", only_them)
        stopped = (
            "Clear this Airflow task to have it started again when that lock has expired: what it delivered is not "
            "paid for again."
        )
        succeeded = "This Airflow task still succeeds, and a clear then pays for everything again"
        if why_not := self.cannot_rerun() or self.no_rerun:
            return Advice(f"{why_not} {anew}", stopped, f"{why_not} {succeeded}.")
        by_itself = "" if self.reruns() else " on_partial='rerun' does so automatically."
        warn = " on_partial='warn' accepts what was delivered." if self.on_partial == "fail" else ""
        return Advice(
            f"Clear this Airflow task to rerun only them, for {MINIMUM_PU:g} PU or more.{by_itself}{warn} {anew}",
            stopped,
            f"{succeeded}; with on_partial='rerun_then_warn' and on_clear='adopt' a clear reruns only them.",
        )

    def plan(self, task: BatchTask) -> str:
        """
        Return the goal for the remote task now.

        :param task: The remote task as last read.
        """
        goal = super().plan(task)
        return "run_through" if goal == self.goal and self.on_out_of_pu == "wait" else goal


class RunningWithRestartsOperatorBase(RunningOperatorBase, RestartingOperatorBase):
    """
    Base of the operators that run a task in which the service itself runs failed features again.

    :param request: The service's own request, as a dict, its JSON text, or the path of a ``.json`` file. It holds no
        credentials: the policy of the bucket lets the service deliver. An ``evalscript`` may be the path of a ``.js``
        file; its text is sent as it is. Templated.
    :param check_bucket: Check the bucket before a task is created: that Airflow can use it (a small object is written,
        read, listed and deleted). Whether its policy lets the service in is known only then.
    :param timeout: How long the remote task may take, over all retries of the Airflow task, as a ``timedelta`` or in
        seconds. After that it is cancelled for good, and the Airflow task fails. ``None`` for no limit. Airflow's
        ``execution_timeout`` counts in the same way, also while deferred; the shorter one applies.
    :param stop_on_kill: Whether to cancel the remote task when the Airflow task is killed: marked failed or success,
        or ended with its DAG run. A cancelled task cannot be started again. A clear leaves it running for the next
        attempt.
    :param on_clear: What to do with the remote task of earlier attempts after a user has cleared the Airflow task.
        ``resume``: continue with it, unless the Airflow task succeeded or the request has changed. A running task is
        waited for; of one that is PARTIAL, only failed features are restarted; one that is FAILED or CANCELED is
        replaced by a new one. ``new``: cancel it and create a new one. ``adopt``: like ``resume``, also after a
        success.
    :param max_pu: Maximum processing units the remote task may cost, restarts included. Before a start, the task is
        analysed, and not started if the service estimates that it would cost more: the service reserves what it has
        estimated. Default: the limit of the connection; without one, a task of more than 10,000 PU or 1,000,000 km2 is
        not started. Templated.
    :param check_features: Not used: requests of this API read no GeoPackage.
    :param gcp_conn_id: Not used: results are delivered to Amazon S3. Templated.
    """

    template_fields: Sequence[str] = ("request", *RestartingOperatorBase.template_fields)
    more_time = (
        "Raise the limit and clear this Airflow task: one that was stopped is replaced by a new task, which pays for "
        "everything again"
    )

    def advice(self) -> Advice:
        """Return the advice for features that were not delivered."""
        if self.no_restart:
            return Advice(self.no_restart, accepted=self.no_restart)
        if not int(self.max_restarts):
            said = "With max_restarts=0 nothing is restarted. Set it to 1 or more and clear this Airflow task"
            return Advice(f"{said} to restart only them.", accepted=f"{said} to restart only them.")
        anew = "A new DAG run, or a clear with on_clear='new', pays for everything again."
        if self.on_clear == "new":
            said = "With on_clear='new' a clear pays for everything. Set on_clear='adopt' and clear this Airflow task"
            return Advice(f"{said} to restart only them.", accepted=f"{said} to restart only them.")
        by_itself = "" if self.restarts() else " on_partial='restart' does so automatically."
        warn = " on_partial='warn' accepts what was delivered." if self.on_partial == "fail" else ""
        return Advice(
            f"Clear this Airflow task to restart only them.{by_itself}{warn} {anew}",
            accepted="This Airflow task still succeeds, and a clear then pays for everything again; with "
            "on_partial='restart_then_warn' and on_clear='adopt' a clear restarts only them.",
        )


class RunningStatisticsOperatorBase(IdentifierColumnMixin, RunningWithRerunsOperatorBase):
    """Base of the operator that takes a remote task of statistics all the way to its table."""

    template_fields: Sequence[str] = ("identifier_column", *RunningWithRerunsOperatorBase.template_fields)
