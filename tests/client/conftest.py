from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from airflow_provider_sentinelhub.client.http.auth import ClientCredentials, TokenSource
from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress
from airflow_provider_sentinelhub.client.http.policy import RetryLimits
from airflow_provider_sentinelhub.simulator.process import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

# No clock decides about a test: machines that run it are busy at times.
settings.register_profile("client", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
settings.load_profile("client")


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    with Simulator.start(speed=600, quick=True) as simulator:
        yield simulator


@pytest.fixture
def sim(running_simulator: Simulator) -> Simulator:
    """The shared simulator, as if nobody had called it, but for the tasks there are."""
    running_simulator.set_script({})
    running_simulator.run_clock(speed=600)
    running_simulator.admin("DELETE", "/requests")
    return running_simulator


@pytest.fixture
def limits() -> RetryLimits:
    """The usual number of attempts, without the usual waiting."""
    return RetryLimits(attempts=5, base=0.01, cap=0.02, retry_after_cap=0.1)


@pytest.fixture
def address(sim: Simulator) -> ServiceAddress:
    return ServiceAddress.of(
        deployment="custom", base_url=sim.ready.base_url, token_url=sim.ready.token_url, layout="new"
    )


@pytest.fixture
def credentials(sim: Simulator) -> ClientCredentials:
    return ClientCredentials(sim.ready.client_id, sim.ready.client_secret, sim.ready.token_url)


@pytest.fixture
def tokens(credentials: ClientCredentials, limits: RetryLimits) -> TokenSource:
    return TokenSource(credentials, limits)
