"""
What can be known about any request without network: its JSON, its templates, its shape and the rules of its API.

Source: https://docs.planet.com/develop/apis/batch-processing/reference/
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.preflight.data import period_rule
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Findings, Json, Rule, each_of

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

LARGE_BYTES = 1_000_000
_SHOWN = 5


def check_payload(written: Any) -> Iterator[Finding]:
    """
    Find nulls, numbers that JSON cannot express, and an unusual size.

    :param written: The request as the user wrote it: the models would silently leave out such a number.
    """
    for path, value in _unusable(written, ()):
        if value is None:
            yield InvalidParameter(path, None, "must not be null: the service refuses nulls", "Leave it out.")
        else:
            yield InvalidParameter(path, value, "cannot be written in JSON", "Correct the number.")
    try:
        size = len(json.dumps(written, default=str).encode())
    except (ValueError, TypeError, RecursionError):
        return
    if size > LARGE_BYTES:
        yield Advice(
            "request",
            f"is {size / 1e6:,.1f} MB large; the service publishes no limit, but has refused large requests",
            "Simplify the geometry, or put the areas into a GeoPackage as features.",
        )


def _unusable(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield paths and values; a few per list."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            # A null field is removed before the request is sent; a null in a list cannot be.
            if item is not None:
                yield from _unusable(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        shown = 0
        for number, item in enumerate(value):
            for found in _unusable(item, (*path, str(number))):
                yield found
                shown += 1
                if shown == _SHOWN:
                    return
    elif value is None or (isinstance(value, float) and not math.isfinite(value)):
        yield ".".join(path), value


_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_RULE = (
    "is a template that was not rendered: Airflow renders templates in the DAG file, but not in what another task "
    "returned"
)
_FIX = "Render it in the task that returns it, or write the parameter in the DAG file."
_FREE_TEXT = "description"
_SCRIPT = "evalscript"


def unrendered(value: Any, *path: str) -> Iterator[Finding]:
    """
    Find templates in a value; braces in an evalscript are JavaScript.

    :param value: JSON.
    :param path: Its path in the request.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str) and _JINJA.search(key):
                yield InvalidParameter(
                    ".".join((*path, key)), key, _RULE, "Airflow does not render keys. Build the dict in a task."
                )
            elif key != _SCRIPT:
                yield from unrendered(item, *path, str(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from unrendered(item, *path, str(number))
    elif isinstance(value, str) and _JINJA.search(value):
        field = ".".join(path) or "request"
        if path and path[-1] == _FREE_TEXT:
            yield Advice(field, f"{value!r} {_RULE}", _FIX)
        else:
            yield InvalidParameter(field, value, _RULE, _FIX)


_TEXTS = frozenset({"evalscript", "description", "url", "identifier"})


@dataclass(frozen=True, slots=True)
class Examined:
    """
    A request that was checked.

    :param body: The JSON to send, if there is no error.
    :param findings: Errors and warnings.
    """

    body: dict[str, Any]
    findings: Findings

    def accepted(self) -> dict[str, Any]:
        """
        Return the JSON to send.

        :raises InvalidParameter: There are errors; the message names all of them.
        """
        self.findings.raise_errors()
        return self.body


def examine(
    request: Any,
    check: Callable[[Any], dict[str, Any]],
    rules: tuple[Rule, ...],
    deployment: Deployment | None = None,
    sent_at: datetime | None = None,
) -> Examined:
    """
    Find everything that is wrong with a request at once.

    The request is first checked against the models. If that fails, the rules are still applied to what can be read.

    :param request: The service's own request as a dict, or as the JSON text of one.
    :param check: Checks it against the models and returns the JSON to send, or raises :class:`InvalidParameter`.
    :param rules: Further rules.
    :param deployment: Where the request will be sent; ``None`` if that is not known.
    :param sent_at: When it is sent; ``None`` if it is only checked, so that templates may still be rendered.
    """
    shape: tuple[InvalidParameter, ...] = ()
    written = _readable(request)
    try:
        body = check(request)
    except InvalidParameter as e:
        shape = each_of(e)
        body = written if isinstance(written, dict) else {}
    rules = (*rules, period_rule(sent_at))
    found = Findings.of(itertools.chain(_apply(rules, body, deployment, misshapen=bool(shape)), check_payload(written)))
    # Other errors about a template, or about what contains it, are consequences.
    raw = Findings.of(unrendered(written) if sent_at else iter(()))
    shape = tuple(error for error in shape if not any(_is_one_in_the_other(error, each) for each in raw.errors))
    known = (*raw.errors, *shape)
    others = tuple(error for error in found.errors if not any(_is_within(error.field, each.field) for each in known))
    return Examined(body, Findings((*known, *others), (*raw.warnings, *found.warnings)))


def _apply(rules: tuple[Rule, ...], body: Json, deployment: Deployment | None, *, misshapen: bool) -> Iterator[Finding]:
    for rule in rules:
        try:
            yield from rule(body, deployment)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError):
            # A value that the models refuse can be of any type; what is wrong with it is reported already.
            if not misshapen:
                raise


def _is_one_in_the_other(error: InvalidParameter, other: InvalidParameter) -> bool:
    return _is_within(error.field, other.field) or _is_within(other.field, error.field)


def _is_within(field: str, other: str) -> bool:
    return field == other or field.startswith(f"{other}.") or other == "request"


def _readable(value: Any, name: str = "") -> Any:
    """Return a request with strings that templating made of lists and dicts converted back, as by the models."""
    from airflow_provider_sentinelhub.client.models import from_text

    value = value if name in _TEXTS else from_text(value)
    if isinstance(value, Mapping):
        return {str(key): _readable(item, str(key)) for key, item in value.items() if item is not None}
    return [_readable(item, name) for item in value] if isinstance(value, (list, tuple)) else value
