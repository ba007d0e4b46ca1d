"""
Collections that the images of tasks and tiles of users are added to, and what reads pixels from them.

There are two kinds: BYOC collections, of which Batch Processing V2 creates some, and batch collections, which only
Batch Processing V1 has. Both have tiles.
"""

from __future__ import annotations

import string
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shapely.geometry import shape

from airflow_provider_sentinelhub.simulator.problems import not_found
from airflow_provider_sentinelhub.simulator.tasks.clock import iso
from airflow_provider_sentinelhub.simulator.tasks.tiles import Tile, TileStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    import shapely

    from airflow_provider_sentinelhub.simulator.evalscript import Output
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

BYOC = "byoc"
BATCH = "batch"
SETTINGS = {BYOC: "byoc_collections", BATCH: "collections"}
BAND = "(BAND)"


@dataclass(frozen=True, slots=True)
class Band:
    """
    A band of a collection, for those who read its pixels.

    :param name: Its name in evalscripts.
    :param source: Takes the place of ``(BAND)`` in the path of a tile.
    :param index: Which band of that file, from 1.
    :param bit_depth: 8, 16 or 32.
    :param sample_format: UINT, INT or FLOAT.
    :param nodata: Value of pixels without data; ``None`` if there is none.
    """

    name: str
    source: str
    index: int
    bit_depth: int
    sample_format: str
    nodata: float | None


@dataclass(frozen=True, slots=True)
class ReadableTile:
    """
    A tile whose pixels can be read.

    :param id: Its id.
    :param path: Key of its files in the bucket, with ``(BAND)``.
    :param sensed: Its sensing time; ``None`` if it has none.
    :param cover: Where it has data, in degrees of longitude and latitude.
    """

    id: str
    path: str
    sensed: datetime | None
    cover: shapely.Geometry

    def key(self, band: Band) -> str:
        """
        Return the key of the file that has a band.

        :param band: The band.
        """
        return self.path.replace(BAND, band.source)


@dataclass(frozen=True, slots=True)
class ReadableCollection:
    """
    A collection whose pixels can be read.

    :param id: Its id.
    :param bucket: Name of the bucket. ``service.bucket({"url": f"s3://{bucket}/"})`` opens it by its policy.
    :param bands: Its bands, by name.
    :param tiles: Its ingested tiles, those sensed first first; those without a sensing time before them.
    """

    id: str
    bucket: str
    bands: Mapping[str, Band]
    tiles: tuple[ReadableTile, ...]


def readable(service: Service, data_type: str) -> ReadableCollection | None:
    """
    Find the collection that a data source names; ``None`` if there is none.

    :param service: Has the collections.
    :param data_type: ``type`` of the data source: ``byoc-<id>`` or ``batch-<id>``.
    """
    kind, _, number = data_type.partition("-")
    found = Collections(service, kind).all().get(number) if kind in SETTINGS else None
    if found is None:
        return None
    common = found.get("noData")
    bands = {
        name: Band(
            name,
            str(band.get("source", name)),
            int(band.get("bandIndex", 1)),
            int(band["bitDepth"]),
            str(band.get("sampleFormat", "UINT")),
            band.get("noData", common),
        )
        for name, band in (found["additionalData"].get("bands") or {}).items()
    }
    tiles = [_readable(each) for each in TileStore(service.store).of(number, "INGESTED")]
    tiles.sort(key=lambda tile: (tile.sensed is not None, tile.sensed.timestamp() if tile.sensed else 0.0, tile.path))
    return ReadableCollection(number, str(found["s3Bucket"]).rpartition(":")[2], bands, tuple(tiles))


def _readable(tile: Tile) -> ReadableTile:
    sensed = tile.facts.get("sensingTime")
    cover = shape(tile.facts["coverGeometry"])
    return ReadableTile(tile.id, tile.path, datetime.fromisoformat(sensed) if sensed else None, cover)


class Collections:
    """
    All collections of the account of one kind. Whoever calls a method that changes one holds the service's lock.

    :param service: Has the store and the clock.
    :param kind: ``byoc`` or ``batch``.
    """

    def __init__(self, service: Service, kind: str) -> None:
        self._service = service
        self._setting = SETTINGS[kind]

    def all(self) -> dict[str, dict[str, Any]]:
        """Return the collections by id, the oldest first."""
        return dict(self._service.store.setting(self._setting) or {})

    def get(self, collection_id: str) -> dict[str, Any]:
        """
        Return a collection.

        :param collection_id: Its id.
        :raises Problem: 404.
        """
        found = self.all().get(collection_id)
        if found is None:
            raise not_found(f"Collection with id {collection_id}")
        return found

    def create(self, account: str, name: str, bucket: str) -> dict[str, Any]:
        """
        Create a collection without bands.

        :param account: Id of the account.
        :param name: Its name.
        :param bucket: Name of the bucket its images are in.
        """
        made = {
            "id": str(uuid.uuid4()),
            "accountId": account,
            "name": name,
            "s3Bucket": bucket,
            # The service's Python client cannot read a collection without it.
            "additionalData": {},
            "created": iso(self._service.clock.now()),
        }
        self.save(made)
        return made

    def save(self, collection: dict[str, Any]) -> None:
        """
        Store a collection.

        :param collection: The collection.
        """
        self._service.store.remember(self._setting, {**self.all(), collection["id"]: collection})

    def delete(self, collection_id: str) -> None:
        """
        Delete a collection and its tiles; the files stay.

        :param collection_id: Its id.
        """
        kept = {key: each for key, each in self.all().items() if key != collection_id}
        self._service.store.remember(self._setting, kept)
        TileStore(self._service.store).delete(collection_id)

    def link(self, collection_id: str, grid: int | None, bands: dict[str, dict[str, Any]]) -> str | None:
        """
        Add what a task delivers: the first one decides on the bands, all others must have the same.

        :param collection_id: Id of the collection.
        :param grid: Id of the tiling grid, which batch collections keep; ``None`` for other collections.
        :param bands: The bands, see :func:`bands_of`.
        :returns: Why they do not fit; ``None`` when they do.
        """
        collection = self.all().get(collection_id)
        if collection is None:
            return f"Collection with id {collection_id} does not exist."
        own = collection.get("additionalData", {}).get("bands")
        if not own:
            about = {} if grid is None else {"batchData": {"tilingGridId": grid}}
            data = {**collection["additionalData"], "bands": bands}
            self.save({**collection, **about, "additionalData": data})
        elif depths(own) != depths(bands):
            return f"Collection {collection_id} has other bands or bit depths: {depths(own)}, not {depths(bands)}."
        return None

    def deliver(self, collection_id: str, keys: Mapping[str, str], sensed: str | None) -> None:
        """
        Add the images of a feature as a tile, which is ingested like any other.

        :param collection_id: Id of the collection.
        :param keys: Keys of the files, by the name of their band.
        :param sensed: Sensing time of the tile.
        """
        path = template_of(keys)
        now = self._service.clock.now()
        facts = {"sensingTime": sensed} if sensed else {}
        store = TileStore(self._service.store)
        if not store.add(Tile(str(uuid.uuid4()), collection_id, path, now, "WAITING", now, facts)):
            # The files were written again.
            for number in store.ids(collection_id, path):
                store.save(Tile(number, collection_id, path, now, "WAITING", now, facts))


def template_of(keys: Mapping[str, str]) -> str:
    """
    Return the keys of a tile's files as one path with ``(BAND)``.

    :param keys: The keys by the source of their bands. Each contains its source, at the same place.
    """
    first, *others = keys.items()
    for start in range(len(first[1]), -1, -1):
        if not first[1].startswith(first[0], start):
            continue
        path = first[1][:start] + BAND + first[1][start + len(first[0]) :]
        if all(path.replace(BAND, source) == key for source, key in others):
            return path
    # Without a place for the band, the folder is what can be named.
    return first[1].rpartition("/")[0]


def bands_of(outputs: list[Output]) -> dict[str, dict[str, Any]]:
    """
    Return the bands that outputs become: an output ``result`` of three is result, result2 and result3.

    :param outputs: The outputs.
    """
    return {
        output.id if index == 1 else f"{output.id}{index}": {
            "source": output.id,
            "bandIndex": index,
            "bitDepth": int(output.dtype.lstrip(string.ascii_lowercase)),
            "sampleFormat": output.dtype.rstrip(string.digits).upper(),
            **({} if output.nodata is None else {"noData": output.nodata}),
        }
        for output in outputs
        for index in range(1, output.bands + 1)
    }


def depths(bands: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """
    Return what must be the same for all tiles of a collection.

    :param bands: The bands.
    """
    return {name: band["bitDepth"] for name, band in sorted(bands.items())}
