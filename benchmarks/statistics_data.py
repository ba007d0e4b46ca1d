"""Made-up results of Batch Statistical: 12 intervals, 2 bands, 10 bins, 22 kB each."""

from __future__ import annotations

import argparse
import json
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

INTERVALS = 12
BANDS = ("B0", "B1")
BINS = 10
TASK = "7f3b98f6-4a9e-4d5d-9d2b-1f6f7a110001"
NOT_A_NUMBER = "NaN"
LEAST = 40


def files_asked(about: str, default: int) -> int:
    """
    Return how many files the command line asks for.

    :param about: What the benchmark is, for ``--help``.
    :param default: How many where nothing is said.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="?", type=int, default=default, help=f"how many files (default {default:,})")
    files: int = parser.parse_args().files
    if files < LEAST:
        parser.error(f"files = {files}: at least {LEAST} are needed")
    return files


def results(count: int, *, start: int = 0) -> list[bytes]:
    """
    Make up result files: 92 % OK, 5 % PARTIAL, 2 % FAILED, 1 % with an error; one interval in ten has no data.

    :param count: How many.
    :param start: Id of the first feature.
    """
    return [json.dumps(result(number), separators=(",", ":")).encode() for number in range(start, start + count)]


def result(number: int) -> dict[str, Any]:
    """
    Make up one result.

    :param number: Id of the feature.
    """
    chance = random.Random(number)
    about = {"id": number, "identifier": f"parcel-{number:07d}"}
    kind = chance.random()
    if kind < 0.01:
        return {**about, "error": {"type": "EXECUTION_ERROR"}}
    if kind < 0.03:
        return {**about, "response": {"data": None, "status": "FAILED"}}
    lost = chance.randrange(INTERVALS) if kind < 0.08 else None
    data = [interval(chance, month, is_lost=month == lost) for month in range(INTERVALS)]
    return {**about, "response": {"data": data, "status": "OK" if lost is None else "PARTIAL"}}


def interval(chance: random.Random, month: int, *, is_lost: bool) -> dict[str, Any]:
    """
    Make up what is said about one interval.

    :param chance: Where numbers come from.
    :param month: Which interval.
    :param is_lost: Whether it failed.
    """
    span = {"from": f"2024-{month + 1:02d}-01T00:00:00Z", "to": f"2024-{month + 1:02d}-08T00:00:00Z"}
    if is_lost:
        return {"interval": span, "error": {"type": "TIMEOUT"}}
    is_empty = chance.random() < 0.1
    bands = {name: band(chance, is_empty=is_empty) for name in BANDS}
    return {"interval": span, "outputs": {"ndvi": {"bands": bands}}}


def band(chance: random.Random, *, is_empty: bool) -> dict[str, Any]:
    """
    Make up what is said about one band.

    :param chance: Where numbers come from.
    :param is_empty: Whether nothing was sampled.
    """
    samples = chance.randrange(50, 5000)
    numbers = [NOT_A_NUMBER if is_empty else chance.uniform(-1, 1) for _ in range(7)]
    names = ("min", "max", "mean", "stDev")
    stats = {
        **dict(zip(names, numbers, strict=False)),
        "sampleCount": samples,
        "noDataCount": samples if is_empty else chance.randrange(50),
        "percentiles": dict(zip(("25.0", "50.0", "75.0"), numbers[4:], strict=True)),
    }
    bins = [
        {"lowEdge": -1 + 0.2 * place, "highEdge": -1 + 0.2 * (place + 1), "count": chance.randrange(1000)}
        for place in range(BINS)
    ]
    return {"stats": stats, "histogram": {"bins": bins, "overflowCount": 0, "underflowCount": 0}}


def write_results(folder: Path, count: int) -> None:
    """
    Write result files as a task does.

    :param folder: Folder of the task.
    :param count: How many.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.json").write_bytes(json.dumps(result(number), separators=(",", ":")).encode())
