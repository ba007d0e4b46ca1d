"""
The forms in which users have geometries.

Shapely geometries, WKB or EWKB (bytes or hexadecimal), GeoPackage geometries, WKT or EWKT, and GeoJSON mappings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.features.geojson import is_feature, own_code
from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_wkb
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.models import from_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

EXAMPLES = 5
"""How many of the features with the same problem a message names."""

_SHOWN = 60
_EWKT = re.compile(r"\s*SRID\s*=\s*(\d+)\s*;", re.IGNORECASE)
_HEX = re.compile(r"\s*(?:\\x|0x)?((?:[0-9A-Fa-f]{2})+)\s*")
_OPEN = "with a ring that does not end where it begins"
_CLOSE = "Close the rings, or have it done by SentinelHubInputFeaturesOperator with repair=True."


class _OpenRing(Exception):
    """A ring does not end where it begins."""


def read_geometries(
    values: Sequence[Any], name_of: Callable[[int], str], source: str, *, close_rings: bool = False
) -> tuple[Any, Any]:
    """
    Read geometries in any of these forms.

    :param values: The geometries.
    :param name_of: Returns the name of a geometry for messages, by its index.
    :param source: Name of the source, for messages.
    :param close_rings: Close rings that do not end where they begin. Default: they are an error.
    :returns: An array of shapely geometries, ``None`` where a value is ``None``; and an array of their EPSG codes, 0 or
        less where they carry none.
    :raises InvalidParameter: Some cannot be read, or have a ring that is open; the message names them.
    """
    import numpy as np
    import shapely

    shapes = np.full(len(values), None, dtype=object)
    shapes[:] = values
    if not shapely.is_geometry(shapes).all():
        try:
            # The usual case: plain WKB and nothing else.
            shapes = shapely.from_wkb(shapes)
        except (TypeError, ValueError, NotImplementedError, shapely.errors.ShapelyError):
            return _read_one_by_one(values, name_of, source, close_rings=close_rings)
    return shapes, shapely.get_srid(shapes)


def _read_one_by_one(
    values: Sequence[Any], name_of: Callable[[int], str], source: str, *, close_rings: bool
) -> tuple[Any, Any]:
    import numpy as np
    import shapely

    shapes = np.full(len(values), None, dtype=object)
    codes = np.zeros(len(values), dtype=int)
    unreadable: dict[int, str] = {}
    open_rings: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            shapes[row], codes[row] = _read(value, close_rings=close_rings)
        except _OpenRing:
            open_rings[row] = name_of(row)
        except (ValueError, shapely.errors.ShapelyError) as error:
            unreadable[row] = f"{name_of(row)}: {error}"
    found = ((unreadable, "that cannot be read", "Repair them, or leave them out."), (open_rings, _OPEN, _CLOSE))
    errors = [
        InvalidParameter(
            "geometry",
            values[next(iter(rows))],
            f"{source} holds {len(rows)} {what}: {'; '.join([*rows.values()][:EXAMPLES])}",
            fix,
        )
        for rows, what, fix in found
        if rows
    ]
    if errors:
        raise errors[0].with_others(errors[1:])
    return shapes, np.where(codes > 0, codes, shapely.get_srid(shapes))


def _read(value: Any, *, close_rings: bool) -> tuple[Any, int]:
    """Return a shapely geometry or ``None``, and the EPSG code of EWKT or GeoJSON."""
    import shapely

    value = from_text(value)
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    if isinstance(value, str) and (found := _HEX.fullmatch(value)):
        value = bytes.fromhex(found[1])
    if isinstance(value, bytes):
        wkb = geometry_wkb(value) if value[:2] == b"GP" else value
        return _whole(shapely.from_wkb, wkb, value, close_rings=close_rings), 0
    if isinstance(value, str):
        found = _EWKT.match(value)
        wkt = value[found.end() :] if found else value
        return _whole(shapely.from_wkt, wkt, value, close_rings=close_rings), int(found[1]) if found else 0
    if isinstance(value, dict):
        geometry = value.get("geometry") if is_feature(value) else value
        return None if geometry is None else _of_geojson(geometry, close_rings=close_rings), own_code(value)
    if value is None or isinstance(value, shapely.Geometry):
        return value, 0
    message = f"{_shortened(value)} is not a geometry"
    raise ValueError(message)


def _whole(parse: Callable[..., Any], given: Any, value: Any, *, close_rings: bool) -> Any:
    import shapely

    try:
        return parse(given)
    except NotImplementedError:
        message = "it has curves; convert them to lines, e.g. with ST_CurveToLine"
        raise ValueError(message) from None
    except shapely.errors.ShapelyError:
        closed = parse(given, on_invalid="fix")
    if closed is None:
        message = f"{_shortened(value)} is neither WKB nor WKT"
        raise ValueError(message)
    if not close_rings:
        raise _OpenRing
    return closed


def _of_geojson(value: dict[str, Any], *, close_rings: bool) -> Any:
    from shapely.geometry import shape

    try:
        # This closes all rings silently.
        read = shape(value)
        has_open_ring = any(not _is_closed(ring) for ring in _rings(value))
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        message = f"{_shortened(value)} is not a GeoJSON geometry"
        raise ValueError(message) from error
    if has_open_ring and not close_rings:
        raise _OpenRing
    return read


def _rings(geometry: dict[str, Any]) -> Iterator[Sequence[Any]]:
    kind = str(geometry.get("type")).lower()
    if kind == "polygon":
        yield from geometry["coordinates"]
    elif kind == "multipolygon":
        for polygon in geometry["coordinates"]:
            yield from polygon
    elif kind == "geometrycollection":
        for part in geometry["geometries"]:
            yield from _rings(part)


def _is_closed(ring: Sequence[Any]) -> bool:
    # Without heights, as in all other forms.
    return not len(ring) or [*ring[0]][:2] == [*ring[-1]][:2]


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
