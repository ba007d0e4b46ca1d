"""
Batch Processing V1: the models of its requests.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html, and the API's reference, which is no
longer published. ``responses`` is not in it: the service's Python client had it, and the reference mentions its paths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from airflow_provider_sentinelhub.client.models import Flag, Name, Real, Request, RequestModel, Text, Whole, broken
from airflow_provider_sentinelhub.client.requests.delivery import CogParameters, ZarrArray, ZarrGroup
from airflow_provider_sentinelhub.client.requests.process import ProcessRequest
from airflow_provider_sentinelhub.client.requests.tiling_grids import TilingGridSettings

# A bucket of another tenant may be written with the tenant before it.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_OLDER = {"tilingGridId": "id", "resolution": "resolution"}


class OutputPath(RequestModel):
    """
    Where the files of one output are written.

    :param identifier: Id of the evalscript's output.
    :param tile_path: Its template, as ``defaultTilePath``.
    """

    identifier: Name
    tile_path: Name


class TileOutput(RequestModel):
    """
    One file per tile and output.

    :param default_tile_path: Where files are written: a folder, or a template with ``<requestId>``, ``<tileName>``,
        ``<tileId>``, ``<outputId>`` and ``<format>``.
    :param overwrite: Replace existing files.
    :param skip_existing: Skip tiles whose files all exist.
    :param cog_output: Write cloud optimised GeoTIFFs.
    :param cog_parameters: Parameters of these.
    :param create_collection: Create a batch collection of the results.
    :param collection_id: The batch collection to add them to.
    :param responses: Paths of single outputs that are not written to ``defaultTilePath``.
    """

    default_tile_path: Name | None = None
    overwrite: Flag | None = None
    skip_existing: Flag | None = None
    cog_output: Flag | None = None
    cog_parameters: Annotated[CogParameters, Text] | None = None
    create_collection: Flag | None = None
    collection_id: str | None = None
    responses: Annotated[list[Annotated[OutputPath, Text]], Text] | None = None

    @model_validator(mode="after")
    def _some_path(self) -> TileOutput:
        if self.default_tile_path is None and not self.responses:
            broken(
                "does not say where files are written",
                "Add a defaultTilePath, e.g. s3://bucket/<requestId>/<tileName>/<outputId>.<format>.",
            )
        return self


class ZarrOutput(RequestModel):
    """
    One Zarr group for all tiles.

    :param path: Where it is written; the only placeholder allowed is ``<requestId>``.
    :param group: Parameters of the group.
    :param array_parameters: Parameters of all arrays.
    :param array_overrides: Parameters of single arrays, by output.
    """

    path: Name
    group: Annotated[ZarrGroup, Text]
    array_parameters: Annotated[ZarrArray, Text] | None = None
    array_overrides: Annotated[dict[str, Annotated[ZarrArray, Text]], Text] | None = None


class BatchV1Request(Request):
    """
    A Batch Processing V1 request.

    ``tilingGridId`` and ``resolution`` are the older way to write ``tilingGrid``: they are read, and never written.

    :param process_request: What is read, computed and written for each tile.
    :param tiling_grid: The tiles.
    :param tiling_grid_id: Older ``tilingGrid.id``.
    :param resolution: Older ``tilingGrid.resolution``.
    :param bucket_name: The bucket alone; the same as ``s3://<bucket>`` as ``output.defaultTilePath``.
    :param zarr_output: Write a Zarr group.
    :param output: Write a file for each tile and output.
    :param description: Free text.
    """

    process_request: Annotated[ProcessRequest, Text]
    tiling_grid: Annotated[TilingGridSettings, Text]
    tiling_grid_id: Annotated[Whole | None, Field(exclude=True)] = None
    resolution: Annotated[Real | None, Field(exclude=True)] = None
    bucket_name: str | None = None
    zarr_output: Annotated[ZarrOutput, Text] | None = None
    output: Annotated[Annotated[TileOutput, Text] | None, Field(validate_default=True)] = None
    description: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _older_grid(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or given.get("tilingGrid") is not None:
            return given
        older = {name: given[key] for key, name in _OLDER.items() if given.get(key) is not None}
        return {**given, "tilingGrid": older} if older else given

    @field_validator("tiling_grid_id", "resolution")
    @classmethod
    def _same_grid(cls, value: float | None, info: ValidationInfo) -> float | None:
        grid = info.data.get("tiling_grid")
        name = "id" if info.field_name == "tiling_grid_id" else "resolution"
        if grid is not None and value is not None and value != getattr(grid, name):
            broken(f"is not tilingGrid.{name}, which is {getattr(grid, name):g}", "Remove it: tilingGrid is enough.")
        return value

    @field_validator("bucket_name")
    @classmethod
    def _a_name(cls, name: str | None) -> str | None:
        if name is not None and not _BUCKET.fullmatch(name):
            broken("is not the name of a bucket", "Write the name alone, or a path as output.defaultTilePath.")
        return name

    @field_validator("zarr_output")
    @classmethod
    def _not_both(cls, zarr: ZarrOutput | None, info: ValidationInfo) -> ZarrOutput | None:
        if zarr is not None and info.data.get("bucket_name") is not None:
            broken("cannot be given together with bucketName", "Keep one of them.")
        return zarr

    @field_validator("output")
    @classmethod
    def _exactly_one(cls, output: TileOutput | None, info: ValidationInfo) -> TileOutput | None:
        # A field that is wrong itself is missing here.
        others = [info.data.get(name, True) for name in ("bucket_name", "zarr_output")]
        if output is None and others == [None, None]:
            broken("is required where there is neither bucketName nor zarrOutput", "Add it with a defaultTilePath.")
        if output is not None and others != [None, None]:
            named = "bucketName" if others[0] is not None else "zarrOutput"
            broken(f"cannot be given together with {named}", "Keep one of them.")
        return output
