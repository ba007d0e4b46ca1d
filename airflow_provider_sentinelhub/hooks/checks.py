"""Checks of an operator's own parameters, after templating and before anything is sent."""

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
    Whether a parameter is known when the DAG is parsed: no template, and no other task's output.

    :param value: What was given.
    """
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    return value is None or isinstance(value, (int, float))


def one_of(name: str, value: object, choices: Sequence[str], *, parsing: bool = False) -> None:
    """
    Check that a parameter is one of a few words.

    :param name: The parameter.
    :param value: What was given.
    :param choices: The words.
    :param parsing: The DAG is being parsed: pass over what is not known by then.
    :raises InvalidParameter: It is none of them.
    """
    if parsing and not is_literal(value):
        return
    if value not in choices:
        raise InvalidParameter(name, value, f"must be one of {', '.join(choices)}", "Correct the operator's parameter.")


def flags(**given: object) -> None:
    """
    Check that parameters are True or False: any text counts as true, ``"no"`` and a template as well.

    :param given: What was given, by name.
    :raises InvalidParameter: One of them is something else.
    """
    for name, value in given.items():
        if not isinstance(value, bool):
            fix = f"Write {name}=True or {name}=False, without quotes; it is not templated."
            raise InvalidParameter(name, value, "must be True or False", fix)


def id_of(name: str, value: object, what: str) -> None:
    """
    Check that there is an id at all.

    :param name: The parameter.
    :param value: What was given.
    :param what: What it is the id of.
    :raises InvalidParameter: It is no text.
    """
    if not isinstance(value, str):
        fix = "Give the id. Where it is the output of another task, look at what that task returned"
        nothing = ": it was nothing" if value is None else ""
        raise InvalidParameter(name, value, f"must be the id of a {what}, as text", f"{fix}{nothing}.")


def limit(name: str, value: object) -> None:
    """
    Check that a parameter is a time that something may take, or absent.

    :param name: The parameter.
    :param value: What was given.
    :raises InvalidParameter: It is neither a timedelta nor seconds, or not above 0.
    """
    if value is None:
        return
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        rule = "must be a timedelta, or a number of seconds, above 0"
        raise InvalidParameter(name, value, rule, "Leave it out for as long as it takes.")


def url(name: str, value: object) -> None:
    """
    Check that a parameter holds text, where a template or another task's result may have given nothing.

    :param name: The parameter.
    :param value: What was given.
    :raises InvalidParameter: It does not.
    """
    if not isinstance(value, str):
        fix = "Give it as text; where another task's result or a template gives it, look there."
        raise InvalidParameter(name, value, "must be a URL", fix)


def rendered(**given: object) -> None:
    """
    Check that no parameter is still a template, as the output of another task may be.

    :param given: What was given, by name.
    :raises InvalidParameter: Some are; names each.
    """
    from airflow_provider_sentinelhub.client.preflight.templates import unrendered
    from airflow_provider_sentinelhub.client.requests.findings import Findings

    Findings.of(found for name, value in given.items() for found in unrendered(value, name)).raise_errors()


_SECONDS = ("_interval", "_delay")


def number(name: str, value: object, *, at_least: float, whole: bool = False, parsing: bool = False) -> None:
    """
    Check that a parameter is a number, or the text of one, or absent.

    :param name: The parameter.
    :param value: What was given.
    :param at_least: The smallest number allowed.
    :param whole: Whether it must be a whole one.
    :param parsing: The DAG is being parsed: pass over what is not known by then.
    :raises InvalidParameter: It is not, or too small.
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
