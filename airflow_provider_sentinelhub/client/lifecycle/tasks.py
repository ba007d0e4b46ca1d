"""
Remote tasks: how the service describes them, and the Calls about them, which are the same for every asynchronous API.

Sources: https://docs.planet.com/develop/apis/batch-processing/reference/ and
https://docs.planet.com/develop/apis/batch-statistical/reference/
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.call import MIB, Call, Repeat, nothing
from airflow_provider_sentinelhub.client.models import AnswerModel
from airflow_provider_sentinelhub.client.requests.findings import part
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.deployments import Service

ID = r"[A-Za-z0-9-]+"
"""A regular expression for the id of a task, which becomes part of URLs and of names in a bucket."""


def _moment(given: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        return None
    # Without a time zone it cannot be compared with other times.
    return moment if isinstance(moment, datetime) and moment.tzinfo is not None else None


def _number(given: Any) -> float | None:
    try:
        number = float(given)
    except (ValueError, TypeError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text(given: Any) -> str:
    return one_line(given) if isinstance(given, str) else ""


def _id(given: Any) -> str:
    return given if isinstance(given, str) and re.fullmatch(ID, given) else ""


# Fields other than id and status are read if possible; an odd value is no error.
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Number = Annotated[float | None, BeforeValidator(_number)]
Word = Annotated[str | None, BeforeValidator(lambda given: one_line(given) if isinstance(given, str) else None)]
Object = Annotated[dict[str, Any], BeforeValidator(lambda given: given if isinstance(given, dict) else {})]


class BatchTask(AnswerModel):
    """
    A task, as the service returns it.

    :param id: Its id.
    :param status: CREATED, ANALYSING, ANALYSIS_DONE, PROCESSING, DONE, FAILED, STOPPED, or an unknown one.
    :param user_action: NONE, ANALYSE, START or STOP: the last action that was requested.
    :param user_action_updated: When that was.
    :param created: When it was created.
    :param last_updated: When it last changed.
    :param completion_percentage: 0 to 100; 100 does not mean that the task has ended.
    :param cost_pu: Processing units spent so far.
    :param error: Why it failed.
    :param stopped_status_reason: OUT_OF_PU, USER_ACTION or UNHEALTHY.
    :param request: The request with defaults filled in and credentials masked.
    """

    id: Annotated[str, Field(pattern=f"^{ID}$")]
    status: Annotated[str, AfterValidator(one_line)]
    user_action: Annotated[str, BeforeValidator(lambda given: _text(given) or "NONE")] = "NONE"
    user_action_updated: Moment = None
    created: Moment = None
    last_updated: Moment = None
    completion_percentage: Number = None
    # The OpenAPI document of Batch Statistical spells it costPu; its answers do not.
    cost_pu: Annotated[Number, Field(alias="costPU", validation_alias=AliasChoices("costPU", "costPu", "cost_pu"))] = (
        None
    )
    error: Word = None
    stopped_status_reason: Word = None
    request: Object = Field(default_factory=dict, repr=False)

    @property
    def skips_existing(self) -> bool:
        """Whether features with existing results are skipped."""
        return part(self.request, "output", "skipExisting") is True

    @property
    def was_skipped(self) -> bool:
        """Whether there was nothing to do, because all results existed already."""
        # With skipExisting, a task whose results all exist is DONE after the analysis: it costs nothing and writes no
        # execution database.
        is_over = self.status == "DONE" and self.user_action in {"ANALYSE", "START"}
        return is_over and self.skips_existing and not self.cost_pu


class ListedTask(BatchTask):
    """
    A task in a list. The list may contain tasks of others: an odd row must not prevent reading the rest.

    :param id: Its id; empty if there is no valid one.
    :param status: Its status; empty if there is none.
    """

    id: Annotated[
        str, BeforeValidator(lambda given: given if isinstance(given, str) and re.fullmatch(ID, given) else "")
    ] = ""
    status: Annotated[str, BeforeValidator(_text)] = ""


class Links(AnswerModel):
    """
    Links to the pages of a list.

    :param next_token: ``viewtoken`` of the next page, also where only its URL is given; absent on the last page.
    """

    next_token: Annotated[str | None, Field(coerce_numbers_to_str=True)] = None

    @model_validator(mode="before")
    @classmethod
    def _token_of_next(cls, given: Any) -> Any:
        url = given.get("next") if isinstance(given, Mapping) and not given.get("nextToken") else None
        if not isinstance(url, str) or not url:
            return given
        # Only the token is taken: the token of our account is sent to no other address.
        tokens = parse_qs(urlsplit(url).query).get("viewtoken")
        if tokens is None:
            raise ValueError("next has no viewtoken, so the rest of the list cannot be read")
        return {**given, "nextToken": tokens[0]}


def _rows(given: Any) -> Any:
    return [row for row in given if isinstance(row, Mapping)] if isinstance(given, list) else given


# Null means the same as a missing field.
Paging = Annotated[Links, BeforeValidator(lambda given: {} if given is None else given)]


class TaskPage(AnswerModel):
    """
    One page of the list of tasks.

    :param data: The tasks; rows that are not objects are left out.
    :param links: Link to the next page.
    """

    data: Annotated[list[ListedTask], BeforeValidator(_rows)]
    links: Paging = Links()


@dataclass(frozen=True, slots=True)
class TaskCalls:
    """
    Builds the Calls for the tasks of one API.

    :param service: The API.
    :param path: Path of its tasks, below its prefix.
    :param task: The model of a task.
    :param listed: The model of a page of the list of tasks.
    :param stop_action: Last part of the path of the action that stops a task.
    :param restart_action: Last part of the path of the action that runs again what failed; empty if there is none.
    """

    service: Service
    path: str
    task: type[BatchTask] = BatchTask
    listed: type[TaskPage] = TaskPage
    stop_action: str = "stop"
    restart_action: str = ""

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
            self.task.model_validate,
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
            self.listed.model_validate,
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
        return Call("GET", self.service, self.path_of(task_id), self.task.model_validate, f"read batch task {task_id}")

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
        return self.action(task_id, self.stop_action)

    def restart(self, task_id: str) -> Call[None]:
        """
        Run again, in the same task, what failed in it.

        :param task_id: Its id.
        :raises InvalidParameter: The id is not valid; nothing is sent.
        """
        return self.action(task_id, self.restart_action)

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
        if not re.fullmatch(ID, str(task_id)) or str(task_id) == "None":
            raise InvalidParameter(
                "batch_task_id",
                task_id,
                "is not the id of a batch task, which consists of letters, digits and hyphens",
                "Give the id as the service shows it, e.g. 2e0d4c5f-6a3b-4e57-9c6d-0f1a2b3c4d5e; "
                "if it comes from a template, check what it renders to.",
            )
        return f"{self.path}/{task_id}"
