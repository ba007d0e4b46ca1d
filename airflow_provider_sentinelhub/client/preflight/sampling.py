"""
Rules on when and where statistics are sampled: the period, its intervals, and the size of a pixel.

Sources: https://docs.planet.com/develop/apis/statistical/#split-the-requested-timerange-into-multiple-time-intervals
and https://docs.planet.com/develop/apis/statistical/reference/ (width, height, resx, resy)
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.preflight.area import Area
from airflow_provider_sentinelhub.client.requests.crs import WGS84
from airflow_provider_sentinelhub.client.requests.findings import (
    Advice,
    Finding,
    Json,
    is_number,
    mapping,
    objects,
    part,
)
from airflow_provider_sentinelhub.client.requests.intervals import DAY, Period, intervals, read_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

MAX_PX = 2500
_METRES_OF_A_DEGREE = 111_320
_USUAL_METRES = 10


def check_geometry(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find a geometry that is missing, cannot be read, or has too many or too few pixels.

    :param body: A Statistical request.
    :param deployment: Not looked at.
    """
    area = Area.of(body, "input", "bounds")
    if area.is_empty:
        yield InvalidParameter(area.field, None, "must hold the geometry", "Add a bbox or a geometry.")
        return
    yield from area.check(objects(body, "input", "data"))
    shapes = area.shapes
    # The geometry wins where both are given.
    shape = shapes.get("geometry", shapes.get("bbox"))
    if shape is None or area.epsg is None:
        return
    west, south, east, north = shape.bounds
    for name, side, extent in (("resx", "width", east - west), ("resy", "height", north - south)):
        size = part(body, "aggregation", name)
        if is_number(size) and size > 0:
            yield from _check_pixels(f"aggregation.{name}", side, size, extent, in_degrees=area.epsg == WGS84)


def check_sampling(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find a period that its intervals do not fit into, and a size that is left to the service.

    :param body: The request.
    :param deployment: Not looked at.
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
            "has neither resx and resy nor width and height: each geometry becomes 256 x 256 pixels, whatever its size"
        )
        yield Advice("aggregation", fact, "Give resx and resy, in units of the CRS.")
    for one, other in (("width", "height"), ("height", "width")):
        if one in given and other not in given:
            yield Advice(f"aggregation.{other}", f"is left out, and so is 256, while {one} is given", "Give both.")


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
        rule = f"is longer than timeRange, {_length(end - start)}: the only interval would be skipped as too short"
        fix = "Set lastIntervalBehavior to SHORTEN or EXTEND, or choose shorter intervals."
        yield InvalidParameter(field, of, rule, fix)
    elif covered < end:
        fact = f"leaves {_length(end - covered)} at the end of timeRange over, which are skipped"
        fix = "Set lastIntervalBehavior to SHORTEN or EXTEND, or let timeRange.to be where an interval ends."
        yield Advice(field, fact, fix)


def _check_pixels(field: str, side: str, size: float, extent: float, *, in_degrees: bool) -> Iterator[Finding]:
    pixels, unit = extent / size, "degrees" if in_degrees else "metres"
    if pixels >= MAX_PX + 0.5:
        rule = f"makes the {side} {pixels:,.0f} pixels, and {MAX_PX:,} is the most; its unit is that of the CRS, {unit}"
        fix = f"Write {extent / MAX_PX:.3g} or more, or cut the geometry into parts."
        yield InvalidParameter(field, size, rule, fix)
    elif pixels < 1 and in_degrees and size > _USUAL_METRES / _METRES_OF_A_DEGREE:
        rule = f"is more than the {side} of the geometry, {extent:.3g} degrees; its unit is that of the CRS, degrees"
        fix = f"Write e.g. {_USUAL_METRES / _METRES_OF_A_DEGREE:.2g}, which is about {_USUAL_METRES} m, or give the "
        yield InvalidParameter(field, size, rule, f"{fix}geometry in a CRS that counts metres.")
    elif pixels < 1:
        fact = f"{size:g} is more than the {side} of the geometry, {extent:.3g} {unit}: less than one pixel"
        yield Advice(field, fact, "Choose a finer resolution.")


def _length(length: timedelta) -> str:
    text = f"{length / DAY:,.4g} days" if length >= DAY else f"{length / timedelta(hours=1):,.3g} hours"
    return text.removesuffix("s") if text.startswith("1 ") else text
