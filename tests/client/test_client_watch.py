from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.lifecycle.watch import ANALYSIS_POLL_S, LOST_AFTER_S, Watch
from tests.client.client_harness import make_task

OUTAGE = errors.ServiceUnavailable("down")
REFUSAL = errors.AuthenticationError("no")


class Clock:
    """Seconds since the epoch, by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def processing(percent: float, cost: float = 0.0) -> dict[str, object]:
    return {"status": "PROCESSING", "userAction": "START", "completionPercentage": percent, "costPU": cost}


def test_twelve_hours_fit_on_a_screen(clock: Clock) -> None:
    watch = Watch(poll_interval=60, clock=clock)
    began, lines = clock.now, []
    while (done := (clock.now - began) / (12 * 3600)) < 1:
        if done < 0.01:
            seen: dict[str, object] = {"status": "CREATED", "userAction": "START"}
        elif done < 0.02:
            seen = {"status": "ANALYSING", "userAction": "START"}
        else:
            seen = processing(100 * done, 1000 * done)
        lines.append(watch.saw(make_task(**seen)))
        clock.now += watch.pause()
    lines.append(watch.saw(make_task(status="DONE", userAction="START", completionPercentage=100, costPU=1000)))
    said = [line for line in lines if line]
    assert len(lines) > 650
    assert 12 <= len(said) <= 60
    assert said[0] == "Task t-1: CREATED"
    assert said[-1] == "Task t-1: PROCESSING -> DONE (100 %, 1,000.0 PU)"


def test_only_what_is_new_is_said(clock: Clock) -> None:
    watch = Watch(poll_interval=60, clock=clock)
    assert watch.saw(make_task()) == "Task t-1: CREATED"
    assert watch.saw(make_task()) is None
    assert watch.saw(make_task(userAction="START")) == "Task t-1: CREATED"
    assert watch.saw(make_task(**processing(0))) == "Task t-1: CREATED -> PROCESSING (0 %)"
    assert watch.saw(make_task(**processing(9.9))) is None
    assert watch.saw(make_task(**processing(10, 3.14))) == "Task t-1: PROCESSING (10 %, 3.1 PU)"
    clock.now += 899
    assert watch.saw(make_task(**processing(11))) is None
    clock.now += 1
    assert watch.saw(make_task(**processing(11))) == "Task t-1: PROCESSING (11 %)"


def test_misses_are_said_once_and_so_is_their_end(clock: Clock) -> None:
    watch = Watch(poll_interval=60, clock=clock)
    watch.saw(make_task())
    assert watch.missed(OUTAGE) == "Could not look at the task; still waiting. down"
    assert [watch.missed(OUTAGE) for _ in range(5)] == [None] * 5
    assert watch.saw(make_task()) == "Task t-1: CREATED"
    assert watch.saw(make_task()) is None
    assert watch.missed(REFUSAL) is not None


def test_an_analysis_is_looked_at_more_often(clock: Clock) -> None:
    watch = Watch(poll_interval=120, clock=clock)

    def around(seconds: float) -> bool:
        return all(0.9 * seconds <= watch.pause() <= 1.1 * seconds for _ in range(50))

    assert around(120)
    for status in ("CREATED", "ANALYSING"):
        watch.saw(make_task(status=status))
        assert around(ANALYSIS_POLL_S)
    watch.saw(make_task(status="ANALYSIS_DONE"))
    assert around(120)
    for factor in (2, 4, 8, 8):
        watch.missed(OUTAGE)
        assert around(120 * factor)
    watch.saw(make_task(**processing(1)))
    assert around(120)
    quick = Watch(poll_interval=1, clock=clock)
    quick.saw(make_task())
    assert quick.pause() <= 1.1


def test_pauses_are_not_in_step(clock: Clock) -> None:
    watch = Watch(poll_interval=60, clock=clock)
    assert len({watch.pause() for _ in range(20)}) > 10


def test_the_deadline_ends_the_wait(clock: Clock) -> None:
    watch = Watch(poll_interval=60, deadline=clock.now + 100, clock=clock)
    assert not watch.is_late
    clock.now += 95
    assert watch.pause() == pytest.approx(5)
    clock.now += 5
    assert watch.is_late
    assert watch.pause() == 0
    clock.now += 1000
    assert watch.pause() == 0
    assert not Watch(poll_interval=60, clock=clock).is_late


def test_refusals_end_the_wait_after_a_while(clock: Clock) -> None:
    watch = Watch(poll_interval=60, clock=clock)
    for refusal in (REFUSAL, errors.NotFound("gone"), errors.PermissionDenied("no"), ValueError("odd")):
        assert not watch.is_lost
        watch.missed(refusal)
        clock.now += LOST_AFTER_S / 4
    assert watch.is_lost
    watch.saw(make_task())
    assert not watch.is_lost


def test_an_outage_never_ends_the_wait(clock: Clock) -> None:
    watch = Watch(poll_interval=60, clock=clock)
    for _ in range(3000):
        watch.missed(OUTAGE)
        clock.now += watch.pause()
        assert not watch.is_lost
    watch.missed(REFUSAL)
    clock.now += LOST_AFTER_S - 1
    assert not watch.is_lost
    # The service is in trouble again: what it refused before may have been a part of that.
    watch.missed(errors.RateLimited("slow down"))
    clock.now += LOST_AFTER_S
    assert not watch.is_lost


@given(
    st.floats(1, 3600),
    st.none() | st.floats(0, 1e6),
    st.lists(st.sampled_from([OUTAGE, REFUSAL, "CREATED", "PROCESSING", "DONE"]) | st.floats(0, 1e6), max_size=40),
)
def test_a_pause_is_always_sensible(poll: float, deadline: float | None, events: list[object]) -> None:
    clock = Clock()
    until = None if deadline is None else clock.now + deadline
    watch = Watch(poll_interval=poll, deadline=until, clock=clock)
    for event in events:
        if isinstance(event, Exception):
            watch.missed(event)
        elif isinstance(event, float):
            clock.now += event
        else:
            watch.saw(make_task(status=event))
        pause = watch.pause()
        assert 0 <= pause <= 8.8 * poll
        if until is not None:
            assert clock.now + pause <= max(until, clock.now) + 1e-6
        assert watch.is_late == (until is not None and clock.now >= until)


def test_a_look_ends_not_much_after_the_deadline(clock: Clock) -> None:
    assert Watch(poll_interval=60, clock=clock).patience() is None
    watch = Watch(poll_interval=60, clock=clock, deadline=clock.now + 100)
    assert watch.patience() == 100
    # The last look begins when the deadline has passed.
    clock.now += 101
    assert watch.patience() == 30


def test_a_look_that_took_too_long_says_so() -> None:
    assert Watch(poll_interval=60).missed(TimeoutError()) == (
        "Could not look at the task; still waiting. There was no answer in time."
    )
