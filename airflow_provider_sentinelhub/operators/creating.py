"""What the operators that create a task share: one remote task for a task instance, recorded before it is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_sentinelhub.hooks.checks import flags, one_of
from airflow_provider_sentinelhub.hooks.scripts import with_script
from airflow_provider_sentinelhub.operators.base import BatchTaskOperator
from airflow_provider_sentinelhub.operators.record import TaskRecord, created_since, intent_of
from airflow_provider_sentinelhub.operators.templating import RequestTemplating

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.models.answers import BatchTask


class CreatesBatchTask(RequestTemplating, BatchTaskOperator):
    """
    Base of the operators that create a task.

    :param on_clear: What a user's clear means for the remote task there was: ``stop`` it and create a new one, or
        ``adopt`` it if it has not failed and was not stopped. Clearing a task that is deferred stops the remote task
        all the same, unless ``stop_on_kill`` is off.
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
        on_clear: Literal["stop", "adopt"] = "stop",
        check_bucket: bool = True,
        check_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        one_of("on_clear", on_clear, ("stop", "adopt"))
        flags(check_bucket=check_bucket, check_features=check_features)
        self.request = request
        self.on_clear = on_clear
        self.check_bucket = check_bucket
        self.check_features = check_features

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """The request as JSON, checked, without credentials."""
        return self.hook.prepare(with_script(self.hook, self.with_files(self.request)))

    def obtain(self, context: Context, deadline: float | None = None) -> tuple[BatchTask, float | None]:
        """
        Return the one remote task of this task instance, created only where none exists, and its deadline.

        :param context: The task's context.
        :param deadline: The deadline of a new one, in seconds since the epoch; ``None`` for none.
        """
        body = self.body
        intent = intent_of(context, body)
        record = TaskRecord.read(context)
        ours = record is not None and (record.digest, record.max_tries) == (intent.digest, intent.generation)
        if self.check_bucket and not ours:
            self.hook.check_buckets(body)
        if self.check_features and not ours:
            self.hook.check_features(body)
        task = self.hook.obtain(
            intent,
            body,
            recorded=record.id if record and ours else None,
            superseded=record.id if record and not ours else None,
            since=created_since(context),
            adopt_older=self.on_clear == "adopt",
            adopt_ended=context["ti"].try_number > 1,
        )
        if record and ours and task.id == record.id:
            self.log.info("Going on with task %s, which an earlier attempt created", task.id)
            return task, record.deadline
        self.log.info("Task %s for %s", task.id, intent.tag)
        TaskRecord(task.id, intent.digest, intent.generation, deadline=deadline).write(context)
        return task, deadline
