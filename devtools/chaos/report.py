"""What a chaos experiment prints."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from devtools.chaos.faults import KILLS, Fault
from devtools.chaos.records import restarted, started
from devtools.chaos.steps import STEPS, Variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from devtools.chaos.runs import RunResult
    from devtools.chaos.scenarios import Scenario


def table(rows: Sequence[Sequence[object]]) -> str:
    """
    Format a table; the first row is its head, the first column is text.

    :param rows: The rows.
    """
    text = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in text) for column in range(len(text[0]))]
    lines = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
        for cells in ([*zip(row, widths, strict=True)] for row in text)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def print_scenarios(scenarios: Sequence[Scenario]) -> bool:
    """
    Print the scenarios with the service's records; return whether none has a violation.

    :param scenarios: The scenarios.
    """
    head = ("action", "variant", "when", "created", "starts", "restarts", "ends", "may run on", "ok")
    rows: list[tuple[object, ...]] = [head]
    for scenario in sorted(scenarios, key=lambda scenario: (scenario.variant, scenario.action, scenario.step)):
        starts = " ".join(str(started(task)) for task in scenario.tasks)
        restarts = " ".join(str(restarted(task)) for task in scenario.tasks)
        ends = " ".join(task["status"] for task in scenario.tasks)
        said = f"{scenario.action.value} ({scenario.note})" if scenario.note else scenario.action.value
        verdict = "; ".join(scenario.violations) or "yes"
        counts = (len(scenario.tasks), starts, restarts, ends, scenario.running)
        rows.append((said, scenario.variant, scenario.when, *counts, verdict))
    if scenarios:
        print()
        print(table(rows))
    return not any(scenario.violations for scenario in scenarios)


def print_runs(results: Sequence[RunResult]) -> bool:
    """
    Print the injected faults and the results of the runs; return whether none has a violation.

    :param results: The runs.
    """
    if not results:
        return True
    print()
    print(table([_HEAD, *(_row(name, group) for name, group in _groups(results))]))
    print()
    print(table(_by_step(results)))
    print()
    print(table(_by_fault(results)))
    return not any(result.violations for result in results)


_HEAD = (
    "variant", "runs", "faults", "kills", "intents", "tasks created", "started per intent", "restarts", "orphans", "ok",
)  # fmt: skip


def _groups(results: Sequence[RunResult]) -> Iterable[tuple[str, Sequence[RunResult]]]:
    for variant in Variant:
        group = [result for result in results if result.plan.variant is variant]
        if group:
            yield variant.value, group
    yield "all", results


def _row(name: str, results: Sequence[RunResult]) -> tuple[object, ...]:
    starts = [count for result in results for count in result.starts.values()]
    return (
        name,
        len(results),
        sum(len(result.injected) for result in results),
        sum(result.kills for result in results),
        len(starts),
        sum(result.created for result in results),
        _span(starts),
        _span([count for result in results for count in result.restarts.values()]),
        sum(result.orphans for result in results),
        sum(not result.violations for result in results),
    )


def _span(counts: Sequence[int]) -> int | str:
    low, high = min(counts, default=0), max(counts, default=0)
    return low if low == high else f"{low}..{high}"


def _by_step(results: Iterable[RunResult]) -> list[tuple[object, ...]]:
    injections = [injection for result in results for injection in result.injected]
    rows: list[tuple[object, ...]] = [("step", "faults", "kills", "other faults")]
    for step in STEPS:
        here = [injection.fault in KILLS for injection in injections if injection.step is step]
        rows.append((f"{step.number:2} {step.name}", len(here), sum(here), len(here) - sum(here)))
    return rows


def _by_fault(results: Sequence[RunResult]) -> list[tuple[object, ...]]:
    count = Counter(injection.fault for result in results for injection in result.injected)
    hit = {
        fault: [result for result in results if any(injection.fault is fault for injection in result.injected)]
        for fault in Fault
    }
    rows: list[tuple[object, ...]] = [("fault", "times", "runs", "ok")]
    rows += [
        (fault.value, count[fault], len(hit[fault]), sum(not result.violations for result in hit[fault]))
        for fault in Fault
    ]
    return rows
