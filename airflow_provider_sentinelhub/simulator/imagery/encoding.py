"""Single images in the formats of the Process APIs: GeoTIFF, PNG and JPEG, and the JSON of userdata."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.windows import Window

from airflow_provider_sentinelhub.simulator.imagery import rasters
from airflow_provider_sentinelhub.simulator.imagery.rendering import Pixels, Rendered, Renderer
from airflow_provider_sentinelhub.simulator.problems import RenderingFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from airflow_provider_sentinelhub.simulator.evalscript import Output
    from airflow_provider_sentinelhub.simulator.features.features import Feature

TIFF, PNG, JPEG, JSON = "image/tiff", "image/png", "image/jpeg", "application/json"
EXTENSIONS: Final = {TIFF: "tif", PNG: "png", JPEG: "jpg", JSON: "json"}
USUAL_QUALITY = 90

# By format: numbers of bands, and types of pixels.
_DRAWN: Final = {PNG: ((1, 2, 3, 4), ("uint8", "uint16")), JPEG: ((1, 3), ("uint8",))}
_DRIVERS = {TIFF: "GTiff", PNG: "PNG", JPEG: "JPEG"}


@dataclass(frozen=True, slots=True)
class Format:
    """
    The format of an output.

    :param media_type: E.g. ``image/png``.
    :param quality: Of a JPEG.
    """

    media_type: str
    quality: int = USUAL_QUALITY


def images(
    request: dict[str, Any],
    feature: Feature,
    formats: Mapping[str, Format],
    pixels: Pixels,
    outline: BaseGeometry | None = None,
) -> dict[str, bytes]:
    """
    Render the outputs of a request.

    :param request: A checked request, with ``input`` and ``evalscript``.
    :param feature: The raster.
    :param formats: By identifier of the output.
    :param pixels: Whether the script is run.
    :param outline: Only pixels whose centre is in it have data, in the CRS of the raster; ``None`` for all.
    :raises AnalysisFailed: The script's ``setup()`` is wrong.
    :raises RenderingFailed: The script fails, or an output cannot be written in its format.
    """
    drawn = [name for name, each in formats.items() if each.media_type != JSON]
    with Renderer(request, feature, pixels) as renderer, ExitStack() as stack:
        for name in drawn:
            if name not in renderer.outputs:
                raise RenderingFailed(f"Output {name} requested but missing from function setup().")
        files = {name: stack.enter_context(MemoryFile(ext=".img")) for name in drawn}
        datasets: dict[str, Any] = {}
        with ExitStack() as opened:
            for block in renderer.blocks(drawn):
                for name in drawn:
                    output = renderer.outputs[name]
                    if name not in datasets:
                        profile = _profile(feature, output, formats[name])
                        datasets[name] = opened.enter_context(files[name].open(**profile))
                    _write(datasets[name], feature, output, block, outline)
        return {name: bytes(files[name].read()) if name in files else renderer.userdata for name in formats}


def _profile(feature: Feature, output: Output, wanted: Format) -> dict[str, Any]:
    kind = wanted.media_type
    common = {
        "driver": _DRIVERS[kind],
        "width": feature.width,
        "height": feature.height,
        "count": output.bands,
        "dtype": output.dtype,
    }
    if kind == TIFF:
        where = {"crs": CRS.from_epsg(feature.crs), "transform": Affine(*feature.transform)}
        return {**common, **where, "nodata": output.nodata, "compress": "deflate", "zlevel": 1}
    counts, dtypes = _DRAWN[kind]
    if output.bands not in counts or output.dtype not in dtypes:
        raise RenderingFailed(
            f"Output {output.id}: {kind} cannot have {output.bands} bands of the sampleType {output.sample_type}."
        )
    return {**common, "quality": wanted.quality} if kind == JPEG else common


def _write(dataset: Any, feature: Feature, output: Output, block: Rendered, outline: BaseGeometry | None) -> None:
    values: NDArray[Any] = block.outputs[output.id]
    rows = values.shape[1]
    if outline is not None:
        place = Affine(*feature.transform) * Affine.translation(0, block.first_row)
        outside = geometry_mask([outline], (rows, feature.width), place)
        values = np.where(outside, np.asarray(output.nodata or 0).astype(values.dtype), values)
    dataset.write(values, window=Window(0, block.first_row, feature.width, rows))
    if dataset.driver == _DRIVERS[TIFF] and not block.first_row:
        dataset.update_tags(**rasters.TAGS)
