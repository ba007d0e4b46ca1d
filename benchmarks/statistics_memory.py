"""
What memory it takes to read statistics whose result files are large: the most that the whole process had.

Usage: ``python benchmarks/statistics_memory.py [folder]`` (default a new temporary folder; 3 GB of disk are needed).

Each case is read in a process of its own, from a folder in place of a bucket, imports included. ``many small`` is the
usual case, to compare with. Files of 50 MB have 13,000 intervals, 2 bands and 20 bins.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statistics_data import TASK, results

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 1_000_000
CASES = {
    "many small: 2,000 of 22 kB": (2_000, 0),
    "40 of 50 MB": (40, 50 * MB),
    "60 of 16 MB": (60, 16 * MB),
    "1 of 300 MB": (1, 300 * MB),
}
START = datetime(2000, 1, 1, tzinfo=UTC)


def entry(number: int) -> bytes:
    """Make up one interval: 2 bands, 20 bins, 3.8 kB."""
    start = START + timedelta(hours=number)
    bins = [{"lowEdge": at / 20, "highEdge": (at + 1) / 20, "count": number + at} for at in range(20)]
    stats = {"min": 0.01, "max": 0.99, "mean": 0.5123456789 + number, "stDev": 0.1234567, "sampleCount": 9_999}
    band = {
        "stats": {**stats, "noDataCount": 3, "percentiles": {"25.0": 0.25, "50.0": 0.5, "75.0": 0.75}},
        "histogram": {"bins": bins, "underflowCount": 1, "overflowCount": 2},
    }
    span = {"from": start.isoformat(), "to": (start + timedelta(hours=1)).isoformat()}
    return json.dumps({"interval": span, "outputs": {"ndvi": {"bands": {"B0": band, "B1": band}}}}).encode()


def entries(size: int) -> bytes:
    """Make up intervals of so many bytes in all."""

    def some() -> Iterator[bytes]:
        left, number = size, 0
        while left > 0:
            found = entry(number)
            left, number = left - len(found) - 1, number + 1
            yield found

    return b",".join(some())


def write(folder: Path, count: int, size: int) -> None:
    """Write the result files of a case."""
    root = folder / TASK
    root.mkdir(parents=True)
    if not size:
        for number, content in enumerate(results(count)):
            (root / f"{number}.json").write_bytes(content)
        return
    content = entries(size)
    for number in range(count):
        with (root / f"{number}.json").open("wb") as file:
            file.writelines((b'{"id":%d,"response":{"data":[' % number, content, b'],"status":"OK"}}'))


def read(folder: Path) -> None:
    """Read a case, and say what it took."""
    from airflow_provider_sentinelhub.artifacts.statistics.read import (
        StatisticsTarget,
        StatisticsTask,
        read_statistics,
    )
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

    began = time.process_time()
    tasks = [StatisticsTask(folder.as_uri(), TASK)]
    target = StatisticsTarget(f"{folder.as_uri()}/{TASK}", TASK)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        found = read_statistics(Storage(), tasks, target, features=None, workdir=Path(work))
    said: dict[str, Any] = {
        "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // MB,
        "CPU s": round(time.process_time() - began, 1),
        "read": found.read,
        "unreadable": found.unreadable,
    }
    print(", ".join(f"{name} {value}" for name, value in said.items()))


def main() -> None:
    """Measure all cases."""
    if sys.argv[1:2] == ["--read"]:
        read(Path(sys.argv[2]))
        return
    if sys.argv[1:2] == ["--write"]:
        write(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        return
    for name, (count, size) in CASES.items():
        with tempfile.TemporaryDirectory(dir=sys.argv[1] if sys.argv[1:] else None) as folder:
            # In a process of its own as well: the most a process had is handed on to those it starts.
            subprocess.run([sys.executable, __file__, "--write", f"{folder}/b", str(count), str(size)], check=True)
            print(f"{name}: ", end="", flush=True)
            subprocess.run([sys.executable, __file__, "--read", f"{folder}/b"], check=True)


if __name__ == "__main__":
    main()
