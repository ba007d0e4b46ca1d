from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.airflow_stack import AirflowStack

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def session_simulator() -> Iterator[Simulator]:
    with Simulator.start(speed=600, quick=True) as simulator:
        yield simulator


@pytest.fixture
def sim(session_simulator: Simulator) -> Simulator:
    """The shared simulator with nothing scripted."""
    session_simulator.set_script({})
    session_simulator.admin("DELETE", "/requests")
    return session_simulator


@pytest.fixture(scope="session")
def airflow(session_simulator: Simulator) -> Iterator[AirflowStack]:
    folders = [REPOSITORY / "tests" / "integration" / "dags", REPOSITORY / "dags_examples"]
    env = {
        **session_simulator.ready.airflow_connections(),
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # Read by an example DAG.
        "NEW_SCENES_LOOK_EVERY": "2",
        "NEW_SCENES_POLL_INTERVAL": "0.5",
    }
    with AirflowStack(folders, env=env) as stack:
        yield stack


@pytest.fixture(autouse=True)
def _healed(request: pytest.FixtureRequest) -> Iterator[None]:
    """One test that fails half-way through its harm must not fail all others."""
    yield
    if "airflow" in request.fixturenames:
        request.getfixturevalue("airflow").heal()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    stack = getattr(item, "funcargs", {}).get("airflow")
    if report.failed and isinstance(stack, AirflowStack):
        report.sections.append(("Airflow's components", stack.logs()))
    return report
