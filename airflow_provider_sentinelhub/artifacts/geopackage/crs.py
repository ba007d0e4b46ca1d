"""
Coordinate reference systems, as a GeoPackage describes them.

Only WGS 84 and its UTM zones are spelled out. Every program that reads GeoPackages knows the others by their EPSG code.
"""

from __future__ import annotations

_GEOGCS = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],{axes}AUTHORITY["EPSG","4326"]]'
)
_UTM = (
    'PROJCS["{name}",{geogcs},PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],'
    'PARAMETER["central_meridian",{meridian}],PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],'
    'PARAMETER["false_northing",{northing}],UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["Easting",EAST],'
    'AXIS["Northing",NORTH],AUTHORITY["EPSG","{epsg}"]]'
)
_WGS84 = 4326
_UTM_NORTH = range(32601, 32661)
_UTM_SOUTH = range(32701, 32761)


def crs_name(epsg: int) -> str:
    """
    Return what people call a coordinate reference system.

    :param epsg: EPSG code.
    """
    if epsg == _WGS84:
        return "WGS 84"
    if epsg in _UTM_NORTH:
        return f"WGS 84 / UTM zone {epsg - _UTM_NORTH.start + 1}N"
    if epsg in _UTM_SOUTH:
        return f"WGS 84 / UTM zone {epsg - _UTM_SOUTH.start + 1}S"
    return f"EPSG:{epsg}"


def crs_wkt(epsg: int) -> str:
    """
    Return the definition of a coordinate reference system; ``undefined`` where its code has to be enough.

    :param epsg: EPSG code.
    """
    if epsg == _WGS84:
        return _GEOGCS.format(axes='AXIS["Latitude",NORTH],AXIS["Longitude",EAST],')
    zones = next((zones for zones in (_UTM_NORTH, _UTM_SOUTH) if epsg in zones), None)
    if zones is None:
        return "undefined"
    zone = epsg - zones.start + 1
    northing = 0 if zones is _UTM_NORTH else 10_000_000
    return _UTM.format(
        name=crs_name(epsg), geogcs=_GEOGCS.format(axes=""), meridian=6 * zone - 183, northing=northing, epsg=epsg
    )
