"""
Batch Processing V2: the models of its requests.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from airflow_provider_sentinelhub.client.models import Flag, Real, Request, RequestModel, Text, Whole, broken
from airflow_provider_sentinelhub.client.requests.delivery import CogParameters, ObjectStorage, ZarrArray, ZarrGroup
from airflow_provider_sentinelhub.client.requests.findings import is_number
from airflow_provider_sentinelhub.client.requests.process import ProcessRequest
from airflow_provider_sentinelhub.client.requests.tiling_grids import TilingGridSettings

MAX_FEATURE_PX = 3500


class TilingGridInput(TilingGridSettings):
    """
    Process the tiles of a tiling grid that intersect the area of interest.

    :param type: ``tiling-grid``.
    """

    type: Literal["tiling-grid"]


class GeoPackageDefaults(RequestModel):
    """
    Size of features whose row has none: width and height, or resolution.

    :param width: Pixels; ignored without a height.
    :param height: Pixels; ignored without a width.
    :param resolution: Units of the feature's CRS; ignored if width and height are given, whatever it is.
    """

    width: Annotated[Whole, Field(ge=1, le=MAX_FEATURE_PX)] | None = None
    height: Annotated[Whole, Field(ge=1, le=MAX_FEATURE_PX)] | None = None
    resolution: Annotated[Real, Field(gt=0)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _ignored_resolution(cls, given: Any) -> Any:
        if not isinstance(given, dict) or None in (given.get("width"), given.get("height")):
            return given
        resolution: Any = given.get("resolution")
        if is_number(resolution) and resolution > 0:
            return given
        return {name: value for name, value in given.items() if name != "resolution"}

    @model_validator(mode="after")
    def _one_way(self) -> GeoPackageDefaults:
        if (self.width is None) != (self.height is None) and self.resolution is None:
            broken("width and height must be given together", "Give both, or a resolution instead.")
        return self


class GeoPackageInput(RequestModel):
    """
    Process the features of a GeoPackage.

    :param features: Location of the GeoPackage.
    :param defaults: Size of features whose row has none.
    """

    type: Literal["geopackage"]
    features: Annotated[ObjectStorage, Text]
    defaults: Annotated[GeoPackageDefaults, Text] | None = None


class RasterOutput(RequestModel):
    """
    One file per feature and output.

    :param delivery: Where files are delivered: a path, or a template with ``<tileName>``.
    :param overwrite: Replace existing files.
    :param skip_existing: Skip features whose files all exist.
    :param cog_output: Write cloud optimised GeoTIFFs.
    :param cog_parameters: Parameters of these.
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


class ZarrOutput(RequestModel):
    """
    One Zarr group for all tiles.

    :param delivery: Where it is delivered; the only placeholder allowed is ``<requestId>``.
    :param group: Parameters of the group.
    :param array_parameters: Parameters of all arrays.
    :param array_overrides: Parameters of single arrays, by output.
    """

    type: Literal["zarr"]
    delivery: Annotated[ObjectStorage, Text]
    group: Annotated[ZarrGroup, Text]
    array_parameters: Annotated[ZarrArray, Text] | None = None
    array_overrides: Annotated[dict[str, Annotated[ZarrArray, Text]], Text] | None = None


class BatchV2Request(Request):
    """
    A Batch Processing V2 request.

    :param process_request: What is read, computed and written for each feature.
    :param input: The features.
    :param output: Where results are delivered.
    :param description: Free text.
    :param instance_type: ``normal`` or ``large``; for internal use by the service.
    """

    process_request: Annotated[ProcessRequest, Text]
    input: Annotated[
        Annotated[TilingGridInput | GeoPackageInput, Field(discriminator="type")],
        Text,
    ]
    output: Annotated[Annotated[RasterOutput | ZarrOutput, Field(discriminator="type")], Text]
    description: str | None = None
    instance_type: Literal["normal", "large"] | None = None
