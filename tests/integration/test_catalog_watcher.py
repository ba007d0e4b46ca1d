"""The watcher on a real Airflow: the example DAGs, and a triggerer that is killed while items are published."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

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


def test_each_acquisition_once_although_the_triggerer_is_killed() -> None:
    outcome = Experiment(count=40, waves=4, kills=1, pauses=0, seed=3, say=print).run()
    assert outcome.is_right, outcome.rows()
    assert outcome.keys == 40
