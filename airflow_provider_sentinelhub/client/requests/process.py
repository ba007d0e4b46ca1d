"""
The Process API request inside a batch request: what is read, and what is computed.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from airflow_provider_sentinelhub.client.models import (
    JsonObject,
    Numbers,
    OpenRequestModel,
    RequestModel,
    Text,
    broken,
)
from airflow_provider_sentinelhub.client.requests.axes import inside_out
from airflow_provider_sentinelhub.client.requests.time_range import DataFilter

_CRS = re.compile(r"^(https?://www\.opengis\.net/def/crs/(EPSG/0/\d{4,5}|OGC/1\.3/CRS84)|urn:ogc:def:crs:.+)$")
_MIN_RING = 4


class BoundsProperties(OpenRequestModel):
    """
    How coordinates are to be read.

    :param crs: Address of the CRS; CRS84 where absent.
    """

    crs: str | None = None

    @field_validator("crs")
    @classmethod
    def _known_form(cls, crs: str | None) -> str | None:
        if crs is not None and not _CRS.match(crs):
            broken(
                "must be the address of a CRS",
                "Write http://www.opengis.net/def/crs/OGC/1.3/CRS84 or http://www.opengis.net/def/crs/EPSG/0/32633.",
            )
        return crs


class Bounds(RequestModel):
    """
    The area of interest (AOI).

    :param bbox: West, south, east, north in the CRS of ``properties``.
    :param geometry: GeoJSON Polygon or MultiPolygon in the CRS of ``properties``; wins over ``bbox``.
    :param properties: The CRS.
    """

    bbox: Numbers | None = None
    geometry: JsonObject | None = None
    properties: Annotated[BoundsProperties, Text] | None = None

    @field_validator("bbox")
    @classmethod
    def _box(cls, bbox: list[float] | None) -> list[float] | None:
        if bbox is None:
            return None
        if len(bbox) != 4:  # noqa: PLR2004 - a box has four sides
            broken("must have four numbers", "Write [west, south, east, north].")
        west, south, east, north = bbox
        if west >= east or south >= north:
            broken("west must be less than east, and south less than north", inside_out(bbox))
        return bbox

    @field_validator("geometry")
    @classmethod
    def _polygon(cls, geometry: dict[str, Any] | None) -> dict[str, Any] | None:
        if geometry is None:
            return None
        kind, coordinates = geometry.get("type"), geometry.get("coordinates")
        if kind not in {"Polygon", "MultiPolygon"} or not isinstance(coordinates, (list, tuple)) or not coordinates:
            broken("must be a GeoJSON Polygon or MultiPolygon with coordinates", "Convert or merge other geometries.")
        for number, polygon in enumerate(coordinates if kind == "MultiPolygon" else [coordinates]):
            for ring in polygon if isinstance(polygon, (list, tuple)) else [polygon]:
                _check_ring(ring, number)
        return geometry


def _check_ring(ring: Any, polygon: int) -> None:
    if not isinstance(ring, (list, tuple)) or len(ring) < _MIN_RING:
        broken(f"a ring of polygon {polygon} has fewer than four points", "Give at least four, the last the first.")
    if ring[0] != ring[-1]:
        broken(
            f"a ring of polygon {polygon} is open: it starts at {ring[0]} and ends at {ring[-1]}",
            "Repeat its first point at its end.",
        )


class InputData(OpenRequestModel):
    """
    One data source; collections add fields of their own, which are passed on.

    :param type: The collection, e.g. ``sentinel-2-l2a``.
    :param data_filter: Time range, cloud cover and the like.
    :param processing: Resampling, orthorectification and the like.
    """

    type: Annotated[str, Field(min_length=1)]
    data_filter: Annotated[DataFilter, Text] | None = None
    processing: JsonObject | None = None


class ProcessInput(RequestModel):
    """
    What is read.

    :param bounds: The area of interest.
    :param data: The data sources; at least one.
    """

    bounds: Annotated[Bounds, Text] = Bounds()
    data: Annotated[list[Annotated[InputData, Text]], Text, Field(min_length=1)]


class ResponseFormat(OpenRequestModel):
    """
    Format of an output.

    :param type: ``image/tiff``, ``application/json`` (identifier ``userdata``) or ``zarr/array``.
    """

    type: str

    @field_validator("type")
    @classmethod
    def _allowed(cls, kind: str) -> str:
        if kind not in {"image/tiff", "application/json", "zarr/array"}:
            broken("batch writes image/tiff, application/json and zarr/array only", "Choose one of them.")
        return kind


class OutputResponse(OpenRequestModel):
    """
    One output of the evalscript.

    :param identifier: The evalscript's output id; ``default`` where absent.
    :param format: Its format.
    """

    identifier: str = "default"
    format: Annotated[ResponseFormat, Text]


class ProcessOutput(RequestModel):
    """
    What is written; the grid or the GeoPackage decides the size, so none is given here.

    :param responses: The outputs; a single GeoTIFF ``default`` where absent.
    """

    responses: Annotated[list[Annotated[OutputResponse, Text]], Text] | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_size(cls, value: Any) -> Any:
        given = {"width", "height", "resx", "resy"} & set(value) if isinstance(value, dict) else set()
        if given:
            broken(
                f"a batch takes no {', '.join(sorted(given))}",
                "Remove it: the tiling grid's resolution, or the GeoPackage's, decides the size.",
            )
        return value

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(response.identifier for response in self.responses or ()) or ("default",)


class ProcessRequest(RequestModel):
    """
    What is read, computed and written for each feature.

    :param input: Area and data.
    :param output: Outputs.
    :param evalscript: The JavaScript that computes a pixel.
    """

    input: Annotated[ProcessInput, Text]
    output: Annotated[ProcessOutput, Text] = ProcessOutput()
    evalscript: str

    @field_validator("evalscript")
    @classmethod
    def _not_empty(cls, evalscript: str) -> str:
        if not evalscript.strip():
            broken("is empty", "Give the script's text, or a path that ends in .js.")
        return evalscript
