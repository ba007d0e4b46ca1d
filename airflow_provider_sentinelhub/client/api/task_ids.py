"""Ids of tasks, as they stand in paths."""

from __future__ import annotations

import re

from airflow_provider_sentinelhub.client.errors import InvalidParameter

_ID = re.compile("[A-Za-z0-9-]+")


def checked(task_id: str) -> str:
    """
    Return an id that can stand in a path.

    :param task_id: The id of a task, or what a template made of one.
    :raises InvalidParameter: It cannot be one.
    """
    # An id may come from a template: nothing at all asks for the list, and a slash would lead anywhere else.
    if not _ID.fullmatch(task_id) or task_id == "None":
        raise InvalidParameter(
            "batch_task_id",
            task_id,
            "is not the id of a batch task, which has letters, digits and hyphens only",
            "Give the id as the service shows it, e.g. 2e0d4c5f-6a3b-4e57-9c6d-0f1a2b3c4d5e; "
            "where a template makes it, look at what it makes.",
        )
    return task_id
