"""
The Calls for tasks that the asynchronous APIs have in common; only the path differs.

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
    Builds the Calls for the tasks of one API.

    :param service: The API.
    :param path: Path of its tasks, below its prefix.
    """

    service: Service
    path: str

    def create(self, body: Mapping[str, Any], secrets: tuple[str, ...] = ()) -> Call[BatchTask]:
        """
        Create a task. It costs nothing until it is analysed or started.

        :param body: The request, including credentials.
        :param secrets: The credentials in it, which must not appear in messages.
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
        # Each of a hundred tasks contains its request, including geometries.
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
        :raises InvalidParameter: The id is not valid; nothing is sent.
        """
        return Call("GET", self.service, self.path_of(task_id), BatchTask.model_validate, f"read batch task {task_id}")

    def analyse(self, task_id: str) -> Call[None]:
        """
        Analyse a created task without starting it.

        :param task_id: Its id.
        :raises InvalidParameter: The id is not valid; nothing is sent.
        """
        return self.action(task_id, "analyse")

    def start(self, task_id: str) -> Call[None]:
        """
        Start a task; from then on it costs processing units. A created task is analysed first.

        A stopped task can be restarted after 30 minutes, or after 60 if the account ran out of processing units.

        :param task_id: Its id.
        :raises InvalidParameter: The id is not valid; nothing is sent.
        """
        return self.action(task_id, "start")

    def stop(self, task_id: str) -> Call[None]:
        """
        Stop a task; features already processed, or being processed, are charged.

        :param task_id: Its id.
        :raises InvalidParameter: The id is not valid; nothing is sent.
        """
        return self.action(task_id, "stop")

    def action(self, task_id: str, action: str) -> Call[None]:
        """
        Send an action on a task.

        :param task_id: Its id.
        :param action: The action, as in the path.
        :raises InvalidParameter: The id is not valid; nothing is sent.
        """
        # The service refuses the second of two equal actions as illegal, and the caller reads the task again.
        return Call(
            "POST", self.service, f"{self.path_of(task_id)}/{action}", nothing, f"{action} batch task {task_id}"
        )

    def path_of(self, task_id: str) -> str:
        """
        Return the path of a task.

        :param task_id: Its id, possibly rendered from a template.
        :raises InvalidParameter: It is not a valid id.
        """
        # An empty id from a template would request the list, and a slash any other path.
        if not re.fullmatch(ID, task_id) or task_id == "None":
            raise InvalidParameter(
                "batch_task_id",
                task_id,
                "is not the id of a batch task, which consists of letters, digits and hyphens",
                "Give the id as the service shows it, e.g. 2e0d4c5f-6a3b-4e57-9c6d-0f1a2b3c4d5e; "
                "if it comes from a template, check what it renders to.",
            )
        return f"{self.path}/{task_id}"
