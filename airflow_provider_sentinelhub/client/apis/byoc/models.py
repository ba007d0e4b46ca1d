"""
BYOC: what is sent.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from airflow_provider_sentinelhub.client.models import JsonObject, Name, Real, Request, RequestModel, Whole, broken
from airflow_provider_sentinelhub.client.requests.crs import epsg_of_geojson
from airflow_provider_sentinelhub.client.requests.findings import is_number

BAND: Final = "(BAND)"
MOST_BANDS: Final = 100
MOST_POINTS: Final = 100
"""Points of a cover geometry, the last one of each ring included."""
IDENTIFIER: Final = re.compile(r"(?:[^\W\d]|\$)[\w$]*")
_PATH = re.compile(r"[^/](?:/?[^/])*")
_BUCKET = re.compile(r"(?:[\w\-.]+:)?[\w\-.]{3,222}", re.ASCII)
_NESTING = {"Polygon": 2, "MultiPolygon": 3}
_POINT = 2


def _bucket(text: str) -> str:
    if not _BUCKET.fullmatch(text):
        broken("is not the name of a bucket", "Write the name alone, without s3:// and without a folder.")
    return text


def _path(text: str) -> str:
    if "://" in text:
        broken("is a URL", "Write the path in the bucket of the collection, e.g. folder/(BAND).tif.")
    if not _PATH.fullmatch(text):
        broken("begins or ends with a slash, or has two in a row", "Write e.g. folder/(BAND).tif.")
    if text.count(BAND) > 1:
        broken(f"has {BAND} more than once", "Write e.g. folder/(BAND).tif.")
    return text


def _moment(value: Any) -> Any:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, datetime):
        broken("is not a time in ISO 8601", "Write e.g. 2026-06-01T10:30:00Z.")
    if found.tzinfo is None:
        broken("has no time zone", "Add it, e.g. 2026-06-01T10:30:00Z.")
    # The service takes milliseconds at most.
    moment: datetime = found.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").replace(".000Z", "Z")


def _cover(value: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = value.get("type")
    if kind not in _NESTING:
        broken("must be a Polygon or a MultiPolygon", "Write GeoJSON of one of them.")
    crs = value.get("crs")
    if crs is not None and epsg_of_geojson(crs) is None:
        broken(
            f"has the unknown crs {crs}", 'Write e.g. {"type": "name", "properties": {"name": "urn:...:EPSG::32633"}}.'
        )
    points = sum(_points(ring) for ring in _rings(value.get("coordinates"), _NESTING[str(kind)]))
    if points > MOST_POINTS:
        broken(f"has {points} points, and {MOST_POINTS} are allowed", "Simplify it.")
    return value


def _rings(value: Any, depth: int) -> list[Any]:
    if not isinstance(value, (list, tuple)) or not value:
        broken("has coordinates that are not those of its type", "Write GeoJSON.")
    return list(value) if depth == _POINT else [ring for part in value for ring in _rings(part, depth - 1)]


def _points(ring: Any) -> int:
    if not isinstance(ring, (list, tuple)) or not all(
        isinstance(point, (list, tuple)) and len(point) >= _POINT and all(map(is_number, point)) for point in ring
    ):
        broken("has coordinates that are not those of its type", "Write GeoJSON.")
    if list(ring[:1]) != list(ring[-1:]):
        broken("has a ring that is not closed", "Repeat its first point at its end.")
    return len(ring)


Bucket = Annotated[str, AfterValidator(_bucket)]
Path = Annotated[str, AfterValidator(_path)]
Moment = Annotated[str, BeforeValidator(_moment)]
Cover = Annotated[JsonObject, AfterValidator(_cover)]


class BandRequest(RequestModel):
    """
    A band of a collection.

    :param source: What takes the place of ``(BAND)``. Default: the band's name.
    :param band_index: Which band of that file, from 1.
    :param bit_depth: 8, 16 or 32.
    :param sample_format: UINT, INT or FLOAT.
    :param no_data: Value of pixels without data.
    """

    source: Name | None = None
    band_index: Annotated[Whole, Field(ge=1)] | None = None
    bit_depth: Literal[8, 16, 32]
    sample_format: Literal["UINT", "INT", "FLOAT"]
    no_data: Real | None = None


class CollectionDataRequest(RequestModel):
    """
    What a collection holds.

    :param bands: By name. Default: those of the first tile.
    :param storage_identifier: Where the bucket is, on the Copernicus Data Space Ecosystem.
    """

    bands: dict[str, BandRequest] | None = None
    storage_identifier: Name | None = None

    @model_validator(mode="after")
    def _check(self) -> CollectionDataRequest:
        bands = self.bands or {}
        if len(bands) > MOST_BANDS:
            broken(f"has {len(bands)} bands, and {MOST_BANDS} are allowed", "Use several collections.")
        for name in bands:
            if not IDENTIFIER.fullmatch(name):
                broken(
                    f"has the band {name!r}, whose name is not a JavaScript identifier",
                    "Name it with letters, digits and _, and give the file's own name as its source.",
                )
        return self


class CollectionRequest(Request):
    """
    A collection.

    :param name: Its name.
    :param s3_bucket: Name of the bucket of its files, with the tenant before it where there is one.
    :param no_data: Value of pixels without data, in all bands.
    :param additional_data: Its bands.
    """

    name: Name
    s3_bucket: Bucket
    no_data: Real | None = None
    additional_data: CollectionDataRequest | None = None

    @model_validator(mode="after")
    def _check(self) -> CollectionRequest:
        bands = (self.additional_data and self.additional_data.bands) or {}
        if self.no_data is not None and any(band.no_data is not None for band in bands.values()):
            broken("has noData for the collection and for single bands", "Give it in one of the two places.")
        return self


class TileChanges(Request):
    """
    Sensing time and cover geometry of a tile.

    :param sensing_time: When it was sensed, with a time zone.
    :param cover_geometry: GeoJSON of the area with data, of at most :data:`MOST_POINTS` points. Default: the files'
        bounding box.
    """

    sensing_time: Moment | None = None
    cover_geometry: Cover | None = None


class TileRequest(TileChanges):
    """
    A tile.

    :param path: Where its files are in the bucket, with ``(BAND)`` in place of what differs between them.
    """

    path: Path
