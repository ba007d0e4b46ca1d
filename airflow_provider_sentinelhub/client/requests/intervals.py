"""
Durations as the Statistical APIs write them, and the intervals a time range is divided into.

Source: https://docs.planet.com/develop/apis/statistical/#split-the-requested-timerange-into-multiple-time-intervals
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta
from typing import Any

_DATE = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?")
_TIME = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?")
_MONTHS = 12
_MAX_DIGITS = 8
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """
    A duration, with months of the calendar's length.

    :param months: Whole months.
    :param length: Added to the months.
    """

    months: int
    length: timedelta

    @classmethod
    def parse(cls, text: str) -> Period:
        """
        Read a duration with date designators (``P1M``, ``P10D``) or with time designators (``PT36H``).

        :param text: ISO 8601 duration in whole numbers.
        :raises ValueError: It is not one, or mixes date and time designators.
        """
        written = text.strip().upper()
        date, time = _DATE.fullmatch(written), _TIME.fullmatch(written)
        numbers = [int(each or 0) for each in (date or time or _none(text)).groups()]
        if written in {"P", "PT"} or max(numbers) >= 10**_MAX_DIGITS:
            _none(text)
        if date:
            years, months, weeks, days = numbers
            return cls(_MONTHS * years + months, timedelta(weeks=weeks, days=days))
        hours, minutes, seconds = numbers
        return cls(0, timedelta(hours=hours, minutes=minutes, seconds=seconds))

    @property
    def is_a_day(self) -> bool:
        """Whether it is at least one day long."""
        return self.months > 0 or self.length >= DAY

    def after(self, start: datetime, times: int = 1) -> datetime:
        """
        Return the time some periods later.

        :param start: Start time; the 31st of a month becomes the last day of a shorter month.
        :param times: Number of periods.
        :raises OverflowError: The calendar ends before that.
        """
        year, month = divmod(start.year * _MONTHS + start.month - 1 + self.months * times, _MONTHS)
        if year > MAXYEAR:
            raise OverflowError("date value out of range")
        day = min(start.day, monthrange(year, month + 1)[1])
        return start.replace(year=year, month=month + 1, day=day) + self.length * times


def intervals(
    start: datetime, end: datetime, period: Period, last: str = "SKIP"
) -> Iterator[tuple[datetime, datetime]]:
    """
    Divide a time range into intervals as the service does.

    :param start: Start of the first interval.
    :param end: Latest end of the last interval, unless it is extended.
    :param period: Length of an interval; at least a day.
    :param last: What to do with a last interval that is too short: ``SKIP``, ``SHORTEN`` or ``EXTEND``.
    """
    number, begin = 0, start
    while begin < end:
        number += 1
        try:
            finish = period.after(start, number)
        except OverflowError:
            return
        if finish > end and last == "SKIP":
            return
        yield begin, (min(finish, end) if last == "SHORTEN" else finish)
        begin = finish


def cut(aggregation: Mapping[str, Any]) -> list[tuple[datetime, datetime]]:
    """
    Return the intervals of a request; none if its period cannot be read.

    :param aggregation: The request's aggregation.
    """
    span, given = read_range(aggregation.get("timeRange")), aggregation.get("aggregationInterval", {})
    try:
        period = Period.parse(str(given.get("of")))
    except ValueError:
        return []
    if span is None or not period.is_a_day:
        return []
    return list(intervals(*span, period, given.get("lastIntervalBehavior") or "SKIP"))


def read_range(given: Any) -> tuple[datetime, datetime] | None:
    """
    Read a time range of a request; ``None`` if it cannot be read, or ends before it starts.

    :param given: An object with ``from`` and ``to``; times without a time zone are in UTC.
    """
    fields = given if isinstance(given, Mapping) else {}
    start, end = (read_moment(fields.get(side)) for side in ("from", "to"))
    return (start, end) if start is not None and end is not None and start <= end else None


def read_moment(given: Any) -> datetime | None:
    """
    Read a date and time of a request; ``None`` if it cannot be read.

    :param given: Any value; a time without a time zone is in UTC.
    """
    try:
        moment = datetime.fromisoformat(str(given))
        # Near the ends of the calendar the conversion overflows.
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def written(moment: datetime) -> str:
    """
    Write a date and time as in requests, including fractions of a second: without them the interval would be another.

    :param moment: The time, with its time zone.
    """
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _none(text: str) -> re.Match[str]:
    raise ValueError(f"{text!r} is not a period")
