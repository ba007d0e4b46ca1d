"""Checks of an operator's own parameters, after templating and before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_sentinelhub.client.errors import InvalidParameter

ON_PARTIAL = ("fail", "warn")
ON_PARTIAL_WITH_RESTART = (*ON_PARTIAL, "restart", "restart_then_warn")


def is_literal(value: object) -> bool:
    """
    Whether a parameter is known when the DAG is parsed: no template, and no other task's output.

    :param value: What was given.
    """
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    return value is None or isinstance(value, (int, float))


def one_of(name: str, value: object, choices: Sequence[str]) -> None:
    """
    Check that a parameter is one of a few words.

    :param name: The parameter.
    :param value: What was given.
    :param choices: The words.
    :raises InvalidParameter: It is none of them.
    """
    if value not in choices:
        raise InvalidParameter(name, value, f"must be one of {', '.join(choices)}", "Correct the operator's parameter.")


def number(name: str, value: object, *, at_least: float) -> None:
    """
    Check that a parameter is a number, or the text of one, or absent.

    :param name: The parameter.
    :param value: What was given.
    :param at_least: The smallest number allowed.
    :raises InvalidParameter: It is not, or too small.
    """
    if value is None:
        return
    try:
        found = float(str(value))
    except ValueError:
        raise InvalidParameter(name, value, "must be a number", "Correct the operator's parameter.") from None
    if not found >= at_least:
        raise InvalidParameter(name, value, f"must be at least {at_least:g}", "Correct the operator's parameter.")
