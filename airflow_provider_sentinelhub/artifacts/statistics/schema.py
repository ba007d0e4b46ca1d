"""
The tidy table of statistics: its columns, their types, and the number under which this form is known.

One row for each feature, interval, output and band. What the rows mean is described in ``docs/statistics_table.md``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
"""Raised when a reader of the old table would not understand the new one; columns may be added without."""

COLUMNS = (
    ("feature_id", "int64", "Id of the feature: `fid` in the input GeoPackage"),
    ("identifier", "string", "Its `identifier` there; null where it has none"),
    ("interval_from", "timestamp", "Start of the interval, UTC; null where the row is about the whole feature"),
    ("interval_to", "timestamp", "End of the interval, UTC; not part of it"),
    ("output", "string", "Output of the evalscript; null in a row with an error"),
    ("band", "string", "Band of that output; null in a row with an error"),
    ("min", "double", "Least value; null where nothing was sampled, as in the next three"),
    ("max", "double", "Greatest value"),
    ("mean", "double", "Mean"),
    ("st_dev", "double", "Standard deviation"),
    ("sample_count", "int64", "Pixels looked at, with those without data"),
    ("no_data_count", "int64", "Pixels without data"),
    (
        "percentiles",
        "map<string, double>",
        "Percentile as the service writes it, e.g. `50.0`, to its value; null where none was asked for",
    ),
    ("histogram", "list<low_edge, high_edge, count>", "Bins in order; null where none was asked for"),
    ("histogram_underflow", "int64", "Values below the first bin"),
    ("histogram_overflow", "int64", "Values above the last bin"),
    ("error", "string", "Why there is no answer, in the service's words; null where there is one"),
    ("task_id", "string", "The task that gave this row"),
    ("rerun", "int32", "0 for the original task, then one for each that ran failed features again"),
)
"""Name, type and meaning of each column, in order."""

OF_THE_TASK = 2
"""How many columns, at the end, are the same for all results of a task."""

VERSION_KEY = b"airflow_provider_sentinelhub:statistics_schema"
"""Metadata of a published table: the fingerprint of its form."""


def table_schema() -> pa.Schema:
    """Return the schema of the published table."""
    import pyarrow as pa

    types = _types()
    return pa.schema([(name, types[kind]) for name, kind, _ in COLUMNS], {VERSION_KEY: fingerprint().encode()})


def part_schema() -> pa.Schema:
    """Return the schema of what is read of one task, which says nothing about the task."""
    import pyarrow as pa

    types = _types()
    return pa.schema([(name, types[kind]) for name, kind, _ in COLUMNS[:-OF_THE_TASK]])


def fingerprint() -> str:
    """Return the version and a hash of names and types in order: whatever changes in them changes it."""
    types = _types()
    text = ";".join(f"{name}:{_described(types[kind])}" for name, kind, _ in COLUMNS)
    return f"{VERSION}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def percentiles_type() -> pa.DataType:
    """Return the type of ``percentiles``."""
    return _types()["map<string, double>"]


def histogram_type() -> pa.DataType:
    """Return the type of ``histogram``."""
    return _types()["list<low_edge, high_edge, count>"]


def _types() -> dict[str, Any]:
    import pyarrow as pa

    edge = pa.float64()
    bins = pa.struct([("low_edge", edge), ("high_edge", edge), ("count", pa.int64())])
    return {
        "int64": pa.int64(),
        "int32": pa.int32(),
        "string": pa.string(),
        "double": pa.float64(),
        "timestamp": pa.timestamp("us", "UTC"),
        "map<string, double>": pa.map_(pa.string(), pa.float64()),
        "list<low_edge, high_edge, count>": pa.list_(pa.field("element", bins)),
    }


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
