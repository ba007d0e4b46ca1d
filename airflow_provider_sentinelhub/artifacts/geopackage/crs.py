"""
Definitions of coordinate reference systems: as WKT for GeoPackages, as PROJJSON for GeoParquet.

WGS 84, its UTM zones, Web Mercator and ETRS89-LAEA are written out: nearly every user has one of these, tiling grids
have no other, and files with them are the same whatever is installed. pyproj, from the extra ``geo``, knows the rest.

Source: https://www.geopackage.org/spec130/ (spatial reference systems) and
https://proj.org/en/stable/specifications/projjson.html
"""

from __future__ import annotations

from typing import Any, NamedTuple

from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidParameter
from airflow_provider_sentinelhub.client.requests.crs import SUPPORTED_EPSG, WGS84

UNDEFINED = "undefined"
"""The definition of a system that has none."""

_WEB_MERCATOR = 3857
_EUROPE = 3035
_UTM_NORTH = range(32601, 32661)
_UTM_SOUTH = range(32701, 32761)
_GEOGCS = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],{axes}AUTHORITY["EPSG","4326"]]'
)
_LATITUDE_FIRST = 'AXIS["Latitude",NORTH],AXIS["Longitude",EAST],'
_UTM = (
    'PROJCS["{name}",{geogcs},PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],'
    'PARAMETER["central_meridian",{meridian}],PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],'
    'PARAMETER["false_northing",{northing}],UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],'
    'AXIS["Northing",NORTH],AUTHORITY["EPSG","{epsg}"]]'
)
_NAMES = {WGS84: "WGS 84", _WEB_MERCATOR: "WGS 84 / Pseudo-Mercator", _EUROPE: "ETRS89-extended / LAEA Europe"}
_WKTS = {
    WGS84: _GEOGCS.format(axes=_LATITUDE_FIRST),
    _WEB_MERCATOR: (
        f'PROJCS["{_NAMES[_WEB_MERCATOR]}",{_GEOGCS.format(axes="")},PROJECTION["Mercator_1SP"],'
        'PARAMETER["central_meridian",0],PARAMETER["scale_factor",1],PARAMETER["false_easting",0],'
        'PARAMETER["false_northing",0],UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],'
        'AXIS["Northing",NORTH],EXTENSION["PROJ4","+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 '
        '+k=1 +units=m +nadgrids=@null +wktext +no_defs"],AUTHORITY["EPSG","3857"]]'
    ),
    _EUROPE: (
        f'PROJCS["{_NAMES[_EUROPE]}",GEOGCS["ETRS89",DATUM["European_Terrestrial_Reference_System_1989",'
        'SPHEROID["GRS 1980",6378137,298.257222101,AUTHORITY["EPSG","7019"]],AUTHORITY["EPSG","6258"]],'
        'PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],'
        'AUTHORITY["EPSG","4258"]],PROJECTION["Lambert_Azimuthal_Equal_Area"],PARAMETER["latitude_of_center",52],'
        'PARAMETER["longitude_of_center",10],PARAMETER["false_easting",4321000],PARAMETER["false_northing",3210000],'
        'UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Northing",NORTH],AXIS["Easting",EAST],'
        'AUTHORITY["EPSG","3035"]]'
    ),
}


class CrsDefinition(NamedTuple):
    """
    A coordinate reference system as a GeoPackage describes it.

    :param name: Its name.
    :param wkt: Its definition, as WKT 1.
    """

    name: str
    wkt: str


def built_in_definition(epsg: int) -> CrsDefinition | None:
    """
    Return the name and the definition of a coordinate reference system that is written out here.

    :param epsg: EPSG code.
    """
    if epsg in _WKTS:
        return CrsDefinition(_NAMES[epsg], _WKTS[epsg])
    if epsg not in _UTM_NORTH and epsg not in _UTM_SOUTH:
        return None
    zone, northing, name = _utm_zone(epsg)
    wkt = _UTM.format(name=name, geogcs=_GEOGCS.format(axes=""), meridian=6 * zone - 183, northing=northing, epsg=epsg)
    return CrsDefinition(name, wkt)


def crs_definition(epsg: int) -> CrsDefinition:
    """
    Return the name and the definition of a coordinate reference system.

    :param epsg: EPSG code.
    :raises InvalidConfiguration: It needs pyproj, which is not installed.
    """
    if found := built_in_definition(epsg):
        return found
    if epsg not in SUPPORTED_EPSG:
        # The check of the file names it, together with everything else that is wrong.
        return CrsDefinition(f"EPSG:{epsg}", UNDEFINED)
    crs = _from_pyproj(epsg)
    return CrsDefinition(crs.name, crs.to_wkt("WKT1_GDAL", output_axis_rule=True))


def crs_projjson(epsg: int) -> dict[str, Any] | None:
    """
    Return the definition of a coordinate reference system; ``None`` for longitude and latitude, GeoParquet's default.

    :param epsg: EPSG code.
    :raises InvalidConfiguration: It needs pyproj, which is not installed.
    :raises InvalidParameter: There is no such system.
    """
    if epsg == WGS84:
        return None
    if epsg == _WEB_MERCATOR:
        return _projected(
            epsg,
            _BASE_WGS84,
            conversion="Popular Visualisation Pseudo-Mercator",
            method=("Popular Visualisation Pseudo Mercator", 1024),
            values=(0, 0, None, 0, 0),
            axes=(("Easting", "X", "east"), ("Northing", "Y", "north")),
        )
    if epsg == _EUROPE:
        return _projected(
            epsg,
            _BASE_ETRS89,
            conversion="Europe Equal Area 2001",
            method=("Lambert Azimuthal Equal Area", 9820),
            values=(52, 10, None, 4_321_000, 3_210_000),
            axes=(("Northing", "Y", "north"), ("Easting", "X", "east")),
        )
    if epsg in _UTM_NORTH or epsg in _UTM_SOUTH:
        zone, northing, name = _utm_zone(epsg)
        return _projected(
            epsg,
            _BASE_WGS84,
            conversion=name.rpartition(" / ")[2],
            method=("Transverse Mercator", 9807),
            values=(0, 6 * zone - 183, 0.9996, 500_000, northing),
            axes=(("Easting", "E", "east"), ("Northing", "N", "north")),
        )
    found: dict[str, Any] = _from_pyproj(epsg).to_json_dict()
    return found


def _utm_zone(epsg: int) -> tuple[int, int, str]:
    """Return the number, the false northing and the name of a UTM zone."""
    zones, northing, hemisphere = (_UTM_NORTH, 0, "N") if epsg in _UTM_NORTH else (_UTM_SOUTH, 10_000_000, "S")
    zone = epsg - zones.start + 1
    return zone, northing, f"WGS 84 / UTM zone {zone}{hemisphere}"


def _from_pyproj(epsg: int) -> Any:
    try:
        import pyproj
    except ImportError as error:
        raise InvalidConfiguration(
            f"Describing EPSG:{epsg} needs pyproj, which is not installed. Install it with: "
            "pip install 'airflow-provider-sentinelhub[geo]'. EPSG:4326, EPSG:3857, EPSG:3035 and the UTM zones of "
            "WGS 84 (EPSG:326xx, EPSG:327xx) can be described without it."
        ) from error
    try:
        return pyproj.CRS.from_epsg(epsg)
    except pyproj.exceptions.CRSError as error:
        rule = f"is in EPSG:{epsg}, and there is no such coordinate reference system"
        raise InvalidParameter("epsg", epsg, rule, "Write the file again with the right one.") from error


def _axis(name: str, abbreviation: str, direction: str, unit: str) -> dict[str, str]:
    return {"name": name, "abbreviation": abbreviation, "direction": direction, "unit": unit}


def _geographic(epsg: int, name: str, datum: str, ellipsoid: str, flattening: float) -> dict[str, Any]:
    return {
        "name": name,
        "datum": {
            "type": "GeodeticReferenceFrame",
            "name": datum,
            "ellipsoid": {"name": ellipsoid, "semi_major_axis": 6378137, "inverse_flattening": flattening},
        },
        "coordinate_system": {
            "subtype": "ellipsoidal",
            "axis": [
                _axis("Geodetic latitude", "Lat", "north", "degree"),
                _axis("Geodetic longitude", "Lon", "east", "degree"),
            ],
        },
        "id": {"authority": "EPSG", "code": epsg},
    }


_BASE_WGS84 = _geographic(WGS84, "WGS 84", "World Geodetic System 1984", "WGS 84", 298.257223563)
_BASE_ETRS89 = _geographic(4258, "ETRS89", "European Terrestrial Reference System 1989", "GRS 1980", 298.257222101)
_PARAMETERS = (
    ("Latitude of natural origin", "degree", 8801),
    ("Longitude of natural origin", "degree", 8802),
    ("Scale factor at natural origin", "unity", 8805),
    ("False easting", "metre", 8806),
    ("False northing", "metre", 8807),
)


def _projected(
    epsg: int,
    base: dict[str, Any],
    *,
    conversion: str,
    method: tuple[str, int],
    values: tuple[float | None, ...],
    axes: tuple[tuple[str, str, str], ...],
) -> dict[str, Any]:
    """Return the PROJJSON of a projected system; a value of ``None`` is a parameter its method does not have."""
    return {
        "$schema": "https://proj.org/schemas/v0.7/projjson.schema.json",
        "type": "ProjectedCRS",
        "name": crs_definition(epsg).name,
        "base_crs": base,
        "conversion": {
            "name": conversion,
            "method": {"name": method[0], "id": {"authority": "EPSG", "code": method[1]}},
            "parameters": [
                {"name": name, "value": value, "unit": unit, "id": {"authority": "EPSG", "code": code}}
                for (name, unit, code), value in zip(_PARAMETERS, values, strict=True)
                if value is not None
            ],
        },
        "coordinate_system": {"subtype": "Cartesian", "axis": [_axis(*axis, "metre") for axis in axes]},
        "id": {"authority": "EPSG", "code": epsg},
    }
