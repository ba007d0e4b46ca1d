"""
One cloud optimised GeoTIFF from the parts of an image.

GDAL reads the parts through a virtual raster, which names where each lies, and writes block by block. So the memory
does not grow with the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, InvalidConfiguration, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow_provider_sentinelhub.client.requests.raster import Cell, Raster

BLOCK_PX: Final = 512
CACHE_MB: Final = 64
"""What GDAL may keep in memory of the pixels it reads and writes."""

_TYPES: Final = {"uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}


def check_installed() -> None:
    """
    Check that parts can be put together here.

    :raises InvalidConfiguration: The extra is not installed.
    """
    try:
        import rasterio  # noqa: F401 - only whether it is there
    except ImportError:
        raise InvalidConfiguration(
            "split=True needs rasterio, which is not installed: pip install 'airflow-provider-sentinelhub[raster]'. An "
            "image of at most 2,500 x 2,500 pixels needs no split."
        ) from None


@dataclass(frozen=True, slots=True)
class PartProfile:
    """
    What all parts of an image have in common.

    :param bands: Number of bands.
    :param dtype: Type of a pixel, as numpy spells it.
    :param nodata: The value for no data, if the file names one.
    :param colors: What the bands mean, as GDAL names it.
    """

    bands: int
    dtype: str
    nodata: float | None
    colors: tuple[str, ...]


def read_part(path: Path, cell: Cell) -> PartProfile:
    """
    Check one part, by its header.

    :param path: The file.
    :param cell: Which part it is.
    :raises ArtifactCorrupt: It is not a GeoTIFF of that size.
    """
    import rasterio
    from rasterio.errors import RasterioError

    try:
        # No other driver: some formats of GDAL name files to read.
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(path, driver="GTiff") as found:
            if (found.width, found.height) != (cell.width, cell.height):
                size = f"{found.width} x {found.height} pixels, not {cell.width} x {cell.height}"
                raise ArtifactCorrupt(f"The answer for the part at row {cell.row}, column {cell.column} has {size}.")
            dtype = str(found.dtypes[0])
            if dtype not in _TYPES or len(set(found.dtypes)) > 1:
                raise ArtifactCorrupt(f"The answer has pixels of the types {', '.join(map(str, found.dtypes))}.")
            colors = tuple(each.name.capitalize() for each in found.colorinterp)
            return PartProfile(found.count, dtype, found.nodata, colors)
    except RasterioError as e:
        raise ArtifactCorrupt(f"The answer is not a GeoTIFF that can be read ({type(e).__name__}).") from None


def merge(parts: Mapping[Cell, Path], raster: Raster, target: Path) -> None:
    """
    Write the parts of an image into one cloud optimised GeoTIFF, with their pixels unchanged.

    Where there is no part, there is no data: the value that the parts name for that, or 0.

    :param parts: The files; all in one folder, in which a further file is written.
    :param raster: The whole image.
    :param target: The file to write.
    :raises ArtifactCorrupt: A part cannot be read, or they do not fit together.
    :raises StorageUnavailable: There is no room on the disk.
    """
    import rasterio
    import rasterio.shutil
    from rasterio.errors import RasterioError, RasterioIOError

    profiles = {read_part(path, cell) for cell, path in parts.items()}
    if len(profiles) != 1:
        raise ArtifactCorrupt("The parts of the image differ in their bands, their type or their value for no data.")
    (profile,) = profiles
    virtual = target.with_suffix(".vrt")
    virtual.write_bytes(ET.tostring(_virtual(parts, raster, profile)))
    try:
        with rasterio.Env(GDAL_CACHEMAX=CACHE_MB, CPL_TMPDIR=str(target.parent)):
            rasterio.shutil.copy(
                virtual,
                target,
                driver="COG",
                compress="DEFLATE",
                predictor="YES",
                blocksize=BLOCK_PX,
                bigtiff="IF_SAFER",
                # Values of classes have no average.
                overview_resampling="NEAREST",
            )
    except RasterioIOError as e:
        raise StorageUnavailable(
            f"The image cannot be written on this worker: {e}. Free some space on its disk."
        ) from e
    except RasterioError as e:
        raise ArtifactCorrupt(f"The parts of the image cannot be put together ({type(e).__name__}).") from e


def _virtual(parts: Mapping[Cell, Path], raster: Raster, profile: PartProfile) -> ET.Element:
    from rasterio.crs import CRS

    a, b, c, d, e, f = raster.transform
    root = ET.Element("VRTDataset", rasterXSize=str(raster.width), rasterYSize=str(raster.height))
    ET.SubElement(root, "SRS").text = CRS.from_epsg(raster.epsg).to_wkt()
    ET.SubElement(root, "GeoTransform").text = ", ".join(repr(each) for each in (c, a, b, f, d, e))
    for number in range(1, profile.bands + 1):
        band = ET.SubElement(root, "VRTRasterBand", dataType=_TYPES[profile.dtype], band=str(number))
        if profile.nodata is not None:
            ET.SubElement(band, "NoDataValue").text = repr(profile.nodata)
        ET.SubElement(band, "ColorInterp").text = profile.colors[number - 1]
        for cell, path in parts.items():
            _add_source(band, number, cell, path, profile)
    return root


def _add_source(band: Any, number: int, cell: Cell, path: Path, profile: PartProfile) -> None:
    source = ET.SubElement(band, "SimpleSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="1").text = path.name
    ET.SubElement(source, "SourceBand").text = str(number)
    # With this GDAL opens a part when it reads it, and not all of them at once.
    ET.SubElement(
        source,
        "SourceProperties",
        RasterXSize=str(cell.width),
        RasterYSize=str(cell.height),
        DataType=_TYPES[profile.dtype],
        BlockXSize=str(cell.width),
        BlockYSize="1",
    )
    width, height = str(cell.width), str(cell.height)
    ET.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=width, ySize=height)
    ET.SubElement(source, "DstRect", xOff=str(cell.column), yOff=str(cell.row), xSize=width, ySize=height)
