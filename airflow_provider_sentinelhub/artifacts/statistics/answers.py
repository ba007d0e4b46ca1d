"""
One result file of Batch Statistical, or one answer of the Statistical API, decoded and understood.

A file has one of three shapes: an answer, ``{"id", "identifier", "response": {"data": [...], "status": "OK"}}``, where
the status may also be PARTIAL and then some of ``data`` have an error instead of outputs; a failure,
``{"id", "identifier", "response": {"data": null, "status": "FAILED"}}``; and an error,
``{"id", "identifier", "error": {"type": "EXECUTION_ERROR"}}``. Errors occur as text and as an object with a ``type``.
Not-a-number is the text ``"NaN"``. Null means the same as a missing field, and may be anywhere.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchStatistical.html and
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Statistical.html (response).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from msgspec import DecodeError, Meta, Struct
from msgspec.json import Decoder

FAILED = "FAILED"
_OK = "OK"
_INT64 = 2**63
_MAX_TIMES = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Whole = Annotated[int, Meta(ge=-_INT64, le=_INT64 - 1)]
Error = str | dict[str, Any]


# Nothing in these refers back to what holds it, so the garbage collector need not look at them.
class Bin(Struct, gc=False, rename="camel"):
    """A bin of a histogram."""

    low_edge: float | None = None
    high_edge: float | None = None
    count: Whole | None = None


class Histogram(Struct, gc=False, rename="camel"):
    """A histogram."""

    bins: list[Bin | None] | None = None
    overflow_count: Whole | None = None
    underflow_count: Whole | None = None
    # The document says these, the service those above.
    overflow: Whole | None = None
    underflow: Whole | None = None


class Stats(Struct, gc=False, rename="camel"):
    """Numbers about the pixels of one band."""

    min: float | None = None
    max: float | None = None
    mean: float | None = None
    st_dev: float | None = None
    sample_count: Whole | None = None
    no_data_count: Whole | None = None
    percentiles: dict[str, float | None] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was sampled."""
        return self.sample_count is not None and self.sample_count == self.no_data_count


class Band(Struct, gc=False):
    """What is said about one band."""

    stats: Stats | None = None
    histogram: Histogram | None = None


class Output(Struct, gc=False):
    """What is said about one output."""

    bands: dict[str, Band | None] | None = None


class Interval(Struct, gc=False, rename={"start": "from", "end": "to"}):
    """From when to when."""

    start: str | None
    end: str | None


class Entry(Struct, gc=False):
    """What is said about one interval."""

    interval: Interval | None = None
    outputs: dict[str, Output | None] | None = None
    error: Error | None = None

    @property
    def span(self) -> tuple[str, str] | None:
        """From when to when; ``None`` where that is not said."""
        given = self.interval
        return None if given is None or given.start is None or given.end is None else (given.start, given.end)


class Response(Struct, gc=False, rename={"pixels": "geometryPixelCount"}):
    """What the Statistical API answers for one feature."""

    data: list[Entry | None] | None = None
    status: str | None = None
    error: Error | None = None
    pixels: Whole | None = None


class Result(Struct, gc=False, rename={"called": "identifier"}):
    """A result file."""

    id: Whole
    called: str | int | float | None = None
    response: Response | None = None
    error: Error | None = None

    @property
    def identifier(self) -> str | None:
        """What the feature is called, as text, however the column of the GeoPackage holds it."""
        return None if self.called is None else str(self.called)


class Unreadable(ValueError):
    """A result file is not what it should be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a response says, in order.

    :param entries: Interval from, interval to (microseconds since 1970, UTC), and what is said about it; each interval
        once.
    :param error: Why there is no answer for the feature as a whole; ``None`` where there is one, be it in parts.
    :param pixels: How many pixels overlap the feature; ``None`` where that is not said.
    """

    entries: list[tuple[int, int, Entry]]
    error: str | None
    pixels: int | None = None

    def failed_span(self) -> tuple[int | None, int | None]:
        """Return from when to when intervals failed; nothing where none did, or the feature as a whole."""
        failed = [(start, end) for start, end, entry in self.entries if entry.error is not None]
        if not failed or self.error is not None:
            return None, None
        return min(start for start, _ in failed), max(end for _, end in failed)

    def message(self) -> str | None:
        """Say what went wrong with the feature; ``None`` where nothing did."""
        errors = [error_text(entry.error) for _, _, entry in self.entries if entry.error is not None]
        return failure_text(self.error, errors, len(self.entries))


class ResultReader:
    """Reads result files; times are understood once, because all features of a task have the same."""

    def __init__(self) -> None:
        # Not strict: "NaN" is taken for what it means.
        self._decoder = Decoder(Result, strict=False)
        self._times: dict[str, int] = {}

    def read(self, content: bytes) -> tuple[Result, Answer]:
        """
        Read a file.

        :param content: The file.
        :raises Unreadable: It is cut off, damaged or of another shape.
        """
        try:
            result = self._decoder.decode(content)
            return result, self.answer(result.response, error=result.error)
        except (DecodeError, ValueError, OverflowError, UnicodeError, RecursionError) as error:
            raise Unreadable(str(error)) from error

    def answer(self, response: Response | None, *, error: Error | None = None) -> Answer:
        """
        Understand a response.

        :param response: The response; ``None`` where there is none.
        :param error: What stands in its place.
        :raises ValueError: A time cannot be read.
        """
        said = response or Response()
        data = [entry for entry in said.data or () if entry is not None]
        entries = [
            (self._time(span[0]), self._time(span[1]), entry) for entry in data if (span := entry.span) is not None
        ]
        if len({(start, end) for start, end, _ in entries}) != len(entries):
            entries = _once(entries)
        text = error_text(error) or error_text(said.error) or _without_interval(data)
        if text is None and not any(entry.error is not None for entry in data):
            if said.status not in {_OK, None}:
                text = said.status
            elif said.data is None:
                text = "no response"
        return Answer(entries, text, said.pixels)

    def _time(self, text: str) -> int:
        found = self._times.get(text)
        if found is None:
            found = microseconds(datetime.fromisoformat(text))
            if len(self._times) < _MAX_TIMES:
                self._times[text] = found
        return found


def microseconds(moment: datetime) -> int:
    """
    Return a time as microseconds since 1970.

    :param moment: The time; in UTC if it has no time zone.
    """
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def error_text(error: Error | None) -> str | None:
    """
    Return the service's words for what went wrong; ``None`` where nothing did.

    :param error: A text, or an object with a ``type`` and perhaps a ``message``.
    """
    if error is None or isinstance(error, str):
        return error if error != "" else "no reason given"
    words = [str(error[key]) for key in ("type", "message") if error.get(key)]
    return ": ".join(words) or json.dumps(error)


def failure_text(error: str | None, errors: list[str | None], intervals: int) -> str | None:
    """
    Say what went wrong with a feature; ``None`` where nothing did.

    :param error: What went wrong with all of it.
    :param errors: What went wrong with single intervals.
    :param intervals: How many intervals it has.
    """
    if not errors:
        return error
    causes = Counter(str(each) for each in errors)
    shown = (
        ", ".join(sorted(causes))
        if len(causes) == 1
        else ", ".join(f"{n} {text}" for text, n in sorted(causes.items()))
    )
    return f"{len(errors)} of {intervals} intervals failed: {shown}"


def _without_interval(data: list[Entry]) -> str | None:
    """Describe the error of intervals that cannot be identified; ``None`` if there are none."""
    errors = {error_text(entry.error) or "an interval without from and to" for entry in data if entry.span is None}
    return ", ".join(sorted(errors)) or None


def _once(entries: list[tuple[int, int, Entry]]) -> list[tuple[int, int, Entry]]:
    """Keep each interval once: an answer rather than an error, and of equals the last."""
    kept: dict[tuple[int, int], tuple[int, int, Entry]] = {}
    for start, end, entry in entries:
        before = kept.get((start, end))
        if before is None or entry.error is None or before[2].error is not None:
            kept[start, end] = (start, end, entry)
    return list(kept.values())
