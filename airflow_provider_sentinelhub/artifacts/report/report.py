"""
The answer for every feature: how many were delivered, and what became of the others.

The service calls a task DONE even if features failed for good. :func:`outcome_of` says what really came out of it.

A field is declared once, in its dataclass, with its :class:`~.fields.Form`: how it is stored in an XCom, read back and
shown. Only what computes its value is elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from airflow_provider_sentinelhub.artifacts.report.causes import CauseKind
from airflow_provider_sentinelhub.artifacts.report.field_forms import (
    Form,
    Limits,
    as_json,
    clean,
    from_json,
    lines,
    shortened,
)
from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter
from airflow_provider_sentinelhub.client.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_NAMES = 20
MAX_DICT_BYTES = 4000

_MAX_MESSAGE = 1000
_MAX_STATUSES = 5
_MAX_RERUNS = 9
_MAX_NOTES = 3
_WIDTH = 12
_MAX_SHOWN = 160
# From the fullest form to the barest: the first that fits is taken.
_LIMITS = (
    Limits(20, 3, 20),
    Limits(20, 1, 20),
    Limits(10, 3, 10),
    Limits(10, 1, 10),
    Limits(5, 1, 5),
    Limits(3, 1, 3),
    Limits(1, 1, 1),
    Limits(0, 0, 0),
)


class FeatureOutcome(StrEnum):
    """What became of one feature."""

    DELIVERED = "DELIVERED"
    """Processed, and its files are in the bucket."""
    NO_DATA = "NO_DATA"
    """Processed, and there was nothing to deliver: no images, or none that passed the filters. Not a failure."""
    UNDELIVERED = "UNDELIVERED"
    """DONE, but neither marked as delivered nor as empty."""
    FAILED = "FAILED"
    """FATAL: the service tried several times and gave it up."""
    PENDING = "PENDING"
    """Not processed yet, or never: the task was stopped, or the execution database is older than the task's end."""
    UNKNOWN = "UNKNOWN"
    """A status this package does not know; counted, and shown under its own name."""


class Outcome(StrEnum):
    """What came out of a task, from its status and its features together."""

    DONE = "DONE"
    """Every feature was delivered or has no data."""
    PARTIAL = "PARTIAL"
    """Some features were delivered or have no data; others need attention."""
    FAILED = "FAILED"
    """The service gave the task up, or not one feature came out of it."""
    STOPPED = "STOPPED"
    """Stopped by a user or by the service."""


COUNTS = ("total", *(outcome.value.lower() for outcome in FeatureOutcome))
"""The fields of a report that count features: all, and those of each outcome."""


def _printable(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(printable(name) for name in names)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(_shown(name) or "(no name)" for name in names)


def _shown(text: str) -> str:
    return one_line(text, _MAX_SHOWN)


def _words(outcome: str) -> str:
    return outcome.lower().replace("_", " ")


# What features are called, and what the service says about them, is shown from here on: nothing else is kept.
_MESSAGE = Form(write=lambda text, _: shortened(text), clean=lambda text: one_line(text, _MAX_MESSAGE))
_EXAMPLES = Form(
    write=lambda names, limits: [shortened(name) for name in names[: limits.examples]], read=tuple, clean=_printable
)


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """
    Features with the same problem.

    :param outcome: ``FAILED``, ``UNDELIVERED`` or ``UNKNOWN``.
    :param message: The message, if it is the same for all; otherwise with ``<feature>``, ``<id>`` and ``<n>`` in place
        of what differs.
    :param count: How many features.
    :param examples: Names of up to three of them, in the order of the execution database.
    :param kind: Whether it is worth repeating them, see :mod:`~.causes`.
    :param hint: What to do about it.
    """

    outcome: Annotated[FeatureOutcome, Form(write=lambda outcome, _: outcome.value, read=FeatureOutcome)]
    message: Annotated[str, _MESSAGE]
    count: int
    examples: Annotated[tuple[str, ...], _EXAMPLES] = ()
    kind: Annotated[CauseKind, Form(write=lambda kind, _: kind.value, read=CauseKind)] = CauseKind.UNKNOWN
    hint: Annotated[str, _MESSAGE] = ""

    def __post_init__(self) -> None:
        clean(self)


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """
    One of the tasks about the same features: the original, or a rerun of features that failed.

    :param task_id: Its id.
    :param total: Features in its execution database, each row counted; ``None`` if it could not be read.
    :param delivered: Those it delivered.
    :param no_data: Those it found no data for.
    :param last_word: Features of the report whose outcome comes from this task. Over all tasks these add up to the
        report's ``total``; features only the manifest mentions are with the original task.
    """

    task_id: str
    total: int | None
    delivered: int = 0
    no_data: int = 0
    last_word: int = 0


@dataclass(frozen=True, slots=True)
class StatisticsTable:
    """
    The table of all statistics.

    :param statistics_url: Where it lies.
    :param intervals_with_data: Intervals of features in which something was sampled.
    :param intervals_without_data: Intervals in which nothing was.
    :param intervals_failed: Intervals without an answer. Features that failed as a whole have none.
    """

    statistics_url: str
    intervals_with_data: int
    intervals_without_data: int
    intervals_failed: int


def _outcome_lines(report: FeatureReport) -> Iterator[str]:
    for outcome, count in report.counts().items():
        if count or outcome is FeatureOutcome.DELIVERED:
            share = f"{100 * count / report.total:6.2f} %" if report.total else ""
            yield f"{_words(outcome):<{_WIDTH}}{count:>10,}  {share}".rstrip()
    yield f"{'total':<{_WIDTH}}{report.total:>10,}"


def _interval_lines(report: FeatureReport) -> Iterator[str]:
    if table := report.statistics:
        yield (
            f"intervals: {table.intervals_with_data:,} with data, {table.intervals_without_data:,} without, "
            f"{table.intervals_failed:,} failed"
        )


def _task_lines(report: FeatureReport) -> Iterator[str]:
    if not report.reruns:
        return
    for number, task in enumerate(report.tasks):
        name = f"{f'rerun {number}' if number else 'original'}: task {task.task_id}"
        if task.total is None:
            yield f"{name}: what became of its features is not known"
        else:
            features = f"{task.total:,} feature{'s' * (task.total != 1)}"
            yield f"{name}: {task.delivered + task.no_data:,} of {features} delivered or without data"


def _status_lines(report: FeatureReport) -> Iterator[str]:
    if report.unknown_statuses:
        yield "unknown statuses: " + ", ".join(f"{_shown(name)} ({n:,})" for name, n in report.unknown_statuses)


def _unlisted_lines(report: FeatureReport) -> Iterator[str]:
    if report.unlisted:
        yield f"{report.unlisted:,} of the pending are in the manifest but not in the execution database"


def _duplicate_lines(report: FeatureReport) -> Iterator[str]:
    if report.duplicates:
        yield f"{report.duplicates:,} names occur more than once, e.g. {_names(report.duplicate_names)}"


def _note_lines(report: FeatureReport) -> Iterator[str]:
    for note in report.notes:
        yield f"note: {_shown(note)}"


def _group_lines(report: FeatureReport) -> Iterator[str]:
    if report.error_groups:
        yield "problems:"
    for group in report.error_groups:
        kind = "" if group.kind is CauseKind.UNKNOWN else f" ({_words(group.kind)})"
        yield f"{group.count:>10,} x {_words(group.outcome)}{kind}: {_shown(group.message)}"
        if group.examples:
            yield f"{'':>13}{'e.g. ' if group.count > len(group.examples) else ''}{_names(group.examples)}"
        if group.hint:
            yield f"{'':>13}{_shown(group.hint)}"


def _other_lines(report: FeatureReport) -> Iterator[str]:
    if report.other_errors:
        yield f"{report.other_errors:>10,} x other messages"


def _name_lines(what: str, names: tuple[str, ...], count: int) -> Iterator[str]:
    if names:
        more = count - len(names)
        yield f"{what}: {_names(names)}" + (f" and {more:,} more" if more > 0 else "")


def _url_lines(report: FeatureReport) -> Iterator[str]:
    if report.report_url:
        yield f"all features: {report.report_url}"
    if report.statistics:
        yield f"all statistics: {report.statistics.statistics_url}"


def _name_list(most: int, text: Callable[[FeatureReport], Iterator[str]] | None = None) -> Form:
    return Form(
        write=lambda names, limits: [shortened(name) for name in names[: min(limits.names, most)]],
        read=tuple,
        clean=_printable,
        text=text,
    )


_STATISTICS = Form(
    write=lambda table, limits: as_json(table, limits) if table else {},
    read=lambda found: from_json(StatisticsTable, found) if "statistics_url" in found else None,
    text=_interval_lines,
    is_flat=True,
)
_TASKS = Form(
    write=lambda tasks, limits: [as_json(task, limits) for task in tasks[:1] + tasks[1:][-_MAX_RERUNS:]],
    read=lambda found: tuple(from_json(TaskCounts, task) for task in found),
    text=_task_lines,
)
_STATUSES = Form(
    write=lambda statuses, _: [[shortened(name), count] for name, count in statuses[:_MAX_STATUSES]],
    read=lambda found: tuple((name, count) for name, count in found),
    clean=lambda statuses: tuple((printable(name), count) for name, count in statuses),
    text=_status_lines,
)
_COST = Form(
    write=lambda cost, _: {} if cost is None else {"cost_pu": cost},
    read=lambda found: found.get("cost_pu"),
    is_flat=True,
)
_NOTES = Form(
    write=lambda notes, limits: [shortened(note) for note in notes[:_MAX_NOTES]] if limits.names else [],
    read=tuple,
    clean=lambda notes: tuple(one_line(note, _MAX_MESSAGE) for note in notes),
    text=_note_lines,
)
_GROUPS = Form(
    write=lambda groups, limits: [as_json(group, limits) for group in groups[: limits.groups]],
    read=lambda found: tuple(from_json(ErrorGroup, group) for group in found),
    text=_group_lines,
)
_NO_DATA = _name_list(10, lambda report: _name_lines("no data", report.no_data_names, report.no_data))
_FAILED = _name_list(MAX_NAMES, lambda report: _name_lines("failed", report.failed_names, report.failed))


@dataclass(frozen=True, slots=True)
class FeatureReport:
    """
    Counts per outcome, grouped errors and a few names. The whole table is the Parquet file at ``report_url``.

    ``total`` is always the sum of the six outcomes, and the number of rows of the Parquet file.

    :param total: All features.
    :param delivered: See :class:`FeatureOutcome`, as for the next five.
    :param no_data: Processed, nothing to deliver.
    :param undelivered: DONE, but not delivered.
    :param failed: Given up by the service.
    :param pending: Not processed; includes ``unlisted``.
    :param unknown: With a status this package does not know.
    :param statistics: The table of statistics, where statistics were requested.
    :param reruns: How many reruns of failed features the report covers, beside the original task.
    :param tasks: All these tasks in order; in :meth:`to_dict` the original and the latest nine.
    :param unknown_statuses: Statuses this package does not know and their counts, most frequent first; at most twenty.
    :param unlisted: Features of the manifest the execution database does not mention; 0 where no manifest was read.
    :param duplicates: Names that occur more than once in an execution database; a feature is counted once.
    :param duplicate_names: The first twenty of them, in order of name.
    :param notes: What could not be read and is therefore missing in the table.
    :param error_groups: The twenty largest groups of failed, undelivered and unknown features, largest first.
    :param other_errors: How many such features are in none of the groups.
    :param no_data_names: The first twenty features without data, in the order of the execution database.
    :param failed_names: The first twenty FAILED features, in the order of the execution database.
    :param report_url: Where the table of all features was written, if it was.
    :param cost_pu: Processing units of all features, if the service tells the cost of features and not of tasks.
    """

    total: Annotated[int, Form(text=_outcome_lines)]
    delivered: int = 0
    no_data: int = 0
    undelivered: int = 0
    failed: int = 0
    pending: int = 0
    unknown: int = 0
    statistics: Annotated[StatisticsTable | None, _STATISTICS] = None
    reruns: int = 0
    tasks: Annotated[tuple[TaskCounts, ...], _TASKS] = ()
    unknown_statuses: Annotated[tuple[tuple[str, int], ...], _STATUSES] = ()
    unlisted: Annotated[int, Form(text=_unlisted_lines)] = 0
    duplicates: Annotated[int, Form(text=_duplicate_lines)] = 0
    duplicate_names: Annotated[tuple[str, ...], _name_list(5)] = ()
    notes: Annotated[tuple[str, ...], _NOTES] = ()
    error_groups: Annotated[tuple[ErrorGroup, ...], _GROUPS] = ()
    other_errors: Annotated[int, Form(text=_other_lines)] = 0
    no_data_names: Annotated[tuple[str, ...], _NO_DATA] = ()
    failed_names: Annotated[tuple[str, ...], _FAILED] = ()
    report_url: Annotated[str | None, Form(text=_url_lines)] = None
    cost_pu: Annotated[float | None, _COST] = None

    def __post_init__(self) -> None:
        clean(self)

    @property
    def complete(self) -> bool:
        """Whether every feature was delivered or has no data: nothing failed, is missing, waits or is unclear."""
        return self.delivered + self.no_data == self.total

    def counts(self) -> dict[FeatureOutcome, int]:
        """Return the number of features per outcome, in the order in which they are shown."""
        return {outcome: getattr(self, outcome.value.lower()) for outcome in FeatureOutcome}

    def text(self) -> str:
        """Render a table of outcomes and the grouped errors with names, for a log or terminal."""
        return printable("\n".join(lines(self)), keep="\n")

    def to_dict(self) -> dict[str, Any]:
        """
        Return plain JSON values below 4,000 bytes, small enough for an XCom.

        Counts are always exact. Long texts are cut, and examples, groups and names are left out until it fits; what is
        left out of the groups is added to ``other_errors``.
        """
        for limits in _LIMITS:
            found = {"complete": self.complete, **as_json(self, limits)}
            found["other_errors"] += sum(group.count for group in self.error_groups[limits.groups :])
            if len(json.dumps(found)) < MAX_DICT_BYTES:
                break
        return found

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> FeatureReport:
        """
        Read back what :meth:`to_dict` returned.

        :param found: Its result, also after a round trip through JSON.
        :raises KeyError: It is something else.
        """
        return from_json(cls, found)


def outcome_of(status: str, report: FeatureReport | None) -> Outcome:
    """
    Say what came out of a task.

    :param status: Its terminal status, as the service spells it; DELETED where only the bucket still knows it.
    :param report: Its feature report; needed for DONE and DELETED, not looked at for FAILED and STOPPED.
    :returns: DONE only if nothing failed, is undelivered, unknown or pending; FAILED if not one feature came out and
        none is pending; PARTIAL otherwise.
    :raises ArtifactMissing: The status is DONE and there is no report: DONE alone says nothing about the features.
    :raises InvalidParameter: The status is not a terminal one.
    """
    simple = {"FAILED": Outcome.FAILED, "STOPPED": Outcome.STOPPED, "CANCELED": Outcome.STOPPED}
    if status in simple:
        return simple[status]
    if status == "PARTIAL" and report is None:
        return Outcome.PARTIAL
    if status not in {"DONE", "PARTIAL", "DELETED"}:
        fix = "Wait until the task has ended, then ask again."
        raise InvalidParameter("status", status, "must be DONE, FAILED, STOPPED, PARTIAL, CANCELED or DELETED", fix)
    if report is None:
        raise ArtifactMissing(
            f"The task is {status}, but what it left in the bucket was not read, so nothing is known about its "
            "features. Read the report first; it may appear some minutes after the end of the task."
        )
    if report.complete:
        return Outcome.DONE
    return Outcome.PARTIAL if report.delivered + report.no_data + report.pending else Outcome.FAILED
