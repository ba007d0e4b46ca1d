"""
Cover geometries: where a tile has data, in as few points as a collection allows.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html (cover geometries)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import shapely

MOST_POINTS: Final = 100
_STEPS = 20
# Of the diagonal. The first tolerance is far below a pixel.
_FINEST = 1e-6
_GROWTH = 2.0


def simplified(outline: shapely.Geometry, most: int = MOST_POINTS) -> shapely.Geometry:
    """
    Return a polygon or multipolygon of few points that contains an outline, and lies within its bounding box.

    An outline that has few points is returned as it is. Otherwise the outline and its convex hull are both simplified
    by Douglas and Peucker, with the smallest of some tolerances, and widened by that tolerance, so nothing is cut off;
    the smaller result is returned. At last that is the bounding box.

    :param outline: The outline.
    :param most: How many points it may have, the last one of each ring included.
    """
    import shapely

    is_area = outline.geom_type in {"Polygon", "MultiPolygon"}
    if is_area and shapely.get_num_coordinates(outline) <= most and outline.is_valid:
        return outline
    outline = shapely.make_valid(outline)
    found = [_of_few_points(outline, outline, most), _of_few_points(outline.convex_hull, outline, most)]
    return min(found, key=lambda each: float(each.area))


def _of_few_points(shape: shapely.Geometry, outline: shapely.Geometry, most: int) -> shapely.Geometry:
    import shapely

    box = outline.envelope
    west, south, east, north = outline.bounds
    tolerance = _FINEST * ((east - west) ** 2 + (north - south) ** 2) ** 0.5
    for _ in range(_STEPS):
        thin = shape.simplify(tolerance)
        # To widen and compare takes far longer than to count.
        if shapely.get_num_coordinates(thin) <= 2 * most:
            found = thin.buffer(tolerance, join_style="mitre", cap_style="square", mitre_limit=2.0).intersection(box)
            if _fits(found, most) and found.covers(outline):
                return found
        tolerance *= _GROWTH
    return box


def _fits(found: shapely.Geometry, most: int) -> bool:
    import shapely

    is_area = found.geom_type in {"Polygon", "MultiPolygon"} and not found.is_empty and found.is_valid
    return bool(is_area) and int(shapely.get_num_coordinates(found)) <= most


def as_geojson(outline: shapely.Geometry, epsg: int) -> dict[str, Any]:
    """
    Return an outline as GeoJSON that names its coordinate reference system, as a collection reads it.

    :param outline: A polygon or multipolygon.
    :param epsg: EPSG code of its coordinates, x before y.
    """
    from shapely.geometry import mapping

    name = "urn:ogc:def:crs:OGC::CRS84" if epsg == 4326 else f"urn:ogc:def:crs:EPSG::{epsg}"  # noqa: PLR2004 - WGS 84
    return {**mapping(outline), "crs": {"type": "name", "properties": {"name": name}}}
