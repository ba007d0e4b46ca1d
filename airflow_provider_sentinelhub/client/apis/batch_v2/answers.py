"""
Batch Processing V2: tiling grids, as the service returns them.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

from airflow_provider_sentinelhub.client.lifecycle.tasks import Links, Paging
from airflow_provider_sentinelhub.client.models import AnswerModel


class GridProperties(AnswerModel):
    """
    Sizes of a tiling grid.

    :param tile_width: In units of the grid.
    :param tile_height: In units of the grid.
    :param resolutions: In units of the grid, unordered.
    :param unit: METRE or DEGREE.
    """

    tile_width: float
    tile_height: float
    resolutions: list[float]
    unit: str


class GridDescription(AnswerModel):
    """
    A tiling grid, as the service returns it.

    :param id: Its id.
    :param name: Its name.
    :param properties: Its sizes.
    """

    id: int
    name: str
    properties: GridProperties


class GridPage(AnswerModel):
    """
    One page of the list of tiling grids.

    :param data: The grids.
    :param links: Link to the next page.
    """

    data: list[GridDescription]
    links: Paging = Links()
