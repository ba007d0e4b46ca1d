"""
What it costs to make a table of statistics: CPU as a ratio to the public client's way, and to decoding alone.

Usage: ``python benchmarks/statistics_parse.py [files]`` (default 10,000 of 22 kB: 12 intervals, 2 bands, 10 bins).

Compared, all from the same bytes in memory: orjson decodes every file and forgets it; this package makes the parts of
its table, as a reader does; the public client, sentinelhub, makes a data frame, which is written as Parquet too. Then
the whole of ``read_statistics`` from a folder on disk, with listing, ledger and publishing, for a quarter and for twice
as many files: its memory must not grow. It is the most that the process had resident at any time, with the interpreter
and all libraries.

Every measurement runs in a process of its own, three times in a row; CPU is the median, imports excluded. Values are
compared one by one for the rows both have; rows the public client drops are counted by their reason.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from feature_data import in_process, measured, show
from statistics_data import TASK, files_asked, results, write_results

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
    from airflow_provider_sentinelhub.artifacts.statistics.builder import TableBuilder
    from airflow_provider_sentinelhub.artifacts.statistics.memory import give_back, memory_of_system
    from airflow_provider_sentinelhub.artifacts.statistics.parts import PartWriter

    reader, builder = ResultReader(), TableBuilder()
    with memory_of_system():
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
            give_back()
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
        StatisticsTarget,
        StatisticsTask,
        read_statistics,
    )
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

    target = StatisticsTarget(f"{url}/own", TASK)
    read_statistics(Storage(), [StatisticsTask(url, TASK)], target, features=None, workdir=folder)
    shutil.rmtree(target.root.removeprefix("file://"))


def compared(files: list[bytes], folder: Path) -> None:
    """Compare what both wrote, value by value."""
    import pandas as pd
    import pyarrow.parquet as pq

    # The repository is no package; what its tests compare with is used here as well.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from devtools.statistics_difference import compare

    results_of = {one["identifier"]: one for one in map(json.loads, files)}
    statuses = {name: (one.get("response") or {}).get("status") for name, one in results_of.items()}
    # Parquet gives lists back as arrays.
    frame = pd.read_parquet(folder / "theirs.parquet").map(lambda value: getattr(value, "tolist", lambda: value)())
    found = compare(frame, pq.read_table(folder / "ours.parquet").to_pylist(), statuses)
    if found.unequal or found.only_theirs:
        raise SystemExit(f"not the same: {[*found.unequal, *found.only_theirs][:3]}")
    print(f"{found.rows:,} rows with {found.cells:,} values compared: equal; theirs has no others")
    for reason, rows in found.dropped.items():
        print(f"{len(rows):,} rows of ours that theirs drops: {reason}")


def main() -> None:
    """Print the figures."""
    count = files_asked(__doc__ or "", 10_000)
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
