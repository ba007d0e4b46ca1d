"""
Answers turned into columns, some thousand rows at a time.

What is no number in the answer becomes null where nothing was sampled, and stays NaN elsewhere: the one means that
there was nothing to calculate with, the other that the evalscript returned NaN for pixels it called valid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.statistics.answers import Stats, error_text
from airflow_provider_sentinelhub.artifacts.statistics.schema import histogram_type, part_schema, percentiles_type

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_sentinelhub.artifacts.statistics.answers import Answer, Band, Bin, Entry

_SOME_ROWS = 500
_SOME_BINS = 5_000
_NO_LIST = -1
_NOTHING_SAID = Stats()


@dataclass(frozen=True, slots=True)
class Added:
    """
    What an answer gave.

    :param rows: Rows of the table.
    :param with_data: Intervals in which something was sampled.
    :param without_data: Intervals in which nothing was.
    :param failed: Intervals without an answer.
    """

    rows: int
    with_data: int
    without_data: int
    failed: int


@dataclass(slots=True)
class TableBuilder:
    """Collects the rows of answers, and hands them out as a table."""

    _tables: list[pa.Table] = field(default_factory=list)
    _features: list[int | None] = field(default_factory=list)
    _identifiers: list[str | None] = field(default_factory=list)
    _counts: list[int] = field(default_factory=list)
    # The columns from interval_from on, but for those that are lists: of these the row has the number of elements, or
    # that there is no list.
    _rows: list[tuple[Any, ...]] = field(default_factory=list)
    _percentiles: list[str] = field(default_factory=list)
    _percentile_values: list[float | None] = field(default_factory=list)
    _bins: list[Bin] = field(default_factory=list)

    def add(self, feature_id: int | None, identifier: str | None, answer: Answer) -> Added:
        """
        Add the answer for a feature.

        It becomes a row for each interval, output and band, one for each interval without an answer, and one for the
        feature where there is none at all: always at least one.

        :param feature_id: Id of the feature.
        :param identifier: Its identifier.
        :param answer: The answer.
        """
        before = len(self._rows)
        with_data = without_data = failed = 0
        for start, end, entry in answer.entries:
            if entry.error is not None:
                failed += 1
                self._add_bare(start, end, error=error_text(entry.error))
            elif self._add_interval(start, end, entry):
                with_data += 1
            else:
                without_data += 1
        if answer.error is not None or not answer.entries:
            self._add_bare(None, None, error=answer.error)
        added = len(self._rows) - before
        self._features.append(feature_id)
        self._identifiers.append(identifier)
        self._counts.append(added)
        if len(self._rows) >= _SOME_ROWS or len(self._bins) >= _SOME_BINS:
            self._settle()
        return Added(added, with_data, without_data, failed)

    def take(self) -> pa.Table:
        """Return what was collected as a table of :func:`~.schema.part_schema`, and start again."""
        import pyarrow as pa

        self._settle()
        tables, self._tables = self._tables, []
        return pa.concat_tables(tables)

    def _add_interval(self, start: int, end: int, entry: Entry) -> bool:
        has_data = has_rows = False
        for output, content in (entry.outputs or {}).items():
            for name, band in (content.bands or {}).items():
                has_rows = True
                stats = band.stats or _NOTHING_SAID
                if stats.is_empty:
                    counts = (stats.sample_count, stats.no_data_count)
                    self._add_bare(start, end, output=output, band=name, counts=counts)
                else:
                    has_data = True
                    self._add_band(start, end, output, name, band)
        if not has_rows:
            self._add_bare(start, end)
        return has_data

    def _add_bare(
        self,
        start: int | None,
        end: int | None,
        *,
        output: str | None = None,
        band: str | None = None,
        counts: tuple[int | None, int | None] = (None, None),
        error: str | None = None,
    ) -> None:
        row = (start, end, output, band, None, None, None, None, *counts, _NO_LIST, _NO_LIST, None, None, error)
        self._rows.append(row)

    def _add_band(self, start: int, end: int, output: str, name: str, band: Band) -> None:
        stats, histogram = band.stats or _NOTHING_SAID, band.histogram
        percentiles = bins = _NO_LIST
        under = over = None
        if stats.percentiles is not None:
            percentiles = len(stats.percentiles)
            self._percentiles += stats.percentiles
            self._percentile_values += stats.percentiles.values()
        if histogram is not None:
            found = histogram.bins or []
            bins, under, over = len(found), histogram.underflow_count, histogram.overflow_count
            if under is None:
                under = histogram.underflow
            if over is None:
                over = histogram.overflow
            self._bins += found
        self._rows.append(
            (
                start,
                end,
                output,
                name,
                stats.min,
                stats.max,
                stats.mean,
                stats.st_dev,
                stats.sample_count,
                stats.no_data_count,
                percentiles,
                bins,
                under,
                over,
                None,
            )
        )

    def _settle(self) -> None:
        """Turn the rows into columns while the processor still has them in its cache: later takes twice as long."""
        import numpy as np
        import pyarrow as pa

        schema = part_schema()
        if not self._rows:
            if not self._tables:
                self._tables.append(schema.empty_table())
            return
        counts = np.array(self._counts, dtype=np.int64)
        feature = pa.array(np.repeat(np.arange(len(counts)), counts))
        arrays = [
            pa.array(self._features, pa.int64()).take(feature),
            pa.array(self._identifiers, pa.string()).take(feature),
        ]
        nested = {"percentiles": self._percentile_maps, "histogram": self._histograms}
        for column, values in zip(list(schema)[2:], zip(*self._rows, strict=True), strict=True):
            make = nested.get(column.name)
            arrays.append(make(_offsets(values)) if make else pa.array(values, column.type))
        self._tables.append(pa.Table.from_arrays(arrays, schema=schema))
        self._features, self._identifiers, self._counts, self._rows = [], [], [], []
        self._percentiles, self._percentile_values, self._bins = [], [], []

    def _percentile_maps(self, offsets: pa.Array) -> pa.Array:
        import pyarrow as pa

        kind = percentiles_type()
        keys, values = pa.array(self._percentiles, kind.key_type), pa.array(self._percentile_values, kind.item_type)
        return pa.MapArray.from_arrays(offsets, keys, values)

    def _histograms(self, offsets: pa.Array) -> pa.Array:
        import pyarrow as pa

        kind = histogram_type()
        bins = pa.StructArray.from_arrays(
            [
                pa.array([each.low_edge for each in self._bins], pa.float64()),
                pa.array([each.high_edge for each in self._bins], pa.float64()),
                pa.array([each.count for each in self._bins], pa.int64()),
            ],
            fields=list(kind.value_type),
        )
        return pa.ListArray.from_arrays(offsets, bins, kind)


def _offsets(lengths: tuple[int, ...]) -> pa.Array:
    """Return where lists begin and end; a null says that there is none."""
    import numpy as np
    import pyarrow as pa

    found = np.array((0, *lengths), dtype=np.int32)
    is_missing = np.append(found[1:] == _NO_LIST, False)
    found[found == _NO_LIST] = 0
    return pa.array(np.cumsum(found, dtype=np.int32), mask=is_missing)
