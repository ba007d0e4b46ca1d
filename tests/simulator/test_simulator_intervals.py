from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_sentinelhub.simulator.statistics.intervals import Interval, Step, moment, split


def days(start: str, end: str, every: str, behaviour: str = "SKIP") -> list[tuple[str, str]]:
    found = split(moment(start), moment(end), Step.parse(every), behaviour)
    return [(each.describe()["from"][:10], each.describe()["to"][:10]) for each in found]


def test_two_months_in_steps_of_ten_days_as_in_the_published_example() -> None:
    assert days("2020-06-01T00:00:00Z", "2020-07-31T00:00:00Z", "P10D") == [
        ("2020-06-01", "2020-06-11"),
        ("2020-06-11", "2020-06-21"),
        ("2020-06-21", "2020-07-01"),
        ("2020-07-01", "2020-07-11"),
        ("2020-07-11", "2020-07-21"),
        ("2020-07-21", "2020-07-31"),
    ]


def test_the_months_of_a_year_as_in_the_published_example() -> None:
    found = days("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z", "P1M")
    assert len(found) == 12
    assert (found[0], found[1]) == (("2020-01-01", "2020-02-01"), ("2020-02-01", "2020-03-01"))
    assert found[-1] == ("2020-12-01", "2021-01-01")


def test_months_that_begin_on_the_31st_do_not_drift() -> None:
    assert [start for start, _ in days("2021-01-31", "2021-06-30", "P1M", "EXTEND")] == [
        "2021-01-31",
        "2021-02-28",
        "2021-03-31",
        "2021-04-30",
        "2021-05-31",
    ]


@pytest.mark.parametrize(
    ("behaviour", "last"),
    [
        ("SKIP", ("2020-07-06", "2020-07-11")),
        ("SHORTEN", ("2020-07-11", "2020-07-15")),
        ("EXTEND", ("2020-07-11", "2020-07-16")),
    ],
)
def test_a_last_interval_that_does_not_fit(behaviour: str, last: tuple[str, str]) -> None:
    assert days("2020-07-01", "2020-07-15", "P5D", behaviour)[-1] == last


def test_a_range_shorter_than_an_interval_has_none_by_default() -> None:
    assert days("2020-07-01", "2020-07-03", "P5D") == []


@pytest.mark.parametrize("every", ["P1D", "P7D", "P1W", "PT24H", "PT1440M", "P1M", "P1Y", "P1Y2M3D"])
def test_durations_of_a_day_and_more(every: str) -> None:
    step = Step.parse(every)
    assert step.after(moment("2024-02-28"), 1) >= moment("2024-02-29")


@pytest.mark.parametrize("every", ["", "P", "PT", "P0D", "PT23H", "P1DT1H", "1D", "P1.5D", "-P1D", None, 7])
def test_other_durations_are_refused(every: object) -> None:
    with pytest.raises(ValueError, match=r"duration|shorter"):
        Step.parse(every)


def test_times_are_in_utc_unless_they_say_otherwise() -> None:
    assert moment("2020-07-01") == moment("2020-07-01T02:00:00+02:00") == dt.datetime(2020, 7, 1, tzinfo=dt.UTC)


def test_an_interval_contains_its_first_day_and_not_the_day_it_ends_on() -> None:
    week = Interval(moment("2020-07-01"), moment("2020-07-08"))
    assert [day for day in range(28, 31) if week.contains(dt.date(2020, 6, day))] == []
    assert [day for day in range(1, 31) if week.contains(dt.date(2020, 7, day))] == list(range(1, 8))


@given(
    start=st.integers(0, 5_000 * 86_400).map(lambda seconds: moment("2015-01-01") + dt.timedelta(seconds=seconds)),
    length=st.timedeltas(dt.timedelta(minutes=1), dt.timedelta(days=400)),
    every=st.sampled_from(["P1D", "P10D", "P1M", "PT36H", "P1Y"]),
    behaviour=st.sampled_from(["SKIP", "SHORTEN", "EXTEND"]),
)
def test_intervals_follow_each_other_and_cover_the_range_as_far_as_they_may(
    start: dt.datetime, length: dt.timedelta, every: str, behaviour: str
) -> None:
    end = start + length
    found = split(start, end, Step.parse(every), behaviour)
    assert [each.end for each in found[:-1]] == [each.start for each in found[1:]]
    assert [each.start for each in found[:1]] in ([], [start])
    assert all(each.start < each.end for each in found)
    if behaviour == "SKIP":
        assert all(each.end <= end for each in found)
    elif behaviour == "SHORTEN":
        assert found[-1].end == end
    else:
        assert found[-1].start < end <= found[-1].end
