"""
Filters in CQL2, as text and as JSON: comparisons joined by ``and``, and nothing else.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Catalog.html (filter)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_sentinelhub.simulator.apis.catalog.problems import invalid

LONGEST = 10_000
MOST_LEVELS = 50
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|'(?P<text>(?:[^']|'')*)'|\"(?P<quoted>[^\"]+)\""
    r"|(?P<name>[A-Za-z_][\w:.-]*)|(?P<sign><=|>=|<>|[=<>()]))"
)
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    A property, and what it is compared with.

    :param name: The property.
    :param operator: One of :data:`COMPARISONS`.
    :param value: A number or a text.
    """

    name: str
    operator: str
    value: float | str

    def holds(self, properties: Mapping[str, Any]) -> bool:
        """
        Say whether it holds for an item; not if the item has no such property.

        :param properties: Of the item.
        """
        own = properties.get(self.name)
        if own is None or isinstance(own, str) != isinstance(self.value, str):
            return False
        return COMPARISONS[self.operator](own, self.value)


@dataclass(frozen=True, slots=True)
class _Property:
    name: str


def read_filter(given: Any, language: Any, queryables: Collection[str]) -> list[Comparison]:
    """
    Read a filter; all of its comparisons have to hold.

    :param given: CQL2.
    :param language: ``cql2-text``, which is the default, or ``cql2-json``.
    :param queryables: The properties that may be compared.
    :raises Problem: 400.
    """
    if given is None:
        return []
    if language in (None, "cql2-text") and isinstance(given, str):
        if len(given) > LONGEST:
            raise invalid("Filter is too long.")
        found = _Text(given).read()
    elif language == "cql2-json" and isinstance(given, Mapping):
        found = _of_json(given, 0)
    else:
        raise invalid("Filter does not match filter-lang.")
    for each in found:
        if each.name not in queryables:
            raise invalid(f"Filtering by property {each.name} is not supported.")
    return found


def _compared(sign: str, left: Any, right: Any) -> Comparison:
    if isinstance(right, _Property) and not isinstance(left, _Property):
        sign, left, right = _FLIPPED.get(sign, sign), right, left
    is_value = isinstance(right, (str, int, float)) and not isinstance(right, bool)
    if not isinstance(left, _Property) or not is_value:
        raise invalid("A comparison needs a property and a value.")
    return Comparison(left.name, sign, right)


def _of_json(given: Any, levels: int) -> list[Comparison]:
    sign, operands = (given.get("op"), given.get("args")) if isinstance(given, Mapping) else (None, None)
    if not isinstance(sign, str) or not isinstance(operands, list) or levels > MOST_LEVELS:
        raise invalid("Filter is not a valid CQL2 JSON expression.")
    if sign == "and":
        return [found for each in operands for found in _of_json(each, levels + 1)]
    read = [
        _Property(str(each["property"])) if isinstance(each, dict) and "property" in each else each for each in operands
    ]
    if sign in COMPARISONS and len(read) == 2:  # noqa: PLR2004 - both sides
        return [_compared(sign, *read)]
    if sign == "between" and len(read) == 3:  # noqa: PLR2004 - and both ends
        return [_compared(">=", read[0], read[1]), _compared("<=", read[0], read[2])]
    raise invalid(f"Operator {sign} is not supported.")


def _of_operand(given: Any) -> Any:
    return _Property(str(given["property"])) if isinstance(given, dict) and "property" in given else given


class _Text:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, Any]] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None or match.lastgroup is None:
                raise invalid(f"Filter cannot be parsed at position {at}.")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        self._at = 0

    def read(self) -> list[Comparison]:
        found = self._conjunction(0)
        if self._at < len(self._tokens):
            raise invalid(f"Filter cannot be parsed: {self._peek()[1]} is not supported here.")
        return found

    def _peek(self) -> tuple[str, Any]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "its end")

    def _is(self, word: str) -> bool:
        kind, value = self._peek()
        return kind in {"name", "sign"} and value.lower() == word

    def _take(self, word: str) -> None:
        if not self._is(word):
            raise invalid(f"Filter cannot be parsed: {word} is missing before {self._peek()[1]}.")
        self._at += 1

    def _conjunction(self, levels: int) -> list[Comparison]:
        found = self._comparison(levels)
        while self._is("and"):
            self._at += 1
            found += self._comparison(levels)
        return found

    def _comparison(self, levels: int) -> list[Comparison]:
        if self._is("(") and levels < MOST_LEVELS:
            self._at += 1
            found = self._conjunction(levels + 1)
            self._take(")")
            return found
        left = self._operand()
        if self._is("between"):
            self._at += 1
            low = self._operand()
            self._take("and")
            return [_compared(">=", left, low), _compared("<=", left, self._operand())]
        kind, sign = self._peek()
        if kind != "sign" or sign not in COMPARISONS:
            raise invalid(f"Filter cannot be parsed: {sign} is not a supported operator.")
        self._at += 1
        return [_compared(sign, left, self._operand())]

    def _operand(self) -> Any:
        kind, value = self._peek()
        self._at += 1
        if kind == "number":
            return float(value)
        if kind == "text":
            return value.replace("''", "'")
        if kind in {"name", "quoted"}:
            return _Property(value)
        raise invalid(f"Filter cannot be parsed: there is {value} where a property or a value belongs.")
