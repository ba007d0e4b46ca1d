"""
The tiling grids of Batch Processing.

Source: https://docs.planet.com/develop/apis/batch-processing/#tiling-grids
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TilingGrid:
    """
    A grid of tiles that covers the world, or Europe.

    :param id: What a request names.
    :param title: What the documentation calls it.
    :param tile_size: Width and height of a tile, in units of its CRS.
    :param resolutions: Supported resolutions, in units of its CRS; 30 m exists on the Copernicus deployment only.
    :param crs: ``UTM``, or an EPSG code.
    """

    id: int
    title: str
    tile_size: float
    resolutions: tuple[float, ...]
    crs: str


TILING_GRIDS = {
    grid.id: grid
    for grid in (
        TilingGrid(0, "UTM 20 km", 20040.0, (10.0, 20.0, 30.0, 60.0), "UTM"),
        TilingGrid(1, "UTM 10 km", 10000.0, (10.0, 20.0), "UTM"),
        TilingGrid(2, "UTM 100 km", 100080.0, (30.0, 60.0, 120.0, 240.0, 360.0), "UTM"),
        TilingGrid(3, "WGS84 1 degree", 1.0, (0.0001, 0.0002), "EPSG:4326"),
        TilingGrid(6, "LAEA 100 km", 100000.0, (40.0, 50.0, 100.0), "EPSG:3035"),
        TilingGrid(7, "LAEA 20 km", 20000.0, (10.0, 20.0), "EPSG:3035"),
    )
}
