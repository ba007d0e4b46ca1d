"""
Rules on the area of interest (AOI).

Source: https://docs.planet.com/develop/apis/batch-processing/#area-of-interest-and-pus and
https://docs.planet.com/develop/apis/processing/#crs-support
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.requests.bounds import ORDER, reordered, size, spans
from airflow_provider_sentinelhub.client.requests.crs import SUPPORTED_EPSG, WGS84, epsg_of, epsg_of_geojson
from airflow_provider_sentinelhub.client.requests.extent import Extent
from airflow_provider_sentinelhub.client.requests.findings import (
    Advice,
    Finding,
    Json,
    is_number,
    mapping,
    part,
)
from airflow_provider_sentinelhub.client.requests.tiling_grids import TILING_GRIDS, TilingGrid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shapely.geometry.base import BaseGeometry


MANY_PARTS = 1_000
_LONGITUDES, _LATITUDES = 180.0, 90.0
_ROUNDING = 1e-6
# A correct box does not become that much smaller if two of its sides are swapped.
_TIMES_SMALLER: Final = 100.0
_LEAST_SIDE: Final = {True: 1.0, False: 100_000.0}
_SENTINEL_2: Final = (-56.0, 84.0)
_SIDES = 4
# Wide enough for areas across several zones, and on both sides of the equator.
_UTM_NORTH, _UTM_SOUTH = (-1e6, -1e7, 2e6, 1e7), (-1e6, 0.0, 2e6, 2e7)


@dataclass(frozen=True)
class Area:
    """
    The area of interest of a request.

    :param field: Path of the bounds in the request.
    :param bounds: The bounds.
    """

    field: str
    bounds: Json

    @classmethod
    def of(cls, body: Json, *path: str) -> Area:
        """
        Return the area of a request.

        :param body: The request.
        :param path: Path of its bounds.
        """
        return cls(".".join(path), mapping(body, *path))

    @property
    def is_empty(self) -> bool:
        """Whether no area is given."""
        return part(self.bounds, "bbox") is None and part(self.bounds, "geometry") is None

    @cached_property
    def epsg(self) -> int | None:
        """EPSG code of the CRS; ``None`` if it cannot be read."""
        crs = part(self.bounds, "properties", "crs")
        return epsg_of(crs) if isinstance(crs, str) else WGS84

    @cached_property
    def _read(self) -> dict[str, BaseGeometry | InvalidParameter | None]:
        geometry = _read_geometry(f"{self.field}.geometry", part(self.bounds, "geometry"))
        return {"bbox": _read_box(part(self.bounds, "bbox")), "geometry": geometry}

    @property
    def shapes(self) -> dict[str, BaseGeometry]:
        """Bounding box and geometry, as far as they can be read."""
        return {
            name: shape
            for name, shape in self._read.items()
            if shape is not None and not isinstance(shape, InvalidParameter)
        }

    @cached_property
    def shape(self) -> BaseGeometry | None:
        """What is processed: of a bounding box and a geometry, their intersection; ``None`` if it cannot be read."""
        found = list(self.shapes.values())
        if not found:
            return None
        shape = (
            found[0].intersection(found[1]) if len(found) > 1 and all(each.is_valid for each in found) else found[-1]
        )
        return None if shape.is_empty else shape

    @cached_property
    def extent(self) -> Extent | None:
        """Its size and location; ``None`` if it cannot be read."""
        return None if self.shape is None else Extent.of(self.shape, self.epsg)

    def check(self, sources: list[Json]) -> Iterator[Finding]:
        """
        Find what cannot be read, or is probably not where it was meant to be.

        :param sources: The request's data sources.
        """
        crs, shapes = part(self.bounds, "properties", "crs"), self.shapes
        yield from _check_crs(f"{self.field}.properties.crs", crs, self.epsg)
        yield from _check_own_crs(f"{self.field}.geometry.crs", part(self.bounds, "geometry", "crs"), self.epsg)
        yield from (problem for problem in self._read.values() if isinstance(problem, InvalidParameter))
        for name, shape in shapes.items():
            yield from _check_parts(f"{self.field}.{name}", shape)
            if not shape.is_valid:
                fact = "has parts that share an edge, which is strictly speaking not valid"
                yield Advice(f"{self.field}.{name}", fact, "Merge them, e.g. with shapely.union_all.")
            yield from _check_extent(f"{self.field}.{name}", shape.bounds, self.epsg, f"{self.field}.properties.crs")
            if self.epsg == WGS84:
                yield from check_coverage(f"{self.field}.{name}", shape.bounds, sources)
        if "bbox" in shapes:
            yield from check_order(f"{self.field}.bbox", shapes["bbox"].bounds, self.epsg)
        if len(shapes) > 1 and not shapes["bbox"].intersects(shapes["geometry"]):
            rule = "does not intersect the geometry given with it, and only their intersection is processed"
            yield InvalidParameter(f"{self.field}.bbox", part(self.bounds, "bbox"), rule, "Give one of the two.")


def grid_of(body: Json, path: tuple[str, ...] = ("input",)) -> TilingGrid | None:
    """
    Return the tiling grid of a request; ``None`` if it has none, or an unknown one.

    :param body: The request.
    :param path: Path in it to the object with the ``id`` of the grid.
    """
    number = part(body, *path, "id")
    is_grid = part(body, *path, "type") in {None, "tiling-grid"} and is_number(number)
    return TILING_GRIDS.get(number) if is_grid else None


def reach_of(epsg: int | None) -> tuple[float, float, float, float] | None:
    """
    Return the limits of coordinates in a UTM zone (west, south, east, north); ``None`` for any other system.

    :param epsg: EPSG code.
    """
    return {326: _UTM_NORTH, 327: _UTM_SOUTH}.get((epsg or 0) // 100) if epsg in SUPPORTED_EPSG else None


def check_order(field: str, box: Sequence[float], epsg: int | None) -> Iterator[Finding]:
    """
    Find a box that would be far smaller if its sides were in another order.

    :param field: Path of the box in the request.
    :param box: West, south, east and north, as the service reads it.
    :param epsg: EPSG code of its coordinates.
    """
    meant = reordered(box)
    if meant is None or size(meant) * _TIMES_SMALLER > size(box) or min(spans(box)) < _LEAST_SIDE[epsg == WGS84]:
        return
    unit = "degrees" if epsg == WGS84 else "metres"
    fact = (
        f"{list(box)} spans {_spanned(box)} {unit} as the service reads it, {ORDER}; as west, east, south, north it "
        f"would be {_spanned(meant)}"
    )
    yield Advice(field, fact, f"If that was meant, write {meant}.")


def check_coverage(field: str, sides: Sequence[float], sources: list[Json]) -> Iterator[Finding]:
    """
    Find an area at latitudes without images.

    :param field: Path of the area in the request.
    :param sides: West, south, east and north in degrees.
    :param sources: The request's data sources.
    """
    _, south, _, north = sides
    kinds = {str(each.get("type")).lower() for each in sources}
    least, most = _SENTINEL_2
    if not kinds or not all(kind.startswith("sentinel-2-") for kind in kinds) or (south <= most and north >= least):
        return
    shown = [float(side) for side in sides]
    fact = f"{shown} is outside of the latitudes that Sentinel-2 covers, {least:g} to {most:g} degrees"
    yield Advice(field, fact, exchanged(sides, (-180.0, least, 180.0, most)) or "Check the area.")


def exchanged(sides: Sequence[float], within: Sequence[float]) -> str:
    """
    Say what to write if latitude was put before longitude; an empty text if that would not help.

    :param sides: West, south, east and north in degrees.
    :param within: Limits of the area, in the same order.
    """
    south, west, north, east = (float(side) for side in sides)
    lies_there = west <= within[2] and east >= within[0] and south <= within[3] and north >= within[1]
    is_on_earth = max(-south, north) <= 90  # noqa: PLR2004 - degrees of latitude
    meant = [west, south, east, north]
    return f"Longitude comes first. If latitude came first here, write {meant}." if lies_there and is_on_earth else ""


def _spanned(box: Sequence[float]) -> str:
    return " x ".join(f"{each:,.3g}" if each < 1000 else f"{each:,.0f}" for each in spans(box))  # noqa: PLR2004 - digits


def _check_crs(field: str, crs: Any, epsg: int | None) -> Iterator[Finding]:
    if epsg in SUPPORTED_EPSG or not isinstance(crs, str):
        return
    yield InvalidParameter(
        field,
        crs,
        "is not a coordinate reference system the service supports",
        "Reproject the area, e.g. to http://www.opengis.net/def/crs/OGC/1.3/CRS84 (longitude and latitude).",
    )


def _check_own_crs(field: str, crs: Any, epsg: int | None) -> Iterator[Finding]:
    """Check the member ``crs`` that old GeoJSON has, and that the service passes over."""
    own = epsg_of_geojson(crs)
    if crs is None or epsg is None or own == epsg:
        return
    rule = (
        f"is not read by the service: it takes the coordinates to be in EPSG:{epsg}, by properties.crs or its default"
    )
    fix = "Write it as properties.crs of the bounds, and leave it out here."
    yield Advice(field, rule, fix) if own is None else InvalidParameter(field, crs, rule, fix)


def _read_box(given: Any) -> BaseGeometry | None:
    from shapely.geometry import box

    # Anything that is not a box is an error of the model.
    is_box = isinstance(given, (list, tuple)) and len(given) == _SIDES and all(map(is_number, given))
    return box(*map(float, given)) if is_box and given[0] < given[2] and given[1] < given[3] else None


def _read_geometry(field: str, given: Any) -> BaseGeometry | InvalidParameter | None:
    import shapely
    from shapely.errors import ShapelyError
    from shapely.geometry import shape

    if part(given, "type") not in ("Polygon", "MultiPolygon"):
        return None  # anything that is not a polygon is an error of the model
    try:
        found = shape(given)
        reason = "" if found.is_valid or _only_touches(found) else shapely.is_valid_reason(found)
        is_empty = found.is_empty
    except (
        ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError,
    ) as e:  # fmt: skip
        text = str(e).partition("\n")[0] or type(e).__name__
        return InvalidParameter(field, given, f"cannot be read as a polygon ({text})", "Correct its coordinates.")
    if is_empty:
        return InvalidParameter(field, given, "is empty", "Give its coordinates.")
    if reason:
        fix = "Repair it, e.g. with shapely.make_valid, or draw it again."
        return InvalidParameter(field, given, f"is not a valid polygon: {reason}", fix)
    return found


def _only_touches(shape: BaseGeometry) -> bool:
    """Say whether an invalid geometry consists of valid parts that share only edges."""
    import shapely

    parts = shapely.get_parts(shape)
    if len(parts) == 1 or not shapely.is_valid(parts).all():
        return False
    return bool(shapely.union_all(parts).area >= (1 - _ROUNDING) * shape.area)


def _check_parts(field: str, shape: BaseGeometry) -> Iterator[Finding]:
    parts = len(getattr(shape, "geoms", ()))
    if parts > MANY_PARTS:
        yield Advice(
            field,
            f"has {parts:,} parts; the service has refused geometries with thousands of them",
            "Merge adjacent parts, or put them into a GeoPackage as features.",
        )


def _check_extent(field: str, extent: Sequence[float], epsg: int | None, crs: str) -> Iterator[Finding]:
    shown = [float(side) for side in extent]
    if epsg == WGS84 and not is_in_degrees(extent):
        yield InvalidParameter(
            field,
            shown,
            "is outside of longitudes -180 to 180 or latitudes -90 to 90",
            f"Longitude comes first. If the units are not degrees, set the CRS in {crs}.",
        )
    elif epsg is not None and epsg != WGS84 and is_in_degrees(extent):
        yield Advice(
            field,
            f"{shown} looks like degrees, but {crs} is EPSG:{epsg}, which is in metres",
            "Check the CRS.",
        )
    elif (reach := reach_of(epsg)) is not None and not _is_within(extent, reach):
        yield InvalidParameter(
            field,
            shown,
            f"reaches beyond all that EPSG:{epsg} is for: {reach[0]:.0f} to {reach[2]:.0f} metres east, and "
            f"{reach[1]:.0f} to {reach[3]:.0f} north",
            f"Easting comes first. If it does, set the CRS of these coordinates in {crs}.",
        )


def _is_within(extent: Sequence[float], reach: Sequence[float]) -> bool:
    return extent[0] >= reach[0] and extent[1] >= reach[1] and extent[2] <= reach[2] and extent[3] <= reach[3]


def is_in_degrees(extent: Sequence[float]) -> bool:
    """
    Say whether an area may be one of longitudes and latitudes.

    :param extent: West, south, east and north.
    """
    west, south, east, north = extent
    return max(-west, east) <= _LONGITUDES + _ROUNDING and max(-south, north) <= _LATITUDES + _ROUNDING
