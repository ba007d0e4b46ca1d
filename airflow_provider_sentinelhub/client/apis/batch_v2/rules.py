"""
Batch Processing V2: rules on a request before it is sent.

Source: https://docs.planet.com/develop/apis/batch-processing/ (deployments, data sources restrictions)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.costs.surcharge import PU_PER_MB_TO_ANOTHER_CLOUD
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS
from airflow_provider_sentinelhub.client.preflight.area import Area, exchanged, grid_of, is_in_degrees
from airflow_provider_sentinelhub.client.preflight.data import data_rule
from airflow_provider_sentinelhub.client.preflight.formats import check_raster, check_zarr
from airflow_provider_sentinelhub.client.preflight.outputs import DATA, check_outputs
from airflow_provider_sentinelhub.client.preflight.regions import (
    OWN_DATA,
    check_sources,
    region_findings,
    surcharge,
)
from airflow_provider_sentinelhub.client.requests.crs import WGS84
from airflow_provider_sentinelhub.client.requests.extent import Extent
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, Rule, mapping, objects, part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment
    from airflow_provider_sentinelhub.client.requests.tiling_grids import TilingGrid

_CDSE = "cdse"
_AWS = ("aws-eu-central-1", "aws-us-west-2")
_CDSE_RESOLUTION = 30.0
_ANOTHER = "Choose another grid, e.g. 3 (WGS84 1 degree), which covers the world."


def check_area(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find an area that is missing, cannot be read, or has no tiles.

    :param body: The request.
    :param deployment: Not used.
    """
    area, grid = Area.of(body, "processRequest", "input", "bounds"), grid_of(body)
    if area.is_empty:
        if part(body, "input", "type") == "tiling-grid":
            fix = "Add a bbox or a geometry: it selects the tiles."
            yield InvalidParameter(area.field, None, "is required with a tiling grid", fix)
        return
    yield from area.check(objects(body, "processRequest", "input", "data"))
    if grid is not None:
        yield from _check_coverage(area, grid)


def _check_coverage(area: Area, grid: TilingGrid) -> Iterator[Finding]:
    west, south, east, north = grid.extent
    for shape in area.shapes.values():
        extent = Extent.around(shape.bounds, area.epsg, 0.0)
        if extent.epsg != WGS84 or not is_in_degrees(extent.sides):
            continue  # Where it lies is not known, or another rule says that it is nowhere.
        left, bottom, right, top = sides = extent.sides
        shown = [round(side, 6) for side in sides]
        if right < west or left > east or top < south or bottom > north:
            # The hint is in degrees, so it is for an area in degrees.
            swapped = exchanged(sides, grid.extent) if area.epsg == WGS84 else ""
            yield InvalidParameter(
                area.field,
                shown,
                f"is in an area where tiling grid {grid.id} ({grid.title}) has no tiles",
                f"{swapped} {_ANOTHER}".strip(),
            )
            return
        if grid.crs == "UTM" and (top > north or bottom < south):
            fact = f"{shown} reaches beyond latitude {north:g}, where tiling grid {grid.id} ({grid.title}) ends"
            yield Advice(area.field, fact, f"There are no results beyond it. {_ANOTHER}")
            return


def check_region(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
    """
    Find what the deployment does not support, and what is far from it.

    :param body: The request.
    :param deployment: Where it will be sent; ``None`` if that is not known: then only what not all of them have is
        found.
    """
    yield from _check_resolution(body, deployment)
    if deployment is None:
        return
    for path in (("output", "delivery"), ("input", "features")):
        if mapping(body, *path, "gs") and not deployment.delivers_to_gcs:
            rule = f"is on Google Cloud Storage, which {deployment.title} does not support"
            url = part(body, *path, "gs", "url")
            yield InvalidParameter(f"{'.'.join(path)}.gs.url", url, rule, "Use a bucket on S3.")
    yield from _check_delivery(body, deployment)
    yield from check_sources(".".join(DATA), objects(body, *DATA), deployment, OWN_DATA)


def _check_resolution(body: Json, deployment: Deployment | None) -> Iterator[Finding]:
    grid, resolution = grid_of(body), part(body, "input", "resolution")
    if grid is None or resolution != _CDSE_RESOLUTION or _CDSE_RESOLUTION not in grid.resolutions:
        return
    others = ", ".join(f"{each:g}" for each in grid.resolutions if each != _CDSE_RESOLUTION)
    where = f"exists on {DEPLOYMENTS[_CDSE].title} only"
    if deployment is None:
        fact = f"{resolution:g} m {where}, and where this request goes is not known"
        yield Advice("input.resolution", fact, f"Anywhere else, choose one of {others}.")
    elif deployment.key in _AWS:
        rule = f"{where}, but this request goes to {deployment.title}"
        yield InvalidParameter("input.resolution", resolution, rule, f"Choose one of {others}.")


def _check_delivery(body: Json, deployment: Deployment) -> Iterator[Finding]:
    region = part(body, "output", "delivery", "s3", "region")
    if isinstance(region, str):
        yield from region_findings(body, region, deployment, "output.delivery.s3.region")
    if mapping(body, "output", "delivery", "gs") and deployment.region:
        fact = "the bucket is on Google Cloud Storage"
        yield surcharge("output.delivery.gs.url", fact, PU_PER_MB_TO_ANOTHER_CLOUD, deployment)


RULES: Final[tuple[Rule, ...]] = (
    check_area,
    data_rule(*DATA),
    check_outputs,
    check_raster,
    check_zarr,
    check_region,
)
