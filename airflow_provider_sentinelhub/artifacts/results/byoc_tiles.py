"""
The tiles that a collection is to have: from the report of a batch, or from the files below a URL.

A tile is one path with ``(BAND)``; the files of a feature, one for each output, differ in what takes its place.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.artifacts.storage.location import Location
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

BAND: Final = "(BAND)"
FILE_PATTERN: Final = r"(?P<band>[^/]+)\.(?:tif|tiff|TIF|TIFF)$"
MOST_TILES: Final = 1_000_000
_TIFF = re.compile(r"\.tiff?$", re.IGNORECASE)
_COLUMNS = ("name", "outcome", "outputs", "epsg", "geometry")
_DIGITS = ("%Y%m%dT%H%M%S", "%Y%m%d%H%M%S", "%Y%m%d")


@dataclass(frozen=True, slots=True)
class WantedTile:
    """
    A tile that a collection is to have.

    :param path: Where its files are in the bucket, with ``(BAND)``.
    :param bands: What takes the place of ``(BAND)``.
    :param name: Name of the feature; the path where there is none.
    :param geometry: WKB of the feature's outline, as the report has it.
    :param epsg: EPSG code of that.
    """

    path: str
    bands: tuple[str, ...]
    name: str
    geometry: bytes | None = None
    epsg: int | None = None

    def urls(self, bucket_url: str) -> list[str]:
        """
        Return the URLs of its files.

        :param bucket_url: URL of the bucket.
        """
        return [f"{bucket_url}/{self.path.replace(BAND, band)}" for band in self.bands]

    def body(self, sensed: str | None, *, with_cover: bool) -> dict[str, Any]:
        """
        Return what is sent to the service.

        :param sensed: Its sensing time.
        :param with_cover: Whether its outline is the cover geometry.
        """
        body: dict[str, Any] = {"path": self.path}
        if sensed:
            body["sensingTime"] = sensed
        if with_cover and self.geometry is not None and self.epsg:
            import shapely

            from airflow_provider_sentinelhub.artifacts.features.cover import as_geojson, simplified

            body["coverGeometry"] = as_geojson(simplified(shapely.from_wkb(self.geometry)), self.epsg)
        return body


@dataclass(frozen=True, slots=True)
class WantedTiles:
    """
    The tiles that a collection is to have.

    :param bucket_url: URL of their bucket, without a slash at its end.
    :param tiles: By path, in order.
    """

    bucket_url: str
    tiles: Mapping[str, WantedTile]

    @property
    def bucket(self) -> str:
        """Name of their bucket."""
        return self.bucket_url.partition("://")[2]


def from_report(storage: Storage, report_url: str, folder: Path) -> WantedTiles:
    """
    Read what a batch delivered from the table of its report, row group by row group.

    :param storage: Reads the bucket.
    :param report_url: URL of the table, ``report_url`` of the batch's result.
    :param folder: For the downloaded table.
    :raises ArtifactMissing: There is no such table.
    :raises ArtifactCorrupt: It is not such a table.
    :raises InvalidParameter: The batch delivered to several buckets.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = folder / "report.parquet"
    storage.download(report_url, target)
    tiles: dict[str, WantedTile] = {}
    buckets: set[str] = set()
    try:
        with pq.ParquetFile(target) as table:
            for batch in table.iter_batches(batch_size=4096, columns=list(_COLUMNS)):
                for row in batch.to_pylist():
                    if row["outcome"] == "DELIVERED":
                        _take(row, tiles, buckets)
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise ArtifactCorrupt(
            f"{report_url} is not the table of a report ({type(error).__name__}). Give report_url of a batch's result."
        ) from None
    if len(buckets) > 1:
        rule = f"has files in several buckets: {', '.join(sorted(buckets))}"
        raise InvalidParameter("source", report_url, rule, "A collection has one bucket: name a folder of each.")
    return WantedTiles(next(iter(buckets), ""), dict(sorted(tiles.items())))


def _take(row: Mapping[str, Any], tiles: dict[str, WantedTile], buckets: set[str]) -> None:
    keys: dict[str, str] = {}
    for output in row["outputs"] or ():
        if output["path"] and _TIFF.search(output["path"]):
            location = Location.parse(output["path"])
            buckets.add(f"{location.scheme}://{location.bucket}")
            keys[output["output_id"] or "default"] = location.key
    if keys:
        path, bands = with_placeholder(keys)
        tiles[path] = WantedTile(path, bands, row["name"], row["geometry"], row["epsg"])


def with_placeholder(keys: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """
    Return the keys of a tile's files as one path with ``(BAND)``, and what takes its place, in order.

    :param keys: Keys by identifier of the output.
    :raises InvalidParameter: They differ in more than one place.
    """
    (output, key), *others = sorted(keys.items())
    for start in _places(output, key, alone=not others):
        path = f"{key[:start]}{BAND}{key[start + len(output) :]}"
        if all(path.replace(BAND, name) == other for name, other in others):
            return path, tuple(sorted(keys))
    if not others:
        # The name of the file does not say what it is: all of it, before its ending, is the band.
        found = re.search(FILE_PATTERN, key)
        if found:
            return f"{key[: found.start('band')]}{BAND}{key[found.end('band') :]}", (found["band"],)
    rule = "are the files of one tile, and do not only differ in the name of their output"
    raise InvalidParameter(
        "output.delivery.s3.url", [*keys.values()], rule, "Deliver to e.g. s3://bucket/<tileName>/<outputId>.tif."
    )


def _places(output: str, key: str, *, alone: bool) -> list[int]:
    """
    Return where a key may name its output, not in its ending: first where it is a word of its own.

    :param alone: Return only those: nothing else tells whether the output is meant.
    """
    stem = key.rpartition(".")[0] or key
    places = [found.start() for found in re.finditer(f"(?={re.escape(output)})", stem)]
    places = [place for place in places if place + len(output) <= len(stem)]

    def is_alone(place: int) -> bool:
        around = stem[place - 1 : place] + stem[place + len(output) : place + len(output) + 1]
        return not any(each.isalnum() for each in around)

    found = [place for place in places if is_alone(place) or not alone]
    return sorted(found, key=lambda place: (is_alone(place), place), reverse=True)


def from_files(storage: Storage, files_url: str, file_pattern: str = FILE_PATTERN) -> WantedTiles:
    """
    List the files below a URL, and group those of one tile.

    :param storage: Lists the bucket.
    :param files_url: The folder.
    :param file_pattern: Regular expression for a path below the bucket; its group ``band`` is what differs between the
        files of a tile. Files that it does not find are left out.
    :raises InvalidParameter: The URL cannot be used.
    """
    location = Location.parse(files_url, field="source", folder=True)
    pattern = compiled("file_pattern", file_pattern, "band")
    bands: dict[str, set[str]] = defaultdict(set)
    for meta in storage.list(files_url):
        key = Location.parse(meta.url).key
        found = pattern.search(key)
        if found and found["band"]:
            bands[f"{key[: found.start('band')]}{BAND}{key[found.end('band') :]}"].add(found["band"])
            if len(bands) > MOST_TILES:
                rule = f"has more than {MOST_TILES:,} tiles"
                raise InvalidParameter("source", files_url, rule, "Name a folder with fewer of them.")
    tiles = {path: WantedTile(path, tuple(sorted(bands[path])), path) for path in sorted(bands)}
    return WantedTiles(f"{location.scheme}://{location.bucket}", tiles)


def compiled(field: str, pattern: str, group: str) -> re.Pattern[str]:
    """
    Compile a regular expression that has a named group.

    :param field: The parameter it was given in.
    :param pattern: The regular expression.
    :param group: The group's name.
    :raises InvalidParameter: It cannot be compiled, or has no such group.
    """
    try:
        found = re.compile(pattern)
    except re.error as error:
        rule = f"is not a regular expression: {error}"
        raise InvalidParameter(field, pattern, rule, "Correct it.") from None
    if group not in found.groupindex:
        fix = f"Put what it is about in (?P<{group}>...)."
        raise InvalidParameter(field, pattern, f"has no group {group}", fix)
    return found


def sensed_of(path: str, pattern: re.Pattern[str]) -> str:
    """
    Return the sensing time that a path tells.

    :param path: Path of a tile.
    :param pattern: Finds it: its group ``time`` is a time in ISO 8601, or digits of year, month, day and, optionally,
        hour, minute and second, in UTC. Slashes, dashes and underscores between them do not matter.
    :raises InvalidParameter: It finds none, or no time.
    """
    found = pattern.search(path)
    text = found["time"] if found else None
    if not text:
        rule = f"does not find a time in the path {path}"
        raise InvalidParameter("sensing_time_pattern", pattern.pattern, rule, "Correct it, or give sensing_time.")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = _of_digits(text, pattern.pattern)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _of_digits(text: str, pattern: str) -> datetime:
    plain = re.sub(r"[/_\-:. ]", "", text).removesuffix("Z")
    for form in _DIGITS:
        try:
            return datetime.strptime(plain, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    rule = f"finds {text!r}, which is not a time"
    raise InvalidParameter("sensing_time_pattern", pattern, rule, "Find e.g. 2026-06-01T10:30:00Z or 20260601.")
