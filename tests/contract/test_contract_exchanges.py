"""What our client sends, and what the simulator answers, against the service's document: each API in one session."""

from __future__ import annotations

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
