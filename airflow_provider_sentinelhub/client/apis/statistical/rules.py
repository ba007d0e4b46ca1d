"""
Statistical: rules on a request before it is sent.

Source: https://docs.planet.com/develop/apis/statistical/reference/ (width, height, resx, resy)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.preflight.area import Area
from airflow_provider_sentinelhub.client.preflight.data import data_rule
from airflow_provider_sentinelhub.client.preflight.regions import statistics_region
from airflow_provider_sentinelhub.client.preflight.statistics import check_sampling, check_statistics
from airflow_provider_sentinelhub.client.requests.aggregation import MAX_PX
from airflow_provider_sentinelhub.client.requests.crs import WGS84
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, Rule, is_number, objects, part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

_METRES_OF_A_DEGREE = 111_320
_USUAL_METRES = 10


def check_geometry(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find a geometry that is missing, cannot be read, or has too many or too few pixels.

    :param body: A Statistical request.
    :param deployment: Not used.
    """
    area = Area.of(body, "input", "bounds")
    if area.is_empty:
        yield InvalidParameter(area.field, None, "is required", "Add a bbox or a geometry.")
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


def _check_pixels(field: str, side: str, size: float, extent: float, *, in_degrees: bool) -> Iterator[Finding]:
    pixels, unit = extent / size, "degrees" if in_degrees else "metres"
    if pixels >= MAX_PX + 0.5:
        rule = f"makes the {side} {pixels:,.0f} pixels, and {MAX_PX:,} is the most; its unit is that of the CRS, {unit}"
        fix = f"Write {extent / MAX_PX:.3g} or more, or cut the geometry into parts."
        yield InvalidParameter(field, size, rule, fix)
    elif pixels < 1 and in_degrees and size > _USUAL_METRES / _METRES_OF_A_DEGREE:
        rule = f"is more than the {side} of the geometry, {extent:.3g} degrees; its unit is that of the CRS, degrees"
        fix = f"Write e.g. {_USUAL_METRES / _METRES_OF_A_DEGREE:.2g}, which is about {_USUAL_METRES} m, or give the "
        yield InvalidParameter(field, size, rule, f"{fix}geometry in a CRS in metres.")
    elif pixels < 1:
        fact = f"{size:g} is more than the {side} of the geometry, {extent:.3g} {unit}: less than one pixel"
        yield Advice(field, fact, "Choose a finer resolution.")


RULES: Final[tuple[Rule, ...]] = (
    check_geometry,
    data_rule("input", "data"),
    check_sampling,
    check_statistics,
    statistics_region(Service.STATISTICAL, "Statistical"),
)
