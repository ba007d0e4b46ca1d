"""
Parameters of cloud optimised GeoTIFFs (COG).

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from airflow_provider_sentinelhub.client.models import Flag, RequestModel, Text


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

    overview_levels: Annotated[list[Annotated[int, Field(ge=1)]], Text] | None = None
    overview_min_size: Annotated[int, Field(ge=1)] | None = None
    resampling_algorithm: (
        Literal["nearest", "average", "gauss", "cubic", "cubicspline", "lanczos", "average_magphase", "mode"] | None
    ) = None
    blockxsize: int | None = None
    blockysize: int | None = None
    use_predictor: Flag | None = None
