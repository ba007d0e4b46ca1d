"""
Which acquisition an item of the catalog is a version of.

An acquisition is one look of one satellite at one place: the platform, the time, the orbit and the tile. The catalog
may have several items of it, because it was processed again, or received by two stations. Their ids differ, and their
times may differ by some seconds.

Items of the Catalog API say little about themselves beyond platform and time. The rest is read from their ids, by the
naming convention of the mission. Other items are told apart by platform, time and outline.

Sources: https://sentiwiki.copernicus.eu/web/ (naming conventions of the Sentinels) and
https://www.usgs.gov/faqs/what-naming-convention-landsat-collections-level-1-scenes
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from airflow_provider_sentinelhub.client.text import one_line

KEY_LENGTH: Final = 12
"""Length of a key of an acquisition, in characters."""

_TIME = r"\d{8}T\d{6}"
# Conventions, not missions: a new satellite has another letter or number, and needs no change here.
_CONVENTIONS: Final = (
    # Sentinel-2: the time is that of the datatake, which all its versions share.
    (
        rf"(?P<platform>[A-Z]\d[A-Z])_MSI\w{{3}}_(?P<time>{_TIME})_N(?P<baseline>\d{{4}})_R(?P<orbit>\d{{3}})"
        rf"_T(?P<tile>[0-9A-Z]{{5}})_(?P<made>{_TIME})"
    ),
    # ... as its tiles were called before, and are in some archives.
    (
        rf"(?P<platform>[A-Z]\d[A-Z])_OPER_MSI_\w{{3}}_TL_\w{{4}}_(?P<made>{_TIME})_A(?P<orbit>\d{{6}})"
        r"_T(?P<tile>[0-9A-Z]{5})_N(?P<baseline>\d\d\.\d\d)"
    ),
    # Sentinel-1: the last four characters are a checksum, which is another one after each processing.
    (
        rf"(?P<platform>[A-Z]\d[A-Z])_(?P<product>[A-Z0-9]{{2}}_[A-Z0-9_]{{4}}_[A-Z0-9]{{4}})_(?P<time>{_TIME})_{_TIME}"
        r"_(?P<orbit>\d{6})_(?P<take>[0-9A-F]{6})_[0-9A-F]{4}"
    ),
    # Sentinel-3
    (
        rf"(?P<platform>[A-Z]\d[A-Z])_(?P<product>[A-Z]{{2}}_\d_[A-Z0-9_]{{6}})_(?P<time>{_TIME})_{_TIME}"
        rf"_(?P<made>{_TIME})_\d{{4}}_(?P<take>\d{{3}})_(?P<orbit>\d{{3}})_(?P<tile>\d{{4}}|_{{4}})_"
    ),
    # Sentinel-5P: what comes in near real time is cut into other pieces than what comes later.
    (
        rf"(?P<platform>[A-Z]\d[A-Z])_(?:(?P<take>NRTI)|[A-Z]{{4}})_(?P<product>[A-Z0-9_]{{10}})_(?P<time>{_TIME})_{_TIME}"
        rf"_(?P<orbit>\d{{5}})_\d\d_(?P<baseline>\d{{6}})_(?P<made>{_TIME})"
    ),
    # Landsat
    r"(?P<platform>L[A-Z]\d\d)_L\w{3}_(?P<tile>\d{6})_(?P<date>\d{8})_(?P<made>\d{8})_(?P<baseline>\d\d)_",
)
_PATTERNS: Final = tuple(map(re.compile, _CONVENTIONS))
_GRID_TILE = re.compile(r"(?<![0-9A-Za-z])(h\d{2}v\d{2}|T\d{2}[A-Z]{3})(?![0-9A-Za-z])")

# A satellite comes back to a tile after an orbit of 100 minutes at the earliest. The pieces of a strip that has no
# tiles follow each other after 25 seconds.
_SLOT_OF_A_TILE = (1200, 300)
_SLOT = (10, 5)

_ORBIT = ("sat:relative_orbit", "sat:absolute_orbit")
_TILE = ("grid:code", "s2:mgrs_tile", "mgrs:tile")
_MADE = ("processing:datetime", "s2:generation_time", "created", "updated")
_BASELINE = ("processing:version", "s2:processing_baseline", "processing:baseline")
_LONGEST_ID = 500


@dataclass(frozen=True, slots=True)
class Acquisition:
    """
    One version of an acquisition.

    :param collection: Id of its collection.
    :param item_id: Id of the item.
    :param platform: The satellite, e.g. ``sentinel-2b``; empty if it is not known.
    :param sensed: When it was acquired.
    :param orbit: Number of the orbit, relative where the item says it; empty if it is not known.
    :param tile: The tile, e.g. ``33TUK``, or path and row; empty if the collection has none.
    :param baseline: Number of the processing baseline; 0 if it is not known.
    :param made: When this version was processed, as far as the item says.
    :param bbox: West, south, east and north in degrees, as the item has them.
    :param cloud_cover: Clouds in percent, as the item has it.
    :param keys: What identifies the acquisition. Two items are versions of the same one if they have one in common. The
        first is this version's own.
    """

    collection: str
    item_id: str
    platform: str
    sensed: datetime
    orbit: str
    tile: str
    baseline: int
    made: datetime | None
    bbox: tuple[float, ...] | None
    cloud_cover: float | None
    keys: tuple[str, ...]

    @property
    def rank(self) -> int:
        """How new this version is: by its baseline, then by when it was made. 0 if the item says neither."""
        made = 0 if self.made is None else max(0, int(self.made.timestamp()))
        return (self.baseline << 36) + made

    @property
    def item_key(self) -> str:
        """What identifies the version."""
        return _digest("item", self.collection, self.item_id)


def acquisition_of(item: Mapping[str, Any], collection: str = "") -> Acquisition | None:
    """
    Return which acquisition an item is a version of.

    :param item: An item as the Catalog API returns it; any of its fields may be missing.
    :param collection: Id of the collection, if the item does not have it.
    :returns: ``None`` if the item has no id or no time.
    """
    item_id = item.get("id")
    given = item.get("properties")
    properties: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    if not isinstance(item_id, str) or not item_id:
        return None
    found = _read_id(item_id)
    named = {name: text or "" for name, text in found.groupdict().items()} if found else {}
    sensed = (
        _moment(properties.get("datetime"))
        or _moment(properties.get("start_datetime"))
        or _moment(named.get("time"))
        or _moment(named.get("date"))
    )
    if sensed is None:
        return None
    collection = _text(item.get("collection")) or collection
    platform = _text(properties.get("platform")) or named.get("platform", "") or _text(properties.get("constellation"))
    orbit = _first(properties, _ORBIT) or named.get("orbit", "")
    tile = _tile(_first(properties, _TILE) or _wrs(properties) or named.get("tile", "") or _tile_in(item_id))
    bbox = _bbox(item.get("bbox"))
    parts = [collection, platform.casefold(), orbit.lstrip("0"), tile, named.get("product", ""), named.get("take", "")]
    if found is None and not tile:
        # Nothing else tells two pieces of one strip apart. Versions may differ by some metres.
        parts.append(repr([round(each, 1) for each in bbox]) if bbox else item_id)
    slot = _SLOT_OF_A_TILE if tile and found is not None else _SLOT
    return Acquisition(
        collection,
        item_id[:_LONGEST_ID],
        platform,
        sensed,
        orbit,
        tile,
        _number(_first(properties, _BASELINE) or named.get("baseline", "")),
        next((made for name in _MADE if (made := _moment(properties.get(name)))), None) or _moment(named.get("made")),
        bbox,
        _float(properties.get("eo:cloud_cover")),
        _keys(parts, _moment(named.get("time")) or sensed, *slot),
    )


def _read_id(item_id: str) -> re.Match[str] | None:
    return next((found for each in _PATTERNS if (found := each.match(item_id[:_LONGEST_ID]))), None)


def _keys(parts: Sequence[str], moment: datetime, slot: int, tolerance: int) -> tuple[str, ...]:
    """Return the key of the slot of time, and those of its neighbours that are within the tolerance."""
    at = moment.timestamp()
    slots = dict.fromkeys(int(each // slot) for each in (at, at - tolerance, at + tolerance))
    return tuple(_digest("acquisition", *parts, str(each * slot)) for each in slots)


def _digest(*parts: str) -> str:
    # 72 bits: among a million keys, two are the same with a probability of one in ten thousand million.
    return urlsafe_b64encode(blake2b("\x1f".join(parts).encode(errors="replace"), digest_size=9).digest()).decode()


def _text(given: Any) -> str:
    return one_line(given, 100) if isinstance(given, (str, int)) and not isinstance(given, bool) else ""


def _first(properties: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((text for name in names if (text := _text(properties.get(name)))), "")


def _wrs(properties: Mapping[str, Any]) -> str:
    path, row = _text(properties.get("landsat:wrs_path")), _text(properties.get("landsat:wrs_row"))
    return f"{path:0>3}{row:0>3}" if path and row else ""


def _tile_in(item_id: str) -> str:
    found = _GRID_TILE.search(item_id[:_LONGEST_ID])
    return found.group(1) if found else ""


def _tile(text: str) -> str:
    """Return a tile the same way whoever names it: 33TUK, T33TUK and MGRS-33TUK are one."""
    found = re.fullmatch(r"(?:MGRS-|T)?(\d{1,2}[A-Z]{3})", text)
    return found.group(1).rjust(5, "0") if found else text.strip("_")


def _number(text: str) -> int:
    digits = "".join(re.findall(r"\d+", text))[:6]
    return int(digits) if digits else 0


def _float(given: Any) -> float | None:
    return float(given) if isinstance(given, (int, float)) and not isinstance(given, bool) else None


def _bbox(given: Any) -> tuple[float, ...] | None:
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) not in (4, 6):
        return None
    numbers = [_float(each) for each in given]
    if any(each is None or not abs(each) < 1e6 for each in numbers):  # noqa: PLR2004 - not degrees, and no infinity
        return None
    flat = numbers if len(numbers) == 4 else [*numbers[:2], *numbers[3:5]]  # noqa: PLR2004 - sides
    return tuple(each for each in flat if each is not None)


def _moment(given: Any) -> datetime | None:
    if not isinstance(given, str):
        return None
    try:
        # Dates and times without separators are ISO 8601 as well.
        moment = datetime.fromisoformat(given)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
