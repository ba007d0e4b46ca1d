"""Made-up parcels, and what the benchmarks of GeoPackages share: a measurement in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EPSG = 32633
CORNERS = 10


def parcels(count: int) -> tuple[list[str], Any]:
    """Make up names in random order, and polygons of ten corners each."""
    import numpy as np
    import shapely

    chance = np.random.default_rng(1)
    places = chance.uniform((300_000, 4_000_000), (700_000, 5_000_000), (count, 1, 2))
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    reach = chance.uniform(20, 60, (count, CORNERS, 1))
    corners = places + reach * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    numbers = chance.permutation(count)
    return [f"parcel-{number:07d}" for number in numbers.tolist()], shapely.polygons(corners)


def _child(
    prepare: Callable[[Path, int], Any], action: Callable[[Any, Path], None], folder: Path, count: int, answer: Any
) -> None:
    prepared = prepare(folder, count)
    spent = []
    for _ in range(3):
        began = time.process_time()
        action(prepared, folder)
        spent.append(time.process_time() - began)
    answer.put((statistics.median(spent), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def in_process(action: Callable[..., None], *arguments: Any) -> None:
    """
    Run something in a process of its own.

    :param action: What is run.
    :param arguments: What it takes.
    """
    # A fresh interpreter, not a copy of this one: a forked child would start with its parent's peak of memory.
    process = multiprocessing.get_context("spawn").Process(target=action, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{action.__name__} failed")


def measured(
    prepare: Callable[[Path, int], Any], action: Callable[[Any, Path], None], folder: Path, count: int
) -> tuple[float, float]:
    """
    Return the CPU seconds of an action, median of three, and the MB its process had at most, libraries included.

    :param prepare: Makes what the action takes, and imports what it needs; not measured.
    :param action: What is measured.
    :param folder: Where files are.
    :param count: Number of features.
    """
    answer: Any = multiprocessing.get_context("spawn").Queue()
    in_process(_child, prepare, action, folder, count, answer)
    found: tuple[float, float] = answer.get()
    return found


def show(found: dict[str, tuple[float, float]], base: str) -> None:
    """
    Print a table.

    :param found: CPU seconds and MB by name.
    :param base: What the others are compared with.
    """
    print(f"{'':<28}{'CPU s':>8}{'ratio':>8}{'MB at most':>15}{'ratio':>8}")
    for name, (spent, memory) in found.items():
        shares = (spent / found[base][0], memory / found[base][1])
        print(f"{name:<28}{spent:>8.3f}{shares[0]:>8.3f}{memory:>15.1f}{shares[1]:>8.2f}")
