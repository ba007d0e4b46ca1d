"""A small form of ``make chaos``: it is long enough to see everything die once, and to see that it can fail."""

from __future__ import annotations

import itertools
import re

import pytest

from devtools import chaos
from devtools.chaos_steps import KILLS, STEPS, Plan, Variant, plans


def row(printed: str, name: str) -> list[str]:
    """Return the cells of a row of the first table."""
    found = re.search(rf"^{name} .*$", printed, re.MULTILINE)
    assert found is not None, printed
    return found[0].split()[1:]


def first(count: int, seed: int) -> list[Plan]:
    return list(itertools.islice(plans(seed), count))


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_every_batch_is_started_once_whoever_dies(capsys: pytest.CaptureFixture[str]) -> None:
    status = chaos.main(["--seed", "5", "--runs", "7", "--lanes", "5", "--quick", "--scenes", "4"])
    printed = capsys.readouterr().out
    assert status == 0, printed
    runs, _, kills, _, _, started, orphans, right = row(printed, "all")
    assert (runs, started, orphans, right) == ("7", "1", "0", "7")
    assert int(kills) >= 6


@pytest.mark.integration
@pytest.mark.timeout(300)
def test_without_record_and_search_there_are_duplicates(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--variants", "blocking,blocking_mapped", "--steps", "12,14", "--quick", "--scenes", "0", "--naive"]
    status = chaos.main(["--seed", "5", "--runs", "4", "--lanes", "4", *options])
    printed = capsys.readouterr().out
    assert status == 1, printed
    started = row(printed, "all")[5]
    assert int(started.split("..")[-1]) > 1, printed


def test_every_step_of_every_variant_is_struck_in_every_way() -> None:
    wanted = {
        (variant, step, harm)
        for variant in Variant
        for step in STEPS
        if step.occurs(variant)
        for harm in step.harms(variant)
    }
    drawn = {(plan.variant, strike.step, strike.harm) for plan in first(20_000, seed=1) for strike in plan.strikes}
    assert wanted - drawn == set()
    assert drawn - wanted == set()


def test_the_same_seed_draws_the_same_harm() -> None:
    assert first(50, seed=7) == first(50, seed=7)
    assert first(50, seed=7) != first(50, seed=8)


def test_most_harm_kills() -> None:
    strikes = [strike for plan in first(300, seed=3) for strike in plan.strikes]
    assert sum(strike.harm in KILLS for strike in strikes) > len(strikes) / 2
