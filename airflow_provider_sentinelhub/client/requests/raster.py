"""
The raster of an image: how many pixels it has, where each of them lies, and how it is cut into parts.

Sources: https://docs.planet.com/develop/apis/processing/reference/ (bounds, width, height, resx, resy)
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.requests.crs import WGS84, epsg_of
from airflow_provider_sentinelhub.client.requests.findings import Json, is_number, mapping, part

if TYPE_CHECKING:
    from collections.abc import Iterator

Box = tuple[float, float, float, float]

USUAL_PX: Final = 256
# A resolution next to nothing would make infinitely many.
_TOO_MANY: Final = 1e12


@dataclass(frozen=True, slots=True)
class Cell:
    """
    A part of a raster.

    :param row: Its first row, from 0.
    :param column: Its first column, from 0.
    :param width: Pixels.
    :param height: Pixels.
    """

    row: int
    column: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Raster:
    """
    The pixels of an image.

    :param box: West, south, east and north in the CRS.
    :param epsg: EPSG code of the CRS; 4326 for CRS84.
    :param width: Pixels.
    :param height: Pixels.
    """

    box: Box
    epsg: int
    width: int
    height: int

    @classmethod
    def of(cls, bounds: Json, output: Json) -> Raster | None:
        """
        Return the raster of a request; ``None`` if it cannot be told.

        The image is that of the ``bbox`` or, without one, of the bounding box of the ``geometry``. A resolution makes
        the nearest whole number of pixels, which fill the box.

        :param bounds: The area.
        :param output: The size, or the resolution.
        """
        crs = part(bounds, "properties", "crs")
        epsg = WGS84 if crs is None else epsg_of(str(crs))
        box = _box_of(bounds)
        if box is None or epsg is None:
            return None
        width = _pixels(output, "width", "resx", box[2] - box[0])
        height = _pixels(output, "height", "resy", box[3] - box[1])
        return None if width is None or height is None else cls(box, epsg, width, height)

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """The affine coefficients a, b, c, d, e and f: x = a * column + b * row + c, y = d * column + e * row + f."""
        west, south, east, north = self.box
        return ((east - west) / self.width, 0.0, west, 0.0, (south - north) / self.height, north)

    def cells(self, side: int) -> Iterator[Cell]:
        """
        Cut the raster into parts, row by row from the upper left; sizes differ by one pixel at most.

        :param side: Maximum width and height of a part in pixels.
        """
        columns, rows = _cuts(self.width, side), _cuts(self.height, side)
        for top, bottom in itertools.pairwise(rows):
            for left, right in itertools.pairwise(columns):
                yield Cell(top, left, right - left, bottom - top)

    def box_of(self, cell: Cell) -> Box:
        """
        Return the west, south, east and north of a part; neighbours share the same number.

        :param cell: The part.
        """
        west, south, east, north = self.box
        return (
            _between(west, east, cell.column, self.width),
            _between(north, south, cell.row + cell.height, self.height),
            _between(west, east, cell.column + cell.width, self.width),
            _between(north, south, cell.row, self.height),
        )


def _between(start: float, end: float, step: int, steps: int) -> float:
    # The float nearest to the exact number: rounding cannot move one part and not its neighbour.
    first, last = Fraction(start), Fraction(end)
    return float(first + (last - first) * step / steps)


def _cuts(pixels: int, side: int) -> list[int]:
    count = -(-pixels // side)
    return [pixels * number // count for number in range(count + 1)]


def _box_of(bounds: Json) -> Box | None:
    given = part(bounds, "bbox")
    if isinstance(given, (list, tuple)):
        # Anything that is not a box is an error of the model.
        is_box = len(given) == 4 and all(map(is_number, given))  # noqa: PLR2004 - a box has four sides
        west, south, east, north = map(float, given) if is_box else (0.0,) * 4
    else:
        points = list(_points(mapping(bounds, "geometry").get("coordinates")))
        if not points:
            return None
        xs, ys = zip(*points, strict=True)
        west, south, east, north = min(xs), min(ys), max(xs), max(ys)
    is_finite = all(map(math.isfinite, (west, south, east, north)))
    return (west, south, east, north) if is_finite and west < east and south < north else None


def _points(coordinates: object) -> Iterator[tuple[float, float]]:
    if not isinstance(coordinates, (list, tuple)) or not coordinates:
        return
    if is_number(coordinates[0]):
        if len(coordinates) > 1 and is_number(coordinates[1]):
            yield float(coordinates[0]), float(coordinates[1])
        return
    for each in coordinates:
        yield from _points(each)


def _pixels(output: Json, side: str, resolution: str, extent: float) -> int | None:
    step = output.get(resolution)
    if step is None:
        given = output.get(side, USUAL_PX)
        return given if isinstance(given, int) and not isinstance(given, bool) and given > 0 else None
    if not is_number(step) or not step > 0:
        return None
    return max(1, round(min(extent / float(step), _TOO_MANY)))
