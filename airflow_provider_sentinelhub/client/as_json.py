"""
Values of other libraries as JSON: numbers and arrays of numpy, geometries of shapely, requests of sentinelhub-py.

None of these libraries is imported to recognise its values.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.text import one_line

# Nearly all of a request; a geometry may hold a million numbers.
_ATOMS = frozenset({str, int, float, bool, type(None)})
_COLLECTIONS = frozenset({dict, list})
# The models read and write dates and the like.
_READ_BY_MODELS = (str, int, float, bytes, date, time, timedelta, UUID)
_NANOSECONDS = re.compile(r"(datetime64|timedelta64)\[ns\]")
_AREA = "bounds"
_EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
_WGS84 = 4326
_CONVERT = "Convert it to a number, a text, a list or a dict."
_DIGITS = 18
# GeoJSON has ten levels. What follows walks through a request by recursion.
_MOST_LEVELS = 100
_SHOWN_LEVELS = 5


def as_json(value: Any) -> Any:
    """
    Return a value as JSON, with dates and times left as they are.

    Numbers and arrays of numpy and pandas, ``Decimal``, enums, paths, and all kinds of mappings and lists become
    Python's own. A geometry (anything with ``__geo_interface__``) becomes GeoJSON, and in ``bounds`` the SRID of a
    shapely geometry becomes the CRS. A request of sentinelhub-py becomes its payload.

    :param value: Any value, usually a whole request.
    :raises InvalidParameter: Names everything that has no form in JSON, and its type.
    """
    problems: list[InvalidParameter] = []
    found = _as_json(value, (), problems)
    if problems:
        raise problems[0].with_others(problems[1:])
    return found


def own_number(value: Any) -> Any:
    """
    Return a number or a flag as Python's own; any other value unchanged.

    :param value: Any value.
    """
    if isinstance(value, Decimal):
        if not value.is_finite():
            return math.nan if value.is_nan() else math.copysign(math.inf, value)
        # 1E+1000000000 is a Decimal, too.
        is_whole = value.adjusted() < _DIGITS and value == value.to_integral_value()
        return int(value) if is_whole else float(value)
    # A scalar of numpy, or an array without dimensions.
    return _listed(value) if hasattr(value, "dtype") and getattr(value, "shape", None) == () else value


def _listed(value: Any) -> Any:
    unit = _NANOSECONDS.fullmatch(str(value.dtype))
    # They would become whole numbers.
    return (value.astype(f"{unit[1]}[us]") if unit else value).tolist()


def _as_json(value: Any, path: tuple[str, ...], problems: list[InvalidParameter]) -> Any:
    if type(value) in _ATOMS:
        return value
    if len(path) > _MOST_LEVELS:
        rule = f"has more than {_MOST_LEVELS} levels, or holds itself"
        # At once: what holds itself twice has more ways through it than can be walked.
        raise InvalidParameter(
            ".".join(path[:_SHOWN_LEVELS]), type(value).__name__, rule, "Take out what is not needed."
        )
    try:
        value = value if type(value) in _COLLECTIONS else _unwrapped(value)
    except Exception as error:  # noqa: BLE001 - whatever another library raises when it is asked for its value
        rule = f"is a {type(value).__qualname__} that cannot give its value ({one_line(error)})"
        problems.append(InvalidParameter(".".join(path) or "request", value, rule, _CONVERT))
        return None
    if isinstance(value, Mapping):
        return {key: _field(key, item, (*path, str(key)), problems) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_as_json(item, (*path, str(number)), problems) for number, item in enumerate(value)]
    if value is not None and not isinstance(value, _READ_BY_MODELS):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        rule = f"is a {kind.removeprefix('builtins.')}, which JSON cannot hold"
        problems.append(InvalidParameter(".".join(path) or "request", value, rule, _CONVERT))
    return value


def _unwrapped(value: Any) -> Any:
    """Return what an object of another library holds; any other value unchanged."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if (geometry := getattr(value, "__geo_interface__", None)) is not None:
        return geometry
    if isinstance(payload := getattr(value, "payload", None), Mapping):
        return payload
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _listed(value)
    return own_number(value)


def _field(key: Any, value: Any, path: tuple[str, ...], problems: list[InvalidParameter]) -> Any:
    if key != _AREA:
        return _as_json(value, path, problems)
    bounds = {"geometry": value} if _is_geometry(value) else value
    srid = _srid_of(bounds.get("geometry")) if isinstance(bounds, Mapping) else 0
    found = _as_json(bounds, path, problems)
    if not srid:
        return found
    # GeoJSON has no place for it.
    properties = found.get("properties") or {}
    crs = properties.get("crs") if isinstance(properties, dict) else None
    if crs is None:
        return {**found, "properties": {**properties, "crs": f"{_EPSG}{srid}"}}
    if not str(crs).endswith((f"/{srid}", f":{srid}")) and not (srid == _WGS84 and str(crs).endswith("CRS84")):
        rule = f"is not the system of the geometry, whose SRID is {srid}"
        problems.append(InvalidParameter(".".join((*path, "properties", "crs")), crs, rule, "Correct one of the two."))
    return found


def _is_geometry(value: Any) -> bool:
    try:
        return hasattr(value, "__geo_interface__")
    except Exception:  # noqa: BLE001 - it is asked for its value later, where the error is reported
        return False


def _srid_of(geometry: Any) -> int:
    if not type(geometry).__module__.startswith("shapely."):
        return 0
    import shapely

    return int(shapely.get_srid(geometry))
