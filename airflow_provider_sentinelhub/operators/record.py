"""What a task instance records about its remote task, in Airflow's task state store: it outlives every attempt."""

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
"""In place of ``max_tries``: a user has ended the remote task of this record."""


def intent_of(context: Context, body: Mapping[str, Any]) -> Intent:
    """
    Return the intent of this task instance for a request.

    :param context: The task's context.
    :param body: The request. Credentials in it are ignored.
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
    Return the time before which no remote task of this task instance can have been created.

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
    :param max_tries: The task instance's ``max_tries`` when it was created. A clear by a user raises it, a retry does
        not.
    :param earlier: The tasks whose failed features it reruns, the original first.
    :param inherited: How many of them another task instance created.
    :param resumes: How often it was started again after a stop, or restarted because features failed.
    :param before_pu: Processing units it had cost when it was started again here, for a task that another task
        instance had started; ``None`` otherwise.
    :param is_own: Whether it runs for this task instance. If not, another one has begun it, and may stop it.
    :param deadline: When the wait for it ends, in seconds since the epoch; ``None`` for never.
    :param after_clear: Whether an attempt after a clear continues with it: failed features are then rerun, whatever
        ``on_partial`` says.
    :param found_stopped: Whether it was found stopped after a clear: it is then started again.
    :param is_restarting: Whether the last restart may not have been sent yet.
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
    is_restarting: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all its tasks, the original first."""
        return (*self.earlier, self.id)

    @classmethod
    def read(cls, context: Context) -> TaskRecord | None:
        """
        Read the record; ``None`` if there is none, or none that this version can read.

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
