"""What a trigger tells a task when it wakes it: one typed event, checked on arrival."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    """Why a task is woken."""

    READY = "ready"
    """There is something to do: the remote task has ended, or waits for the next step."""

    LATE = "late"
    """The deadline has passed."""

    OVER_BUDGET = "over_budget"
    """The remote task has spent more than it may."""

    REFUSED = "refused"
    """The service refused to analyse or start the remote task; it does not run."""

    LOST = "lost"
    """The service has refused every look at the remote task for too long."""


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """
    An event. It crosses the metadata database as JSON, so it is small and holds no secret.

    :param kind: Why the task is woken.
    :param batch_task_id: Id of the remote task.
    :param status: The remote task's status as last seen; empty where it was never seen.
    :param deadline: The wait's deadline, in seconds since the epoch; ``None`` for none.
    :param message: What went wrong, for ``REFUSED`` and ``LOST``; for ``LATE`` and ``OVER_BUDGET``, that the stop is
        owed.
    :param error: Name of the error's class, for ``REFUSED``.
    """

    kind: EventKind
    batch_task_id: str
    status: str = ""
    deadline: float | None = None
    message: str = ""
    error: str = ""

    def to_payload(self) -> dict[str, Any]:
        """Return the event as JSON."""
        return {**asdict(self), "kind": self.kind.value}

    @classmethod
    def from_payload(cls, payload: Any) -> BatchEvent | None:
        """
        Read an event back.

        What is not understood says no more than that something may have happened, and the task is looked at: nothing
        unknown passes for success, and nothing unknown costs an attempt. A newer triggerer may say more than is known
        here, and ``airflow tasks test`` wakes a deferred task without any event.

        :param payload: What arrived.
        :returns: ``None`` where nothing can be read.
        """
        if not isinstance(payload, Mapping) or not isinstance(payload.get("batch_task_id"), str):
            return None
        known = {each.name: payload[each.name] for each in fields(cls) if each.name in payload}
        try:
            kind = EventKind(known.pop("kind", EventKind.READY))
        except ValueError:
            kind = EventKind.READY
        if not isinstance(known.get("deadline"), (int, float)):
            known["deadline"] = None
        return cls(kind, **known)
