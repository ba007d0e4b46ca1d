"""BYOC: tiles, and lists, as the service returns them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from airflow_provider_sentinelhub.client.lifecycle.collections import Collection
from airflow_provider_sentinelhub.client.lifecycle.tasks import Links, Moment, Object
from airflow_provider_sentinelhub.client.models import AnswerModel
from airflow_provider_sentinelhub.client.text import one_line


class TileStatus(StrEnum):
    """What the service does with a tile."""

    WAITING = "WAITING"
    QUEUED = "QUEUED"
    INGESTING = "INGESTING"
    INGESTED = "INGESTED"
    FAILED = "FAILED"


# In the order in which a tile has them: whoever lists them one after the other in this order misses no tile.
PENDING = (TileStatus.WAITING, TileStatus.QUEUED, TileStatus.INGESTING)


class ByocTile(AnswerModel):
    """
    A tile.

    :param id: Its id.
    :param path: Where its files are in the bucket.
    :param status: A :class:`TileStatus`, or an unknown one.
    :param sensing_time: When it was sensed.
    :param created: When it was created.
    :param additional_data: What else the service says about it.
    """

    id: str
    path: str
    status: Annotated[str, BeforeValidator(lambda given: one_line(given) if given else "")] = ""
    sensing_time: Moment = None
    created: Moment = None
    additional_data: Object = Field(default_factory=dict)

    @property
    def cause(self) -> str:
        """Why its ingestion failed; empty if it did not."""
        return one_line(self.additional_data.get("failedIngestionCause") or "")


class TileAnswer(AnswerModel):
    """
    One tile.

    :param data: The tile.
    """

    data: ByocTile


class TilePage(AnswerModel):
    """
    One page of tiles.

    :param data: The tiles.
    :param links: Links to other pages.
    """

    data: list[ByocTile]
    links: Annotated[Links, BeforeValidator(lambda given: given or {})] = Field(default_factory=Links)


class CollectionPage(AnswerModel):
    """
    One page of collections.

    :param data: The collections.
    :param links: Links to other pages.
    """

    data: list[Collection]
    links: Annotated[Links, BeforeValidator(lambda given: given or {})] = Field(default_factory=Links)


def tile_of(answer: Any) -> ByocTile:
    """
    Parse the answer with one tile.

    :param answer: Decoded JSON.
    """
    return TileAnswer.model_validate(answer).data
