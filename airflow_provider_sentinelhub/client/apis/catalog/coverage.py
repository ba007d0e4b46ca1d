"""
How much of an area the scenes of an interval cover together, and which scenes these are. Nothing here does I/O.

Areas are compared on Lambert's cylindrical equal-area projection, whose formula needs no library.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.apis.catalog.acquisitions import acquisition_of
from airflow_provider_sentinelhub.client.apis.catalog.calls import check, read_search
from airflow_provider_sentinelhub.client.apis.catalog.models import sides
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.models import from_text
from airflow_provider_sentinelhub.client.requests.crs import WGS84
from airflow_provider_sentinelhub.client.requests.extent import area_km2

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from airflow_provider_sentinelhub.client.apis.catalog.answers import Item, ItemPage
    from airflow_provider_sentinelhub.client.http.call import Procedure

MOST_ITEMS: Final = 20_000
MOST_POINTS: Final = 500
"""Most points of an area that is stored with a trigger, or sent with each search."""

_FIELDS: Final = {"include": ["properties.platform", "properties.eo:cloud_cover"], "exclude": ["links", "assets"]}
_HALF_TURN = 180.0
# Where footprints meet, the last digits of their coordinates differ.
_TOLERANCE = 1e-6
_FIX = "Give [west, south, east, north] or a GeoJSON polygon, in degrees of WGS 84."
# A footprint of some thousand points is a mistake, and so is an AOI of a million.
_MOST_AOI_POINTS = 2_000_000


@dataclass(frozen=True, slots=True)
class Coverage:
    """
    What was found.

    :param share: Share of the area that is covered, 0 to 1.
    :param is_enough: Whether that is as much as was wanted.
    :param scenes: Number of acquisitions that count: a scene that was processed twice is one.
    :param found: Number of acquisitions, including those with too many clouds.
    :param dates: The days of those that count, in order.
    :param ids: Ids of their latest items, the newest first.
    :param passing: What identifies the scenes with few enough clouds, wherever they are.
    """

    share: float
    is_enough: bool
    scenes: int
    found: int
    dates: tuple[str, ...]
    ids: tuple[str, ...]
    passing: str

    def text(self) -> str:
        """Describe it in one line."""
        days = f", on {len(self.dates)} days" if self.dates else ""
        return f"{100 * self.share:.1f} % covered by {self.scenes:,} of {self.found:,} scenes{days}"


@dataclass(frozen=True, slots=True)
class Condition:
    """
    What scenes are waited for.

    :param collection: Id of the collection.
    :param datetime: The interval, as a search has it.
    :param aoi: The area, as GeoJSON in degrees.
    :param min_coverage: Share of the area that has to be covered, above 0 and up to 1.
    :param max_cloud_cover: Clouds in percent that a scene may have at most; ``None`` for any.
    """

    collection: str
    datetime: str
    aoi: Mapping[str, Any]
    min_coverage: float
    max_cloud_cover: float | None = None

    @classmethod
    def of(
        cls, collection: Any, datetime: Any, aoi: Any, min_coverage: float = 1.0, max_cloud_cover: float | None = None
    ) -> Condition:
        """
        Check what is waited for.

        :param collection: Id of the collection.
        :param datetime: The interval, as text or as a pair.
        :param aoi: A bounding box, GeoJSON, or the text of one of them.
        :param min_coverage: Share of the area. Default: all of it.
        :param max_cloud_cover: In percent. Default: any.
        :raises InvalidParameter: Names what is wrong, its value, the rule and the fix.
        """
        body = check({"collections": [collection], "datetime": datetime, "bbox": [0, 0, 1, 1]})
        area = json.loads(_geojson(aoi_of(aoi)))
        return cls(body["collections"][0], body["datetime"], area, min_coverage, max_cloud_cover)

    @property
    def is_small(self) -> bool:
        """Whether its area has few enough points to be stored with a trigger and sent with a search."""
        import shapely

        return bool(shapely.get_num_coordinates(shapely.from_geojson(json.dumps(self.aoi))) <= MOST_POINTS)

    def boxed(self) -> Condition:
        """Return the condition with the bounding box of its area, which finds the same scenes if it is not small."""
        import shapely

        area = shapely.from_geojson(json.dumps(self.aoi))
        return replace(self, aoi=json.loads(_geojson(shapely.union_all([shapely.box(*each) for each in _boxes(area)]))))

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as JSON."""
        return asdict(self)

    def search(self) -> dict[str, Any]:
        """Return the search for all scenes that may count."""
        aoi = self.aoi if self.is_small else self.boxed().aoi
        return {"collections": [self.collection], "datetime": self.datetime, "fields": _FIELDS, "intersects": aoi}

    def look(self) -> Procedure[list[Item]]:
        """
        Search the scenes; :meth:`judge` says whether they are enough.

        :raises InvalidParameter: There are too many.
        """
        items: list[Item] = []

        def take(page: ItemPage) -> None:
            items.extend(page.items)

        if not (yield from read_search(self.search(), take, MOST_ITEMS)):
            rule = f"there are more than {MOST_ITEMS:,} scenes of {self.collection} in it"
            raise InvalidParameter("datetime", self.datetime, rule, "Wait for a shorter interval, or a smaller area.")
        return items

    def judge(self, items: Sequence[Item]) -> Coverage:
        """
        Say how much of the area scenes cover; of several versions of a scene those of the highest baseline count.

        :param items: The scenes.
        """
        import shapely

        area = shapely.from_geojson(json.dumps(self.aoi))
        latest = _latest(items, self.collection)
        passing, shapes, times = [], [], []
        for versions in latest:
            passed = [each for each in versions if self._passes(each)]
            passing += [str(each["id"]) for each in passed]
            # A tile may be cut into two parts, which are versions of one acquisition as well.
            found = [shape for each in passed if (shape := footprint_of(each.get("geometry"))) is not None]
            if any(shape.intersects(area) for shape in found):
                shapes += found
                times.append((_moment(passed[0]), str(passed[0]["id"])))
        share = covered(area, shapes)
        times.sort()
        dates = tuple(dict.fromkeys(time[:10] for time, _ in times))
        ids = tuple(name for _, name in reversed(times))
        is_enough = share >= self.min_coverage - _TOLERANCE
        return Coverage(share, is_enough, len(times), len(latest), dates, ids, _digest(passing))

    def _passes(self, item: Item) -> bool:
        if self.max_cloud_cover is None:
            return True
        cover = item["properties"].get("eo:cloud_cover")
        return isinstance(cover, (int, float)) and cover <= self.max_cloud_cover


def _moment(item: Item) -> str:
    return str(item["properties"].get("datetime", ""))


def _digest(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:32]


def _latest(items: Sequence[Item], collection: str) -> list[list[Item]]:
    """Return for each acquisition its versions of the highest baseline, the newest first."""
    best: dict[str, list[tuple[int, int, Item]]] = {}
    slots: dict[str, str] = {}
    for item in items:
        acquisition = acquisition_of(item, collection)
        if acquisition is None or not isinstance(item.get("properties"), Mapping):
            continue
        key = next((slots[each] for each in acquisition.keys if each in slots), acquisition.keys[0])
        slots.update(dict.fromkeys(acquisition.keys, key))
        best.setdefault(key, []).append((acquisition.rank, acquisition.baseline, item))
    found = []
    for versions in best.values():
        versions.sort(key=lambda one: one[0], reverse=True)
        found.append([item for _, baseline, item in versions if baseline == versions[0][1]])
    return found


# -------------------------------------------------------------------------------------------------------------- areas


def aoi_of(given: Any) -> BaseGeometry:
    """
    Read an area.

    :param given: A bounding box, whose west is greater than its east where it crosses the 180th meridian; GeoJSON (a
        geometry, a feature or a collection of features); the text of one of these; or a geometry of shapely.
    :raises InvalidParameter: It is none of them, has no area, or is not in degrees.
    """
    import shapely

    from airflow_provider_sentinelhub.client.as_json import as_json

    value = as_json(from_text(given))
    if isinstance(value, list):
        box = check({"collections": ["x"], "ids": ["x"], "bbox": value})["bbox"]
        area = shapely.union_all([shapely.box(*each) for each in sides(box)])
    else:
        shapes = [_shape(each) for each in _geometries(value)]
        _check_width(shapes)
        area = shapely.union_all([shapely.make_valid(each) for each in shapes])
    area = shapely.union_all([each for each in shapely.get_parts(area) if shapely.area(each) > 0])
    if area.is_empty or area.area == 0:
        raise InvalidParameter("aoi", given, "has no area", _FIX)
    if shapely.get_num_coordinates(area) > _MOST_AOI_POINTS:
        raise InvalidParameter("aoi", "...", f"has more than {_MOST_AOI_POINTS:,} points", "Simplify it.")
    west, south, east, north = area.bounds
    if west < -_HALF_TURN or east > _HALF_TURN or south < -_HALF_TURN / 2 or north > _HALF_TURN / 2:
        raise InvalidParameter("aoi", [west, south, east, north], "is not in degrees of WGS 84", _FIX)
    return area


def _check_width(shapes: Sequence[BaseGeometry]) -> None:
    import shapely

    for part in shapely.get_parts(shapes):
        west, _, east, _ = part.bounds if not part.is_empty else (0, 0, 0, 0)
        if east - west > _HALF_TURN:
            rule = "has a part more than 180 degrees wide, as one that crosses the 180th meridian uncut"
            fix = "Cut it there into a MultiPolygon, or give a bbox, whose west may be greater than its east."
            raise InvalidParameter("aoi", [west, east], rule, fix)


def _geometries(value: Any) -> list[Any]:
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind == "FeatureCollection" and isinstance(value.get("features"), list):
        return [each.get("geometry") for each in value["features"] if isinstance(each, Mapping)]
    return [value.get("geometry")] if kind == "Feature" else [value]


def _shape(geometry: Any) -> BaseGeometry:
    import shapely

    try:
        shape = shapely.from_geojson(json.dumps(geometry))
    except (shapely.errors.ShapelyError, TypeError, ValueError) as e:
        raise InvalidParameter("aoi", geometry, "is not GeoJSON", _FIX) from e
    if shape is None or not isinstance(geometry, Mapping):
        raise InvalidParameter("aoi", geometry, "is not GeoJSON", _FIX)
    return shape


def _boxes(area: BaseGeometry) -> list[tuple[float, float, float, float]]:
    """Return the bounding box of an area; two boxes where it lies on both sides of the 180th meridian."""
    import shapely

    halves = [area.intersection(shapely.box(*each)) for each in ((-180, -90, 0, 90), (0, -90, 180, 90))]
    west, _, east, _ = area.bounds
    is_split = west == -_HALF_TURN and east == _HALF_TURN
    return [each.bounds for each in (halves if is_split else [area]) if not each.is_empty]


def footprint_of(geometry: Any) -> BaseGeometry | None:
    """
    Read the footprint of a scene, and repair it.

    A footprint that is more than half a turn wide crosses the 180th meridian, and was not cut there.

    :param geometry: GeoJSON.
    :returns: ``None`` if it has no area.
    """
    import shapely

    if not isinstance(geometry, Mapping):
        return None
    shape = shapely.from_geojson(json.dumps(geometry), on_invalid="ignore")
    if shape is None or shape.is_empty:
        return None
    parts = [shapely.make_valid(each) for part in shapely.get_parts(shape) for each in _cut(part)]
    whole = shapely.union_all(parts)
    return whole if whole.area > 0 else None


def _cut(part: BaseGeometry) -> list[BaseGeometry]:
    import numpy as np
    import shapely

    west, _, east, _ = part.bounds
    if east - west <= _HALF_TURN:
        return [part]
    turned = shapely.make_valid(
        shapely.transform(part, lambda points: np.column_stack([points[:, 0] % (2 * _HALF_TURN), points[:, 1]]))
    )
    east_half = turned.intersection(shapely.box(0, -90, _HALF_TURN, 90))
    west_half = turned.intersection(shapely.box(_HALF_TURN, -90, 2 * _HALF_TURN, 90))
    return [east_half, shapely.transform(west_half, lambda points: points - [2 * _HALF_TURN, 0])]


def covered(area: BaseGeometry, footprints: Sequence[BaseGeometry]) -> float:
    """
    Return the share of an area that footprints cover together, on an equal-area projection.

    :param area: The area, in degrees.
    :param footprints: Valid polygons, in degrees.
    """
    import shapely

    if not footprints:
        return 0.0
    together = shapely.union_all(footprints).intersection(area)
    whole = area_km2([area], WGS84)
    return 0.0 if together.is_empty else min(1.0, area_km2([together], WGS84) / whole)


def _geojson(area: BaseGeometry) -> str:
    import shapely

    return str(shapely.to_geojson(area))
