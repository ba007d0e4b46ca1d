from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import sample_parcels, sample_request, sample_statistics, upload


@pytest.fixture(scope="session")
def session_simulator() -> Iterator[Simulator]:
    with Simulator.start(speed=600, quick=True) as simulator:
        yield simulator


@pytest.fixture
def sim(session_simulator: Simulator) -> Simulator:
    """The shared simulator, reset to its defaults; its tasks stay."""
    session_simulator.set_script({})
    session_simulator.run_clock(speed=600)
    session_simulator.set_balance(1_000_000)
    session_simulator.admin("DELETE", "/requests")
    return session_simulator


@pytest.fixture
def request_for(sim: Simulator, request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """Builds a request whose files go to the test's own folder; ``a__b=value`` changes ``request["a"]["b"]``."""
    folder = f"{request.node.originalname}-{time.time_ns()}"

    def build(**changes: Any) -> dict[str, Any]:
        return sample_request(sim.ready, folder, **changes)

    return build


@pytest.fixture
def statistics_for(sim: Simulator, request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """Builds a request for statistics of four parcels that no other test has, ``<folder>-1`` to ``<folder>-4``."""
    folder = f"{request.node.originalname}-{time.time_ns()}"
    names = [f"{folder}-{number}" for number in range(1, 5)]
    upload(sim.ready, f"{folder}/parcels.gpkg", sample_parcels(names))

    def build(**changes: Any) -> dict[str, Any]:
        return sample_statistics(sim.ready, folder, **changes)

    return build


Wait = Callable[..., dict[str, Any]]


BATCHES = "/batch/v2/process"
STATISTICS = "/statistics/batch/v1"


def until(sim: Simulator, base: str, task_id: str, *statuses: str, seconds: float = 30) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        task: dict[str, Any] = sim.call("GET", f"{base}/{task_id}").body
        if task.get("status") in statuses:
            return task
        assert time.monotonic() < deadline, task
        assert task.get("status") not in {"DONE", "FAILED", "STOPPED"}, task
        time.sleep(0.05)


def to_the_end(sim: Simulator, base: str, request: dict[str, Any]) -> dict[str, Any]:
    created = sim.call("POST", base, request)
    assert created.status == 201, created.body
    task_id = created.body["id"]
    assert sim.call("POST", f"{base}/{task_id}/start").status == 204
    return until(sim, base, task_id, "DONE", "FAILED", "STOPPED")


@pytest.fixture
def wait(sim: Simulator) -> Wait:
    """Waits until a task has one of the given statuses and returns it as the API shows it."""
    return partial(until, sim, BATCHES)


@pytest.fixture
def run(sim: Simulator) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Creates and starts a task and waits for its end."""
    return partial(to_the_end, sim, BATCHES)


@pytest.fixture
def wait_statistics(sim: Simulator) -> Wait:
    """Like ``wait``, for statistics."""
    return partial(until, sim, STATISTICS)


@pytest.fixture
def run_statistics(sim: Simulator) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Like ``run``, for statistics."""
    return partial(to_the_end, sim, STATISTICS)
