"""
Files of collections as the service looks at them before it reads pixels: the header, and the rules for it.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html (constraints and settings)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio.errors import RasterioError

from airflow_provider_sentinelhub.simulator.bucket.delivery import BucketFailed

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket

BLOCKS = (256, 2048)
COMPRESSIONS = frozenset({"DEFLATE", "ZLIB", "ZSTD", "PACKBITS", "LZW"})
CHUNKY_BANDS = 10
OTHER_CRS = frozenset({4326, 3857, 3035, 6933})
_NO_FILE = frozenset({"NoSuchKey", "NotFoundError", "FileNotFoundError"})


class IngestionFailed(Exception):
    """A file cannot be part of a tile; the text is the cause."""


@dataclass(frozen=True, slots=True)
class Header:
    """
    What the header of a file says.

    :param key: Where the file is.
    :param epsg: Its coordinate reference system.
    :param bounds: West, south, east and north in it.
    :param pixel: Width and height of a pixel in it.
    :param bands: Number of bands.
    :param bit_depth: 8, 16 or 32.
    :param sample_format: UINT, INT or FLOAT.
    :param nodata: As the file says it.
    """

    key: str
    epsg: int
    bounds: tuple[float, float, float, float]
    pixel: tuple[float, float]
    bands: int
    bit_depth: int
    sample_format: str
    nodata: float | None


def header(bucket: Bucket, key: str) -> Header:
    """
    Read the header of a file and check it.

    :param bucket: Where it is.
    :param key: Its key.
    :raises IngestionFailed: It does not exist, is no GeoTIFF, or breaks a rule.
    """
    try:
        # The name only has to end like a TIFF: GDAL opens the file through us.
        with rasterio.open(key, opener=lambda path, *_, **__: bucket.reader(path), driver="GTiff") as dataset:
            return _checked(dataset, key)
    except BucketFailed as error:
        raise _unreadable(key, error) from error
    except RasterioError as error:
        try:
            bucket.reader(key).close()
        except BucketFailed as failed:
            raise _unreadable(key, failed) from failed
        raise IngestionFailed(f"File {key} is not a valid GeoTIFF.") from error


def _unreadable(key: str, error: BucketFailed) -> IngestionFailed:
    if str(error) in _NO_FILE:
        return IngestionFailed(f"File {key} does not exist.")
    return IngestionFailed(f"File {key} cannot be read: {error}.")


def _checked(dataset: Any, key: str) -> Header:
    def refuse(rule: str) -> IngestionFailed:
        return IngestionFailed(f"File {key}: {rule}.")

    epsg = dataset.crs.to_epsg() if dataset.crs else None
    if epsg is None or not (epsg in OTHER_CRS or 32601 <= epsg <= 32660 or 32701 <= epsg <= 32760):  # noqa: PLR2004
        raise refuse(f"the projection {dataset.crs.to_string() if dataset.crs else 'is missing and'} is not supported")
    least, most = BLOCKS
    sizes = {side for block in dataset.block_shapes for side in block}
    # rasterio calls a file of a single block untiled. The sides of tiles, unlike those of strips, are multiples of 16.
    if not all(least <= side <= most and side % 16 == 0 for side in sizes):
        raise refuse(f"the internal tile size must be between {least} x {least} and {most} x {most}")
    if max(dataset.shape) > max(sizes) and not dataset.overviews(1):
        raise refuse("it has no overviews")
    if dataset.compression is not None and dataset.compression.name.upper() not in COMPRESSIONS:
        raise refuse(f"compression {dataset.compression.value} is not supported")
    if dataset.count > CHUNKY_BANDS and dataset.interleaving.name.upper() != "BAND":
        raise refuse(f"a file in chunky format can have at most {CHUNKY_BANDS} bands")
    kinds = set(dataset.dtypes)
    dtype = kinds.pop()
    sample_format = {"u": "UINT", "i": "INT", "f": "FLOAT"}.get(dtype[0], "")
    bit_depth = int("".join(filter(str.isdigit, dtype)) or 0)
    if kinds or not sample_format or bit_depth not in {8, 16, 32} or (dtype[0] != "f" and bit_depth == 32):  # noqa: PLR2004
        raise refuse(f"the sample type {dtype} is not supported")
    transform = dataset.transform
    if transform.b or transform.d:
        raise refuse("the raster is rotated")
    return Header(
        key=key,
        epsg=epsg,
        bounds=tuple(dataset.bounds),
        pixel=(abs(transform.a), abs(transform.e)),
        bands=dataset.count,
        bit_depth=bit_depth,
        sample_format=sample_format,
        nodata=None if dataset.nodata is None else float(dataset.nodata),
    )
