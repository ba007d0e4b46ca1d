"""
The answers of the asynchronous APIs: tasks and lists of tasks.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

from airflow_provider_sentinelhub.client.models import AnswerModel
from airflow_provider_sentinelhub.client.requests.findings import part
from airflow_provider_sentinelhub.client.text import one_line

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

    :param next_token: ``viewtoken`` of the next page; absent on the last page.
    """

    next_token: Annotated[str | None, Field(coerce_numbers_to_str=True)] = None


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
