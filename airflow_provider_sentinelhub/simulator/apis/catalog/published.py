"""What the catalog shows besides the synthetic scenes: items that were published by hand, and which are hidden."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import shapely

from airflow_provider_sentinelhub.simulator.apis.catalog.problems import invalid
from airflow_provider_sentinelhub.simulator.apis.catalog.stac import STAC, Json, constellation, instruments

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from airflow_provider_sentinelhub.simulator.tasks.service import Service

KIND = "catalog items"
SETTINGS = "catalog"
MOST_ITEMS = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """
    An item that was published by hand.

    :param item: The item, without links.
    :param moment: When it was acquired.
    :param shape: Its geometry.
    """

    item: Json
    moment: dt.datetime
    shape: BaseGeometry


@dataclass(frozen=True, slots=True)
class View:
    """
    What the catalog shows.

    :param delay_seconds: Simulated seconds after the acquisition at which a synthetic scene appears.
    :param synthetic: Whether there are synthetic scenes at all.
    :param hidden: Ids of items that are not shown.
    """

    delay_seconds: float = 0.0
    synthetic: bool = True
    hidden: frozenset[str] = frozenset()


class Published:
    """
    Items that were published by hand, and what is shown of the others. On disk, and in memory once they are asked for.

    :param service: Has the store and the lock.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._entries: dict[str, dict[str, Entry]] | None = None

    @property
    def view(self) -> View:
        """What the catalog shows."""
        stored = self._service.store.setting(SETTINGS) or {}
        return View(
            stored.get("delay_seconds", 0.0), stored.get("synthetic", True), frozenset(stored.get("hidden", ()))
        )

    def set_view(self, view: View) -> None:
        """
        Change what the catalog shows.

        :param view: What it shows now.
        """
        stored = {"delay_seconds": view.delay_seconds, "synthetic": view.synthetic, "hidden": sorted(view.hidden)}
        self._service.store.remember(SETTINGS, stored)

    def entries(self, collection: str) -> list[Entry]:
        """
        Return the items of a collection.

        :param collection: Id of the collection.
        """
        with self._service.lock:
            return list(self._all().get(collection, {}).values())

    def collections(self) -> list[str]:
        """Return the ids of the collections that have items."""
        with self._service.lock:
            return list(self._all())

    def add(self, items: list[Any]) -> int:
        """
        Publish items: they can be found at once. One with the same id in the same collection is replaced.

        :param items: STAC items; id, collection, geometry and ``properties.datetime`` are required.
        :returns: Number of items published so far.
        :raises Problem: 400: an item is not valid, and none was published; or there are too many.
        """
        made = [_entry(each) for each in items]
        with self._service.lock:
            known = self._all()
            if sum(map(len, known.values())) + len(made) > MOST_ITEMS:
                raise invalid(f"There are more than {MOST_ITEMS} items.")
            for entry in made:
                known.setdefault(entry.item["collection"], {})[entry.item["id"]] = entry
            named = {f"{each.item['collection']}/{each.item['id']}": each.item for each in made}
            self._service.store.keep(KIND, named)
            return sum(map(len, known.values()))

    def clear(self) -> None:
        """Forget all items that were published by hand."""
        with self._service.lock:
            self._service.store.forget(KIND)
            self._entries = {}

    def _all(self) -> dict[str, dict[str, Entry]]:
        if self._entries is None:
            self._entries = {}
            for item in self._service.store.kept(KIND).values():
                self._entries.setdefault(item["collection"], {})[item["id"]] = _entry(item)
        return self._entries


def moment_of(given: Any) -> dt.datetime:
    """
    Read a date and time.

    :param given: RFC 3339.
    :raises ValueError: It is not one.
    """
    moment = dt.datetime.fromisoformat(given) if isinstance(given, str) and "T" in given else None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{given!r} is not a date and time with a time zone")
    return moment.astimezone(dt.UTC)


def _entry(given: Any) -> Entry:
    try:
        name, collection, properties = given["id"], given["collection"], given["properties"]
        shape = shapely.from_geojson(json.dumps(given["geometry"]))
        moment = moment_of(properties["datetime"])
    except (KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise invalid(f"An item needs id, collection, geometry and properties.datetime: {error!r}.") from error
    if not isinstance(name, str) or not isinstance(collection, str) or not name or not collection or shape.is_empty:
        raise invalid("An item needs id, collection, geometry and properties.datetime.")
    usual = {"instruments": instruments(collection), "constellation": constellation(collection)}
    item = {
        "stac_version": STAC,
        "stac_extensions": [],
        "type": "Feature",
        "bbox": list(shape.bounds),
        "assets": {},
        **{key: each for key, each in given.items() if key != "links"},
        "properties": {**{key: each for key, each in usual.items() if each}, **properties},
    }
    return Entry(item, moment, shape)
