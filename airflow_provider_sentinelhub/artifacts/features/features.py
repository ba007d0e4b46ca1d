"""Features between their source and a GeoPackage, in batches of rows."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.features.encodings import UTF_8, Encoding
from airflow_provider_sentinelhub.artifacts.features.geometries import EXAMPLES, read_geometries
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

log = logging.getLogger(__name__)

BATCH = 2_000
"""Features in memory at a time. More would not fit into the processor's caches, and take longer."""

KINDS = "GeoPackage (.gpkg), GeoParquet (.parquet), GeoJSON (.geojson), Shapefile (.shp, or zipped .shp.zip)"
"""Kinds of files that can be read."""

_CODE = re.compile(r"\s*(?:EPSG:)?(\d+)(?:\.0*)?\s*", re.IGNORECASE)
_RAW = (bytes, bytearray, memoryview)
# Those that do not stand for a byte.
_HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_SHOWN = 20
_WGS84 = 4326
_WGS84_WITH_HEIGHT = 4979


@dataclass(frozen=True, slots=True)
class Columns:
    """
    Names of the columns of a source. Case does not matter.

    :param identifier: Names of the features. Default: ``identifier`` where there is one, else features are numbered.
    :param geometry: Geometries. Default: what the file says, else ``geometry``, ``geom``, ``wkb_geometry``,
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
class Reading:
    """
    How a source is read.

    :param columns: Names of its columns.
    :param epsg: EPSG code of coordinates whose source does not say it; a source that says another one is an error.
        Default: none.
    :param close_rings: Close rings that do not end where they begin. Default: they are an error.
    :param encoding: The encoding of its text. Default: UTF-8.
    """

    columns: Columns
    epsg: int | None = None
    close_rings: bool = False
    encoding: Encoding = field(default_factory=Encoding)


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Some features with the same coordinate reference system.

    :param epsg: Its EPSG code.
    :param geometries: Array of shapely geometries; ``None`` where a feature has none.
    :param identifiers: Their names; ``None`` where the source has none, so that they are numbered.
    :param widths: Pixels; ``None`` as a whole or for a feature where the source has none; so for the next two.
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
    values: Mapping[str, Sequence[Any]], how: Reading, *, source: str, first_row: int, declared: int | None = None
) -> Iterator[Batch]:
    """
    Turn columns of values into batches, one for each coordinate reference system.

    :param values: By column, in lower case; all of the same length, and not empty.
    :param how: How they are read.
    :param source: Name of the source, for messages.
    :param first_row: Number of the first row, counted from 1.
    :param declared: EPSG code that the source declares. Default: none.
    :raises InvalidParameter: A column is missing, a geometry, a code or the text of a name cannot be read, or two codes
        contradict each other.
    """
    import numpy as np

    columns = how.columns
    identifiers = _identifiers(values, how, source, first_row)
    geometry = next((name for name in columns.geometry_candidates if name in values), None)
    if geometry is None:
        raise missing_column("geometry", columns.geometry, values, source)

    def name_of(row: int) -> str:
        return f"row {first_row + row}" + ("" if identifiers is None else f" ({identifiers[row]!r})")

    shapes, said = read_geometries(values[geometry], name_of, source, close_rings=how.close_rings)
    codes = _codes(values, said, how, declared=declared, name_of=name_of, source=source)
    sizes = [values.get(name.lower()) for name in (columns.width, columns.height, columns.resolution)]
    for code in np.unique(codes).tolist():
        chosen = np.flatnonzero(codes == code)
        rest = (_chosen(column, chosen, len(codes)) for column in (identifiers, *sizes))
        yield Batch(code, shapes[chosen], *rest)


def _codes(
    values: Mapping[str, Sequence[Any]],
    said: Any,
    how: Reading,
    *,
    declared: int | None,
    name_of: Callable[[int], str],
    source: str,
) -> Any:
    """Return the EPSG code of each row: of the column of codes, of the geometry, of the source, or the one given."""
    import numpy as np

    # Heights are not written, so coordinates with and without them are in the same system.
    said = np.where(said == _WGS84_WITH_HEIGHT, _WGS84, said)
    declared, epsg = (_WGS84 if code == _WGS84_WITH_HEIGHT else code for code in (declared, how.epsg))
    if epsg is not None and declared not in {None, epsg}:
        raise _contradiction(how.epsg, source, declared)
    column = np.zeros(len(said), dtype=int)
    if how.columns.epsg is not None:
        if how.columns.epsg.lower() not in values:
            raise missing_column("epsg", how.columns.epsg, values, source)
        given = values[how.columns.epsg.lower()]
        numbers = [_number(value) for value in given]
        if None in numbers:
            row = numbers.index(None)
            rule = f"{name_of(row)} of {source} has this value in its column, which is not an EPSG code"
            raise InvalidParameter(
                "columns.epsg", given[row], rule, "Write e.g. 32633, or nothing where it is unknown."
            )
        column = np.array(numbers)
        column = np.where(column == _WGS84_WITH_HEIGHT, _WGS84, column)
    if epsg is not None and (others := (column <= 0) & (said > 0) & (said != epsg)).any():
        row = int(np.argmax(others))
        raise _contradiction(how.epsg, f"{name_of(row)} of {source}", int(said[row]))
    codes = np.where(column > 0, column, np.where(said > 0, said, epsg or declared or 0))
    if not (codes > 0).all():
        raise InvalidParameter(
            "epsg",
            how.epsg,
            f"{name_of(int(np.argmin(codes > 0)))} of {source} does not say which coordinate reference system it is in",
            "Give the EPSG code of the source, e.g. epsg=32633.",
        )
    return codes


def _contradiction(epsg: int | None, who: str, found: int | None) -> InvalidParameter:
    return InvalidParameter(
        "epsg",
        epsg,
        f"{who} says that its coordinates are in EPSG:{found}",
        "Leave epsg out to take that. If it is wrong, correct it there, e.g. with "
        f"ogr2ogr -a_srs EPSG:{epsg}, or ST_SetSRID in a query.",
    )


def _chosen(column: Sequence[Any] | None, rows: Any, total: int) -> Sequence[Any] | None:
    if column is None or len(rows) == total:
        return column
    return [column[row] for row in rows.tolist()]


def _identifiers(
    values: Mapping[str, Sequence[Any]], how: Reading, source: str, first_row: int
) -> Sequence[Any] | None:
    wanted = how.columns.identifier
    if wanted is not None and wanted.lower() not in values:
        raise missing_column("identifier", wanted, values, source)
    given = values.get("identifier" if wanted is None else wanted.lower())
    if given is None or _is_all_text(given):
        return given
    texts = [_text(value, how.encoding) for value in given]
    unreadable = [row for row, text in enumerate(texts) if isinstance(text, bytes)]
    if unreadable:
        raise not_in_encoding(
            "columns.identifier",
            texts[unreadable[0]],
            f"{source} has {len(unreadable):,} name{'s' if len(unreadable) > 1 else ''}",
            how.encoding,
            (f"row {first_row + row} ({texts[row]!r})" for row in unreadable[:EXAMPLES]),
        )
    return texts


def _is_all_text(values: Sequence[Any]) -> bool:
    try:
        # One call for all of them; half of a surrogate pair is no text, whoever made it.
        "".join([value for value in values if type(value) is str]).encode()
    except UnicodeEncodeError:
        return False
    return not any(isinstance(value, _RAW) for value in values)


def _text(value: Any, encoding: Encoding) -> Any:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            # SQLite's text is read so that its bytes come out again; anything else keeps its half.
            return value.encode(errors="surrogatepass" if _HALF.search(value) else "surrogateescape")
    return encoding.decoded(bytes(value)) if isinstance(value, _RAW) else value


def not_in_encoding(
    name: str, value: object, what: str, encoding: Encoding, where: Iterable[str] = ()
) -> InvalidParameter:
    """
    Return the error that text is in another encoding than it should be.

    :param name: The parameter it concerns.
    :param value: Some of the text.
    :param what: What contains it, with its source.
    :param encoding: The encoding it should be in.
    :param where: Where it is.
    """
    should_be = "UTF-8" if encoding.codec == UTF_8 else encoding.codec
    places = "; ".join(where)
    rule = f"{what} not in {should_be}{encoding.why}" + (f": {places}" if places else "")
    return InvalidParameter(name, value, rule, encoding.fix)


def tell_unnamed(columns: Columns, there: Iterable[str], texts: Iterable[str], source: str) -> None:
    """
    Log a warning where features get no names though columns of text could have them.

    :param columns: Names of the columns that are read.
    :param there: The columns of the source.
    :param texts: Those that hold text.
    :param source: Name of the source.
    """
    if columns.identifier is not None or "identifier" in {name.lower() for name in there}:
        return
    known = {*columns.geometry_candidates, columns.width, columns.height, columns.resolution, columns.epsg}
    found = [name for name in texts if name.lower() not in {str(each).lower() for each in known}]
    if found:
        shown = ", ".join(one_line(name) for name in found[:_SHOWN])
        log.warning(
            "%s has no column identifier, so its features have numbers and no names. Columns of text that could have "
            "the names: %s. Name one with columns={'identifier': %r}.",
            source,
            shown,
            one_line(found[0]),
        )


def wanted_columns(there: Sequence[str], geometry: str, columns: Columns, source: str) -> list[str]:
    """
    Return the columns to read: a table of parcels may have a hundred others.

    :param there: The columns of the source.
    :param geometry: The one with the geometries; empty where it is looked for by its usual names.
    :param columns: Names of the columns.
    :param source: Name of the source.
    :raises InvalidParameter: There is no such column.
    """
    lower = {name.lower() for name in there}
    for what, name in (("identifier", columns.identifier), ("geometry", geometry), ("epsg", columns.epsg)):
        if name and name.lower() not in lower:
            raise missing_column(what, name, there, source)
    asked = {name.lower() for name in (columns.width, columns.height, columns.resolution, geometry, "identifier")}
    asked |= {name.lower() for name in (columns.identifier, columns.epsg) if name}
    asked |= set() if geometry else set(columns.geometry_candidates)
    return [name for name in there if name.lower() in asked]


def missing_column(what: str, name: str | None, there: Iterable[str], source: str) -> InvalidParameter:
    """
    Return the error that a source has no such column.

    :param what: What the column contains, e.g. ``geometry``.
    :param name: Its name, if one was given.
    :param there: The columns of the source.
    :param source: Name of the source.
    """
    found = f"no such column, only {sorted(there)[:20]}"
    return InvalidParameter(f"columns.{what}", name, f"{source} has {found}", "Name the column to read.")


def _number(value: Any) -> int | None:
    """Return an EPSG code, 0 for an empty value, and ``None`` for a value that is not a code."""
    if value is None or value != value or value == "":  # noqa: PLR0124 - NaN
        return 0
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        found = _CODE.fullmatch(str(value))
        return int(found[1]) if found else None


def unreadable(path: Path, error: Exception | str) -> InvalidParameter:
    """
    Return the error that a file cannot be read.

    :param path: The file.
    :param error: What its reader said, or what is wrong with it.
    """
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return InvalidParameter("source", path.name, f"cannot be read ({reason})", f"Kinds that can be read: {KINDS}.")
