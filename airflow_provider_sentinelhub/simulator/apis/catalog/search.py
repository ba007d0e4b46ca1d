"""
Searches in the catalog.

The newest items come first. The service's documentation says nothing about their order.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Catalog.html
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import shapely
from shapely.geometry import box

from airflow_provider_sentinelhub.client.requests.extent import area_km2
from airflow_provider_sentinelhub.simulator.apis.catalog.cql2 import Comparison, read_filter
from airflow_provider_sentinelhub.simulator.apis.catalog.problems import invalid
from airflow_provider_sentinelhub.simulator.apis.catalog.published import Published, moment_of
from airflow_provider_sentinelhub.simulator.apis.catalog.stac import Json, distincts, item_of, properties_of, queryables
from airflow_provider_sentinelhub.simulator.features.grids import CENTRAL_EASTING, METRES_PER_DEGREE, WGS84
from airflow_provider_sentinelhub.simulator.scenes.collections import COLLECTIONS, Cut
from airflow_provider_sentinelhub.simulator.scenes.scenes import Scene, TooManyScenes, scenes_of

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    Bounds = tuple[float, float, float, float]

MOST_TO_A_PAGE = 100
USUAL_TO_A_PAGE = 10
DEFAULT_FIELDS = ("id", "type", "geometry", "bbox", "links", "assets", "properties.datetime")
OPEN = ("", "..")
WORLD = (-180.0, -90.0, 180.0, 90.0)
MONTH = dt.timedelta(days=30)
FIRST = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
LEAST_PU, MOST_PU = 0.01, 1.0
_STAMP = re.compile(r"(?<!\d)(\d{4})(\d{2})(\d{2})(?!\d)")
_TILE = re.compile(r"_T(\d{2})([C-X])([A-Z]{2})_")


@dataclass(frozen=True, slots=True)
class Hit:
    """
    An item that was found, made only for the page it is on.

    :param id: Its id.
    :param moment: When it was acquired.
    :param properties: Returns its properties, without those about its raster.
    :param make: Returns the item, without links.
    :param is_synthetic: Whether it is a synthetic scene, which is not there before it was acquired.
    """

    id: str
    moment: dt.datetime
    properties: Callable[[], Json]
    make: Callable[[], Json]
    is_synthetic: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """
    A search, checked.

    :param collection: Id of the collection.
    :param areas: Where: boxes, or one geometry; none for everywhere.
    :param start: Of the period; ``None`` if it is open.
    :param end: Of the period; likewise.
    :param ids: Ids of items; empty for all.
    :param comparisons: What all items have in common.
    :param distinct: The property whose values are returned.
    :param fields: Which fields of items are returned.
    :param limit: How many to a page.
    :param begin: How many come before the page.
    """

    collection: str
    areas: tuple[BaseGeometry, ...]
    start: dt.datetime | None
    end: dt.datetime | None
    ids: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    distinct: str | None
    fields: Mapping[str, Any] | None
    limit: int
    begin: int

    @classmethod
    def read(cls, given: Any, *, is_dated: bool = True) -> Search:
        """
        Check a search.

        :param given: Parsed body.
        :param is_dated: Whether it needs a date and time.
        :raises Problem: 400.
        """
        if not isinstance(given, Mapping):
            raise invalid("Request body must be an object.")
        collections = given.get("collections")
        if not isinstance(collections, list) or len(collections) != 1 or not isinstance(collections[0], str):
            raise invalid("Exactly one collection must be specified.")
        collection, ids = collections[0], given.get("ids") or []
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise invalid("ids must be a list of texts.")
        if is_dated and not ids and given.get("datetime") is None:
            raise invalid("datetime is required.")
        start, end = _period(given.get("datetime"))
        distinct = given.get("distinct")
        if distinct is not None and distinct not in distincts(collection):
            raise invalid(f"Property {distinct} is not supported by distinct.")
        fields = given.get("fields")
        _check_fields(fields)
        comparisons = read_filter(given.get("filter"), given.get("filter-lang"), queryables(collection))
        limit, begin = _number(given, "limit", 1, USUAL_TO_A_PAGE), _number(given, "next", 0, 0)
        limit = min(limit, MOST_TO_A_PAGE)
        areas = _areas(given)
        return cls(collection, areas, start, end, tuple(ids), tuple(comparisons), distinct, fields, limit, begin)

    @property
    def price(self) -> float:
        """Processing units."""
        if self.ids and self.start is None:
            return LEAST_PU
        areas = list(self.areas) or [box(*WORLD)]
        months = (
            (self.end or dt.datetime.now(dt.UTC)) - (self.start or dt.datetime(2014, 1, 1, tzinfo=dt.UTC))
        ) / MONTH
        return min(MOST_PU, max(LEAST_PU, area_km2(areas, WGS84) / 1e6 * months))


def _check_fields(fields: Any) -> None:
    lists = (
        [fields.get(name) or [] for name in ("include", "exclude")] if isinstance(fields, Mapping) else [fields or []]
    )
    is_list = all(isinstance(each, list) and all(isinstance(one, str) for one in each) for each in lists)
    if not is_list or not isinstance(fields, (Mapping, type(None))):
        raise invalid("fields must be an object with lists include and exclude.")


def _number(given: Mapping[str, Any], name: str, least: int, usual: int) -> int:
    value = given.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise invalid(f"{name} must be a whole number of at least {least}.")
    return value


def _period(given: Any) -> tuple[dt.datetime | None, dt.datetime | None]:
    if given is None:
        return None, None
    try:
        start, slash, end = str(given).partition("/")
        sides = [None if each in OPEN else moment_of(each) for each in (start, end if slash else start)]
    except ValueError as error:
        raise invalid(f"datetime is not valid: {error}.") from error
    if sides == [None, None] or (sides[0] and sides[1] and sides[0] > sides[1]):
        raise invalid("datetime is not a valid interval.")
    return sides[0], sides[1]


def _areas(given: Mapping[str, Any]) -> tuple[BaseGeometry, ...]:
    bbox, intersects = given.get("bbox"), given.get("intersects")
    if bbox is not None and intersects is not None:
        raise invalid("Only one of bbox and intersects may be specified.")
    if intersects is not None:
        try:
            shape = shapely.from_geojson(json.dumps(intersects))
        except (ValueError, shapely.errors.ShapelyError) as error:
            raise invalid("intersects is not a valid GeoJSON geometry.") from error
        if shape.is_empty or not isinstance(intersects, Mapping) or intersects.get("type") == "Feature":
            raise invalid("intersects is not a valid GeoJSON geometry.")
        return (shape,)
    if bbox is None:
        return ()
    is_box = isinstance(bbox, list) and len(bbox) in (4, 6) and all(type(each) in (int, float) for each in bbox)
    if not is_box:
        raise invalid("bbox must have four or six numbers.")
    half = len(bbox) // 2
    (west, south), (east, north) = bbox[:2], bbox[half : half + 2]
    if south > north:
        raise invalid("bbox is not valid.")
    if west <= east:
        return (box(west, south, east, north),)
    return box(west, south, 180, north), box(-180, south, east, north)


# ---------------------------------------------------------------------------------------------- what an answer shows


def with_fields(item: Json, fields: Mapping[str, Any] | None) -> Json:
    """
    Return what a search asked for of an item.

    :param item: The item.
    :param fields: What is included and excluded, by path; ``None`` for everything.
    """
    if fields is None:
        return item
    shown: Json = {}
    for path in (*DEFAULT_FIELDS, *(fields.get("include") or ())):
        _copy(item, shown, path.split("."))
    for path in fields.get("exclude") or ():
        _remove(shown, path.split("."))
    return shown


def _copy(source: Json, target: Json, path: list[str]) -> None:
    name, *rest = path
    if name not in source:
        return
    if rest and isinstance(source[name], dict):
        _copy(source[name], target.setdefault(name, {}), rest)
    elif not rest:
        target[name] = dict(source[name]) if isinstance(source[name], dict) else source[name]


def _remove(shown: Json, path: list[str]) -> None:
    name, *rest = path
    if not rest:
        shown.pop(name, None)
    elif isinstance(shown.get(name), dict):
        _remove(shown[name], rest)


def distinct_values(hits: list[Hit], name: str) -> list[Any]:
    """
    Return the distinct values of a property, in order.

    :param hits: What was found.
    :param name: The property; ``date`` for the day of the acquisition.
    """
    if name == "date":
        return sorted({each.moment.date().isoformat() for each in hits})
    return sorted({value for each in hits if (value := each.properties().get(name)) is not None})


# ------------------------------------------------------------------------------------------------------ what is found


class Finder:
    """
    Finds items.

    :param published: Items published by hand, and what is hidden.
    """

    def __init__(self, published: Published) -> None:
        self._published = published

    def find(self, search: Search, now: float) -> list[Hit]:
        """
        Return all items that a search finds, the newest first.

        :param search: The search.
        :param now: Simulated time.
        :raises Problem: 400.
        """
        view = self._published.view
        shown = now - view.delay_seconds
        try:
            hits = self._hits(search, synthetic=view.synthetic)
        except TooManyScenes as error:
            raise invalid(f"The search finds too much: {error}.") from error
        return [
            each
            for each in hits
            if each.id not in view.hidden and (not each.is_synthetic or each.moment.timestamp() <= shown)
        ]

    def _hits(self, search: Search, *, synthetic: bool) -> list[Hit]:
        found = self._by_hand(search)
        if synthetic:
            by_hand = {each.id for each in found}
            found += [each for each in map(_hit, _scenes(search)) if each.id not in by_hand]
        if search.ids:
            wanted = set(search.ids)
            found = [each for each in found if each.id in wanted]
        if search.comparisons:
            found = [each for each in found if _holds(search.comparisons, each.properties())]
        found.sort(key=lambda each: (each.moment, each.id), reverse=True)
        return found

    def _by_hand(self, search: Search) -> list[Hit]:
        entries = self._published.entries(search.collection)
        found = []
        for entry in entries:
            inside = (search.start is None or search.start <= entry.moment) and (
                search.end is None or entry.moment <= search.end
            )
            if inside and (not search.areas or any(entry.shape.intersects(each) for each in search.areas)):
                item = entry.item
                found.append(Hit(item["id"], entry.moment, partial(dict, item["properties"]), partial(dict, item)))
        return found


def _holds(comparisons: tuple[Comparison, ...], properties: Json) -> bool:
    return all(each.holds(properties) for each in comparisons)


def _hit(scene: Scene) -> Hit:
    return Hit(scene.id, scene.sensed, partial(properties_of, scene), partial(item_of, scene), is_synthetic=True)


def _scenes(search: Search) -> list[Scene]:
    if search.collection not in COLLECTIONS:
        return []
    if search.ids and search.start is None:
        return [scene for each in search.ids for scene in _scene_of(search.collection, each)]
    start = search.start or FIRST
    end = search.end or dt.datetime.now(dt.UTC)
    areas = search.areas or (box(*WORLD),)
    found = {
        scene.id: scene
        for area in areas
        for scene in _listed(search.collection, area.bounds, start, end)
        if area.equals(box(*area.bounds)) or scene.footprint.intersects(area)
    }
    return list(found.values())


@lru_cache(maxsize=32)
def _listed(collection: str, bounds: Bounds, start: dt.datetime, end: dt.datetime) -> list[Scene]:
    return scenes_of(collection, bounds, start, end)


def _scene_of(collection: str, item_id: str) -> list[Scene]:
    """Find the scene of an id: it says on which day it was acquired and, for some collections, in which tile."""
    stamp = _STAMP.search(item_id.replace("T", "_"))
    if stamp is None:
        return []
    try:
        start = dt.datetime.strptime("".join(stamp.groups()), "%Y%m%d").replace(tzinfo=dt.UTC) - dt.timedelta(hours=1)
    except ValueError:
        return []
    bounds = WORLD
    if COLLECTIONS[collection].cut is Cut.MGRS:
        tile = _TILE.search(item_id)
        if tile is None:
            return []
        bounds = _around(int(tile[1]), tile[2], tile[3])
    listed = _listed(collection, bounds, start, start + dt.timedelta(hours=26))
    return [each for each in listed if each.id == item_id]


def _around(zone: int, band: str, square: str) -> Bounds:
    """Return a box in which a tile of the MGRS grid certainly lies; the rows of its band are not told apart."""
    south = -80 + 8 * max(0, "CDEFGHJKLMNPQRSTUVWX".find(band))
    degrees = 100_000 / METRES_PER_DEGREE / math.cos(math.radians(min(80, abs(south + 4) + 4)))
    column = ("STUVWXYZ", "ABCDEFGH", "JKLMNPQR")[zone % 3].find(square[0]) + 1
    centre = 6 * zone - 183 + (column + 0.5 - CENTRAL_EASTING / 100_000) * degrees
    west, east = max(-180.0, centre - 1.5 * degrees), min(180.0, centre + 1.5 * degrees)
    return west, south - 1.0, east, min(84.0, south + 13.0)
