"""
The intervals into which a time range is split.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Statistical.html
"""

from __future__ import annotations

import calendar
import datetime as dt
import itertools
import re
from dataclasses import dataclass

DAY = dt.timedelta(days=1)
# More than timedelta holds as weeks.
_TOO_LARGE = 100_000_000
_PERIOD = re.compile(r"P(?=\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?")
_TIME = re.compile(r"PT(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?")


@dataclass(frozen=True, slots=True)
class Interval:
    """
    One interval.

    :param start: Its beginning, in UTC.
    :param end: Its end, not part of it.
    """

    start: dt.datetime
    end: dt.datetime

    def contains(self, day: dt.date) -> bool:
        """
        Say whether a day, or a part of it, lies in the interval.

        :param day: The day, in UTC.
        """
        midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
        return self.start < midnight + DAY and midnight < self.end

    def describe(self) -> dict[str, str]:
        """Return it as the service writes it."""
        return {"from": _written(self.start), "to": _written(self.end)}


@dataclass(frozen=True, slots=True)
class Step:
    """
    Length of an interval.

    :param months: Calendar months.
    :param time: What is added to them.
    """

    months: int
    time: dt.timedelta

    @classmethod
    def parse(cls, text: object) -> Step:
        """
        Read an ISO 8601 duration: years, months, weeks and days, or hours, minutes and seconds.

        :param text: E.g. ``P10D``.
        :raises ValueError: It is not a duration, has both kinds of designators or is shorter than a day.
        """
        text = str(text)
        numbers = _PERIOD.fullmatch(text) or _TIME.fullmatch(text)
        given = [int(each or 0) for each in numbers.groups()] if numbers else []
        if not numbers or max(given) >= _TOO_LARGE:
            raise ValueError(f"{text!r} is not an ISO 8601 duration of date or of time designators")
        if "T" in text:
            hours, minutes, seconds = given
            step = cls(0, dt.timedelta(hours=hours, minutes=minutes, seconds=seconds))
        else:
            years, months, weeks, days = given
            step = cls(12 * years + months, dt.timedelta(weeks=weeks, days=days))
        if not step.months and step.time < DAY:
            raise ValueError(f"{text} is shorter than one day")
        return step

    def after(self, start: dt.datetime, times: int) -> dt.datetime:
        """
        Return the start of an interval.

        :param start: Start of the first one.
        :param times: Number of intervals before it.
        """
        years, month = divmod(start.month - 1 + times * self.months, 12)
        year = start.year + years
        # Count months from the first day, not from the last interval, so that the 31st returns after a shorter month.
        day = min(start.day, calendar.monthrange(year, month + 1)[1])
        return start.replace(year=year, month=month + 1, day=day) + times * self.time


def moment(text: object) -> dt.datetime:
    """
    Read a time of a request.

    :param text: ISO 8601; UTC where it has no offset.
    :raises ValueError: It is not a time.
    """
    read = dt.datetime.fromisoformat(str(text))
    return (read if read.tzinfo else read.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)


def split(start: dt.datetime, end: dt.datetime, step: Step, behaviour: str) -> list[Interval]:
    """
    Split a time range.

    :param start: Its beginning.
    :param end: Its end.
    :param step: Length of the intervals.
    :param behaviour: Of the last interval when it does not fit: SKIP leaves it out, SHORTEN ends it with the range,
        EXTEND lets it end beyond.
    """
    found: list[Interval] = []
    for number in itertools.count():
        try:
            each = Interval(step.after(start, number), step.after(start, number + 1))
        except (OverflowError, ValueError):
            # The calendar ends.
            break
        if each.start >= end:
            break
        if each.end <= end or behaviour == "EXTEND":
            found.append(each)
        elif behaviour == "SHORTEN":
            found.append(Interval(each.start, end))
    return found


def _written(moment: dt.datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
