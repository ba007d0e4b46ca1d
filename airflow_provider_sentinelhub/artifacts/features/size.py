"""
The number of features of an input GeoPackage, their total size in pixels, and where they are, by their bounding boxes.

The boxes are read from the headers of the geometries: parsing all of them with shapely takes half as long again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.features.features import BATCH
from airflow_provider_sentinelhub.artifacts.features.problems import LEAST, MOST
from airflow_provider_sentinelhub.artifacts.geopackage.blobs import HEADER_BYTES, extent_of, geometry_extent, joined
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import WHAT
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import open_sqlite, quoted
from airflow_provider_sentinelhub.artifacts.geopackage.tables import FeatureTable, feature_tables
from airflow_provider_sentinelhub.client.requests.extent import Extent, boxes_km2

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.features.writer import Size
    from airflow_provider_sentinelhub.artifacts.geopackage.blobs import Extent as Box

# Little-endian, with a two-dimensional envelope: what nearly all programs write.
_USUAL = b"GP\0\x03"
_BOX_BYTES = 32


@dataclass(frozen=True, slots=True)
class InputSize:
    """
    The size of all features together.

    :param features: How many there are.
    :param pixels: Pixels of their bounding boxes; features without a size count as 0.
    :param extent: Where they are; its area is that of their bounding boxes. ``None`` where none has a geometry.
    """

    features: int
    pixels: float
    extent: Extent | None

    def text(self) -> str:
        """Return a line of text."""
        where = "" if self.extent is None else f", {self.extent.text()}"
        return f"{self.features:,} features{where}"


def input_size(path: Path, *, defaults: Size, own_sizes: bool = True) -> InputSize:
    """
    Measure the features of a GeoPackage.

    :param path: The file, already checked.
    :param defaults: Size of features that have none.
    :param own_sizes: Whether the size columns of the features count, or only ``defaults``.
    :raises ArtifactCorrupt: It cannot be read.
    """
    features, pixels, extents = 0, 0.0, []
    with open_sqlite(path, WHAT) as connection:
        for table in feature_tables(connection):
            around: Box | None = None
            km2 = 0.0
            sized = table if own_sizes else table.without({"width", "height", "resolution"})
            for boxes, fixed, step in _rows(connection, sized, defaults):
                features += len(boxes)
                pixels += _pixels(boxes, fixed, step)
                found = boxes[~_is_nothing(boxes)]
                km2 += boxes_km2(found, table.epsg)
                if box := extent_of(found):
                    around = joined(around, box)
            if around is not None:
                extents.append(Extent.around(around, table.epsg, km2))
    return InputSize(features, pixels, Extent.of_all(extents))


def _rows(connection: sqlite3.Connection, table: FeatureTable, defaults: Size) -> Iterator[tuple[Any, Any, Any]]:
    """Yield batches of bounding boxes, of pixel counts where width and height give those, and of resolutions."""
    import numpy as np

    geometry, width, height, resolution = (
        table.column(name) for name in (table.geometry.lower(), "width", "height", "resolution")
    )
    fixed = "NULL" if defaults.width is None else str(int(defaults.width) * int(defaults.height or 0))
    step = "NULL" if defaults.resolution is None else repr(float(defaults.resolution))
    query = (
        f"SELECT {{}}, CASE WHEN {width} > 0 AND {height} > 0 THEN {width} * {height} "  # noqa: S608 - quoted
        f"WHEN {resolution} > 0 THEN NULL ELSE {fixed} END, "
        # What a row with width and height has besides is ignored, and may be text.
        f"CASE WHEN +{resolution} BETWEEN {LEAST} AND {MOST} THEN {resolution} ELSE {step} END "
        f"FROM {quoted(table.name)} WHERE substr({geometry}, 1, 4) {{}}"
    )
    box = f"substr({geometry}, {HEADER_BYTES + 1}, {_BOX_BYTES})"
    for taken, is_usual in ((box, f"IS x'{_USUAL.hex()}'"), (geometry, f"IS NOT x'{_USUAL.hex()}'")):
        rows = connection.execute(query.format(taken, is_usual))
        while some := rows.fetchmany(BATCH):
            blobs, fixed_pixels, steps = zip(*some, strict=True)
            boxes = _usual_boxes(blobs) if taken is box else _boxes(blobs)
            yield boxes, np.array(fixed_pixels, dtype=float), np.array(steps, dtype=float)


def _usual_boxes(blobs: tuple[bytes, ...]) -> Any:
    """Return west, south, east and north of the envelopes of usual geometries."""
    import numpy as np

    whole = b"".join(blob.ljust(_BOX_BYTES, b"\xff") for blob in blobs)
    return np.frombuffer(whole, dtype="<f8").reshape(-1, 4)[:, [0, 2, 1, 3]]


def _boxes(blobs: tuple[Any, ...]) -> Any:
    """Return west, south, east and north of any geometries; NaN where there is none."""
    import numpy as np

    return np.array([geometry_extent(blob) or (np.nan,) * 4 for blob in blobs], dtype=float)


def _pixels(boxes: Any, fixed: Any, step: Any) -> float:
    import numpy as np

    sides = np.ceil((boxes[:, 2:] - boxes[:, :2]) / step[:, None])
    return float(np.nansum(np.where(np.isnan(fixed), sides.prod(axis=1), fixed)))


def _is_nothing(boxes: Any) -> Any:
    import numpy as np

    return np.isnan(boxes).any(axis=1)
