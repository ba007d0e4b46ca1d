"""
BYOC collections as the service returns them, and the Call that reads one, which costs nothing.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from airflow_provider_sentinelhub.client.http.call import Call
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle.tasks import Moment, Number, Word
from airflow_provider_sentinelhub.client.models import AnswerModel

_NoNull = BeforeValidator(lambda given: {} if given is None else given)


class Band(AnswerModel):
    """
    A band of a collection.

    :param source: What takes the place of ``(BAND)`` in the paths of tiles; the band's name if it is ``None``.
    :param band_index: Which band of that file, from 1.
    :param bit_depth: 8, 16 or 32.
    :param sample_format: UINT, INT or FLOAT.
    :param no_data: Value of pixels without data.
    """

    source: Word = None
    band_index: int | None = None
    bit_depth: int | None = None
    sample_format: str | None = None
    no_data: Number = None


class CollectionData(AnswerModel):
    """
    What a collection holds.

    :param bands: By name; empty until the first file is added or somebody configures them.
    """

    bands: Annotated[dict[str, Annotated[Band, _NoNull]], _NoNull] = Field(default_factory=dict)


class Collection(AnswerModel):
    """
    A BYOC collection.

    :param id: Its id; ``byoc-<id>`` is the type of its data in requests.
    :param name: Its name; several may have the same.
    :param created: When it was created.
    :param no_data: Value of pixels without data, in all bands.
    :param s3_bucket: The bucket of all its files; it cannot be changed.
    :param additional_data: What it holds.
    """

    id: str = ""
    name: str = ""
    created: Moment = None
    no_data: Number = None
    s3_bucket: str | None = None
    additional_data: Annotated[CollectionData, _NoNull] = CollectionData()


class CollectionAnswer(AnswerModel):
    """
    A collection, as the service returns it.

    :param data: The collection.
    """

    data: Collection


def collection(collection_id: str) -> Call[Collection]:
    """
    Read a collection.

    :param collection_id: Its id.
    """
    return Call(
        "GET",
        Service.BYOC,
        f"/collections/{collection_id}",
        lambda answer: CollectionAnswer.model_validate(answer).data,
        f"read collection {collection_id}",
    )
