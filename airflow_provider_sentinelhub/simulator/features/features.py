"""The features of a task: tiles of a grid, or polygons of the user's GeoPackage, each with the size of its raster."""

from __future__ import annotations

import math
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely
from shapely.geometry import box, shape

from airflow_provider_sentinelhub.client.requests.crs import SUPPORTED_EPSG
from airflow_provider_sentinelhub.simulator.bucket import geopackage
from airflow_provider_sentinelhub.simulator.bucket.delivery import BucketFailed
from airflow_provider_sentinelhub.simulator.features.grids import GRIDS, WGS84, project, tiles
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shapely.geometry.base import BaseGeometry

    from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, shapely.errors.ShapelyError)
"""What shapely raises where coordinates are not numbers, not in pairs, or not in rings."""

_CRS = re.compile(
    r"https?://www\.opengis\.net/def/crs/(?:EPSG/0/(?P<code>\d{4,5})|OGC/1\.3/CRS84)"
    r"|urn:ogc:def:crs:(?:EPSG:[\d.]*:(?P<urn>\d{4,5})|OGC:[\d.]*:CRS84)"
)
MAX_FEATURES = 700_000
MAX_PIXELS = 3500


@dataclass(frozen=True, slots=True)
class Feature:
    """
    One unit of processing.

    :param name: Tile name, or the user's identifier.
    :param crs: EPSG code.
    :param width: In pixels.
    :param height: In pixels.
    :param west: Left edge of the raster in units of the CRS.
    :param north: Upper edge of the raster in units of the CRS.
    :param step_x: Width of a pixel in units of the CRS.
    :param step_y: Height of a pixel in units of the CRS, positive.
    :param geometry: Outline in the CRS; ``None`` for a tile of a grid.
    :param id: Number in the user's GeoPackage; ``None`` for a tile of a grid.
    :param named: Whether the name is the user's; otherwise it is the number.
    """

    name: str
    crs: int
    width: int
    height: int
    west: float
    north: float
    step_x: float
    step_y: float
    geometry: BaseGeometry | None = None
    id: int | None = None
    named: bool = True

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the middle of the raster."""
        middle = project(self.extent.centroid, self.crs, WGS84)
        return middle.x, middle.y

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine coefficients a, b, c, d, e, f."""
        return (self.step_x, 0.0, self.west, 0.0, -self.step_y, self.north)

    @property
    def extent(self) -> BaseGeometry:
        """The raster's rectangle in the CRS."""
        east = self.west + self.width * self.step_x
        return box(self.west, self.north - self.height * self.step_y, east, self.north)


def area_of(bounds: dict[str, Any]) -> BaseGeometry | None:
    """
    Return the area of interest in longitude and latitude; ``None`` when the request has none.

    :param bounds: ``processRequest.input.bounds``, whose shape is right.
    :raises ValueError: It cannot be read; see :data:`UNREADABLE`.
    """
    if not ("bbox" in bounds or "geometry" in bounds):
        epsg_of(bounds)
        return None
    outline, source = outline_in_crs(bounds)
    if source == WGS84:
        return outline
    longest = max(outline.bounds[2] - outline.bounds[0], outline.bounds[3] - outline.bounds[1])
    area = project(shapely.segmentize(outline, longest / 50), source, WGS84)
    if not all(map(math.isfinite, area.bounds)):
        raise ValueError("the coordinates are not in the area of the CRS")
    return area


def outline_in_crs(bounds: dict[str, Any]) -> tuple[BaseGeometry, int]:
    """
    Return the area of interest in its own CRS, and the EPSG code of that.

    :param bounds: Has ``bbox``, ``geometry`` or both.
    :raises ValueError: It cannot be read; see :data:`UNREADABLE`.
    """
    crs = epsg_of(bounds)
    outlines = []
    if "bbox" in bounds:
        west, south, east, north = (float(each) for each in bounds["bbox"])
        if west >= east or south >= north:
            raise ValueError("bbox must be west, south, east and north")
        outlines.append(box(west, south, east, north))
    if "geometry" in bounds:
        outlines.append(_polygon(bounds["geometry"]))
    for each in outlines:
        west, south, east, north = each.bounds
        if crs == WGS84 and (west < -180 or east > 180 or south < -90 or north > 90):  # noqa: PLR2004 - degrees
            raise ValueError("longitudes must be from -180 to 180, and latitudes from -90 to 90")
    # With both, the area is their intersection.
    outline = outlines[0] if len(outlines) == 1 else outlines[0].intersection(outlines[1])
    if outline.is_empty or not outline.area:
        raise ValueError("the geometry is empty")
    return outline, crs


def _polygon(given: dict[str, Any]) -> BaseGeometry:
    polygons = given["coordinates"] if given["type"] == "MultiPolygon" else [given["coordinates"]]
    if any(len(ring) < 4 or ring[0] != ring[-1] for polygon in polygons for ring in polygon):  # noqa: PLR2004 - a triangle
        raise ValueError("each ring must have four points or more, of which the last is the first")
    geometry = shape(given)
    if geometry.is_valid:
        return geometry
    # Parts that share an edge are not valid either, but no part is in doubt.
    parts = shapely.get_parts(geometry)
    merged = shapely.union_all(parts) if shapely.is_valid(parts).all() else None
    if merged is None or not math.isclose(merged.area, geometry.area):
        raise ValueError(f"the geometry is invalid: {shapely.is_valid_reason(geometry)}")
    return merged


def epsg_of(bounds: dict[str, Any]) -> int:
    """
    Return the EPSG code of the bounds; CRS84 is the default and counts as 4326, x before y.

    :param bounds: ``processRequest.input.bounds``.
    :raises ValueError: The CRS is not one that the service documents.
    """
    text = bounds.get("properties", {}).get("crs")
    found = _CRS.fullmatch(text) if text is not None else None
    if text is not None and found is None:
        raise ValueError(f"unknown CRS '{text}'")
    code = int(found["code"] or found["urn"] or WGS84) if found else WGS84
    if code not in SUPPORTED_EPSG:
        raise ValueError(f"unknown CRS '{text}'")
    return code


def from_grid(source: dict[str, Any], area: BaseGeometry) -> list[Feature]:
    """
    List the tiles of a request, square by square.

    :param source: ``input`` of type ``tiling-grid``.
    :param area: In longitude and latitude.
    """
    resolution = float(source["resolution"])
    buffer_x, buffer_y = int(source.get("bufferX", 0)), int(source.get("bufferY", 0))
    found: dict[str, Feature] = {}
    for tile in tiles(GRIDS[source["id"]], area):
        pixels = round(tile.size / resolution)
        feature = Feature(
            name=tile.name,
            crs=tile.crs,
            width=pixels + 2 * buffer_x,
            height=pixels + 2 * buffer_y,
            west=tile.west - buffer_x * resolution,
            north=tile.north + buffer_y * resolution,
            step_x=resolution,
            step_y=resolution,
        )
        found[tile.name] = feature
    return list(found.values())


@contextmanager
def input_file(source: Bucket, url: str) -> Iterator[Path]:
    """
    Download the input GeoPackage.

    :param source: Where it is.
    :param url: Its URL.
    :raises AnalysisFailed: It cannot be read.
    """
    try:
        content = source.get(url.partition("://")[2].partition("/")[2])
    except BucketFailed as error:
        raise AnalysisFailed(f"The input GeoPackage {url} cannot be read: {error}.") from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input.gpkg"
        path.write_bytes(content)
        yield path


def from_geopackage(path: Path, defaults: dict[str, Any], area: BaseGeometry | None) -> list[Feature]:
    """
    List the polygons of the user's GeoPackage that overlap the area.

    :param path: The downloaded file.
    :param defaults: ``input.defaults``: used where a row has no size or resolution.
    :param area: In longitude and latitude; all rows when ``None``.
    :raises AnalysisFailed: The file breaks a rule; the text says which.
    """
    try:
        listed = _input_features(path, defaults)
    except ValueError as error:
        raise AnalysisFailed(f"Invalid input GeoPackage: {error}.") from error
    return [each for each in listed if area is None or _within(each, area)]


def _input_features(path: Path, defaults: dict[str, Any]) -> list[Feature]:
    features: dict[str, Feature] = {}
    for row in geopackage.read_input(path):
        feature = _input_feature(row, defaults)
        if feature.name in features:
            raise ValueError(f"identifier '{feature.name}' is not unique")
        features[feature.name] = feature
        if len(features) > MAX_FEATURES:
            raise ValueError(f"more than {MAX_FEATURES} features")
    return list(features.values())


def _within(feature: Feature, area: BaseGeometry) -> bool:
    return bool(area.intersects(project(feature.geometry or feature.extent, feature.crs, WGS84)))


def _input_feature(row: geopackage.InputRow, defaults: dict[str, Any]) -> Feature:
    where = f"table '{row.table}', identifier '{row.identifier}'"
    if not isinstance(row.identifier, str) or not row.identifier:
        raise ValueError(f"table '{row.table}': an identifier is missing or is not text")
    if row.crs is None:
        raise ValueError(f"table '{row.table}': the CRS must be an EPSG one")
    geometry = outline_of(row, where)
    west, south, east, north = geometry.bounds
    width, height, step = _pixels(row, defaults, east - west, north - south)
    if not (1 <= width <= MAX_PIXELS and 1 <= height <= MAX_PIXELS):
        raise ValueError(f"{where}: {width} x {height} pixels are more than {MAX_PIXELS} x {MAX_PIXELS}")
    step_x, step_y = (step, step) if step else ((east - west) / width, (north - south) / height)
    return Feature(row.identifier, row.crs, width, height, west, north, step_x, step_y, geometry, row.id)


def outline_of(row: geopackage.InputRow, where: str) -> BaseGeometry:
    """
    Return the polygon of a row.

    :param row: The row.
    :param where: Names it in errors.
    :raises ValueError: It is not a polygon.
    """
    try:
        geometry = geopackage.unblob(row.geometry or b"")
    except (ValueError, shapely.errors.ShapelyError) as error:
        raise ValueError(f"{where}: {error}") from error
    if geometry.geom_type not in {"Polygon", "MultiPolygon"} or geometry.is_empty:
        raise ValueError(f"{where}: the geometry must be a POLYGON or MULTIPOLYGON")
    return geometry


def _pixels(row: geopackage.InputRow, defaults: dict[str, Any], across: float, down: float) -> tuple[int, int, float]:
    if row.width and row.height:
        return row.width, row.height, 0.0
    step = float(row.resolution or 0)
    if not step:
        if "width" in defaults and "height" in defaults:
            return int(defaults["width"]), int(defaults["height"]), 0.0
        step = float(defaults.get("resolution", 0))
    if step <= 0:
        raise ValueError(
            f"table '{row.table}', identifier '{row.identifier}': neither width and height nor resolution is given"
        )
    return math.ceil(across / step), math.ceil(down / step), step
