"""
Batch Processing V2: tiling grids, as the service describes them.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

from airflow_provider_sentinelhub.client.lifecycle.answers import Links, Paging
from airflow_provider_sentinelhub.client.models import AnswerModel


class GridProperties(AnswerModel):
    """
    Measures of a tiling grid.

    :param tile_width: In units of the grid.
    :param tile_height: In units of the grid.
    :param resolutions: In units of the grid, in no order.
    :param unit: METRE or DEGREE.
    """

    tile_width: float
    tile_height: float
    resolutions: list[float]
    unit: str


class GridDescription(AnswerModel):
    """
    A tiling grid, as the service describes it.

    :param id: Its id.
    :param name: Its name.
    :param properties: Its measures.
    """

    id: int
    name: str
    properties: GridProperties


class GridPage(AnswerModel):
    """
    One page of the list of tiling grids.

    :param data: The grids.
    :param links: Where the next page lies.
    """

    data: list[GridDescription]
    links: Paging = Links()
