"""
Tasks, and how they get from one status to the next. Nothing here touches a disk, a bucket or a clock.

Most APIs follow this diagram, :data:`ANALYSE_START_STOP`::

    CREATED       --START/ANALYSE--> ANALYSING
    ANALYSING     --(system)-------> FAILED | ANALYSIS_DONE
    ANALYSIS_DONE --START----------> PROCESSING
    ANALYSIS_DONE --STOP-----------> STOPPED
    PROCESSING    --STOP-----------> STOPPED     (also by the service: OUT_OF_PU, UNHEALTHY)
    PROCESSING    --(system)-------> DONE
    STOPPED       --START----------> ANALYSIS_DONE, then PROCESSING

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchV2.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.problems import bad_payload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.simulator.tasks.script import TaskRule, Timing

DAY_S = 86_400


@dataclass
class Task:
    """
    One task, and everything needed to continue it after a restart. Times are simulated POSIX seconds.

    :param id: UUID.
    :param api: Name of its API.
    :param request: The request with defaults filled in, secrets included.
    :param created: When it was created.
    :param since: When the current status began.
    :param rule: The script's rule for this task.
    :param stop_asked: Reason for which the service is about to stop it.
    :param service_stops: How often the script stopped it.
    :param accrued_pu: Cost of everything processed so far.
    :param transfer_pu: The part of it that is for delivery to another region or cloud.
    :param cost_pu: What the service has billed so far.
    :param billed_at: When it was billed last.
    :param handled: Features processed since ``processing_since``.
    :param processing_since: When PROCESSING last began.
    :param handled_at: When the last feature was processed.
    :param execution_uploads: How often the execution database was uploaded.
    :param execution_at: When it was uploaded last.
    :param execution_due: When it must be uploaded although the task has ended.
    :param evalscript: Content of the evalscript that the request refers to, read by the analysis.
    :param deleted: Whether it was deleted: by the service as stale, or by the user.
    :param facts: What its API has found out about it.
    :param reserved_pu: Processing units of the account that are set aside for it.
    :param history: Every change of status and user action, oldest first.
    """

    id: str
    api: str
    request: dict[str, Any]
    created: float
    since: float
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
    transfer_pu: float = 0
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
    facts: dict[str, Any] = field(default_factory=dict)
    reserved_pu: float = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def enter(self, status: str, moment: float) -> None:
        """
        Change the status.

        :param status: The new status.
        :param moment: When.
        """
        self.status = status
        self.since = moment
        self.last_updated = moment
        if status == "PROCESSING":
            self.processing_since = self.handled_at = self.execution_at = self.billed_at = moment
            self.handled = 0
        self.note(moment, f"status {status}")

    def note(self, moment: float, event: str) -> None:
        """
        Add the current state to the history.

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


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """
    The statuses of an API's tasks, as data.

    Every task begins as CREATED. The engine knows what happens in ANALYSING and PROCESSING; any other status is only a
    name in these tables.

    :param accepted: Actions that the service accepts, by status and last user action.
    :param following: What happens by itself, by status and last user action: the next status, and the name of the
        delay in :class:`~airflow_provider_sentinelhub.simulator.tasks.script.Timing`.
    :param restarted: Status that a task in this status enters at once when an action is accepted.
    :param stop_action: Action that stops a task.
    :param stopped: Status of a task that was stopped.
    :param retries: Actions that begin once more with the features that failed.
    :param settled: What the last user action is once an action has taken effect, and what callers see from the start.
    :param ignored: Actions that are accepted without any effect where they are illegal.
    :param refusals: Words of the refusal of an action, where the service has its own.
    """

    accepted: Mapping[tuple[str, str], frozenset[str]]
    following: Mapping[tuple[str, str], tuple[str, str]]
    restarted: Mapping[str, str] = field(default_factory=dict)
    stop_action: str = "STOP"
    stopped: str = "STOPPED"
    retries: frozenset[str] = frozenset()
    settled: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    refusals: Mapping[str, str] = field(default_factory=dict)

    def allows(self, task: Task, action: str) -> bool:
        """
        Say whether an action is legal now.

        :param task: The task.
        :param action: E.g. START.
        """
        return action in self.accepted.get((task.status, task.user_action), frozenset())

    def stopping(self, task: Task) -> bool:
        """
        Say whether the user has stopped a task that is not yet stopped.

        :param task: The task.
        """
        return task.user_action == self.stop_action and any(
            status == task.status and self.stop_action in actions for (status, _), actions in self.accepted.items()
        )

    def updatable(self, task: Task) -> bool:
        """
        Say whether the description may be changed: the task is neither processed nor waiting for it.

        :param task: The task.
        """
        return not (
            task.status in {"ANALYSING", "PROCESSING"}
            or (task.status, task.user_action) in self.following
            or self.stopping(task)
        )

    def active(self, task: Task) -> bool:
        """
        Say whether the task changes without further calls.

        :param task: The task.
        """
        return task.execution_due is not None or not self.updatable(task)

    def act(self, task: Task, action: str, moment: float, timing: Timing) -> bool:
        """
        Accept a user's action, or refuse it as the service does.

        :param task: Changed in place.
        :param action: E.g. START.
        :param moment: Simulated time.
        :param timing: Has the restart locks.
        :returns: Whether it has an effect.
        :raises Problem: 400.
        """
        if not self.allows(task, action):
            if action in self.ignored:
                return False
            usual = f"Illegal to change userAction from {task.user_action} to {action} with task status {task.status}"
            raise bad_payload(self.refusals.get(action, usual))
        restarted = self.restarted.get(task.status)
        if restarted is not None:
            _check_restart_lock(task, moment, timing)
            task.stopped_reason = None
            task.stopped_at = None
        task.user_action = action
        task.user_action_updated = moment
        task.last_updated = moment
        task.note(moment, f"user {action}")
        if restarted is not None:
            task.enter(restarted, moment)
        elif (task.status, action) in self.following:
            task.since = moment
        return True

    def stop(self, task: Task, reason: str, moment: float) -> None:
        """
        Stop a task.

        :param task: Changed in place.
        :param reason: USER_ACTION, OUT_OF_PU or UNHEALTHY.
        :param moment: Simulated time.
        """
        task.stop_asked = None
        task.stopped_reason = reason
        task.stopped_at = moment
        task.enter(self.stopped, moment)

    def delete_if_stale(self, task: Task, moment: float, days: Mapping[str, int]) -> bool:
        """
        Delete a task that nobody has used for too long.

        :param task: Changed in place.
        :param moment: Simulated time.
        :param days: How long tasks are kept, by status; forever where the status is missing.
        :returns: Whether the task was deleted by this call.
        """
        kept = days.get(task.status)
        if kept is None or self.active(task) or task.deleted:
            return False
        due = max(task.created, task.last_updated or 0) + kept * DAY_S
        if moment < due:
            return False
        task.deleted = True
        task.note(due, "deleted")
        return True


# Only the refusal of STOP on a task that is CREATED and already started is attested; the rest follows from the diagram.
ANALYSE_START_STOP = Lifecycle(
    accepted={
        ("CREATED", "NONE"): frozenset({"ANALYSE", "START"}),
        ("ANALYSING", "ANALYSE"): frozenset({"START", "STOP"}),
        ("ANALYSING", "START"): frozenset({"STOP"}),
        ("ANALYSIS_DONE", "ANALYSE"): frozenset({"START", "STOP"}),
        ("ANALYSIS_DONE", "START"): frozenset({"STOP"}),
        ("PROCESSING", "START"): frozenset({"STOP"}),
        ("STOPPED", "START"): frozenset({"START"}),
        ("STOPPED", "STOP"): frozenset({"START"}),
    },
    following={
        ("CREATED", "ANALYSE"): ("ANALYSING", "pickup_seconds"),
        ("CREATED", "START"): ("ANALYSING", "pickup_seconds"),
        ("ANALYSIS_DONE", "START"): ("PROCESSING", "queue_seconds"),
    },
    restarted={"STOPPED": "ANALYSIS_DONE"},
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
