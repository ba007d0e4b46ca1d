"""The trigger as Airflow stores and runs it, with the simulated service; and what a DAG reads of its events."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from shapely.geometry import box

from airflow_provider_sentinelhub.assets import NewAcquisitions, new_acquisitions
from airflow_provider_sentinelhub.client.apis.catalog.calls import check
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.triggers import SentinelHubCatalogTrigger
from devtools.watcher.publishing import plan
from tests.airflow.airflow_harness import Comms

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BBOX = [8.0, 41.0, 10.0, 43.0]


def trigger(**changes: Any) -> SentinelHubCatalogTrigger:
    return SentinelHubCatalogTrigger(**{"name": "w", "collection": "sentinel-2-l2a", "bbox": BBOX, **changes})


# ------------------------------------------------------------------------------------------------- how it is stored


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bbox": None, "intersects": box(*BBOX)},
        {"bbox": None, "intersects": {"type": "Point", "coordinates": [9, 42]}, "max_cloud_cover": 20},
        {"start": datetime(2026, 1, 1), "look_back": timedelta(days=3), "filter": {"op": "=", "args": [1, 2]}},  # noqa: DTZ001 - taken as UTC
        {"policy": "latest", "filter": "eo:cloud_cover < 5", "poll_interval": timedelta(minutes=5)},
    ],
)
def test_a_stored_trigger_is_the_same_and_has_the_same_row(changes: dict[str, Any]) -> None:
    from airflow.models.trigger import Trigger
    from airflow.serialization.decoders import smart_decode_trigger_kwargs
    from airflow.serialization.encoders import encode_trigger
    from airflow.triggers.base import BaseEventTrigger

    first = trigger(**changes)
    path, kwargs = first.serialize()
    parsed = encode_trigger(first)
    # As add_asset_trigger_references compares what it has parsed with what is stored.
    stored = Trigger._decrypt_kwargs(json.dumps(parsed["kwargs"]))
    assert BaseEventTrigger.hash(path, stored) == BaseEventTrigger.hash(path, parsed["kwargs"])
    read_back: Any = smart_decode_trigger_kwargs
    again = SentinelHubCatalogTrigger(**{key: read_back(value) for key, value in stored.items()})
    assert again.serialize() == (path, kwargs)
    assert json.loads(json.dumps(kwargs)) == kwargs
    assert list(kwargs) == sorted(kwargs)


def test_the_order_of_the_fields_of_a_geometry_does_not_matter() -> None:
    geometry = {"type": "Point", "coordinates": [9, 42]}
    turned = dict(reversed(geometry.items()))
    assert trigger(bbox=None, intersects=geometry).serialize() == trigger(bbox=None, intersects=turned).serialize()


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"poll_interval": 60}, True),
        ({"look_back": 86_400}, True),
        ({"max_cloud_cover": 5}, True),
        ({"sentinelhub_conn_id": "other"}, True),
        ({"name": "other"}, False),
        ({"collection": "sentinel-2-l1c"}, False),
        ({"bbox": [8.0, 41.0, 10.0, 42.0]}, False),
        ({"policy": "every"}, False),
    ],
)
def test_what_a_watcher_remembers_belongs_to_its_name_collection_area_and_policy(
    changes: dict[str, Any], *, kept: bool
) -> None:
    assert (trigger(**changes)._state_key() == trigger()._state_key()) is kept
    assert trigger(**changes).serialize() != trigger().serialize()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "a b"}, "name"),
        ({"name": None}, "name"),
        ({"collection": "../x"}, "collection"),
        ({"bbox": None}, "bbox"),
        ({"intersects": {"type": "Point"}}, "bbox"),
        ({"bbox": [10, 41, 8, 43]}, "bbox"),
        ({"bbox": [1, 2, 3, True]}, "bbox"),
        ({"bbox": "[1, 2, 3"}, "bbox"),
        ({"bbox": None, "intersects": "POINT (1 2)"}, "intersects"),
        ({"policy": "last"}, "policy"),
        ({"start": "yesterday"}, "start"),
        ({"look_back": 0}, "look_back"),
        ({"look_back": float("nan")}, "look_back"),
        ({"wide_look_back": timedelta(days=1)}, "wide_look_back"),
        ({"poll_interval": 0.1}, "poll_interval"),
        ({"max_cloud_cover": 101}, "max_cloud_cover"),
        ({"max_cloud_cover": "low"}, "max_cloud_cover"),
        ({"filter": 7}, "filter"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_a_wrong_argument_is_named_when_the_dag_is_parsed(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        trigger(**changes)
    assert caught.value.field == named


@pytest.mark.parametrize(
    "changes",
    [
        {"max_cloud_cover": 20},
        {"max_cloud_cover": 20, "filter": "gsd = 10"},
        {"max_cloud_cover": 20, "filter": {"op": "=", "args": [{"property": "gsd"}, 10]}},
        {"bbox": None, "intersects": box(*BBOX)},
    ],
)
def test_its_search_is_one_that_the_service_takes(changes: dict[str, Any]) -> None:
    body = check(trigger(**changes).request(NOW - timedelta(days=10), NOW))
    assert body["datetime"] == "2026-05-22T00:00:00Z/2026-06-01T00:00:00Z"
    if "max_cloud_cover" in changes:
        assert "eo:cloud_cover" in str(body["filter"])


# ------------------------------------------------------------------------------------------------- how it is run


class Store(dict[str, Any]):
    """Airflow's asset state store."""

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))

    async def adelete(self, key: str) -> None:
        self.pop(key, None)


async def events_of(watcher: SentinelHubCatalogTrigger, store: Any, count: int, seconds: float) -> list[dict[str, Any]]:
    """Run a trigger as the triggerer does, and store each of its events, until there are enough or time is up."""
    from airflow.triggers.shared_stream import SharedStreamManager

    manager = SharedStreamManager()
    _, kwargs = watcher.serialize()
    running = type(watcher)(**kwargs)
    running.trigger_id = 1
    running.asset_state_store = store
    key = running.shared_stream_key()
    stream = running.filter_shared_stream(manager.subscribe(trigger_id=1, trigger=running, key=key))
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(seconds):
            while len(found) < count:
                event = await anext(stream)
                seq = manager.bind_pending_event(trigger_id=1, key=key)
                found.append(event.payload)
                assert seq is not None
                manager.confirm_persisted([seq])
    except TimeoutError:
        pass
    await asyncio.sleep(0.05)
    await manager.stop_all()
    return found


async def test_it_reports_each_acquisition_once_over_restarts(sim: Simulator, comms: Comms) -> None:
    sim.admin("PUT", "/catalog", {"synthetic": False})
    sim.admin("DELETE", "/catalog/items")
    now = datetime.now(UTC)
    planned = plan(12, 2, 1, now)
    store = Store()
    watcher = trigger(start=now - timedelta(days=12), look_back=timedelta(days=12), poll_interval=1, batch_size=4)
    sim.admin("POST", "/catalog/items", {"items": planned.waves[0]})
    first = await events_of(watcher, store, 4, 20)
    sim.admin("POST", "/catalog/items", {"items": planned.waves[1]})
    second = await events_of(watcher, store, 8, 20)
    keys = [each["acquisition"] for each in first + second]
    # The last one of the first life was not remembered any more, and comes again: it says that it may be a repeat.
    assert (len(keys), len(set(keys))) == (12, 11)
    assert {each["may_repeat_since"] is None for each in second} == {False}
    head = next(value for key, value in store.items() if key.endswith(".head"))
    assert head["last_look"] is None
    sim.admin("DELETE", "/catalog/items")
    sim.admin("PUT", "/catalog", {"synthetic": True})


async def test_assets_that_share_a_trigger_are_told_so(
    sim: Simulator, comms: Comms, capfd: pytest.CaptureFixture[str]
) -> None:
    from airflow.sdk import Asset
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors

    shared = AssetStateStoreAccessors(inlets=[Asset("one"), Asset("two")])
    assert await events_of(trigger(), shared, 1, 0.5) == []
    assert "Several assets share the watcher 'w'" in capfd.readouterr().out


# --------------------------------------------------------------------------------------------- what a DAG reads of it


def event(payload: dict[str, Any] | None, second: int = 0) -> Any:
    extra = {} if payload is None else {"from_trigger": True, "payload": payload}
    return SimpleNamespace(extra=extra, timestamp=NOW + timedelta(seconds=second))


def told(key: str, sensed: str = "2026-05-04T10:10:21Z", **more: Any) -> dict[str, Any]:
    return {
        "acquisition": key, "report": key, "policy": "first", "watcher": "w", "collection": "c", "item_id": f"i-{key}",
        "platform": "sentinel-2c", "sensed": sensed, "orbit": "022", "tile": f"t-{key}", "bbox": [9, 42, 10, 43],
        "cloud_cover": None, "version": 1, "may_repeat_since": None, **more,
    }  # fmt: skip


def read(*events: Any, other: Any = ()) -> NewAcquisitions:
    from airflow.sdk import Asset, AssetAlias

    assets = {Asset("scenes"): list(events), Asset("other"): list(other), AssetAlias("alias"): list(events)}
    return new_acquisitions({"triggering_asset_events": assets})


def test_all_events_of_a_run_are_read_in_order_and_each_acquisition_once() -> None:
    found = read(
        event(told("b", "2026-05-06T10:00:00Z")),
        event(told("a", bbox=[8, 41, 9, 42])),
        event(told("b", "2026-05-06T10:00:00Z")),
        event(None),
        other=[event(told("c", "2026-05-04T11:00:00Z"))],
    )
    assert [each.acquisition for each in found] == ["a", "c", "b"]
    assert (found.dates, found.tiles) == (["2026-05-04", "2026-05-06"], ["t-a", "t-b", "t-c"])
    assert (found.item_ids, found.bbox, found.repeated) == (["i-a", "i-c", "i-b"], [8, 41, 10, 43], 1)
    assert found.time_range == {"from": "2026-05-04T00:00:00Z", "to": "2026-05-06T23:59:59Z"}
    assert [day.item_ids for day in found.by_date()] == [["i-a", "i-c"], ["i-b"]]
    assert found[0].date == "2026-05-04"


def test_a_run_without_events_has_no_time_range() -> None:
    found = read()
    assert (len(found), found.bbox, found.by_date()) == (0, None, [])
    with pytest.raises(ValueError, match="no new acquisitions"):
        _ = found.time_range


def test_a_newer_version_takes_the_place_of_an_older_one_unless_each_item_is_wanted() -> None:
    def versions(policy: str) -> list[Any]:
        return [
            event(told("a", item_id=f"i{number}", report=f"a:{number}", policy=policy, version=number), number)
            for number in (1, 2)
        ]

    assert read(*versions("latest")).item_ids == ["i2"]
    assert read(*versions("every")).item_ids == ["i1", "i2"]


def test_repeats_of_earlier_runs_are_left_out_only_where_they_are_possible(
    comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.execution_time.context import InletEventsAccessor

    asked: list[Any] = []

    def events(self: Any) -> list[Any]:
        asked.append((self._after, self._before, self._limit))
        return [event(told("a"), -100), event(told("b"), 5)]

    monkeypatch.setattr(InletEventsAccessor, "_asset_events", property(events))
    assert [each.acquisition for each in read(event(told("a")))] == ["a"]
    assert not asked
    since = (NOW - timedelta(minutes=5)).isoformat()
    found = read(event(told("a", may_repeat_since=since)), event(told("b", may_repeat_since=since), 5))
    assert ([each.acquisition for each in found], found.repeated) == (["b"], 1)
    assert asked == [(since, (NOW + timedelta(seconds=5)).isoformat(), 10_000)]


def test_it_is_a_macro() -> None:
    from airflow.sdk import DAG, Asset

    with DAG("macro", schedule=None, user_defined_macros={"new_acquisitions": new_acquisitions}) as dag:
        template = dag.get_template_env().from_string("{{ new_acquisitions().time_range['from'] }}")
    context = {"triggering_asset_events": {Asset("scenes"): [event(told("a"))]}}
    assert template.render(**context, new_acquisitions=new_acquisitions) == "2026-05-04T00:00:00Z"
