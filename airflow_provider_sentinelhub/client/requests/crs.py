"""
The coordinate reference systems the service supports, and how addresses and GeoJSON name them.

Source: https://docs.planet.com/develop/apis/processing/#crs-support and
https://geojson.org/geojson-spec.html#coordinate-reference-system-objects (2008)
"""

from __future__ import annotations

import re
from collections.abc import Mapping

WGS84 = 4326
_WEB_MERCATOR = 3857
_UTM = (range(32601, 32661), range(32701, 32761))
_NATIONAL = (
    2154, 2180, 2193, 3003, 3004, 3005, 3006, 3031, 3035, 3161, 3346, 3413, 3416, 3578, 3580, 3765, 3794, 3844, 3912,
    3995, 4026, 5514, 28992, 32184,
)  # fmt: skip

SUPPORTED_EPSG = frozenset({WGS84, _WEB_MERCATOR, *_UTM[0], *_UTM[1], *_NATIONAL})
"""EPSG codes of all of them; CRS84, which has none, is 4326 here."""

_CODE = re.compile(r"(?:EPSG/0/|EPSG:[\d.]*:)(\d+)$")
_CRS84 = re.compile(r"OGC[/:].*CRS84$")
_EPSG_NAME = re.compile(
    r"(?:urn:(?:x-)?ogc:def:crs:EPSG:[^:]*:|https?://www\.opengis\.net/(?:def/crs/EPSG/[^/]+/|gml/srs/epsg\.xml#)|EPSG:+)"
    r"(\d{1,9})",
    re.IGNORECASE,
)
_CRS84_NAME = re.compile(
    r"(?:urn:(?:x-)?ogc:def:crs:OGC:[^:]*:|https?://www\.opengis\.net/def/crs/OGC/[^/]+/|OGC:)CRS84h?", re.IGNORECASE
)


def epsg_of(address: str) -> int | None:
    """
    Return the EPSG code in the URI of a coordinate reference system.

    :param address: E.g. ``http://www.opengis.net/def/crs/EPSG/0/32633`` or ``urn:ogc:def:crs:OGC::CRS84``.
    :returns: The code, 4326 for CRS84; ``None`` if there is none.
    """
    if _CRS84.search(address):
        return WGS84
    found = _CODE.search(address)
    return int(found[1]) if found else None


def epsg_of_geojson(crs: object) -> int | None:
    """
    Return the EPSG code that a member ``crs`` of GeoJSON names, 4326 for CRS84; ``None`` if it names none.

    :param crs: Its value.
    """
    if isinstance(crs, str):
        return _epsg_of_name(crs)
    properties = crs.get("properties") if isinstance(crs, Mapping) else None
    if not isinstance(crs, Mapping) or not isinstance(properties, Mapping) or is_link(crs):
        return None
    code = str(properties.get("code"))
    if str(crs.get("type")).lower() == "epsg" and code.isdecimal():
        return int(code)
    return _epsg_of_name(str(properties.get("name", properties.get("urn", ""))))


def is_link(crs: object) -> bool:
    """
    Return whether a member ``crs`` of GeoJSON says where to look it up, instead of naming it.

    :param crs: Its value.
    """
    return isinstance(crs, Mapping) and str(crs.get("type")).lower() in {"link", "url"}


def _epsg_of_name(name: str) -> int | None:
    if _CRS84_NAME.fullmatch(name.strip()):
        return WGS84
    found = _EPSG_NAME.fullmatch(name.strip())
    return int(found[1]) if found else None
