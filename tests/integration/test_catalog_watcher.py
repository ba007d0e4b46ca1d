"""The watcher on a real Airflow: the example DAGs, and a triggerer that is killed while items are published."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import rasterio

from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.airflow_names import Run
from devtools.airflow_stack import AirflowStack
from devtools.watcher.experiment import Experiment

pytestmark = pytest.mark.integration


def told(day: int, tile: str) -> dict[str, Any]:
    key = f"2026-05-{day:02}{tile}"
    return {
        "acquisition": key, "report": key, "policy": "first", "watcher": "w", "collection": "sentinel-2-l2a",
        "item_id": f"S2_{key}", "platform": "sentinel-2c", "sensed": f"2026-05-{day:02}T10:10:21Z", "orbit": "022",
        "tile": tile, "bbox": [9, 42, 10, 43], "cloud_cover": 3.5, "version": 1,
        # As after a restart: earlier events are asked for.
        "may_repeat_since": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip


def scene() -> dict[str, Any]:
    sensed = datetime.now(UTC) - timedelta(hours=2)
    made = sensed + timedelta(hours=1)
    ring = [[9, 42], [9.5, 42], [9.5, 42.5], [9, 42.5], [9, 42]]
    return {
        "id": f"S2C_MSIL2A_{sensed:%Y%m%dT%H%M%S}_N0511_R022_T32TNM_{made:%Y%m%dT%H%M%S}",
        "collection": "sentinel-2-l2a",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": f"{sensed:%Y-%m-%dT%H:%M:%SZ}", "platform": "sentinel-2c", "eo:cloud_cover": 12.0},
    }


def searches(sim: Simulator) -> int:
    return int(
        sum(count for name, count in sim.requests()["counts"].items() if name.startswith("POST") and "search" in name)
    )


@pytest.mark.parametrize("dag_id", ["new_scenes_by_date", "new_scenes_at_once"])
def test_example_dags_run_a_batch_over_what_an_event_reports(
    airflow: AirflowStack, sim: Simulator, dag_id: str
) -> None:
    folder = str(uuid.uuid4())
    variable = {"key": "new_scenes_url", "value": f"s3://{sim.ready.bucket}/{folder}"}
    airflow.api.call("POST", "/variables", variable)
    airflow.api.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
    try:
        asset = airflow.api.call("GET", "/assets", name_pattern="new_scenes")["assets"][0]
        tile = uuid.uuid4().hex[:5]
        airflow.api.call("POST", "/assets/events", {"asset_id": asset["id"], "extra": {"payload": told(4, tile)}})
        path = f"/dags/{dag_id}/dagRuns"
        runs = airflow.api.until(lambda: airflow.api.call("GET", path)["dag_runs"], bool, 60, f"a run of {dag_id}")
        assert airflow.api.wait_for_run(Run(dag_id, runs[0]["dag_run_id"]), 90) == "success"
    finally:
        airflow.api.call("PATCH", f"/dags/{dag_id}", {"is_paused": True})
        airflow.api.call("DELETE", "/variables/new_scenes_url")
    assert list((sim.bucket_folder / folder).rglob("*.tif"))


def test_a_new_scene_becomes_an_image_of_a_collection(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"pixels": "evalscript", "timing": {"tile_seconds": 10}})
    dag_id, folder = "new_scenes_to_collection", str(uuid.uuid4())
    airflow.api.call("POST", "/variables", {"key": "new_scenes_url", "value": f"s3://{sim.ready.bucket}/{folder}"})
    airflow.api.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
    # Airflow starts and ends the watchers of a DAG when it parses its file.
    airflow.reserialize()
    path = f"/dags/{dag_id}/dagRuns"
    try:
        airflow.api.until(lambda: searches(sim), lambda count: count >= 2, 60, "the first looks")
        before = {run["dag_run_id"] for run in airflow.api.call("GET", path)["dag_runs"]}
        sim.admin("POST", "/catalog/items", {"items": [scene()]})

        def new_runs() -> list[str]:
            return [
                each["dag_run_id"]
                for each in airflow.api.call("GET", path)["dag_runs"]
                if each["dag_run_id"] not in before
            ]

        runs = airflow.api.until(new_runs, bool, 60, "a run")
        run = Run(dag_id, runs[-1])
        assert airflow.api.wait_for_run(run, 120) == "success"
    finally:
        airflow.api.call("PATCH", f"/dags/{dag_id}", {"is_paused": True})
        airflow.reserialize()
        airflow.api.call("DELETE", "/variables/new_scenes_url")
    batch, published, image = (airflow.api.xcom(run.task(name)) for name in ("max_ndvi", "publish", "image"))
    assert (batch["outcome"], batch["delivered"]) == ("DONE", 4)
    assert (published["outcome"], published["ingested"]) == ("DONE", 4)
    assert (image["width"], image["height"]) == (512, 460)
    with rasterio.open(sim.bucket_folder / image["url"].removeprefix(f"s3://{sim.ready.bucket}/")) as read:
        red, green, blue, mask = read.read()
    # The green of the collection's NDVI, where there is data.
    assert mask.mean() > 127
    assert len(set(green[mask > 0].tolist())) > 20
    assert (green[mask > 0] >= blue[mask > 0]).all()
    assert red.shape == (460, 512)


def test_each_acquisition_once_although_the_triggerer_is_killed() -> None:
    outcome = Experiment(count=40, waves=4, kills=1, pauses=0, seed=3, say=print).run()
    assert outcome.is_right, outcome.rows()
    assert outcome.keys == 40
