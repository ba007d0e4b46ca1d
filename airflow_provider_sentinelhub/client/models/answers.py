"""
What the asynchronous APIs answer: tasks, lists of tasks, tiling grids.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, Field

from airflow_provider_sentinelhub.client.models.common import AnswerModel
from airflow_provider_sentinelhub.client.text import one_line

Said = Annotated[str, AfterValidator(one_line)]
"""The service's words, fit to be shown."""


class BatchTask(AnswerModel):
    """
    A task, as the service describes it.

    :param id: Its id.
    :param status: CREATED, ANALYSING, ANALYSIS_DONE, PROCESSING, DONE, FAILED, STOPPED, or what comes later.
    :param user_action: NONE, ANALYSE, START, STOP: what was last asked of it.
    :param user_action_updated: When.
    :param created: When it was created.
    :param last_updated: When it last changed.
    :param completion_percentage: 0 to 100; 100 does not mean that it ended.
    :param cost_pu: Processing units spent so far.
    :param error: Why it failed.
    :param stopped_status_reason: OUT_OF_PU, USER_ACTION or UNHEALTHY.
    :param request: The request with defaults filled in and credentials masked.
    """

    id: str
    status: Said
    user_action: Said = "NONE"
    user_action_updated: datetime | None = None
    created: datetime | None = None
    last_updated: datetime | None = None
    completion_percentage: float | None = None
    # The document of Batch Statistical spells it costPu; its answers do not.
    cost_pu: Annotated[
        float | None, Field(alias="costPU", validation_alias=AliasChoices("costPU", "costPu", "cost_pu"))
    ] = None
    error: Said | None = None
    stopped_status_reason: Said | None = None
    request: dict[str, Any] = Field(default_factory=dict, repr=False)

    @property
    def skips_existing(self) -> bool:
        """Whether features whose results exist are not processed."""
        return self.request.get("output", {}).get("skipExisting") is True


class Links(AnswerModel):
    """
    Where the pages of a list lie.

    :param next_token: ``viewtoken`` of the next page; absent on the last.
    """

    next_token: str | None = None


class TaskPage(AnswerModel):
    """
    One page of the list of tasks.

    :param data: The tasks.
    :param links: Where the next page lies.
    """

    data: list[BatchTask]
    links: Links = Links()


class GridProperties(AnswerModel):
    """
    Measures of a tiling grid.

    :param tile_width: In units of the grid.
    :param tile_height: In units of the grid.
    :param resolutions: In units of the grid, in no order.
    :param unit: METRE or DEGREE.
    """

    tile_width: float
    tile_height: float
    resolutions: list[float]
    unit: str


class GridDescription(AnswerModel):
    """
    A tiling grid, as the service describes it.

    :param id: Its id.
    :param name: Its name.
    :param properties: Its measures.
    """

    id: int
    name: str
    properties: GridProperties


class GridPage(AnswerModel):
    """
    One page of the list of tiling grids.

    :param data: The grids.
    :param links: Where the next page lies.
    """

    data: list[GridDescription]
    links: Links = Links()
