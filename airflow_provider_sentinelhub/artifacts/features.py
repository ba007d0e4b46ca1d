"""
Features on their way from where users have them into a GeoPackage: batches of rows, and what a geometry may look like.

A geometry may be a shapely geometry, WKB or EWKB (bytes or hexadecimal), a GeoPackage geometry, WKT or EWKT. GeoJSON
mappings are taken too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.manifest import geometry_wkb
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.models.common import from_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

BATCH = 2_000
"""Features that are in memory at a time. More would not fit into the caches of a processor, and take longer."""
EXAMPLES = 5
"""How many of the features with the same problem a message names."""

_WGS84 = 4326
_WGS84_WITH_HEIGHT = 4979
_SHOWN = 60
_EWKT = re.compile(r"\s*SRID\s*=\s*(\d+)\s*;", re.IGNORECASE)
_HEX = re.compile(r"\s*(?:\\x|0x)?((?:[0-9A-Fa-f]{2})+)\s*")


@dataclass(frozen=True, slots=True)
class Columns:
    """
    What the columns of a source are called. Case does not matter.

    :param identifier: Names of the features. Default: ``identifier`` where there is one, else features are numbered.
    :param geometry: Outlines. Default: what the file says, else ``geometry``, ``geom``, ``wkb_geometry``,
        ``the_geom``, ``wkt`` or ``wkb``, whichever there is.
    :param width: Pixels. Default ``width``, where there is one; so for the next two.
    :param height: Pixels.
    :param resolution: Units of the coordinate reference system.
    :param epsg: EPSG code of each row. Default: none, the whole source has one.
    """

    identifier: str | None = None
    geometry: str | None = None
    width: str = "width"
    height: str = "height"
    resolution: str = "resolution"
    epsg: str | None = None

    @property
    def geometry_candidates(self) -> tuple[str, ...]:
        """Where to look for the geometry, in this order."""
        usual = ("geometry", "geom", "wkb_geometry", "the_geom", "wkt", "wkb")
        return (self.geometry.lower(),) if self.geometry else usual


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Some features with the same coordinate reference system.

    :param epsg: Its EPSG code.
    :param geometries: Array of shapely geometries; ``None`` where a feature has none.
    :param identifiers: Their names; ``None`` where the source has none, so that they are numbered.
    :param widths: Pixels; it, or one of them, is ``None`` where nothing is said; so for the next two.
    :param heights: Pixels.
    :param resolutions: Units of the coordinate reference system.
    """

    epsg: int
    geometries: Any
    identifiers: Sequence[Any] | None = None
    widths: Sequence[Any] | None = None
    heights: Sequence[Any] | None = None
    resolutions: Sequence[Any] | None = None

    def part(self, start: int, end: int) -> Batch:
        """
        Return some of the features.

        :param start: Index of the first.
        :param end: Index after the last.
        """
        columns = (self.identifiers, self.widths, self.heights, self.resolutions)
        parts = (None if column is None else column[start:end] for column in columns)
        return Batch(self.epsg, self.geometries[start:end], *parts)


def batches_of(
    values: Mapping[str, Sequence[Any]], columns: Columns, *, source: str, first_row: int, epsg: int | None
) -> Iterator[Batch]:
    """
    Turn columns of values into batches, one for each coordinate reference system met.

    :param values: By column, in lower case; all of the same length, and not empty.
    :param columns: What they are called.
    :param source: What to call the source in messages.
    :param first_row: Number of the first row, counted from 1.
    :param epsg: EPSG code of rows that name none.
    :raises InvalidParameter: A column is missing, or a geometry or a code cannot be read.
    """
    import numpy as np

    identifiers = _identifiers(values, columns, source)
    geometry = next((name for name in columns.geometry_candidates if name in values), None)
    if geometry is None:
        raise missing_column("geometry", columns.geometry, values, source)

    def name_of(row: int) -> str:
        return f"row {first_row + row}" + ("" if identifiers is None else f" ({identifiers[row]!r})")

    shapes, codes = read_geometries(values[geometry], name_of, source)
    if columns.epsg is not None:
        if columns.epsg.lower() not in values:
            raise missing_column("epsg", columns.epsg, values, source)
        codes = np.array([_number(value) for value in values[columns.epsg.lower()]])
    codes = np.where(codes > 0, codes, epsg or 0)
    # Heights are not written, so what has them is the same without.
    codes = np.where(codes == _WGS84_WITH_HEIGHT, _WGS84, codes)
    if not (codes > 0).all():
        raise InvalidParameter(
            "epsg",
            epsg,
            f"{name_of(int(np.argmin(codes > 0)))} of {source} does not say in which coordinate reference system it is",
            "Give the EPSG code of the source, e.g. epsg=32633.",
        )
    sizes = [values.get(name.lower()) for name in (columns.width, columns.height, columns.resolution)]
    for code in np.unique(codes).tolist():
        chosen = np.flatnonzero(codes == code)
        rest = (_chosen(column, chosen, len(codes)) for column in (identifiers, *sizes))
        yield Batch(code, shapes[chosen], *rest)


def _chosen(column: Sequence[Any] | None, rows: Any, total: int) -> Sequence[Any] | None:
    if column is None or len(rows) == total:
        return column
    return [column[row] for row in rows.tolist()]


def _identifiers(values: Mapping[str, Sequence[Any]], columns: Columns, source: str) -> Sequence[Any] | None:
    if columns.identifier is None:
        return values.get("identifier")
    if columns.identifier.lower() not in values:
        raise missing_column("identifier", columns.identifier, values, source)
    return values[columns.identifier.lower()]


def missing_column(what: str, name: str | None, there: Iterable[str], source: str) -> InvalidParameter:
    """
    Say that a source lacks a column.

    :param what: What it would hold, e.g. ``geometry``.
    :param name: Its name, if one was given.
    :param there: The columns there are.
    :param source: What to call the source.
    """
    found = f"no such column, only {sorted(there)[:20]}"
    return InvalidParameter(f"columns.{what}", name, f"{source} has {found}", "Name the column to read.")


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def read_geometries(values: Sequence[Any], name_of: Callable[[int], str], source: str) -> tuple[Any, Any]:
    """
    Read geometries in any of the forms named above. Rings that do not close are closed.

    :param values: The geometries.
    :param name_of: What to call one of them in messages, by its index.
    :param source: What to call the source in messages.
    :returns: An array of shapely geometries, ``None`` where a value is ``None``; and an array of the EPSG codes they
        carry, not above 0 where they carry none.
    :raises InvalidParameter: Some cannot be read; the message names them.
    """
    import numpy as np
    import shapely

    shapes = np.full(len(values), None, dtype=object)
    shapes[:] = values
    if not shapely.is_geometry(shapes).all():
        try:
            # The usual case, plain WKB and nothing else, at the speed of C.
            shapes = shapely.from_wkb(shapes)
        except (TypeError, ValueError, shapely.errors.ShapelyError):
            return _read_one_by_one(values, name_of, source)
    return shapes, shapely.get_srid(shapes)


def _read_one_by_one(values: Sequence[Any], name_of: Callable[[int], str], source: str) -> tuple[Any, Any]:
    import numpy as np
    import shapely

    shapes = np.full(len(values), None, dtype=object)
    codes = np.zeros(len(values), dtype=int)
    problems: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            shapes[row], codes[row] = _read(value)
        except (ValueError, shapely.errors.ShapelyError) as error:
            problems[row] = f"{name_of(row)}: {error}"
    if problems:
        raise InvalidParameter(
            "geometry",
            values[next(iter(problems))],
            f"{source} holds {len(problems)} that cannot be read: {'; '.join([*problems.values()][:EXAMPLES])}",
            "Mend them, or leave them out.",
        )
    return shapes, np.where(codes > 0, codes, shapely.get_srid(shapes))


def _read(value: Any) -> tuple[Any, int]:
    """Return a shapely geometry or ``None``, and the EPSG code that stood beside it."""
    import shapely

    value = from_text(value)
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    if isinstance(value, str) and (found := _HEX.fullmatch(value)):
        value = bytes.fromhex(found[1])
    if isinstance(value, bytes):
        wkb = geometry_wkb(value) if value[:2] == b"GP" else value
        return _whole(shapely.from_wkb(wkb, on_invalid="fix"), value), 0
    if isinstance(value, str):
        found = _EWKT.match(value)
        wkt = value[found.end() :] if found else value
        return _whole(shapely.from_wkt(wkt, on_invalid="fix"), value), int(found[1]) if found else 0
    if isinstance(value, dict):
        return _of_geojson(value), 0
    if value is None or isinstance(value, shapely.Geometry):
        return value, 0
    message = f"{_shortened(value)} is no geometry"
    raise ValueError(message)


def _whole(shape: Any, value: Any) -> Any:
    if shape is None:
        message = f"{_shortened(value)} is neither WKB nor WKT"
        raise ValueError(message)
    return shape


def _of_geojson(value: dict[str, Any]) -> Any:
    from shapely.geometry import shape

    try:
        return shape(value)
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        message = f"{_shortened(value)} is no GeoJSON geometry"
        raise ValueError(message) from error


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
