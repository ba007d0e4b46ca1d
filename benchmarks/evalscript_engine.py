"""
What running ``setup()`` costs: CPU for each script, as a ratio to starting an interpreter that does nothing.

Usage: ``python benchmarks/evalscript_engine.py [scripts]`` (default 60). The scripts are those of the example DAGs,
each time with another comment, so that none is remembered. The same for reading a literal without the engine, for a
script that is remembered and, where it is installed, for Node, which runs a script without its ``setup()``.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.evalscript import read_literal, read_setup

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[1] / "dags_examples" / "evalscripts"


def nothing(_: str) -> None:
    """Start an interpreter as the engine's child is started."""
    subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True, env={})


def node(script: str) -> None:
    """Run the script's top level by Node."""
    subprocess.run(["node", "-e", script], check=True)


def cpu_ms(action: Callable[[str], object], scripts: list[str]) -> float:
    """
    Return the CPU milliseconds for each script, of this process and of its children.

    :param action: What is measured.
    :param scripts: The scripts.
    """
    began, children = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for script in scripts:
        action(script)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = time.process_time() - began + ended.ru_utime - children.ru_utime + ended.ru_stime - children.ru_stime
    return 1000 * spent / len(scripts)


def main(count: int) -> None:
    """
    Measure, and print a table.

    :param count: Number of scripts.
    """
    texts = [path.read_text("utf-8") for path in sorted(EXAMPLES.glob("*.js"))]
    scripts = [f"{texts[number % len(texts)]}\n// {number}" for number in range(count)]
    base = cpu_ms(nothing, scripts)
    found = {"interpreter that does nothing": base, "setup() by the engine": cpu_ms(read_setup, scripts)}
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    found["... of a script that is remembered"] = cpu_ms(read_setup, scripts[-1:] * count)
    found["setup() read as a literal"] = cpu_ms(read_literal, scripts)
    if shutil.which("node"):
        found["Node, without setup()"] = cpu_ms(node, scripts)
    print(f"{count} scripts{'':34}CPU ms   ratio")
    for name, milliseconds in found.items():
        print(f"{name:40}{milliseconds:10.3f}{milliseconds / base:8.3f}")
    print(f"peak memory of the child: {peak:.0f} MB; _quickjs in this process: {'_quickjs' in sys.modules}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
