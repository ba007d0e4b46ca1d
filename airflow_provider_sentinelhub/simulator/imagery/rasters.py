"""
GeoTIFFs as the service delivers them, and quick pixels to fill them with.

A quick pixel depends only on its band and coordinates: neighbouring tiles fit together and every run gives the same
pixels.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.transform import Affine
from rasterio.windows import Window

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from airflow_provider_sentinelhub.simulator.evalscript import Output
    from airflow_provider_sentinelhub.simulator.features.features import Feature

# Highest value of each pixel type: reflectances are 0..10000, as in Sentinel-2 products.
TOP = {"uint8": 250, "int8": 120, "uint16": 10_000, "int16": 10_000, "float32": 1}
WAVE_M = 40_000
METRES_PER_DEGREE = 111_320
ROWS_AT_ONCE = 1024
SYNTHETIC = "Synthetic pixels of sentinelhub-simulator; not an observation of the Earth"
TAGS = {"SYNTHETIC": "YES", "TIFFTAG_IMAGEDESCRIPTION": SYNTHETIC}


def pixels(feature: Feature, band: int, dtype: str, first_row: int = 0, rows: int | None = None) -> NDArray[Any]:
    """
    Compute the pixels of one band.

    :param feature: The feature.
    :param band: Which, from 1.
    :param dtype: Pixel type as numpy spells it.
    :param first_row: First row, from 0.
    :param rows: Number of rows; all that follow when ``None``.
    """
    count = feature.height - first_row if rows is None else rows
    scale = METRES_PER_DEGREE if feature.step_x < 1 and abs(feature.west) <= 360 else 1  # noqa: PLR2004 - degrees
    x = (feature.west + (np.arange(feature.width) + 0.5) * feature.step_x) * scale
    y = (feature.north - (np.arange(first_row, first_row + count) + 0.5) * feature.step_y) * scale
    across = np.sin(x * (2 * math.pi / WAVE_M) + band)
    down = np.cos(y * (2 * math.pi / WAVE_M) + 2 * band)
    values = (0.5 + 0.25 * across[np.newaxis, :] + 0.25 * down[:, np.newaxis]) * TOP[dtype]
    typed: NDArray[Any] = values.astype(dtype)
    return typed


class GeoTiff:
    """
    A GeoTIFF that is written block by block. Use it in a ``with`` statement.

    :param feature: The raster.
    :param output: Bands and pixel type.
    """

    def __init__(self, feature: Feature, output: Output) -> None:
        self._dtype = output.dtype
        self._width = feature.width
        self._memory = MemoryFile(ext=".tif")
        self._dataset = self._memory.open(
            driver="GTiff",
            width=feature.width,
            height=feature.height,
            count=output.bands,
            dtype=output.dtype,
            crs=CRS.from_epsg(feature.crs),
            transform=Affine(*feature.transform),
            nodata=output.nodata,
            compress="deflate",
            zlevel=1,
            BIGTIFF="IF_SAFER",
        )
        self._dataset.update_tags(**TAGS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dataset.close()
        self._memory.close()

    def write(self, first_row: int, values: NDArray[Any]) -> None:
        """
        Write some rows.

        :param first_row: First row, from 0.
        :param values: Bands, rows and columns.
        """
        self._dataset.write(values, window=Window(0, first_row, self._width, values.shape[1]))

    def content(self, cog: dict[str, Any] | None) -> bytes:
        """
        Return the file, once all rows are written.

        :param cog: ``cogParameters`` for a Cloud Optimized GeoTIFF; ``None`` for a plain one.
        """
        self._dataset.close()
        return bytes(self._memory.read()) if cog is None else _cog(self._memory, self._dtype, cog)


def _cog(plain: MemoryFile, dtype: str, given: dict[str, Any]) -> bytes:
    block = int(given.get("blockxsize", 256))
    predictor = "NO"
    if given.get("usePredictor", True):
        predictor = "FLOATING_POINT" if dtype == "float32" else "STANDARD"
    with rasterio.open(plain.name) as source, MemoryFile(ext=".tif") as memory:
        copy(
            source,
            memory.name,
            driver="COG",
            compress="DEFLATE",
            level=1,
            predictor=predictor,
            blocksize=block,
            overview_resampling=str(given.get("resamplingAlgorithm", "average")),
        )
        return bytes(memory.read())


def userdata(feature: Feature) -> bytes:
    """
    Write the JSON of the ``userdata`` output.

    :param feature: The feature.
    """
    return json.dumps({"synthetic": True, "feature": feature.name, "crs": feature.crs}).encode()
