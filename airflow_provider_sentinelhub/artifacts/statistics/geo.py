"""
A table of statistics with the outlines of its features, as GeoParquet.

Source: https://geoparquet.org/releases/v1.1.0/ (file metadata).
"""

from __future__ import annotations

import json
import struct
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.features.encodings import Encoding
from airflow_provider_sentinelhub.artifacts.features.features import not_in_encoding
from airflow_provider_sentinelhub.artifacts.features.problems import EXAMPLES
from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_extent, geometry_wkb, joined
from airflow_provider_sentinelhub.artifacts.geopackage.crs import crs_projjson
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import GEOMETRY, WHAT
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import found_in, open_sqlite, quoted
from airflow_provider_sentinelhub.artifacts.statistics.outcomes import input_epsg, input_table
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, InvalidParameter

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    from airflow_provider_sentinelhub.artifacts.geopackage.blobs import Extent
    from airflow_provider_sentinelhub.artifacts.geopackage.tables import FeatureTable

_VERSION = "1.1.0"
_SHOWN = 20
_TYPES = ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection")
_DIMENSIONS = ("", " Z", " M", " ZM")
_FIX = "Give the GeoPackage the statistics were computed for."
_NUMBERS = f"{_FIX} If they were requested one by one, not as a batch, its ids must be 1, 2, 3 and so on."
_KEYS = ["feature_id", "identifier"]
# Rows of a file that could not be read may know less about their feature than others.
_ASK = (
    "INSERT INTO temp.asked VALUES (?, ?) ON CONFLICT (number) DO UPDATE "
    "SET identifier = coalesce(nullif(identifier, ''), excluded.identifier)"
)
_ABSENT = (
    "SELECT number, a.identifier FROM temp.asked a WHERE NOT EXISTS (SELECT 1 FROM {table} i WHERE i.rowid = number)"
)
_OTHER = (
    "SELECT number, a.identifier, {identifier} AS other FROM temp.asked a JOIN {table} i ON i.rowid = number "
    "WHERE a.identifier <> '' AND other <> '' AND a.identifier <> other"
)


def write_geoparquet(
    table: Path, features: Path, target: Path, *, features_url: str, identifier_column: str | None = None
) -> int:
    """
    Write a table of statistics with a column ``geometry``, in bounded memory, and return how many rows it has.

    Geometries are in the GeoPackage's coordinate reference system. It must be the one the statistics were computed for:
    ids are numbers of rows, and in another file they would be those of other features.

    :param table: The published table on this machine, or its wide form.
    :param features: The input GeoPackage of the original task.
    :param target: File to write.
    :param features_url: Where the GeoPackage came from, for messages.
    :param identifier_column: Column of the GeoPackage whose text replaces the identifiers. Default: they stay.
    :raises InvalidParameter: It is no GeoPackage, not what the service takes, or not that of these statistics; or it
        has no such column, or text in it that is not UTF-8.
    :raises InvalidConfiguration: Its coordinate reference system needs pyproj, which is not installed.
    """
    import pyarrow as pa
    from pyarrow import parquet

    with _named(features_url):
        source = input_table(features)
        crs = crs_projjson(input_epsg(source, features))
    geometry = source.column(source.geometry.lower())
    names = _names_in(source, identifier_column, features_url)
    query = (
        f"SELECT number, {geometry}, {names} FROM temp.wanted CROSS JOIN {quoted(source.name)} i ON i.rowid = number"  # noqa: S608 - quoted
    )
    met = _Met()
    written = 0
    with (
        _named(features_url),
        open_sqlite(features, WHAT) as connection,
        parquet.ParquetFile(table) as rows,
    ):
        _check_features(connection, source, rows, features_url)
        connection.execute("CREATE TEMP TABLE wanted (number INTEGER PRIMARY KEY)")
        schema = rows.schema_arrow.append(pa.field(GEOMETRY, pa.binary()))
        # The metadata are known at the end. With a schema of pyarrow's own in the file, readers would look only there.
        with parquet.ParquetWriter(target, schema, compression="zstd", store_schema=False) as writer:
            for number in range(rows.num_row_groups):
                some = rows.read_row_group(number)
                found = _found(connection, query, some["feature_id"].combine_chunks(), met)
                if identifier_column is not None:
                    some = _named_anew(some, found.names, identifier_column)
                writer.write_table(some.append_column(schema.field(GEOMETRY), found.outlines))
                written += some.num_rows
            writer.add_key_value_metadata({b"geo": json.dumps(met.metadata(crs)).encode()})
    return written


@contextmanager
def _named(url: str) -> Iterator[None]:
    """Speak of the file by the name its user knows."""
    try:
        yield
    except ArtifactCorrupt as e:
        raise InvalidParameter("features_url", url, f"is no GeoPackage: {found_in(e)}", _FIX) from e
    except InvalidParameter as e:
        raise InvalidParameter("features_url", url, e.rule, e.fix) from e


def _check_features(connection: sqlite3.Connection, source: FeatureTable, rows: ParquetFile, url: str) -> None:
    """
    Compare the features of the table with those of the GeoPackage.

    :raises InvalidParameter: Some are not in it, or have another identifier there.
    """
    connection.execute("CREATE TEMP TABLE asked (number INTEGER PRIMARY KEY, identifier TEXT)")
    for group in range(rows.num_row_groups):
        pairs = rows.read_row_group(group, columns=["feature_id", "identifier"]).group_by(_KEYS).aggregate([])
        known = (tuple(pair.values()) for pair in pairs.select(_KEYS).to_pylist() if pair["feature_id"] is not None)
        connection.executemany(_ASK, known)
    names = {"table": quoted(source.name), "identifier": _of_row(source.column("identifier"))}
    problems = []
    for query, what in ((_ABSENT, "{count} not in it"), (_OTHER, "{count} with another identifier in it")):
        count, *_ = connection.execute(f"SELECT count(*) FROM ({query.format(**names)})").fetchone()  # noqa: S608 - quoted
        if count:
            some = connection.execute(f"{query.format(**names)} ORDER BY 1 LIMIT {EXAMPLES}")
            shown = ", ".join(_shown(*row) for row in some)
            problems.append(f"{what.format(count=f'{count:,}')} ({shown})")
    if problems:
        (total,) = connection.execute("SELECT count(*) FROM temp.asked").fetchone()
        rule = f"is not the GeoPackage of these statistics: of their {total:,} features, {' and '.join(problems)}"
        raise InvalidParameter("features_url", url, rule, _NUMBERS)


def _of_row(column: str) -> str:
    return column if column == "NULL" else f"CAST(i.{column} AS TEXT)"


def _shown(number: int, identifier: str | None, other: str | None = None) -> str:
    name = f"{number} {identifier!r}" if identifier else str(number)
    return f"{name}: {other!r}" if other else name


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


def check_name_column(connection: sqlite3.Connection, source: FeatureTable, column: str, file: str) -> None:
    """
    Check a column that is to be read for the names of features.

    :param connection: The open GeoPackage.
    :param source: Its table.
    :param column: The column.
    :param file: Name of the file, for messages.
    :raises InvalidParameter: There is no such column, or it has text that is not UTF-8.
    """
    encoding = Encoding()
    query = f"SELECT {_names_in(source, column, file)} FROM {quoted(source.name)}"  # noqa: S608 - quoted
    texts = (encoding.decoded(name) for (name,) in connection.execute(query) if name)
    if garbled := list(islice((text for text in texts if isinstance(text, bytes)), EXAMPLES)):
        raise _garbled(file, column, garbled)


def _garbled(file: str, column: str, texts: list[bytes]) -> InvalidParameter:
    what = f"{file} has text in this column"
    return not_in_encoding("identifier_column", column, what, Encoding(), map(repr, texts[:EXAMPLES]))


def _names_in(source: FeatureTable, column: str | None, file: str) -> str:
    if column is None:
        return "NULL"
    if column.lower() not in source.columns:
        rule = f"{file} has no such column, only {sorted(source.columns.values())[:_SHOWN]}"
        raise InvalidParameter("identifier_column", column, rule, "Name the column with the names.")
    # As bytes: text that is not UTF-8 would not be told apart.
    return f"CAST({source.column(column.lower())} AS BLOB)"


@dataclass(frozen=True, slots=True)
class _Found:
    outlines: pa.Array
    names: list[bytes | None]


def _found(connection: sqlite3.Connection, query: str, ids: pa.Array, met: _Met) -> _Found:
    import pyarrow as pa

    codes = ids.dictionary_encode()
    connection.execute("DELETE FROM temp.wanted")
    connection.executemany("INSERT INTO temp.wanted VALUES (?)", ((number,) for number in codes.dictionary.to_pylist()))
    found: dict[int, bytes] = {}
    names: dict[int, bytes] = {}
    for number, blob, name in connection.execute(query):
        if name:
            names[number] = name
        extent = geometry_extent(blob)
        if extent is not None:
            found[number] = geometry_wkb(blob)
            met.extent = joined(met.extent, extent)
            met.types.add(_type_of(found[number]))
    outlines = pa.array([found.get(number) for number in codes.dictionary.to_pylist()], pa.binary())
    return _Found(outlines.take(codes.indices), [names.get(number) for number in ids.to_pylist()])


def _named_anew(rows: pa.Table, names: list[bytes | None], column: str) -> pa.Table:
    """Replace the identifiers; a feature without a name keeps the one it has."""
    import pyarrow as pa

    place, encoding = rows.schema.get_field_index("identifier"), Encoding()
    texts = [None if name is None else encoding.decoded(name) for name in names]
    if garbled := sorted({text for text in texts if isinstance(text, bytes)}):
        raise _garbled("the GeoPackage", column, garbled)
    given = rows["identifier"].to_pylist()
    new = [old if text is None else text for old, text in zip(given, texts, strict=True)]
    return rows.set_column(place, rows.schema.field(place), pa.array(new, rows.schema.field(place).type))


def _type_of(wkb: bytes) -> str:
    (code,) = struct.unpack_from("<I" if wkb[0] else ">I", wkb, 1)
    dimension, kind = divmod(code, 1000)
    return _TYPES[kind - 1] + _DIMENSIONS[dimension]
