"""Every DAG of dags_examples/ runs as it stands, on a real Airflow, against the simulated service."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import zarr

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import sample_parcels, sample_request, upload
from devtools.airflow_names import Run
from devtools.airflow_stack import AirflowStack
from devtools.demo_jobs import write_parcels

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def trigger(airflow: AirflowStack, sim: Simulator, dag_id: str, **conf: Any) -> tuple[Run, str]:
    """Start a run that delivers to a folder of its own."""
    folder = f"s3://{sim.ready.bucket}/{uuid.uuid4()}"
    return airflow.api.trigger(dag_id, {"delivery_url": folder, "poll_interval": 0.5, **conf}), folder


def delivered(sim: Simulator, folder: str) -> int:
    return len(list((sim.bucket_folder / folder.rpartition("/")[2]).rglob("*.tif")))


def test_first_batch(airflow: AirflowStack, sim: Simulator) -> None:
    run, folder = trigger(airflow, sim, "first_batch")
    assert airflow.api.wait_for_run(run) == "success"
    assert airflow.api.xcom(run.task("tell")).startswith("4 of 4 tiles delivered for 1")
    assert delivered(sim, folder) == 4


def test_byoc(airflow: AirflowStack, sim: Simulator) -> None:
    run, _ = trigger(airflow, sim, "byoc", collection=f"max-ndvi-{uuid.uuid4()}")
    assert airflow.api.wait_for_run(run) == "success"
    for task in ("ingest", "all_ingested"):
        result = airflow.api.xcom(run.task(task))
        assert (result["outcome"], result["total"], result["ingested"]) == ("DONE", 4, 4)


@pytest.mark.parametrize("dag_id", ["migration_v1_before", "migration_v1_after"])
def test_migration(airflow: AirflowStack, sim: Simulator, dag_id: str) -> None:
    run, folder = trigger(airflow, sim, dag_id)
    assert airflow.api.wait_for_run(run) == "success"
    result = airflow.api.xcom(run.task("max_ndvi"))
    assert (result["outcome"], result["total"], result["delivered"]) == ("DONE", 4, 4)
    assert delivered(sim, folder) == 4


def test_corsica(airflow: AirflowStack, sim: Simulator) -> None:
    run, folder = trigger(airflow, sim, "corsica_max_ndvi")
    assert airflow.api.wait_for_run(run) == "success"
    result = airflow.api.xcom(run.task("max_ndvi"))
    assert (result["outcome"], result["total"], result["delivered"]) == ("DONE", 66, 66)
    assert delivered(sim, folder) == 66


def test_corsica_as_zarr(airflow: AirflowStack, sim: Simulator) -> None:
    run, folder = trigger(airflow, sim, "corsica_max_ndvi_zarr")
    assert airflow.api.wait_for_run(run) == "success"
    result = airflow.api.xcom(run.task("max_ndvi"))
    assert (result["outcome"], result["total"], result["delivered"]) == ("DONE", 6, 6)
    group = zarr.open_group(sim.bucket_folder / folder.rpartition("/")[2] / result["task_id"], mode="r")
    array = group["default"]
    assert isinstance(array, zarr.Array)
    assert (array.shape, array.attrs["long_name"]) == ((1, 3000, 2000), "Maximum NDVI")
    assert airflow.api.xcom(run.task("mean_ndvi")) > -1


def test_corsica_with_v1(airflow: AirflowStack, sim: Simulator) -> None:
    # Nine tiles fail once: the task ends PARTIAL, and the service processes them again.
    tiles = {"indexes": list(range(0, 63, 7)), "outcome": "fatal", "first_attempts": 1}
    sim.set_script({"timing": {"parallel": 66}, "features": [tiles]})
    run, folder = trigger(airflow, sim, "corsica_max_ndvi_v1")
    assert airflow.api.wait_for_run(run) == "success"
    result = airflow.api.xcom(run.task("max_ndvi"))
    assert (result["outcome"], result["total"], result["delivered"], result["restarts"]) == ("DONE", 66, 66, 1)
    assert delivered(sim, folder) == 66
    assert sim.requests()["counts"]["POST /api/v1/batch/process/{id}/restartpartial"] == 1


def test_corsica_as_zarr_with_v1(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"features": [{"indexes": [2], "outcome": "fatal", "first_attempts": 1}]})
    run, folder = trigger(airflow, sim, "corsica_max_ndvi_zarr_v1")
    assert airflow.api.wait_for_run(run) == "success"
    result = airflow.api.xcom(run.task("max_ndvi"))
    assert (result["outcome"], result["total"], result["delivered"], result["restarts"]) == ("DONE", 6, 6, 1)
    group = zarr.open_group(sim.bucket_folder / folder.rpartition("/")[2] / result["task_id"], mode="r")
    array = group["default"]
    assert isinstance(array, zarr.Array)
    assert (array.shape, array.attrs["long_name"]) == ((1, 3000, 2000), "Maximum NDVI")
    assert airflow.api.xcom(run.task("mean_ndvi")) > -1


def test_steps_of_v1(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "indexes": [0], "first_attempts": 1}]})
    run, folder = trigger(airflow, sim, "batch_v1_in_steps")
    assert airflow.api.wait_for_run(run) == "success"
    assert airflow.api.xcom(run.task("wait"))["outcome"] == "PARTIAL"
    restarted, result = (airflow.api.xcom(run.task(name)) for name in ("restart", "report"))
    assert (restarted["outcome"], restarted["restarts"]) == ("DONE", 1)
    assert (result["outcome"], result["delivered"], result["cost_pu"]) == ("DONE", 4, restarted["cost_pu"])
    assert airflow.api.task_instance(run.task("cancel")).state == "skipped"
    assert delivered(sim, folder) == 4


def test_steps(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "indexes": [0]}]})
    run, folder = trigger(airflow, sim, "batch_in_steps")
    assert airflow.api.wait_for_run(run) == "success"
    result = airflow.api.xcom(run.task("report"))
    assert (result["outcome"], result["delivered"], result["failed"]) == ("PARTIAL", 3, 1)
    assert airflow.api.xcom(run.task("table")) == result["report_url"]
    assert (sim.bucket_folder / result["report_url"].removeprefix(f"s3://{sim.ready.bucket}/")).exists()
    assert airflow.api.task_instance(run.task("stop")).state == "skipped"
    assert delivered(sim, folder) == 3


def test_steps_stop_the_batch_when_one_of_them_fails(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"timing": {"feature_seconds": 100_000}})
    run, _ = trigger(airflow, sim, "batch_in_steps")
    airflow.api.wait_for_task(run.task("wait"), {"deferred"})
    airflow.api.set_state(run.task("wait"), "failed")
    assert airflow.api.wait_for_run(run) == "failed"
    assert airflow.api.task_instance(run.task("stop")).state == "success"
    task = sim.task(airflow.api.xcom(run.task("create")))
    deadline = time.monotonic() + 20
    while task["status"] != "STOPPED" and time.monotonic() < deadline:
        time.sleep(0.2)
        task = sim.task(task["id"])
    assert task["status"] == "STOPPED"


@pytest.mark.parametrize("dag_id", ["batch_per_area", "batch_per_area_at_run_time"])
def test_mapped(airflow: AirflowStack, sim: Simulator, dag_id: str) -> None:
    run, folder = trigger(airflow, sim, dag_id)
    assert airflow.api.wait_for_run(run) == "success"
    results = [airflow.api.xcom(run.task("max_ndvi", index)) for index in (0, 1)]
    assert [(result["outcome"], result["delivered"]) for result in results] == [("DONE", 1), ("DONE", 1)]
    assert airflow.api.xcom(run.task("delivered")) == 2
    assert delivered(sim, folder) == 2
    tasks = [sim.call("GET", f"/batch/v2/process/{result['task_id']}").body for result in results]
    assert all(task["request"]["processRequest"]["evalscript"].startswith("//VERSION=3") for task in tasks)


def test_plan(airflow: AirflowStack, sim: Simulator) -> None:
    run, folder = trigger(airflow, sim, "plan_batches")
    assert airflow.api.wait_for_run(run) == "success"
    assert airflow.api.xcom(run.task("delivered")) == 4
    places = {path.relative_to(sim.bucket_folder).parts[1:3] for path in sim.bucket_folder.rglob("*.tif")}
    assert {("golo", "2019-04"), ("golo", "2019-05"), ("tavignano", "2019-04"), ("tavignano", "2019-05")} <= places
    assert delivered(sim, folder) == 4


@pytest.mark.parametrize(("most_pu", "status"), [(10_000, "DONE"), (1, "ANALYSIS_DONE")])
def test_if_affordable(airflow: AirflowStack, sim: Simulator, most_pu: float, status: str) -> None:
    run, _ = trigger(airflow, sim, "batch_if_affordable", most_pu=most_pu)
    assert airflow.api.wait_for_run(run) == "success"
    found = airflow.api.xcom(run.task("estimate"))
    assert found["features"] == 4
    task = sim.call("GET", f"/batch/v2/process/{found['task_id']}").body
    assert task["status"] == status
    assert airflow.api.task_instance(run.task("wait")).state == ("success" if status == "DONE" else "skipped")


def test_watched(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"features": [{"outcome": "fatal", "indexes": [2]}]})
    task = sim.call("POST", "/batch/v2/process", sample_request(sim.ready, str(uuid.uuid4()))).body
    sim.call("POST", f"/batch/v2/process/{task['id']}/start")
    run, _ = trigger(airflow, sim, "batch_watched", batch_task_id=task["id"], on_partial="warn")
    assert airflow.api.wait_for_run(run) == "success"
    assert airflow.api.xcom(run.task("wait"))["task_id"] == task["id"]
    assert len(airflow.api.xcom(run.task("missing"))) == 1


def test_recurring_with_reruns(airflow: AirflowStack, sim: Simulator) -> None:
    # The first fails in the first task, the second in the first two tasks, the third always.
    reruns = [{"task": r"~\d+$"}, {"task": r"~\d+(\^1:\S+)?$"}, {}]
    names = ["32TNM_0_1", "32TNM_0_2", "32TNM_1_1"]
    sim.set_script(
        {"features": [{"outcome": "fatal", "names": [name], **when} for name, when in zip(names, reruns, strict=True)]}
    )
    run, folder = trigger(airflow, sim, "monthly_ndvi")
    assert airflow.api.wait_for_run(run) == "success"
    result = airflow.api.xcom(run.task("ndvi"))
    assert (result["total"], result["delivered"], result["failed"]) == (4, 3, 1)
    assert delivered(sim, folder) == 3
    assert airflow.api.xcom(run.task("look_into", 0)).startswith(result["failed_names"][0])

    sim.set_script({})
    again, _ = trigger(airflow, sim, "try_again", batch_task_id=result["task_id"])
    assert airflow.api.wait_for_run(again) == "success"
    assert airflow.api.xcom(again.task("again"))["delivered"] == 4
    assert delivered(sim, folder) == 4


def test_parcel_statistics(airflow: AirflowStack, sim: Simulator, tmp_path: Path) -> None:
    # Seven parcels fail in the first task, in each of the ways there are; one always does.
    once = {"first_tasks": 1}
    sim.set_script(
        {
            "timing": {"parallel": 60},
            "features": [
                {"outcome": "fatal", "names": ["parcel-001"]},
                {"outcome": "fatal", "names": ["parcel-002", "parcel-003"], **once},
                {"outcome": "failed", "names": ["parcel-004", "parcel-005"], **once},
                {"outcome": "missing_file", "names": ["parcel-006"], **once},
            ],
            "intervals": [{"names": ["parcel-007", "parcel-008"], "dates": ["2025-05-14", "2025-07-02"], **once}],
        }
    )
    source = write_parcels(tmp_path / "parcels.gpkg").as_uri()
    run, folder = trigger(airflow, sim, "parcel_statistics", parcels=source)
    assert airflow.api.wait_for_run(run) == "success"
    result = airflow.api.xcom(run.task("weekly_ndvi"))
    assert (result["total"], result["delivered"], result["failed_names"]) == (300, 299, ["parcel-001"])
    assert [each["total"] for each in result["tasks"]] == [300, 8, 1]
    path = sim.bucket_folder / result["statistics_url"].removeprefix(f"s3://{sim.ready.bucket}/")
    rows = pq.read_table(path, columns=["feature_id", "interval_from", "error"]).to_pylist()
    assert len(rows) == len({(row["feature_id"], row["interval_from"]) for row in rows}) == 299 * 26 + 1
    assert [row["feature_id"] for row in rows if row["error"]] == [1]
    assert airflow.api.xcom(run.task("greenest_week"))["parcels"] > 200
    assert airflow.api.xcom(run.task("for_maps"))["rows"] == 299 * 26 + 1
    assert folder in airflow.api.xcom(run.task("for_maps"))["url"]


def test_field_statistics(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"intervals": [{"dates": ["2025-05-14"], "outcome": "TIMEOUT", "first_tasks": 1}]})
    run, folder = trigger(airflow, sim, "field_statistics")
    assert airflow.api.wait_for_run(run) == "success"
    result = airflow.api.xcom(run.task("weekly_ndvi"))
    assert (result["outcome"], result["intervals_failed"]) == ("DONE", 0)
    assert result["statistics_url"].startswith(folder)
    assert airflow.api.xcom(run.task("greenest"))["weeks"] > 10


def test_async_image(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"pixels": "quick"})
    run, folder = trigger(airflow, sim, "async_image")
    assert airflow.api.wait_for_run(run) == "success"
    assert airflow.api.xcom(run.task("tell")).startswith(folder)
    assert delivered(sim, folder) == 1
    assert len(sim.async_requests()) == 1


def test_images(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script({"pixels": "quick"})
    run, folder = trigger(airflow, sim, "images", resolution=11)
    assert airflow.api.wait_for_run(run) == "success"
    image, large = (airflow.api.xcom(run.task(name)) for name in ("image", "large"))
    assert (image["url"], image["width"], image["height"]) == (f"{folder}/2025-06-14.png", 512, 512)
    assert (large["width"], large["height"], large["epsg"]) == (2727, 2727, 32632)
    assert airflow.api.xcom(run.task("cost")) == pytest.approx(4 * (256 / 512) ** 2 * 2 / 3, abs=1e-3)
    assert delivered(sim, folder) == 5


def parcels_in_the_bucket(sim: Simulator, *names: str) -> str:
    """Put parcels into the bucket; return where."""
    return upload(sim.ready, f"{uuid.uuid4()}/parcels.gpkg", sample_parcels(names))


def test_statistics_in_steps(airflow: AirflowStack, sim: Simulator) -> None:
    sim.set_script(
        {"features": [{"outcome": "fatal", "names": ["b"]}], "intervals": [{"names": ["c"], "intervals": [2]}]}
    )
    run, _ = trigger(airflow, sim, "statistics_in_steps", features_url=parcels_in_the_bucket(sim, "a", "b", "c"))
    assert airflow.api.wait_for_run(run) == "success"
    result = airflow.api.xcom(run.task("report"))
    assert (result["outcome"], result["total"], result["failed_names"]) == ("PARTIAL", 3, ["b", "c"])
    assert airflow.api.task_instance(run.task("stop")).state == "skipped"

    sim.set_script({})
    again, _ = trigger(airflow, sim, "statistics_again", batch_task_id=result["task_id"])
    assert airflow.api.wait_for_run(again) == "success"
    mended = airflow.api.xcom(again.task("again"))
    assert (mended["outcome"], mended["statistics_url"]) == ("DONE", result["statistics_url"])
    assert (mended["intervals_with_data"] + mended["intervals_without_data"], mended["intervals_failed"]) == (18, 0)


def test_statistics_that_would_cost_too_much_are_never_started(airflow: AirflowStack, sim: Simulator) -> None:
    run, _ = trigger(airflow, sim, "statistics_in_steps", features_url=parcels_in_the_bucket(sim, "a"), most_pu=1)
    assert airflow.api.wait_for_run(run) == "success"
    found = airflow.api.xcom(run.task("estimate"))
    assert sim.call("GET", f"/statistics/batch/v1/{found['task_id']}").body["status"] == "ANALYSIS_DONE"
    assert airflow.api.task_instance(run.task("wait")).state == "skipped"


def test_catalog(airflow: AirflowStack, sim: Simulator) -> None:
    run, folder = trigger(airflow, sim, "scenes_then_batch")
    assert airflow.api.wait_for_run(run) == "success"
    found = airflow.api.xcom(run.task("clear_scenes"))
    assert found["coverage"] >= 0.95
    table = pq.read_table(sim.bucket_folder / folder.rpartition("/")[2] / "scenes.parquet")
    assert table.num_rows == airflow.api.xcom(run.task("scenes"))["count"]
    assert sum(airflow.api.xcom(run.task("platforms")).values()) >= table.num_rows
    assert delivered(sim, folder) == 4
