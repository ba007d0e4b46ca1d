"""
The Catalog API: the models of its searches.

Source: https://docs.planet.com/develop/apis/catalog/ and its reference
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from airflow_provider_sentinelhub.client.models import (
    JsonObject,
    Name,
    Numbers,
    Request,
    RequestModel,
    Text,
    Whole,
    broken,
    from_text,
)
from airflow_provider_sentinelhub.client.requests.bounds import ORDER
from airflow_provider_sentinelhub.client.requests.data import moment_text

MOST_TO_A_PAGE: Final = 100
CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
OPEN: Final = ".."

_LONGITUDE, _LATITUDE = 180.0, 90.0
_BOX, _BOX_WITH_HEIGHTS = 4, 6
_RING = 4
_MOST_IDS = 1000
_MOST_LEVELS = 20
# How deep the positions of each type lie.
_DEPTHS = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
_OPERANDS = {**dict.fromkeys(_COMPARISONS, 2), "between": 3}
_WORDS = {"eq": "=", "neq": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">=", "==": "=", "!=": "<>"}
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"")
_UNSUPPORTED = re.compile(r"\b(or|not|like|in|is)\b|(==|!=)", re.IGNORECASE)
_FILTER_FIX = (
    "The service compares with =, <>, <, <=, >, >= and between, and joins comparisons with and alone. Search once more "
    "for anything else."
)


# ---------------------------------------------------------------------------------------------------- where and when


def _one_of_them(given: Any) -> Any:
    read = from_text(given)
    return [read] if isinstance(read, str) else read


def _period(given: Any) -> Any:
    """Return a date and time, or two with a slash between them, as the service reads them."""
    if given is None:
        return None
    if isinstance(given, str):
        read = from_text(given)
        given = read if not isinstance(read, str) else read.split("/") if "/" in read else read
    if isinstance(given, (str, date, datetime)):
        return moment_text(given)
    if not isinstance(given, Sequence) or len(given) != 2:  # noqa: PLR2004 - from and to
        broken(
            "is neither a date and time nor an interval of two",
            "Write 2026-01-01T00:00:00Z/2026-02-01T00:00:00Z; an open end is written as two dots.",
        )
    start, end = (None if each in (None, "", OPEN) else moment_text(each) for each in given)
    if start is None and end is None:
        broken("is open on both sides", "Give at least one of the two.")
    if start and end and datetime.fromisoformat(start) > datetime.fromisoformat(end):
        broken("begins after its end", "Swap the two.")
    return f"{start or OPEN}/{end or OPEN}"


def _outside(longitude: float, latitude: float) -> bool:
    return abs(longitude) > _LONGITUDE or abs(latitude) > _LATITUDE


def _check_position(position: Any) -> None:
    is_position = isinstance(position, Sequence) and len(position) in (2, 3)
    if not is_position or not all(isinstance(each, (int, float)) and each == each for each in position):  # noqa: PLR0124 - NaN
        broken(f"has {position!r:.50} where a position belongs", "Write [longitude, latitude].")
    if _outside(position[0], position[1]):
        broken(
            f"has the position {list(position)}, which is not in degrees of WGS 84",
            "Transform it to longitude and latitude; split what crosses the 180th meridian into a MultiPolygon.",
        )


def _check_coordinates(coordinates: Any, depth: int, *, are_rings: bool) -> None:
    if depth == 0:
        _check_position(coordinates)
        return
    if not isinstance(coordinates, Sequence) or isinstance(coordinates, str) or not coordinates:
        broken("has a part without coordinates", "Remove it, or complete it.")
    for each in coordinates:
        _check_coordinates(each, depth - 1, are_rings=are_rings)
    if are_rings and depth == 1:
        if len(coordinates) < _RING:
            broken("has a ring of fewer than four points", "Give at least four; the last one repeats the first.")
        if list(coordinates[0]) != list(coordinates[-1]):
            broken("has an open ring", "Repeat its first point at the end.")


def _check_geometry(geometry: Any, levels: int = 0) -> None:
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind == "GeometryCollection" and levels < _MOST_LEVELS and isinstance(geometry.get("geometries"), list):
        for each in geometry["geometries"]:
            _check_geometry(each, levels + 1)
        return
    if not isinstance(kind, str) or kind not in _DEPTHS:
        broken("must be a GeoJSON geometry", f"Write an object with type ({', '.join(_DEPTHS)}) and coordinates.")
    _check_coordinates(geometry.get("coordinates"), _DEPTHS[kind], are_rings=kind.endswith("Polygon"))


# ------------------------------------------------------------------------------------------------------------ filters


def _check_expression(expression: Any, levels: int = 0) -> None:
    operator = expression.get("op") if isinstance(expression, Mapping) else None
    operands = expression.get("args") if isinstance(expression, Mapping) else None
    if not isinstance(operator, str) or not isinstance(operands, Sequence) or isinstance(operands, str):
        broken(
            "is not CQL2 JSON: each expression has an op and args",
            'Write e.g. {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 20]}.',
        )
    if levels > _MOST_LEVELS:
        broken(f"has more than {_MOST_LEVELS} levels", "Write all comparisons into one and.")
    name = operator.lower()
    if name == "and":
        for each in operands:
            _check_expression(each, levels + 1)
        return
    if name in _WORDS:
        broken(f"has the operator {operator}", f"CQL2 writes {_WORDS[name]}.")
    if name not in _OPERANDS:
        broken(f"has the operator {operator!r:.40}, which the service does not know", _FILTER_FIX)
    if len(operands) != _OPERANDS[name]:
        broken(
            f"has {len(operands)} args for {operator}",
            f"Give {_OPERANDS[name]}: a property, and what it is compared with.",
        )


def _filter(given: Any) -> Any:
    read = from_text(given)
    if isinstance(read, Mapping):
        _check_expression(read)
        return dict(read)
    if not isinstance(read, str) or not read.strip():
        broken("is no CQL2", "Write text such as eo:cloud_cover <= 20, or CQL2 JSON.")
    if (found := _UNSUPPORTED.search(_QUOTED.sub("", read))) is not None:
        word = found[0]
        broken(f"has {word}", f"CQL2 writes {_WORDS[word]}." if word in _WORDS else _FILTER_FIX)
    return read.strip()


class Fields(RequestModel):
    """
    Which fields of items are returned, by their path, e.g. ``properties.eo:cloud_cover``.

    Without it the service returns all. With it, even if it is empty, it returns ``id``, ``type``, ``geometry``,
    ``bbox``, ``links``, ``assets`` and ``properties.datetime``, and what is included, without what is excluded.

    :param include: Fields to return as well.
    :param exclude: Fields not to return.
    """

    include: Annotated[list[Name], Text] | None = None
    exclude: Annotated[list[Name], Text] | None = None


class SearchRequest(Request):
    """
    A search.

    :param collections: Exactly one collection, in a list.
    :param datetime: When the scene was acquired: a date and time, or two with a slash; two dots for an open end. A
        pair of values works as well, and without a time zone they are in UTC. Required unless ``ids`` are given.
    :param bbox: West, south, east and north in degrees; west is greater than east where it crosses the 180th meridian.
    :param intersects: A GeoJSON geometry in degrees, instead of ``bbox``.
    :param ids: Ids of items.
    :param limit: How many items to a page, 1 to 100. Default of the service: 10.
    :param next: ``context.next`` of the page before.
    :param fields: Which fields of the items are returned.
    :param filter: CQL2, as text or as JSON.
    :param filter_lang: ``cql2-text`` or ``cql2-json``. Default: what ``filter`` is.
    :param filter_crs: The coordinate reference system of geometries in ``filter``; only CRS84.
    :param distinct: A property whose distinct values are returned instead of items, e.g. ``date``.
    """

    collections: Annotated[list[Name], BeforeValidator(_one_of_them), Field(min_length=1, max_length=1)]
    datetime: Annotated[str | None, BeforeValidator(_period)] = None
    bbox: Numbers | None = None
    intersects: JsonObject | None = None
    ids: Annotated[list[Name], BeforeValidator(_one_of_them), Field(min_length=1, max_length=_MOST_IDS)] | None = None
    limit: Annotated[Whole, Field(ge=1, le=MOST_TO_A_PAGE)] | None = None
    next: Annotated[Whole, Field(ge=0)] | None = None
    fields: Annotated[Fields, Text] | None = None
    filter: Annotated[Any, BeforeValidator(_filter)] = None
    filter_lang: Annotated[Literal["cql2-text", "cql2-json"] | None, Field(alias="filter-lang")] = None
    filter_crs: Annotated[Literal["http://www.opengis.net/def/crs/OGC/1.3/CRS84"] | None, Field(alias="filter-crs")] = (
        None
    )
    distinct: Name | None = None

    @model_validator(mode="before")
    @classmethod
    def _language(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        # As in the rest of a request.
        told = {key: value for key, value in given.items() if value is not None}
        if "filter" in told and "filter-lang" not in told:
            told["filter-lang"] = "cql2-json" if isinstance(from_text(told["filter"]), Mapping) else "cql2-text"
        return told

    @field_validator("bbox")
    @classmethod
    def _box(cls, bbox: list[float] | None) -> list[float] | None:
        if bbox is None:
            return None
        if len(bbox) not in (_BOX, _BOX_WITH_HEIGHTS):
            broken("must have four numbers", f"Write [{ORDER}].")
        half = len(bbox) // 2
        (west, south), (east, north) = bbox[:2], bbox[half : half + 2]
        if _outside(west, south) or _outside(east, north):
            broken("is not in degrees of WGS 84", f"Write [{ORDER}], as longitudes and latitudes.")
        if south > north:
            broken("south is greater than north", f"Write [{ORDER}].")
        return bbox

    @field_validator("intersects")
    @classmethod
    def _geometry(cls, intersects: dict[str, Any] | None) -> dict[str, Any] | None:
        if intersects is not None:
            _check_geometry(intersects)
        return intersects

    @model_validator(mode="after")
    def _fits(self) -> SearchRequest:
        if self.bbox is not None and self.intersects is not None:
            broken("has both bbox and intersects", "Give one of the two.")
        if self.datetime is None and self.ids is None:
            broken("has no datetime", "Add one, e.g. 2026-01-01T00:00:00Z/2026-02-01T00:00:00Z, or search by ids.")
        if self.filter_lang is not None and isinstance(self.filter, str) != (self.filter_lang == "cql2-text"):
            broken(f"has a filter that is not {self.filter_lang}", "Remove filter-lang: it is found by the filter.")
        return self


def sides(bbox: Sequence[float]) -> list[tuple[float, float, float, float]]:
    """
    Return a box as boxes whose west is not greater than their east: two where it crosses the 180th meridian.

    :param bbox: West, south, east and north in degrees, or the same with heights.
    """
    half = len(bbox) // 2
    (west, south), (east, north) = bbox[:2], bbox[half : half + 2]
    if west <= east:
        return [(west, south, east, north)]
    return [(west, south, _LONGITUDE, north), (-_LONGITUDE, south, east, north)]
