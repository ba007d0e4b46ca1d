"""
The Process API request inside a batch request: what is read, and what is computed.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import field_validator, model_validator

from airflow_provider_sentinelhub.client.models import Evalscript, Name, OpenRequestModel, RequestModel, Text, broken
from airflow_provider_sentinelhub.client.requests.bounds import Bounds
from airflow_provider_sentinelhub.client.requests.data import DataSources


class ProcessInput(RequestModel):
    """
    The input.

    :param bounds: The area of interest.
    :param data: The data sources; at least one.
    """

    bounds: Annotated[Bounds, Text] = Bounds()
    data: DataSources


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

    :param identifier: Id of the evalscript's output. Default: ``default``.
    :param format: Its format.
    """

    identifier: Name = "default"
    format: Annotated[ResponseFormat, Text]


class ProcessOutput(RequestModel):
    """
    The outputs; their size is determined by the tiling grid or the GeoPackage.

    :param responses: The outputs. Default: a single GeoTIFF ``default``.
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


class ProcessRequest(RequestModel):
    """
    What is read, computed and written for each feature.

    :param input: Area and data.
    :param output: Outputs.
    :param evalscript: The JavaScript that computes a pixel.
    """

    input: Annotated[ProcessInput, Text]
    output: Annotated[ProcessOutput, Text] = ProcessOutput()
    evalscript: Evalscript
