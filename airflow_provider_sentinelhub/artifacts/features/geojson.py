"""
What GeoJSON says about its coordinate reference system, and about its features.

The member ``crs`` was dropped from the standard in 2016, and is written and read to this day.

Source: https://geojson.org/geojson-spec.html#coordinate-reference-system-objects (2008) and
https://datatracker.ietf.org/doc/html/rfc7946.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.requests.crs import epsg_of_geojson, is_link

if TYPE_CHECKING:
    from pathlib import Path

LINK = "has a crs of type link, and a link is not followed"
"""Why such GeoJSON is refused: GDAL would fetch whatever the file names, and fall back on EPSG:4326."""
LINK_FIX = 'Write it as {"type": "name", "properties": {"name": "EPSG:32633"}}, or remove it and give epsg.'

# A property may be named crs as well. No part may be long, so that a file of nothing else is read in linear time.
_MEMBER = re.compile(rb'"crs"\s{0,99}:\s{0,99}(\{[^{}]{0,999}\{[^{}]{0,9999}\}[^{}]{0,999}\})')
# Not in the specification, and written nevertheless: a text, which GDAL passes over. Deeper inside it may be a
# property, so only the members before the first and after the last list or object are looked at.
_TEXT = rb'[^{}\[\]]{0,999}?"crs"\s{0,99}:\s{0,99}"([^"\\]{0,99})"'
_AT_START = re.compile(rb"(?:\xef\xbb\xbf)?\s{0,99}\{" + _TEXT)
_AT_END = re.compile(rb"[\]}]" + _TEXT + rb"[^{}\[\]]{0,999}\}\s*\Z")
_END_BYTES = 2_000
_STARTS = (b"{", b"[", b"\x1e")
_HEAD_BYTES = 256
_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class Declared:
    """
    What GeoJSON says about its coordinate reference system.

    :param is_there: Whether it says anything.
    :param code: The EPSG code; ``None`` where it says none.
    """

    is_there: bool
    code: int | None


def code_of(crs: object) -> int | None:
    """
    Return the EPSG code that a member ``crs`` names; ``None`` where it names none.

    :param crs: Its value.
    :raises ValueError: It is a link.
    """
    if is_link(crs):
        message = f"it {LINK}. {LINK_FIX.removesuffix('.')}"
        raise ValueError(message)
    return epsg_of_geojson(crs)


def own_code(geometry: Mapping[str, Any]) -> int:
    """
    Return the EPSG code that a geometry or a feature says itself; 0 where it says none.

    :param geometry: GeoJSON.
    :raises ValueError: It has a link instead.
    """
    inner = geometry.get("geometry")
    codes = (code_of(each.get("crs")) for each in (inner, geometry) if isinstance(each, Mapping))
    return next((code for code in codes if code), 0)


def is_json(path: Path) -> bool:
    """
    Return whether a file starts as JSON does.

    :param path: The file, as UTF-8.
    """
    if not path.is_file():
        # E.g. a geodatabase, which is a folder.
        return False
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_STARTS)


def declared_in(path: Path) -> Declared:
    """
    Return what a file says about its coordinate reference system.

    The members of the collection, of features and of geometries are all looked at; GDAL only knows the first.

    :param path: The file, as UTF-8, not empty.
    :raises InvalidParameter: It has a link, or several systems.
    """
    found: dict[int | None, None] = {}
    seen: set[bytes] = set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for named in (_AT_START.match(text), _AT_END.search(text[-_END_BYTES:])):
            if named is not None and (code := code_of(named[1].decode(errors="replace"))):
                found[code] = None
        for member in _MEMBER.finditer(text):
            if member[1] in seen:
                continue
            if len(seen) < _REMEMBERED:
                seen.add(member[1])
            if (crs := _crs_in(member[1])) is None:
                continue
            try:
                found[code_of(crs)] = None
            except ValueError as error:
                raise InvalidParameter("source", path.name, LINK, LINK_FIX) from error
            if len(found) > 1:
                names = [f"EPSG:{code}" if code else "one without an EPSG code" for code in found]
                rule = f"has features in several coordinate reference systems: {', '.join(names)}"
                raise InvalidParameter("source", path.name, rule, "Make a file of each, and give a list of both.")
    return Declared(bool(found), next(iter(found), None))


def _crs_in(member: bytes) -> dict[str, Any] | None:
    try:
        crs = json.loads(member)
    except ValueError:
        return None
    is_crs = isinstance(crs.get("type"), str) and isinstance(crs.get("properties"), dict)
    return crs if is_crs else None


def is_feature(value: object) -> bool:
    """
    Return whether a value is a GeoJSON feature.

    :param value: Any value.
    """
    return isinstance(value, Mapping) and value.get("type") == "Feature"


def table_of(values: Iterable[Any]) -> tuple[list[str], list[list[Any]]]:
    """
    Turn features into the columns that GDAL would read of them: their properties, ``id`` and ``geometry``.

    :param values: Features; a geometry among them has no properties.
    :returns: The names of the columns, and the rows.
    """
    rows: list[dict[str, Any]] = []
    for value in values:
        row: dict[str, Any] = {}
        if is_feature(value):
            properties = value.get("properties")
            row = {"id": value["id"]} if "id" in value else {}
            row |= {str(name): each for name, each in (properties if isinstance(properties, Mapping) else {}).items()}
        row = {name: each for name, each in row.items() if name.lower() != "geometry"}
        rows.append({**row, "geometry": value})
    names = list({name: None for row in rows for name in row})
    return names, [[row.get(name) for name in names] for row in rows]
