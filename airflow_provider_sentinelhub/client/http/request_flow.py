"""
The request flow: the steps that send a Call or run a procedure, as generators that do no I/O.

The flow decides everything (token, retry, throttle, parsing); a sender only carries out its steps. So no endpoint and
no policy is written twice.
"""

from __future__ import annotations

import json
import logging
import random
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_sentinelhub.client.errors import ApiError
from airflow_provider_sentinelhub.client.http.call import Pause
from airflow_provider_sentinelhub.client.http.policy import Attempt, Broken, Done, RetryLimits, decide
from airflow_provider_sentinelhub.client.http.problems import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from airflow_provider_sentinelhub.client.http.call import Call, Procedure, Sink
    from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress

T = TypeVar("T")

log = logging.getLogger(__name__)

# Everybody was told the same moment; they should not all come back at it.
_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class NeedToken:
    """
    Step: return a valid token, or an :class:`ApiError` that says why there is none.

    :param refused: A token the service has just refused.
    """

    refused: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """
    Step: wait.

    :param seconds: How long.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class Exchange:
    """
    Step: send a request and return the answer.

    :param method: HTTP method.
    :param url: Full URL.
    :param query: Query parameters.
    :param headers: Headers, including the token.
    :param body: Encoded body, if any.
    :param patience_s: Read timeout: seconds without a byte of the answer.
    :param total_s: Total timeout: seconds until the answer must be complete.
    :param max_bytes: Maximum size of the answer in bytes, decompressed.
    :param sink: Where the body of a successful answer is written; ``None`` to return it.
    """

    method: str
    url: str
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    patience_s: float
    total_s: float
    max_bytes: int
    sink: Sink | None = field(default=None, repr=False)


FlowStep = NeedToken | Wait | Exchange
Answer = str | Reply | Broken | None


class Throttle:
    """Applies the wait of a 429 to all callers of the same client in this process."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def delay(self) -> float:
        """Return the seconds to wait before the next request, with some jitter."""
        held = max(0.0, self._free_at - time.monotonic())
        return held * random.uniform(1.0, 1.0 + _SPREAD)

    def hold(self, seconds: float) -> None:
        """
        Make all callers wait.

        :param seconds: How long.
        """
        self._free_at = max(self._free_at, time.monotonic() + seconds)


def call_flow(
    call: Call[T],
    address: ServiceAddress,
    limits: RetryLimits,
    throttle: Throttle,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[FlowStep, Answer, T]:
    """
    Yield the steps that send a call; return its result.

    :param call: The call.
    :param address: The service's address.
    :param limits: How often and how long to retry.
    :param throttle: Shared by all senders of the same client.
    :param clock: Returns seconds.
    :raises ApiError: The service refused the request, or retries did not help.
    """
    started, attempt, refused = clock(), Attempt(), None
    body = None if call.body is None else json.dumps(call.body, allow_nan=False).encode()
    while True:
        while (held := throttle.delay()) > 0:
            yield Wait(held)
        token = yield NeedToken(refused)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        if call.accept is not None:
            headers["Accept"] = call.accept
        url = address.url(call.service, call.path)
        answer = yield Exchange(
            call.method, url, dict(call.query), headers, body, call.patience_s, call.total_s, call.max_bytes, call.sink
        )
        if not isinstance(answer, (Reply, Broken)):
            raise TypeError(f"a sender answered an exchange with {type(answer).__name__}")
        attempt = replace(attempt, elapsed=clock() - started)
        # An answer may echo the token.
        verdict = decide(replace(call, secrets=(*call.secrets, str(token))), attempt, answer, limits)
        if isinstance(verdict, Done):
            return verdict.value
        log.debug("%s: %s; retrying in %.1f s", call.what, verdict.why, verdict.after)
        if verdict.throttled:
            throttle.hold(verdict.after)
        elif verdict.after:
            yield Wait(verdict.after)
        refused = str(token) if verdict.renew_token else None
        attempt = replace(
            attempt, number=attempt.number + 1, token_renewed=attempt.token_renewed or verdict.renew_token
        )


def procedure_flow(
    procedure: Procedure[T], address: ServiceAddress, limits: RetryLimits, throttle: Throttle
) -> Generator[FlowStep, Answer, T]:
    """
    Yield the steps that run a procedure; return its result.

    :param procedure: The procedure.
    :param address: The service's address.
    :param limits: How often and how long to retry each Call.
    :param throttle: Shared by all senders of the same client.
    :raises ApiError: A Call failed, and the procedure did not handle the error.
    """
    result: Any = None
    error: ApiError | None = None
    while True:
        try:
            wanted = procedure.throw(error) if error else procedure.send(result)
        except StopIteration as end:
            final: T = end.value
            return final
        result = error = None
        if isinstance(wanted, Pause):
            yield Wait(wanted.seconds)
            continue
        try:
            result = yield from call_flow(wanted, address, limits, throttle)
        except ApiError as e:
            error = e
