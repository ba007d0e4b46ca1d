"""What a chaos run prints."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from devtools.chaos_records import started
from devtools.chaos_steps import KILLS, STEPS, Harm
from devtools.chaos_variants import Variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from devtools.chaos_actions import Scene
    from devtools.chaos_judge import Ride


def table(rows: Sequence[Sequence[object]]) -> str:
    """
    Lay out a table; the first row is its head, the first column is text.

    :param rows: The rows.
    """
    text = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in text) for column in range(len(text[0]))]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
        for cells in ([*zip(row, widths, strict=True)] for row in text)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def print_scenes(scenes: Sequence[Scene]) -> bool:
    """
    Print what users did and what the service saw; say whether all is well.

    :param scenes: The scenes.
    """
    rows: list[tuple[object, ...]] = [("action", "variant", "when", "created", "starts", "ends", "may run on", "right")]
    for scene in sorted(scenes, key=lambda scene: (scene.variant, scene.action, scene.step)):
        starts = " ".join(str(started(task)) for task in scene.tasks)
        ends = " ".join(task["status"] for task in scene.tasks)
        said = f"{scene.action.value} ({scene.said})" if scene.said else scene.action.value
        verdict = "; ".join(scene.faults) or "yes"
        rows.append((said, scene.variant, scene.when, len(scene.tasks), starts, ends, scene.running, verdict))
    if scenes:
        print()
        print(table(rows))
    return not any(scene.faults for scene in scenes)


def print_rides(rides: Sequence[Ride]) -> bool:
    """
    Print what was done to the runs and what became of them; say whether all is well.

    :param rides: The runs.
    """
    if not rides:
        return True
    print()
    print(table([_HEAD, *(_row(name, group) for name, group in _groups(rides))]))
    print()
    print(table(_by_step(rides)))
    print()
    print(table(_by_harm(rides)))
    return not any(ride.faults for ride in rides)


_HEAD = (
    "variant", "runs", "strikes", "kills", "intents", "tasks created", "started per intent", "orphans", "ended right",
)  # fmt: skip


def _groups(rides: Sequence[Ride]) -> Iterable[tuple[str, Sequence[Ride]]]:
    for variant in Variant:
        group = [ride for ride in rides if ride.plan.variant is variant]
        if group:
            yield variant.value, group
    yield "all", rides


def _row(name: str, rides: Sequence[Ride]) -> tuple[object, ...]:
    starts = [count for ride in rides for count in ride.starts.values()]
    low, high = min(starts, default=0), max(starts, default=0)
    return (
        name,
        len(rides),
        sum(len(ride.struck) for ride in rides),
        sum(ride.kills for ride in rides),
        len(starts),
        sum(ride.created for ride in rides),
        low if low == high else f"{low}..{high}",
        sum(ride.orphans for ride in rides),
        sum(not ride.faults for ride in rides),
    )


def _by_step(rides: Iterable[Ride]) -> list[tuple[object, ...]]:
    strikes = [strike for ride in rides for strike in ride.struck]
    rows: list[tuple[object, ...]] = [("step", "strikes", "kills", "other harm")]
    for step in STEPS:
        here = [strike.harm in KILLS for strike in strikes if strike.step is step]
        rows.append((f"{step.number:2} {step.name}", len(here), sum(here), len(here) - sum(here)))
    return rows


def _by_harm(rides: Sequence[Ride]) -> list[tuple[object, ...]]:
    count = Counter(strike.harm for ride in rides for strike in ride.struck)
    hit = {harm: [ride for ride in rides if any(strike.harm is harm for strike in ride.struck)] for harm in Harm}
    rows: list[tuple[object, ...]] = [("harm", "times", "runs", "ended right")]
    rows += [(harm.value, count[harm], len(hit[harm]), sum(not ride.faults for ride in hit[harm])) for harm in Harm]
    return rows
