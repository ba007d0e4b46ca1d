"""
Size and location of an area, in square kilometres and degrees, for any coordinate reference system.

Areas in degrees and in Web Mercator are computed on a sphere with the surface of the Earth, with an error of up to 1 %.
Areas in systems in metres are computed in the plane: with an error of up to 0.2 % in UTM zones, and of some per cent in
polar systems. That is enough to tell a field from a continent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.requests.crs import WGS84

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shapely.geometry.base import BaseGeometry

Sides = tuple[float, float, float, float]

_RADIUS_M: Final = 6_371_007.2
_MERCATOR_RADIUS_M: Final = 6_378_137.0
_WEB_MERCATOR: Final = 3857
_M2_OF_KM2: Final = 1e6
_STEPS: Final = 8
# WGS 84 and UTM, after Karney (2011), Transverse Mercator with an accuracy of a few nanometers.
_RECTIFYING_RADIUS_M: Final = 6_367_449.1458 * 0.9996
_BETA: Final = (8.377318206e-4, 5.905870152e-8, 1.673482666e-10)
_DELTA: Final = (3.356551488e-3, 6.571873263e-6, 1.764656426e-8)
_UTM_NORTH, _UTM_SOUTH = 326, 327


@dataclass(frozen=True, slots=True)
class Extent:
    """
    Size and location of an area.

    :param km2: Its size in square kilometres.
    :param sides: West, south, east and north of its bounding box, in degrees if possible.
    :param epsg: EPSG code of ``sides``: 4326 for degrees.
    """

    km2: float
    sides: Sides
    epsg: int | None = WGS84

    @classmethod
    def of(cls, shape: BaseGeometry, epsg: int | None) -> Extent:
        """
        Measure a geometry.

        :param shape: The geometry, not empty.
        :param epsg: EPSG code of its coordinates; ``None`` if it is not known.
        """
        return cls(area_km2([shape], epsg), *_placed(shape.bounds, epsg))

    @classmethod
    def around(cls, sides: Sides, epsg: int | None, km2: float) -> Extent:
        """
        Return the extent of an area of known size.

        :param sides: West, south, east and north in its coordinates.
        :param epsg: EPSG code of these coordinates.
        :param km2: Its size in square kilometres.
        """
        return cls(km2, *_placed(sides, epsg))

    @classmethod
    def of_all(cls, extents: Iterable[Extent]) -> Extent | None:
        """
        Combine areas that do not overlap; ``None`` if there are none.

        :param extents: The areas.
        """
        found = list(extents)
        if not found:
            return None
        west, south, east, north = zip(*(each.sides for each in found if each.epsg == found[0].epsg), strict=True)
        return cls(sum(each.km2 for each in found), (min(west), min(south), max(east), max(north)), found[0].epsg)

    def meets(self, other: Extent) -> bool:
        """
        Whether the bounding boxes of two areas intersect; true if that is not known.

        :param other: The other area.
        """
        west, south, east, north = self.sides
        left, bottom, right, top = other.sides
        return self.epsg != other.epsg or (west <= right and left <= east and south <= top and bottom <= north)

    def text(self) -> str:
        """Describe size and location in one line."""
        west, south, east, north = self.sides
        x, y = (west + east) / 2, (south + north) / 2
        if self.epsg == WGS84:
            where = (
                f"centre at longitude {x:.4g}, latitude {y:.4g}; longitude {west:.4g} to {east:.4g}, "
                f"latitude {south:.4g} to {north:.4g}"
            )
        else:
            where = (
                f"centre at {x:.0f}, {y:.0f} in EPSG:{self.epsg}; {west:.0f} to {east:.0f}, {south:.0f} to {north:.0f}"
            )
        return f"{km2_text(self.km2)}, {where}"


def km2_text(km2: float) -> str:
    """
    Write a size.

    :param km2: Square kilometres.
    """
    return f"{km2:,.0f} km2" if km2 >= 100 else f"{km2:.3g} km2"  # noqa: PLR2004 - three digits


def area_km2(shapes: Sequence[BaseGeometry] | Any, epsg: int | None) -> float:
    """
    Return the total size of geometries, in square kilometres.

    :param shapes: The geometries.
    :param epsg: EPSG code of their coordinates; all but degrees and Web Mercator are assumed to be metres.
    """
    import shapely

    if epsg == _WEB_MERCATOR:
        shapes = shapely.transform(shapes, _degrees_of_mercator)
    if epsg in {WGS84, _WEB_MERCATOR}:
        # A straight line in degrees is not straight in the equal-area projection.
        shapes = shapely.transform(shapely.segmentize(shapes, 1.0), _equal_area)
    return float(shapely.area(shapes).sum()) / _M2_OF_KM2


def boxes_km2(boxes: Any, epsg: int | None) -> float:
    """
    Return the total size of many boxes, in square kilometres.

    :param boxes: An array of west, south, east and north.
    :param epsg: EPSG code of their coordinates; all but degrees and Web Mercator are assumed to be metres.
    """
    corners = boxes.reshape(-1, 2)
    if epsg == _WEB_MERCATOR:
        corners = _degrees_of_mercator(corners)
    if epsg in {WGS84, _WEB_MERCATOR}:
        corners = _equal_area(corners)
    sides = corners.reshape(-1, 4)
    return float(((sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])).sum()) / _M2_OF_KM2


def in_degrees(shape: BaseGeometry, epsg: int | None) -> BaseGeometry | None:
    """
    Return a geometry in longitude and latitude; ``None`` if it is in none of the systems known here.

    :param shape: The geometry.
    :param epsg: EPSG code of its coordinates: WGS 84, Web Mercator or one of a UTM zone.
    """
    import shapely

    if epsg == WGS84:
        return shape
    west, south, east, north = shape.bounds
    if epsg == _WEB_MERCATOR:
        to_degrees: Any = _degrees_of_mercator
    elif epsg is not None and epsg // 100 in {_UTM_NORTH, _UTM_SOUTH}:

        def to_degrees(points: Any) -> Any:
            return _degrees_of_utm(points, epsg)

    else:
        return None
    return shapely.transform(shapely.segmentize(shape, max(east - west, north - south, 1.0) / _STEPS), to_degrees)


def _placed(sides: Sequence[float], epsg: int | None) -> tuple[Sides, int | None]:
    import shapely

    west, south, east, north = (float(side) for side in sides)
    placed = None if epsg == WGS84 else in_degrees(shapely.box(west, south, east, north), epsg)
    if placed is None:
        return (west, south, east, north), epsg
    west, south, east, north = placed.bounds
    return (west, south, east, north), WGS84


def _equal_area(points: Any) -> Any:
    import numpy as np

    longitude, latitude = np.radians(points).T
    return np.column_stack([_RADIUS_M * longitude, _RADIUS_M * np.sin(latitude)])


def _degrees_of_mercator(points: Any) -> Any:
    import numpy as np

    x, y = points.T / _MERCATOR_RADIUS_M
    return np.degrees(np.column_stack([x, np.arctan(np.sinh(y))]))


def _degrees_of_utm(points: Any, epsg: int) -> Any:
    import numpy as np

    zone, is_south = epsg % 100, epsg // 100 == _UTM_SOUTH
    eta = (points[:, 0] - 500_000.0) / _RECTIFYING_RADIUS_M
    xi = (points[:, 1] - 10_000_000.0 * is_south) / _RECTIFYING_RADIUS_M
    across, up = eta.copy(), xi.copy()
    for order, beta in enumerate(_BETA, start=1):
        up -= beta * np.sin(2 * order * xi) * np.cosh(2 * order * eta)
        across -= beta * np.cos(2 * order * xi) * np.sinh(2 * order * eta)
    conformal = np.arcsin(np.clip(np.sin(up) / np.cosh(across), -1.0, 1.0))
    latitude = conformal + sum(delta * np.sin(2 * order * conformal) for order, delta in enumerate(_DELTA, start=1))
    longitude = math.radians(6 * zone - 183) + np.arctan2(np.sinh(across), np.cos(up))
    return np.degrees(np.column_stack([longitude, latitude]))
