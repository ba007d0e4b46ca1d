"""Samples of users' own collections: the pixels of the files that their tiles name."""

from __future__ import annotations

import datetime as dt
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import shapely
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from airflow_provider_sentinelhub.simulator.bucket.delivery import BucketFailed
from airflow_provider_sentinelhub.simulator.imagery.sources import Block, SourceBand, register
from airflow_provider_sentinelhub.simulator.problems import RenderingFailed
from airflow_provider_sentinelhub.simulator.scenes.bands import MASK
from airflow_provider_sentinelhub.simulator.scenes.scenes import Scene
from airflow_provider_sentinelhub.simulator.tasks.collections import Band, ReadableCollection, readable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from airflow_provider_sentinelhub.simulator.imagery.sources import Bounds
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

PREFIXES = ("byoc-", "batch-")
TIMELESS = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# rasterio has one opener for a path at a time.
_OPENING = threading.Lock()


def register_collections(service: Service) -> None:
    """
    Let requests read users' own collections.

    :param service: Has the collections and reaches their buckets.
    """
    for prefix in PREFIXES:
        register(prefix, lambda data: OwnCollection(service, str(data["type"]).lower()))


class OwnCollection:
    """
    A user's collection as a data source; a scene is a tile.

    :param service: Has the collections.
    :param data_type: ``byoc-<id>`` or ``batch-<id>``.
    :raises RenderingFailed: There is no such collection.
    """

    def __init__(self, service: Service, data_type: str) -> None:
        with service.lock:
            found = readable(service, data_type)
        if found is None:
            raise RenderingFailed(f"Collection {data_type} not found.")
        self._service = service
        self._type = data_type
        self._collection: ReadableCollection = found

    @cached_property
    def bands(self) -> Mapping[str, SourceBand]:
        """Its bands by name, ``dataMask`` included."""
        named = {name: SourceBand(_dtype(band), {"DN": 1.0}) for name, band in self._collection.bands.items()}
        return {**named, MASK: SourceBand("uint8", {"DN": 1.0})}

    def scenes(self, bounds: Bounds, start: dt.datetime, end: dt.datetime) -> list[Scene]:
        """
        List its tiles; those without a sensing time are in every time range.

        :param bounds: West, south, east and north, in degrees.
        :param start: Of the time range.
        :param end: Of the time range.
        """
        area = shapely.box(*bounds)
        return [
            Scene(tile.id, self._type, "", tile.sensed or TIMELESS, 0, "", tile.cover, None, data_path=tile.path)
            for tile in self._collection.tiles
            if (tile.sensed is None or start <= tile.sensed <= end) and tile.cover.intersects(area)
        ]

    def read(self, scene: Scene, bands: Sequence[str], block: Block) -> dict[str, NDArray[Any]]:
        """
        Read the pixels of a tile, the nearest to the centre of each pixel of the block.

        :param scene: The tile.
        :param bands: Names of bands.
        :param block: For which pixels.
        :returns: By band and for ``dataMask``: rows of columns. Where the mask is 0, all bands are.
        :raises RenderingFailed: A file cannot be read.
        """
        tile = next(each for each in self._collection.tiles if each.id == scene.id)
        # The mask of a pixel is that of all bands, also where none is read.
        wanted = [name for name in bands if name != MASK] or list(self._collection.bands)[:1]
        found: dict[str, NDArray[Any]] = {}
        mask = np.ones(block.shape, np.uint8)
        for name in wanted:
            band = self._collection.bands[name]
            values, has_data = self._read(tile.key(band), band, block)
            found[name] = values
            mask &= has_data
        return {MASK: mask, **{name: np.where(mask == 1, values, 0) for name, values in found.items()}}

    def _read(self, key: str, band: Band, block: Block) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        left, _, _, top = block.bounds
        feature = block.feature
        grid: dict[str, Any] = {
            "crs": CRS.from_epsg(feature.crs),
            "transform": Affine(feature.step_x, 0, left, 0, -feature.step_y, top),
            "width": feature.width,
            "height": block.rows,
            "resampling": Resampling.nearest,
        }
        bucket = self._service.bucket({"url": f"s3://{self._collection.bucket}/"})
        try:
            with (
                _OPENING,
                rasterio.open(key, opener=lambda path, *_, **__: bucket.reader(path), driver="GTiff") as dataset,
            ):
                nodata = dataset.nodata if band.nodata is None else band.nodata
                if nodata is not None:
                    with WarpedVRT(dataset, src_nodata=nodata, nodata=nodata, **grid) as warped:
                        has_data = warped.read_masks(band.index)
                        return warped.read(band.index), (has_data > 0).astype(np.uint8)
                with WarpedVRT(dataset, add_alpha=True, **grid) as warped:
                    has_data = warped.read(warped.count)
                    return warped.read(band.index), (has_data > 0).astype(np.uint8)
        except (RasterioError, BucketFailed, OSError) as error:
            raise RenderingFailed(f"File {key} of collection {self._type} cannot be read.") from error


def _dtype(band: Band) -> str:
    return f"{band.sample_format.lower()}{band.bit_depth}"
