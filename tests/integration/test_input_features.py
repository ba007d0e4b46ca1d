"""The example of a batch over features of one's own runs as it stands, on a real Airflow."""

from __future__ import annotations

import uuid

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.airflow_stack import AirflowStack

pytestmark = pytest.mark.integration


def test_fields(airflow: AirflowStack, sim: Simulator) -> None:
    folder = f"s3://{sim.ready.bucket}/{uuid.uuid4()}"
    conf = {"input_url": f"{folder}/fields.gpkg", "delivery_url": f"{folder}/out", "poll_interval": 0.5}
    run = airflow.api.trigger("fields_max_ndvi", conf)
    assert airflow.api.wait_for_run(run) == "success"
    made = airflow.api.xcom(run.task("fields"))
    assert made == {"url": conf["input_url"], "urls": [conf["input_url"]], "features": 3, "layers": [4326]}
    result = airflow.api.xcom(run.task("max_ndvi"))
    assert (result["outcome"], result["delivered"]) == ("DONE", 3)
    delivered = (sim.bucket_folder / folder.rpartition("/")[2] / "out").rglob("*.tif")
    assert {path.parent.name for path in delivered} == {"orchard", "vineyard", "two plots"}
