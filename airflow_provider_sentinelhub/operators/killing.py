"""What it means that a worker's task is killed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

log = logging.getLogger(__name__)

_GOES_ON = frozenset({"running", "up_for_retry", "up_for_reschedule", "queued", "scheduled", "deferred"})


class Killed(BaseException):
    """
    Raised out of Airflow's signal handler to interrupt whatever is going on.

    Not an :class:`Exception`: no library on the way may take it for a failed request.
    """


def is_last_attempt(ti: RuntimeTaskInstanceProtocol) -> bool:
    """
    Whether no retry follows a failure of this attempt.

    :param ti: The task instance.
    """
    return ti.try_number > ti.max_tries


def an_attempt_follows(ti: RuntimeTaskInstanceProtocol, *, resumes_after_clear: bool) -> bool:
    """
    Whether a killed attempt is followed by another one, which then continues with the remote task.

    So it is where the machine is taken away, Airflow has lost sight of the attempt, or a user clears it. Where a user
    marks the task, its state says so.

    :param ti: The task instance of the killed attempt.
    :param resumes_after_clear: Whether an attempt after a clear continues with the same remote task.
    """
    mapped = ti.map_index is not None and ti.map_index >= 0
    try:
        states = ti.get_task_states(
            dag_id=ti.dag_id,
            task_ids=[ti.task_id],
            run_ids=[ti.run_id],
            map_index=ti.map_index if mapped else None,
        )
    except Exception:
        # Airflow cannot be asked, so no user has said anything either.
        log.exception("Cannot read the task's state")
        return not is_last_attempt(ti)
    state = states.get(ti.run_id, {}).get(f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id)
    if state == "rerunning":
        return resumes_after_clear
    return state in _GOES_ON and not is_last_attempt(ti)
