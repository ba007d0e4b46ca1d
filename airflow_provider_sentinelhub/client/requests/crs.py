"""
The coordinate reference systems the service supports.

Source: https://docs.planet.com/develop/apis/processing/#crs-support
"""

from __future__ import annotations

import re

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
