"""What the simulated service charges for delivery to another region or cloud."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from airflow_provider_sentinelhub.simulator.process import Simulator
from tests.simulator.conftest import BATCHES, STATISTICS, to_the_end

Json = dict[str, Any]
Request = Callable[..., Json]
KEY = {"client_email": "sentinelhub@my-project.iam.gserviceaccount.com", "private_key": "-"}
TILE = 334**2 * 2 * 2


def credentials(key: Any) -> str:
    return base64.b64encode(json.dumps(key).encode()).decode()


def on_google(sim: Simulator, request: Json) -> Json:
    url = f"gs://{sim.ready.bucket}/{request['description']}"
    return {**request["output"], "delivery": {"gs": {"url": url, "credentials": credentials(KEY)}}}


@pytest.mark.parametrize(("where", "pu_per_mb"), [("region", 0.03), ("google", 0.1), ("own region", 0)])
def test_images(sim: Simulator, request_for: Request, where: str, pu_per_mb: float) -> None:
    request = request_for()
    if where == "google":
        request["output"] = on_google(sim, request)
    else:
        region = "us-west-2" if where == "region" else sim.ready.region
        request["output"]["delivery"]["s3"]["region"] = region
    task = to_the_end(sim, BATCHES, request)
    assert task["status"] == "DONE"
    folder = sim.bucket_folder / request["description"] / task["id"]
    delivered = sum(file.stat().st_size for file in folder.rglob("*.tif"))
    # The surcharge comes on top of the minimum of a task.
    assert task["costPU"] == pytest.approx(100 + pu_per_mb * delivered / 1e6)
    deployment = DEPLOYMENTS["aws-eu-central-1"]
    estimate = TASK_APIS["batch-v2"].estimate(task["request"], [(334, 334, 4)], deployment)
    assert estimate.pu == pytest.approx(100 + pu_per_mb * 4 * TILE / 1e6)
    assert estimate.low_pu <= task["costPU"] <= (estimate.high_pu or 0)
    assert sim.bucket_folder.joinpath(f"{request['description']}/{task['id']}/execution-{task['id']}.sqlite").exists()


def test_statistics(sim: Simulator, statistics_for: Request) -> None:
    request = statistics_for()
    request["output"]["s3"]["region"] = "us-west-2"
    task = to_the_end(sim, STATISTICS, request)
    folder = sim.bucket_folder / request["output"]["s3"]["url"].rpartition("/")[2] / task["id"]
    delivered = sum(file.stat().st_size for file in folder.glob("*.json"))
    assert task["costPU"] == pytest.approx(100 + 0.03 * delivered / 1e6)
    deployment = DEPLOYMENTS["aws-eu-central-1"]
    estimate = TASK_APIS["batch-statistical"].estimate(task["request"], [(20, 20, 4)], deployment)
    assert task["costPU"] <= estimate.pu <= (estimate.high_pu or 0)


@pytest.mark.parametrize(
    ("change", "parameter", "says"),
    [
        ({"credentials": ...}, "output->delivery->gs->credentials", "credentials must be set"),
        ({"url": ..., "credentials": ...}, "output->delivery->gs->url", "must not be null"),
        ({"credentials": "no Base64"}, "output->delivery->gs", "not the Base64"),
        ({"credentials": credentials(["list"])}, "output->delivery->gs", "not the JSON key"),
        ({"url": "s3://bucket/folder"}, "output->delivery->gs->url", "must look like gs://bucket/path"),
        ({"url": "gs://bucket/<outputId>"}, "output->delivery->gs->url", "must contain <tileName>"),
    ],
)
def test_google_cloud_storage_is_checked_like_s3(
    sim: Simulator, request_for: Request, change: Json, parameter: str, says: str
) -> None:
    request = request_for()
    request["output"] = on_google(sim, request)
    request["output"]["delivery"]["gs"] |= change
    request["output"]["delivery"]["gs"] = {
        name: value for name, value in request["output"]["delivery"]["gs"].items() if value is not ...
    }
    answer = sim.call("POST", BATCHES, request)
    assert answer.status == 400, answer.body
    assert any(each["parameter"] == parameter and says in each["violation"] for each in answer.body["error"]["errors"])


def test_a_service_account_key_is_not_shown(sim: Simulator, request_for: Request) -> None:
    request = request_for()
    request["output"] = on_google(sim, request)
    created = sim.call("POST", BATCHES, request)
    assert created.body["request"]["output"]["delivery"]["gs"]["credentials"] == "*****"
