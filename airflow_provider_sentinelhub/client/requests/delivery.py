"""
Where and how results are delivered: buckets, cloud optimised GeoTIFFs, Zarr.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from airflow_provider_sentinelhub.client.models import Flag, JsonObject, RequestModel, Text, Whole, broken


def _region(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        broken("is not the name of a region", "Write it as the provider of the bucket does, e.g. eu-central-1.")
    return name


class S3Bucket(RequestModel):
    """
    A location on S3, with a role or a pair of keys.

    :param url: ``s3://bucket/path``.
    :param iam_role_arn: Role that the service assumes.
    :param access_key: Access key id.
    :param secret_access_key: Secret of that key.
    :param region: Region of the bucket; the deployment's where absent.
    """

    url: str
    iam_role_arn: Annotated[str | None, Field(alias="iamRoleARN")] = None
    access_key: Annotated[str | None, Field(repr=False)] = None
    secret_access_key: Annotated[str | None, Field(repr=False)] = None
    region: Annotated[str, AfterValidator(_region)] | None = None


class GcsBucket(RequestModel):
    """
    A location on Google Cloud Storage, with credentials.

    :param url: ``gs://bucket/path``.
    :param credentials: Base64 of a service account's JSON key.
    """

    url: str
    credentials: Annotated[str | None, Field(repr=False)] = None


class ObjectStorage(RequestModel):
    """
    A location in one of the two object storages.

    :param s3: On S3.
    :param gs: On Google Cloud Storage.
    """

    s3: Annotated[S3Bucket, Text] | None = None
    gs: Annotated[GcsBucket, Text] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> ObjectStorage:
        if (self.s3 is None) == (self.gs is None):
            broken("must hold either s3 or gs", 'Write {"s3": {"url": "s3://bucket/path"}}.')
        return self


class CogParameters(RequestModel):
    """
    How cloud optimised GeoTIFFs are written; the names are GDAL's.

    :param overview_levels: Levels of the overviews.
    :param overview_min_size: Pixels of the smallest overview.
    :param resampling_algorithm: How overviews are computed. Default: ``average``.
    :param blockxsize: Width of a block in pixels.
    :param blockysize: Height of a block in pixels.
    :param use_predictor: Predictor 2 for integers and 3 for floats. Default: on.
    """

    overview_levels: Annotated[list[Annotated[Whole, Field(ge=1)]], Text] | None = None
    overview_min_size: Annotated[Whole, Field(ge=1)] | None = None
    resampling_algorithm: (
        Literal["nearest", "average", "gauss", "cubic", "cubicspline", "lanczos", "average_magphase", "mode"] | None
    ) = None
    blockxsize: Whole | None = None
    blockysize: Whole | None = None
    use_predictor: Flag | None = None


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
    if isinstance(value, bool) or not math.isfinite(number):
        broken(f"must be a number, or one of the texts {', '.join(NO_NUMBERS)}", 'Write e.g. 0 or "NaN".')
    return number


class ZarrArray(RequestModel):
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
    chunks: Annotated[list[Whole], Text] | None = None
    fill_value: Annotated[float | str | None, BeforeValidator(_fill_value), Field(alias="fill_value")] = None
    compressor: JsonObject | None = None
    custom_attributes: JsonObject | None = None

    @field_validator("chunks")
    @classmethod
    def _one_time(cls, chunks: list[int] | None) -> list[int] | None:
        if chunks is not None and (len(chunks) != 3 or chunks[0] != 1 or min(chunks) < 1):  # noqa: PLR2004 - t, y, x
            broken("must be [1, height, width]", "Write e.g. [1, 1000, 1000].")
        return chunks
