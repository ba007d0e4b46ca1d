"""
Shows that a watcher of the catalog reports each acquisition exactly once: ``python -m devtools.watcher``.

On a real Airflow and the simulated service, items are published in any order, late, processed again and received twice,
while the triggerer is killed and paused. It takes some minutes.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from devtools.arguments import count
from devtools.chaos.report import table
from devtools.watcher.experiment import Experiment

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(given: Sequence[str] | None = None) -> int:
    """
    Run the experiment, and print what became of the acquisitions.

    :param given: Command line; that of the process when ``None``.
    :returns: Exit status: 0 if each acquisition was handed over exactly once.
    """
    parser = argparse.ArgumentParser(prog="python -m devtools.watcher", description=__doc__)
    parser.add_argument("--acquisitions", type=count(20), default=1000)
    parser.add_argument("--waves", type=count(8), default=30, help="in how many parts they are published")
    parser.add_argument("--kills", type=count(0), default=5, help="of the triggerer")
    parser.add_argument("--pauses", type=count(0), default=1, help="of the triggerer")
    parser.add_argument("--seed", type=count(0), default=1)
    options = parser.parse_args(given)
    experiment = Experiment(
        count=options.acquisitions,
        waves=options.waves,
        kills=options.kills,
        pauses=options.pauses,
        seed=options.seed,
        say=lambda text: print(text, flush=True),
    )
    outcome = experiment.run()
    print(f"\n{table([('policy first', ''), *outcome.rows()])}")
    print(f"\nEach acquisition exactly once: {'yes' if outcome.is_right else 'NO'}")
    return 0 if outcome.is_right else 1


if __name__ == "__main__":
    sys.exit(main())
