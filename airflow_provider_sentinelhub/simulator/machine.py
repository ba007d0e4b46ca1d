"""
The life of a task, as the service's state diagram draws it. Nothing here touches a disk, a bucket or a clock.

::

    CREATED       --START/ANALYSE--> ANALYSING
    ANALYSING     --(system)-------> FAILED | ANALYSIS_DONE
    ANALYSIS_DONE --START----------> PROCESSING
    ANALYSIS_DONE --STOP-----------> STOPPED
    PROCESSING    --STOP-----------> STOPPED     (also by the service: OUT_OF_PU, UNHEALTHY)
    PROCESSING    --(system)-------> DONE
    STOPPED       --START----------> ANALYSIS_DONE, and on to PROCESSING

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchV2.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.problems import Problem, bad_payload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.simulator.script import TaskRule, Timing

DAY_S = 86_400
TERMINAL = frozenset({"DONE", "FAILED"})

# (status, last user action) -> actions the service takes. Only the refusal of STOP on a task that is CREATED and
# already started is attested; the rest follows from the diagram.
LEGAL: dict[tuple[str, str], frozenset[str]] = {
    ("CREATED", "NONE"): frozenset({"ANALYSE", "START"}),
    ("ANALYSING", "ANALYSE"): frozenset({"START", "STOP"}),
    ("ANALYSING", "START"): frozenset({"STOP"}),
    ("ANALYSIS_DONE", "ANALYSE"): frozenset({"START", "STOP"}),
    ("ANALYSIS_DONE", "START"): frozenset({"STOP"}),
    ("PROCESSING", "START"): frozenset({"STOP"}),
    ("STOPPED", "START"): frozenset({"START"}),
    ("STOPPED", "STOP"): frozenset({"START"}),
}


@dataclass
class Task:
    """
    One batch task and everything needed to continue with it after a restart. Times are simulated POSIX seconds.

    :param id: UUID.
    :param request: The request with defaults filled in, secrets included.
    :param created: When it was created.
    :param since: When the current status began.
    :param kind: Name of its API, see ``kinds.py``.
    :param rule: What the script has in store for it.
    :param stop_asked: Reason for which the service is about to stop it.
    :param service_stops: How often the script stopped it.
    :param accrued_pu: What was processed so far costs this much.
    :param cost_pu: What the service has billed so far.
    :param billed_at: When that was last done.
    :param handled: Features dealt with since ``processing_since``.
    :param processing_since: When PROCESSING last began.
    :param handled_at: When the last feature was dealt with.
    :param execution_uploads: How often the execution database was uploaded.
    :param execution_at: When it was uploaded last.
    :param execution_due: When it must be uploaded although the task has ended.
    :param evalscript: What a reference in the request pointed to when the task was analysed.
    :param deleted: Whether the service has deleted it as stale.
    :param history: Every change of status and user action, oldest first.
    """

    id: str
    request: dict[str, Any]
    created: float
    since: float
    kind: str = "batch-v2"
    rule: TaskRule | None = None
    status: str = "CREATED"
    error: str | None = None
    user_action: str = "NONE"
    user_action_updated: float | None = None
    last_updated: float | None = None
    completion: float = 0
    stopped_reason: str | None = None
    stopped_at: float | None = None
    stop_asked: str | None = None
    service_stops: int = 0
    accrued_pu: float = 0
    cost_pu: float = 0
    billed_at: float = 0
    handled: int = 0
    processing_since: float = 0
    handled_at: float = 0
    execution_uploads: int = 0
    execution_at: float = 0
    execution_due: float | None = None
    evalscript: str | None = None
    deleted: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def active(self) -> bool:
        """Whether time changes the task without anybody's doing."""
        return (
            self.execution_due is not None
            or self.status in {"ANALYSING", "PROCESSING"}
            or (self.status == "CREATED" and self.user_action != "NONE")
            or (self.status == "ANALYSIS_DONE" and self.user_action in {"START", "STOP"})
        )

    def enter(self, status: str, moment: float) -> None:
        """
        Go to a status.

        :param status: The new one.
        :param moment: When.
        """
        self.status = status
        self.since = moment
        self.last_updated = moment
        self.note(moment, f"status {status}")

    def note(self, moment: float, event: str) -> None:
        """
        Remember what the task looks like from now on.

        :param moment: When.
        :param event: What happened, for the admin interface.
        """
        self.history.append(
            {
                "at": moment,
                "event": event,
                "status": self.status,
                "user_action": self.user_action,
                "user_action_updated": self.user_action_updated,
                "last_updated": self.last_updated,
            }
        )


def act(task: Task, action: str, moment: float, timing: Timing) -> None:
    """
    Take a user's action, or refuse it as the service does.

    :param task: Changed in place.
    :param action: ANALYSE, START or STOP.
    :param moment: Simulated time.
    :param timing: Knows the restart locks.
    :raises Problem: 400.
    """
    if action not in LEGAL.get((task.status, task.user_action), frozenset()):
        raise illegal(task, action)
    if task.status == "STOPPED":
        _check_restart_lock(task, moment, timing)
        task.stopped_reason = None
        task.stopped_at = None
    task.user_action = action
    task.user_action_updated = moment
    task.last_updated = moment
    task.note(moment, f"user {action}")
    if task.status == "STOPPED":
        task.enter("ANALYSIS_DONE", moment)
    elif task.status in {"CREATED", "ANALYSIS_DONE"}:
        task.since = moment


def illegal(task: Task, action: str) -> Problem:
    """
    Return the attested refusal of an action.

    :param task: The task.
    :param action: What was asked for.
    """
    return bad_payload(
        f"Illegal to change userAction from {task.user_action} to {action} with task status {task.status}"
    )


def _check_restart_lock(task: Task, moment: float, timing: Timing) -> None:
    out_of_pu = task.stopped_reason == "OUT_OF_PU"
    lock = timing.out_of_pu_lock_seconds if out_of_pu else timing.restart_lock_seconds
    # The service documents the lock but not the words: these are ours.
    if task.stopped_at is not None and moment < task.stopped_at + lock:
        raise bad_payload(
            f"Illegal to change userAction from {task.user_action} to START with task status STOPPED: "
            f"a stopped request can be restarted after {lock / 60:.0f} minutes."
        )


def updatable(task: Task) -> bool:
    """
    Say whether the description may be changed: the task is neither processed nor waiting for it.

    :param task: The task.
    """
    return not task.active or task.status in TERMINAL


def delete_if_stale(task: Task, moment: float, days: Mapping[str, int]) -> bool:
    """
    Delete a task nobody did anything with for too long.

    :param task: Changed in place.
    :param moment: Simulated time.
    :param days: How long tasks of a status are kept; for ever where it does not say.
    :returns: Whether the task is deleted now.
    """
    kept = days.get(task.status)
    if kept is None or task.active or task.deleted:
        return False
    due = max(task.created, task.last_updated or 0) + kept * DAY_S
    if moment < due:
        return False
    task.deleted = True
    task.note(due, "deleted")
    return True


def stop(task: Task, reason: str, moment: float) -> None:
    """
    Come to a halt.

    :param task: Changed in place.
    :param reason: USER_ACTION, OUT_OF_PU or UNHEALTHY.
    :param moment: Simulated time.
    """
    task.stop_asked = None
    task.stopped_reason = reason
    task.stopped_at = moment
    task.enter("STOPPED", moment)


def features_due(task: Task, moment: float, timing: Timing) -> int:
    """
    Count the features that should have been dealt with since PROCESSING began.

    :param task: A task in PROCESSING.
    :param moment: Simulated time.
    :param timing: Knows how long a feature takes.
    """
    if timing.feature_seconds == 0:
        return 1 << 30
    rounds = (moment - task.processing_since) / timing.feature_seconds
    return max(0, int(rounds * timing.parallel))
