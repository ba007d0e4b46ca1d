"""
The tiling grids of Batch Processing.

Source: https://docs.planet.com/develop/apis/batch-processing/#tiling-grids and
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchV2.html (tiling grids, with their coverage)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field, field_validator

from airflow_provider_sentinelhub.client.models import Real, RequestModel, Whole, broken


@dataclass(frozen=True, slots=True)
class TilingGrid:
    """
    A tiling grid of the world, or of Europe.

    :param id: Its id in requests.
    :param title: Its name in the documentation.
    :param tile_size: Width and height of a tile, in units of its CRS.
    :param resolutions: Supported resolutions, in units of its CRS; 30 m on the Copernicus deployment only.
    :param crs: ``UTM``, or an EPSG code.
    :param extent: West, south, east and north in degrees, outside of which there are certainly no tiles.
    """

    id: int
    title: str
    tile_size: float
    resolutions: tuple[float, ...]
    crs: str
    extent: tuple[float, float, float, float] = (-180.0, -90.0, 180.0, 90.0)

    def tile_pixels(self, resolution: float) -> int:
        """
        Return width and height of a tile in pixels, without buffers.

        :param resolution: One of the grid's resolutions.
        """
        return round(self.tile_size / resolution)


# The documentation says: Europe, including Turkey, Iceland, Svalbard, the Azores and the Canary Islands. That is what
# EPSG:3035 is for.
_EUROPE = (-35.58, 24.6, 44.83, 84.73)


def _up_to(latitude: float) -> tuple[float, float, float, float]:
    return (-180.0, -latitude, 180.0, latitude)


TILING_GRIDS = {
    grid.id: grid
    for grid in (
        TilingGrid(0, "UTM 20 km", 20040.0, (10.0, 20.0, 30.0, 60.0), "UTM", _up_to(80.7)),
        TilingGrid(1, "UTM 10 km", 10000.0, (10.0, 20.0), "UTM", _up_to(80.6)),
        TilingGrid(2, "UTM 100 km", 100080.0, (30.0, 60.0, 120.0, 240.0, 360.0), "UTM", _up_to(81.0)),
        TilingGrid(3, "WGS84 1 degree", 1.0, (0.0001, 0.0002), "EPSG:4326"),
        TilingGrid(6, "LAEA 100 km", 100000.0, (40.0, 50.0, 100.0), "EPSG:3035", _EUROPE),
        TilingGrid(7, "LAEA 20 km", 20000.0, (10.0, 20.0), "EPSG:3035", _EUROPE),
    )
}

_INT16_MAX: Final = 32767
Buffer = Annotated[Whole, Field(ge=0, le=_INT16_MAX)]


class TilingGridSettings(RequestModel):
    """
    Process the tiles of a tiling grid that intersect the area of interest.

    :param id: Id of the tiling grid.
    :param resolution: Output resolution in units of the grid (metres or degrees).
    :param buffer_x: Pixels added left and right of each tile.
    :param buffer_y: Pixels added above and below each tile.
    """

    id: Whole
    resolution: Real
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
