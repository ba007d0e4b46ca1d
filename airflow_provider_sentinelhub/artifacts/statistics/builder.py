"""
Answers turned into columns, some thousand rows at a time.

What is no number in the answer becomes null where nothing was sampled, and stays NaN elsewhere: the one means that
there was nothing to calculate with, the other that the evalscript returned NaN for pixels it called valid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.statistics.answers import Band, Output, Stats, error_text
from airflow_provider_sentinelhub.artifacts.statistics.schema import COLUMNS, Rows, part_schema

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_provider_sentinelhub.artifacts.statistics.answers import Answer, Entry

_SOME_ROWS = 500
_SOME_BINS = 5_000
_NOTHING_SAID = Stats()
_NO_BANDS = Output()
_NO_BAND = Band()


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
    _features: list[tuple[int | None, str | None, int | None]] = field(default_factory=list)
    _counts: list[int] = field(default_factory=list)
    _rows: list[tuple[Any, ...]] = field(default_factory=list)
    _bins: int = 0

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
                self._rows.append((start, end, None, None, _NOTHING_SAID, None, error_text(entry.error)))
            elif self._add_interval(start, end, entry):
                with_data += 1
            else:
                without_data += 1
        if answer.error is not None or not answer.entries:
            self._rows.append((None, None, None, None, _NOTHING_SAID, None, answer.error))
        added = len(self._rows) - before
        self._features.append((feature_id, identifier, answer.pixels))
        self._counts.append(added)
        if len(self._rows) >= _SOME_ROWS or self._bins >= _SOME_BINS:
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
            for name, said in ((content or _NO_BANDS).bands or {}).items():
                has_rows = True
                band = said or _NO_BAND
                stats, histogram = band.stats or _NOTHING_SAID, band.histogram
                if stats.is_empty:
                    # Nothing but the counts means anything then.
                    stats = Stats(sample_count=stats.sample_count, no_data_count=stats.no_data_count)
                    histogram = None
                else:
                    has_data = True
                    self._bins += len(histogram.bins or ()) if histogram is not None else 0
                self._rows.append((start, end, output, name, stats, histogram, None))
        if not has_rows:
            self._rows.append((start, end, None, None, _NOTHING_SAID, None, None))
        return has_data

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
        of_feature = iter(zip(*self._features, strict=True))
        rows = Rows(*zip(*self._rows, strict=True))
        arrays = []
        for column, kind in zip(COLUMNS, schema.types, strict=False):
            if column.values is None:
                arrays.append(pa.array(next(of_feature), kind).take(feature))
            else:
                values = column.values(rows)
                arrays.append(values if isinstance(values, pa.Array) else pa.array(values, kind))
        self._tables.append(pa.Table.from_arrays(arrays, schema=schema))
        self._features, self._counts, self._rows, self._bins = [], [], [], 0
