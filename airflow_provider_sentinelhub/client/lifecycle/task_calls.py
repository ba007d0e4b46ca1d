"""
The Calls about tasks that the asynchronous APIs have in common; they differ in the path alone.

Sources: https://docs.planet.com/develop/apis/batch-processing/reference/ and
https://docs.planet.com/develop/apis/batch-statistical/reference/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.call import MIB, Call, Repeat, nothing
from airflow_provider_sentinelhub.client.lifecycle.answers import ID, BatchTask, TaskPage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.client.http.deployments import Service


@dataclass(frozen=True, slots=True)
class TaskCalls:
    """
    Builds Calls about the tasks of one API.

    :param service: The API.
    :param path: Where its tasks are, below its prefix.
    """

    service: Service
    path: str

    def create(self, body: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> Call[BatchTask]:
        """
        Create a task. It costs nothing until it is analysed or started.

        :param body: The request, credentials included.
        :param secrets: The credentials in it, which no message may show.
        """
        return Call(
            "POST",
            self.service,
            self.path,
            BatchTask.model_validate,
            "create a batch task",
            body=body,
            repeat=Repeat.NEVER,
            secrets=secrets,
        )

    def page(self, token: str | None = None) -> Call[TaskPage]:
        """
        List the account's tasks, the newest first, one page at a time.

        :param token: ``links.next_token`` of the page before; ``None`` for the first page.
        """
        query = {"sort": "created:desc"}
        if token is not None:
            query["viewtoken"] = token
        # Each of a hundred tasks comes with its request, geometries included.
        return Call(
            "GET",
            self.service,
            self.path,
            TaskPage.model_validate,
            "list the batch tasks",
            query=query,
            max_bytes=64 * MIB,
        )

    def get(self, task_id: str) -> Call[BatchTask]:
        """
        Read a task.

        :param task_id: Its id.
        :raises InvalidParameter: The id cannot be one; nothing is sent.
        """
        return Call("GET", self.service, self.path_of(task_id), BatchTask.model_validate, f"read batch task {task_id}")

    def analyse(self, task_id: str) -> Call[None]:
        """
        Have a created task analysed without starting it.

        :param task_id: Its id.
        :raises InvalidParameter: The id cannot be one; nothing is sent.
        """
        return self.action(task_id, "analyse")

    def start(self, task_id: str) -> Call[None]:
        """
        Start a task; from then on it costs processing units. A created task is analysed first.

        A stopped one may be started again after 30 minutes, and after 60 where it was stopped for lack of units.

        :param task_id: Its id.
        :raises InvalidParameter: The id cannot be one; nothing is sent.
        """
        return self.action(task_id, "start")

    def stop(self, task_id: str) -> Call[None]:
        """
        Stop a task; features already processed, or being processed, are charged.

        :param task_id: Its id.
        :raises InvalidParameter: The id cannot be one; nothing is sent.
        """
        return self.action(task_id, "stop")

    def action(self, task_id: str, action: str) -> Call[None]:
        """
        Have something done with a task.

        :param task_id: Its id.
        :param action: What, as the path says it.
        :raises InvalidParameter: The id cannot be one; nothing is sent.
        """
        # Sent twice, an action is refused as illegal the second time, and the caller reads the task again.
        return Call(
            "POST", self.service, f"{self.path_of(task_id)}/{action}", nothing, f"{action} batch task {task_id}"
        )

    def path_of(self, task_id: str) -> str:
        """
        Return the path of a task.

        :param task_id: Its id, or what a template made of one.
        :raises InvalidParameter: It cannot be one.
        """
        # An id may come from a template: nothing at all asks for the list, and a slash would lead anywhere else.
        if not re.fullmatch(ID, task_id) or task_id == "None":
            raise InvalidParameter(
                "batch_task_id",
                task_id,
                "is not the id of a batch task, which has letters, digits and hyphens only",
                "Give the id as the service shows it, e.g. 2e0d4c5f-6a3b-4e57-9c6d-0f1a2b3c4d5e; "
                "where a template makes it, look at what it makes.",
            )
        return f"{self.path}/{task_id}"
