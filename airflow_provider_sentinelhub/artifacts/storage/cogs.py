"""
Cloud optimised GeoTIFFs, judged by their headers: the rules of collections, before a tile is registered.

Only the first bytes of a file are read, for the header of such a file lies at its beginning.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html (constraints and settings)
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing, InvalidConfiguration
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

MOST_HEADER_BYTES: Final = 1024 * 1024
_FIRST_READ = 32 * 1024
_BLOCKS = (256, 2048)
_CHUNKY_BANDS = 10
_CRS = frozenset({4326, 3857, 3035, 6933, *range(32601, 32661), *range(32701, 32761)})
# By the numbers of TIFF: none, LZW, deflate in two ways, packbits, zstd.
_COMPRESSIONS = frozenset({1, 5, 8, 32946, 32773, 50000})
_FORMATS = {1: "UINT", 2: "INT", 3: "FLOAT"}
_DEPTHS = {"UINT": frozenset({1, 2, 4, 8, 16}), "INT": frozenset({8, 16}), "FLOAT": frozenset({32})}
_CHUNKY = 1
_REDUCED = 1
_WAITING = 2


class BrokenRule(Exception):
    """A file cannot be part of a collection; the text names the rule, without the file."""


@dataclass(frozen=True, slots=True)
class CogHeader:
    """
    What the header of a file says.

    :param epsg: Its coordinate reference system.
    :param bounds: West, south, east and north in it.
    :param pixel: Width and height of a pixel in it.
    :param bands: Number of bands.
    :param bit_depth: Bits of a sample.
    :param sample_format: UINT, INT or FLOAT.
    """

    epsg: int
    bounds: tuple[float, float, float, float]
    pixel: tuple[float, float]
    bands: int
    bit_depth: int
    sample_format: str


def check_installed() -> None:
    """
    Check that headers can be read.

    :raises InvalidConfiguration: The library is not installed.
    """
    try:
        import async_tiff  # noqa: F401 - see above
    except ImportError:
        raise InvalidConfiguration(
            "The check of GeoTIFFs needs async-tiff. Install it with: pip install "
            "'airflow-provider-sentinelhub[byoc]', or set check_files=False."
        ) from None


def read_headers(
    storage: Storage, urls: Iterable[str], *, concurrency: int = 32
) -> Iterator[tuple[str, CogHeader | BrokenRule]]:
    """
    Read the headers of files in parallel, in the given order, in bounded memory.

    :param storage: Reads the bucket.
    :param urls: The files.
    :param concurrency: Maximum number of parallel requests.
    :raises InvalidConfiguration: The library that reads headers is not installed.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    check_installed()
    # Several threads importing it for the first time may see it half initialised.
    import obstore.store  # noqa: F401 - see above

    def read(url: str) -> tuple[str, CogHeader | BrokenRule]:
        try:
            return url, header_of(storage, url)
        except BrokenRule as broken:
            return url, broken

    waiting: deque[Future[tuple[str, CogHeader | BrokenRule]]] = deque()
    with ThreadPoolExecutor(concurrency, "sentinelhub-headers") as pool:
        try:
            for url in urls:
                if len(waiting) >= _WAITING * concurrency:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(read, url))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()


def header_of(storage: Storage, url: str) -> CogHeader:
    """
    Read the header of a file and check the rules for a single file.

    :param storage: Reads the bucket.
    :param url: The file.
    :raises BrokenRule: The file does not exist, or breaks a rule.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    try:
        start = storage.read_start(url, _FIRST_READ)
        try:
            images = _images(start)
        except _TooShort:
            if len(start) < _FIRST_READ:
                raise BrokenRule("is not a complete GeoTIFF") from None
            images = _images(storage.read_start(url, MOST_HEADER_BYTES))
    except ArtifactMissing:
        raise BrokenRule("does not exist") from None
    except _TooShort:
        raise BrokenRule("does not have its whole header in its first megabyte, so it is not cloud optimised") from None
    except ArtifactCorrupt as error:
        raise BrokenRule(one_line(error)) from None
    return _checked(images)


def check_same_grid(headers: Sequence[tuple[str, CogHeader]]) -> str:
    """
    Compare the files of one tile: same system, and areas that differ by at most one pixel.

    :param headers: Names of files, and their headers.
    :returns: What is wrong; empty if nothing is.
    """
    (first, reference), *others = headers
    for name, header in others:
        if header.epsg != reference.epsg:
            return f"{name} is in EPSG:{header.epsg}, and {first} in EPSG:{reference.epsg}"
    boxes = [header.bounds for _, header in headers]
    common = [
        *(max(box[side] for box in boxes) for side in (0, 1)),
        *(min(box[side] for box in boxes) for side in (2, 3)),
    ]
    for name, header in headers:
        limits = (*header.pixel, *header.pixel)
        if any(
            abs(own - shared) > limit * 1.000001
            for own, shared, limit in zip(header.bounds, common, limits, strict=True)
        ):
            return f"the area of {name} differs by more than one pixel from that of all files of the tile"
    return ""


class _TooShort(Exception):
    """More bytes of the file are needed."""


class _Bytes:
    """The first bytes of a file, for a library that asks for ranges."""

    def __init__(self, start: bytes) -> None:
        self._start = start
        self.is_short = False

    async def get_range_async(
        self,
        path: str,  # noqa: ARG002 - the library's protocol
        *,
        start: int,
        end: int | None = None,
        length: int | None = None,
    ) -> bytes:
        stop = end if end is not None else start + (length or 0)
        # The library reads ahead; what it gets from beyond the end of the file it does not need.
        if start >= len(self._start):
            self.is_short = True
            raise OSError("not read")
        return self._start[start:stop]

    async def get_ranges_async(
        self,
        path: str,
        *,
        starts: Sequence[int],
        ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list[bytes]:
        stops = ends if ends is not None else [at + size for at, size in zip(starts, lengths or (), strict=True)]
        return [await self.get_range_async(path, start=at, end=stop) for at, stop in zip(starts, stops, strict=True)]


def _images(start: bytes) -> list[Any]:
    from async_tiff import TIFF

    source = _Bytes(start)

    async def opened() -> list[Any]:
        tiff: Any = await TIFF.open("file", store=source, prefetch=len(start))
        return list(tiff.ifds)

    try:
        return asyncio.run(opened())
    except Exception as error:
        if source.is_short:
            raise _TooShort from error
        raise BrokenRule(f"is not a GeoTIFF that can be read ({one_line(error, 200)})") from None


def _checked(images: list[Any]) -> CogHeader:
    if not images:
        raise BrokenRule("has no image")
    image = images[0]
    _check_tiling(images)
    if _number(image.compression) not in _COMPRESSIONS:
        name = getattr(image.compression, "name", image.compression)
        raise BrokenRule(f"is compressed with {name}, not e.g. DEFLATE")
    if image.samples_per_pixel > _CHUNKY_BANDS and _number(image.planar_configuration) == _CHUNKY:
        raise BrokenRule(f"has {image.samples_per_pixel} bands pixel by pixel, and {_CHUNKY_BANDS} are allowed")
    depths, formats = set(image.bits_per_sample), {_FORMATS.get(_number(each), "") for each in image.sample_format}
    if len(depths) > 1 or len(formats) > 1:
        raise BrokenRule("has bands of several sample types")
    depth, kind = depths.pop(), formats.pop()
    if depth not in _DEPTHS.get(kind, ()):
        raise BrokenRule(f"has samples of {depth} bits {kind}, which collections do not have".replace("  ", " "))
    epsg = _epsg(image.geo_key_directory)
    if epsg not in _CRS:
        shown = f"EPSG:{epsg}" if epsg else "no system with an EPSG code"
        raise BrokenRule(f"is in {shown}, and only WGS 84, its UTM zones, EPSG:3857, 3035 and 6933 are allowed")
    west, north, pixel = _placed(image)
    bounds = (west, north - image.image_height * pixel[1], west + image.image_width * pixel[0], north)
    return CogHeader(epsg, bounds, pixel, image.samples_per_pixel, depth, kind)


def _check_tiling(images: list[Any]) -> None:
    least, most = _BLOCKS
    for each in images:
        across, down = each.tile_width, each.tile_height
        if across is None or down is None:
            raise BrokenRule("is not tiled internally")
        if not (least <= across <= most and least <= down <= most):
            raise BrokenRule(f"has internal tiles of {across} x {down} pixels, and {least} to {most} are allowed")
    image = images[0]
    overviews = [each for each in images[1:] if (each.new_subfile_type or 0) & _REDUCED]
    if not overviews and (image.image_width > image.tile_width or image.image_height > image.tile_height):
        raise BrokenRule("has no overviews")


def _number(value: Any) -> int:
    return int(getattr(value, "value", value))


def _epsg(keys: Any) -> int:
    if keys is None:
        return 0
    projected, geographic = keys.projected_type, keys.geographic_type
    return int(projected or geographic or 0)


def _placed(image: Any) -> tuple[float, float, tuple[float, float]]:
    """Return west, north and the size of a pixel."""
    scale, tie, matrix = image.model_pixel_scale, image.model_tiepoint, image.model_transformation
    if scale and tie and len(tie) == 6:  # noqa: PLR2004 - one point: three numbers of the raster, three of the map
        west, north, size = tie[3] - tie[0] * scale[0], tie[4] + tie[1] * scale[1], (scale[0], scale[1])
    elif matrix and not matrix[1] and not matrix[4] and matrix[5] < 0:
        west, north, size = matrix[3], matrix[7], (matrix[0], -matrix[5])
    else:
        raise BrokenRule("has no place on the map that is given by its corner and the size of a pixel")
    if not (size[0] > 0 and size[1] > 0):
        raise BrokenRule("has pixels without a size")
    return west, north, size
