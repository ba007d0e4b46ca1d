"""
The Zarr group of a task: format 2, an array for each output, and the coordinates of all tiles together.

Each tile writes chunks of its own, for chunks divide tiles evenly. Where a tile's chunks are in the arrays is read from
the coordinates in the bucket, which the analysis wrote.

Sources: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchV2.html (Zarr output),
https://docs.planet.com/develop/apis/zarr/ (names of coordinates) and
https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from airflow_provider_sentinelhub.simulator.features.grids import WGS84, project
from airflow_provider_sentinelhub.simulator.imagery import rasters
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket
    from airflow_provider_sentinelhub.simulator.evalscript import Output
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.imagery.rendering import Renderer

MEDIA_TYPE = "zarr/array"
SAMPLE_TYPES_OF_ARRAYS = {
    "u1": {"UINT8", "AUTO"},
    "i1": {"INT8"},
    "u2": {"UINT16", "UINT8", "AUTO"},
    "i2": {"INT16", "UINT8", "INT8", "AUTO"},
}
COMPRESSOR = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
"""The documented default."""
COMPRESSORS = frozenset({"blosc", "bz2", "gzip", "lz4", "zlib", "zstd"})
MAX_CHUNKS = 10_000
"""Of one array in one tile: each chunk is an object."""
# As in the CF conventions.
_CF = {
    "lat": {"standard_name": "latitude", "units": "degrees_north"},
    "lon": {"standard_name": "longitude", "units": "degrees_east"},
    "y": {"standard_name": "projection_y_coordinate", "units": "m"},
    "x": {"standard_name": "projection_x_coordinate", "units": "m"},
    "time": {
        "standard_name": "time",
        "units": "seconds since 1970-01-01T00:00:00Z",
        "calendar": "proleptic_gregorian",
    },
}
_NOT_WRITTEN = "The simulator does not write Zarr {}. The request itself is valid."


@dataclass(frozen=True, slots=True)
class _Axis:
    """
    One of the two coordinates.

    :param name: Its name.
    :param first: Its first value: the centre of a pixel.
    :param step: From one pixel to the next; negative from north to south.
    :param size: Number of pixels.
    :param tile: Number of pixels in a tile.
    """

    name: str
    first: float
    step: float
    size: int
    tile: int


@dataclass(frozen=True, slots=True)
class ZarrGroup:
    """
    The Zarr group of a task.

    :param parameters: Has ``group``, ``arrayParameters`` and ``arrayOverrides`` of a checked request.
    :param folder: Key of the group, without a slash at its end; empty for the whole bucket.
    """

    parameters: dict[str, Any]
    folder: str

    def check(self, output: Output) -> None:
        """
        Compare the array of an output with what the evalscript returns.

        :param output: The output.
        :raises AnalysisFailed: They do not match; the text says why.
        """
        if output.bands != 1:
            raise AnalysisFailed(f"Output {output.id}: Zarr output supports one band for each output.")
        array = self._array(output.id)
        # Floats hold every sample type.
        if output.sample_type not in SAMPLE_TYPES_OF_ARRAYS.get(array["dtype"][1:], {output.sample_type}):
            raise AnalysisFailed(
                f"Output {output.id}: dtype {array['dtype']} does not fit sampleType {output.sample_type}."
            )
        try:
            _encoded(np.zeros(16, array["dtype"]), array["compressor"])
        except Exception as error:  # each compressor has exceptions of its own
            raise AnalysisFailed(f"Output {output.id}: the compressor cannot be used: {error}.") from error

    def check_folder(self, bucket: Bucket, own: Iterable[str]) -> None:
        """
        Check that the folder is empty.

        :param bucket: Where it is.
        :param own: Keys of files of the task itself.
        :raises AnalysisFailed: It is not; the text names a file.
        :raises BucketFailed: It cannot be listed.
        """
        if existing := sorted(bucket.keys(self.folder) - set(own)):
            raise AnalysisFailed(f"The folder of the Zarr must be empty, but {existing[0]} already exists.")

    def metadata(self, features: list[Feature], outputs: list[Output], time: datetime) -> dict[str, bytes]:
        """
        Write the group without its data: metadata of all arrays, and the coordinates.

        :param features: All tiles.
        :param outputs: The outputs.
        :param time: The one time step.
        :returns: The files by key.
        :raises AnalysisFailed: The tiles or chunks are not ones that the simulator writes.
        """
        across, down = axes = self._axes(features)
        arrays: dict[str, dict[str, Any]] = {}
        attributes: dict[str, dict[str, Any]] = {}
        data: dict[str, bytes] = {}
        for axis in axes:
            arrays[axis.name] = _described([axis.size], [axis.tile], "<f8", None, COMPRESSOR)
            attributes[axis.name] = {"_ARRAY_DIMENSIONS": [axis.name], **_CF[axis.name]}
            for chunk in range(axis.size // axis.tile):
                pixels = chunk * axis.tile + np.arange(axis.tile)
                data[f"{axis.name}/{chunk}"] = _encoded(axis.first + pixels * axis.step, COMPRESSOR)
        arrays["time"] = _described([1], [1], "<i8", None, COMPRESSOR)
        attributes["time"] = {"_ARRAY_DIMENSIONS": ["time"], **_CF["time"]}
        data["time/0"] = _encoded(np.array([int(time.timestamp())], "<i8"), COMPRESSOR)
        for output in outputs:
            if output.id in arrays:
                raise AnalysisFailed(f"Output {output.id}: the Zarr has a coordinate of this name.")
            array = self._array(output.id)
            _check_chunks(features[0], array["chunks"])
            shape = [1, down.size, across.size]
            arrays[output.id] = _described(
                shape, array["chunks"], array["dtype"], array["fill_value"], array["compressor"]
            )
            attributes[output.id] = {"_ARRAY_DIMENSIONS": ["time", down.name, across.name]} | array["customAttributes"]
        documents: dict[str, Any] = {".zgroup": {"zarr_format": 2}, ".zattrs": self._attributes(features)}
        for name, array in arrays.items():
            documents |= {f"{name}/.zarray": array, f"{name}/.zattrs": attributes[name]}
        documents[".zmetadata"] = {"zarr_consolidated_format": 1, "metadata": dict(documents)}
        files = data | {name: json.dumps(each, indent=1).encode() for name, each in documents.items()}
        return {self._key(name): content for name, content in files.items()}

    def write(self, feature: Feature, renderer: Renderer, outputs: list[str], bucket: Bucket) -> None:
        """
        Write the chunks of a tile. Those that hold the fill value only are left out.

        :param feature: The tile.
        :param renderer: Has its pixels.
        :param outputs: Identifiers of outputs.
        :param bucket: Where they go.
        :raises RenderingFailed: The evalscript fails.
        :raises BucketFailed: They cannot be written, or the coordinates are gone.
        """
        column = self._offset(bucket, _names(feature)[1], feature.west + feature.step_x / 2, feature.step_x)
        south = feature.north - feature.height * feature.step_y
        if self._bottom_left:
            row = self._offset(bucket, _names(feature)[0], south + feature.step_y / 2, feature.step_y)
        else:
            row = self._offset(bucket, _names(feature)[0], feature.north - feature.step_y / 2, -feature.step_y)
        by_rows: dict[int, list[str]] = {}
        for name in outputs:
            by_rows.setdefault(self._array(name)["chunks"][1], []).append(name)
        for rows, names in by_rows.items():
            for down in range(feature.height // rows):
                first = feature.height - (down + 1) * rows if self._bottom_left else down * rows
                for name, values in renderer.render(first, rows, names).items():
                    stripe = values[0].astype(self._array(name)["dtype"])
                    self._put(name, stripe[::-1] if self._bottom_left else stripe, row // rows + down, column, bucket)

    def _put(self, name: str, stripe: NDArray[Any], row: int, column: int, bucket: Bucket) -> None:
        """Write one row of chunks."""
        array = self._array(name)
        columns = array["chunks"][2]
        fill = np.array(float(array["fill_value"])).astype(array["dtype"])
        for across in range(stripe.shape[1] // columns):
            chunk = stripe[:, across * columns : (across + 1) * columns]
            if not np.array_equal(chunk, np.broadcast_to(fill, chunk.shape), equal_nan=True):
                key = self._key(f"{name}/0.{row}.{column // columns + across}")
                bucket.put(key, _encoded(np.ascontiguousarray(chunk), array["compressor"]))

    @property
    def _bottom_left(self) -> bool:
        return bool(self.parameters["group"].get("coordinates", {}).get("origin") == "bottomLeft")

    def _key(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name

    def _array(self, name: str) -> dict[str, Any]:
        own: dict[str, Any] = self.parameters.get("arrayOverrides", {}).get(name, {})
        usual: dict[str, Any] = self.parameters.get("arrayParameters", {})
        return {"compressor": COMPRESSOR, "customAttributes": {}, **usual, **own}

    def _axes(self, features: list[Feature]) -> tuple[_Axis, _Axis]:
        """Lay out the coordinates of all tiles: from west to east, and from the origin on."""
        tile = features[0]
        west, north = min(each.west for each in features), max(each.north for each in features)
        wide, high = tile.width * tile.step_x, tile.height * tile.step_y
        places = np.array([((each.west - west) / wide, (north - each.north) / high) for each in features])
        if np.abs(places - places.round()).max() > 1e-6:  # noqa: PLR2004 - a part of a tile, far below a pixel
            # Tiles overlap, or there are gaps between them.
            raise AnalysisFailed(_NOT_WRITTEN.format("of tiles with a buffer"))
        columns, rows = (int(each) + 1 for each in places.round().max(axis=0))
        y, x = _names(tile)
        first, step = north - tile.step_y / 2, -tile.step_y
        if self._bottom_left:
            first, step = north - rows * high + tile.step_y / 2, tile.step_y
        return (
            _Axis(x, west + tile.step_x / 2, tile.step_x, columns * tile.width, tile.width),
            _Axis(y, first, step, rows * tile.height, tile.height),
        )

    def _attributes(self, features: list[Feature]) -> dict[str, Any]:
        crs = features[0].crs
        extent = shapely.box(*shapely.total_bounds([each.extent for each in features]))
        west, south, east, north = project(extent, crs, WGS84).bounds
        found = {
            "date_modified": datetime.now(UTC).isoformat(timespec="seconds"),
            "geospatial_bounds": extent.wkt,
            "geospatial_bounds_crs": f"EPSG:{crs}",
            "geospatial_lon_min": west,
            "geospatial_lat_min": south,
            "geospatial_lon_max": east,
            "geospatial_lat_max": north,
            "comment": rasters.SYNTHETIC,
        }
        return {**found, **self.parameters["group"].get("customAttributes", {})}

    def _offset(self, bucket: Bucket, name: str, centre: float, step: float) -> int:
        """Return how many pixels the first one of a tile is away from the first one of the array."""
        first = float(np.frombuffer(_decoded(bucket.get(self._key(f"{name}/0"))), "<f8")[0])
        return round((centre - first) / step)


def _names(feature: Feature) -> tuple[str, str]:
    return ("lat", "lon") if feature.crs == WGS84 else ("y", "x")


def _check_chunks(tile: Feature, chunks: list[int]) -> None:
    if tile.height % chunks[1] or tile.width % chunks[2]:
        raise AnalysisFailed(_NOT_WRITTEN.format("with chunks that do not divide the tile"))
    if tile.height // chunks[1] * (tile.width // chunks[2]) > MAX_CHUNKS:
        raise AnalysisFailed(_NOT_WRITTEN.format(f"with more than {MAX_CHUNKS} chunks in a tile"))


def _described(shape: list[int], chunks: list[int], dtype: str, fill: Any, compressor: Any) -> dict[str, Any]:
    whole = fill is not None and dtype[1] in "iu"
    return {
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": dtype,
        "compressor": compressor,
        "fill_value": int(fill) if whole else fill,
        "order": "C",
        "filters": None,
    }


def _encoded(values: NDArray[Any], compressor: Any) -> bytes:
    # Few tasks write Zarr, and its import takes longer than that of the rest of this package.
    from numcodecs import get_codec

    if compressor.get("id") not in COMPRESSORS:
        raise ValueError(f"id must be one of {', '.join(sorted(COMPRESSORS))}")
    return bytes(get_codec(dict(compressor)).encode(values))


def _decoded(content: bytes) -> bytes:
    from numcodecs import get_codec

    return bytes(get_codec(dict(COMPRESSOR)).decode(content))
