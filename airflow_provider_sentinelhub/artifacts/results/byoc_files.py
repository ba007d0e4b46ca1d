"""The files of tiles, compared with the rules of collections before a tile is registered."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.artifacts.storage.cogs import BrokenRule, CogHeader, check_same_grid, read_headers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from airflow_provider_sentinelhub.artifacts.results.byoc_tiles import WantedTile
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.lifecycle.collections import Band

log = logging.getLogger(__name__)

_IDENTIFIER: Final = re.compile(r"(?:[^\W\d]|\$)[\w$]*")
_MOST_BANDS: Final = 100
_SMALLEST_DEPTH: Final = 8


def broken_tiles(
    storage: Storage,
    bucket_url: str,
    tiles: Sequence[WantedTile],
    bands: Mapping[str, Band],
    *,
    concurrency: int = 32,
) -> dict[str, str]:
    """
    Read the headers of the files of tiles; return by path why tiles cannot be ingested.

    :param storage: Reads the bucket.
    :param bucket_url: URL of the bucket.
    :param tiles: The tiles.
    :param bands: Those of the collection; if it has none, the first tile decides, as it does at the service.
    :param concurrency: Maximum number of files read in parallel.
    :raises InvalidConfiguration: The library that reads headers is not installed.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    urls = (url for tile in tiles for url in tile.urls(bucket_url))
    headers = read_headers(storage, urls, concurrency=concurrency)
    rules = _Rules(bands)
    broken: dict[str, str] = {}
    for tile in tiles:
        # All are taken, so that the next tile gets its own.
        found = [next(headers) for _ in tile.bands]
        if cause := rules.broken_by(tile, found):
            broken[tile.path] = cause
    return broken


class _Rules:
    def __init__(self, bands: Mapping[str, Band]) -> None:
        self._kinds: dict[str, set[tuple[str, int, int | None, str | None]]] = {}
        for name, band in bands.items():
            place = (name, band.band_index or 1, band.bit_depth, band.sample_format)
            self._kinds.setdefault(band.source or name, set()).add(place)
        self._owner = "the collection"

    def broken_by(self, tile: WantedTile, found: Iterable[tuple[str, CogHeader | BrokenRule]]) -> str:
        headers: dict[str, CogHeader] = {}
        for band, (url, header) in zip(tile.bands, found, strict=True):
            if isinstance(header, BrokenRule):
                return f"{url} {header}"
            headers[band] = header
        urls = [(tile.path.replace("(BAND)", band), header) for band, header in headers.items()]
        return check_same_grid(urls) or next(self._misfits(tile, headers), "") or self._first(tile, headers)

    def _misfits(self, tile: WantedTile, headers: Mapping[str, CogHeader]) -> Iterator[str]:
        if not self._kinds:
            return
        missing = sorted(self._kinds.keys() - headers.keys())
        if missing:
            yield f"lacks the file {tile.path.replace('(BAND)', missing[0])}, which {self._owner} has as a band"
        for source, kinds in self._kinds.items():
            header, file = headers[source], tile.path.replace("(BAND)", source)
            for name, index, depth, sample_format in kinds:
                if index > header.bands:
                    yield f"{file} has {header.bands} bands, and {name} is band {index} in {self._owner}"
                if depth is not None and depth != max(_SMALLEST_DEPTH, header.bit_depth):
                    yield f"{file} has {header.bit_depth} bits, and band {name} has {depth} in {self._owner}"
                if sample_format is not None and sample_format != header.sample_format:
                    yield f"{file} is {header.sample_format}, and band {name} is {sample_format} in {self._owner}"

    def _first(self, tile: WantedTile, headers: Mapping[str, CogHeader]) -> str:
        if self._kinds:
            return ""
        if sum(header.bands for header in headers.values()) > _MOST_BANDS:
            return f"has more than {_MOST_BANDS} bands"
        for source, header in headers.items():
            depth = max(_SMALLEST_DEPTH, header.bit_depth)
            self._kinds[source] = {(source, index, depth, header.sample_format) for index in range(1, header.bands + 1)}
            if not _IDENTIFIER.fullmatch(source):
                log.warning(
                    "Band %s of %s has a name that evalscripts cannot use. Give bands, and this as a source.",
                    source,
                    tile.path,
                )
        self._owner = f"the first tile, {tile.path}"
        return ""
