"""The period of a data source: what Airflow's templates make of a date is understood, and what is wrong is told."""

from __future__ import annotations

from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from airflow_provider_sentinelhub.client.models.common import broken, from_text

_KNOWN = ("timeRange", "maxCloudCoverage", "mosaickingOrder")
_FIX = "Write a moment like 2019-04-01T00:00:00Z."


def checked_filter(data_filter: dict[str, Any]) -> dict[str, Any]:
    """
    Check a ``dataFilter``, and return it with the moments of its ``timeRange`` as the service wants them.

    Collections have filters of their own, so an unknown one passes, unless it is nearly the name of a known one.

    :param data_filter: The filter.
    """
    for name in data_filter:
        meant = get_close_matches(name, _KNOWN, n=1, cutoff=0.8)
        if meant and name not in _KNOWN:
            broken(f"{name} is not a filter, and nearly {meant[0]}", f"Write {meant[0]}.")
    given = from_text(data_filter.get("timeRange"))
    if given is None:
        return data_filter
    if not isinstance(given, dict):
        broken("timeRange must be an object", 'Write {"from": "2019-04-01T00:00:00Z", "to": "2019-06-30T23:59:59Z"}.')
    moments = {end: _moment(end, given[end]) for end in ("from", "to") if given.get(end) is not None}
    if len(moments) == 2 and moments["from"] >= moments["to"]:  # noqa: PLR2004 - from and to
        broken(
            f"timeRange.from = {given['from']} is not before timeRange.to = {given['to']}",
            "A schedule that is no interval has data_interval_start equal to data_interval_end; take another period.",
        )
    written = {end: _written(moment) for end, moment in moments.items()}
    return {**data_filter, "timeRange": {**given, **written}}


def _moment(end: str, value: Any) -> datetime:
    if isinstance(value, datetime):
        moment = value
    else:
        text = str(value).strip()
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            broken(f"timeRange.{end} = {text!r} is not a moment", _FIX)
        if len(text) <= len("2019-04-01"):
            broken(f"timeRange.{end} = {text!r} is a date without a time", _FIX)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _written(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
