"""
Sources of features: files, rows and geometries, all read in batches.

GeoPackage and GeoParquet are read with the dependencies of this package. GeoJSON, Shapefile and other formats of GDAL
need ``pyogrio``, from the extra ``geo``.

Source: https://geoparquet.org/releases/v1.1.0/ (file metadata) and https://www.geopackage.org/spec130/.
"""

from __future__ import annotations

import json
import mmap
import re
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.features.features import (
    BATCH,
    Batch,
    Columns,
    Reading,
    batches_of,
    missing_column,
)
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import WHAT as GEOPACKAGE
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import open_sqlite, quoted
from airflow_provider_sentinelhub.artifacts.geopackage.tables import feature_tables
from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidParameter
from airflow_provider_sentinelhub.client.models import from_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

WGS84 = 4326
_CRS_CODE = re.compile(r"EPSG:(\d+)", re.IGNORECASE)
# A property may be named crs as well.
_CRS_MEMBER = re.compile(rb'"crs"\s*:\s*\{\s*"(?:type"\s*:\s*"(?:name|link|EPSG|OGC)"|properties"\s*:\s*\{)')
_GEOJSON = {"GeoJSON", "GeoJSONSeq"}
_KINDS = "GeoPackage (.gpkg), GeoParquet (.parquet), GeoJSON (.geojson), Shapefile (.shp, or zipped .shp.zip)"


def from_file(
    path: Path,
    *,
    columns: Columns | None = None,
    epsg: int | None = None,
    layer: str | None = None,
    close_rings: bool = False,
) -> Iterator[Batch]:
    """
    Read a file; its suffix tells the format.

    :param path: A GeoPackage, GeoParquet, GeoJSON, Shapefile, or anything else GDAL reads.
    :param columns: Names of its columns. Default: see :class:`Columns`.
    :param epsg: EPSG code of its coordinates, where the file declares none, or none that can be identified. A GeoJSON
        without a member ``crs``, or a GeoParquet without a ``crs`` in its metadata, declares none; its default is WGS
        84. Default: the file's.
    :param layer: Layer to read of a file that has several. Default: all of them.
    :param close_rings: Close rings that do not end where they begin. Default: they are an error.
    :raises InvalidParameter: It cannot be read, has no such column, has an open ring, or declares another system than
        ``epsg``.
    :raises InvalidConfiguration: Reading this format needs an extra that is not installed.
    """
    how = Reading(columns or Columns(), epsg, close_rings)
    kind = PurePosixPath(path.name).suffix.lower()
    if kind in {".parquet", ".geoparquet"}:
        return _from_geoparquet(path, how)
    if kind == ".gpkg":
        return _from_geopackage(path, how, layer)
    return _from_gdal(path, how, layer)


def from_rows(
    rows: Iterable[Sequence[Any]],
    names: Sequence[str],
    *,
    columns: Columns | None = None,
    epsg: int | None = None,
    source: str = "the source",
    close_rings: bool = False,
) -> Iterator[Batch]:
    """
    Read rows, e.g. of a database cursor.

    :param rows: The rows, read once, a batch at a time.
    :param names: Names of their columns.
    :param columns: Which column is what. Default: see :class:`Columns`.
    :param epsg: EPSG code of geometries that carry none.
    :param source: Name of the source, for messages.
    :param close_rings: Close rings that do not end where they begin. Default: they are an error.
    :raises InvalidParameter: A column is missing, or a geometry cannot be read, has an open ring, or carries another
        code than ``epsg``.
    """
    return _from_rows(rows, names, Reading(columns or Columns(), epsg, close_rings), source)


def _from_rows(
    rows: Iterable[Sequence[Any]], names: Sequence[str], how: Reading, source: str, declared: int | None = None
) -> Iterator[Batch]:
    lower = [name.lower() for name in names]
    first = 1
    for some in _in_batches(rows):
        values = dict(zip(lower, map(list, zip(*some, strict=True)), strict=True))
        yield from batches_of(values, how, source=source, first_row=first, declared=declared)
        first += len(some)


def from_geometries(
    geometries: Mapping[str, Any] | Iterable[Any], *, epsg: int | None = None, close_rings: bool = False
) -> Iterator[Batch]:
    """
    Read geometries that are in memory.

    :param geometries: A mapping of names to geometries, several without names, which are numbered, or one; also as the
        text of a rendered template. Each is a shapely geometry, WKT, EWKT, WKB or GeoJSON.
    :param epsg: EPSG code of those that carry none.
    :param close_rings: Close rings that do not end where they begin. Default: they are an error.
    :raises InvalidParameter: One cannot be read, has an open ring, or carries another code than ``epsg``; or no code
        is known.
    """
    from collections.abc import Iterable as Iterables
    from collections.abc import Mapping as Mappings

    how = Reading(Columns(), epsg, close_rings)
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
            return _from_rows(given.items(), ("identifier", "geometry"), how, "the mapping")
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
        # A single shapely geometry; anything else is an error when it is read.
        given = [given]
    return _from_rows(((each,) for each in given), ("geometry",), how, "the list")


def _in_batches(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    some: list[Sequence[Any]] = []
    for row in rows:
        some.append(row)
        if len(some) == BATCH:
            yield some
            some = []
    if some:
        yield some


def _from_geoparquet(path: Path, how: Reading) -> Iterator[Batch]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            geometry, declared = _geoparquet_crs(file.schema_arrow, how, path.name)
            wanted = _wanted(file.schema_arrow.names, geometry, how.columns, path.name)
            if not geometry and not any(name.lower() in how.columns.geometry_candidates for name in wanted):
                raise missing_column("geometry", None, file.schema_arrow.names, path.name)
            batches = file.iter_batches(batch_size=BATCH, columns=wanted)
            yield from _from_arrow(batches, geometry, how, declared, path.name)
    except pa.ArrowException as error:
        raise _unreadable(path, error) from error


def _geoparquet_crs(schema: Any, how: Reading, source: str) -> tuple[str, int | None]:
    """Return the geometry column, and the EPSG code that the file declares."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
        geometry = how.columns.geometry or metadata.get("primary_column", "")
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
    if not described:
        return geometry, None
    if "crs" not in described:
        # Absent means longitude and latitude, unless the user says otherwise; null means unknown.
        return geometry, how.epsg or WGS84
    # Early writers wrote text.
    found = described["crs"].get("id") if isinstance(described["crs"], dict) else None
    if not isinstance(found, dict):
        return geometry, None
    authority, code = found.get("authority"), str(found.get("code"))
    if (authority, code) == ("OGC", "CRS84"):
        return geometry, WGS84
    return geometry, int(code) if authority == "EPSG" and code.isdecimal() else None


def _wanted(there: Sequence[str], geometry: str, columns: Columns, source: str) -> list[str]:
    """Return the columns to read: a table of parcels may have a hundred others."""
    lower = {name.lower() for name in there}
    for what, name in (("identifier", columns.identifier), ("geometry", geometry), ("epsg", columns.epsg)):
        if name and name.lower() not in lower:
            raise missing_column(what, name, there, source)
    asked = {name.lower() for name in (columns.width, columns.height, columns.resolution, geometry, "identifier")}
    asked |= {name.lower() for name in (columns.identifier, columns.epsg) if name}
    asked |= set() if geometry else set(columns.geometry_candidates)
    return [name for name in there if name.lower() in asked]


def _from_arrow(
    batches: Iterable[Any], geometry: str, how: Reading, declared: int | None, source: str
) -> Iterator[Batch]:
    first = 1
    how = replace(how, columns=replace(how.columns, geometry=geometry or how.columns.geometry))
    for batch in batches:
        values = {
            name.lower(): column.to_pylist() for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        if batch.num_rows:
            yield from batches_of(values, how, source=source, first_row=first, declared=declared)
        first += batch.num_rows


def _from_geopackage(path: Path, how: Reading, layer: str | None) -> Iterator[Batch]:
    with open_sqlite(path, GEOPACKAGE) as connection:
        tables = feature_tables(connection, layer)
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
            wanted = _wanted([*table.columns.values()], geometry, how.columns, source)
            chosen = replace(how, columns=replace(how.columns, geometry=geometry))
            query = f"SELECT {', '.join(map(quoted, wanted))} FROM {quoted(table.name)} ORDER BY {table.key}"  # noqa: S608
            rows = connection.execute(query)
            yield from _from_rows(rows, wanted, chosen, source, table.epsg)


def _from_gdal(path: Path, how: Reading, layer: str | None) -> Iterator[Batch]:
    try:
        import pyogrio  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise InvalidConfiguration(
            f"Reading {path.name} needs pyogrio, which is not installed. Install it with: "
            "pip install 'airflow-provider-sentinelhub[geo]'. GeoPackage and GeoParquet can be read without it."
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
            there, source = pyogrio.read_info(path, layer=name), f"{path.name}, layer {name!r}"
            wanted = _wanted([*there["fields"]], "", how.columns, source)
            with pyogrio.open_arrow(path, layer=name, columns=wanted, batch_size=BATCH, use_pyarrow=True) as (
                meta,
                batches,
            ):
                found = _CRS_CODE.fullmatch(meta["crs"] or "")
                declared = int(found[1]) if found else None
                if how.epsg and declared != how.epsg and there["driver"] in _GEOJSON and not _has_crs_member(path):
                    declared = None
                geometry = meta["geometry_name"] or "wkb_geometry"
                yield from _from_arrow(batches, geometry, how, declared, source)
    except pyogrio.errors.DataSourceError as error:
        raise _unreadable(path, error) from error


def _has_crs_member(path: Path) -> bool:
    """Return whether a GeoJSON declares a system: GDAL returns WGS 84 for one that does not."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return _CRS_MEMBER.search(text) is not None


def _unreadable(path: Path, error: Exception) -> InvalidParameter:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return InvalidParameter("source", path.name, f"cannot be read ({reason})", f"Kinds that can be read: {_KINDS}.")
