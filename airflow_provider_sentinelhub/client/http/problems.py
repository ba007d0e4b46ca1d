"""
Error bodies of the service, and the exceptions for them.

Bodies differ: JSON with or without the ``error`` envelope, OAuth style, plain text, or empty.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_sentinelhub.client.http.call import Call

# Of an action that the task's status does not allow, or no longer.
_ILLEGAL = re.compile("illegal to change userAction|only requests with status .* can be restarted", re.IGNORECASE)
# Not a rate: requests that take minutes have to end first.
_ALL_RUNNING = re.compile("maximum number of concurrent .*requests", re.IGNORECASE)
_OUT_OF_UNITS = "ACCESS_INSUFFICIENT_PROCESSING_UNITS"
_SHOWN = 500
_VIOLATIONS = 20
ERROR_BYTES = 1024 * 1024
"""Maximum number of bytes read of an error's body."""


@dataclass(frozen=True, slots=True)
class Reply:
    """
    An HTTP answer.

    :param status: HTTP status.
    :param headers: Headers, names in lower case.
    :param body: The raw body; it may contain secrets, so it is never shown. Empty if it was written to a sink.
    :param cut_at: Number of bytes after which reading stopped; ``None`` if the body is complete.
    :param size: Number of bytes that were written to a sink.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    cut_at: int | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """
    The content of an error body.

    :param message: The service's message, shortened, with secrets masked.
    :param code: The service's error code, if there is one.
    :param violations: The first parameters it names.
    :param more: Number of further ones.
    """

    message: str
    code: str | None = None
    violations: tuple[errors.Violation, ...] = ()
    more: int = 0

    @property
    def is_about_running(self) -> bool:
        """Whether it says that the account already runs as many requests as it may."""
        return _ALL_RUNNING.search(self.message) is not None

    @property
    def named(self) -> str:
        """The parameters, one per line."""
        lines = [f"\n  {each.parameter}: {each.violation}" for each in self.violations]
        return "".join([*lines, f"\n  and {self.more:,} more"] if self.more else lines)

    @classmethod
    def of(cls, answer: Reply, secrets: tuple[str, ...] = ()) -> Problem:
        """
        Read an error body: JSON with or without the ``error`` envelope, OAuth style, plain text, or empty.

        :param answer: The answer.
        :param secrets: Values that must not appear in messages.
        """
        text, decoded = _read(answer.body, secrets)
        if not isinstance(decoded, dict):
            return cls(_short(decoded if isinstance(decoded, str) else text) or _phrase(answer.status))
        envelope = decoded.get("error")
        inner = envelope if isinstance(envelope, dict) else decoded
        message = inner.get("message") or decoded.get("error_description") or decoded.get("description") or envelope
        code = inner.get("code")
        if code is None and isinstance(envelope, str):
            code = envelope
        named = _violations(inner.get("errors"))
        return cls(
            _short(str(message or text)),
            _short(str(code)) if code else None,
            tuple(
                errors.Violation(*(_short(str(entry.get(name, ""))) for name in ("parameter", "violation")))
                for entry in named[:_VIOLATIONS]
            ),
            len(named[_VIOLATIONS:]),
        )


def _read(body: bytes, secrets: tuple[str, ...]) -> tuple[str, Any]:
    # JSON can spell a character in several ways. Dumped again, there is only one to look for.
    text = body.decode("utf-8", "replace").strip()
    spelled = [json.dumps(secret, ensure_ascii=False)[1:-1] for secret in secrets]
    try:
        text = _masked(json.dumps(json.loads(text), ensure_ascii=False), spelled)
        return text, json.loads(text)
    except (ValueError, RecursionError):
        text = _masked(text, [*secrets, *spelled])
        return text, text


def _masked(text: str, secrets: Sequence[str]) -> str:
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # proxies use statuses of their own, e.g. 520
        return "no explanation"


def _violations(entries: Any) -> list[dict[str, Any]]:
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _short(text: str) -> str:
    return one_line(text, _SHOWN)


def _limit(problem: Problem) -> tuple[type[errors.ApiError], str]:
    if problem.is_about_running:
        return errors.TooManyRunning, "Wait until one of the account's requests has ended"
    return errors.RateLimited, "Spread the requests, or raise the account's rate limit"


def refusal(call: Call[Any], status: int, problem: Problem) -> errors.ApiError:
    """
    Return the error for a final answer.

    :param call: The call.
    :param status: HTTP status.
    :param problem: The content of the answer.
    """
    said = f"Could not {call.what}: the service answered {status}: {problem.message}"
    kind: type[errors.ApiError]
    advice: str
    match status:
        case HTTPStatus.UNAUTHORIZED:
            kind, advice = (
                errors.AuthenticationError,
                "A new token was refused as well: check that token URL and base URL belong to the same deployment",
            )
        case HTTPStatus.FORBIDDEN if problem.code == _OUT_OF_UNITS or "processing units" in problem.message.lower():
            kind, advice = (
                errors.InsufficientProcessingUnits,
                "Top up the account's processing units; a batch needs at least 1000, or what the service reserves",
            )
        case HTTPStatus.FORBIDDEN:
            kind, advice = errors.PermissionDenied, "Check that the account's plan includes this API"
        case HTTPStatus.NOT_FOUND:
            kind, advice = errors.NotFound, "Check the id, and that it belongs to this account and deployment"
        case HTTPStatus.CONFLICT:
            kind, advice = errors.Conflict, call.conflict
        case HTTPStatus.TOO_MANY_REQUESTS:
            kind, advice = _limit(problem)
        case HTTPStatus.BAD_REQUEST if _ILLEGAL.search(problem.message):
            kind, advice = errors.IllegalAction, "Read the task's status again"
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            kind, advice = errors.ServiceUnavailable, "Try again later"
        case _ if status < HTTPStatus.BAD_REQUEST:
            kind, advice = errors.UnexpectedAnswer, "Check the base URL in the connection: the API does not redirect"
        case _:
            kind, advice = errors.InvalidRequest, "Correct the request"
    return kind(
        f"{said.rstrip('.')}. {advice}.{problem.named}",
        status=status,
        code=problem.code,
        violations=problem.violations,
    )
