"""
Group error messages: thousands of failures usually have a handful of causes.

Messages that differ only in the feature's name, ids, numbers or coordinates fall into one group. HTTP status codes are
kept, because 403 and 500 are different causes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.report.causes import Cause, cause_of
from airflow_provider_sentinelhub.artifacts.report.report import ErrorGroup
from airflow_provider_sentinelhub.client.text import printable

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.report.report import FeatureOutcome

MAX_GROUPS = 20
MAX_EXAMPLES = 3
NO_MESSAGE = "(no message)"

# A bound on memory, not on what is shown: 700,000 features may fail with as many messages that nothing unites.
_MAX_OPEN_GROUPS = 5000
_MAX_CACHE = 5000
_MAX_MESSAGE = 1000
_SHORTEST_NAME = 4
_FEATURE = "<feature>"

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_VARIABLE = re.compile(
    r"(?P<keep>\b(?:HTTP(?:/\d(?:\.\d)?)?|[Ss]tatus|[Cc]ode)\b[^\d\n]{0,12}[1-5]\d\d\b|\b[45]\d\d (?=[A-Z][a-z]+\b))"
    # What Amazon calls a request by, twice.
    r"|(?P<id>(?:(?<=Request ID: )|(?<=RequestId>)|(?<=HostId>))[\w+/=-]+"
    r"|\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b|\b0x[0-9a-fA-F]+|\b[0-9a-fA-F]{16,}\b"
    # Names of scenes: long words with a date.
    r"|\b(?=\w{0,60}\d{8})\w{20,}\b)"
    rf"|(?P<number>{_NUMBER}(?:[\s,;()\[\]]+{_NUMBER})*)"
)
_PLACES = {"id": "<id>", "number": "<n>"}


def normalised(message: str, name: str = "") -> str:
    """
    Take out of a message what differs between features with the same problem.

    :param message: The service's message.
    :param name: Name of the feature; names shorter than four characters are not looked for.
    """
    return " ".join(_VARIABLE.sub(_place, without_name(message[:_MAX_MESSAGE], name)).split())


def without_name(message: str, name: str) -> str:
    """
    Take the feature's name out of a message.

    :param message: The service's message.
    :param name: Name of the feature; names shorter than four characters are not looked for.
    """
    return message.replace(name, _FEATURE) if len(name) >= _SHORTEST_NAME else message


def _place(found: re.Match[str]) -> str:
    return _PLACES.get(found.lastgroup or "", found[0])


@dataclass(slots=True)
class _Group:
    count: int
    examples: list[str]
    # The exact message while all agree: nothing needs to be taken out of a message that never differs.
    exact: str | None
    cause: Cause


@dataclass(slots=True)
class ErrorGroups:
    """Collects messages feature by feature in bounded memory; counts are exact, and so is the count of the rest."""

    _groups: dict[tuple[FeatureOutcome, str], _Group] = field(default_factory=dict)
    _cache: dict[str, str] = field(default_factory=dict)
    _rest: int = 0

    def add(self, outcome: FeatureOutcome, name: str, message: str | None) -> None:
        """
        Count one feature.

        :param outcome: Its outcome; the same message under two outcomes makes two groups.
        :param name: Its name.
        :param message: Its message, if it has one.
        """
        # Before anything is taken out of it: half a sequence that steers a terminal is no longer known for one.
        name, text = printable(name), printable(message[:_MAX_MESSAGE]).strip() if message else ""
        key = (outcome, self._normalised(text, name) if text else NO_MESSAGE)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= _MAX_OPEN_GROUPS:
                self._rest += 1
                return
            self._groups[key] = _Group(1, [name], text or NO_MESSAGE, cause_of(without_name(text, name)))
            return
        group.count += 1
        if len(group.examples) < MAX_EXAMPLES:
            group.examples.append(name)
        if group.exact is not None and group.exact != (text or NO_MESSAGE):
            group.exact = None

    def result(self) -> tuple[tuple[ErrorGroup, ...], int]:
        """Return the largest groups, largest first and then by message, and how many features are in none of them."""
        ranked = sorted(self._groups.items(), key=lambda item: (-item[1].count, item[0]))
        shown = tuple(
            ErrorGroup(
                outcome,
                group.exact or message,
                group.count,
                tuple(group.examples),
                group.cause.kind,
                group.cause.hint,
            )
            for (outcome, message), group in ranked[:MAX_GROUPS]
        )
        return shown, self._rest + sum(group.count for _, group in ranked[MAX_GROUPS:])

    def _normalised(self, message: str, name: str) -> str:
        message = without_name(message, name)
        known = self._cache.get(message)
        if known is None:
            known = normalised(message)
            if len(self._cache) < _MAX_CACHE:
                self._cache[message] = known
        return known
