"""An asset event for each new acquisition over an area."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_sentinelhub.client.as_json import as_json
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence

    from airflow.triggers.shared_stream import SharedStreamProducer

    from airflow_provider_sentinelhub.client.apis.catalog.answers import ItemPage
    from airflow_provider_sentinelhub.client.apis.catalog.watching import Window
    from airflow_provider_sentinelhub.triggers.catalog_watch import Report, Search, Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_POLICIES: Final = ("first", "latest", "every")
_DAY = 86_400.0
_SIDES = 4
# Half of what Airflow keeps for a trigger that is slow to take it.
_MOST_AT_ONCE = 500
_FIELDS: Final = {"include": ["id", "bbox", "collection", "properties"], "exclude": ["geometry", "links", "assets"]}
# A look that takes longer has met a network that lets nothing through.
_LOOK_S = 3600.0


class SentinelHubCatalogTrigger(BaseEventTrigger):
    """
    Fire an asset event for each new acquisition over an area. For an ``AssetWatcher``; needs Airflow 3.3.2 or newer.

    ::

        scenes = Asset(
            "scenes_corsica",
            watchers=[
                AssetWatcher(
                    name="scenes_corsica",
                    trigger=SentinelHubCatalogTrigger(
                        name="scenes_corsica", collection="sentinel-2-l2a", bbox=[8.5, 41.3, 9.6, 43.1]
                    ),
                )
            ],
        )

    An acquisition is one look of one satellite at one place: its platform, time, orbit and tile, whatever the id of the
    item. :func:`~airflow_provider_sentinelhub.assets.new_acquisitions` reads the events in the DAG that they start.

    .. seealso:: ``docs/howto/catalog_watcher.md``

    :param name: Name of this watcher, unique in this Airflow: letters, digits, ``_``, ``-`` and ``.``, at most 100.
        What it has reported is remembered under this name, the collection, the area and the policy. If one of them is
        changed, it starts afresh.
    :param collection: Id of the collection, e.g. ``sentinel-2-l2a`` or ``byoc-<id>``.
    :param bbox: The area: west, south, east and north in degrees.
    :param intersects: The area as a GeoJSON geometry in degrees, or anything with ``__geo_interface__``. Give one of
        the two.
    :param policy: ``first``: one event for each acquisition. ``latest``: a further event when a newer version of it
        appears. The newer one has the higher processing baseline or, if that is the same, was made later. If the item
        says neither, as with Sentinel-1, the newer one is the one that appears later. ``every``: an event for each
        item.
    :param start: Report what was acquired from this time on, including what is in the catalog already: a datetime or
        ISO 8601. Default: report only what appears from now on.
    :param look_back: How many days each look reaches back, as a timedelta or in seconds. Items that are published later
        than this after their acquisition are found by a wide look. Default: 10 days.
    :param wide_look_back: How far back a wide look reaches, likewise. Items that are published even later are not
        found. Default: 60 days.
    :param wide_interval: Time between two wide looks, likewise. Default: one day.
    :param poll_interval: Seconds between two looks. Each look is one request for every 100 items, of at least 0.01 PU.
        Default: 600.
    :param max_cloud_cover: Only items with at most this many percent of clouds.
    :param filter: Only items that this CQL2 filter selects, as text or as JSON.
    :param batch_size: How many events are handed over at once; the next follow when Airflow has stored these.
        Default: 100.
    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :raises InvalidParameter: A value is not valid; names the parameter, the value, the rule and the fix.
    """

    def __init__(
        self,
        *,
        name: str,
        collection: str,
        bbox: Sequence[float] | None = None,
        intersects: Any = None,
        policy: str = "first",
        start: datetime | str | None = None,
        look_back: timedelta | float = 10 * _DAY,
        wide_look_back: timedelta | float = 60 * _DAY,
        wide_interval: timedelta | float = _DAY,
        poll_interval: timedelta | float = 600.0,
        max_cloud_cover: float | None = None,
        filter: str | Mapping[str, Any] | None = None,  # noqa: A002 - as the service calls it
        batch_size: int = 100,
        sentinelhub_conn_id: str = "sentinelhub_default",
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own is untyped
        self.name = _matching("name", name, _NAME, "scenes_corsica")
        self.collection = _matching("collection", collection, _NAME, "sentinel-2-l2a")
        if (bbox is None) == (intersects is None):
            rule = "is not one area" if bbox is None else "is given together with intersects"
            raise InvalidParameter("bbox", bbox, rule, "Give either bbox or intersects.")
        self.bbox = None if bbox is None else _box(bbox)
        # As text, which every Airflow stores and compares the same way, whatever the order of the fields in it.
        self.intersects = None if intersects is None else _canonical("intersects", intersects)
        self.policy = str(policy)
        if self.policy not in _POLICIES:
            raise InvalidParameter("policy", policy, "is not a policy", f"Give one of {', '.join(_POLICIES)}.")
        self.start = None if start is None else _moment("start", start).isoformat()
        self.look_back = _seconds("look_back", look_back)
        self.wide_look_back = _seconds("wide_look_back", wide_look_back, least=self.look_back)
        self.wide_interval = _seconds("wide_interval", wide_interval)
        self.poll_interval = _seconds("poll_interval", poll_interval, least=1.0)
        self.max_cloud_cover = None if max_cloud_cover is None else _percent("max_cloud_cover", max_cloud_cover)
        self.filter = filter if filter is None or isinstance(filter, str) else _canonical("filter", filter)
        if type(batch_size) is not int or not 1 <= batch_size <= _MOST_AT_ONCE:
            raise InvalidParameter(
                "batch_size", batch_size, f"is not a number from 1 to {_MOST_AT_ONCE}", "Give e.g. 100."
            )
        self.batch_size = batch_size
        self.sentinelhub_conn_id = sentinelhub_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments: all that identifies the watcher, in one order, and no secret."""
        names = (
            "batch_size",
            "bbox",
            "collection",
            "filter",
            "intersects",
            "look_back",
            "max_cloud_cover",
            "name",
            "policy",
            "poll_interval",
            "sentinelhub_conn_id",
            "start",
            "wide_interval",
            "wide_look_back",
        )
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    def shared_stream_key(self) -> Hashable | None:
        """Return a key of this trigger alone: it uses a shared stream to be told which of its events are stored."""
        return ("sentinelhub-catalog", self.name, self.trigger_id)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """
        Return what looks for acquisitions.

        :param kwargs: The arguments of the trigger.
        """
        from airflow_provider_sentinelhub.triggers.catalog_watch import CatalogWatch

        trigger = cls(**kwargs)
        return CatalogWatch(trigger._settings(), trigger._search(), trigger.log)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """
        Yield an event for each acquisition.

        :param shared_stream: What the producer yields.
        """
        from airflow_provider_sentinelhub.triggers.catalog_watch import CatalogWatch

        async for given in shared_stream:
            if isinstance(given, CatalogWatch):
                given.attach(self.asset_state_store)
            else:
                yield TriggerEvent(payload_of(given, self.name, self.policy))  # type: ignore[no-untyped-call]  # Airflow's own is untyped

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """
        Refuse: without a shared stream nobody tells which events are stored.

        :raises RuntimeError: Always.
        """
        raise RuntimeError("SentinelHubCatalogTrigger is for an AssetWatcher, and needs Airflow 3.3.2 or newer")
        yield

    def _settings(self) -> Settings:
        from airflow_provider_sentinelhub.client.apis.catalog.watching import LookBack, Policy
        from airflow_provider_sentinelhub.triggers.catalog_watch import Settings

        back = LookBack(
            timedelta(seconds=self.look_back),
            timedelta(seconds=self.wide_look_back),
            timedelta(seconds=self.wide_interval),
        )
        return Settings(
            self.name,
            self._state_key(),
            Policy(self.policy),
            None if self.start is None else datetime.fromisoformat(self.start),
            back,
            self.poll_interval,
            self.batch_size,
        )

    def _state_key(self) -> str:
        from hashlib import blake2b

        # An asset may have several watchers, and they share its store.
        what = json.dumps([self.name, self.collection, self.bbox, self.intersects, self.policy])
        return f"sentinelhub.{self.name}.{blake2b(what.encode(), digest_size=6).hexdigest()}"

    def _search(self) -> Search:
        import asyncio

        from airflow_provider_sentinelhub.client.errors import AuthenticationError
        from airflow_provider_sentinelhub.hooks.sentinel_hub import forget_shared_sender, shared_async_sender

        async def search(window: Window, take: Callable[[Sequence[Any]], object]) -> None:
            # The first import is slow enough to block other triggers.
            read_search = await asyncio.to_thread(_read_search)

            def page(found: ItemPage) -> None:
                take(found.items)

            async with asyncio.timeout(_LOOK_S), shared_async_sender(self.sentinelhub_conn_id) as sender:
                try:
                    await sender.run(read_search(self.request(window.start, window.end), page, None))
                except AuthenticationError:
                    # A user may be changing the secret in the connection.
                    forget_shared_sender(self.sentinelhub_conn_id)
                    raise

        return search

    def request(self, start: datetime, end: datetime) -> dict[str, Any]:
        """
        Return the search for what was acquired in an interval.

        :param start: Its start.
        :param end: Its end.
        """
        area = {"bbox": self.bbox} if self.bbox is not None else {"intersects": json.loads(self.intersects or "null")}
        found = {
            "collections": [self.collection],
            "datetime": f"{_second(start)}/{_second(end)}",
            **area,
            "fields": {
                "include": ["id", "bbox", "collection", "properties"],
                "exclude": ["geometry", "links", "assets"],
            },
        }
        clouds = self.max_cloud_cover
        if self.filter is not None and self.filter.lstrip().startswith("{"):
            chosen = json.loads(self.filter)
            if clouds is not None:
                limit = {"op": "<=", "args": [{"property": "eo:cloud_cover"}, clouds]}
                chosen = {"op": "and", "args": [chosen, limit]}
            return {**found, "filter": chosen, "filter-lang": "cql2-json"}
        texts = [self.filter] if self.filter else []
        if clouds is not None:
            texts.append(f"eo:cloud_cover <= {clouds:g}")
        return {**found, "filter": " and ".join(texts)} if texts else found


def payload_of(report: Report, watcher: str, policy: str) -> dict[str, Any]:
    """
    Return what an asset event says about an acquisition; about 500 bytes.

    :param report: The acquisition.
    :param watcher: Name of the watcher.
    :param policy: Its policy.
    """
    found, since = report.acquisition, report.repeats_since
    version = found.rank or found.item_key
    return {
        "acquisition": report.key,
        "watcher": watcher,
        "collection": found.collection,
        "item_id": one_line(found.item_id),
        "platform": found.platform,
        "sensed": _second(found.sensed),
        "orbit": found.orbit,
        "tile": found.tile,
        "bbox": None if found.bbox is None else [round(each, 6) for each in found.bbox],
        "cloud_cover": found.cloud_cover,
        "version": version,
        "policy": policy,
        "report": {"every": found.item_key, "latest": f"{report.key}:{version}"}.get(policy, report.key),
        "may_repeat_since": None if since is None else since.isoformat(),
    }


def _read_search() -> Any:
    from airflow_provider_sentinelhub.client.apis.catalog.calls import read_search

    return read_search


def _second(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _matching(field: str, value: Any, rule: re.Pattern[str], example: str) -> str:
    if not isinstance(value, str) or not rule.fullmatch(value):
        fix = f"Use letters, digits, _, - and ., at most 100, e.g. {example}."
        raise InvalidParameter(field, value, "is not a name", fix)
    return value


def _box(value: Any) -> list[float]:
    found = _json(value)
    is_box = isinstance(found, list) and len(found) == _SIDES
    if not is_box or any(isinstance(each, bool) or not isinstance(each, (int, float)) for each in found):
        raise InvalidParameter("bbox", value, "is not four numbers", "Give west, south, east and north in degrees.")
    west, south, east, north = map(float, found)
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):  # noqa: PLR2004 - degrees
        fix = "Give west, south, east and north in degrees; split what crosses the 180th meridian."
        raise InvalidParameter("bbox", value, "is no box on the globe", fix)
    return [west, south, east, north]


def _percent(field: str, value: Any) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 100:  # noqa: PLR2004 - percent
        raise InvalidParameter(field, value, "is not a percentage", "Give 0 to 100.")
    return float(value)


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return as_json(value)
    try:
        return json.loads(value)
    except ValueError:
        return None


def _canonical(field: str, value: Any) -> str:
    found = _json(value)
    if not isinstance(found, dict):
        raise InvalidParameter(field, value, "is not a JSON object", "Give a dict, or the JSON text of one.")
    return json.dumps(found, sort_keys=True, separators=(",", ":"))


def _moment(field: str, value: Any) -> datetime:
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidParameter(field, value, "is not a time", "Give a datetime, or 2026-01-01T00:00:00Z.") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _seconds(field: str, value: Any, least: float = 0.0) -> float:
    found = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not max(least, 1e-9) <= found < 1e10:  # noqa: PLR2004 - centuries
        fix = f"Give a timedelta or seconds, at least {least:g}." if least else "Give a timedelta or seconds above 0."
        raise InvalidParameter(field, value, "is no time of that kind", fix)
    return float(found)
