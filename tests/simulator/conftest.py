from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.sample import sample_request


@pytest.fixture(scope="session")
def session_simulator() -> Iterator[Simulator]:
    with Simulator.start(speed=600) as simulator:
        yield simulator


@pytest.fixture
def sim(session_simulator: Simulator) -> Simulator:
    """The shared simulator, as if nobody had used it, but for the tasks there are."""
    session_simulator.set_script({})
    session_simulator.run_clock(speed=600)
    session_simulator.set_balance(1_000_000)
    session_simulator.admin("DELETE", "/requests")
    return session_simulator


@pytest.fixture
def request_for(sim: Simulator, request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """Builds a request whose files go to a folder of the test's own; ``a__b=value`` changes ``request["a"]["b"]``."""
    folder = f"{request.node.originalname}-{time.time_ns()}"

    def build(**changes: Any) -> dict[str, Any]:
        return sample_request(sim.ready, folder, **changes)

    return build


Wait = Callable[..., dict[str, Any]]


@pytest.fixture
def wait(sim: Simulator) -> Wait:
    """Waits until a task has one of the given statuses and returns it as the API shows it."""

    def until(task_id: str, *statuses: str, seconds: float = 30) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            task: dict[str, Any] = sim.call("GET", f"/batch/v2/process/{task_id}").body
            if task.get("status") in statuses:
                return task
            assert time.monotonic() < deadline, task
            assert task.get("status") not in {"DONE", "FAILED", "STOPPED"}, task
            time.sleep(0.05)

    return until


@pytest.fixture
def run(sim: Simulator, wait: Wait) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Creates and starts a task and waits for its end."""

    def to_the_end(request: dict[str, Any]) -> dict[str, Any]:
        created = sim.call("POST", "/batch/v2/process", request)
        assert created.status == 201, created.body
        task_id = created.body["id"]
        assert sim.call("POST", f"/batch/v2/process/{task_id}/start").status == 204
        return wait(task_id, "DONE", "FAILED", "STOPPED")

    return to_the_end
