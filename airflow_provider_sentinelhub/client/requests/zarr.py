"""
Parameters of Zarr groups and arrays.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from airflow_provider_sentinelhub.client.models import JsonObject, OpenRequestModel, RequestModel, Text, broken

NO_NUMBERS = ("NaN", "Infinity", "-Infinity")
"""How Zarr writes float values that JSON cannot express."""


class ZarrCoordinates(RequestModel):
    """
    Orientation of the array.

    :param origin: Default: ``topLeft``.
    """

    origin: Literal["topLeft", "bottomLeft"] | None = None


class ZarrGroup(RequestModel):
    """
    The Zarr group.

    :param zarr_format: 2.
    :param coordinates: Orientation.
    :param custom_attributes: Added to ``.zattrs``.
    """

    zarr_format: Annotated[Literal[2], Field(alias="zarr_format")]
    coordinates: Annotated[ZarrCoordinates, Text] | None = None
    custom_attributes: JsonObject | None = None


def _fill_value(value: Any) -> Any:
    if value is None or value in NO_NUMBERS:
        return value
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        broken(f"must be a number, or one of the texts {', '.join(NO_NUMBERS)}", 'Write e.g. 0 or "NaN".')
    return number


class ZarrArray(OpenRequestModel):
    """
    Parameters of a Zarr array; the names are those of the Zarr V2 specification.

    :param dtype: E.g. ``<f4``.
    :param order: ``C``.
    :param chunks: ``[1, height, width]``; height and width divide the tile's size in pixels.
    :param fill_value: Value of chunks that are not written; ``NaN``, ``Infinity`` and ``-Infinity`` as strings.
    :param compressor: Default: Blosc lz4.
    :param custom_attributes: Added to ``.zattrs``; for single arrays only.
    """

    dtype: str | None = None
    order: Literal["C"] | None = None
    chunks: Annotated[list[int], Text] | None = None
    fill_value: Annotated[float | str | None, BeforeValidator(_fill_value), Field(alias="fill_value")] = None
    compressor: JsonObject | None = None
    custom_attributes: JsonObject | None = None

    @field_validator("chunks")
    @classmethod
    def _one_time(cls, chunks: list[int] | None) -> list[int] | None:
        if chunks is not None and (len(chunks) != 3 or chunks[0] != 1 or min(chunks) < 1):  # noqa: PLR2004 - t, y, x
            broken("must be [1, height, width]", "Write e.g. [1, 1000, 1000].")
        return chunks
