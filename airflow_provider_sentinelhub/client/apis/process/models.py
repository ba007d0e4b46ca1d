"""
Process: the models of its requests.

Source: https://docs.planet.com/develop/apis/processing/reference/
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, field_validator, model_validator

from airflow_provider_sentinelhub.client.models import (
    Evalscript,
    Name,
    OpenRequestModel,
    Real,
    Request,
    RequestModel,
    Text,
    Whole,
    broken,
)
from airflow_provider_sentinelhub.client.requests.bounds import Bounds
from airflow_provider_sentinelhub.client.requests.data import DataSources

FORMATS: Final = ("image/tiff", "image/png", "image/jpeg", "application/json")

Side = Annotated[Whole, Field(ge=1)]
Resolution = Annotated[Real, Field(gt=0)]


class ImageFormat(OpenRequestModel):
    """
    Format of an output.

    :param type: ``image/tiff``, ``image/png``, ``image/jpeg``, or ``application/json`` for ``userdata``.
    :param quality: Of a JPEG, 0 to 100. Default: 90.
    """

    type: str
    quality: Annotated[Whole, Field(ge=0, le=100)] | None = None

    @field_validator("type")
    @classmethod
    def _allowed(cls, kind: str) -> str:
        if kind not in FORMATS:
            broken(f"must be one of {', '.join(FORMATS)}", "Choose one of them.")
        return kind


class ImageResponse(OpenRequestModel):
    """
    One output of the evalscript.

    :param identifier: Id of the evalscript's output. Default: ``default``.
    :param format: Its format. Default: ``image/png``.
    """

    identifier: Name = "default"
    format: Annotated[ImageFormat, Text] | None = None


class ImageOutput(RequestModel):
    """
    Size and formats of the image.

    :param width: Pixels. Default: 256, if there is no resolution.
    :param height: Pixels. Default: 256, if there is no resolution.
    :param resx: Width of a pixel in units of the CRS; instead of ``width``.
    :param resy: Height of a pixel in units of the CRS; instead of ``height``.
    :param responses: The outputs. Default: a single PNG ``default``.
    """

    width: Side | None = None
    height: Side | None = None
    resx: Resolution | None = None
    resy: Resolution | None = None
    responses: Annotated[list[Annotated[ImageResponse, Text]], Text] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> ImageOutput:
        if not (self.width is self.height is None) and not (self.resx is self.resy is None):
            broken("holds both a size in pixels and a resolution", "Give width and height, or resx and resy.")
        if (self.resx is None) != (self.resy is None):
            broken("resx and resy must be given together", "Give both.")
        return self


class ImageInput(RequestModel):
    """
    The input.

    :param bounds: The area of the image.
    :param data: The data sources; at least one.
    """

    bounds: Annotated[Bounds, Text]
    data: DataSources


class ImageRequest(Request):
    """
    A Process request: one image of an area, in the answer to the request.

    :param input: Area and data.
    :param output: Size and formats.
    :param evalscript: The JavaScript that computes a pixel.
    """

    input: Annotated[ImageInput, Text]
    output: Annotated[ImageOutput, Text] = ImageOutput()
    evalscript: Evalscript
