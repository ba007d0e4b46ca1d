"""
Sources of features: files, rows and geometries, all read in batches.

GeoPackage and GeoParquet are read with the dependencies of this package. GeoJSON, Shapefile and other formats of GDAL
need ``pyogrio``, from the extra ``geo``.

Source: https://geoparquet.org/releases/v1.1.0/ (file metadata) and https://www.geopackage.org/spec130/.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.features.archive import unpacked
from airflow_provider_sentinelhub.artifacts.features.features import (
    BATCH,
    Batch,
    Columns,
    Reading,
    batches_of,
    missing_column,
    not_in_encoding,
    tell_unnamed,
    unreadable,
    wanted_columns,
)
from airflow_provider_sentinelhub.artifacts.features.gdal import from_gdal, texts_of
from airflow_provider_sentinelhub.artifacts.features.geojson import (
    LINK,
    LINK_FIX,
    code_of,
    is_feature,
    table_of,
)
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import WHAT as GEOPACKAGE
from airflow_provider_sentinelhub.artifacts.geopackage.sqlite_file import found_in, open_sqlite, quoted
from airflow_provider_sentinelhub.artifacts.geopackage.tables import feature_tables, text_columns
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, InvalidParameter
from airflow_provider_sentinelhub.client.models import from_text
from airflow_provider_sentinelhub.client.requests.crs import WGS84

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


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

    Where features have no names though columns of text could have them, a warning is logged.

    :param path: A GeoPackage, GeoParquet, GeoJSON, Shapefile, or anything else GDAL reads; or a zip with one of them,
        also in a folder.
    :param columns: Names of its columns. Default: see :class:`Columns`.
    :param epsg: EPSG code of its coordinates, where the file declares none, or none that can be identified. A GeoJSON
        without a member ``crs``, or a GeoParquet without a ``crs`` in its metadata, declares none; its default is WGS
        84. Default: the file's.
    :param layer: Layer to read of a file that has several. Default: all of them.
    :param close_rings: Close rings that do not end where they begin. Default: they are an error.
    :raises InvalidParameter: It cannot be read, has no such column, has an open ring, declares another system than
        ``epsg``, or has names in an encoding that it does not name.
    :raises InvalidConfiguration: Reading this format needs an extra that is not installed.
    """
    return _of_kind(path, Reading(columns or Columns(), epsg, close_rings), layer)


def _of_kind(path: Path, how: Reading, layer: str | None) -> Iterator[Batch]:
    kind = PurePosixPath(path.name).suffix.lower()
    if kind in {".zip", ".shz"}:
        return _from_zip(path, how, layer)
    if kind in {".parquet", ".geoparquet"}:
        return _from_geoparquet(path, how)
    if kind == ".gpkg":
        return _from_geopackage(path, how, layer)
    return from_gdal(path, how, layer)


def _from_zip(path: Path, how: Reading, layer: str | None) -> Iterator[Batch]:
    with unpacked(path, layer) as files:
        for file, chosen in files:
            yield from _of_kind(file, how, chosen)
        if not files:
            # E.g. a geodatabase, which is a folder, and which GDAL finds.
            yield from from_gdal(path, how, layer)


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
        if first == 1:
            tell_unnamed(how.columns, names, [name for name in names if _is_text(values[name.lower()])], source)
        yield from batches_of(values, how, source=source, first_row=first, declared=declared)
        first += len(some)


def _is_text(values: Sequence[Any]) -> bool:
    return {type(value) for value in values} - {type(None)} == {str}


def from_geometries(
    geometries: Mapping[str, Any] | Iterable[Any],
    *,
    columns: Columns | None = None,
    epsg: int | None = None,
    close_rings: bool = False,
) -> Iterator[Batch]:
    """
    Read geometries that are in memory.

    :param geometries: A mapping of names to geometries, several without names, which are numbered, or one; also as the
        text of a rendered template. Each is a shapely geometry, WKT, EWKT, WKB or GeoJSON. GeoJSON features, in a list
        or a FeatureCollection, have their properties as columns.
    :param columns: Names of the properties of features. Default: see :class:`Columns`.
    :param epsg: EPSG code of those that carry none.
    :param close_rings: Close rings that do not end where they begin. Default: they are an error.
    :raises InvalidParameter: One cannot be read, has an open ring, or carries another code than ``epsg``; or no code
        is known; or ``columns`` are given for geometries without properties.
    """
    from collections.abc import Iterable as Iterables
    from collections.abc import Mapping as Mappings

    how = Reading(columns or Columns(), epsg, close_rings)
    given: Any = from_text(geometries)
    declared = None
    if isinstance(given, Mappings):
        if given.get("type") == "FeatureCollection":
            given, declared = _of_collection(given)
        elif is_feature(given) or ("type" in given and {"coordinates", "geometries"} & set(given)):
            given = [given]
        else:
            _without_columns(columns)
            names, rows = table_of(given.values())
            # The key is the name, whatever name a feature has among its properties.
            others = [place for place, name in enumerate(names) if name.lower() != "identifier"]
            named = ((key, *(row[place] for place in others)) for key, row in zip(given, rows, strict=True))
            return _from_rows(named, ["identifier", *(names[place] for place in others)], how, "the mapping")
    elif isinstance(given, str | bytes):
        if not given.strip() or given[:1] in ("[", "{", "("):
            raise InvalidParameter(
                "geometries",
                given,
                "cannot be read as geometries",
                "Give a dict of them by name, a list, or one, as WKT or GeoJSON.",
            )
        given = [given]
    else:
        # A single shapely geometry; anything else is an error when it is read.
        given = [*given] if isinstance(given, Iterables) else [given]
    if any(map(is_feature, given)):
        names, rows = table_of(given)
        return _from_rows(rows, names, how, "the list of features", declared)
    _without_columns(columns)
    return _from_rows(((each,) for each in given), ("geometry",), how, "the list")


def _of_collection(collection: Mapping[str, Any]) -> tuple[list[Any], int | None]:
    """Return the features of a collection, and the EPSG code that it says."""
    features = collection.get("features")
    if not isinstance(features, list):
        raise InvalidParameter("geometries", collection, "has no list of features", "Write it as in RFC 7946.")
    try:
        return features, code_of(collection.get("crs"))
    except ValueError as error:
        raise InvalidParameter("geometries", collection, LINK, LINK_FIX) from error


def _without_columns(columns: Columns | None) -> None:
    given = {} if columns is None else asdict(columns)
    named = {name: value for name, value in given.items() if value != getattr(Columns(), name)}
    if named:
        raise InvalidParameter(
            "columns",
            named,
            "geometries have no columns",
            'Leave it out, and name features by a dict like {"name": geometry}.',
        )


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
            there = file.schema_arrow.names
            wanted = wanted_columns(there, geometry, how.columns, path.name)
            if not geometry and not any(name.lower() in how.columns.geometry_candidates for name in wanted):
                raise missing_column("geometry", None, there, path.name)
            kinds = zip(there, file.schema_arrow.types, strict=True)
            texts = [name for name, kind in kinds if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
            tell_unnamed(how.columns, there, texts, path.name)
            batches = file.iter_batches(batch_size=BATCH, columns=wanted)
            yield from _from_arrow(batches, geometry, how, declared, path.name)
    except pa.ArrowException as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise not_in_encoding("source", path.name, "has names of columns", how.encoding) from error


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


def _from_arrow(
    batches: Iterable[Any], geometry: str, how: Reading, declared: int | None, source: str
) -> Iterator[Batch]:
    first = 1
    how = replace(how, columns=replace(how.columns, geometry=geometry or how.columns.geometry))
    for batch in batches:
        values = {
            name.lower(): texts_of(column, how.encoding)
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        }
        if batch.num_rows:
            yield from batches_of(values, how, source=source, first_row=first, declared=declared)
        first += batch.num_rows


def _from_geopackage(path: Path, how: Reading, layer: str | None) -> Iterator[Batch]:
    try:
        yield from _from_tables(path, how, layer)
    except ArtifactCorrupt as error:
        raise unreadable(path, found_in(error)) from error


def _from_tables(path: Path, how: Reading, layer: str | None) -> Iterator[Batch]:
    with open_sqlite(path, GEOPACKAGE) as connection:
        tables = feature_tables(connection, layer)
        if not tables:
            there = [table.name for table in feature_tables(connection)]
            raise InvalidParameter(
                "layer", layer, f"{path.name} has no such layer, only {there}", "Choose one of them."
            )
        texts = {table.name: text_columns(connection, table) for table in tables}
        # Text that is not UTF-8 keeps its bytes, and an error names it; with replacements, names would be the same.
        connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
        for table in tables:
            source = f"{path.name}, layer {table.name!r}"
            if table.geometry.lower() not in table.columns:
                raise InvalidParameter(
                    "source", source, f"it has no column {table.geometry!r}", "Write the file again."
                )
            geometry = table.columns[table.geometry.lower()]
            wanted = wanted_columns([*table.columns.values()], geometry, how.columns, source)
            tell_unnamed(how.columns, table.columns, texts[table.name], source)
            chosen = replace(how, columns=replace(how.columns, geometry=geometry))
            query = f"SELECT {', '.join(map(quoted, wanted))} FROM {quoted(table.name)} ORDER BY {table.key}"  # noqa: S608
            rows = connection.execute(query)
            yield from _from_rows(rows, wanted, chosen, source, table.epsg)
