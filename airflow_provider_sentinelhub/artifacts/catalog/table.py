"""
Items of the catalog as one table: STAC-GeoParquet, which geopandas and stac-geoparquet read.

A column for each field of an item and each of its properties, the geometry as WKB. The columns are those of the items:
nothing about a collection is known here.

Source: https://github.com/stac-utils/stac-geoparquet (the specification) and https://geoparquet.org/releases/v1.1.0/
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.catalog.items import chunks
from airflow_provider_sentinelhub.client.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import msgspec
    import pyarrow as pa

GEOMETRY = "geometry"
BBOX = "bbox"
PROPERTIES = "properties"
MOST_COLUMNS = 2000

_SIDES = {4: ("xmin", "ymin", "xmax", "ymax"), 6: ("xmin", "ymin", "zmin", "xmax", "ymax", "zmax")}
# An empty table has these.
_USUAL = ("type", "stac_version", "id", GEOMETRY, BBOX, "links", "assets", "collection")
# Properties of STAC that are dates and times; all others stay as they are written.
_TIMES = frozenset({"datetime", "start_datetime", "end_datetime", "created", "updated", "expires", "published"})
_SHAPES = frozenset({"proj:geometry"})
_NULL = b"null"


def write_geoparquet(source: Path, target: Path) -> int:
    """
    Write items as STAC-GeoParquet, in bounded memory, and return how many there are.

    If later items have fields that the first ones lack, the table is written once more from the beginning.

    :param source: The items, one to a line.
    :param target: File to write.
    :raises UnexpectedAnswer: A line is no item, or the items have too many different fields.
    """
    from pyarrow import parquet

    schema: pa.Schema | None = None
    while True:
        met = _Met()
        parts = _tables(source, met, schema)
        first = next(parts)
        schema = _settled(first.schema if schema is None else schema)
        # The metadata are known at the end. With a schema of pyarrow's own in the file, readers would look only there.
        with parquet.ParquetWriter(target, schema, compression="zstd", store_schema=False) as writer:
            wider = _write(writer, schema, first, parts)
            if wider is None:
                writer.add_key_value_metadata(met.metadata())
                return met.count
        schema = _of_all(source, wider)


def _write(writer: Any, schema: pa.Schema, first: pa.Table, parts: Iterator[pa.Table]) -> pa.Schema | None:
    """Write the parts of a table; return a schema for all of them as soon as one does not fit."""
    part: pa.Table | None = first
    while part is not None:
        found = _joined(schema, part.schema)
        if found != schema:
            return found
        writer.write_table(_fitted(part, schema))
        part = next(parts, None)
    return None


def _of_all(source: Path, schema: pa.Schema) -> pa.Schema:
    for table in _tables(source, _Met(), None):
        schema = _joined(schema, table.schema)
    return schema


def _joined(schema: pa.Schema, other: pa.Schema) -> pa.Schema:
    """Return a schema for the rows of two tables; what is of two kinds becomes text."""
    import pyarrow as pa

    fields = {each.name: each.type for each in schema}
    for each in other:
        fields[each.name] = _common(fields[each.name], each.type) if each.name in fields else each.type
    return _settled(pa.schema(list(fields.items())))


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if one == other:
        return one
    try:
        pair = [pa.schema([("x", each)]) for each in (one, other)]
        return pa.unify_schemas(pair, promote_options="permissive").field("x").type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string()


def _settled(schema: pa.Schema) -> pa.Schema:
    """Return a schema that Parquet can hold: a column without any value is text."""
    import pyarrow as pa

    return pa.schema([(each.name, pa.string() if _is_hollow(each.type) else each.type) for each in schema])


def _is_hollow(kind: pa.DataType) -> bool:
    import pyarrow.types as kinds

    if kinds.is_struct(kind):
        return kind.num_fields == 0 or any(_is_hollow(each.type) for each in kind)
    return kinds.is_null(kind) or (kinds.is_list(kind) and _is_hollow(kind.value_type))


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = []
    for each in schema:
        if each.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, each.type))
            continue
        column = table[each.name].combine_chunks()
        if column.type != each.type:
            values = column.to_pylist()
            if pa.types.is_string(each.type):
                values = [each if each is None or isinstance(each, str) else json.dumps(each) for each in values]
            column = pa.array(values, each.type)
        columns.append(column)
    return pa.table(columns, schema=schema)


# ------------------------------------------------------------------------------------------------------------- columns


@dataclass(slots=True)
class _Met:
    """What is learnt of the items on the way."""

    count: int = 0
    types: set[str] = field(default_factory=set)
    extent: tuple[float, float, float, float] | None = None

    def saw(self, shapes: Any) -> None:
        """Note geometries."""
        import numpy as np
        import shapely

        self.count += len(shapes)
        known = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
        if not len(known):
            return
        kinds = np.unique(shapely.get_type_id(known))
        self.types |= {shapely.GeometryType(kind).name.title().replace("_", "") for kind in kinds}
        self.types = {_NAMES.get(each, each) for each in self.types}
        west, south, east, north = (float(each) for each in shapely.total_bounds(known))
        if self.extent is not None:
            west, south = min(west, self.extent[0]), min(south, self.extent[1])
            east, north = max(east, self.extent[2]), max(north, self.extent[3])
        self.extent = (west, south, east, north)

    def metadata(self) -> dict[bytes, bytes]:
        """Describe the file."""
        sides = {each: [BBOX, each] for each in _SIDES[4]}
        column: dict[str, Any] = {"encoding": "WKB", "geometry_types": sorted(self.types), "covering": {BBOX: sides}}
        if self.extent is not None:
            column["bbox"] = list(self.extent)
        geo = {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}
        return {b"geo": json.dumps(geo).encode(), b"stac-geoparquet": b'{"version": "1.0.0"}'}


_NAMES = {
    "Linestring": "LineString",
    "Multipoint": "MultiPoint",
    "Multilinestring": "MultiLineString",
    "Multipolygon": "MultiPolygon",
    "Geometrycollection": "GeometryCollection",
}


def _tables(source: Path, met: _Met, schema: pa.Schema | None) -> Iterator[pa.Table]:
    """Yield the items as tables; at least one, which may be empty."""
    is_empty = True
    for lines in chunks(source):
        is_empty = False
        yield _table(lines, met, schema)
    if is_empty:
        yield _table([], met, schema)


def _table(lines: Sequence[bytes], met: _Met, schema: pa.Schema | None) -> pa.Table:
    """
    Read items column by column: only the values of one column at a time become objects of Python.

    :raises UnexpectedAnswer: A line is no item, or there are too many columns.
    """
    import msgspec
    import pyarrow as pa

    known = {} if schema is None else {each.name: each.type for each in schema}
    items = _read(lines, dict[str, msgspec.Raw])
    raws = [each.pop(PROPERTIES, _NULL) for each in items]
    properties = [each or {} for each in _read(raws, dict[str, msgspec.Raw] | None)]
    columns: dict[str, pa.Array] = {}
    for name in dict.fromkeys((*_USUAL, *(name for each in items for name in each))):
        raw = [each.get(name, _NULL) for each in items]
        if name == GEOMETRY:
            shapes = _shapes(raw)
            met.saw(shapes)
            columns[name] = _wkb(shapes)
        elif name != BBOX:
            columns[name] = _column(name, raw, known.get(name))
    columns[BBOX] = _boxes([each.get(BBOX, _NULL) for each in items], shapes)
    for name in dict.fromkeys(name for each in properties for name in each):
        raw = [each.get(name, _NULL) for each in properties]
        # A property of the same name as a field of the item.
        column = f"{PROPERTIES}.{name}" if name in columns else name
        columns[column] = _wkb(_shapes(raw)) if name in _SHAPES else _column(column, raw, known.get(column))
        if len(columns) > MOST_COLUMNS:
            raise UnexpectedAnswer(
                f"The catalog returned items with more than {MOST_COLUMNS:,} different properties. Write NDJSON, or "
                "name the fields you need in fields.include."
            )
    return pa.table(columns)


def _read(raw: Sequence[msgspec.Raw | bytes], form: Any = Any) -> list[Any]:
    """Decode JSON texts."""
    import msgspec

    try:
        return msgspec.json.decode(b"[" + b",".join(raw) + b"]", type=list[form])
    except (msgspec.DecodeError, RecursionError) as e:
        raise UnexpectedAnswer(f"The catalog returned something that is no item ({type(e).__name__}).") from None


def _column(name: str, raw: Sequence[msgspec.Raw | bytes], known: pa.DataType | None) -> pa.Array:
    import pyarrow as pa

    values = _read(raw)
    if name in _TIMES:
        try:
            return pa.array(values, pa.string()).cast(pa.timestamp("us", "UTC"))
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return pa.array(_texts(values))
    if known is not None and pa.types.is_string(known):
        return pa.array(_texts(values))
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        # Numbers beside texts, or objects beside lists.
        return pa.array(_texts(values))


def _texts(values: Sequence[Any]) -> list[str | None]:
    return [each if each is None or isinstance(each, str) else json.dumps(each) for each in values]


def _shapes(raw: Sequence[msgspec.Raw | bytes]) -> Any:
    import numpy as np
    import shapely

    texts = np.array([None if each == _NULL else bytes(each) for each in raw], dtype=object)
    return shapely.from_geojson(texts, on_invalid="ignore")


def _wkb(shapes: Any) -> pa.Array:
    import pyarrow as pa
    import shapely

    return pa.array(shapely.to_wkb(shapes, flavor="iso"), pa.binary())


def _boxes(raw: Sequence[msgspec.Raw | bytes], shapes: Any) -> pa.Array:
    """Return the boxes of items; those of their geometries where they have none, or some have heights."""
    import numpy as np
    import pyarrow as pa
    import shapely

    sides: Any
    try:
        given = _read(raw, list[float])
        sides = np.array(given, dtype=float).reshape(len(given), -1)
    except (UnexpectedAnswer, ValueError):
        sides = None
    if sides is None or sides.shape[1] not in _SIDES:
        sides = shapely.bounds(shapes)
    names = _SIDES[sides.shape[1]]
    return pa.StructArray.from_arrays([pa.array(each) for each in sides.T], names)
