"""What our client sends, and what the simulator answers, against the service's document: each API in one session."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_sentinelhub.client.apis.batch_statistical import calls as batch_statistical
from airflow_provider_sentinelhub.client.apis.batch_v2 import calls as batch_v2
from airflow_provider_sentinelhub.client.apis.statistical import calls as statistical
from airflow_provider_sentinelhub.client.http.deployments import PathLayout, Service
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import (
    EVALSCRIPT,
    sample_parcels,
    sample_request,
    sample_statistical,
    sample_statistics,
    upload,
)
from devtools.operations import APIS
from tests.contract.exchanges import Contract, document, legacy


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract(document())


@pytest.fixture(scope="module")
def sim(contract: Contract) -> Iterator[Simulator]:
    with Simulator.start(speed=600) as simulator:
        yield simulator


def until(sim: Simulator, path: str, *statuses: str) -> None:
    deadline = time.monotonic() + 60
    while (status := sim.call("GET", path).body["status"]) not in statuses:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)


@pytest.mark.parametrize("layout", PathLayout)
def test_batch_v2(contract: Contract, sim: Simulator, layout: PathLayout) -> None:
    def send(call: Any) -> Any:
        return contract.send(sim, call, layout)

    body = batch_v2.check(sample_request(sim.ready, f"exchanges-{layout}"))
    task = send(batch_v2.TASKS.create(body))
    assert send(batch_v2.update(task.id, "x"))["description"] == "x"
    send(batch_v2.TASKS.analyse(task.id))
    until(sim, f"/batch/v2/process/{task.id}", "ANALYSIS_DONE")
    send(batch_v2.TASKS.start(task.id))
    until(sim, f"/batch/v2/process/{task.id}", "DONE")
    assert send(batch_v2.TASKS.get(task.id)).status == "DONE"
    assert send(batch_v2.TASKS.page()).data[0].id == task.id
    other = send(batch_v2.TASKS.create(body)).id
    send(batch_v2.TASKS.analyse(other))
    until(sim, f"/batch/v2/process/{other}", "ANALYSIS_DONE")
    send(batch_v2.TASKS.stop(other))
    assert len(send(batch_v2.grids(3)).data) == 3
    assert send(batch_v2.grid(6)).id == 6
    tasks = f"{Service.BATCH_V2.prefix(layout)}/process"
    assert contract.refused(sim, "POST", tasks, {}) == 400
    assert contract.refused(sim, "GET", f"{tasks}/{'0' * 8}") == 404


@pytest.mark.parametrize("layout", PathLayout)
def test_batch_statistical(contract: Contract, sim: Simulator, layout: PathLayout) -> None:
    def send(call: Any) -> Any:
        return contract.send(sim, call, layout)

    folder = f"exchanges-statistics-{layout}"
    upload(sim.ready, f"{folder}/parcels.gpkg", sample_parcels([f"{folder}-{number}" for number in range(2)]))
    body = batch_statistical.check(sample_statistics(sim.ready, folder))
    task = send(batch_statistical.TASKS.create(body))
    send(batch_statistical.TASKS.analyse(task.id))
    until(sim, f"/statistics/batch/v1/{task.id}", "ANALYSIS_DONE")
    send(batch_statistical.TASKS.start(task.id))
    until(sim, f"/statistics/batch/v1/{task.id}", "DONE")
    assert send(batch_statistical.TASKS.get(task.id)).status == send(batch_statistical.status(task.id)).status == "DONE"
    assert send(batch_statistical.TASKS.page()).data[0].id == task.id
    other = send(batch_statistical.TASKS.create(body)).id
    send(batch_statistical.TASKS.analyse(other))
    until(sim, f"/statistics/batch/v1/{other}", "ANALYSIS_DONE")
    send(batch_statistical.TASKS.stop(other))


@pytest.mark.parametrize("layout", PathLayout)
def test_statistical(contract: Contract, sim: Simulator, layout: PathLayout) -> None:
    answer = contract.send(sim, statistical.statistics(statistical.check(sample_statistical())), layout)
    assert answer.data
    assert contract.refused(sim, "POST", Service.STATISTICAL.prefix(layout), {}) == 400


def calls_of(title: str) -> Any:
    """The Calls of an API; the test is skipped where this version does not have it."""
    (api,) = (each for each in APIS if each.title == title)
    if not api.is_here:
        pytest.skip(f"client/apis/{api.folder} has not arrived")
    return importlib.import_module(f"airflow_provider_sentinelhub.client.apis.{api.folder}.calls")


@pytest.mark.parametrize("layout", PathLayout)
def test_catalog(contract: Contract, sim: Simulator, layout: PathLayout) -> None:
    calls = calls_of("Catalog")
    collection, period = "sentinel-2-l2a", "2024-07-01T00:00:00Z/2024-07-31T00:00:00Z"
    wanted = {"collections": [collection], "bbox": [9, 42, 9.1, 42.1], "datetime": period, "limit": 3}
    filtered = {"filter": "eo:cloud_cover <= 80"}
    for call in (
        calls.landing_page(),
        calls.conformance(),
        calls.collections(),
        calls.collection(collection),
        calls.queryables(collection),
        calls.items(collection, bbox=wanted["bbox"], datetime=period, limit=2),
        calls.simple_search({**wanted, **filtered}),
        calls.search({**wanted, **filtered, "filter-lang": "cql2-text"}),
    ):
        contract.send(sim, call, layout)
    # The answer to this is values instead of features, which the document does not describe.
    distinct = calls.search({**wanted, "distinct": "date", "fields": {"include": ["id"]}})
    contract.check_request(distinct.method, Service.CATALOG.prefix(layout) + distinct.path, dict(distinct.body))
    found = sim.call("POST", f"{Service.CATALOG.prefix(layout)}/search", {**wanted, **filtered}).body["features"]
    assert len(found) == 3
    contract.send(sim, calls.item(collection, found[0]["id"]), layout)


IMAGE: dict[str, Any] = {
    "input": {
        "bounds": {"bbox": [9, 42, 9.1, 42.1]},
        "data": [
            {
                "type": "sentinel-2-l2a",
                "dataFilter": {
                    "timeRange": {"from": "2024-07-01T00:00:00Z", "to": "2024-07-31T00:00:00Z"},
                    "mosaickingOrder": "leastCC",
                },
            }
        ],
    },
    "output": {
        "width": 16,
        "height": 16,
        "responses": [{"identifier": "default", "format": {"type": "image/png"}}],
    },
    "evalscript": EVALSCRIPT.replace("bands: 2", "bands: 1").replace(", sample.B08", ""),
}


@pytest.mark.parametrize("layout", PathLayout)
def test_process(contract: Contract, sim: Simulator, layout: PathLayout) -> None:
    body, path = calls_of("Process").check(IMAGE), Service.PROCESS.prefix(layout)
    contract.check_request("POST", path, body)
    answer = sim.call("POST", path, body)
    assert answer.headers["content-type"] == "image/png", answer.body
    contract.check_answer("POST", path, answer)
    assert contract.refused(sim, "POST", path, {**body, "output": {"width": 3000}}) == 400


@pytest.mark.parametrize("layout", PathLayout)
def test_async_process(contract: Contract, sim: Simulator, layout: PathLayout) -> None:
    calls = calls_of("Async Process")
    keys = {"accessKey": sim.ready.access_key_id, "secretAccessKey": sim.ready.secret_access_key}
    place = {"s3": {"url": f"s3://{sim.ready.bucket}/exchanges-async-{layout}", **keys}}
    output = {**IMAGE["output"], "delivery": place} | {
        "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]
    }
    accepted = contract.send(sim, calls.submit(calls.check({**IMAGE, "output": output})), layout)
    contract.send(sim, calls.status(accepted.id), layout)
    assert contract.refused(sim, "GET", f"{Service.ASYNC_PROCESS.prefix(layout)}/process/{'0' * 8}") == 404


# What the helper itself must not let through.
WRONG: dict[str, Callable[[Contract, Simulator], Any]] = {
    "a path": lambda contract, _: contract.operation("GET", "/batch/v2/other"),
    "a method": lambda contract, _: contract.operation("DELETE", "/batch/v2/process/x"),
    "a parameter": lambda contract, _: contract.check_request("GET", "/batch/v2/process?unknown=1"),
    "a body": lambda contract, _: contract.check_request("POST", "/batch/v2/process", {"input": {}}),
    "a body where there is none": lambda contract, _: contract.check_request("GET", "/batch/v2/process", {}),
    "an answer": lambda contract, sim: contract.check_answer(
        "POST", "/statistics/v1", sim.call("GET", "/batch/v2/tilinggrids")
    ),
    "a status": lambda contract, sim: contract.check_answer(
        "POST", "/batch/v2/process", sim.call("GET", "/batch/v2/tilinggrids")
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_the_helper_finds(what: str, contract: Contract, sim: Simulator) -> None:
    with pytest.raises(AssertionError):
        WRONG[what](contract, sim)


def test_paths_of_both_layouts_are_found(contract: Contract) -> None:
    for api in APIS:
        for each in api.operations:
            path = each.path.replace("{", "").replace("}", "")
            for layout in PathLayout:
                assert contract.operation(each.method, api.service.prefix(layout) + path)
            assert legacy(api.service.prefix(PathLayout.NEW) + path) == api.service.prefix(PathLayout.LEGACY) + path
