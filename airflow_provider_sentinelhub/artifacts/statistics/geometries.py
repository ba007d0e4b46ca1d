"""The geometries of which statistics are asked, one request each: what a request says of them, and their pixels."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.as_json import own_number
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.preflight.area import Area
from airflow_provider_sentinelhub.client.requests.crs import WGS84
from airflow_provider_sentinelhub.client.requests.findings import is_number, part
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.features.features import Batch

BOUNDS = ("input", "bounds")
_DEFAULT_PX = 256
_CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
_SIDES = 4


@dataclass(frozen=True, slots=True)
class Place:
    """
    A geometry of which statistics are asked.

    :param feature_id: Its number, from 1, in the order in which the geometries were given.
    :param name: Its name; ``None`` where it has none.
    :param bounds: The geometry, as a request says it.
    """

    feature_id: int
    name: str | None
    bounds: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What to call it in a message."""
        return one_line(self.name or self.feature_id)

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return a request for this geometry.

        :param body: A request.
        """
        given = part(body, "input")
        return {**body, "input": {**(given if isinstance(given, Mapping) else {}), "bounds": dict(self.bounds)}}


def places_of(batches: Iterable[Batch]) -> list[Place]:
    """
    Return geometries, numbered in the order in which they come.

    :param batches: The geometries.
    :raises InvalidParameter: There is none, or one is missing.
    """
    import shapely

    places: list[Place] = []
    for batch in batches:
        crs = {"crs": _CRS84 if batch.epsg == WGS84 else f"{_EPSG}{batch.epsg}"}
        names = batch.identifiers if batch.identifiers is not None else [None] * len(batch.geometries)
        for geometry, name in zip(batch.geometries, names, strict=True):
            number, label = len(places) + 1, None if name is None else str(name)
            if geometry is None or geometry.is_empty:
                raise InvalidParameter("geometries", label or number, "has no geometry", "Give one, or leave it out.")
            outline = json.loads(shapely.to_geojson(shapely.force_2d(geometry)))
            places.append(Place(number, label, {"geometry": outline, "properties": crs}))
    if not places:
        raise InvalidParameter("geometries", 0, "there are no geometries", "Check the source.")
    return places


def boxes_as_polygons(geometries: Any) -> Any:
    """
    Turn boxes (lists of west, south, east and north) into polygons; leave everything else unchanged.

    :param geometries: One, a list, or a dict of them by name.
    """
    if (box := _box(geometries)) is not None:
        return _polygon(box)
    if isinstance(geometries, Mapping):
        return {name: _or_polygon(each) for name, each in geometries.items()}
    if isinstance(geometries, Sequence) and not isinstance(geometries, (str, bytes)):
        return [_or_polygon(each) for each in geometries]
    return geometries


def digest_of(places: Sequence[Place]) -> str:
    """
    Return a hash of geometries, their names and their order: other geometries are another run.

    :param places: The geometries.
    """
    digest = hashlib.sha256()
    for place in places:
        digest.update(json.dumps([place.name, place.bounds], sort_keys=True).encode())
    return digest.hexdigest()


def pixel_counts(body: Mapping[str, Any], places: Iterable[Place]) -> list[tuple[int, int, int]]:
    """
    Count geometries by their size in pixels.

    :param body: The request, which has the resolution or the size.
    :param places: The geometries; what cannot be measured is left out.
    """
    found: Counter[tuple[int, int]] = Counter()
    for place in places:
        shapes = Area.of(place.request(body), *BOUNDS).shapes
        shape = shapes.get("geometry", shapes.get("bbox"))
        if shape is not None:
            west, south, east, north = shape.bounds
            found[_pixels(body, "resx", "width", east - west), _pixels(body, "resy", "height", north - south)] += 1
    return [(width, height, count) for (width, height), count in found.items()]


def _pixels(body: Mapping[str, Any], resolution: str, side: str, extent: float) -> int:
    size, pixels = (part(body, "aggregation", name) for name in (resolution, side))
    if is_number(size) and size > 0:
        return max(1, math.ceil(extent / float(size)))
    return int(pixels) if isinstance(pixels, int) else _DEFAULT_PX


def _or_polygon(value: Any) -> Any:
    box = _box(value)
    return value if box is None else _polygon(box)


def _box(value: Any) -> list[float] | None:
    """Return the sides of a box; ``None`` if it is not a box. ``total_bounds`` of a GeoDataFrame is an array."""
    is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if getattr(value, "shape", None) != (_SIDES,) and not (is_list and len(value) == _SIDES):
        return None
    sides = [own_number(each) for each in value]
    return sides if all(is_number(each) for each in sides) else None


def _polygon(box: Sequence[float]) -> Any:
    import shapely

    west, south, east, north = box
    if west >= east or south >= north:
        rule = "is not a valid box: west must be less than east, and south less than north"
        raise InvalidParameter("geometries", list(box), rule, "Write [west, south, east, north].")
    return shapely.box(west, south, east, north)
