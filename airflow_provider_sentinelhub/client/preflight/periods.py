"""
Rules on periods without images: in the future, or before the start of a collection.

Sources: https://docs.sentinel-hub.com/api/latest/data/ (availability) and the launch dates of the satellites.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, Rule, mapping, objects, part
from airflow_provider_sentinelhub.client.requests.intervals import read_moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

# The years of a collection differ between deployments: the earliest counts.
BEGAN: Final = {
    "sentinel-1-grd": "2014-10-01",
    "sentinel-2-l1c": "2015-06-27",
    "sentinel-2-l2a": "2015-06-27",
    "sentinel-3-olci": "2016-02-16",
    "sentinel-3-olci-l2": "2016-02-16",
    "sentinel-3-slstr": "2016-02-16",
    "sentinel-3-slstr-l2": "2016-02-16",
    "sentinel-3-synergy-l2": "2016-02-16",
    "sentinel-5p-l2": "2017-10-13",
    "landsat-mss-l1": "1972-07-23",
    "landsat-tm-l1": "1982-07-16",
    "landsat-tm-l2": "1982-07-16",
    "landsat-etm-l1": "1999-04-15",
    "landsat-etm-l2": "1999-04-15",
    "landsat-ot-l1": "2013-02-11",
    "landsat-ot-l2": "2013-02-11",
    "hls": "2013-02-11",
    "modis": "1999-12-18",
}
"""The day before which a collection certainly has no images, by its type."""

_TIMELESS = frozenset({"dem"})
_OWN = ("byoc-", "batch-")
# Tolerance for clocks that differ.
_SLACK = timedelta(hours=1)
_FUTURE = (
    "lies in the future, and with it the whole period: there are no images of it yet, and the run is charged all the "
    "same"
)
_CHOOSE = "Choose a period that has started, e.g. one that ends at {{ dag_run.run_after.isoformat() }}."


def period_rule(sent_at: datetime | None) -> Rule:
    """
    Return the rule that finds periods without images.

    :param sent_at: When the request is sent; ``None`` if it is only checked: then a period in the future is a warning,
        because it may have started by the time the request is sent.
    """
    now = sent_at or datetime.now(UTC)

    def check_periods(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
        path = ("processRequest", "input", "data") if "processRequest" in body else ("input", "data")
        sources = objects(body, *path)
        for number, source in enumerate(sources):
            field = ".".join((*path, str(number), "dataFilter", "timeRange"))
            yield from _check(
                field, mapping(source, "dataFilter", "timeRange"), [source], now, sent=sent_at is not None
            )
        span = mapping(body, "aggregation", "timeRange")
        yield from _check("aggregation.timeRange", span, sources, now, sent=sent_at is not None)

    return check_periods


def _check(field: str, span: Json, sources: list[Json], now: datetime, *, sent: bool) -> Iterator[Finding]:
    kinds = [kind for source in sources if (kind := str(source.get("type")).lower()) not in _TIMELESS]
    start, end = (_moment(part(span, side)) for side in ("from", "to"))
    if not kinds:
        return
    if start is not None and start > now + _SLACK:
        # A user's collection may contain data of any time, e.g. a forecast.
        if sent and not any(kind.startswith(_OWN) for kind in kinds):
            yield InvalidParameter(f"{field}.from", span["from"], _FUTURE, _CHOOSE)
        else:
            yield Advice(f"{field}.from", f"{span['from']} {_FUTURE}", _CHOOSE)
    for kind in dict.fromkeys(kinds):
        if end is not None and kind in BEGAN and end < datetime.fromisoformat(BEGAN[kind]).replace(tzinfo=UTC):
            fact = f"{span['to']} is before the first images of {kind}: there are none before {BEGAN[kind]}"
            yield Advice(f"{field}.to", fact, "Choose a later period, or another collection.")


def _moment(given: Any) -> datetime | None:
    return None if given is None else read_moment(given)
