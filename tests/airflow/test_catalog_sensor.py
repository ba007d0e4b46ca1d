"""The wait for scenes, blocking and deferred, as Airflow runs it, against the simulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import shapely

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.sensors.catalog import SentinelHubCatalogSensor
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.triggers.catalog_sensor import SentinelHubCatalogSensorTrigger
from tests.airflow.airflow_harness import Comms, RunTask

S2 = "sentinel-2-l2a"
JUNE = "2026-06-01T00:00:00Z/2026-07-01T00:00:00Z"
AOI = [13.0, 45.0, 14.0, 46.0]


@pytest.fixture
def catalog(sim: Simulator) -> Iterator[Simulator]:
    """A catalog in which there is only what a test publishes."""
    sim.admin("PUT", "/catalog", {"synthetic": False})
    yield sim
    sim.admin("DELETE", "/catalog/items")
    sim.admin("PUT", "/catalog", {"synthetic": True})


def publish(sim: Simulator, name: str, west: float, east: float, clouds: float = 0.0) -> None:
    geometry = json.loads(shapely.to_geojson(shapely.box(west, 45, east, 46)))
    properties = {"datetime": "2026-06-05T10:00:00Z", "platform": "sentinel-2b", "eo:cloud_cover": clouds}
    item = {"id": name, "collection": S2, "geometry": geometry, "properties": properties}
    sim.admin("POST", "/catalog/items", [item])


def sensor(**parameters: Any) -> SentinelHubCatalogSensor:
    given: dict[str, Any] = {"collection": S2, "datetime": JUNE, "aoi": AOI, "poke_interval": 0.02, "timeout": 60}
    return SentinelHubCatalogSensor(task_id="scenes", **(given | parameters))


async def event_of(trigger: Any) -> dict[str, Any]:
    async for event in trigger.run():
        payload: dict[str, Any] = event.payload
        return payload
    raise AssertionError("no event")


def test_synthetic_scenes_are_found(sim: Simulator, run_task: RunTask, comms: Comms) -> None:
    run = run_task(sensor(min_coverage=0.8, max_cloud_cover=60))
    assert run.state == "success", run.error
    result = comms.xcoms["return_value"]
    assert 0.8 <= result["coverage"] <= 1
    assert 0 < result["scenes"] < result["found"]
    assert result["ids"]
    assert result["dates"] == sorted(result["dates"])
    assert len(json.dumps(result)) < 4000


def test_the_blocking_sensor_waits_for_what_is_missing(catalog: Simulator, run_task: RunTask) -> None:
    publish(catalog, "a", 13, 13.6)
    assert run_task(sensor(timeout=0.1)).state in {"failed", "up_for_retry"}
    assert run_task(sensor(timeout=0.1, soft_fail=True)).state == "skipped"
    publish(catalog, "b", 13.5, 14, clouds=80)
    assert run_task(sensor(timeout=0.1, max_cloud_cover=50)).state in {"failed", "up_for_retry"}
    assert run_task(sensor()).state == "success"


@pytest.mark.asyncio
async def test_the_deferred_sensor_goes_on_when_the_scenes_are_there(
    catalog: Simulator, run_task: RunTask, comms: Comms
) -> None:
    publish(catalog, "a", 13, 13.6)
    run = run_task(sensor(deferrable=True))
    assert run.state == "deferred"
    path, kwargs = run.trigger.serialize()
    assert path.endswith("catalog_sensor.SentinelHubCatalogSensorTrigger")
    assert SentinelHubCatalogSensorTrigger(**json.loads(json.dumps(kwargs))).serialize() == (path, kwargs)
    assert catalog.ready.client_secret not in json.dumps(kwargs)
    publish(catalog, "b", 13.5, 14)
    event = await event_of(run.trigger)
    assert event["kind"] == "ready"
    done = run_task(sensor(deferrable=True), next_method="execute_complete", next_kwargs={"event": event})
    assert done.state == "success"
    result = comms.xcoms["return_value"]
    assert (result["scenes"], result["dates"], result["ids"]) == (2, ["2026-06-05"], ["b", "a"])


@pytest.mark.asyncio
async def test_a_deadline_ends_the_wait(catalog: Simulator, run_task: RunTask) -> None:
    run = run_task(sensor(deferrable=True, timeout=0.1))
    event = await event_of(run.trigger)
    assert event["kind"] == "late"
    resumed: dict[str, Any] = {"next_method": "execute_complete", "next_kwargs": {"event": event}}
    late = run_task(sensor(deferrable=True, timeout=0.1), **resumed)
    assert (late.state, type(late.error).__name__) == ("failed", "AirflowSensorTimeout")
    assert run_task(sensor(deferrable=True, timeout=0.1, soft_fail=True), **resumed).state == "skipped"
    # What came at the last moment counts.
    publish(catalog, "a", 12, 15)
    assert run_task(sensor(deferrable=True), **resumed).state == "success"


@pytest.mark.asyncio
async def test_an_outage_does_not_end_the_wait(catalog: Simulator, run_task: RunTask) -> None:
    run = run_task(sensor(deferrable=True))
    publish(catalog, "a", 12, 15)
    rule = {"method": "POST", "path": "/catalog/v1/search", "count": 3}
    catalog.set_script({"endpoints": [rule | {"action": "answer", "status": 404}]})
    assert (await event_of(run.trigger))["kind"] == "ready"
    assert sum(each["status"] == 404 for each in catalog.requests()["requests"]) == 3


@pytest.mark.asyncio
async def test_refusals_for_too_long_resume_the_sensor_which_fails(catalog: Simulator, run_task: RunTask) -> None:
    run = run_task(sensor(deferrable=True))
    catalog.set_script({"endpoints": [{"path": "/catalog/v1/search", "action": "answer", "status": 403}]})
    run.trigger.serialize()
    _, kwargs = run.trigger.serialize()
    event = await event_of(SentinelHubCatalogSensorTrigger(**(kwargs | {"lost_after": 0.0})))
    assert event["kind"] == "lost"
    failed = run_task(sensor(deferrable=True, retries=3), next_method="execute_complete", next_kwargs={"event": event})
    assert (failed.state, type(failed.error).__name__) == ("failed", "AirflowFailException")


@pytest.mark.parametrize("event", [None, "nonsense", {"kind": "new kind"}, {"kind": "ready", "deadline": "soon"}])
def test_an_event_that_is_not_known_only_means_to_look(catalog: Simulator, run_task: RunTask, event: Any) -> None:
    resumed: dict[str, Any] = {"next_method": "execute_complete", "next_kwargs": {"event": event}}
    assert run_task(sensor(deferrable=True), **resumed).state == "deferred"
    publish(catalog, "a", 12, 15)
    assert run_task(sensor(deferrable=True), **resumed).state == "success"


def test_an_area_is_read_from_a_file(catalog: Simulator, run_task: RunTask, tmp_path: Path) -> None:
    path = tmp_path / "aoi.geojson"
    feature = {"type": "Feature", "properties": {}, "geometry": json.loads(shapely.to_geojson(shapely.box(*AOI)))}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    publish(catalog, "a", 13, 13.5)
    aoi = f"file://{path}"
    assert run_task(sensor(aoi=aoi, min_coverage=0.5)).state == "success"
    assert run_task(sensor(aoi=aoi, min_coverage=0.51, deferrable=True)).state == "deferred"


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"aoi": [1300000, 45, 1400000, 46]}, "bbox"),
        ({"aoi": "nowhere"}, "aoi"),
        ({"datetime": "2026-06-01"}, "datetime"),
        ({"collection": ""}, "collections"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sent(
    sim: Simulator, run_task: RunTask, parameters: dict[str, Any], field: str
) -> None:
    run = run_task(sensor(**parameters, retries=3))
    assert (run.state, type(run.error).__name__) == ("failed", "AirflowFailException")
    assert field in str(run.error)
    assert sim.requests()["total"] == 0


def test_parameters_are_checked_when_the_dag_is_parsed() -> None:
    wrong: dict[str, Any]
    for wrong in ({"min_coverage": 80}, {"min_coverage": 0}, {"max_cloud_cover": 101}, {"aoi": 5}, {"datetime": []}):
        with pytest.raises(InvalidParameter):
            sensor(**wrong)
    assert sensor(timeout=timedelta(hours=1)).timeout == 3600
