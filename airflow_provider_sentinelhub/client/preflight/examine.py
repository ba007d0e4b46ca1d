"""All checks of a request that need no service and no bucket."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.preflight.payload import check_payload
from airflow_provider_sentinelhub.client.preflight.periods import period_rule
from airflow_provider_sentinelhub.client.preflight.templates import unrendered
from airflow_provider_sentinelhub.client.requests.findings import Finding, Findings, Json, Rule, each_of

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

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
    found = Findings.of(itertools.chain(_apply(rules, body, deployment), check_payload(written)))
    # Other errors about a template, or about what contains it, are consequences.
    raw = Findings.of(unrendered(written) if sent_at else iter(()))
    shape = tuple(error for error in shape if not any(_is_one_in_the_other(error, each) for each in raw.errors))
    known = (*raw.errors, *shape)
    others = tuple(error for error in found.errors if not any(_is_within(error.field, each.field) for each in known))
    return Examined(body, Findings((*known, *others), (*raw.warnings, *found.warnings)))


def _apply(rules: tuple[Rule, ...], body: Json, deployment: Deployment | None) -> Iterator[Finding]:
    for rule in rules:
        yield from rule(body, deployment)


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
