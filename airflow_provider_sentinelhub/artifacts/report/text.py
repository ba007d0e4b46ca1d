"""A feature report as people read it, in a log or terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport

_WIDTH = 12
_MAX_MESSAGE = 160


def render(report: FeatureReport) -> str:
    """
    Render a table of outcomes and the grouped errors with names.

    :param report: The report.
    """
    return printable("\n".join(_lines(report)), keep="\n")


def _lines(report: FeatureReport) -> Iterator[str]:
    for outcome, count in report.counts().items():
        if count or outcome == "DELIVERED":
            share = f"{100 * count / report.total:6.2f} %" if report.total else ""
            yield f"{_words(outcome):<{_WIDTH}}{count:>10,}  {share}".rstrip()
    yield f"{'total':<{_WIDTH}}{report.total:>10,}"
    if table := report.statistics:
        yield (
            f"intervals: {table.intervals_with_data:,} with data, {table.intervals_without_data:,} without, "
            f"{table.intervals_failed:,} failed"
        )
    yield from _rounds(report)
    yield from _remarks(report)
    yield from _problems(report)
    if report.no_data_names:
        more = report.no_data - len(report.no_data_names)
        yield f"no data: {_names(report.no_data_names)}" + (f" and {more:,} more" if more > 0 else "")
    if report.failed_names:
        more = report.failed - len(report.failed_names)
        yield f"failed: {_names(report.failed_names)}" + (f" and {more:,} more" if more > 0 else "")
    if report.report_url:
        yield f"all features: {report.report_url}"
    if report.statistics:
        yield f"all statistics: {report.statistics.statistics_url}"


def _problems(report: FeatureReport) -> Iterator[str]:
    if report.error_groups:
        yield "problems:"
    for group in report.error_groups:
        kind = "" if group.kind == "UNKNOWN" else f" ({_words(group.kind)})"
        yield f"{group.count:>10,} x {_words(group.outcome)}{kind}: {_one_line(group.message)}"
        if group.examples:
            yield f"{'':>13}{'e.g. ' if group.count > len(group.examples) else ''}{_names(group.examples)}"
        if group.hint:
            yield f"{'':>13}{_one_line(group.hint)}"
    if report.other_errors:
        yield f"{report.other_errors:>10,} x other messages"


def _rounds(report: FeatureReport) -> Iterator[str]:
    if report.rounds == 1:
        return
    for number, task in enumerate(report.tasks):
        name = f"round {number}" if number else "original"
        if task.total is None:
            yield f"{name}: task {task.task_id}: what became of its features is not known"
        else:
            kept, features = task.delivered + task.no_data, f"{task.total:,} feature{'s' * (task.total != 1)}"
            yield f"{name}: task {task.task_id}: {features}, {kept:,} of them delivered or without data"


def _remarks(report: FeatureReport) -> Iterator[str]:
    if report.unknown_statuses:
        yield "unknown statuses: " + ", ".join(f"{_one_line(name)} ({n:,})" for name, n in report.unknown_statuses)
    if report.unlisted:
        yield f"{report.unlisted:,} of the pending are in the manifest but not in the execution database"
    if report.duplicates:
        yield f"{report.duplicates:,} names occur more than once, e.g. {_names(report.duplicate_names)}"
    for note in report.notes:
        yield f"note: {_one_line(note)}"


def _words(outcome: str) -> str:
    return outcome.lower().replace("_", " ")


def _one_line(text: str) -> str:
    return one_line(text, _MAX_MESSAGE)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(_one_line(name) or "(no name)" for name in names)
