"""What the operators that create a task share: one remote task for a task instance, recorded before it is started."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_sentinelhub.hooks.checks import flags, one_of
from airflow_provider_sentinelhub.hooks.owed_stops import take_over
from airflow_provider_sentinelhub.operators.base import BatchTaskOperator
from airflow_provider_sentinelhub.operators.record import TaskRecord, created_since, intent_of
from airflow_provider_sentinelhub.operators.templating import RequestTemplating

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask


class CreatesBatchTask(RequestTemplating, BatchTaskOperator):
    """
    Base of the operators that create a task.

    :param on_clear: What a clear by a user means for the remote task of the attempts before it. ``resume``: continue
        with it, unless they succeeded or the request has changed: a task that runs is waited for, one that was stopped
        is started again when the service's lock is over, only what failed in a task that is DONE is run again, and one
        that is FAILED is replaced by a new one. ``new``: stop it and create a new one. ``adopt``: as ``resume``, also
        after a success.
    :param check_bucket: Whether to ask the bucket, before a task is created, if it takes results (a small object is
        written and deleted again), holds the features, and where it is.
    :param check_features: Whether to read the GeoPackage a request names as its input, before a task is created, and
        refuse what the service would refuse. It is downloaded for that.
    :param request: The service's own request, as a dict, or as the path of a ``.json`` file. Templated. Without
        credentials: those come from ``aws_conn_id`` when the request is sent. An ``evalscript`` may be the path of a
        ``.js`` file.
    """

    template_fields: Sequence[str] = ("request", *BatchTaskOperator.template_fields)
    template_fields_renderers = {"request": "json"}  # noqa: RUF012 - Airflow's own convention
    ui_color = "#d4e7c5"

    def __init__(
        self,
        *,
        request: Mapping[str, Any] | str,
        on_clear: Literal["resume", "new", "adopt"] = "resume",
        check_bucket: bool = True,
        check_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        one_of("on_clear", on_clear, ("resume", "new", "adopt"))
        flags(check_bucket=check_bucket, check_features=check_features)
        self.request = request
        self.on_clear = on_clear
        self.resumes_after_clear = on_clear != "new"
        self.check_bucket = check_bucket
        self.check_features = check_features

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """The request as JSON, checked, without credentials."""
        return self.hook.prepare(self.hook.with_script(self.with_files(self.request)))

    def obtain(self, context: Context, deadline: float | None = None) -> tuple[BatchTask, float | None]:
        """
        Return the one remote task of this task instance, created only where none exists, and its deadline.

        :param context: The task's context.
        :param deadline: The deadline of a new one, in seconds since the epoch; ``None`` for none.
        """
        from airflow_provider_sentinelhub.client.lifecycle.submission import Before

        body = self.body
        intent = intent_of(context, body)
        record = TaskRecord.read(context)
        ours = record is not None and (record.digest, record.max_tries) == (intent.digest, intent.generation)
        before = Before(record.ids, record.digest == intent.digest) if record and not ours else None
        since = created_since(context)
        # What a first attempt asks for in vain is told before the account is searched.
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
        task = found.task or self.hook.create(intent, body, since=since, others=found.others)
        if record and ours and task.id == record.id:
            self.log.info("Continuing with task %s, which an earlier attempt created", task.id)
            return task, record.deadline
        self.log.info("Task %s for %s", task.id, intent.tag)
        # One that was stopped had been started, and so recorded: where the record is gone, a clear has discarded it.
        after_clear = found.is_older or (record is None and task.status == "STOPPED")
        new = TaskRecord(task.id, intent.digest, intent.generation, deadline=deadline, after_clear=after_clear)
        if after_clear:
            new = self.taken_over(context, task, new)
            task = self.hook.get(new.id)
            new = replace(new, found_stopped=task.status == "STOPPED" or task.user_action == "STOP")
            self.log.warning(
                "Cleared: continuing with task %s, which is %s after %.1f PU. What it delivered is not paid for again. "
                "For a new task, trigger a new DAG run, or set on_clear='new' and clear again",
                task.id,
                task.status,
                task.cost_pu or 0.0,
            )
        new.write(context)
        if after_clear:
            # Its old trigger may have written down that it is to be stopped.
            take_over(self.sentinelhub_conn_id, task.id)
        return task, deadline

    def _check(self, body: Mapping[str, Any]) -> None:
        if self.check_bucket:
            self.hook.check_buckets(body)
        if self.check_features:
            self.hook.check_features(body)

    def taken_over(self, context: Context, task: BatchTask, record: TaskRecord) -> TaskRecord:  # noqa: ARG002 - others use it
        """
        Return the record of a task from before a clear, with what only the service knows.

        :param context: The task's context.
        :param task: The remote task.
        :param record: What is known of it here.
        """
        return record

    def has_succeeded(self, task: BatchTask) -> bool:
        """
        Whether the attempts before a clear succeeded.

        :param task: The remote task they had.
        """
        return task.status != "CREATED" or task.user_action != "NONE"

    def _resumes(self, task: BatchTask) -> bool:
        """Decide whether to continue with a task from before a clear, and say what is done instead."""
        if self.on_clear == "new":
            self.log.warning("Cleared: a new task replaces task %s, because on_clear is 'new'", task.id)
            return False
        if task.status == "FAILED":
            self.log.warning("Cleared: a new task replaces task %s, which is FAILED", task.id)
            return False
        if self.on_clear == "adopt":
            return True
        if not self.has_succeeded(task):
            return True
        self.log.warning(
            "Cleared after a success: a new task replaces task %s (%.1f PU), and everything is paid for again. To go "
            "on with what there is, set on_clear='adopt'",
            task.id,
            task.cost_pu or 0.0,
        )
        return False
