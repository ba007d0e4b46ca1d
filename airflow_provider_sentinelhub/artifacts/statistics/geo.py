"""
A table of statistics with the outlines of its features, as GeoParquet.

Source: https://geoparquet.org/releases/v1.1.0/ (file metadata).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.geopackage import GEOMETRY, WHAT, joined
from airflow_provider_sentinelhub.artifacts.manifest import geometry_wkb
from airflow_provider_sentinelhub.artifacts.sqlite_file import open_sqlite, quoted
from airflow_provider_sentinelhub.artifacts.statistics.outcomes import geometry_extent, input_epsg, input_table
from airflow_provider_sentinelhub.artifacts.statistics.projjson import crs_projjson

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    import pyarrow as pa

    from airflow_provider_sentinelhub.artifacts.geopackage import Extent

_VERSION = "1.1.0"
_TYPES = ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection")
_DIMENSIONS = ("", " Z", " M", " ZM")


def write_geoparquet(table: Path, features: Path, target: Path) -> int:
    """
    Write a table of statistics with a column ``geometry``, in bounded memory, and return how many rows it has.

    Geometries are in the GeoPackage's coordinate reference system. Rows of a feature the GeoPackage does not have get
    none.

    :param table: The published table on this machine, or its wide form.
    :param features: The input GeoPackage of the original task.
    :param target: File to write.
    :raises ArtifactCorrupt: The GeoPackage cannot be read.
    :raises InvalidParameter: The GeoPackage is not what the service takes.
    :raises InvalidConfiguration: Its coordinate reference system cannot be described, see :mod:`~.projjson`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    source = input_table(features)
    crs = crs_projjson(input_epsg(source, features))
    geometry = source.column(source.geometry.lower())
    query = f"SELECT number, {geometry} FROM temp.wanted CROSS JOIN {quoted(source.name)} i ON i.rowid = number"  # noqa: S608 - quoted
    met = _Met()
    written = 0
    with open_sqlite(features, WHAT) as connection, parquet.ParquetFile(table) as rows:
        connection.execute("CREATE TEMP TABLE wanted (number INTEGER PRIMARY KEY)")
        schema = rows.schema_arrow.append(pa.field(GEOMETRY, pa.binary()))
        # The metadata are known at the end. With a schema of pyarrow's own in the file, readers would look only there.
        with parquet.ParquetWriter(target, schema, compression="zstd", store_schema=False) as writer:
            for number in range(rows.num_row_groups):
                some = rows.read_row_group(number)
                outlines = _outlines(connection, query, some["feature_id"].combine_chunks(), met)
                writer.write_table(some.append_column(schema.field(GEOMETRY), outlines))
                written += some.num_rows
            writer.add_key_value_metadata({b"geo": json.dumps(met.metadata(crs)).encode()})
    return written


@dataclass(slots=True)
class _Met:
    """What is learnt of the geometries on the way."""

    types: set[str] = field(default_factory=set)
    extent: Extent | None = None

    def metadata(self, crs: dict[str, Any] | None) -> dict[str, Any]:
        """Describe the file."""
        column: dict[str, Any] = {"encoding": "WKB", "geometry_types": sorted(self.types)}
        if crs is not None:
            column["crs"] = crs
        if self.extent is not None:
            column["bbox"] = list(self.extent)
        return {"version": _VERSION, "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def _outlines(connection: sqlite3.Connection, query: str, ids: pa.Array, met: _Met) -> pa.Array:
    import pyarrow as pa

    codes = ids.dictionary_encode()
    connection.execute("DELETE FROM temp.wanted")
    connection.executemany("INSERT INTO temp.wanted VALUES (?)", ((number,) for number in codes.dictionary.to_pylist()))
    found: dict[int, bytes] = {}
    for number, blob in connection.execute(query):
        extent = geometry_extent(blob)
        if extent is not None:
            found[number] = geometry_wkb(blob)
            met.extent = joined(met.extent, extent)
            met.types.add(_type_of(found[number]))
    outlines = pa.array([found.get(number) for number in codes.dictionary.to_pylist()], pa.binary())
    return outlines.take(codes.indices)


def _type_of(wkb: bytes) -> str:
    (code,) = struct.unpack_from("<I" if wkb[0] else ">I", wkb, 1)
    dimension, kind = divmod(code, 1000)
    return _TYPES[kind - 1] + _DIMENSIONS[dimension]
