"""
What the report of a task costs: CPU as a ratio to a bare SQLite scan of the same columns in the same run, and memory.

Usage: ``python benchmarks/report_summary.py [features]`` (default 700,000, the service's limit for one task).

Every measurement runs in a process of its own; CPU is the median of five runs (three for the slow ones), imports
excluded. The scan is ``SELECT max(id), max(name), max(status), max(error), max(delivered)``: every column of every row
is read. Where pandas is installed (it is no dependency) it does the same as the summary, and both must give the same
counts, messages, numbers and names.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import random
import sqlite3
import statistics
import struct
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ERRORS = (
    "Illegal request to https://host/path. HTTP Status: 500.",
    "Timeout after {n} s",
    "Tile {name}: out of memory",
)


def rows(count: int, *, all_failed: bool) -> Iterator[tuple[Any, ...]]:
    """Make up features: 93 % delivered, 2 % without data, 2 % pending, 3 % failed; names in random order."""
    chance = random.Random(1)
    for number in range(count):
        name = f"parcel-{chance.randrange(1 << 40):011x}-{number:06d}"
        error = chance.choice(ERRORS).format(n=chance.randrange(600), name=name)
        kind = 1.0 if all_failed else chance.random()
        if kind < 0.93:
            yield number, name, "DONE", None, 1
        elif kind < 0.95:
            yield number, name, "DONE", "No data", 0
        elif kind < 0.97:
            yield number, name, "PENDING", None, 0
        else:
            yield number, name, "FATAL", error, 0


def write_execution_db(path: Path, count: int, *, all_failed: bool = False, unique: bool = False) -> None:
    """Write an execution database."""
    with closing(sqlite3.connect(path)) as database:
        kind = "TEXT UNIQUE" if unique else "TEXT"
        database.execute(
            f"CREATE TABLE features (id INTEGER PRIMARY KEY, name {kind}, status TEXT, error TEXT, delivered BOOLEAN)"
        )
        database.executemany("INSERT INTO features VALUES (?, ?, ?, ?, ?)", rows(count, all_failed=all_failed))
        database.commit()


def write_manifest(path: Path, count: int) -> None:
    """Write a feature manifest of the same features, ten corners each."""
    ring = struct.pack("<22d", *range(22))
    geometry = struct.pack("<2sBBi4d", b"GP", 0, 3, 32633, 0, 1, 0, 1) + struct.pack("<BIII", 1, 3, 1, 11) + ring
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "CREATE TABLE gpkg_spatial_ref_sys (srs_id INTEGER, organization TEXT, organization_coordsys_id INTEGER);"
            "CREATE TABLE gpkg_contents (table_name TEXT, data_type TEXT, srs_id INTEGER);"
            "CREATE TABLE gpkg_geometry_columns (table_name TEXT, column_name TEXT, srs_id INTEGER);"
            "INSERT INTO gpkg_spatial_ref_sys VALUES (32633, 'EPSG', 32633);"
            "INSERT INTO gpkg_contents VALUES ('feature_32633', 'features', 32633);"
            "INSERT INTO gpkg_geometry_columns VALUES ('feature_32633', 'geometry', 32633);"
            "CREATE TABLE feature_32633 (fid INTEGER PRIMARY KEY, outputId TEXT, identifier TEXT, path TEXT, "
            "width INTEGER, height INTEGER, geometry BLOB);"
        )
        database.executemany(
            "INSERT INTO feature_32633 VALUES (NULL, 'default', ?, ?, 20, 30, ?)",
            ((row[1], f"s3://bucket/f/{row[1]}/default.tif", geometry) for row in rows(count, all_failed=False)),
        )
        database.commit()


def scan(path: Path) -> None:
    """Read every column of every row, in SQLite's own code."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("SELECT max(id), max(name), max(status), max(error), max(delivered) FROM features").fetchone()


def summary(path: Path) -> None:
    """Summarise as at the end of a task."""
    from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db

    read_execution_db(path)


def progress(path: Path) -> None:
    """Count as while a task runs."""
    from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db

    read_execution_db(path, counts_only=True)


def table(path: Path) -> None:
    """Write the Parquet table."""
    from airflow_provider_sentinelhub.artifacts.report.table import write_parquet

    write_parquet(path, path.with_suffix(".gpkg"), path.with_suffix(".parquet"))


def merged(path: Path) -> None:
    """Merge with two reruns of what failed, each of which delivers a half, and summarise."""
    from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db
    from airflow_provider_sentinelhub.artifacts.report.reruns import merge

    target = path.with_name("merged.sqlite")
    target.unlink(missing_ok=True)
    merge({0: path, 1: path.with_name("rerun1.sqlite"), 2: path.with_name("rerun2.sqlite")}, target)
    read_execution_db(target)


def write_reruns(path: Path) -> None:
    """Write the execution databases of two reruns of what failed."""
    with closing(sqlite3.connect(path)) as database:
        failed = database.execute("SELECT * FROM features WHERE status = 'FATAL'").fetchall()
    for number in (1, 2):
        kept, failed = failed[::2], failed[1::2]
        with closing(sqlite3.connect(path.with_name(f"rerun{number}.sqlite"))) as database:
            database.execute("CREATE TABLE features (id INTEGER PRIMARY KEY, name, status, error, delivered)")
            insert = "INSERT INTO features VALUES (?, ?, ?, ?, ?)"
            database.executemany(insert, ((row[0], row[1], "DONE", None, 1) for row in kept))
            database.executemany(insert, failed)
            database.commit()


def pandas_summary(path: Path) -> dict[str, Any]:
    """Summarise as a user would with pandas: counts, what failed by message, names."""
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    with closing(sqlite3.connect(path)) as database:
        frame = pd.read_sql("SELECT * FROM features", database)
    done = frame.status == "DONE"
    empty = done & (frame.error == "No data")
    failed = frame[frame.status == "FATAL"]
    message = failed.error.str.replace(r"parcel-\S+-\d+", "<feature>", regex=True)
    groups = failed.assign(group=message.str.replace(r"after \d+", "after <n>", regex=True)).groupby("group").name
    return {
        "delivered": int((done & (frame.delivered == 1)).sum()),
        "no_data": int(empty.sum()),
        "pending": int((frame.status == "PENDING").sum()),
        "failed": len(failed),
        "groups": sorted((group, len(names), tuple(names.iloc[:3])) for group, names in groups),
        "failed_names": tuple(failed.name.iloc[:20]),
        "no_data_names": tuple(frame.name[empty].iloc[:20]),
    }


def our_summary(path: Path) -> dict[str, Any]:
    """Return what this package says, in the same form."""
    from airflow_provider_sentinelhub.artifacts.report.execution_db import read_execution_db

    report = read_execution_db(path)
    return {
        **{name: getattr(report, name) for name in ("delivered", "no_data", "pending", "failed")},
        "groups": sorted((group.message, group.count, group.examples) for group in report.error_groups),
        **{name: getattr(report, name) for name in ("failed_names", "no_data_names")},
    }


def resident_mb(field: str) -> float:
    """Return the resident memory of this process, now (``VmRSS``) or at its highest (``VmHWM``)."""
    # Not getrusage: its maximum goes on from the parent's, so a large parent would hide what its child takes.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise SystemExit("Memory is measured on Linux only")


def child(action: Callable[[Path], Any], path: Path, repeats: int, imports: tuple[str, ...], answer: Any) -> None:
    """Repeat an action, and answer with its median CPU and how far memory grew."""
    for name in imports:
        importlib.import_module(name)
    before = resident_mb("VmRSS")
    spent = []
    for _ in range(repeats):
        began = time.process_time()
        action(path)
        spent.append(time.process_time() - began)
    answer.put((statistics.median(spent), resident_mb("VmHWM") - before))


def measured(
    action: Callable[[Path], Any], path: Path, repeats: int = 5, imports: tuple[str, ...] = ()
) -> tuple[float, float]:
    """
    Run an action in a process of its own.

    :param action: What to run.
    :param path: Its argument.
    :param repeats: How often.
    :param imports: Modules that are there before.
    :returns: Median CPU in seconds, and by how many MB memory grew.
    """
    # A fresh interpreter, not a copy of this one: a forked child would start with its parent's memory.
    context = multiprocessing.get_context("spawn")
    answer: Any = context.Queue()
    modules = ("airflow_provider_sentinelhub.artifacts.report.manifest", *imports)
    process = context.Process(target=child, args=(action, path, repeats, modules, answer))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{action.__name__} failed")
    found: tuple[float, float] = answer.get()
    return found


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 700_000
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        plain, unique, failed = (Path(folder) / f"{name}.sqlite" for name in ("plain", "unique", "failed"))
        write_execution_db(plain, count)
        write_execution_db(unique, count, unique=True)
        write_execution_db(failed, count, all_failed=True)
        write_manifest(plain.with_suffix(".gpkg"), count)
        write_reruns(plain)
        floor, _ = measured(scan, plain)
        jobs: list[tuple[str, Callable[[Path], Any], Path, int]] = [
            ("summary", summary, plain, 5),
            ("summary, names unique in the database", summary, unique, 5),
            ("summary, every feature failed", summary, failed, 3),
            ("progress counts", progress, plain, 5),
            ("three tasks merged and summarised", merged, plain, 3),
            ("Parquet table with manifest", table, plain, 3),
        ]
        try:
            import pandas as pd  # noqa: F401
        except ImportError:
            print("pandas is not installed: not compared")
        else:
            if our_summary(plain) != pandas_summary(plain):
                raise SystemExit("This package and pandas do not agree")
            jobs.append(("pandas.read_sql and groupby", pandas_summary, plain, 5))
        print(f"{count:,} features; bare scan {floor:.3f} s of CPU")
        print(f"{'':<40}{'CPU s':>8}{'x scan':>8}{'MB over start':>15}")
        for name, action, path, repeats in jobs:
            imports = ("pandas",) if action is pandas_summary else ("pyarrow.parquet",) if action is table else ()
            spent, memory = measured(action, path, repeats, imports)
            results[name] = {"ratio": round(spent / floor, 2), "memory_mb": round(memory, 1)}
            print(f"{name:<40}{spent:>8.3f}{spent / floor:>8.2f}{memory:>15.1f}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
