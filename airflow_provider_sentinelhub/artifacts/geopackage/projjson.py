"""
Coordinate reference systems as GeoParquet describes them.

The UTM zones of WGS 84 are spelled out; for the others pyproj is asked, which the extra ``simulator`` brings.

Source: https://proj.org/en/stable/specifications/projjson.html
"""

from __future__ import annotations

from typing import Any

from airflow_provider_sentinelhub.artifacts.geopackage.crs import crs_name
from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidParameter
from airflow_provider_sentinelhub.client.requests.crs import WGS84

_UTM = {32600: (0, "N"), 32700: (10_000_000, "S")}
_ZONES = range(1, 61)


def crs_projjson(epsg: int) -> dict[str, Any] | None:
    """
    Return the definition of a coordinate reference system; ``None`` for longitude and latitude, GeoParquet's default.

    :param epsg: EPSG code.
    :raises InvalidConfiguration: It is neither WGS 84 nor one of its UTM zones, and pyproj is not installed.
    :raises InvalidParameter: There is no such system.
    """
    if epsg == WGS84:
        return None
    north, zone = epsg // 100 * 100, epsg % 100
    if north in _UTM and zone in _ZONES:
        return _utm(epsg, zone, *_UTM[north])
    try:
        import pyproj
    except ImportError as error:
        raise InvalidConfiguration(
            f"Describing EPSG:{epsg} needs pyproj, which is not installed. Install it with: pip install pyproj. "
            "Longitude and latitude (EPSG:4326) and the UTM zones of WGS 84 can be described without it."
        ) from error
    try:
        found: dict[str, Any] = pyproj.CRS.from_epsg(epsg).to_json_dict()
    except pyproj.exceptions.CRSError as error:
        rule = f"is in EPSG:{epsg}, and there is no such coordinate reference system"
        raise InvalidParameter("epsg", epsg, rule, "Write the GeoPackage again with the right one.") from error
    return found


def _utm(epsg: int, zone: int, false_northing: int, hemisphere: str) -> dict[str, Any]:
    parameters = (
        ("Latitude of natural origin", 0, "degree", 8801),
        ("Longitude of natural origin", 6 * zone - 183, "degree", 8802),
        ("Scale factor at natural origin", 0.9996, "unity", 8805),
        ("False easting", 500_000, "metre", 8806),
        ("False northing", false_northing, "metre", 8807),
    )
    return {
        "$schema": "https://proj.org/schemas/v0.7/projjson.schema.json",
        "type": "ProjectedCRS",
        "name": crs_name(epsg),
        "base_crs": {
            "name": "WGS 84",
            "datum": {
                "type": "GeodeticReferenceFrame",
                "name": "World Geodetic System 1984",
                "ellipsoid": {"name": "WGS 84", "semi_major_axis": 6378137, "inverse_flattening": 298.257223563},
            },
            "coordinate_system": {
                "subtype": "ellipsoidal",
                "axis": [
                    _axis("Geodetic latitude", "Lat", "north", "degree"),
                    _axis("Geodetic longitude", "Lon", "east", "degree"),
                ],
            },
            "id": {"authority": "EPSG", "code": WGS84},
        },
        "conversion": {
            "name": f"UTM zone {zone}{hemisphere}",
            "method": {"name": "Transverse Mercator", "id": {"authority": "EPSG", "code": 9807}},
            "parameters": [
                {"name": name, "value": value, "unit": unit, "id": {"authority": "EPSG", "code": code}}
                for name, value, unit, code in parameters
            ],
        },
        "coordinate_system": {
            "subtype": "Cartesian",
            "axis": [_axis("Easting", "E", "east", "metre"), _axis("Northing", "N", "north", "metre")],
        },
        "id": {"authority": "EPSG", "code": epsg},
    }


def _axis(name: str, abbreviation: str, direction: str, unit: str) -> dict[str, str]:
    return {"name": name, "abbreviation": abbreviation, "direction": direction, "unit": unit}
