"""
The tidy table of statistics: its columns, with their types, meaning and how they are computed.

One row for each feature, interval, output and band. What the rows mean is described in ``docs/statistics_table.md``.
Builder, parts, published table, wide form and documentation follow from :data:`COLUMNS`: a new column is one entry
there, and a field of :mod:`~.answers` where its value is decoded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Sized

    import pyarrow as pa

    from airflow_provider_sentinelhub.artifacts.statistics.answers import Histogram, Stats

VERSION = 2
"""Raised when a reader of the old table would not understand the new one; columns may be added without."""

VERSION_KEY = b"airflow_provider_sentinelhub:statistics_schema"
"""Metadata of a published table: the fingerprint of its form."""


class Role(StrEnum):
    """What a column says something about, which decides where it stands in the wide form."""

    FEATURE = "FEATURE"
    """The feature: the same in all rows of a result."""
    INTERVAL = "INTERVAL"
    """The interval of a feature."""
    BAND = "BAND"
    """Which output and band a row is about: part of a column's name in the wide form."""
    NUMBER = "NUMBER"
    """A number of a band: a column for each band."""
    PERCENTILES = "PERCENTILES"
    """Percentiles of a band: a column for each band and percentile."""
    BINS = "BINS"
    """The histogram of a band: a column for each band that has one."""
    ERROR = "ERROR"
    """Why there are no numbers."""
    TASK = "TASK"
    """The task: the same in all its rows, so it is added when the table is published."""


class Rows(NamedTuple):
    """
    Rows of the table before they are columns.

    :param start: Start of the interval, microseconds since 1970.
    :param end: Its end.
    :param output: Output of the evalscript.
    :param band: Its band.
    :param stats: Numbers; without any where nothing is known.
    :param histogram: The histogram, if there is one.
    :param error: Why there is no answer.
    """

    start: Sequence[int | None]
    end: Sequence[int | None]
    output: Sequence[str | None]
    band: Sequence[str | None]
    stats: Sequence[Stats]
    histogram: Sequence[Histogram | None]
    error: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of the table.

    :param name: Its name.
    :param kind: Its type, see :func:`arrow_type`.
    :param meaning: What it holds, for the documentation.
    :param role: What it says something about.
    :param values: Computes it for some rows; ``None`` where it is the same for all rows of a feature or a task, see
        :class:`~.builder.TableBuilder` and :func:`~.publish.write_table`.
    :param repeats: Whether its values repeat, so that a dictionary of them makes files smaller.
    """

    name: str
    kind: str
    meaning: str
    role: Role
    values: Callable[[Rows], Any] | None = None
    repeats: bool = False


def _percentiles(rows: Rows) -> pa.Array:
    import pyarrow as pa

    kind = arrow_type(_PERCENTILES)
    found = [stats.percentiles for stats in rows.stats]
    given = [each for each in found if each is not None]
    keys, values = chain.from_iterable(given), chain.from_iterable(each.values() for each in given)
    return pa.MapArray.from_arrays(
        _offsets(found), pa.array([*keys], kind.key_type), pa.array([*values], kind.item_type)
    )


def _histograms(rows: Rows) -> pa.Array:
    import pyarrow as pa

    kind = arrow_type(_HISTOGRAM)
    found = [None if each is None else [bin_ for bin_ in each.bins or () if bin_] for each in rows.histogram]
    bins = [*chain.from_iterable(each for each in found if each)]
    values = [
        pa.array([each.low_edge for each in bins], pa.float64()),
        pa.array([each.high_edge for each in bins], pa.float64()),
        pa.array([each.count for each in bins], pa.int64()),
    ]
    structs = pa.StructArray.from_arrays(values, fields=[*kind.value_type])
    return pa.ListArray.from_arrays(_offsets(found), structs, kind)


def _underflows(rows: Rows) -> list[int | None]:
    return [
        None if each is None else each.underflow if each.underflow_count is None else each.underflow_count
        for each in rows.histogram
    ]


def _overflows(rows: Rows) -> list[int | None]:
    return [
        None if each is None else each.overflow if each.overflow_count is None else each.overflow_count
        for each in rows.histogram
    ]


def _offsets(found: Sequence[Sized | None]) -> pa.Array:
    """Return where lists begin and end; a null says that there is none."""
    import numpy as np
    import pyarrow as pa

    lengths = np.array([0, *[-1 if each is None else len(each) for each in found]], dtype=np.int32)
    is_missing = np.append(lengths[1:] < 0, False)
    return pa.array(np.cumsum(np.maximum(lengths, 0), dtype=np.int32), mask=is_missing)


_PERCENTILES = "map<string, double>"
_HISTOGRAM = "list<low_edge, high_edge, count>"

COLUMNS = (
    Column("feature_id", "int64", "Id of the feature: `fid` in the input GeoPackage", Role.FEATURE, repeats=True),
    Column("identifier", "string", "Its `identifier` there; null where it has none", Role.FEATURE, repeats=True),
    Column(
        "geometry_pixel_count",
        "int64",
        "Pixels that overlap its geometry; null where the service does not say it",
        Role.FEATURE,
        repeats=True,
    ),
    Column(
        "interval_from",
        "timestamp",
        "Start of the interval, UTC; null where the row is about the whole feature",
        Role.INTERVAL,
        lambda rows: rows.start,
        repeats=True,
    ),
    Column(
        "interval_to",
        "timestamp",
        "End of the interval, UTC; not part of it",
        Role.INTERVAL,
        lambda rows: rows.end,
        repeats=True,
    ),
    Column(
        "output",
        "string",
        "Output of the evalscript; null in a row with an error",
        Role.BAND,
        lambda rows: rows.output,
        repeats=True,
    ),
    Column(
        "band",
        "string",
        "Band of that output; null in a row with an error",
        Role.BAND,
        lambda rows: rows.band,
        repeats=True,
    ),
    Column(
        "min",
        "double",
        "Least value; null where nothing was sampled, as in the next three",
        Role.NUMBER,
        lambda rows: [each.min for each in rows.stats],
    ),
    Column("max", "double", "Greatest value", Role.NUMBER, lambda rows: [each.max for each in rows.stats]),
    Column("mean", "double", "Mean", Role.NUMBER, lambda rows: [each.mean for each in rows.stats]),
    Column("st_dev", "double", "Standard deviation", Role.NUMBER, lambda rows: [each.st_dev for each in rows.stats]),
    Column(
        "sample_count",
        "int64",
        "Pixels of the feature's bounding box",
        Role.NUMBER,
        lambda rows: [each.sample_count for each in rows.stats],
    ),
    Column(
        "no_data_count",
        "int64",
        "Those without data, and those that do not overlap the geometry",
        Role.NUMBER,
        lambda rows: [each.no_data_count for each in rows.stats],
        repeats=True,
    ),
    Column(
        "percentiles",
        _PERCENTILES,
        "Percentile as the service writes it, e.g. `50.0`, to its value; null where none was asked for",
        Role.PERCENTILES,
        _percentiles,
        repeats=True,
    ),
    Column(
        "histogram",
        _HISTOGRAM,
        "Bins in order; null where none was asked for",
        Role.BINS,
        _histograms,
        repeats=True,
    ),
    Column("histogram_underflow", "int64", "Values below the first bin", Role.BINS, _underflows),
    Column("histogram_overflow", "int64", "Values above the last bin", Role.BINS, _overflows),
    Column(
        "error",
        "string",
        "Why there is no answer, in the service's words; null where there is one",
        Role.ERROR,
        lambda rows: rows.error,
        repeats=True,
    ),
    Column("task_id", "string", "The task that gave this row", Role.TASK, repeats=True),
    Column(
        "rerun",
        "int32",
        "0 for the original task, then one for each rerun of failed features",
        Role.TASK,
        repeats=True,
    ),
)
"""The columns of the table, in order: first those of the feature, last those of the task."""

# What repeats within the values of a nested column, as Parquet names it.
_REPEATING = {
    _PERCENTILES: ("key_value.key",),
    _HISTOGRAM: ("list.element.low_edge", "list.element.high_edge"),
}


def names(*roles: Role) -> tuple[str, ...]:
    """
    Return the names of the columns with some roles, in order.

    :param roles: The roles.
    """
    return tuple(each.name for each in COLUMNS if each.role in roles)


def repeating() -> list[str]:
    """Return the paths of values that repeat, as Parquet names them."""
    return [
        f"{each.name}.{path}" if path else each.name
        for each in COLUMNS
        if each.repeats
        for path in _REPEATING.get(each.kind, ("",))
    ]


def table_schema() -> pa.Schema:
    """Return the schema of the published table."""
    import pyarrow as pa

    return pa.schema([(each.name, arrow_type(each.kind)) for each in COLUMNS], {VERSION_KEY: fingerprint().encode()})


def part_schema() -> pa.Schema:
    """Return the schema of what is read of one task, which says nothing about the task."""
    import pyarrow as pa

    return pa.schema([(each.name, arrow_type(each.kind)) for each in COLUMNS if each.role is not Role.TASK])


def fingerprint() -> str:
    """Return the version and a hash of names and types in order: whatever changes in them changes it."""
    text = ";".join(f"{each.name}:{_described(arrow_type(each.kind))}" for each in COLUMNS)
    return f"{VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def arrow_type(kind: str) -> Any:
    """
    Return a type of a column as pyarrow knows it.

    :param kind: ``kind`` of the column.
    """
    import pyarrow as pa

    if kind == "timestamp":
        return pa.timestamp("us", "UTC")
    if kind == _PERCENTILES:
        return pa.map_(pa.string(), pa.float64())
    if kind == _HISTOGRAM:
        edge = pa.float64()
        bins = pa.struct([("low_edge", edge), ("high_edge", edge), ("count", pa.int64())])
        return pa.list_(pa.field("element", bins))
    return pa.type_for_alias(kind)


def _described(kind: Any) -> str:
    """Spell a type out; the library's own words for nested types differ between its versions."""
    import pyarrow as pa

    if pa.types.is_map(kind):
        return f"map<{_described(kind.key_type)},{_described(kind.item_type)}>"
    if pa.types.is_list(kind):
        return f"list<{_described(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{','.join(f'{kind.field(i).name}:{_described(kind.field(i).type)}' for i in range(kind.num_fields))}>"  # noqa: E501
    return str(kind)
