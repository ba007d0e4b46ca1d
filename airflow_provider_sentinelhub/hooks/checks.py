"""Checks of operator parameters, after templating and before anything is sent."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

ON_PARTIAL = ("fail", "warn")
ON_PARTIAL_WITH_RERUN = (*ON_PARTIAL, "rerun", "rerun_then_warn")


def is_literal(value: object) -> bool:
    """
    Return whether a parameter is known when the DAG is parsed: neither a template nor an XComArg.

    :param value: Its value.
    """
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    return value is None or isinstance(value, (int, float))


def one_of(name: str, value: object, choices: Sequence[str], *, parsing: bool = False) -> None:
    """
    Check that a parameter is one of several words.

    :param name: The parameter.
    :param value: Its value.
    :param choices: The words.
    :param parsing: The DAG is being parsed: skip values that are not known yet.
    :raises InvalidParameter: It is not one of them.
    """
    if parsing and not is_literal(value):
        return
    if value not in choices:
        raise InvalidParameter(name, value, f"must be one of {', '.join(choices)}", "Correct the operator's parameter.")


def flags(**given: object) -> None:
    """
    Check that parameters are True or False: any text would count as true, even ``"no"`` or a template.

    :param given: Values by parameter name.
    :raises InvalidParameter: One of them is neither.
    """
    for name, value in given.items():
        if not isinstance(value, bool):
            fix = f"Write {name}=True or {name}=False, without quotes; it is not templated."
            raise InvalidParameter(name, value, "must be True or False", fix)


def id_of(name: str, value: object, what: str) -> None:
    """
    Check that an id is a string.

    :param name: The parameter.
    :param value: Its value.
    :param what: What it identifies.
    :raises InvalidParameter: It is not a string.
    """
    if not isinstance(value, str):
        fix = "Give the id. Where it is the output of another task, look at what that task returned"
        nothing = ": it was nothing" if value is None else ""
        raise InvalidParameter(name, value, f"must be the id of a {what}, as text", f"{fix}{nothing}.")


def limit(name: str, value: object) -> None:
    """
    Check that a parameter is a duration, or ``None``.

    :param name: The parameter.
    :param value: Its value.
    :raises InvalidParameter: It is neither a timedelta nor a number of seconds, or not above 0.
    """
    if value is None:
        return
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        rule = "must be a timedelta, or a number of seconds, above 0"
        raise InvalidParameter(name, value, rule, "Leave it out for as long as it takes.")


def url(name: str, value: object) -> None:
    """
    Check that a parameter is a string: a template or another task's result may be ``None``.

    :param name: The parameter.
    :param value: Its value.
    :raises InvalidParameter: It is not a string.
    """
    if not isinstance(value, str):
        fix = "Give it as text; where another task's result or a template gives it, look there."
        raise InvalidParameter(name, value, "must be a URL", fix)


def rendered(**given: object) -> None:
    """
    Check that no parameter is still a template: the output of another task may be one.

    :param given: Values by parameter name.
    :raises InvalidParameter: Names each one that is.
    """
    from airflow_provider_sentinelhub.client.preflight.examine import unrendered
    from airflow_provider_sentinelhub.client.requests.findings import Findings

    Findings.of(found for name, value in given.items() for found in unrendered(value, name)).raise_errors()


_SECONDS = ("_interval", "_delay")


def number(name: str, value: object, *, at_least: float, whole: bool = False, parsing: bool = False) -> None:
    """
    Check that a parameter is a number, a string of one, or ``None``.

    :param name: The parameter.
    :param value: Its value.
    :param at_least: The minimum.
    :param whole: Whether it must be a whole number.
    :param parsing: The DAG is being parsed: skip values that are not known yet.
    :raises InvalidParameter: It is not a number, or too small.
    """
    if value is None or (parsing and not is_literal(value)):
        return
    try:
        found = int(str(value)) if whole else float(str(value))
    except ValueError:
        rule = "must be a whole number" if whole else "must be a number"
        fix = "Give seconds, e.g. 60." if name.endswith(_SECONDS) else "Correct the operator's parameter."
        raise InvalidParameter(name, value, rule, fix) from None
    if not found >= at_least:
        raise InvalidParameter(name, value, f"must be at least {at_least:g}", "Correct the operator's parameter.")
