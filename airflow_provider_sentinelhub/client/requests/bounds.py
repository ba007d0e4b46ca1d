"""
The area of interest of a request, and boxes whose sides are in the wrong order.

Source: https://docs.planet.com/develop/apis/processing/ (input.bounds)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import field_validator

from airflow_provider_sentinelhub.client.models import JsonObject, Numbers, RequestModel, Text, broken

if TYPE_CHECKING:
    from collections.abc import Sequence

_CRS = re.compile(r"^(https?://www\.opengis\.net/def/crs/(EPSG/0/\d{4,5}|OGC/1\.3/CRS84)|urn:ogc:def:crs:.+)$")
_MIN_RING = 4
_DEGREES: Final = 360.0
ORDER: Final = "west, south, east, north"


class BoundsProperties(RequestModel):
    """
    The coordinate reference system.

    :param crs: URI of the CRS. Default: CRS84.
    """

    crs: str | None = None

    @field_validator("crs")
    @classmethod
    def _known_form(cls, crs: str | None) -> str | None:
        if crs is not None and not _CRS.match(crs):
            broken(
                "must be the address of a CRS",
                "Write http://www.opengis.net/def/crs/OGC/1.3/CRS84 or http://www.opengis.net/def/crs/EPSG/0/32633.",
            )
        return crs


class Bounds(RequestModel):
    """
    The area of interest (AOI).

    :param bbox: West, south, east, north in the CRS of ``properties``.
    :param geometry: GeoJSON Polygon or MultiPolygon in the CRS of ``properties``; wins over ``bbox``.
    :param properties: The CRS.
    """

    bbox: Numbers | None = None
    geometry: JsonObject | None = None
    properties: Annotated[BoundsProperties, Text] | None = None

    @field_validator("bbox")
    @classmethod
    def _box(cls, bbox: list[float] | None) -> list[float] | None:
        if bbox is None:
            return None
        if len(bbox) != 4:  # noqa: PLR2004 - a box has four sides
            broken("must have four numbers", "Write [west, south, east, north].")
        west, south, east, north = bbox
        if west >= east or south >= north:
            broken("west must be less than east, and south less than north", inside_out(bbox))
        return bbox

    @field_validator("geometry")
    @classmethod
    def _polygon(cls, geometry: dict[str, Any] | None) -> dict[str, Any] | None:
        if geometry is None:
            return None
        kind, coordinates = geometry.get("type"), geometry.get("coordinates")
        # A tuple: the type may be anything, also a list.
        if kind not in ("Polygon", "MultiPolygon") or not isinstance(coordinates, (list, tuple)) or not coordinates:
            broken("must be a GeoJSON Polygon or MultiPolygon with coordinates", "Convert or merge other geometries.")
        for number, polygon in enumerate(coordinates if kind == "MultiPolygon" else [coordinates]):
            for ring in polygon if isinstance(polygon, (list, tuple)) else [polygon]:
                _check_ring(ring, number)
        return geometry


def _check_ring(ring: Any, polygon: int) -> None:
    if not isinstance(ring, (list, tuple)) or len(ring) < _MIN_RING:
        broken(
            f"a ring of polygon {polygon} has fewer than four points",
            "Give at least four; the last one repeats the first.",
        )
    if ring[0] != ring[-1]:
        broken(
            f"a ring of polygon {polygon} is open: it starts at {ring[0]} and ends at {ring[-1]}",
            "Repeat its first point at the end.",
        )


def reordered(box: Sequence[float]) -> list[float] | None:
    """
    Return the box if its numbers are read as west, east, south, north, an order many programs use; ``None`` if invalid.

    :param box: Four numbers.
    """
    west, east, south, north = box
    return [west, south, east, north] if west < east and south < north else None


def inside_out(box: Sequence[float]) -> str:
    """
    Say how to correct a box whose west is not less than its east, or whose south is not less than its north.

    :param box: Four numbers.
    """
    west, south, east, north = box
    turned: Sequence[float] = [min(west, east), min(south, north), max(west, east), max(south, north)]
    # A box of more than half of the world was meant to cross the 180th meridian, which is not possible.
    turned = turned if turned[2] - turned[0] <= 180 or max(box) > _DEGREES else box  # noqa: PLR2004 - degrees
    meant = [each for each in (reordered(box), turned) if each and each[0] < each[2] and each[1] < each[3]]
    likely = min(meant, key=size, default=None)
    return f"Write [{ORDER}]{'' if likely is None else f', probably {likely}'}."


def spans(box: Sequence[float]) -> tuple[float, float]:
    """
    Return how far a box reaches from west to east, and from south to north.

    :param box: West, south, east and north.
    """
    west, south, east, north = box
    return east - west, north - south


def size(box: Sequence[float]) -> float:
    """
    Return the area of a box, in units of its coordinates.

    :param box: West, south, east and north.
    """
    across, up = spans(box)
    return across * up
