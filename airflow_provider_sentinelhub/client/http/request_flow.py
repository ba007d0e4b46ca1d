"""
What it takes to carry a Call or a procedure out, as a conversation that does no I/O.

It decides everything (token, retry, throttle, parsing); a sender only carries out its steps. So no endpoint and no
policy exists twice.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_sentinelhub.client.errors import ApiError
from airflow_provider_sentinelhub.client.http.call import Pause
from airflow_provider_sentinelhub.client.http.policy import Attempt, Broken, Done, RetryLimits, decide
from airflow_provider_sentinelhub.client.http.problems import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from airflow_provider_sentinelhub.client.http.call import Call, Procedure
    from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress
    from airflow_provider_sentinelhub.client.http.throttle import Throttle

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NeedToken:
    """
    Step: give me a live token, or say with an :class:`ApiError` why there is none.

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
    Step: send this and give me the answer.

    :param method: HTTP method.
    :param url: Full address.
    :param query: Query parameters.
    :param headers: Headers, the token among them.
    :param body: Encoded body, if any.
    :param patience_s: Seconds for which the service may be silent.
    :param total_s: Seconds after which an answer that is still coming is given up.
    :param max_bytes: Bytes of the answer that are read at most, decompressed.
    """

    method: str
    url: str
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    patience_s: float
    total_s: float
    max_bytes: int


Step = NeedToken | Wait | Exchange
Answer = str | Reply | Broken | None


def converse(
    call: Call[T],
    address: ServiceAddress,
    limits: RetryLimits,
    throttle: Throttle,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[Step, Answer, T]:
    """
    Yield the steps that carry a call out; return its result.

    :param call: What to do.
    :param address: Where.
    :param limits: How long it is worth trying.
    :param throttle: Shared with all callers of the same account.
    :param clock: Gives seconds.
    :raises ApiError: The service said no.
    """
    started, attempt, refused = clock(), Attempt(), None
    body = None if call.body is None else json.dumps(call.body, allow_nan=False).encode()
    while True:
        while (held := throttle.delay()) > 0:
            yield Wait(held)
        token = yield NeedToken(refused)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        url = address.url(call.service, call.path)
        answer = yield Exchange(
            call.method, url, dict(call.query), headers, body, call.patience_s, call.total_s, call.max_bytes
        )
        if not isinstance(answer, (Reply, Broken)):
            raise TypeError(f"a sender answered an exchange with {type(answer).__name__}")
        attempt = replace(attempt, elapsed=clock() - started)
        # An answer may echo the token, too.
        verdict = decide(replace(call, secrets=(*call.secrets, str(token))), attempt, answer, limits)
        if isinstance(verdict, Done):
            return verdict.value
        log.debug("%s: %s; again in %.1f s", call.what, verdict.why, verdict.after)
        if verdict.throttled:
            throttle.hold(verdict.after)
        elif verdict.after:
            yield Wait(verdict.after)
        refused = str(token) if verdict.renew_token else None
        attempt = replace(
            attempt, number=attempt.number + 1, token_renewed=attempt.token_renewed or verdict.renew_token
        )


def perform(
    procedure: Procedure[T], address: ServiceAddress, limits: RetryLimits, throttle: Throttle
) -> Generator[Step, Answer, T]:
    """
    Yield the steps that carry a procedure out; return its result.

    :param procedure: What to do.
    :param address: Where.
    :param limits: How long each of its Calls is worth trying.
    :param throttle: Shared with all callers of the same account.
    :raises ApiError: The service said no, and the procedure had no use for that.
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
            result = yield from converse(wanted, address, limits, throttle)
        except ApiError as e:
            error = e
