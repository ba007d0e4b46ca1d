from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.client.requests.intervals import Period, intervals


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "months", "length"),
    [
        ("P1D", 0, timedelta(days=1)),
        ("P2W", 0, timedelta(days=14)),
        ("P1M", 1, timedelta(0)),
        ("P1Y2M3D", 14, timedelta(days=3)),
        ("PT36H", 0, timedelta(hours=36)),
        ("PT24H30M1S", 0, timedelta(hours=24, minutes=30, seconds=1)),
        (" p10d ", 0, timedelta(days=10)),
    ],
)
def test_a_period_is_read(text: str, months: int, length: timedelta) -> None:
    assert Period.parse(text) == Period(months, length)


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1DT2H", "1D", "P1.5D", "-P1D", "P1H", "PT1D", "P99999999999D", "week"]
)
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a period"):
        Period.parse(text)


@pytest.mark.parametrize(("text", "is_a_day"), [("P1D", True), ("PT24H", True), ("PT23H59M59S", False), ("P1M", True)])
def test_a_day_is_the_least(text: str, is_a_day: bool) -> None:
    assert Period.parse(text).is_a_day is is_a_day


@pytest.mark.parametrize(
    ("last", "ends"),
    [
        ("SKIP", ["2020-07-06", "2020-07-11"]),
        ("SHORTEN", ["2020-07-06", "2020-07-11", "2020-07-15"]),
        ("EXTEND", ["2020-07-06", "2020-07-11", "2020-07-16"]),
    ],
)
def test_the_last_interval(last: str, ends: list[str]) -> None:
    found = list(intervals(at("2020-07-01"), at("2020-07-15"), Period.parse("P5D"), last))
    assert [end for _, end in found] == [at(end) for end in ends]
    assert [start for start, _ in found] == [at("2020-07-01"), *(at(end) for end in ends[:-1])]


def test_months_are_those_of_the_calendar() -> None:
    found = list(intervals(at("2020-01-31"), at("2020-05-01"), Period.parse("P1M")))
    assert [end.date().isoformat() for _, end in found] == ["2020-02-29", "2020-03-31", "2020-04-30"]


def test_the_calendar_ends() -> None:
    assert list(intervals(at("9999-06-01"), at("9999-12-31"), Period.parse("P1Y"), "EXTEND")) == []


@given(st.integers(1, 400), st.integers(1, 60), st.sampled_from(["SKIP", "SHORTEN", "EXTEND"]))
def test_intervals_follow_each_other(days: int, of: int, last: str) -> None:
    start = at("2020-02-25")
    end = start + timedelta(days=days)
    found = list(intervals(start, end, Period.parse(f"P{of}D"), last))
    assert all(before[1] == after[0] for before, after in itertools.pairwise(found))
    assert len(found) == (days // of if last == "SKIP" else -(-days // of))
    if last == "SHORTEN":
        assert found[-1][1] == end
