"""
Batch Processing V2: what is sent.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from airflow_provider_sentinelhub.client.models.common import (
    Flag,
    JsonObject,
    OpenRequestModel,
    RequestModel,
    Text,
    broken,
    without_nulls,
)
from airflow_provider_sentinelhub.client.models.process import ProcessRequest
from airflow_provider_sentinelhub.client.tiling_grids import TILING_GRIDS

MAX_FEATURE_PX = 3500
_INT16_MAX = 32767
Buffer = Annotated[int, Field(ge=0, le=_INT16_MAX)]
NO_NUMBERS = ("NaN", "Infinity", "-Infinity")
"""What Zarr writes for the values of a float that JSON has no number for."""


def _no_flag(value: Any) -> Any:
    if isinstance(value, bool):
        broken("is no number", "Write the id of a tiling grid.")
    return value


class TilingGridInput(RequestModel):
    """
    Process the tiles of a grid that intersect the area of interest.

    :param id: Id of the tiling grid.
    :param resolution: Output resolution in units of the grid (metres or degrees).
    :param buffer_x: Pixels added left and right of each tile.
    :param buffer_y: Pixels added above and below each tile.
    """

    type: Literal["tiling-grid"]
    id: Annotated[int, BeforeValidator(_no_flag)]
    resolution: float
    buffer_x: Buffer | None = None
    buffer_y: Buffer | None = None

    @field_validator("id")
    @classmethod
    def _known_grid(cls, grid_id: int) -> int:
        if grid_id not in TILING_GRIDS:
            known = "; ".join(f"{grid.id} ({grid.title})" for grid in TILING_GRIDS.values())
            broken("is not the id of a tiling grid", f"Choose one of {known}.")
        return grid_id

    @field_validator("resolution")
    @classmethod
    def _known_resolution(cls, resolution: float, info: Any) -> float:
        grid = TILING_GRIDS.get(info.data.get("id", -1))
        if grid and resolution not in grid.resolutions:
            known = ", ".join(f"{r:g}" for r in grid.resolutions)
            broken(f"is not a resolution of tiling grid {grid.id} ({grid.title})", f"Choose one of {known}.")
        return resolution


class S3Bucket(RequestModel):
    """
    A place on S3, and the right to reach it: a role, or a pair of keys.

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
    region: str | None = None


class GcsBucket(RequestModel):
    """
    A place on Google Cloud Storage, and the right to reach it.

    :param url: ``gs://bucket/path``.
    :param credentials: Base64 of a service account's JSON key.
    """

    url: str
    credentials: Annotated[str | None, Field(repr=False)] = None


class ObjectStorage(RequestModel):
    """
    A place in one of the two object storages.

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

    @property
    def url(self) -> str:
        """Address, with its scheme."""
        bucket = self.s3 or self.gs
        return bucket.url if bucket else ""


class GeoPackageDefaults(RequestModel):
    """
    Size of features whose table gives none: width and height, or resolution.

    :param width: Pixels.
    :param height: Pixels.
    :param resolution: Units of the feature's CRS.
    """

    width: Annotated[int, Field(ge=1, le=MAX_FEATURE_PX)] | None = None
    height: Annotated[int, Field(ge=1, le=MAX_FEATURE_PX)] | None = None
    resolution: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> GeoPackageDefaults:
        if (self.width is None) != (self.height is None):
            broken("width and height go together", "Give both, or a resolution instead.")
        return self


class GeoPackageInput(RequestModel):
    """
    Process the features of a GeoPackage.

    :param features: Where the GeoPackage lies.
    :param defaults: Size of features whose table gives none.
    """

    type: Literal["geopackage"]
    features: Annotated[ObjectStorage, Text]
    defaults: Annotated[GeoPackageDefaults, Text] | None = None


class CogParameters(RequestModel):
    """
    How cloud optimised GeoTIFFs are written; names are GDAL's.

    :param overview_levels: Levels of the overviews.
    :param overview_min_size: Pixels of the smallest overview.
    :param resampling_algorithm: How overviews are made; ``average`` where absent.
    :param blockxsize: Pixels of a block.
    :param blockysize: Pixels of a block.
    :param use_predictor: Predictor 2 for integers and 3 for floats; on where absent.
    """

    overview_levels: Annotated[list[Annotated[int, Field(ge=1)]], Text] | None = None
    overview_min_size: Annotated[int, Field(ge=1)] | None = None
    resampling_algorithm: (
        Literal["nearest", "average", "gauss", "cubic", "cubicspline", "lanczos", "average_magphase", "mode"] | None
    ) = None
    blockxsize: int | None = None
    blockysize: int | None = None
    use_predictor: Flag | None = None


class RasterOutput(RequestModel):
    """
    One file per feature and output.

    :param delivery: Where; a path, or a template with ``<tileName>``.
    :param overwrite: Replace files that exist.
    :param skip_existing: Leave out features whose files all exist.
    :param cog_output: Write cloud optimised GeoTIFFs.
    :param cog_parameters: How.
    :param create_collection: Register the results as a BYOC collection.
    :param collection_id: The BYOC collection to add them to.
    """

    type: Literal["raster"]
    delivery: Annotated[ObjectStorage, Text]
    overwrite: Flag | None = None
    skip_existing: Flag | None = None
    cog_output: Flag | None = None
    cog_parameters: Annotated[CogParameters, Text] | None = None
    create_collection: Flag | None = None
    collection_id: str | None = None


class ZarrCoordinates(RequestModel):
    """
    Orientation of the array.

    :param origin: ``topLeft`` where absent.
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
    Parameters of a Zarr array; names are those of the Zarr V2 specification.

    :param dtype: E.g. ``<f4``.
    :param order: ``C``.
    :param chunks: ``[1, height, width]``; height and width divide the tile's size in pixels.
    :param fill_value: Value of chunks that are not written; ``NaN``, ``Infinity`` and ``-Infinity`` as text.
    :param compressor: Blosc lz4 where absent.
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


class ZarrOutput(RequestModel):
    """
    One Zarr group for all tiles.

    :param delivery: Where; may hold ``<requestId>`` only.
    :param group: The group.
    :param array_parameters: For all arrays.
    :param array_overrides: For single arrays, by output.
    """

    type: Literal["zarr"]
    delivery: Annotated[ObjectStorage, Text]
    group: Annotated[ZarrGroup, Text]
    array_parameters: Annotated[ZarrArray, Text] | None = None
    array_overrides: Annotated[dict[str, Annotated[ZarrArray, Text]], Text] | None = None


class BatchV2Request(RequestModel):
    """
    A Batch Processing V2 request.

    :param process_request: What is read, computed and written for each feature.
    :param input: Which features.
    :param output: Where results go.
    :param description: Free text.
    :param instance_type: ``normal`` or ``large``; for the service's own use.
    """

    process_request: Annotated[ProcessRequest, Text]
    input: Annotated[
        Annotated[TilingGridInput | GeoPackageInput, Field(discriminator="type")],
        Text,
    ]
    output: Annotated[Annotated[RasterOutput | ZarrOutput, Field(discriminator="type")], Text]
    description: str | None = None
    instance_type: Literal["normal", "large"] | None = None

    def body(self) -> dict[str, Any]:
        """Return the JSON to send: only what was given, and no nulls, which the service refuses."""
        given: dict[str, Any] = without_nulls(self.model_dump(mode="json", by_alias=True, exclude_unset=True))
        return given
