"""
The wide form of the table of statistics: one row for each feature and interval, one column for each number.

Columns are called ``<output>_<band>_<statistic>``, e.g. ``ndvi_B0_mean``, ``ndvi_B0_percentile_50`` and
``ndvi_B0_histogram``. Which there are depends on the evalscript and the calculations, so this form is for the
analysis of one task, and the tidy table for all else. Failed intervals and features, and intervals without data, are
rows too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.statistics.schema import Role, names
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa
    from pyarrow import parquet

_KEYS = names(Role.FEATURE, Role.INTERVAL)
_LAST = names(Role.ERROR, Role.TASK)
# Enough to see that there is a histogram, and the least to read.
_COUNTS = "histogram.list.element.count"


@dataclass(frozen=True, slots=True)
class _Band:
    """A band of an output, and what was calculated of it."""

    output: str
    band: str
    percentiles: tuple[str, ...]
    has_bins: bool

    def columns(self) -> Iterator[tuple[str, str, str | None]]:
        """Go through name, column of the tidy table, and percentile."""
        prefix = f"{self.output}_{self.band}_"
        for name in names(Role.NUMBER):
            yield prefix + name, name, None
        for column in names(Role.PERCENTILES):
            for percentile in self.percentiles:
                short = percentile.removesuffix(".0")
                name = percentile if short in self.percentiles else short
                yield f"{prefix}percentile_{name}", column, percentile
        if self.has_bins:
            for name in names(Role.BINS):
                yield prefix + name, name, None


def write_wide(table: Path, target: Path) -> int:
    """
    Write the wide form of a table of statistics, in bounded memory, and return how many rows it has.

    :param table: The published table, on this machine: all rows of an interval stand together in it.
    :param target: File to write.
    :raises InvalidParameter: Two columns would have the same name, e.g. of band ``b_c`` of output ``a``, and of band
        ``c`` of output ``a_b``.
    """
    from pyarrow import parquet

    written = 0
    with parquet.ParquetFile(table) as source:
        bands = _bands(source)
        schema = _schema(source.schema_arrow, bands)
        with parquet.ParquetWriter(target, schema, compression="zstd") as writer:
            for number in range(source.num_row_groups):
                rows = _widened(source.read_row_group(number), bands, schema)
                writer.write_table(rows)
                written += rows.num_rows
    return written


def _bands(source: parquet.ParquetFile) -> list[_Band]:
    """Look at the whole table for what it holds; columns that are not needed for that are not read."""
    found: dict[tuple[str, str], tuple[set[str], list[bool]]] = {}
    for number in range(source.num_row_groups):
        rows = source.read_row_group(number, columns=["output", "band", "percentiles", _COUNTS])
        for output, band in _pairs(rows):
            percentiles, has_bins = found.setdefault((output, band), (set(), []))
            of_it = rows.filter(_is_of(rows, output, band))
            maps = of_it["percentiles"].combine_chunks()
            percentiles.update(maps.keys.unique().to_pylist())
            if of_it["histogram"].null_count < of_it.num_rows:
                has_bins.append(True)
    bands = [
        _Band(output, band, tuple(sorted(percentiles, key=_by_size)), bool(has_bins))
        for (output, band), (percentiles, has_bins) in sorted(found.items())
    ]
    made = [name for band in bands for name, _, _ in band.columns()]
    if len(set(made)) < len(made):
        twice = sorted({name for name in made if made.count(name) > 1})
        fix = "Rename outputs or bands in the evalscript, or use the tidy table."
        raise InvalidParameter("output", twice[:3], "several columns would have this name", fix)
    return bands


def _by_size(percentile: str) -> tuple[float, str]:
    # Keys are the service's to choose, and the tidy table takes any.
    try:
        return float(percentile), percentile
    except ValueError:
        return math.inf, percentile


def _pairs(rows: pa.Table) -> list[tuple[str, str]]:
    groups = rows.group_by(["output", "band"]).aggregate([]).to_pylist()
    return sorted((each["output"], each["band"]) for each in groups if each["band"] is not None)


def _is_of(rows: pa.Table, output: str, band: str) -> Any:
    from pyarrow import compute

    return compute.and_(compute.equal(rows["output"], output), compute.equal(rows["band"], band))


def _schema(tidy: pa.Schema, bands: list[_Band]) -> pa.Schema:
    import pyarrow as pa

    fields = [tidy.field(name) for name in _KEYS]
    for band in bands:
        for name, column, percentile in band.columns():
            fields.append(pa.field(name, tidy.field(column).type if percentile is None else pa.float64()))
    return pa.schema([*fields, *(tidy.field(name) for name in _LAST)])


def _widened(rows: pa.Table, bands: list[_Band], schema: pa.Schema) -> pa.Table:
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    rows = rows.combine_chunks()
    firsts, groups = _groups(rows)
    columns: dict[str, Any] = {name: rows[name].take(pa.array(firsts)) for name in (*_KEYS, *_LAST)}
    for band in bands:
        mask = compute.fill_null(_is_of(rows, band.output, band.band), fill_value=False).to_numpy()
        places = np.full(len(firsts), -1, dtype=np.int64)
        places[groups[mask]] = np.flatnonzero(mask)
        indices = pa.array(places, mask=places < 0)
        for name, column, percentile in band.columns():
            values = rows[column].take(indices)
            if percentile is not None:
                values = compute.map_lookup(values, pa.scalar(percentile), "first")
            columns[name] = values
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _groups(rows: pa.Table) -> tuple[Any, Any]:
    """Return the first row of each feature and interval, and of each row the number of its group."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    if not rows.num_rows:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    is_new = np.zeros(rows.num_rows, dtype=bool)
    is_new[0] = True
    for name in (*_KEYS, "task_id"):
        column = compute.dictionary_encode(rows[name].combine_chunks(), null_encoding="encode")
        codes = column.indices.to_numpy() if isinstance(column, pa.DictionaryArray) else column
        is_new[1:] |= codes[1:] != codes[:-1]
    return np.flatnonzero(is_new), np.cumsum(is_new) - 1
