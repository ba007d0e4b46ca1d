"""
What the operators share that run failed features again.

A restart is a task of its own, with an intent of its own. It is created only after the task before it has ended, and
recorded before it is started. Whoever dies when: the next attempt finds the task that is recorded, or the one before,
and comes by the same steps to the same restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_sentinelhub.hooks.outcome import conclude, was_skipped
from airflow_provider_sentinelhub.operators.outlets import announce
from airflow_provider_sentinelhub.operators.record import TaskRecord, created_since, intent_of
from airflow_provider_sentinelhub.operators.waiting import WaitsForBatchTask

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.models.answers import BatchTask


class RestartsFailedFeatures(WaitsForBatchTask):
    """
    Base of the operators that run failed features again.

    :param on_partial: What to do when the task is DONE but some features failed: ``fail``, ``warn``, ``restart`` (run
        them again, alone, then ``fail`` if some are still missing) or ``restart_then_warn``. Templated.
    :param max_restarts: How often failed features are run again at most. No restart follows one that has mended
        nothing, and features whose error says that they would fail again are left out. Templated.
    """

    # What was mended is not paid for twice, unless an operator that creates tasks says otherwise.
    on_clear: Literal["stop", "adopt"] = "adopt"

    def __init__(self, *, on_partial: str = "fail", max_restarts: int | str = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.on_partial = on_partial
        self.max_restarts = max_restarts
        self.spent_pu = 0.0
        self._is_resuming = False

    @property
    def body(self) -> Mapping[str, Any]:
        """The request the original task was created with, without credentials."""
        raise NotImplementedError

    def deadline_of(self, context: Context) -> float | None:
        """
        Return the recorded deadline, which holds over all retries and restarts.

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
        self.spent_pu = sum(self.hook.get(each).cost_pu or 0.0 for each in self._earlier(context, task))
        return super().carry_on(context, task, deadline)

    def plan(self, task: BatchTask) -> str:
        """
        Return what is wanted of the remote task now.

        :param task: The remote task as last seen.
        """
        self._is_resuming = self._is_resuming and task.status == "STOPPED"
        return "resume" if self._is_resuming else super().plan(task)

    def finish(self, context: Context, task: BatchTask) -> Any:
        """
        Run failed features again, or report on all that was run.

        :param context: The task's context.
        :param task: The remote task.
        """
        record = TaskRecord.read(context)
        if record is None:
            record = self.found(context, task)
            record.write(context)
            if record.id != task.id:
                return self.carry_on(context, self.hook.get(record.id), record.deadline)
        if self.restarts():
            if task.status == "STOPPED" and self.may_resume(task, record) and record.resumes < int(self.max_restarts):
                return self.resume(context, task, record)
            if (
                task.status == "DONE"
                and not was_skipped(task)
                and len(record.earlier) - record.inherited < int(self.max_restarts)
            ):
                body = self._body_for_failed(task, record)
                if body is not None:
                    return self._restart(context, task, body, record)
        result = conclude(self.hook, task, earlier=record.earlier, on_partial=self.on_partial)
        announce(context, self.outlets, task, result)
        return result

    def restarts(self) -> bool:
        """Whether failed features are run again."""
        return self.on_partial.startswith("restart")

    def may_resume(self, task: BatchTask, record: TaskRecord) -> bool:  # noqa: ARG002 - operators that know more use it
        """
        Whether a stopped task may be started again: not where a user has stopped it.

        :param task: The remote task.
        :param record: What is remembered of it.
        """
        return task.stopped_status_reason in {"UNHEALTHY", "OUT_OF_PU"}

    def resume(self, context: Context, task: BatchTask, record: TaskRecord) -> Any:
        """
        Start a stopped task again, as soon as the service's lock is over, and wait for it.

        :param context: The task's context.
        :param task: The remote task.
        :param record: What is remembered of it.
        """
        self.log.info("Task %s was STOPPED (%s): starting it again", task.id, task.stopped_status_reason)
        replace(record, id=task.id, resumes=record.resumes + 1).write(context)
        self._is_resuming = True
        return self.carry_on(context, task, record.deadline)

    def found(self, context: Context, task: BatchTask) -> TaskRecord:
        """
        Return a record where there is none: of the last task that belongs to a task, after those before it.

        :param context: The task's context.
        :param task: A task, or a restart of one.
        """
        from airflow_provider_sentinelhub.client.intent import Intent

        intent = Intent.found_in(task.description)
        original = self.hook.get(intent.original) if intent and intent.round else task
        *earlier, last = (original.id, *(restart.id for restart in self.hook.restarts_of(original)))
        wanted = intent_of(context, self.body)
        return TaskRecord(last, wanted.digest, wanted.generation, earlier=tuple(earlier), deadline=self.new_deadline())

    def _earlier(self, context: Context, task: BatchTask) -> tuple[str, ...]:
        record = TaskRecord.read(context)
        return record.earlier if record and record.id == task.id else ()

    def _body_for_failed(self, task: BatchTask, record: TaskRecord) -> dict[str, Any] | None:
        from airflow_provider_sentinelhub.hooks.restart import request_for_failed

        is_own = len(record.earlier) > record.inherited
        return request_for_failed(self.hook, task, self.body, record.earlier, only_after_progress=is_own)

    def _restart(self, context: Context, task: BatchTask, body: dict[str, Any], record: TaskRecord) -> Any:
        earlier = (*record.earlier, task.id)
        intent = replace(intent_of(context, body), round=len(earlier), original=earlier[0])
        restarted = self.hook.obtain(
            intent, body, recorded=None, since=created_since(context), adopt_older=self.on_clear == "adopt"
        )
        self.log.info("Restart %d of task %s: task %s", len(earlier), earlier[0], restarted.id)
        replace(record, id=restarted.id, earlier=earlier, resumes=0).write(context)
        return self.carry_on(context, restarted, record.deadline)
