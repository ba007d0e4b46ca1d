"""
Process: rules on a request before it is sent.

Source: https://docs.planet.com/develop/apis/processing/reference/ (width, height, resx, resy, responses)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.apis.process.calls import MAX_PARTS, MAX_PX, formats_of
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS, Service
from airflow_provider_sentinelhub.client.preflight.area import Area
from airflow_provider_sentinelhub.client.preflight.data import data_rule
from airflow_provider_sentinelhub.client.preflight.images import check_image_outputs
from airflow_provider_sentinelhub.client.preflight.regions import check_sources
from airflow_provider_sentinelhub.client.requests.crs import WGS84
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, Rule, mapping, objects, part
from airflow_provider_sentinelhub.client.requests.raster import Raster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

TIFF: Final = "image/tiff"

_MAX_PX_ASYNC: Final = 10_000
_WAYS = (
    f"Set split=True on SentinelHubProcessOperator, which requests the image in parts; or use "
    f"SentinelHubAsyncProcessOperator, up to {_MAX_PX_ASYNC:,} pixels, or SentinelHubBatchProcessOperator"
)


def check_area(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find an area that is missing, cannot be read, or has less than one pixel.

    :param body: The request.
    :param deployment: Not used.
    """
    area = Area.of(body, "input", "bounds")
    if area.is_empty:
        yield InvalidParameter(area.field, None, "is required", "Add a bbox or a geometry.")
        return
    yield from area.check(objects(body, "input", "data"))
    output = mapping(body, "output")
    raster = Raster.of(area.bounds, output)
    if raster is None:
        return
    west, south, east, north = raster.box
    for name, extent in (("resx", east - west), ("resy", north - south)):
        step = output.get(name)
        if step is not None and extent / step < 0.5:  # noqa: PLR2004 - half a pixel is rounded to one
            unit = "degrees" if raster.epsg == WGS84 else "metres"
            fact = f"{step:g} is more than the area's {extent:.3g} {unit}: less than one pixel"
            yield Advice(f"output.{name}", fact, "Choose a finer resolution; its unit is that of the CRS.")


def check_size(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find an image that is too large for one answer.

    :param body: The request.
    :param deployment: Not used.
    """
    output = mapping(body, "output")
    raster = Raster.of(mapping(body, "input", "bounds"), output)
    if raster is None:
        return
    west, south, east, north = raster.box
    sides = (("width", "resx", raster.width, east - west), ("height", "resy", raster.height, north - south))
    for side, resolution, pixels, extent in sides:
        if pixels <= MAX_PX:
            continue
        if (step := output.get(resolution)) is None:
            rule = f"is more than {MAX_PX:,} pixels, the most in one answer"
            yield InvalidParameter(f"output.{side}", pixels, rule, f"Write {MAX_PX} or less. {_WAYS}.")
        else:
            unit = "degrees" if raster.epsg == WGS84 else "metres"
            rule = f"makes the {side} {pixels:,} pixels, and {MAX_PX:,} is the most in one answer; its unit is {unit}"
            fix = f"Write {extent / MAX_PX:.6g} or more. {_WAYS}."
            yield InvalidParameter(f"output.{resolution}", step, rule, fix)


def check_parts(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find an image that cannot be put together from parts.

    :param body: The request.
    :param deployment: Not used.
    """
    formats = formats_of(body)
    if list(formats.values()) != [TIFF]:
        rule = "cannot be put together from parts: split=True writes one GeoTIFF"
        fix = f"Ask for one response of the format {TIFF}, or request an image of at most {MAX_PX:,} pixels."
        yield InvalidParameter("output.responses", part(body, "output", "responses"), rule, fix)
    raster = Raster.of(mapping(body, "input", "bounds"), mapping(body, "output"))
    if raster is None:
        return
    parts = -(-raster.width // MAX_PX) * -(-raster.height // MAX_PX)
    if parts > MAX_PARTS:
        size = f"{raster.width:,} x {raster.height:,} pixels"
        rule = f"makes {size}, which are {parts:,} requests; at most {MAX_PARTS:,} are sent for one image"
        fix = "Choose a coarser resolution or a smaller area, or use SentinelHubBatchProcessOperator."
        yield InvalidParameter("output", dict(mapping(body, "output")), rule, fix)


def check_deployment(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
    """
    Find data sources that only another deployment has.

    :param body: The request.
    :param deployment: Where it will be sent; ``None`` if that is not known.
    """
    if deployment is None:
        return
    if Service.PROCESS in deployment.lacks:
        others = " or ".join(each.title for each in DEPLOYMENTS.values() if Service.PROCESS not in each.lacks)
        yield InvalidParameter("deployment", deployment.title, "has no Process API", f"Use a connection to {others}.")
    yield from check_sources("input.data", objects(body, "input", "data"), deployment)


_COMMON: Final[tuple[Rule, ...]] = (check_area, data_rule("input", "data"), check_image_outputs, check_deployment)

RULES: Final = (*_COMMON, check_size)
RULES_OF_PARTS: Final = (*_COMMON, check_parts)
"""Those of an image that is requested in parts."""
