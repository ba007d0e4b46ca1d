"""
Features that several tasks have results for: for each interval of them one task has the last word.

1. An answer without an error counts rather than an error, whatever task it is from. No data is an answer.
2. Of equals, the later task's counts.
3. All rows of an interval, its outputs and bands, come from the same task.
4. The service leaves intervals without data out of its answers. So what one task failed to answer has no data if
   another was asked for that interval, and answered for the feature without mentioning it. It has no row then.
5. A row about the whole feature, because all of it failed, stands only where no other task says anything about any of
   its intervals; of several such rows the last one that is no error stands, else the last.
"""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.statistics.answers import failure_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from airflow_provider_sentinelhub.artifacts.statistics.catalog import Catalog, Reading

_COLUMNS = ("interval_from", "interval_to", "band", "sample_count", "no_data_count", "error")
_SETTLED = """
CREATE INDEX rows_in_order ON rows_of_several (feature, start, end, rank);
CREATE TEMP TABLE answers AS SELECT r.feature AS feature, r.number AS number, r.rerun AS rerun FROM readings r
  JOIN chosen USING (number) JOIN several s ON s.feature = r.feature
  WHERE (r.error IS NULL OR r.failed_from IS NOT NULL) AND r.rerun IN (SELECT DISTINCT rerun FROM asked);
CREATE INDEX temp.answers_by_feature ON answers (feature);
CREATE TABLE settled AS SELECT e.feature AS feature, e.start AS start, e.end AS end, min(q.rerun) AS first,
  max(q.rerun) AS last FROM rows_of_several e JOIN temp.answers q ON q.feature = e.feature
  JOIN asked a ON a.start = e.start AND a.end = e.end AND a.rerun = q.rerun
  WHERE e.error IS NOT NULL AND NOT EXISTS (SELECT 1 FROM rows_of_several o
    WHERE o.feature = e.feature AND o.start = e.start AND o.end = e.end AND (o.number = q.number OR o.error IS NULL))
  GROUP BY e.feature, e.start, e.end;
CREATE UNIQUE INDEX settled_by_interval ON settled (feature, start, end);
INSERT INTO dropped SELECT part, row, 1 FROM rows_of_several JOIN settled USING (feature, start, end);
DELETE FROM rows_of_several WHERE (feature, start, end) IN (SELECT feature, start, end FROM settled);
"""
_LOSERS = """
CREATE TEMP TABLE words AS SELECT *, first_value(rank) OVER (
  PARTITION BY feature, start, end ORDER BY is_outdone, error IS NULL DESC, rank DESC) AS winner
FROM (SELECT *, start IS NULL AND EXISTS (SELECT 1 FROM rows_of_several o WHERE o.feature = r.feature
  AND o.start IS NOT NULL AND o.rank <> r.rank) AS is_outdone FROM rows_of_several r);
CREATE INDEX temp.words_by_feature ON words (feature);
INSERT INTO dropped SELECT part, row, 1 FROM temp.words WHERE rank <> winner OR is_outdone;
"""
_WINNERS = """
SELECT w.feature, w.start, w.end, max(w.has_data), max(w.error), max(r.identifier),
  max(max(r.rerun), coalesce((SELECT max(s.last) FROM settled s WHERE s.feature = w.feature), 0))
FROM temp.words w JOIN readings r USING (number) WHERE w.rank = w.winner AND NOT w.is_outdone
GROUP BY w.feature, w.start, w.end ORDER BY w.feature, w.start
"""
_ANSWERED = """
SELECT (SELECT count(*) FROM (SELECT DISTINCT w.feature, w.start, w.end FROM temp.words w JOIN readings r USING (number)
  WHERE r.rerun = :rerun AND w.rank = w.winner AND NOT w.is_outdone AND w.error IS NULL AND NOT EXISTS (
    SELECT 1 FROM rows_of_several o JOIN readings q USING (number) WHERE o.feature = w.feature AND o.start IS w.start
    AND o.end IS w.end AND o.error IS NULL AND q.rerun < :rerun)))
+ (SELECT count(*) FROM settled WHERE first = :rerun)
+ (SELECT coalesce(sum(with_data + without_data), 0) FROM outcomes o
  WHERE rerun = :rerun AND NOT EXISTS (SELECT 1 FROM temp.words w WHERE w.feature = o.feature))
"""


def merge_reruns(catalog: Catalog, local: Callable[[str], Path]) -> None:
    """
    Decide which rows of features with several readings are left out, and what became of these features.

    :param catalog: The catalog, after :meth:`~.catalog.Catalog.choose`.
    :param local: Returns the file of a part on this machine.
    :raises StorageUnavailable: A part cannot be read.
    """
    connection = catalog.connection
    for url, part, readings in catalog.of_several():
        connection.executemany(
            "INSERT INTO rows_of_several VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _rows(local(url), part, readings)
        )
    connection.executescript(_SETTLED + _LOSERS)
    connection.executemany(
        "INSERT INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _outcomes(connection.execute(_WINNERS))
    )


def answered_by(catalog: Catalog, number: int) -> int:
    """
    Count the intervals that a task answered, and no task before it.

    A rerun requests a span, so it also delivers again what was there already; that is not counted.

    :param catalog: The catalog, after :func:`merge_reruns`.
    :param number: Number of the task: 0 for the original, then its reruns.
    """
    (count,) = catalog.connection.execute(_ANSWERED, {"rerun": number}).fetchone()
    return int(count)


def _rows(path: Path, part: int, readings: list[Reading]) -> Iterator[tuple[Any, ...]]:
    from pyarrow import parquet

    waiting = iter(readings)
    reading = next(waiting, None)
    start = 0
    with parquet.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            end = start + file.metadata.row_group(number).num_rows
            # A result never lies in two row groups.
            if reading is None or reading.first >= end:
                start = end
                continue
            table = file.read_row_group(number, columns=list(_COLUMNS))
            while reading is not None and reading.first < end:
                first = reading.first - start
                for row, values in enumerate(_values(table.slice(first, reading.rows)), reading.first):
                    begin, until, error, has_data = values
                    yield reading.feature, begin, until, reading.number, part, row, reading.rank, error, has_data
                reading = next(waiting, None)
            start = end


def _values(rows: pa.Table) -> Iterator[tuple[int | None, int | None, str | None, bool]]:
    import pyarrow as pa
    from pyarrow import compute

    times = (rows[name].cast(pa.int64()).to_pylist() for name in ("interval_from", "interval_to"))
    is_empty = compute.fill_null(compute.equal(rows["sample_count"], rows["no_data_count"]), fill_value=False)
    has_data = compute.and_(rows["band"].is_valid(), compute.invert(is_empty)).to_pylist()
    yield from zip(*times, rows["error"].to_pylist(), has_data, strict=True)


def _outcomes(words: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for feature, intervals in groupby(words, itemgetter(0)):
        counts = [0, 0]
        errors: list[str | None] = []
        starts, ends = list[int](), list[int]()
        whole = identifier = None
        last_rerun = 0
        for _, start, end, has_data, error, name, number in intervals:
            identifier, last_rerun = name or identifier, max(number, last_rerun)
            if start is None:
                whole = error
            elif error is not None:
                errors.append(error)
                starts.append(start)
                ends.append(end)
            else:
                counts[not has_data] += 1
        text = failure_text(whole, errors, sum(counts) + len(errors))
        span = (min(starts), max(ends)) if errors and whole is None else (None, None)
        yield feature, identifier, last_rerun, *counts, len(errors), text, *span
