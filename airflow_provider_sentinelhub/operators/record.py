"""What a task instance remembers of its remote task, in Airflow's task state store: it survives everything."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_provider_sentinelhub.client.lifecycle.intent import Intent

_KEY = "sentinelhub_batch"
_CREATED_SLACK = timedelta(minutes=10)
DISOWNED = -1
"""In place of ``max_tries``: a user has ended what this record is of."""


def intent_of(context: Context, body: Mapping[str, Any]) -> Intent:
    """
    Return what this task instance wants, if it wants this request.

    :param context: The task's context.
    :param body: The request; credentials in it do not count.
    """
    from airflow_provider_sentinelhub.client.lifecycle.intent import Intent, digest
    from airflow_provider_sentinelhub.hooks.installation import installation_id

    ti = context["ti"]
    map_index = -1 if ti.map_index is None else int(ti.map_index)
    return Intent(
        ti.dag_id, ti.run_id, ti.task_id, map_index, digest(body), ti.max_tries or 0, installation=installation_id()
    )


def created_since(context: Context) -> datetime:
    """
    Return the moment before which no remote task of this task instance can have been created.

    :param context: The task's context.
    """
    moment: datetime = context["dag_run"].run_after - _CREATED_SLACK
    return moment


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """
    The remote task of a task instance.

    :param id: Its id.
    :param digest: Digest of the request it was created for.
    :param max_tries: The task instance's ``max_tries`` then: a user's clear raises it, an automatic retry does not.
    :param earlier: The tasks before it, the original first, whose failed features it runs again.
    :param inherited: How many of them somebody else had created before.
    :param resumes: How often it was started again after a stop.
    :param before_pu: Processing units a task that somebody else had started had cost when it was started again here;
        ``None`` where none was.
    :param is_own: Whether it runs for this task instance; otherwise somebody else has begun it, and may end it.
    :param deadline: Moment at which the wait for it is over, in seconds since the epoch; ``None`` for never.
    :param after_clear: Whether an attempt after a user's clear continues with it: what failed is run again, whatever
        ``on_partial`` says.
    :param found_stopped: Whether it had been stopped by then: it is started again.
    """

    id: str
    digest: str
    max_tries: int
    earlier: tuple[str, ...] = ()
    inherited: int = 0
    resumes: int = 0
    before_pu: float | None = None
    is_own: bool = True
    deadline: float | None = None
    after_clear: bool = False
    found_stopped: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """All its tasks, the original first."""
        return (*self.earlier, self.id)

    @classmethod
    def read(cls, context: Context) -> TaskRecord | None:
        """
        Read the record; ``None`` where there is none, or one this version cannot read.

        :param context: The task's context.
        """
        found: Any = context["task_state_store"].get(_KEY)
        try:
            return cls(**{**found, "earlier": tuple(found["earlier"])})
        except (TypeError, KeyError):
            return None

    def write(self, context: Context) -> None:
        """
        Keep the record for as long as the task instance exists.

        :param context: The task's context.
        """
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        context["task_state_store"].set(_KEY, {**asdict(self), "earlier": list(self.earlier)}, retention=NEVER_EXPIRE)
