"""Reruns that two operators have begun at the same moment: the first one counts, and no other is ever started."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask
    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec

_NO_RIVAL = frozenset({"FAILED", "STOPPED"})


def begun(api: TaskApiSpec, reruns: Iterable[BatchTask]) -> list[BatchTask]:
    """
    Leave out what was created for a rerun that somebody else had begun: it is never started.

    :param api: Their API.
    :param reruns: Reruns of one task, the oldest first.
    """
    found: list[BatchTask] = []
    numbers: set[int] = set()
    for task in reruns:
        number = _number(api, task)
        if task.status == "CREATED" and number in numbers:
            continue
        found.append(task)
        if task.status not in _NO_RIVAL:
            numbers.add(number)
    return found


def first(api: TaskApiSpec, reruns: Iterable[BatchTask], own: BatchTask) -> BatchTask:
    """
    Return the first task that was created for the same rerun.

    :param api: Their API.
    :param reruns: Reruns of one task, the oldest first. The own one may not be listed yet, and then those that are
        listed are older.
    :param own: The own one.
    """
    number = _number(api, own)
    return next((task for task in reruns if _number(api, task) == number and task.status not in _NO_RIVAL), own)


def _number(api: TaskApiSpec, task: BatchTask) -> int:
    intent = api.intent_of(task)
    return intent.rerun if intent else 0
