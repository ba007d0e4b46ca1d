"""
Where users have their features: files of several kinds, and rows of any kind. All are read in batches.

GeoPackage and GeoParquet are read with what this package needs anyway. GeoJSON, Shapefile and the rest of what GDAL
reads need ``pyogrio``, which the extra ``geo`` brings.

Source: https://geoparquet.org/releases/v1.1.0/ (file metadata) and https://www.geopackage.org/spec130/.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.feature_tables import feature_tables
from airflow_provider_sentinelhub.artifacts.features import BATCH, Batch, Columns, batches_of, missing_column
from airflow_provider_sentinelhub.artifacts.geopackage import WHAT as GEOPACKAGE
from airflow_provider_sentinelhub.artifacts.sqlite_file import open_sqlite, quoted
from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidParameter
from airflow_provider_sentinelhub.client.models.common import from_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

WGS84 = 4326
_CRS_CODE = re.compile(r"EPSG:(\d+)", re.IGNORECASE)
_KINDS = "GeoPackage (.gpkg), GeoParquet (.parquet), GeoJSON (.geojson), Shapefile (.shp, or zipped .shp.zip)"


def from_file(
    path: Path, *, columns: Columns | None = None, epsg: int | None = None, layer: str | None = None
) -> Iterator[Batch]:
    """
    Read a file, whatever its kind; its name says which it is.

    :param path: A GeoPackage, GeoParquet, GeoJSON, Shapefile, or anything else GDAL reads.
    :param columns: What its columns are called. Default: see :class:`Columns`.
    :param epsg: EPSG code of its coordinates, where the file does not say it, or says it wrong. Default: the file's.
    :param layer: Layer to read of a file that has several. Default: all of them.
    :raises InvalidParameter: It cannot be read, or lacks a column.
    :raises InvalidConfiguration: Reading this kind needs an extra that is not installed.
    """
    chosen = columns or Columns()
    kind = PurePosixPath(path.name).suffix.lower()
    if kind in {".parquet", ".geoparquet"}:
        return _from_geoparquet(path, chosen, epsg)
    if kind == ".gpkg":
        return _from_geopackage(path, chosen, epsg, layer)
    return _from_gdal(path, chosen, epsg, layer)


def from_rows(
    rows: Iterable[Sequence[Any]],
    names: Sequence[str],
    *,
    columns: Columns | None = None,
    epsg: int | None = None,
    source: str = "the source",
) -> Iterator[Batch]:
    """
    Read rows, e.g. of a database cursor.

    :param rows: The rows, read once, a batch at a time.
    :param names: Names of their columns.
    :param columns: Which column is what. Default: see :class:`Columns`.
    :param epsg: EPSG code of geometries that carry none.
    :param source: What to call the source in messages.
    :raises InvalidParameter: A column is missing, or a geometry cannot be read.
    """
    lower = [name.lower() for name in names]
    chosen = columns or Columns()
    first = 1
    for some in _in_batches(rows):
        values = dict(zip(lower, map(list, zip(*some, strict=True)), strict=True))
        yield from batches_of(values, chosen, source=source, first_row=first, epsg=epsg)
        first += len(some)


def from_geometries(geometries: Mapping[str, Any] | Iterable[Any], *, epsg: int | None = None) -> Iterator[Batch]:
    """
    Read geometries that are in memory.

    :param geometries: By name, or without names, and then they are numbered. Each is a shapely geometry, WKT, EWKT,
        WKB or GeoJSON. One alone will do, and so will the text a template makes of them.
    :param epsg: EPSG code of those that carry none.
    :raises InvalidParameter: One cannot be read, or no code is known.
    """
    from collections.abc import Iterable as Iterables
    from collections.abc import Mapping as Mappings

    given: Any = from_text(geometries)
    if isinstance(given, Mappings):
        if str(given.get("type")) in {"Feature", "FeatureCollection"}:
            raise InvalidParameter(
                "geometries",
                given,
                f"is a GeoJSON {given['type']}",
                'Save it as a .geojson file and give its URL as source, or give a dict like {"name": geometry}.',
            )
        if "type" not in given or not {"coordinates", "geometries"} & set(given):
            return from_rows(given.items(), ("identifier", "geometry"), epsg=epsg, source="the mapping")
        given = [given]
    elif isinstance(given, str | bytes):
        if not given.strip() or given[:1] in ("[", "{", "("):
            raise InvalidParameter(
                "geometries",
                given,
                "cannot be read as geometries",
                "Give a dict of them by name, a list, or one, as WKT or GeoJSON.",
            )
        given = [given]
    elif not isinstance(given, Iterables):
        # A single shapely geometry; of anything else it is said that it is none.
        given = [given]
    return from_rows(((each,) for each in given), ("geometry",), epsg=epsg, source="the list")


def _in_batches(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    some: list[Sequence[Any]] = []
    for row in rows:
        some.append(row)
        if len(some) == BATCH:
            yield some
            some = []
    if some:
        yield some


def _from_geoparquet(path: Path, columns: Columns, epsg: int | None) -> Iterator[Batch]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            geometry, code = _geoparquet_crs(file.schema_arrow, columns, epsg, path.name)
            wanted = _wanted(file.schema_arrow.names, geometry, columns, path.name)
            if not geometry and not any(name.lower() in columns.geometry_candidates for name in wanted):
                raise missing_column("geometry", None, file.schema_arrow.names, path.name)
            batches = file.iter_batches(batch_size=BATCH, columns=wanted)
            yield from _from_arrow(batches, geometry, columns, code, path.name)
    except pa.ArrowException as error:
        raise _unreadable(path, error) from error


def _geoparquet_crs(schema: Any, columns: Columns, epsg: int | None, source: str) -> tuple[str, int | None]:
    """Return the geometry column and the EPSG code of its coordinates, if it is known."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
        geometry = columns.geometry or metadata.get("primary_column", "")
        described = metadata.get("columns", {}).get(geometry, {})
    except (ValueError, AttributeError) as error:
        raise InvalidParameter(
            "source", source, f"its GeoParquet metadata cannot be read ({error})", "Write it again."
        ) from error
    encoding = described.get("encoding", "WKB")
    if encoding != "WKB":
        raise InvalidParameter(
            "source", source, f"its geometries are encoded as {encoding}", "Write them as WKB, which is the default."
        )
    if epsg is not None or not described:
        return geometry, epsg
    if "crs" not in described:
        # Absent means longitude and latitude; null means that nobody knows.
        return geometry, WGS84
    found = (described["crs"] or {}).get("id", {})
    if found.get("authority") == "OGC" and found.get("code") == "CRS84":
        return geometry, WGS84
    return geometry, int(found["code"]) if found.get("authority") == "EPSG" else None


def _wanted(there: Sequence[str], geometry: str, columns: Columns, source: str) -> list[str]:
    """Choose what has to be read: a table of parcels may have a hundred other columns."""
    lower = {name.lower() for name in there}
    for what, name in (("identifier", columns.identifier), ("geometry", geometry), ("epsg", columns.epsg)):
        if name and name.lower() not in lower:
            raise missing_column(what, name, there, source)
    asked = {name.lower() for name in (columns.width, columns.height, columns.resolution, geometry, "identifier")}
    asked |= {name.lower() for name in (columns.identifier, columns.epsg) if name}
    asked |= set() if geometry else set(columns.geometry_candidates)
    return [name for name in there if name.lower() in asked]


def _from_arrow(
    batches: Iterable[Any], geometry: str, columns: Columns, epsg: int | None, source: str
) -> Iterator[Batch]:
    first = 1
    columns = replace(columns, geometry=geometry or columns.geometry)
    for batch in batches:
        values = {
            name.lower(): column.to_pylist() for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        if batch.num_rows:
            yield from batches_of(values, columns, source=source, first_row=first, epsg=epsg)
        first += batch.num_rows


def _from_geopackage(path: Path, columns: Columns, epsg: int | None, layer: str | None) -> Iterator[Batch]:
    with open_sqlite(path, GEOPACKAGE) as connection:
        tables = [table for table in feature_tables(connection) if layer is None or table.name == layer]
        if not tables:
            there = [table.name for table in feature_tables(connection)]
            raise InvalidParameter(
                "layer", layer, f"{path.name} has no such layer, only {there}", "Choose one of them."
            )
        for table in tables:
            source = f"{path.name}, layer {table.name!r}"
            if table.geometry.lower() not in table.columns:
                raise InvalidParameter(
                    "source", source, f"it has no column {table.geometry!r}", "Write the file again."
                )
            geometry = table.columns[table.geometry.lower()]
            wanted = _wanted([*table.columns.values()], geometry, columns, source)
            chosen = replace(columns, geometry=geometry)
            query = f"SELECT {', '.join(map(quoted, wanted))} FROM {quoted(table.name)} ORDER BY rowid"  # noqa: S608
            rows = connection.execute(query)
            yield from from_rows(rows, wanted, columns=chosen, epsg=epsg or table.epsg, source=source)


def _from_gdal(path: Path, columns: Columns, epsg: int | None, layer: str | None) -> Iterator[Batch]:
    try:
        import pyogrio  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise InvalidConfiguration(
            f"Reading {path.name} needs pyogrio, which is not installed. Install it with: "
            "pip install pyogrio. GeoPackage and GeoParquet can be read without it."
        ) from error
    try:
        layers = [name for name, geometry_type in pyogrio.list_layers(path).tolist() if geometry_type]
        if layer is not None and layer not in layers:
            raise InvalidParameter(
                "layer", layer, f"{path.name} has no such layer, only {layers}", "Choose one of them."
            )
        if not layers:
            raise InvalidParameter("source", path.name, "has no geometries", f"Kinds that can be read: {_KINDS}.")
        for name in layers if layer is None else [layer]:
            there = pyogrio.read_info(path, layer=name)
            wanted = _wanted([*there["fields"]], "", columns, f"{path.name}, layer {name!r}")
            with pyogrio.open_arrow(path, layer=name, columns=wanted, batch_size=BATCH, use_pyarrow=True) as (
                meta,
                batches,
            ):
                found = _CRS_CODE.fullmatch(meta["crs"] or "")
                code = epsg or (int(found[1]) if found else None)
                geometry = meta["geometry_name"] or "wkb_geometry"
                yield from _from_arrow(batches, geometry, columns, code, f"{path.name}, layer {name!r}")
    except pyogrio.errors.DataSourceError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InvalidParameter:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return InvalidParameter("source", path.name, f"cannot be read ({reason})", f"Kinds that can be read: {_KINDS}.")
