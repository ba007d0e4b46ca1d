"""
Rules on the sampling of statistics: the period, its intervals, and the size in pixels.

Sources: https://docs.planet.com/develop/apis/statistical/#split-the-requested-timerange-into-multiple-time-intervals
and https://docs.planet.com/develop/apis/statistical/reference/ (width, height, resx, resy)
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.requests.findings import (
    Advice,
    Finding,
    Json,
    mapping,
    part,
)
from airflow_provider_sentinelhub.client.requests.intervals import DAY, Period, intervals, read_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment


def check_sampling(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find intervals that do not fit into the period, and sizes left to the service's defaults.

    :param body: The request.
    :param deployment: Not used.
    """
    aggregation = mapping(body, "aggregation")
    if not aggregation:
        return
    yield from _check_size(aggregation)
    yield from _check_intervals(aggregation)


def _check_size(aggregation: Json) -> Iterator[Finding]:
    given = [name for name in ("width", "height", "resx", "resy") if aggregation.get(name) is not None]
    if not given:
        fact = (
            "has neither resx and resy nor width and height: each geometry is sampled with 256 x 256 pixels, "
            "whatever its size"
        )
        yield Advice("aggregation", fact, "Give resx and resy, in units of the CRS.")
    for one, other in (("width", "height"), ("height", "width")):
        if one in given and other not in given:
            yield Advice(
                f"aggregation.{other}", f"is missing and defaults to 256, although {one} is given", "Give both."
            )


def _check_intervals(aggregation: Json) -> Iterator[Finding]:
    field, of = "aggregation.aggregationInterval.of", str(part(aggregation, "aggregationInterval", "of"))
    span = read_range(part(aggregation, "timeRange"))
    try:
        period = Period.parse(of)
    except ValueError:
        return
    if (
        span is None
        or not period.is_a_day
        or part(aggregation, "aggregationInterval", "lastIntervalBehavior")
        not in {
            None,
            "SKIP",
        }
    ):
        return
    start, end = span
    covered = max((finish for _, finish in intervals(start, end, period)), default=start)
    if covered == start < end:
        rule = (
            f"is longer than timeRange, {_length(end - start)}: the only interval would be skipped because it is too "
            "short"
        )
        fix = "Set lastIntervalBehavior to SHORTEN or EXTEND, or choose shorter intervals."
        yield InvalidParameter(field, of, rule, fix)
    elif covered < end:
        fact = f"leaves {_length(end - covered)} at the end of timeRange, which are skipped"
        fix = "Set lastIntervalBehavior to SHORTEN or EXTEND, or end timeRange where an interval ends."
        yield Advice(field, fact, fix)


def _length(length: timedelta) -> str:
    text = f"{length / DAY:,.4g} days" if length >= DAY else f"{length / timedelta(hours=1):,.3g} hours"
    return text.removesuffix("s") if text.startswith("1 ") else text
