"""
Tiling grids, as the service returns them, and the Calls that read them, for APIs that process tiles.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.call import Call
from airflow_provider_sentinelhub.client.lifecycle.tasks import Links, Paging
from airflow_provider_sentinelhub.client.models import AnswerModel

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.deployments import Service


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


def tiling_grids(service: Service, count: int | None = None, token: str | None = None) -> Call[GridPage]:
    """
    List the tiling grids, one page at a time.

    :param service: The API.
    :param count: How many to a page. Default: as many as the service likes.
    :param token: ``links.next_token`` of the page before; ``None`` for the first page.
    """
    query = {"count": count, "viewtoken": token}
    return Call(
        "GET",
        service,
        "/tilinggrids",
        GridPage.model_validate,
        "list the tiling grids",
        query={name: str(value) for name, value in query.items() if value is not None},
    )


def tiling_grid(service: Service, grid_id: int) -> Call[GridDescription]:
    """
    Read a tiling grid.

    :param service: The API.
    :param grid_id: Its id; 0 is one.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    if isinstance(grid_id, bool) or not re.fullmatch(r"[0-9]{1,9}", str(grid_id)):
        rule = "is not the id of a tiling grid, which is a whole number"
        raise InvalidParameter("grid_id", grid_id, rule, "Give the id as in the list of tiling grids, e.g. 0.")
    path = f"/tilinggrids/{grid_id}"
    return Call("GET", service, path, GridDescription.model_validate, f"read tiling grid {grid_id}")
