"""
Features of the formats that GDAL reads: GeoJSON, Shapefile, CSV and others. Needs ``pyogrio``, from the extra ``geo``.

GDAL leaves to its caller what these formats say wrongly or not at all: how their text is encoded, and what GeoJSON and
EWKT say about the coordinate reference system of a single geometry.

Source: https://gdal.org/en/stable/drivers/vector/
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.features.encodings import (
    Encoding,
    as_utf8,
    encoding_of_shapefile,
    encoding_of_text,
)
from airflow_provider_sentinelhub.artifacts.features.features import (
    BATCH,
    KINDS,
    Batch,
    Columns,
    Reading,
    batches_of,
    not_in_encoding,
    tell_unnamed,
    unreadable,
    wanted_columns,
)
from airflow_provider_sentinelhub.artifacts.features.geojson import Declared, declared_in, is_json
from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidParameter
from airflow_provider_sentinelhub.client.requests.crs import WGS84

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_CRS_CODE = re.compile(r"EPSG:(\d+)", re.IGNORECASE)
_GEOJSON = {"GeoJSON", "GeoJSONSeq"}
# It maps each byte to one character and back, so text that GDAL decodes with it can be decoded here again.
_BYTES = "ISO-8859-1"


def from_gdal(path: Path, how: Reading, layer: str | None) -> Iterator[Batch]:
    """
    Read a file with GDAL.

    :param path: The file.
    :param how: How it is read.
    :param layer: Layer to read of a file that has several. ``None`` for all of them.
    :raises InvalidParameter: It cannot be read, or is in an encoding that it does not name.
    :raises InvalidConfiguration: pyogrio is not installed.
    """
    try:
        import pyogrio  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise InvalidConfiguration(
            f"Reading {path.name} needs pyogrio, which is not installed. Install it with: "
            "pip install 'airflow-provider-sentinelhub[geo]'. GeoPackage and GeoParquet can be read without it."
        ) from error
    how = replace(how, encoding=encoding_of_shapefile(path) if _is_shapefile(path) else encoding_of_text(path))
    try:
        with as_utf8(path) as text:
            # Before GDAL opens it: it would fetch what a link names.
            crs = declared_in(text) if is_json(text) else None
            layers = {str(name): bool(kind) for name, kind in pyogrio.list_layers(text).tolist()}
            for name in _chosen(path, layers, layer):
                yield from _read_layer(text, name, how, crs)
    except pyogrio.errors.DataSourceError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise not_in_encoding("source", path.name, "has text or names of columns", how.encoding) from error


def _is_shapefile(path: Path) -> bool:
    return path.suffix.lower() == ".shp"


def _chosen(path: Path, layers: dict[str, bool], layer: str | None) -> list[str]:
    # In a CSV, GDAL only knows geometries in a column WKT.
    found = [name for name, has_geometry in layers.items() if has_geometry] or [*layers]
    if layer is not None and layer not in found:
        raise InvalidParameter("layer", layer, f"{path.name} has no such layer, only {found}", "Choose one of them.")
    if not found:
        raise _without_geometries(path)
    return found if layer is None else [layer]


def _without_geometries(path: Path) -> InvalidParameter:
    return InvalidParameter("source", path.name, "has no geometries", f"Kinds that can be read: {KINDS}.")


def _read_layer(path: Path, layer: str, how: Reading, crs: Declared | None) -> Iterator[Batch]:
    import pyogrio

    source, is_shapefile = f"{path.name}, layer {layer!r}", _is_shapefile(path)
    options: dict[str, Any] = {"layer": layer, "encoding": _BYTES if is_shapefile else None}
    info = pyogrio.read_info(path, **options)
    # By the name that they have here for GDAL.
    names = {name: _decoded(name, how) if is_shapefile else name for name in map(str, info["fields"])}
    there = [name for name in names.values() if isinstance(name, str)]
    if garbled := [name for name in names.values() if isinstance(name, bytes)]:
        raise not_in_encoding("source", garbled[0], f"{source} has names of columns", how.encoding)
    texts = [name for name, kind in zip(there, info["ogr_types"], strict=True) if kind == "OFTString"]
    in_text = _in_text(texts, how.columns) if info["driver"] == "CSV" or info["geometry_type"] is None else ""
    if not in_text and info["geometry_type"] is None:
        raise _without_geometries(path)
    wanted = wanted_columns(there, in_text, how.columns, source)
    tell_unnamed(how.columns, there, texts, source)
    options |= {"columns": [name for name, real in names.items() if real in wanted], "read_geometry": not in_text}
    with pyogrio.open_arrow(path, batch_size=BATCH, use_pyarrow=True, **options) as (meta, batches):
        geometry = in_text or meta["geometry_name"] or "wkb_geometry"
        how = replace(how, columns=replace(how.columns, geometry=geometry))
        own = crs if info["driver"] in _GEOJSON else None
        declared = _declared(info["crs"], own, how.epsg)
        first = 1
        for batch in batches:
            values = {
                names.get(name, name).lower(): _values(column, how, is_shapefile=is_shapefile)
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            }
            if batch.num_rows:
                yield from batches_of(values, how, source=source, first_row=first, declared=declared)
            first += batch.num_rows


def _in_text(texts: Sequence[str], columns: Columns) -> str:
    """Return the column of geometries as text: there they may say their system, which GDAL would drop."""
    lower = {name.lower(): name for name in texts}
    return next((lower[name] for name in columns.geometry_candidates if name in lower), "")


def _declared(of_gdal: str | None, of_geojson: Declared | None, epsg: int | None) -> int | None:
    found = _CRS_CODE.fullmatch(of_gdal or "")
    if of_geojson is None:
        return int(found[1]) if found else None
    # Where a GeoJSON says nothing, or what GDAL does not understand, GDAL says WGS 84.
    return of_geojson.code if of_geojson.is_there else (None if epsg else WGS84)


def _values(column: Any, how: Reading, *, is_shapefile: bool) -> list[Any]:
    values = texts_of(column, how.encoding)
    return [_decoded(value, how) if isinstance(value, str) else value for value in values] if is_shapefile else values


def _decoded(text: str, how: Reading) -> str | bytes:
    return text if text.isascii() else how.encoding.decoded(text.encode(_BYTES))


def texts_of(column: Any, encoding: Encoding) -> list[Any]:
    """
    Return the values of a column of Arrow; text in another encoding as bytes.

    :param column: The column.
    :param encoding: The encoding that its text should be in.
    """
    import pyarrow as pa

    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        is_large = pa.types.is_large_string(column.type)
        raw: Sequence[bytes | None] = column.cast(pa.large_binary() if is_large else pa.binary()).to_pylist()
        return [None if value is None else encoding.decoded(value) for value in raw]
    return values
