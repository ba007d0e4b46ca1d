"""
Checks of operators' parameters: when the DAG is parsed, as far as they are known then, and before anything is sent.

A class names the rule of each of its parameters in ``rules``; :class:`CheckedParametersMixin` applies them. A rule
returns the value as Python's own, e.g. a number of numpy as an int.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar

from airflow_provider_sentinelhub.client.as_json import own_number
from airflow_provider_sentinelhub.client.errors import InvalidParameter

ON_PARTIAL = ("fail", "warn")
ON_PARTIAL_WITH_RERUN = (*ON_PARTIAL, "rerun", "rerun_then_warn")
ON_PARTIAL_WITH_RESTART = (*ON_PARTIAL, "restart", "restart_then_warn")

Rule = Callable[[str, Any], Any]
"""Takes a parameter's name and value, and returns the value or raises :class:`InvalidParameter`."""

_FIX = "Correct the operator's parameter."
_ELSEWHERE = "Give it as text; where another task's result or a template gives it, look there."
_SECONDS = ("_interval", "_delay")
_LONGEST_S = timedelta.max.total_seconds()


class CheckedParametersMixin:
    """Base of everything that checks its parameters."""

    template_fields: Sequence[str]
    rules: ClassVar[Mapping[str, Rule]] = {}
    """The rules of a class's own parameters, by name; those of its bases apply as well."""
    may_hold_braces: ClassVar[frozenset[str]] = frozenset()
    """Parameters in which braces need not be a template."""

    def check_parameters(self, *, parsing: bool) -> None:
        """
        Check the parameters that are set so far, and make their values Python's own.

        :param parsing: Whether the DAG is being parsed: templates and other tasks' results are not known yet.
        :raises InvalidParameter: Names each parameter that is invalid, its value, the rule and the fix.
        """
        if not parsing:
            self.check_rendered()
        if problems := self.make_own(parsing=parsing):
            raise problems[0].with_others(problems[1:])

    def make_own(self, *, parsing: bool = False) -> list[InvalidParameter]:
        """
        Make the values of the parameters Python's own; return the errors of those that are invalid and stay unchanged.

        :param parsing: As for :meth:`check_parameters`. Default ``False``.
        """
        problems = []
        for name, rule in _rules_of(type(self)).items():
            if name not in vars(self):
                continue
            value = getattr(self, name)
            if parsing and name in self.template_fields and not is_known(value):
                continue
            try:
                checked = rule(name, value)
            except InvalidParameter as e:
                problems.append(e)
            else:
                if checked is not value:
                    setattr(self, name, checked)
        return problems

    def check_rendered(self) -> None:
        """
        Check that no parameter is still a template.

        :raises InvalidParameter: Names each one that is.
        """
        braced = [name for name in self.template_fields if name not in self.may_hold_braces]
        rendered(**{name: getattr(self, name) for name in braced})


def _rules_of(cls: type) -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    for base in reversed(cls.__mro__):
        found |= vars(base).get("rules", {})
    return found


def is_known(value: object) -> bool:
    """
    Return whether a templated parameter is known when the DAG is parsed: it is no template, result or function.

    :param value: Its value.
    """
    if isinstance(value, str):
        return not any(mark in value for mark in ("{{", "{%", "{#"))
    return not callable(value) and (isinstance(value, os.PathLike) or not hasattr(value, "resolve"))


def one_of(name: str, value: Any, choices: Sequence[str]) -> str:
    """
    Check that a parameter is one of several words.

    :param name: The parameter.
    :param value: Its value.
    :param choices: The words.
    :raises InvalidParameter: It is not one of them.
    """
    if not isinstance(value, str) or value not in choices:
        raise InvalidParameter(name, value, f"must be one of {', '.join(choices)}", _FIX)
    return value


def flag(name: str, value: Any) -> bool:
    """
    Check that a parameter is True or False: any text would count as true, even ``"no"`` or a template.

    :param name: The parameter.
    :param value: Its value.
    :raises InvalidParameter: It is neither.
    """
    found = own_number(value)
    if not isinstance(found, bool):
        fix = f"Write {name}=True or {name}=False, without quotes; it is not templated."
        raise InvalidParameter(name, value, "must be True or False", fix)
    return found


def id_of(name: str, value: Any, what: str, *, optional: bool = False) -> str | None:
    """
    Check that an id is a string.

    :param name: The parameter.
    :param value: Its value.
    :param what: What it identifies.
    :param optional: Whether it may be ``None``.
    :raises InvalidParameter: It is not a string.
    """
    if optional and value is None:
        return None
    if not isinstance(value, str):
        fix = "Give the id. Where it is the output of another task, look at what that task returned"
        nothing = ": it was nothing" if value is None else ""
        raise InvalidParameter(name, value, f"must be the id of a {what}, as text", f"{fix}{nothing}.")
    return value


def limit(name: str, value: Any) -> Any:
    """
    Check that a parameter is a duration, or ``None``.

    :param name: The parameter.
    :param value: Its value.
    :raises InvalidParameter: It is neither a timedelta nor a number of seconds, or not above 0.
    """
    if value is None:
        return None
    found = own_number(value)
    seconds = found.total_seconds() if isinstance(found, timedelta) else found
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST_S:
        rule = "must be a timedelta, or a number of seconds, above 0"
        raise InvalidParameter(name, value, rule, "Leave it out for as long as it takes.")
    return found


def text(name: str, value: Any, what: str, *, optional: bool = False) -> Any:
    """
    Check that a parameter is a string or a path: a template or another task's result may be ``None``.

    :param name: The parameter.
    :param value: Its value.
    :param what: What it is, e.g. ``a URL``.
    :param optional: Whether it may be ``None``.
    :raises InvalidParameter: It is something else.
    """
    if optional and value is None:
        return None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, str):
        raise InvalidParameter(name, value, f"must be {what}", _ELSEWHERE)
    return value


def number(
    name: str,
    value: Any,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    whole: bool = False,
    finite: bool = True,
    optional: bool = False,
    may_be_empty: bool = False,
) -> Any:
    """
    Check that a parameter is a number, or a string of one.

    :param name: The parameter.
    :param value: Its value.
    :param at_least: The minimum.
    :param above: What it must be more than.
    :param whole: Whether it must be a whole number.
    :param finite: Whether infinity is refused.
    :param optional: Whether it may be ``None``.
    :param may_be_empty: Whether an empty string, which a template may render to, counts as ``None``.
    :raises InvalidParameter: It is not a number, or too small.
    """
    if (optional and value is None) or (may_be_empty and isinstance(value, str) and not value):
        return None
    found = _read(own_number(value), whole=whole)
    if found is None or math.isnan(found) or (finite and math.isinf(found)):
        fix = "Give seconds, e.g. 60." if name.endswith(_SECONDS) else _FIX
        raise InvalidParameter(name, value, f"must be a {'whole ' if whole else ''}number", fix)
    if not found >= at_least:
        raise InvalidParameter(name, value, f"must be at least {at_least:g}", _FIX)
    if not found > above:
        raise InvalidParameter(name, value, f"must be more than {above:g}", _FIX)
    return found


def _read(value: Any, *, whole: bool) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        # An int may be larger than any float.
        found = value if isinstance(value, int) and float(value) else float(value)
        if whole:
            return int(found) if found == int(found) else None
    except (ValueError, OverflowError):
        return None
    return found


def request(name: str, value: Any) -> Any:
    """
    Check that a parameter may be a request; what is in it is checked before it is sent.

    :param name: The parameter.
    :param value: Its value.
    :raises InvalidParameter: It is no mapping, text or path, and has no payload.
    """
    if isinstance(value, str) and not value.endswith(".json") and not value.lstrip("\ufeff \t\r\n").startswith("{"):
        rule, fix = "is neither JSON nor the path of a .json file", "Give a dict, its JSON text, or such a path."
        raise InvalidParameter(name, value, rule, fix)
    if isinstance(value, (Mapping, str, os.PathLike)) or isinstance(getattr(value, "payload", None), Mapping):
        return value
    rule = "must be a request: a dict, its JSON text, or the path of a .json file"
    nothing = "Where another task gives it, look at what that task returned." if value is None else "Give one of them."
    raise InvalidParameter(name, value, rule, nothing)


def geometries(name: str, value: Any) -> Any:
    """
    Check that a parameter may be geometries, or is ``None``; each is checked when it is read.

    :param name: The parameter.
    :param value: Its value.
    :raises InvalidParameter: It is neither text, bytes, a geometry nor a collection.
    """
    if value is None or isinstance(value, (str, bytes, Iterable)) or hasattr(value, "__geo_interface__"):
        return value
    raise InvalidParameter(name, value, "must be geometries", "Give a dict of them by name, a list, or one.")


def columns(name: str, value: Any) -> Any:
    """
    Check that a parameter may be a dict of names, or is ``None``.

    :param name: The parameter.
    :param value: Its value.
    :raises InvalidParameter: It is neither a dict nor the text of one.
    """
    if value is None or isinstance(value, Mapping) or _is_text_of(value, "{"):
        return value
    raise InvalidParameter(name, value, "must be a dict of names", 'Write e.g. columns={"identifier": "field_id"}.')


def query_parameters(name: str, value: Any) -> Any:
    """
    Check that a parameter may be a list or a dict, or is ``None``.

    :param name: The parameter.
    :param value: Its value.
    :raises InvalidParameter: It is neither of them nor the text of one.
    """
    is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if value is None or is_list or isinstance(value, Mapping) or _is_text_of(value, "{[("):
        return value
    raise InvalidParameter(name, value, "must be a list or a dict, as the query needs", "Write e.g. parameters=[2026].")


def files(name: str, value: Any) -> Any:
    """
    Check that a parameter may be the URL of a file or a list of them, or is ``None``.

    :param name: The parameter.
    :param value: Its value.
    :raises InvalidParameter: It is something else.
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or (isinstance(value, Sequence) and not isinstance(value, bytes)):
        return value
    raise InvalidParameter(
        name, value, "must be the URL of a file, or a list of them", "Write e.g. s3://bucket/a.gpkg."
    )


def _is_text_of(value: Any, openings: str) -> bool:
    """Return whether a value may be what a template has rendered a list or dict, or nothing, to."""
    return isinstance(value, str) and (not value.strip() or value.lstrip()[0] in openings)


def rendered(**given: object) -> None:
    """
    Check that no parameter is still a template: the output of another task may be one.

    :param given: Values by parameter name.
    :raises InvalidParameter: Names each one that is.
    """
    from airflow_provider_sentinelhub.client.preflight.examine import unrendered
    from airflow_provider_sentinelhub.client.requests.findings import Findings

    Findings.of(found for name, value in given.items() for found in unrendered(value, name)).raise_errors()


CONNECTION: Rule = partial(id_of, what="connection")
OPTIONAL_CONNECTION: Rule = partial(id_of, what="connection", optional=True)
BATCH_TASK: Rule = partial(id_of, what="batch task")
SECONDS: Rule = partial(number, at_least=0)
LIMIT_IN_PU: Rule = partial(number, at_least=1, finite=False, optional=True)
URL: Rule = partial(text, what="a URL")
OPTIONAL_URL: Rule = partial(text, what="a URL", optional=True)
IDENTIFIER_COLUMN: Rule = partial(text, what="the name of a column", optional=True)
LAYER: Rule = partial(text, what="the name of a layer", optional=True)
OPTIONAL_COUNT: Rule = partial(number, at_least=1, whole=True, optional=True, may_be_empty=True)
