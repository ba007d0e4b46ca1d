"""
The retry policy: one pure function of (call, attempt, answer), used by the blocking and the async sender.

Requests are retried after 429, 5xx and connection errors, with backoff and jitter; ``Retry-After`` is in
**milliseconds** here. A call that must not be repeated is retried only if the service certainly did not act on it.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/RateLimiting.html
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.http.call import Call, Received, Repeat
from airflow_provider_sentinelhub.client.http.problems import Problem, Reply, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

RETRY_AFTER_MIN_S = 0.05
_SPURIOUS_400 = ("request body should be non-empty", "missing grant_type parameter")
_NEVER_FITS = "RATE_LIMIT_TOKEN_COUNT_EXCEEDS_CAPACITY"


@dataclass(frozen=True, slots=True)
class Broken:
    """
    There was no answer.

    :param reason: Why, e.g. ``timed out``.
    :param sent: Whether the request may have reached the service.
    """

    reason: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    The state of a call.

    :param number: 1 for the first request.
    :param elapsed: Seconds since the first request.
    :param token_renewed: Whether the token was already renewed for this call.
    """

    number: int = 1
    elapsed: float = 0.0
    token_renewed: bool = False


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """
    How often and how long to retry a call.

    :param attempts: Maximum number of requests for one call.
    :param max_elapsed: Seconds after the first request after which no retry starts.
    :param base: Seconds before the first retry; doubles each time.
    :param cap: Maximum number of seconds between two requests.
    :param retry_after_cap: Maximum ``Retry-After``, in seconds; a longer one is shortened to it.
    :param fresh_for: Seconds during which a 404 for a new id is attributed to a lagging replica.
    """

    attempts: int = 8
    max_elapsed: float = 300.0
    base: float = 0.5
    cap: float = 30.0
    retry_after_cap: float = 120.0
    fresh_for: float = 120.0


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """
    The call succeeded.

    :param value: Its result.
    """

    value: T


@dataclass(frozen=True, slots=True)
class TryAgain:
    """
    Send the call again.

    :param after: Seconds to wait first.
    :param why: The reason, for the log.
    :param renew_token: Get a new token first.
    :param throttled: The service told this client to wait.
    """

    after: float
    why: str
    renew_token: bool = False
    throttled: bool = False


def decide(
    call: Call[T],
    attempt: Attempt,
    answer: Reply | Broken,
    limits: RetryLimits,
    jitter: Callable[[], float] = random.random,
) -> Done[T] | TryAgain:
    """
    Return the result of a call, or that it is to be retried.

    :param call: The call that was sent.
    :param attempt: Its state.
    :param answer: The answer.
    :param limits: How often and how long to retry.
    :param jitter: Returns a number in [0, 1).
    :raises ApiError: The answer is final, or the limits are reached.
    """
    if isinstance(answer, Broken):
        again = TryAgain(_backoff(attempt, limits, jitter), answer.reason)
        return _within(call, attempt, again, limits, acted=answer.sent, status=None)
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return Done(_parsed(call, answer))
    problem = Problem.of(answer, call.secrets)
    retry = _retry_of(attempt, answer, problem, limits, jitter, fresh=call.fresh)
    if retry is None:
        raise refusal(call, answer.status, problem)
    acted = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return _within(call, attempt, retry, limits, acted=acted, status=answer.status, problem=problem)


def token_delay(
    attempt: Attempt, answer: Reply | Broken, limits: RetryLimits, jitter: Callable[[], float] = random.random
) -> float | None:
    """
    Return after how many seconds to retry a request for a token; ``None`` if the answer is final.

    :param attempt: Its state.
    :param answer: The answer.
    :param limits: How often and how long to retry.
    :param jitter: Returns a number in [0, 1).
    """
    if isinstance(answer, Broken):
        after = _backoff(attempt, limits, jitter)
    else:
        again = _retry_of(replace(attempt, token_renewed=True), answer, Problem.of(answer), limits, jitter, fresh=False)
        if again is None:
            return None
        after = again.after
    return after if _worth(attempt, after, limits) else None


def _worth(attempt: Attempt, after: float, limits: RetryLimits) -> bool:
    return attempt.number < limits.attempts and attempt.elapsed + after <= limits.max_elapsed


def _retry_of(
    attempt: Attempt,
    answer: Reply,
    problem: Problem,
    limits: RetryLimits,
    jitter: Callable[[], float],
    *,
    fresh: bool,
) -> TryAgain | None:
    backoff = _backoff(attempt, limits, jitter)
    why = f"{answer.status} {problem.message}"
    match answer.status:
        case HTTPStatus.UNAUTHORIZED if not attempt.token_renewed:
            return TryAgain(0.0, "the token was refused", renew_token=True)
        case HTTPStatus.TOO_MANY_REQUESTS if problem.code != _NEVER_FITS and not problem.is_about_running:
            asked = retry_after(answer.headers, limits)
            # All clients are told the same time: without jitter they would all come back together.
            return TryAgain(asked + backoff * 0.5 if asked is not None else backoff, why, throttled=True)
        case HTTPStatus.NOT_FOUND if fresh and attempt.elapsed < limits.fresh_for:
            return TryAgain(backoff, "404: a replica may not know the new id yet")
        case HTTPStatus.BAD_REQUEST if problem.message.lower().startswith(_SPURIOUS_400):
            return TryAgain(backoff, why)
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return TryAgain(backoff, why)
    return None


def _within(
    call: Call[Any],
    attempt: Attempt,
    again: TryAgain,
    limits: RetryLimits,
    *,
    acted: bool,
    status: int | None,
    problem: Problem | None = None,
) -> TryAgain:
    code = problem.code if problem else None
    if acted and call.repeat is Repeat.NEVER:
        raise errors.OutcomeUnknown(
            f"Could not {call.what}: {again.why}. The service may have carried it out; look for the result "
            "before trying again.",
            status=status,
            code=code,
        )
    if _worth(attempt, again.after, limits):
        return again
    if problem and status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise refusal(call, status, problem)
    raise errors.ServiceUnavailable(
        f"Could not {call.what}: {again.why}. Gave up after {attempt.number} attempts in {attempt.elapsed:.0f} s; "
        "try again later.",
        status=status,
        code=code,
    )


def _backoff(attempt: Attempt, limits: RetryLimits, jitter: Callable[[], float]) -> float:
    full: float = min(limits.cap, limits.base * 2.0 ** min(attempt.number - 1, 63))
    return full * (0.5 + 0.5 * jitter())


def retry_after(headers: Mapping[str, str], limits: RetryLimits) -> float | None:
    """
    Return the seconds that the service asks to wait, within bounds; ``None`` where it does not say.

    :param headers: Headers of the answer, names in lower case.
    :param limits: The longest wait.
    """
    try:
        milliseconds = float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    # In this order, because max() returns its first argument if the other one is NaN.
    return min(max(RETRY_AFTER_MIN_S, milliseconds / 1000.0), limits.retry_after_cap)


def _parsed(call: Call[T], answer: Reply) -> T:
    # A call that must not be repeated was carried out all the same; its result has to be looked for.
    kind = errors.OutcomeUnknown if call.repeat is Repeat.NEVER else errors.UnexpectedAnswer
    if answer.cut_at is not None:
        raise kind(
            f"Could not {call.what}: the service answered {answer.status} with more than {answer.cut_at:,} bytes, "
            "and no more than that is read. If the address in the connection is right, please report it.",
            status=answer.status,
        )
    try:
        if call.sink is not None:
            return call.parse(Received(answer.headers, answer.size))
        decoded = _decoded(answer.body, call.form) if answer.body.strip() else None
        return call.parse(decoded)
    except (ValueError, TypeError, KeyError, RecursionError) as e:
        # Without the cause: pydantic and json errors quote the answer, which may contain credentials.
        raise kind(
            f"Could not {call.what}: the service answered {answer.status} with a body that the API does not "
            f"promise ({type(e).__name__}). If the address in the connection is right, please report it.",
            status=answer.status,
        ) from None


def _decoded(body: bytes, form: Any) -> Any:
    import msgspec

    try:
        # A third of the time of json, for megabytes of items or statistics.
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, RecursionError):
        # It reads some that is not quite JSON, such as NaN, and numbers of any length.
        return json.loads(body)
