"""
Batch Processing V1: tasks, tiles and batch collections, as the service returns them.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from airflow_provider_sentinelhub.client.lifecycle.tasks import (
    ID,
    BatchTask,
    Links,
    ListedTask,
    Moment,
    Number,
    Object,
    Paging,
    TaskPage,
    Word,
)
from airflow_provider_sentinelhub.client.models import AnswerModel
from airflow_provider_sentinelhub.client.text import one_line

REQUEST_FIELDS: Final = (
    "processRequest",
    "tilingGrid",
    "tilingGridId",
    "resolution",
    "output",
    "bucketName",
    "zarrOutput",
    "description",
)
"""Fields of a task that are those of its request."""

TILE_ID: Final = r"[0-9]{1,19}"
_LARGEST: Final = 2**63


def _whole(given: Any) -> int | None:
    is_whole = isinstance(given, (int, float)) and not isinstance(given, bool) and abs(given) < _LARGEST
    return int(given) if is_whole and given == int(given) else None


def _rows(given: Any) -> Any:
    return [row for row in given if isinstance(row, Mapping)] if isinstance(given, list) else given


Count = Annotated[int | None, BeforeValidator(_whole)]


class _OfV1(AnswerModel):
    """
    What the tasks of this API have besides, in answers whose request is not in a field of its own.

    :param user_id: Who created it.
    :param account_id: Whose account it is.
    :param value_estimate: Processing units, estimated by the analysis.
    :param tile_count: Number of tiles, after the analysis.
    :param tile_width_px: Width of a tile in pixels, without buffers.
    :param tile_height_px: Height of a tile in pixels, without buffers.
    """

    user_id: Word = None
    account_id: Word = None
    value_estimate: Number = None
    tile_count: Count = None
    tile_width_px: Count = None
    tile_height_px: Count = None

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not any(name in given for name in REQUEST_FIELDS):
            return given
        request = {name: given[name] for name in REQUEST_FIELDS if given.get(name) is not None}
        rest = {name: value for name, value in given.items() if name not in REQUEST_FIELDS}
        return {**rest, "request": request}


class BatchV1Task(_OfV1, BatchTask):
    """
    A task, as the service returns it: its fields and those of its request side by side.

    :param status: CREATED, ANALYSING, ANALYSIS_DONE, PROCESSING, DONE, PARTIAL, FAILED, CANCELED, or an unknown one.
    :param user_action: NONE, ANALYSE, START or CANCEL: the last action that was requested.
    :param request: The fields of its request.
    """

    @property
    def was_skipped(self) -> bool:
        """Whether there was nothing to do: the service does not say so, and lists the tiles all the same."""
        return False


class ListedBatchV1Task(_OfV1, ListedTask):
    """A task in a list; an odd row does not prevent reading the rest."""


class BatchV1TaskPage(TaskPage):
    """
    One page of the list of tasks.

    :param data: The tasks; rows that are not objects are left out.
    """

    data: Annotated[list[ListedBatchV1Task], BeforeValidator(_rows)]  # type: ignore[assignment]  # narrower: the rows are flat


class Tile(AnswerModel):
    """
    A tile of a task.

    :param id: Its id in the tiling grid.
    :param status: PENDING, SCHEDULED, QUEUED, PROCESSING, PROCESSED or FAILED, or an unknown one.
    :param request_id: Id of its task.
    :param name: Its name in the tiling grid, which is part of the names of files; not documented, but sent.
    :param cost: Processing units spent on it.
    :param geometry: Outline in WGS84, without buffers, as GeoJSON.
    :param origin: Lower left corner in the tile's own CRS, as GeoJSON.
    :param error: Why it failed; not documented, and read if there is one.
    """

    id: Annotated[int, Field(ge=-_LARGEST, lt=_LARGEST)]
    status: Annotated[str, BeforeValidator(lambda given: one_line(given) if isinstance(given, str) else "")] = ""
    request_id: Word = None
    name: Word = None
    cost: Number = None
    geometry: Annotated[Object, Field(repr=False)] = Field(default_factory=dict)
    origin: Annotated[Object, Field(repr=False)] = Field(default_factory=dict)
    error: Word = None


class TilePage(AnswerModel):
    """
    One page of the tiles of a task.

    :param data: The tiles.
    :param links: Link to the next page.
    """

    data: list[Tile]
    links: Paging = Links()


class BatchData(AnswerModel):
    """
    What makes a collection one of this API.

    :param tiling_grid_id: Tiling grid of its tiles; absent until the first task adds results to it.
    """

    tiling_grid_id: Count = None


class BatchCollection(AnswerModel):
    """
    A batch collection.

    :param id: Its id.
    :param account_id: Whose account it is.
    :param name: Its name.
    :param s3_bucket: The bucket of its files.
    :param batch_data: Its tiling grid.
    :param additional_data: Its bands, as in a BYOC collection.
    :param created: When it was created.
    """

    id: Annotated[str, Field(pattern=f"^{ID}$")]
    account_id: Word = None
    name: Word = None
    s3_bucket: Word = None
    batch_data: Annotated[BatchData, BeforeValidator(lambda given: given if isinstance(given, dict) else {})] = (
        BatchData()
    )
    additional_data: Object = Field(default_factory=dict)
    created: Moment = None

    @model_validator(mode="before")
    @classmethod
    def _unwrapped(cls, given: Any) -> Any:
        # The reference shows the collection; the service's Python client read it from "data", as those of BYOC.
        inner = given.get("data") if isinstance(given, Mapping) else None
        return inner if isinstance(inner, Mapping) else given


class CollectionPage(AnswerModel):
    """
    One page of the list of batch collections.

    :param data: The collections.
    :param links: Link to the next page.
    """

    data: list[BatchCollection]
    links: Paging = Links()
