"""
Procedures that act on a task, restart what failed in it, and stop it; all are idempotent.

They do no I/O; a sender runs them, the blocking one for hooks or the async one for triggers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import (
    Conflict,
    IllegalAction,
    InsufficientProcessingUnits,
    InvalidRequest,
    NotFound,
    PermissionDenied,
)
from airflow_provider_sentinelhub.client.http.call import Pause, Procedure
from airflow_provider_sentinelhub.client.lifecycle.spec import Goal, NextStep, TaskApiSpec

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

log = logging.getLogger(__name__)

_LOOKS = 6
_STOP_LOOKS = 120
# About as many seconds: an action on its way has arrived by then, or never will.
_AWAITED_LOOKS = 30
_RESTART_LOOKS = 28
# The last of them is about 20 seconds after the first.
_FAILED_LOOKS = 9
_NOTHING_ASKED = "userAction from NONE"


def act(api: TaskApiSpec, task: BatchTask, goal: Goal) -> Procedure[BatchTask]:
    """
    Send the actions a task needs now, if any; return it when nothing is left to do but wait.

    If the service refuses an action because the task's status has changed, the task is read again. After an action the
    task is read until the action shows, because a replica may lag behind.

    :param api: The task's API.
    :param task: The task as last read.
    :param goal: What the caller wants.
    :raises ApiError: The service refused an action for good, and ``refuses_action`` is set; or it is unknown whether
        the action was carried out.
    """
    for _ in range(_LOOKS):
        step = api.next_step(task, goal)
        if step in {NextStep.WAIT, NextStep.FINISH}:
            return task
        try:
            yield (api.calls.start if step is NextStep.START else api.calls.analyse)(task.id).when_fresh()
        except (InvalidRequest, PermissionDenied, Conflict) as refusal:
            if api.is_over(task) and isinstance(refusal, (InvalidRequest, InsufficientProcessingUnits)):
                # Stopped, and still locked or without units: the next look tries again.
                log.info("Task %s cannot be restarted yet: %s", task.id, refusal)
                return task
            if not isinstance(refusal, IllegalAction):
                refusal.refuses_action = True
                raise
            yield Pause(1.0)
        before = task
        for look in range(_LOOKS):
            task = yield api.calls.get(task.id).when_fresh()
            if (task.status, task.user_action) != (before.status, before.user_action):
                break
            yield Pause(min(0.2 * 2**look, 2.0))
    return task


def restart(api: TaskApiSpec, task: BatchTask) -> Procedure[BatchTask]:
    """
    Have the service run again what failed in a task, and return the task once its status shows it.

    The service refuses this in any other status than PARTIAL: then somebody else was first, or the answer to an earlier
    restart was lost. The task is read until its status is another one. It is returned as it is if it has failed
    features for 20 seconds, or after two minutes: then it is PARTIAL again.

    :param api: The task's API.
    :param task: The task as last read.
    :raises ApiError: The service refused the restart for good, and ``refuses_action`` is set; or it is unknown whether
        it was carried out.
    """
    try:
        yield api.calls.restart(task.id)
    except IllegalAction as refusal:
        log.info("Task %s need not be restarted: %s", task.id, refusal)
    except (InvalidRequest, PermissionDenied, Conflict) as refusal:
        refusal.refuses_action = True
        raise
    failed = 0
    for look in range(_RESTART_LOOKS):
        task = yield api.calls.get(task.id)
        if task.status not in api.restartable:
            return task
        # The restart sets failed features to pending at once.
        failed = failed + 1 if api.has_failed is not None and (yield api.has_failed(task.id)) else 0
        if failed == _FAILED_LOOKS:
            break
        yield Pause(min(0.2 * 2**look, 5.0))
    log.warning("Task %s is %s again after its restart", task.id, task.status)
    return task


def read(api: TaskApiSpec, task_id: str, *, fresh: bool = False) -> Procedure[BatchTask | None]:
    """
    Read a task; ``None`` if it does not exist, e.g. because it was deleted.

    :param api: The task's API.
    :param task_id: Its id.
    :param fresh: It may have been created moments ago: a 404 may only mean that a replica lags behind.
    """
    call = api.calls.get(task_id)
    try:
        task: BatchTask = yield call.when_fresh() if fresh else call
    except NotFound:
        return None
    return task


def stop(api: TaskApiSpec, task_id: str, *, action_on_its_way: bool = False) -> Procedure[BatchTask | None]:
    """
    Stop a task, unless it has ended, was never started, or does not exist.

    A read may be older than a start. So the stop is also sent if the task looks unstarted, stopped or unknown, and the
    service's refusal decides. The service also refuses to stop a task whose start it has accepted but not begun: then
    the stop is repeated until it is accepted. A task that has ended and can be restarted is stopped as well, if a
    restart may be on its way. Where the API has no stop, the task is only read.

    :param api: The task's API.
    :param task_id: Its id.
    :param action_on_its_way: The answer to an action was lost: wait for the action to arrive, and then stop the task.
    :returns: The task as last read; ``None`` if it does not exist.
    """
    task: BatchTask | None = None
    if not api.can.stop:
        return (yield from read(api, task_id))
    for look in range(_STOP_LOOKS):
        task = yield from read(api, task_id)
        if _stays_stopped(api, task, action_on_its_way=action_on_its_way):
            return task
        try:
            yield api.calls.stop(task_id)
        except NotFound:
            if action_on_its_way and look + 1 < _AWAITED_LOOKS:
                yield Pause(1.0)
                continue
            return None
        except IllegalAction as refusal:
            looks = _AWAITED_LOOKS if action_on_its_way else _looks_before(api, task, refusal)
            if task is not None and not api.can_stop(task) and look + 1 >= looks:
                return task
            yield Pause(min(0.2 * 2**look, 1.0 if action_on_its_way and look < _AWAITED_LOOKS else 5.0))
        else:
            task = yield api.calls.get(task_id).when_fresh()
            if not (action_on_its_way and task.status in api.restartable and look + 1 < _AWAITED_LOOKS):
                return task
            # The service has accepted a stop of what may be restarted the next moment.
            yield Pause(1.0)
    return task


def _stays_stopped(api: TaskApiSpec, task: BatchTask | None, *, action_on_its_way: bool) -> bool:
    """Whether a task has ended or is being stopped, and no action that was sent makes it run again."""
    if task is None or api.may_resume(task) or (action_on_its_way and task.status in api.restartable):
        return False
    return api.is_over(task) or task.user_action == api.stop_asked


def _looks_before(api: TaskApiSpec, task: BatchTask | None, refusal: IllegalAction) -> int:
    """Return how many reads it takes to believe that a task whose stop was refused does not run."""
    # The service's message is newer than any read.
    is_told = _NOTHING_ASKED in str(refusal) or (task is not None and api.may_resume(task))
    return 1 if is_told else _LOOKS
