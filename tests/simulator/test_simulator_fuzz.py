"""Odd requests: none breaks the simulator or preflight, and both say the same about each; see ``devtools/fuzz``."""

from __future__ import annotations

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.fuzz.__main__ import run
from devtools.fuzz.comparison import kind


@pytest.mark.parametrize("seed", [11, 12])
def test_preflight_and_the_simulator_agree_about_odd_requests(sim: Simulator, seed: int) -> None:
    outcome = run(sim, 150, seed)
    assert outcome.broken == []
    assert outcome.unexplained == []
    # The cases are neither all wrong nor all right.
    assert min(outcome.agreed.values()) > 10
    assert sum(outcome.answers.values()) >= 150


def test_reasons_are_counted_without_what_differs() -> None:
    one, other = (f"a.{number}.url: must be {number * 7} or less, not 's3://b/{number}'" for number in (1, 22))
    assert kind(one) == kind(other)
