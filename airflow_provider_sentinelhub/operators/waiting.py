"""
What the operators that wait for a remote task share.

Every entry (the first execution, the end of a deferral, a crash of the trigger) does the same: read the remote task,
take the steps it needs, wait for the rest. So an attempt can end anywhere, and the next one continues.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk.configuration import conf

from airflow_provider_sentinelhub.client.costs.amounts import pu_text
from airflow_provider_sentinelhub.hooks import checks
from airflow_provider_sentinelhub.hooks.outcome import counts_in, result_so_far
from airflow_provider_sentinelhub.hooks.owed_stops import TASK_ID_XCOM
from airflow_provider_sentinelhub.operators.base import RemoteTaskOperatorBase
from airflow_provider_sentinelhub.operators.record import TaskRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.errors import TaskTimedOut
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.triggers.events import BatchEvent

CANNOT_STOP = "the service cannot stop it, so it runs to its end and is charged until then"
_TRIGGER_MARGIN_S = 300.0
_CRASHES_XCOM = "sentinelhub_trigger_crashes"
# A trigger that cannot be made, as after a half-finished upgrade, crashes every time.
_CRASHES = 3
# Airflow's execution_timeout interrupts the worker and leaves no time to stop a remote task.
_ALARM_MARGIN_S = 30.0
_ALARM_MARGIN_SHARE = 0.1


def deadline_from_now(limits: Mapping[str, timedelta | float], *, deferrable: bool) -> float | None:
    """
    Return when a wait ends that starts now, in seconds since the epoch; ``None`` for never.

    :param limits: How long it may take, in seconds, by the name of the operator's parameter.
    :param deferrable: Whether the operator is deferred; otherwise Airflow's own timeout interrupts the worker.
    """
    seconds = {
        name: limit.total_seconds() if isinstance(limit, timedelta) else float(limit) for name, limit in limits.items()
    }
    if not deferrable and (alarm := seconds.get("execution_timeout")) is not None:
        seconds["execution_timeout"] = alarm - min(_ALARM_MARGIN_S, _ALARM_MARGIN_SHARE * alarm)
    return time.time() + min(seconds.values()) if seconds else None


class WaitingOperatorBase(RemoteTaskOperatorBase):
    """
    Base of the operators that wait for a remote task.

    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two checks of the remote task; the service asks for 60 or more.
        Templated.
    :param timeout: How long the remote task may take, over all retries of the Airflow task, as a ``timedelta`` or in
        seconds. After that it is stopped, and the Airflow task fails. ``None`` for no limit. Airflow's
        ``execution_timeout`` counts in the same way, also while deferred; the shorter one applies.
    :param stop_on_kill: Whether to stop the remote task when the Airflow task is killed: marked failed or success,
        or ended with its DAG run. A clear leaves it running for the next attempt.
    :param progress_interval: Time in seconds between two counts of the features while waiting, pushed to the XCom
        ``sentinelhub_progress``; 0 for none. Templated.
    """

    template_fields: Sequence[str] = (*RemoteTaskOperatorBase.template_fields, "poll_interval", "progress_interval")
    rules: ClassVar[Mapping[str, checks.Rule]] = {
        "deferrable": checks.flag,
        "poll_interval": checks.SECONDS,
        "timeout": checks.limit,
        "stop_on_kill": checks.flag,
        "progress_interval": checks.SECONDS,
        "execution_timeout": checks.limit,
    }
    goal: ClassVar[str] = "run"
    more_time: ClassVar[str] = "Raise the limit"

    def __init__(
        self,
        *,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = 60.0,
        timeout: timedelta | float | None = None,
        stop_on_kill: bool = True,
        progress_interval: float | str = 300.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.stop_on_kill = stop_on_kill
        self.progress_interval = progress_interval
        self.check_parameters(parsing=True)

    def finish(self, context: Context, task: BatchTask) -> Any:
        """
        Return the operator's result for a remote task that needs no further step.

        :param context: The task's context.
        :param task: The remote task.
        """
        raise NotImplementedError

    def new_deadline(self) -> float | None:
        """
        Return the deadline of a wait that starts now, in seconds since the epoch; ``None`` for never.

        Airflow does not apply ``execution_timeout`` to a deferred task (apache/airflow#69678), so it is applied here.
        """
        return deadline_from_now(self._limits, deferrable=self.deferrable)

    @property
    def _limits(self) -> dict[str, timedelta | float]:
        """``timeout`` and ``execution_timeout``, those that are set, as the user wrote them."""
        given = {"timeout": self.timeout, "execution_timeout": self.execution_timeout}
        return {name: limit for name, limit in given.items() if limit is not None}

    def carry_on(self, context: Context, task: BatchTask, deadline: float | None) -> Any:
        """
        Take the steps the remote task needs, wait for the rest, and return the result.

        In deferrable mode the trigger takes the steps; its docstring says why.

        :param context: The task's context.
        :param task: The remote task as last read.
        :param deadline: When the wait ends, in seconds since the epoch; ``None`` for never.
        """
        from airflow_provider_sentinelhub.client.lifecycle.spec import Goal, NextStep
        from airflow_provider_sentinelhub.client.lifecycle.watch import Watch

        self.publish(context, task.id)
        watch = Watch(float(self.poll_interval), deadline, max_pu=self.budget())
        while True:
            goal = Goal(self.plan(task))
            if self.hook.api.next_step(task, goal) is NextStep.FINISH:
                return self.finish(context, task)
            if watch.is_late:
                self.give_up(task.id)
            if watch.is_over_budget(task):
                self.end_over_budget(task)
            if self.deferrable:
                self.wait_in_triggerer(task, goal, deadline)
            task = self.hook.wait(task, goal, watch)

    def push_progress(self, context: Context, task: BatchTask, result: Mapping[str, Any] | None) -> None:
        """
        Push the final counts as the last progress; the trigger only counts from time to time.

        :param context: The task's context.
        :param task: The remote task.
        :param result: The result, if there is one.
        """
        from airflow_provider_sentinelhub.triggers.progress import PROGRESS_XCOM, progress_of

        if not float(self.progress_interval):
            return
        counts = counts_in(result) if result else {}
        context["ti"].xcom_push(key=PROGRESS_XCOM, value=progress_of(task, counts or None))

    def plan(self, task: BatchTask) -> str:  # noqa: ARG002 - operators that decide by the task override this
        """
        Return the goal for the remote task now.

        :param task: The remote task as last read.
        """
        return self.goal

    def budget(self) -> float | None:
        """Return the processing units the remote task may spend; ``None`` for no limit."""
        return None

    def limit(self) -> str:
        """Return the limit of processing units as text."""
        return f"max_pu = {self.budget():g}"

    def end_over_budget(self, task: BatchTask) -> NoReturn:
        """
        Stop the remote task, if the service can, and fail, because it has spent more than its limit.

        :param task: The remote task.
        """
        from airflow_provider_sentinelhub.client.errors import BudgetExceeded

        if self.hook.api.can.stop:
            stopped = self.stop_or_owe(task.id, "It has spent more than it may")
            seen = stopped.task or task
            state = stopped.owed or f"it was stopped and is now {seen.status}"
        else:
            seen, state = task, f"it is {task.status} and was left running: {CANNOT_STOP}"
        error = BudgetExceeded(
            f"Task {task.id} has spent {pu_text(seen.cost_pu)}, more than {self.limit()}; {state}. What was "
            "delivered stays in the bucket. Raise max_pu, or ask for less."
        )
        error.result = result_so_far(seen)
        raise error

    def wait_in_triggerer(self, task: BatchTask, goal: str, deadline: float | None) -> NoReturn:
        """
        Defer until the remote task needs the operator again.

        :param task: The remote task.
        :param goal: The goal for it.
        :param deadline: When the wait ends, in seconds since the epoch; ``None`` for never.
        """
        from airflow_provider_sentinelhub.triggers.batch import SentinelHubBatchTrigger

        trigger = SentinelHubBatchTrigger(
            api=self.api,
            batch_task_id=task.id,
            goal=str(goal),
            sentinelhub_conn_id=self.sentinelhub_conn_id,
            aws_conn_id=self.aws_conn_id,
            gcp_conn_id=self.gcp_conn_id,
            poll_interval=float(self.poll_interval),
            deadline=deadline,
            max_pu=self.budget(),
            stop_on_kill=self.stops,
            progress_interval=float(self.progress_interval),
            is_handed_over=self.hand_over(task),
        )
        # The trigger applies the deadline; Airflow's own timeout is for a trigger that no triggerer runs any more.
        spare = None if deadline is None else max(0.0, deadline - time.time()) + _TRIGGER_MARGIN_S
        self.defer(trigger=trigger, method_name="execute_complete", timeout=spare)

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """
        Continue after the deferral.

        :param context: The task's context.
        :param event: The payload of the trigger's event; ``None`` if something else resumed the Airflow task.
        """
        from airflow_provider_sentinelhub.triggers.events import BatchEvent

        with self.at_work(context, resumed=True):
            return self.continue_after(context, BatchEvent.from_payload(event))

    def continue_after(self, context: Context, happened: BatchEvent | None) -> Any:
        """
        Read the remote task, and continue with it.

        :param context: The task's context.
        :param happened: The trigger's event, if there is one.
        :raises AirflowException: There is neither an event nor a recorded remote task.
        """
        from airflow.sdk.exceptions import AirflowException

        from airflow_provider_sentinelhub.client.errors import api_error
        from airflow_provider_sentinelhub.triggers.events import EventKind

        own = self._published_id(context)
        if happened is None and own is None:
            raise AirflowException("Resumed without an event, and no remote task is on record")
        self._remote_id = own or (happened.batch_task_id if happened else None)
        if happened is None or (own and own != happened.batch_task_id):
            # SQLite reuses the ids of triggers, so a late event of an old one can resume the wrong Airflow task.
            about = f"an event about task {happened.batch_task_id}" if happened else "something other than a trigger"
            self.log.warning("Resumed by %s: continuing with task %s", about, own)
            return self.carry_on(context, self.hook.get(str(own)), self.deadline_of(context))
        if happened.kind is EventKind.REFUSED:
            refusal = api_error(happened.error, happened.message)
            refusal.refuses_action = True
            raise refusal
        if happened.kind is EventKind.LOST:
            self.log.error("Could not look at task %s any more: %s", happened.batch_task_id, happened.message)
        if happened.message and happened.kind is EventKind.LATE:
            raise self._timed_out(happened.batch_task_id, happened.message)
        # The task as it is now counts, not as the trigger saw it some time ago.
        task = self.hook.get(happened.batch_task_id)
        # The trigger has stopped the task for this event, unless it ended first: then its result is reported.
        ended_by_itself = self.hook.api.is_over(task) and not self.hook.api.is_stopped(task)
        if happened.kind is EventKind.LATE and not ended_by_itself:
            self.give_up(task.id)
        if happened.kind is EventKind.OVER_BUDGET and not ended_by_itself:
            self.end_over_budget(task)
        return self.carry_on(context, task, happened.deadline)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Continue after the deferral. If the trigger crashed or never ran, read the remote task instead of failing.

        :param next_method: The method to continue with.
        :param next_kwargs: Its arguments.
        :param context: The task's context.
        """
        from airflow.sdk.exceptions import TaskDeferralError, TaskDeferralTimeout

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, TaskDeferralTimeout) as e:
            return self.after_crash(context, e)

    def after_crash(self, context: Context, error: Exception) -> Any:
        """
        Continue after a trigger ended without an event.

        :param context: The task's context.
        :param error: Airflow's error.
        """
        task_id = self._published_id(context)
        if not task_id:
            raise error
        crashes = self._count_crash(context)
        self.log.warning("The trigger ended without an event (%s): continuing with task %s", error, task_id)
        if crashes > _CRASHES and self.deferrable:
            self.log.warning("Its trigger has crashed %d times: waiting in the worker instead", crashes)
            self.deferrable = False
        self._remote_id = task_id
        with self.at_work(context, resumed=True):
            return self.carry_on(context, self.hook.get(task_id), self.deadline_of(context))

    def _published_id(self, context: Context) -> str | None:
        ti = context["ti"]
        found = ti.xcom_pull(key=TASK_ID_XCOM, task_ids=self.task_id, map_indexes=ti.map_index)
        if found:
            return str(found)
        record = TaskRecord.read(context)
        return record.id if record else None

    def _count_crash(self, context: Context) -> int:
        ti = context["ti"]
        crashes = int(ti.xcom_pull(key=_CRASHES_XCOM, task_ids=self.task_id, map_indexes=ti.map_index) or 0) + 1
        ti.xcom_push(key=_CRASHES_XCOM, value=crashes)
        return crashes

    def on_execution_timeout(self, context: Context) -> None:  # noqa: ARG002 - the base's signature
        """
        Give the remote task up when Airflow's ``execution_timeout`` ends the work, unless it has ended.

        :param context: The task's context.
        :raises TaskTimedOut: It was given up. A retry must not mistake it for one that a user has stopped.
        """
        from airflow_provider_sentinelhub.client.errors import ApiError

        if not self._remote_id:
            return
        self.hook.hurry()
        try:
            is_over = self.hook.api.is_over(self.hook.get(self._remote_id))
        except ApiError:
            is_over = False
        if not is_over:
            self.give_up(self._remote_id)

    def deadline_of(self, context: Context) -> float | None:  # noqa: ARG002 - operators that keep a record read it there
        """
        Return the deadline of the current wait.

        :param context: The task's context.
        """
        return self.new_deadline()

    def give_up(self, task_id: str) -> NoReturn:
        """
        Stop the remote task and fail, because the deadline has passed.

        :param task_id: The id of the remote task.
        """
        if not self.stops:
            raise self._timed_out(task_id, self._how_it_was_left(task_id))
        stopped = self.stop_or_owe(task_id, "The deadline has passed")
        task = stopped.task
        state = stopped.owed or (f"it was asked to stop and is {task.status}" if task else "it is gone")
        if task is not None and task.status == "CREATED":
            state = "it was never started"
        raise self._timed_out(task_id, state, task)

    def _how_it_was_left(self, task_id: str) -> str:
        from airflow_provider_sentinelhub.client.errors import ApiError

        if self.hook.api.can.stop:
            return "it was left running"
        try:
            is_running = self.hook.api.is_running(self.hook.get(task_id))
        except ApiError:
            is_running = True
        return f"it was left running: {CANNOT_STOP}" if is_running else "it was never started"

    def _timed_out(self, task_id: str, state: str, task: BatchTask | None = None) -> TaskTimedOut:
        from airflow_provider_sentinelhub.client.errors import TaskTimedOut

        limits = " and ".join(f"{name} = {limit}" for name, limit in self._limits.items())
        error = TaskTimedOut(
            f"Task {task_id} did not finish within {limits}; {state}. {self.more_time}, or ask for less at once."
        )
        error.result = {"task_id": task_id} if task is None else result_so_far(task)
        return error
