"""The event with which a trigger resumes its task: typed, and checked on arrival."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    """Why a task is resumed."""

    READY = "ready"
    """The remote task has ended, or waits for its next step."""

    LATE = "late"
    """The deadline has passed."""

    OVER_BUDGET = "over_budget"
    """The remote task has spent more than ``max_pu``."""

    REFUSED = "refused"
    """The service refused to analyse or start the remote task; it does not run."""

    LOST = "lost"
    """Every poll of the remote task has failed for too long."""


@dataclass(frozen=True, slots=True)
class BatchEvent:
    """
    The event. It is stored in the metadata database as JSON, so it is small and contains no secret.

    :param kind: Why the task is resumed.
    :param batch_task_id: Id of the remote task.
    :param status: Last known status of the remote task; empty if it was never read.
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
        Read an event.

        An unknown event only means that something may have happened, so the task is polled: it is neither taken for
        success nor does it cost an attempt. A newer triggerer may send more than this version knows, and ``airflow
        tasks test`` resumes a deferred task without an event.

        :param payload: The payload.
        :returns: ``None`` if it cannot be read.
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
