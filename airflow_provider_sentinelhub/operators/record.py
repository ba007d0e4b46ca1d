"""What a task instance remembers of its remote task, in Airflow's task state store: it survives everything."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

_KEY = "sentinelhub_batch"


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """
    The remote task of a task instance.

    :param id: Its id.
    :param digest: Digest of the request it was created for.
    :param max_tries: The task instance's ``max_tries`` then: a user's clear raises it, an automatic retry does not.
    :param round: How many tasks were created before it to run failed features again.
    :param deadline: Moment at which the wait for it is over, in seconds since the epoch; ``None`` for never.
    """

    id: str
    digest: str
    max_tries: int
    round: int = 0
    deadline: float | None = None

    @classmethod
    def read(cls, context: Context) -> TaskRecord | None:
        """
        Read the record; ``None`` where there is none, or one this version cannot read.

        :param context: The task's context.
        """
        found: Any = context["task_state_store"].get(_KEY)
        try:
            return cls(**found)
        except TypeError:
            return None

    def write(self, context: Context) -> None:
        """
        Keep the record for as long as the task instance exists.

        :param context: The task's context.
        """
        from airflow.sdk.execution_time.context import NEVER_EXPIRE

        context["task_state_store"].set(_KEY, asdict(self), retention=NEVER_EXPIRE)
