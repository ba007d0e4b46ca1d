"""
What it costs to make a table of statistics: CPU as a ratio to the public client's way, and to decoding alone.

Usage: ``python benchmarks/statistics_parse.py [files]`` (default 10,000 of 22 kB: 12 intervals, 2 bands, 10 bins).

Compared, all from the same bytes in memory: orjson decodes every file and forgets it; this package makes the parts of
its table, as a reader does; the public client, sentinelhub, makes a data frame, which is written as Parquet too. Then
the whole of ``read_statistics`` from a folder on disk, with listing, ledger and publishing, for a quarter and for twice
as many files: its memory must not grow.

Every measurement runs in a process of its own; CPU is the median of three runs, imports excluded. Values are compared
one by one for the rows both have; rows the public client drops are counted by their reason.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_data import in_process, measured, show
from statistics_data import TASK, results, write_results

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 500


def contents(folder: Path, count: int) -> list[bytes]:  # noqa: ARG001 - as others are called
    """Make the files, and import what is needed."""
    import orjson  # noqa: F401
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]  # noqa: F401
    import pyarrow.parquet as pq  # noqa: F401
    import sentinelhub.data_utils  # noqa: F401

    import airflow_provider_sentinelhub.artifacts.statistics.read  # noqa: F401

    return results(count)


def decode(files: list[bytes], folder: Path) -> None:  # noqa: ARG001 - as others are called
    """Decode and forget."""
    import orjson

    for content in files:
        orjson.loads(content)


def ours(files: list[bytes], folder: Path) -> None:
    """Make the parts of the table."""
    from airflow_provider_sentinelhub.artifacts.statistics.answers import ResultReader
    from airflow_provider_sentinelhub.artifacts.statistics.columns import TableBuilder
    from airflow_provider_sentinelhub.artifacts.statistics.parts import PartWriter

    reader, builder = ResultReader(), TableBuilder()
    writer = PartWriter(folder / "ours.parquet", TASK)
    for start in range(0, len(files), CHUNK):
        ledger = []
        for content in files[start : start + CHUNK]:
            result, answer = reader.read(content)
            added = builder.add(result.id, result.identifier, answer)
            counts = (added.rows, added.with_data, added.without_data, added.failed)
            came_to = (*counts, answer.message(), *answer.failed_span())
            ledger.append((f"{result.id}.json", "version", result.id, result.identifier, *came_to))
        writer.write(builder.take(), ledger)
    writer.close()


def theirs(files: list[bytes], folder: Path) -> None:
    """Make a data frame as the public client does."""
    from sentinelhub.data_utils import statistical_to_dataframe

    frame = statistical_to_dataframe([json.loads(content) for content in files])
    frame.to_parquet(folder / "theirs.parquet")


def prepare(folder: Path, count: int) -> str:
    """Import what is needed, and say where the files are."""
    import obstore.store  # noqa: F401
    import pyarrow.parquet as pq  # noqa: F401

    import airflow_provider_sentinelhub.artifacts.statistics.read  # noqa: F401

    return (folder / f"bucket-{count}").as_uri()


def whole(url: str, folder: Path) -> None:
    """Read all statistics as a task does."""
    import shutil

    from airflow_provider_sentinelhub.artifacts.statistics.read import (
        StatisticsRound,
        StatisticsTarget,
        read_statistics,
    )
    from airflow_provider_sentinelhub.artifacts.storage import Storage

    target = StatisticsTarget(f"{url}/own", TASK)
    read_statistics(Storage(), [StatisticsRound(url, TASK)], target, features=None, workdir=folder)
    shutil.rmtree(target.root.removeprefix("file://"))


def compared(files: list[bytes], folder: Path) -> None:
    """Compare what both wrote, value by value."""
    import pandas as pd
    import pyarrow.parquet as pq

    their_rows = dict(_their_rows(pd.read_parquet(folder / "theirs.parquet").to_dict("records")))
    same, dropped = 0, Counter[str]()
    status = {one["identifier"]: _status(one) for one in map(json.loads, files)}
    for row in pq.read_table(folder / "ours.parquet").to_pylist():
        key = (row["identifier"], row["interval_from"], row["output"], row["band"])
        theirs_of_it = their_rows.pop(key, None)
        if theirs_of_it is None:
            reason = "without data" if status[row["identifier"]] == "OK" else "of a feature that failed, or in part"
            dropped[reason] += 1
            continue
        bins = row["histogram"]
        edges = [*(each["low_edge"] for each in bins), bins[-1]["high_edge"]]
        ours_of_it = {
            **{name: row[ours] for name, ours in _NAMES.items()},
            **{f"percentiles_{name}": value for name, value in row["percentiles"]},
            "bins": edges,
            "counts": [each["count"] for each in bins],
        }
        if ours_of_it != theirs_of_it:
            raise SystemExit(f"{key}: ours is {ours_of_it}, theirs {theirs_of_it}")
        same += 1
    if their_rows:
        raise SystemExit(f"{len(their_rows)} rows are theirs alone, e.g. {next(iter(their_rows))}")
    print(f"{same:,} rows compared value by value: equal; theirs has no other rows")
    for reason, count in dropped.items():
        print(f"{count:,} rows of ours that theirs drops: {reason}")


_NAMES = {
    "min": "min",
    "max": "max",
    "mean": "mean",
    "stDev": "st_dev",
    "sampleCount": "sample_count",
    "noDataCount": "no_data_count",
}


def _their_rows(records: list[dict[str, Any]]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    for record in records:
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for column, value in record.items():
            if column in {"interval_from", "interval_to", "identifier"}:
                continue
            output, band, name = column.split("_", 2)
            # A band without data leaves a hole in the frame, which is NaN.
            if not (isinstance(value, float) and value != value):  # noqa: PLR0124
                found.setdefault((output, band), {})[name] = list(value) if name in {"bins", "counts"} else value
        for (output, band), values in found.items():
            yield (record["identifier"], record["interval_from"].to_pydatetime(), output, band), values


def _status(result: dict[str, Any]) -> str:
    return str((result.get("response") or {}).get("status"))


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{count:,} files of {len(results(20)[10]):,} bytes")
        found = {
            "orjson alone": measured(contents, decode, folder, count),
            "ours": measured(contents, ours, folder, count),
            "sentinelhub": measured(contents, theirs, folder, count),
        }
        show(found, "orjson alone")
        print(f"ours is {found['ours'][0] / found['sentinelhub'][0]:.3f} of sentinelhub's CPU")
        in_process(compared_here, folder, count)
        sizes = (count // 4, 2 * count)
        for size in sizes:
            in_process(write_results, folder / f"bucket-{size}" / TASK, size)
        reads = {f"read_statistics, {size:,} files": measured(prepare, whole, folder, size) for size in sizes}
        show(reads, next(iter(reads)))


def compared_here(folder: Path, count: int) -> None:
    """Compare, in a process of its own."""
    compared(results(count), folder)


if __name__ == "__main__":
    main()
