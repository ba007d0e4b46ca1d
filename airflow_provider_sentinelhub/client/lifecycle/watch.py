"""
Waiting for a task, without I/O: what to log, when to poll again, when to give up.

Used by the blocking wait of an operator and by the wait of a trigger.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.costs.amounts import pu_text
from airflow_provider_sentinelhub.client.errors import ApiError, SentinelHubError
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

ANALYSIS_POLL_S = 10.0
STOPPED_FACTOR = 5.0
_PROGRESS_STEP = 10.0
_QUIET_S = 900.0
_MAX_DOUBLINGS = 3
LOST_AFTER_S = 900.0
# The last read comes after the deadline: a task that ended in time is not late.
_LOOK_S = 30.0


@dataclass(slots=True)
class Watch:
    """
    One wait for one task.

    :param poll_interval: Seconds between two reads of a task that is being processed. The service asks for 60 or
        more. During the analysis it is at most 10 seconds; for a stopped task it is five times as long.
    :param deadline: Time, in seconds since the epoch, after which the wait is over; ``None`` for never.
    :param clock: Returns seconds since the epoch.
    :param max_pu: Processing units the task may spend; ``None`` for no limit.
    :param lost_after: Seconds for which the service may refuse every read (token revoked, task deleted) before the wait
        is given up. There is no such limit for an outage of the service: the task continues, and so does the wait.
    """

    poll_interval: float
    deadline: float | None = None
    clock: Callable[[], float] = time.time
    _status: str | None = None
    _action: str | None = None
    _percent: float = 0.0
    _spoke_at: float = field(default=0.0)
    max_pu: float | None = None
    lost_after: float = LOST_AFTER_S
    _misses: int = 0
    _refused_since: float | None = None

    def saw(self, task: BatchTask) -> str | None:
        """
        Note a successful read; return a line for the log if something has changed.

        :param task: The task.
        """
        recovered = self._misses > 0
        self._misses, self._refused_since = 0, None
        moved = (task.status, task.user_action) != (self._status, self._action)
        percent = task.completion_percentage or 0.0
        further = percent - self._percent >= _PROGRESS_STEP
        if not (recovered or moved or further or self.clock() - self._spoke_at >= _QUIET_S):
            return None
        before = self._status
        self._status, self._action, self._percent, self._spoke_at = (
            task.status,
            task.user_action,
            percent,
            self.clock(),
        )
        change = f"{before} -> {task.status}" if before and before != task.status else task.status
        said = [f"{percent:.0f} %"] if task.completion_percentage is not None else []
        said += [pu_text(task.cost_pu)] if task.cost_pu else []
        return f"Task {task.id}: {change}" + (f" ({', '.join(said)})" if said else "")

    def missed(self, error: Exception) -> str | None:
        """
        Note a failed read; return a line for the log if the one before succeeded.

        :param error: The error.
        """
        self._misses += 1
        if isinstance(error, TimeoutError) or (isinstance(error, ApiError) and error.retryable):
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = self.clock()
        if self._misses > 1:
            return None
        said = str(error) if isinstance(error, SentinelHubError) else one_line(error)
        return f"Could not look at the task; still waiting. {said or 'There was no answer in time.'}"

    def patience(self) -> float | None:
        """Return the timeout of a read in seconds, so that it ends soon after the deadline; ``None`` for none."""
        return None if self.deadline is None else max(_LOOK_S, self.deadline - self.clock())

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and self.clock() >= self.deadline

    @property
    def is_lost(self) -> bool:
        """Whether the service has refused every read for too long."""
        return self._refused_since is not None and self.clock() - self._refused_since >= self.lost_after

    def is_over_budget(self, task: BatchTask) -> bool:
        """
        Whether a running task has spent more than ``max_pu``.

        :param task: The task.
        """
        return self.max_pu is not None and task.status == "PROCESSING" and (task.cost_pu or 0.0) > self.max_pu

    def pause(self) -> float:
        """Return the seconds until the next read, with jitter: longer after failures, never past the deadline."""
        interval = self.poll_interval
        if self._status in {"CREATED", "ANALYSING"}:
            interval = min(interval, ANALYSIS_POLL_S)
        elif self._status == "STOPPED":
            interval *= STOPPED_FACTOR
        seconds = interval * 2.0 ** min(self._misses, _MAX_DOUBLINGS) * random.uniform(0.9, 1.1)
        if self.deadline is not None:
            seconds = min(seconds, max(0.0, self.deadline - self.clock()))
        return seconds
