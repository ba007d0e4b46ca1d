"""
The answer for every feature: how many were delivered, and what became of the others.

The service calls a task DONE even if features failed for good. :func:`outcome_of` says what really came out of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from airflow_provider_sentinelhub.artifacts.report.causes import CauseKind
from airflow_provider_sentinelhub.artifacts.report.text import render
from airflow_provider_sentinelhub.client.errors import ArtifactMissing, InvalidParameter
from airflow_provider_sentinelhub.client.text import one_line, printable

MAX_NAMES = 20
MAX_DICT_BYTES = 4000

_MAX_MESSAGE = 1000
_MAX_TEXT = 200
_MAX_STATUSES = 5
_MAX_RERUNS = 9
# Groups, examples per group and names, from the fullest form to the barest: the first that fits is taken.
_LEVELS = ((20, 3, 20), (20, 1, 20), (10, 3, 10), (10, 1, 10), (5, 1, 5), (3, 1, 3), (1, 1, 1), (0, 0, 0))


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

    outcome: FeatureOutcome
    message: str
    count: int
    examples: tuple[str, ...] = ()
    kind: CauseKind = CauseKind.UNKNOWN
    hint: str = ""

    def __post_init__(self) -> None:
        # What features are called, and what the service says of them, is shown from here on, and nothing else.
        object.__setattr__(self, "message", one_line(self.message, _MAX_MESSAGE))
        object.__setattr__(self, "examples", _printable(self.examples))
        object.__setattr__(self, "hint", one_line(self.hint, _MAX_MESSAGE))


@dataclass(frozen=True, slots=True)
class RoundCounts:
    """
    One of the tasks about the same features: the original, or a rerun of what was lost.

    :param task_id: Its id.
    :param total: Features in its execution database, each row counted; ``None`` if it could not be read.
    :param delivered: Those it delivered.
    :param no_data: Those it found no data for.
    :param last_word: Features of the report on which it has the last word. Over all rounds these add up to the report's
        ``total``; features only the manifest mentions are with the original task.
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


_STATISTICS = tuple(each.name for each in fields(StatisticsTable))


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
    :param unknown_statuses: Those statuses and their counts, most frequent first; at most twenty.
    :param unlisted: Features of the manifest the execution database does not mention; 0 where no manifest was read.
    :param duplicates: Names that occur more than once in an execution database; a feature is counted once.
    :param duplicate_names: The first twenty of them, in order of name.
    :param error_groups: The twenty largest groups of failed, undelivered and unknown features, largest first.
    :param other_errors: How many such features are in none of the groups.
    :param failed_names: The first twenty FAILED features, in the order of the execution database.
    :param no_data_names: The first twenty features without data, in the order of the execution database.
    :param report_url: Where the table of all features was written, if it was.
    :param statistics: What was asked for was statistics: the table of them.
    :param notes: What could not be read and therefore is missing in the table.
    :param rounds: How many tasks the report is about: 1, and one more for each rerun.
    :param tasks: Those tasks in order; in :meth:`to_dict` the original and the latest nine.
    """

    total: int
    delivered: int = 0
    no_data: int = 0
    undelivered: int = 0
    failed: int = 0
    pending: int = 0
    unknown: int = 0
    unknown_statuses: tuple[tuple[str, int], ...] = ()
    unlisted: int = 0
    duplicates: int = 0
    duplicate_names: tuple[str, ...] = ()
    error_groups: tuple[ErrorGroup, ...] = ()
    other_errors: int = 0
    failed_names: tuple[str, ...] = ()
    no_data_names: tuple[str, ...] = ()
    report_url: str | None = None
    statistics: StatisticsTable | None = None
    notes: tuple[str, ...] = ()
    rounds: int = 1
    tasks: tuple[RoundCounts, ...] = ()

    def __post_init__(self) -> None:
        for name in ("duplicate_names", "failed_names", "no_data_names"):
            object.__setattr__(self, name, _printable(getattr(self, name)))
        object.__setattr__(self, "notes", tuple(one_line(note, _MAX_MESSAGE) for note in self.notes))
        statuses = tuple((printable(status), count) for status, count in self.unknown_statuses)
        object.__setattr__(self, "unknown_statuses", statuses)

    @property
    def complete(self) -> bool:
        """Whether every feature was delivered or has no data: nothing failed, is missing, waits or is unclear."""
        return self.delivered + self.no_data == self.total

    def counts(self) -> dict[FeatureOutcome, int]:
        """Return the number of features per outcome, in the order in which they are shown."""
        return {outcome: getattr(self, outcome.value.lower()) for outcome in FeatureOutcome}

    def text(self) -> str:
        """Render a table of outcomes and the grouped errors with names, for a log or terminal."""
        return render(self)

    def to_dict(self) -> dict[str, Any]:
        """
        Return plain JSON values below 4,000 bytes, small enough for an XCom.

        Counts are always exact. Long texts are cut, and examples, groups and names are left out until it fits; what is
        left out of the groups is added to ``other_errors``.
        """
        for groups, examples, names in _LEVELS:
            found = self._as_dict(groups, examples, names)
            if len(json.dumps(found)) < MAX_DICT_BYTES:
                break
        return found

    def _as_dict(self, groups: int, examples: int, names: int) -> dict[str, Any]:
        left_out = sum(group.count for group in self.error_groups[groups:])
        return {
            "complete": self.complete,
            "total": self.total,
            **{outcome.value.lower(): count for outcome, count in self.counts().items()},
            "unknown_statuses": [[_cut(name), count] for name, count in self.unknown_statuses[:_MAX_STATUSES]],
            "unlisted": self.unlisted,
            "duplicates": self.duplicates,
            "duplicate_names": [_cut(name) for name in self.duplicate_names[: min(names, 5)]],
            "error_groups": [
                {
                    "outcome": group.outcome.value,
                    "message": _cut(group.message),
                    "count": group.count,
                    "examples": [_cut(name) for name in group.examples[:examples]],
                    "kind": group.kind.value,
                    "hint": _cut(group.hint),
                }
                for group in self.error_groups[:groups]
            ],
            "other_errors": self.other_errors + left_out,
            "failed_names": [_cut(name) for name in self.failed_names[:names]],
            "no_data_names": [_cut(name) for name in self.no_data_names[: min(names, 10)]],
            "report_url": self.report_url,
            **(asdict(self.statistics) if self.statistics else {}),
            "notes": [_cut(note) for note in self.notes[:3]] if names else [],
            "rounds": self.rounds,
            "tasks": [asdict(task) for task in (self.tasks[:1] + self.tasks[1:][-_MAX_RERUNS:])],
        }

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> FeatureReport:
        """
        Read back what :meth:`to_dict` returned.

        :param found: Its result, also after a round trip through JSON.
        :raises KeyError: It is something else.
        """
        names = {outcome.value.lower() for outcome in FeatureOutcome}
        whole = {key: int(found[key]) for key in names | {"total", "unlisted", "duplicates", "other_errors", "rounds"}}
        return cls(
            **whole,
            unknown_statuses=tuple((name, count) for name, count in found["unknown_statuses"]),
            duplicate_names=tuple(found["duplicate_names"]),
            error_groups=tuple(
                ErrorGroup(
                    FeatureOutcome(group["outcome"]),
                    group["message"],
                    group["count"],
                    tuple(group["examples"]),
                    CauseKind(group["kind"]),
                    group["hint"],
                )
                for group in found["error_groups"]
            ),
            failed_names=tuple(found["failed_names"]),
            no_data_names=tuple(found["no_data_names"]),
            report_url=found["report_url"],
            statistics=StatisticsTable(**{name: found[name] for name in _STATISTICS})
            if _STATISTICS[0] in found
            else None,
            notes=tuple(found["notes"]),
            tasks=tuple(RoundCounts(**task) for task in found["tasks"]),
        )


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


def _printable(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(printable(name) for name in names)


def _cut(text: str) -> str:
    """Shorten a text by what it takes in JSON, where a character outside ASCII takes six bytes or twelve."""
    size = len(json.dumps(text))
    if size <= _MAX_TEXT:
        return text
    kept = text[: _MAX_TEXT - 5]
    while len(json.dumps(kept)) > _MAX_TEXT - 3:
        kept = kept[: len(kept) * 9 // 10]
    return f"{kept}..."
