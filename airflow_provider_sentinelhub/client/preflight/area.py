"""
Rules on the area of interest (AOI).

Source: https://docs.planet.com/develop/apis/batch-processing/#area-of-interest-and-pus and
https://docs.planet.com/develop/apis/processing/#crs-support
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.crs import SUPPORTED_EPSG, WGS84, epsg_of
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.preflight.findings import Advice, Finding, Json, is_number, mapping, part
from airflow_provider_sentinelhub.client.tiling_grids import TILING_GRIDS, TilingGrid

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from airflow_provider_sentinelhub.client.deployments import Deployment

BOUNDS = "processRequest.input.bounds"
MANY_PARTS = 1_000
_LONGITUDES, _LATITUDES = 180.0, 90.0
_ROUNDING = 1e-6
_SIDES = 4


def check_area(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find an area that is missing, cannot be read, or has no tiles.

    :param body: The request.
    :param deployment: Not looked at.
    """
    bounds = mapping(body, "processRequest", "input", "bounds")
    grid = grid_of(body)
    if part(bounds, "bbox") is None and part(bounds, "geometry") is None:
        if part(body, "input", "type") == "tiling-grid":
            fix = "Add a bbox or a geometry: it chooses the tiles."
            yield InvalidParameter(BOUNDS, None, "is required with a tiling grid", fix)
        return
    crs = part(bounds, "properties", "crs")
    epsg = epsg_of(crs) if isinstance(crs, str) else WGS84
    yield from _check_crs(crs, epsg)
    shapes: list[BaseGeometry] = []
    for name, read in (("bbox", _read_box), ("geometry", _read_geometry)):
        shape = read(part(bounds, name))
        if isinstance(shape, InvalidParameter):
            yield shape
        elif shape is not None:
            yield from _check_parts(f"{BOUNDS}.{name}", shape)
            yield from _check_extent(f"{BOUNDS}.{name}", shape.bounds, epsg)
            shapes.append(shape)
    if shapes and epsg == WGS84 and grid is not None and all(_is_in_degrees(shape.bounds) for shape in shapes):
        yield from _check_coverage(shapes, grid)
    if len(shapes) > 1 and not shapes[0].intersects(shapes[1]):
        rule = "has nothing in common with the geometry beside it, and only what both cover is processed"
        yield InvalidParameter(f"{BOUNDS}.bbox", part(bounds, "bbox"), rule, "Give one of the two.")


def grid_of(body: Json) -> TilingGrid | None:
    """
    Return the tiling grid of a request, where it names one there is.

    :param body: The request.
    """
    number = part(body, "input", "id")
    is_grid = part(body, "input", "type") == "tiling-grid" and isinstance(number, int)
    return TILING_GRIDS.get(number) if is_grid else None


def _check_crs(crs: Any, epsg: int | None) -> Iterator[Finding]:
    if epsg in SUPPORTED_EPSG or not isinstance(crs, str):
        return
    yield InvalidParameter(
        f"{BOUNDS}.properties.crs",
        crs,
        "is not among the coordinate reference systems the service knows",
        "Reproject the area, e.g. to longitude and latitude, http://www.opengis.net/def/crs/OGC/1.3/CRS84.",
    )


def _read_box(given: Any) -> BaseGeometry | None:
    from shapely.geometry import box

    # What is no box at all, the model says.
    is_box = isinstance(given, (list, tuple)) and len(given) == _SIDES and all(map(is_number, given))
    return box(*map(float, given)) if is_box and given[0] < given[2] and given[1] < given[3] else None


def _read_geometry(given: Any) -> BaseGeometry | InvalidParameter | None:
    import shapely
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    field = f"{BOUNDS}.geometry"
    if part(given, "type") not in {"Polygon", "MultiPolygon"}:
        return None  # what is no polygon at all, the model says
    try:
        found = shape(given)
        reason = "" if found.is_valid else shapely.is_valid_reason(found)
        is_empty = found.is_empty
    except (ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as e:
        text = str(e).partition("\n")[0] or type(e).__name__
        return InvalidParameter(field, given, f"cannot be read as a polygon ({text})", "Correct its coordinates.")
    if is_empty:
        return InvalidParameter(field, given, "is empty", "Give its coordinates.")
    if reason:
        fix = "Mend it, e.g. with shapely.make_valid, or draw it anew."
        return InvalidParameter(field, given, f"is not a valid polygon: {reason}", fix)
    return found


def _check_parts(field: str, shape: BaseGeometry) -> Iterator[Finding]:
    parts = len(getattr(shape, "geoms", ()))
    if parts > MANY_PARTS:
        yield Advice(
            field,
            f"has {parts:,} parts; the service has refused geometries with thousands of them",
            "Merge neighbours, or give the areas as features of a GeoPackage.",
        )


def _check_extent(field: str, extent: Sequence[float], epsg: int | None) -> Iterator[Finding]:
    shown = [float(side) for side in extent]
    if epsg == WGS84 and not _is_in_degrees(extent):
        yield InvalidParameter(
            field,
            shown,
            "reaches beyond 180 degrees of longitude or 90 of latitude",
            f"Longitude comes first. If these are no degrees, name their CRS in {BOUNDS}.properties.crs.",
        )
    elif epsg is not None and epsg != WGS84 and _is_in_degrees(extent):
        yield Advice(
            field,
            f"{shown} looks like degrees, and {BOUNDS}.properties.crs is EPSG:{epsg}, which counts metres",
            "Check the CRS.",
        )


def _is_in_degrees(extent: Sequence[float]) -> bool:
    west, south, east, north = extent
    return max(-west, east) <= _LONGITUDES + _ROUNDING and max(-south, north) <= _LATITUDES + _ROUNDING


def _check_coverage(shapes: list[BaseGeometry], grid: TilingGrid) -> Iterator[Finding]:
    west, south, east, north = grid.extent
    for shape in shapes:
        left, bottom, right, top = shape.bounds
        if right < west or left > east or top < south or bottom > north:
            yield InvalidParameter(
                BOUNDS,
                [float(side) for side in shape.bounds],
                f"lies where tiling grid {grid.id} ({grid.title}) has no tiles",
                "Choose another grid, e.g. 3 (WGS84 1 degree), which covers the world.",
            )
            return
