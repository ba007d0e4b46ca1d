"""
Obtain the one task of an intent: the recorded task, else the one found by its tag, else a new one.

Creating a task costs nothing; only a start does. So the order is create, record, start: a crash at any point leaves at
most an unstarted task, which the next attempt finds by its tag. Where an API starts a task as it creates it, nothing is
created again before the list has been searched.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.costs.amounts import state_text
from airflow_provider_sentinelhub.client.errors import OutcomeUnknown, ServiceUnavailable
from airflow_provider_sentinelhub.client.http.call import Pause, Procedure
from airflow_provider_sentinelhub.client.lifecycle.procedures import read, stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask, TaskPage

log = logging.getLogger(__name__)

_CREATES = 4
_SEARCHES = 4
_PAGES = 1000
_PAST = 20
_READINGS = 5


@dataclass(frozen=True, slots=True)
class Before:
    """
    The record of a task instance from before it was cleared, or before its request changed.

    :param ids: Ids of its tasks: the original, then its reruns.
    :param same_request: Whether the request is still the same.
    """

    ids: tuple[str, ...] = ()
    same_request: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """
    The result of the search for the task of an intent.

    :param task: The task; ``None`` if one has to be created.
    :param is_older: Whether it was created before the task instance was cleared.
    :param others: Ids of the task instance's other tasks, which were created for other intents.
    """

    task: BatchTask | None
    is_older: bool = False
    others: frozenset[str] = frozenset()


def nothing_older(_: BatchTask) -> bool:
    """Do not continue with a task from before a clear."""
    return False


def search(
    api: TaskApiSpec,
    intent: Intent,
    *,
    recorded: str | None,
    before: Before = Before(),
    since: datetime,
    resumes: Callable[[BatchTask], bool] = nothing_older,
    adopt_ended: bool = True,
) -> Procedure[Search]:
    """
    Look for the task of an intent: the recorded task, else the one with its tag, else one from before a clear.

    If there is none, the task instance's tasks from before a clear, or for an earlier request, are stopped, so that no
    two tasks run for it at the same time.

    :param api: The API.
    :param intent: What the task instance wants.
    :param recorded: Id of the task an earlier attempt recorded for this intent.
    :param before: The record of this task instance from before a clear or a change of the request.
    :param since: Time before which no task of this task instance can have been created.
    :param resumes: Called if only a task from before a clear is found: returns whether to continue with it.
    :param adopt_ended: Whether an ended task may be used. Not on the first attempt: then it belongs to a run that was
        deleted and created again under the same name.
    """
    if recorded is not None:
        known = yield from read(api, recorded, fresh=True)
        if known is not None:
            return Search(known)
    family = yield from _family(api, intent, since, before.ids)
    possible = [task for task in family if adopt_ended or not api.is_over(task)]
    own = _of(api, possible, intent)
    if before.ids:
        # A task that was stopped because the request changed is not restarted, even if the request changes back.
        own = [task for task in own if task.id not in before.ids and task.user_action != api.stop_asked]
    if found := _best(api, own):
        for old in before.ids:
            yield from stop(api, old)
        return Search(found)
    older = _older(api, possible, intent, before)
    if older is None:
        _tell_of_another_request(api, possible, intent)
    if older is not None and resumes(older):
        return Search(older, is_older=True)
    for task in family:
        if not api.is_over(task):
            _tell_of_the_stop(api, task, before)
            yield from stop(api, task.id)
    return Search(None, others=frozenset(task.id for task in family))


def _older(api: TaskApiSpec, family: list[BatchTask], intent: Intent, before: Before) -> BatchTask | None:
    """Return the task for the same request from before a clear: the recorded one, else the newest started one."""
    if before.ids and before.same_request:
        original = next((task for task in family if task.id == before.ids[0]), None)
        if original is not None:
            # Even if its description was replaced since, and the tag is lost.
            return original
    found = [(task, other) for task in family if (other := api.intent_of(task)) is not None]
    if not intent.rerun:
        # A task older than one of another request is not the latest that was wanted.
        originals = [other for task, other in found if not other.rerun and _is_begun(api, task)]
        if (before.ids and not before.same_request) or (originals and originals[0].digest != intent.digest):
            return None
    return _best(api, [task for task, other in found if other.is_older_of(intent)])


def _tell_of_another_request(api: TaskApiSpec, family: list[BatchTask], intent: Intent) -> None:
    for task in family:
        other = api.intent_of(task)
        if not intent.rerun and other is not None and not other.rerun and other.digest != intent.digest:
            log.warning(
                "The request differs from that of task %s (%s), which this Airflow task ran before: a "
                "new task is created, and everything in it is paid for",
                task.id,
                state_text(task.status, task.cost_pu),
            )
            return


def _tell_of_the_stop(api: TaskApiSpec, task: BatchTask, before: Before) -> None:
    if not api.can.stop:
        log.warning("Task %s, which this Airflow task ran before, cannot be stopped and runs to its end", task.id)
    elif task.id in before.ids:
        log.info("Stopping task %s, which this Airflow task ran before", task.id)
    else:
        log.warning(
            "Stopping task %s (%s): it carries the tag of this Airflow task, which has no record of it. It is "
            "that of an attempt whose record was lost, or of a run that was deleted",
            task.id,
            state_text(task.status, task.cost_pu),
        )


def obtain(
    api: TaskApiSpec,
    intent: Intent,
    body: Mapping[str, Any],
    secrets: tuple[str, ...],
    *,
    recorded: str | None,
    before: Before = Before(),
    since: datetime,
    resumes: Callable[[BatchTask], bool] = nothing_older,
    adopt_ended: bool = True,
) -> Procedure[BatchTask]:
    """
    Return the task of an intent, creating it only if there is none; see :func:`search` and :func:`create`.

    :param api: The API.
    :param intent: What the task instance wants.
    :param body: The request, including credentials, without the tag.
    :param secrets: The credentials in it.
    :param recorded: See :func:`search`, as for the next four.
    :param before: The record of this task instance from before a clear or a change of the request.
    :param since: Time before which no task of this task instance can have been created.
    :param resumes: Returns whether to continue with a task from before a clear.
    :param adopt_ended: Whether an ended task may be used.
    """
    found: Search = yield from search(
        api,
        intent,
        recorded=recorded,
        before=before,
        since=since,
        resumes=resumes,
        adopt_ended=adopt_ended,
    )
    if found.task is not None:
        return found.task
    return (yield from create(api, intent, body, secrets, since=since, others=found.others))


def _of(api: TaskApiSpec, tasks: list[BatchTask], intent: Intent) -> list[BatchTask]:
    """Return the tasks of an intent; of a rerun by its number, because its request names files of this package."""
    found = ((task, other) for task in tasks if (other := api.intent_of(task)) is not None)
    return [
        task for task, other in found if (replace(other, digest=intent.digest) if intent.rerun else other) == intent
    ]


def _is_begun(api: TaskApiSpec, task: BatchTask) -> bool:
    return not api.can.start or task.status != "CREATED" or task.user_action != "NONE"


def _best(api: TaskApiSpec, tasks: list[BatchTask]) -> BatchTask | None:
    """
    Return the one of several tasks, newest first, to continue with: a started one, if there is one.

    There are several if a create request arrived only after all searches for its task.
    """
    begun = [task for task in tasks if _is_begun(api, task)]
    going_on = [task for task in begun if not api.is_over(task)]
    return next(iter([*going_on, *begun, *reversed(tasks)]), None)


def create(
    api: TaskApiSpec,
    intent: Intent,
    body: Mapping[str, Any],
    secrets: tuple[str, ...],
    *,
    since: datetime,
    others: frozenset[str],
) -> Procedure[BatchTask]:
    """
    Create the task of an intent; if the answer is lost, search for the task before creating another one.

    :param api: The API.
    :param intent: What the task instance wants.
    :param body: The request, including credentials, without the tag.
    :param secrets: The credentials in it.
    :param since: Time before which no task of this task instance can have been created.
    :param others: Ids of other tasks that :func:`search` found.
    :raises OutcomeUnknown: The answer was lost, and no task was found. Not retryable if a task may be running that no
        later attempt could find.
    """
    tagged = api.tagged(body, intent.tag)
    for attempt in range(1, _CREATES + 1):
        try:
            created: BatchTask = yield api.calls.create(tagged, secrets)
        except OutcomeUnknown as error:
            found = yield from _after_lost_answer(api, intent, since, others)
            if found is not None:
                return found
            if not api.can.start:
                # It may be running. The next attempt finds it in the list; without a list nothing would ever find it.
                error.retryable = api.can.lists_tasks
                raise
            if attempt == _CREATES:
                raise
        else:
            return created
    raise AssertionError("the last attempt returns or raises")


def _family(api: TaskApiSpec, intent: Intent, since: datetime, recorded: tuple[str, ...]) -> Procedure[list[BatchTask]]:
    """Return all tasks of the task instance, newest first, then those found by the record only."""
    family = yield from find(api, intent, since)
    for task_id in recorded:
        if task_id not in {task.id for task in family}:
            old = yield from read(api, task_id, fresh=True)
            if old is not None:
                family.append(old)
    return family


def _after_lost_answer(
    api: TaskApiSpec, intent: Intent, since: datetime, others: frozenset[str]
) -> Procedure[BatchTask | None]:
    # The task may take a while to appear in the list.
    for search in range(_SEARCHES if api.can.lists_tasks else 1):
        yield Pause(min(0.5 * 2**search, 4.0))
        listed = yield from find(api, intent, since)
        if found := _best(api, _of(api, [task for task in listed if task.id not in others], intent)):
            return found
    return None


def reruns_of(api: TaskApiSpec, original: BatchTask) -> Procedure[list[BatchTask]]:
    """
    Return the reruns of a task, in the order in which they were created.

    :param api: The API.
    :param original: The task.
    """

    def is_rerun(intent: Intent) -> bool:
        return intent.original == original.id

    return list(reversed((yield from _search(api, original.created, is_rerun))))


def find(api: TaskApiSpec, intent: Intent, since: datetime) -> Procedure[list[BatchTask]]:
    """
    Return the tasks of a task instance from the account's list, newest first, reading only as far back as needed.

    :param api: The API.
    :param intent: An intent of the task instance; digest and generation are ignored.
    :param since: Time before which none can have been created.
    """

    def is_of_this_instance(other: Intent) -> bool:
        return other.instance == intent.instance

    return (yield from _search(api, since, is_of_this_instance))


def _search(api: TaskApiSpec, since: datetime | None, wanted: Callable[[Intent], bool]) -> Procedure[list[BatchTask]]:
    """
    Return the matching tasks of the account's list, each task once, newest first.

    The list may change while it is read: if a task is deleted, later ones move up, possibly onto a page that was read
    before. So a list of several pages is read again until nothing has disappeared between two readings.

    :raises ServiceUnavailable: The list does not end or keeps changing, or a matching task has no valid id.
    """
    if not api.can.lists_tasks:
        return []
    found: dict[str, BatchTask] = {}
    oldest = datetime.min.replace(tzinfo=UTC)
    before: set[str] | None = None
    for _ in range(_READINGS):
        read: set[str] = set()
        pages = yield from _read_list(api, since, wanted, found, read)
        if pages == 1 or (before is not None and before <= read):
            return sorted(found.values(), key=lambda task: task.created or oldest, reverse=True)
        before = read
    raise _unsearchable("tasks are deleted from the list while it is read")


def _read_list(
    api: TaskApiSpec,
    since: datetime | None,
    wanted: Callable[[Intent], bool],
    found: dict[str, BatchTask],
    read: set[str],
) -> Procedure[int]:
    """Add matching tasks to ``found``, and the ids of all that are not too old to ``read``; return the page count."""
    order = _Order(since)
    tokens: list[str | None] = [None]
    while len(tokens) <= _PAGES:
        page: TaskPage = yield api.calls.page(tokens[-1])
        for task in page.data:
            intent, is_past = api.intent_of(task), order.takes(task)
            if is_past:
                continue
            read.add(task.id)
            if intent is not None and wanted(intent):
                if not task.id:
                    raise _unsearchable(f"the one with the tag {intent.tag} has no usable id")
                found[task.id] = task
        token = page.links.next_token
        if not token or order.is_over or (token == tokens[-1] and not page.data):
            return len(tokens)
        if token in tokens:
            raise _unsearchable(f"the token of a page came twice, after {len(tokens)} pages")
        tokens.append(token)
    raise _unsearchable(f"the list has more than {_PAGES} pages")


def _unsearchable(why: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"Could not search the account's batch tasks: {why}. Nothing was created; try again later."
    )


@dataclass(slots=True)
class _Order:
    """
    Tells when a list, sorted newest first, has been read far enough.

    The service may ignore the order. So reading ends only after a number of old tasks, and never early in a list that
    is out of order.

    :param since: Time before which no task is of interest.
    """

    since: datetime | None
    _last: datetime | None = None
    _past: int = 0
    _is_kept: bool = True

    def takes(self, task: BatchTask) -> bool:
        """Note the next task; return whether it is older than ``since``."""
        if task.created is None or self.since is None:
            return False
        self._is_kept = self._is_kept and (self._last is None or task.created <= self._last)
        self._last = task.created
        is_past = task.created < self.since
        self._past += is_past
        return is_past

    @property
    def is_over(self) -> bool:
        """Whether all tasks that follow are older as well."""
        return self._is_kept and self._past >= _PAST
