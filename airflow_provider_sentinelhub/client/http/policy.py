"""
What an answer means: one pure function of (call, attempt, answer), shared by the sync and the async sender.

429 and 5xx and broken connections are tried again, with backoff and jitter; ``Retry-After`` is in
**milliseconds** here. A call that may not be repeated is repeated only where the service surely did not act.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/RateLimiting.html
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.http.call import Call, Repeat
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
    No answer arrived.

    :param reason: What happened, e.g. ``timed out``.
    :param sent: Whether the request may have reached the service.
    """

    reason: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    How far a call has come.

    :param number: 1 for the first sending.
    :param elapsed: Seconds since the first sending.
    :param token_renewed: Whether the token was already renewed for this call.
    """

    number: int = 1
    elapsed: float = 0.0
    token_renewed: bool = False


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """
    How long a call is worth trying.

    :param attempts: Sendings of one call at most.
    :param max_elapsed: Seconds from the first sending after which no new one starts.
    :param base: Seconds before the second sending; doubles each time.
    :param cap: Seconds between two sendings at most.
    :param retry_after_cap: Longest ``Retry-After`` that is waited for, in seconds.
    :param fresh_for: Seconds during which a 404 on a fresh id is taken for a lagging replica.
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

    :param value: What it returned.
    """

    value: T


@dataclass(frozen=True, slots=True)
class TryAgain:
    """
    Send the call again.

    :param after: Seconds to wait first.
    :param why: What went wrong, for the log.
    :param renew_token: Get a new token first.
    :param throttled: The service asked every request of this account to wait.
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
    Say what to do next with a call.

    :param call: The call that was sent.
    :param attempt: How far it has come.
    :param answer: What came back.
    :param limits: How long it is worth trying.
    :param jitter: Gives a number in [0, 1).
    :raises ApiError: The answer is final, or trying has taken long enough.
    """
    if isinstance(answer, Broken):
        again = TryAgain(_backoff(attempt, limits, jitter), answer.reason)
        return _within(call, attempt, again, limits, acted=answer.sent, status=None)
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return Done(_parsed(call, answer))
    problem = Problem.of(answer, call.secrets)
    retry = _rerun_of(attempt, answer, problem, limits, jitter, fresh=call.fresh)
    if retry is None:
        raise refusal(call, answer.status, problem)
    acted = answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return _within(call, attempt, retry, limits, acted=acted, status=answer.status, problem=problem)


def token_delay(
    attempt: Attempt, answer: Reply | Broken, limits: RetryLimits, jitter: Callable[[], float] = random.random
) -> float | None:
    """
    Say after how many seconds to ask a token endpoint again, or ``None`` when its answer is final.

    :param attempt: How far the asking has come.
    :param answer: What came back.
    :param limits: How long it is worth trying.
    :param jitter: Gives a number in [0, 1).
    """
    if isinstance(answer, Broken):
        after = _backoff(attempt, limits, jitter)
    else:
        again = _rerun_of(replace(attempt, token_renewed=True), answer, Problem.of(answer), limits, jitter, fresh=False)
        if again is None:
            return None
        after = again.after
    return after if _worth(attempt, after, limits) else None


def _worth(attempt: Attempt, after: float, limits: RetryLimits) -> bool:
    return attempt.number < limits.attempts and attempt.elapsed + after <= limits.max_elapsed


def _rerun_of(
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
        case HTTPStatus.TOO_MANY_REQUESTS if problem.code != _NEVER_FITS:
            asked = retry_after(answer.headers, limits)
            # Everybody was told the same moment: without jitter everybody would come back together.
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
    # In this order, for max() returns its first argument where the other one is not a number.
    return min(max(RETRY_AFTER_MIN_S, milliseconds / 1000.0), limits.retry_after_cap)


def _parsed(call: Call[T], answer: Reply) -> T:
    # What may not be repeated was done all the same; its result has to be looked for.
    kind = errors.OutcomeUnknown if call.repeat is Repeat.NEVER else errors.UnexpectedAnswer
    if answer.cut_at is not None:
        raise kind(
            f"Could not {call.what}: the service answered {answer.status} with more than {answer.cut_at:,} bytes, "
            "and no more than that is read. If the address in the connection is right, please report it.",
            status=answer.status,
        )
    try:
        decoded = json.loads(answer.body) if answer.body.strip() else None
        return call.parse(decoded)
    except (ValueError, TypeError, KeyError, RecursionError) as e:
        # The cause is cut off: pydantic and json errors quote the answer, which may echo credentials.
        raise kind(
            f"Could not {call.what}: the service answered {answer.status} with a body that the API does not "
            f"promise ({type(e).__name__}). If the address in the connection is right, please report it.",
            status=answer.status,
        ) from None
