"""
Getting the one task an intent stands for: the recorded one, else the one found by its tag, else a new one.

Creating costs nothing; only a start does. So the order is create, record, start, and a crash at any point leaves at
most an unstarted task, which the next attempt finds by its tag.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import NotFound, OutcomeUnknown, ServiceUnavailable
from airflow_provider_sentinelhub.client.http.call import Pause, Procedure
from airflow_provider_sentinelhub.client.lifecycle.procedures import stop

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask, TaskPage
    from airflow_provider_sentinelhub.client.lifecycle.intent import Intent
    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec

log = logging.getLogger(__name__)

_CREATES = 4
_SEARCHES = 4
_PAGES = 1000
_PAST = 20
_READINGS = 5


@dataclass(frozen=True, slots=True)
class Before:
    """
    What is on record of what a task instance wanted before it was cleared, or before its request changed.

    :param ids: Ids of its tasks, the original first, then those that ran again what was lost.
    :param same_request: Whether it wanted the same.
    """

    ids: tuple[str, ...] = ()
    same_request: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """
    What came of the search for the task of an intent.

    :param task: The task; ``None`` where one has to be created.
    :param is_older: Whether it was created for what the task instance wanted before it was cleared.
    :param others: Ids of the task instance's other tasks, which were created for something else.
    """

    task: BatchTask | None
    is_older: bool = False
    others: frozenset[str] = frozenset()


def nothing_older(_: BatchTask) -> bool:
    """Resume no task from before a clear."""
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
    Look for the task of an intent: the recorded one, else the one that carries its tag, else an older one.

    Where there is none, what the same task instance wanted before it was cleared, or before its request changed, is
    stopped, so that no two tasks ever run for it.

    :param api: The API.
    :param intent: What is wanted, by whom.
    :param recorded: Id of the task an earlier attempt recorded for this intent.
    :param before: What is on record of what this task instance wanted before.
    :param since: Moment before which no task of this task instance can have been created.
    :param resumes: Asked, where only an older task for the same request is found, whether to continue with that one.
    :param adopt_ended: Whether a task that has ended can be that of this intent: not where nobody has asked for it
        before, for then it is of a run that was deleted, and has been made again under the same name.
    """
    if recorded is not None:
        known = yield from _read(api, recorded)
        if known is not None:
            return Search(known)
    family = yield from _family(api, intent, since, before.ids)
    possible = [task for task in family if adopt_ended or not api.is_over(task)]
    own = _of(api, possible, intent)
    if before.ids:
        # A task that was stopped because the request changed is not resumed, even if the request changes back.
        own = [task for task in own if task.id not in before.ids and task.user_action != "STOP"]
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
            _tell_of_the_stop(task, before)
            yield from stop(api, task.id)
    return Search(None, others=frozenset(task.id for task in family))


def _older(api: TaskApiSpec, family: list[BatchTask], intent: Intent, before: Before) -> BatchTask | None:
    """Return the task for the same request from before a clear: the recorded one, else the newest that was begun."""
    if before.ids and before.same_request:
        original = next((task for task in family if task.id == before.ids[0]), None)
        if original is not None:
            # Also where its description was replaced since, and the tag is lost.
            return original
    found = [(task, other) for task in family if (other := api.intent_of(task)) is not None]
    if not intent.rerun:
        # What came before another request that was begun is not the last that was wanted.
        originals = [other for task, other in found if not other.rerun and _is_begun(task)]
        if (before.ids and not before.same_request) or (originals and originals[0].digest != intent.digest):
            return None
    return _best(api, [task for task, other in found if other.is_older_of(intent)])


def _tell_of_another_request(api: TaskApiSpec, family: list[BatchTask], intent: Intent) -> None:
    for task in family:
        other = api.intent_of(task)
        if not intent.rerun and other is not None and not other.rerun and other.digest != intent.digest:
            log.warning(
                "The request is another one than that of task %s (%s, %.1f PU), which this Airflow task ran before: a "
                "new task is created, and everything in it is paid for",
                task.id,
                task.status,
                task.cost_pu or 0.0,
            )
            return


def _tell_of_the_stop(task: BatchTask, before: Before) -> None:
    if task.id in before.ids:
        log.info("Stopping task %s, which this Airflow task ran before", task.id)
    else:
        log.warning(
            "Stopping task %s (%s, %.1f PU): it carries the tag of this Airflow task, which has no record of it. It is "
            "that of an attempt whose record was lost, or of a run that was deleted",
            task.id,
            task.status,
            task.cost_pu or 0.0,
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
    Return the task of an intent, creating it only where none exists; see :func:`search` and :func:`create`.

    :param api: The API.
    :param intent: What is wanted, by whom.
    :param body: The request, credentials included; it is completed with the intent's tag.
    :param secrets: The credentials in it.
    :param recorded: See :func:`search`, as for the next four.
    :param before: What is on record of what this task instance wanted before.
    :param since: Moment before which no task of this task instance can have been created.
    :param resumes: Asked whether to continue with an older task.
    :param adopt_ended: Whether a task that has ended can be that of this intent.
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
    return [task for task in tasks if api.intent_of(task) == intent]


def _is_begun(task: BatchTask) -> bool:
    return task.status != "CREATED" or task.user_action != "NONE"


def _best(api: TaskApiSpec, tasks: list[BatchTask]) -> BatchTask | None:
    """
    Return the one of several tasks for the same, the newest first, that counts.

    There are several where the first create arrived only after all searches for it: then the one that was begun.
    """
    begun = [task for task in tasks if _is_begun(task)]
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
    Create the task of an intent; where the answer is lost, look for it before trying again.

    :param api: The API.
    :param intent: What is wanted, by whom.
    :param body: The request, credentials included; it is completed with the intent's tag.
    :param secrets: The credentials in it.
    :param since: Moment before which no task of this task instance can have been created.
    :param others: What :func:`search` found that is not it.
    """
    tagged = api.tagged(body, intent.tag)
    for attempt in range(1, _CREATES + 1):
        try:
            created: BatchTask = yield api.calls.create(tagged, secrets)
        except OutcomeUnknown:
            if not (api.can.start or api.can.lists_tasks):
                # It may be running, and nothing would tell.
                raise
            found = yield from _after_lost_answer(api, intent, since, others)
            if found is not None:
                return found
            if attempt == _CREATES:
                raise
        else:
            return created
    raise AssertionError("the last attempt returns or raises")


def _read(api: TaskApiSpec, task_id: str) -> Procedure[BatchTask | None]:
    try:
        task: BatchTask = yield api.calls.get(task_id).when_fresh()
    except NotFound:
        return None  # deleted by somebody, or by the service's own cleaning up
    return task


def _family(api: TaskApiSpec, intent: Intent, since: datetime, recorded: tuple[str, ...]) -> Procedure[list[BatchTask]]:
    """Return all tasks of the same task instance, the newest first, then those that only the record knows."""
    family = yield from find(api, intent, since)
    for task_id in recorded:
        if task_id not in {task.id for task in family}:
            old = yield from _read(api, task_id)
            if old is not None:
                family.append(old)
    return family


def _after_lost_answer(
    api: TaskApiSpec, intent: Intent, since: datetime, others: frozenset[str]
) -> Procedure[BatchTask | None]:
    # The service may still be writing what it accepted.
    for search in range(_SEARCHES):
        yield Pause(min(0.5 * 2**search, 4.0))
        listed = yield from find(api, intent, since)
        if found := _best(api, _of(api, [task for task in listed if task.id not in others], intent)):
            return found
    return None


def reruns_of(api: TaskApiSpec, original: BatchTask) -> Procedure[list[BatchTask]]:
    """
    Look for the tasks that run failed features of a task again, in the order in which they were created.

    :param api: The API.
    :param original: The task.
    """

    def is_rerun(intent: Intent) -> bool:
        return intent.original == original.id

    return list(reversed((yield from _search(api, original.created, is_rerun))))


def find(api: TaskApiSpec, intent: Intent, since: datetime) -> Procedure[list[BatchTask]]:
    """
    Look for the tasks of a task instance in the account's list, newest first, only as far back as needed.

    :param api: The API.
    :param intent: Whose tasks are looked for; digest and generation do not count.
    :param since: Moment before which none can have been created.
    """

    def is_of_this_instance(other: Intent) -> bool:
        return other.instance == intent.instance

    return (yield from _search(api, since, is_of_this_instance))


def _search(api: TaskApiSpec, since: datetime | None, wanted: Callable[[Intent], bool]) -> Procedure[list[BatchTask]]:
    """
    Return the matching tasks of the account's list, each task once, newest first.

    Nobody promises what the list does while it is read. Where a task is deleted, those after it move up, and one that
    stood on the next page is on a page that has been read. So a list of several pages is read again, until all that was
    in it is still there.

    :raises ServiceUnavailable: The list has no end or does not keep still, or a task that is wanted has no usable id.
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
    """Add what is wanted to ``found``, and the id of all that is not too old to ``read``; return how many pages."""
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
    How far back a list goes, newest first, as long as it keeps that order.

    One old task says nothing about the next one, for the order is only asked for: the end is believed after a number
    of them, and never in a list that was seen out of order.

    :param since: Moment before which nothing is wanted.
    """

    since: datetime | None
    _last: datetime | None = None
    _past: int = 0
    _is_kept: bool = True

    def takes(self, task: BatchTask) -> bool:
        """Take note of the next task; return whether it is surely older than what is wanted."""
        if task.created is None or self.since is None:
            return False
        self._is_kept = self._is_kept and (self._last is None or task.created <= self._last)
        self._last = task.created
        is_past = task.created < self.since
        self._past += is_past
        return is_past

    @property
    def is_over(self) -> bool:
        """Whether what follows is surely older as well."""
        return self._is_kept and self._past >= _PAST
