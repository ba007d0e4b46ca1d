"""
Geometries of a GeoPackage: a header, an envelope, WKB.

Source: https://www.geopackage.org/spec130/ (geometry encoding)
"""

from __future__ import annotations

import struct
from typing import Any

Extent = tuple[float, float, float, float]
"""West, south, east, north."""

HEADER_BYTES = 8
ENVELOPE_BYTES = (0, 32, 48, 48, 64)
"""Bytes of the envelope, by its kind in the header."""

_XY_ENVELOPE = 0b010
_EMPTY = 0b10000


def geometry_wkb(blob: bytes) -> bytes:
    """
    Return the WKB of a GeoPackage geometry.

    :param blob: Header, envelope of any kind, WKB.
    :returns: The WKB, in the byte order and dimensions it was written in.
    :raises ValueError: It is not a GeoPackage geometry.
    """
    if len(blob) < HEADER_BYTES or blob[:2] != b"GP":
        message = f"not a GeoPackage geometry: starts with {blob[:8]!r}"
        raise ValueError(message)
    envelope = blob[3] >> 1 & 0b111
    if envelope >= len(ENVELOPE_BYTES):
        message = f"not a GeoPackage geometry: envelope kind {envelope}"
        raise ValueError(message)
    start = HEADER_BYTES + ENVELOPE_BYTES[envelope]
    if len(blob) <= start:
        message = f"not a GeoPackage geometry: ends after {len(blob)} of more than {start} bytes"
        raise ValueError(message)
    return blob[start:]


def geometry_extent(blob: object) -> Extent | None:
    """
    Return the bounding box of a geometry, from its envelope or else from its points; ``None`` where it has none.

    :param blob: A GeoPackage geometry.
    """
    import shapely

    if not isinstance(blob, bytes):
        return None
    extent = blob_extent(blob)
    if extent is None:
        try:
            shape = shapely.from_wkb(geometry_wkb(blob))
        except (ValueError, shapely.errors.ShapelyError):
            return None
        extent = None if shape.is_empty else shape.bounds
    return extent


def blob_extent(blob: bytes) -> Extent | None:
    """
    Return the bounding box in the envelope of a geometry; ``None`` where it has no envelope.

    :param blob: A GeoPackage geometry.
    """
    if len(blob) < HEADER_BYTES:
        return None
    kind = blob[3] >> 1 & 0b111
    if not 0 < kind < len(ENVELOPE_BYTES) or blob[3] & _EMPTY or len(blob) < HEADER_BYTES + ENVELOPE_BYTES[kind]:
        return None
    west, east, south, north = struct.unpack_from("<4d" if blob[3] & 1 else ">4d", blob, HEADER_BYTES)
    # An empty geometry has an envelope of NaN.
    return (west, south, east, north) if west <= east and south <= north else None


def blob_header(epsg: int) -> bytes:
    """
    Return the header of a geometry; its bounding box follows, then little-endian WKB.

    :param epsg: EPSG code of its coordinates.
    """
    return struct.pack("<2sBBi", b"GP", 0, _XY_ENVELOPE | 1, epsg)


def geometry_blob(wkb: bytes, epsg: int, extent: Extent) -> bytes:
    """
    Encode a geometry for a GeoPackage.

    :param wkb: Two-dimensional, little-endian, not empty.
    :param epsg: EPSG code of its coordinates.
    :param extent: Its bounding box.
    """
    west, south, east, north = extent
    return blob_header(epsg) + struct.pack("<4d", west, east, south, north) + wkb


def blob_of_crs(blob: bytes, epsg: int) -> bytes:
    """
    Return a geometry whose srs_id is the EPSG code; the same object where it is already.

    :param blob: A GeoPackage geometry.
    :param epsg: EPSG code.
    """
    number = struct.pack("<i" if blob[3] & 1 else ">i", epsg)
    return blob if blob[4:HEADER_BYTES] == number else blob[:4] + number + blob[HEADER_BYTES:]


def extent_of(boxes: Any) -> Extent | None:
    """
    Return the bounding box of many; ``None`` where there is none.

    :param boxes: An array with a row for each, as of ``shapely.bounds``; rows of NaN are left out.
    """
    import numpy as np

    found = boxes[~np.isnan(boxes).any(axis=1)]
    return (*found[:, :2].min(axis=0).tolist(), *found[:, 2:].max(axis=0).tolist()) if len(found) else None


def joined(first: Extent | None, second: Extent) -> Extent:
    """
    Return the bounding box of two.

    :param first: One, or ``None``.
    :param second: The other.
    """
    if first is None:
        return second
    return min(first[0], second[0]), min(first[1], second[1]), max(first[2], second[2]), max(first[3], second[3])
