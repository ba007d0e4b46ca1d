"""
Rules on data sources.

Sources: https://docs.planet.com/develop/apis/processing/ (input.data),
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Data.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.requests.data import NO_INTERVAL
from airflow_provider_sentinelhub.client.requests.findings import (
    Advice,
    Finding,
    Json,
    Rule,
    mapping,
    misspelt,
    objects,
    part,
)
from airflow_provider_sentinelhub.client.requests.intervals import read_moment

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.deployments import Deployment

COLLECTIONS = (
    "sentinel-1-grd", "sentinel-2-l1c", "sentinel-2-l2a", "sentinel-3-olci", "sentinel-3-olci-l2", "sentinel-3-slstr",
    "sentinel-3-slstr-l2", "sentinel-3-synergy-l2", "sentinel-5p-l2", "landsat-mss-l1", "landsat-tm-l1",
    "landsat-tm-l2", "landsat-etm-l1", "landsat-etm-l2", "landsat-ot-l1", "landsat-ot-l2", "dem", "hls", "modis",
)  # fmt: skip
"""Types of data in the service's documentation; there are users' collections besides them."""

_FIELDS = ("type", "id", "dataFilter", "processing")
_FILTERS = ("timeRange", "maxCloudCoverage", "mosaickingOrder")
_FORMER = frozenset({"landsat-8-l1c", "s2gm", "custom", "s1grd", "s2l1c", "s2l2a", "l8l1c"})
_OWN = re.compile(r"(byoc|batch)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def data_rule(*path: str) -> Rule:
    """
    Return the rule that finds undocumented types of data, and misspelt filters.

    :param path: Path of the data sources in a request.
    """

    def check_data(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
        return _check_sources(".".join(path), objects(body, *path))

    return check_data


def _check_sources(data: str, sources: list[Json]) -> Iterator[Finding]:
    names = [each.get("id") for each in sources]
    for number, name in enumerate(names):
        if name is not None and name in names[:number]:
            rule = "is also the id of another data source, and the evalscript distinguishes them by it"
            yield InvalidParameter(f"{data}.{number}.id", name, rule, "Give each its own id.")
    for number, source in enumerate(sources):
        yield from misspelt(f"{data}.{number}", source, _FIELDS)
        yield from _check_filter(f"{data}.{number}.dataFilter", source.get("dataFilter"))
        kind = source.get("type")
        # A template is checked after it was rendered.
        if (
            not isinstance(kind, str)
            or "{" in kind
            or kind.lower() in _FORMER.union(COLLECTIONS)
            or _OWN.fullmatch(kind)
        ):
            continue
        field = f"{data}.{number}.type"
        if kind.lower().startswith(("byoc-", "batch-")):
            fix = "Write byoc- or batch- followed by the full id (UUID) of the collection."
            yield Advice(field, f"{kind} does not end with the id of a collection", fix)
            continue
        meant = get_close_matches(kind.lower(), COLLECTIONS, n=1, cutoff=0.8)
        fix = f"Write {meant[0]}." if meant else f"Known are {', '.join(COLLECTIONS)}, byoc-<id> and batch-<id>."
        yield Advice(field, f"{kind} is not a data type in the service's documentation", fix)


def _check_filter(field: str, given: Any) -> Iterator[Finding]:
    span = part(given, "timeRange")
    if part(span, "from") is not None and part(span, "from") == part(span, "to"):
        yield Advice(
            f"{field}.timeRange",
            "is a single point in time, and contains only an image of exactly that time",
            NO_INTERVAL,
        )
    yield from misspelt(field, mapping(given), _FILTERS, "filter")


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
_OWN_COLLECTIONS = ("byoc-", "batch-")
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
        if sent and not any(kind.startswith(_OWN_COLLECTIONS) for kind in kinds):
            yield InvalidParameter(f"{field}.from", span["from"], _FUTURE, _CHOOSE)
        else:
            yield Advice(f"{field}.from", f"{span['from']} {_FUTURE}", _CHOOSE)
    for kind in dict.fromkeys(kinds):
        if end is not None and kind in BEGAN and end < datetime.fromisoformat(BEGAN[kind]).replace(tzinfo=UTC):
            fact = f"{span['to']} is before the first images of {kind}: there are none before {BEGAN[kind]}"
            yield Advice(f"{field}.to", fact, "Choose a later period, or another collection.")


def _moment(given: Any) -> datetime | None:
    return None if given is None else read_moment(given)
