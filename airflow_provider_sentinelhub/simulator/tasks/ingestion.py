"""The threads that ingest tiles as time passes: they look into the files and say what is wrong with them."""

from __future__ import annotations

import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import shapely
from pyproj import Transformer
from shapely.geometry import mapping, shape

from airflow_provider_sentinelhub.simulator.bucket.delivery import BucketFailed
from airflow_provider_sentinelhub.simulator.imagery.cogs import Header, IngestionFailed, header
from airflow_provider_sentinelhub.simulator.tasks.collections import BAND, BATCH, BYOC, Collections
from airflow_provider_sentinelhub.simulator.tasks.tiles import Tile, TileStore

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

_LOG = logging.getLogger(__name__)
TICK_S = 0.05
WORKERS = 4
AT_ONCE = 200
STOP_S = 10.0
TIFF = re.compile(r"\.tiff?$", re.IGNORECASE)
_NEXT = {"WAITING": "QUEUED", "QUEUED": "INGESTING"}
MAX_BANDS = 100


class Ingestion:
    """
    Ingests tiles.

    :param service: Has them.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tiles = TileStore(service.store)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ingestion", daemon=True)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the files that are read now."""
        self._stopping.set()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        with ThreadPoolExecutor(WORKERS, "ingestion") as pool:
            while not self._stopping.wait(TICK_S):
                for status, following in _NEXT.items():
                    for tile in self._due(status):
                        self._move(tile, following)
                list(pool.map(self._ingest, self._due("INGESTING")))

    def _due(self, status: str) -> list[Tile]:
        lasted = self._service.script.timing.tile_seconds
        return self._tiles.due(status, self._service.clock.now() - lasted, AT_ONCE)

    def _move(self, tile: Tile, status: str) -> None:
        # The moment it was due, not the moment it was noticed: a clock that jumps loses nothing.
        since = tile.since + self._service.script.timing.tile_seconds
        facts = {**tile.facts, "ingestionStart": since} if status == "INGESTING" else tile.facts
        self._save(tile, replace(tile, status=status, since=since, facts=facts))

    def _save(self, seen: Tile, changed: Tile) -> None:
        with self._service.lock:
            now = self._tiles.get(seen.id)
            # A user may have updated, reingested or deleted it meanwhile.
            if now == seen:
                self._tiles.save(changed)

    def _ingest(self, tile: Tile) -> None:
        try:
            done = self._ingested(tile)
        except IngestionFailed as failed:
            done = replace(tile, status="FAILED", facts={**tile.facts, "cause": str(failed)})
        except Exception as error:  # noqa: BLE001 - a tile that hangs would look like a slow one
            if self._stopping.is_set():
                return
            _LOG.exception("tile %s cannot be ingested", tile.id)
            done = replace(tile, status="FAILED", facts={**tile.facts, "cause": f"Error in the simulator: {error}"})
        self._save(tile, replace(done, since=tile.since + self._service.script.timing.tile_seconds))

    def _ingested(self, tile: Tile) -> Tile:
        collections = self._collections_of(tile)
        collection = collections.get(tile.collection)
        name = str(collection["s3Bucket"]).rpartition(":")[2]
        try:
            bucket = self._service.bucket({"url": f"s3://{name}/"})
            path, sources = _files(bucket, tile.path, collection)
        except BucketFailed as error:
            raise IngestionFailed(f"Cannot access bucket {name}: {error}.") from error
        headers = {source: header(bucket, path.replace(BAND, source)) for source in sources}
        facts = _placed([*headers.values()], tile.facts)
        with self._service.lock:
            collection = collections.get(tile.collection)
            bands = collection["additionalData"].get("bands")
            if not bands:
                collection = _configured(collection, headers)
            else:
                _compare(bands, headers)
            collections.save(_described(collection, facts))
        return replace(tile, status="INGESTED", path=path, facts={**facts, "cause": None})

    def _collections_of(self, tile: Tile) -> Collections:
        for kind in (BYOC, BATCH):
            collections = Collections(self._service, kind)
            if tile.collection in collections.all():
                return collections
        raise IngestionFailed("The collection was deleted.")


def _files(bucket: Bucket, path: str, collection: dict[str, Any]) -> tuple[str, list[str]]:
    """Return the path with ``(BAND)``, and what takes its place."""
    bands = collection["additionalData"].get("bands") or {}
    sources = sorted({str(band.get("source", name)) for name, band in bands.items()})
    if BAND in path and sources:
        return path, sources
    if BAND not in path:
        folder = f"{path.rstrip('/')}/"
        keys = [
            key for key in bucket.keys(path.rstrip("/")) if key.startswith(folder) and "/" not in key[len(folder) :]
        ]
        kinds = {found[0] for key in keys if (found := TIFF.search(key))}
        if not kinds:
            raise IngestionFailed(f"There are no TIFF files in {folder}.")
        if len(kinds) > 1:
            raise IngestionFailed(f"The files in {folder} have different extensions: {', '.join(sorted(kinds))}.")
        path = f"{folder}{BAND}{kinds.pop()}"
        if sources:
            return path, sources
    start, _, end = path.partition(BAND)
    pattern = re.compile(f"{re.escape(start)}([^/]+){re.escape(end.replace(BAND, '(BAND)'))}")
    there = bucket.keys(start.rpartition("/")[0])
    others = sorted(match[1] for key in there if (match := pattern.fullmatch(key)))
    if not others:
        raise IngestionFailed(f"There are no files at {path}.")
    return path, others


def _placed(headers: list[Header], facts: dict[str, Any]) -> dict[str, Any]:
    if len({each.epsg for each in headers}) > 1:
        raise IngestionFailed("The files have different projections.")
    boxes = [shapely.box(*each.bounds) for each in headers]
    common = shapely.intersection_all(boxes)
    for each in headers:
        limits = zip(each.bounds, common.bounds or (float("inf"),) * 4, (*each.pixel, *each.pixel), strict=True)
        if any(abs(own - shared) > pixel * 1.000001 for own, shared, pixel in limits):
            raise IngestionFailed(f"File {each.key} differs by more than one pixel from the area of all files.")
    epsg = headers[0].epsg
    found = {**facts, "epsg": epsg, "bounds": list(shapely.union_all(boxes).bounds)}
    if not found.get("coverGeometry"):
        found["coverGeometry"] = mapping(reprojected(common, epsg, 4326))
    return found


def reprojected(geometry: shapely.Geometry, of: int, to: int) -> shapely.Geometry:
    """
    Return a geometry in another system, x before y.

    :param geometry: The geometry.
    :param of: EPSG code of its system.
    :param to: EPSG code of the other.
    """
    if of == to:
        return geometry
    change = Transformer.from_crs(of, to, always_xy=True).transform
    return shapely.transform(geometry, change, interleaved=False)


def _configured(collection: dict[str, Any], headers: dict[str, Header]) -> dict[str, Any]:
    bands = {
        source if each.bands == 1 else f"{source}_{index}": {
            "source": source,
            "bandIndex": index,
            "bitDepth": each.bit_depth,
            "sampleFormat": each.sample_format,
            **({} if each.nodata is None or each.nodata != each.nodata else {"noData": each.nodata}),
        }
        for source, each in headers.items()
        for index in range(1, each.bands + 1)
    }
    if len(bands) > MAX_BANDS:
        raise IngestionFailed(f"There are more than {MAX_BANDS} bands.")
    values = [band.pop("noData", None) for band in bands.values()]
    about: dict[str, Any] = {}
    if "noData" in collection:
        pass
    elif len({*values}) == 1 and values[0] is not None:
        about["noData"] = values[0]
    else:
        for band, value in zip(bands.values(), values, strict=True):
            band.update({} if value is None else {"noData": value})
    return {**collection, **about, "additionalData": {**collection["additionalData"], "bands": bands}}


def _compare(bands: dict[str, Any], headers: dict[str, Header]) -> None:
    for name, band in bands.items():
        file = headers[str(band.get("source", name))]
        index = band.get("bandIndex", 1)
        if index > file.bands:
            raise IngestionFailed(f"File {file.key} has {file.bands} bands, and {name} is band {index}.")
        if band["bitDepth"] != file.bit_depth:
            raise IngestionFailed(
                f"File {file.key} has the bit depth {file.bit_depth}, and band {name} has {band['bitDepth']}."
            )
        if band.get("sampleFormat", file.sample_format) != file.sample_format:
            raise IngestionFailed(
                f"File {file.key} has the sample format {file.sample_format}, and band {name} has "
                f"{band['sampleFormat']}."
            )


def _described(collection: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    data = dict(collection["additionalData"])
    extent = shape(facts["coverGeometry"]).envelope
    if "extent" in data:
        extent = shapely.union(extent, shape(data["extent"])).envelope
    data["extent"] = mapping(extent)
    sensed = facts.get("sensingTime")
    said = "YES" if sensed else "NO"
    data["hasSensingTimes"] = said if data.get("hasSensingTimes", said) == said else "PARTIALLY"
    if sensed:
        for name, choose in (("fromSensingTime", min), ("toSensingTime", max)):
            data[name] = choose([sensed, *filter(None, [data.get(name)])], key=datetime.fromisoformat)
    return {**collection, "additionalData": data}
