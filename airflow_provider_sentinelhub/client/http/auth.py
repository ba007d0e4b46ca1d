"""
OAuth2 client credentials: one valid token per client in a process.

Source: https://docs.planet.com/develop/authentication/
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlencode, urlsplit

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.http.deployments import check_address
from airflow_provider_sentinelhub.client.http.policy import Attempt, Broken, RetryLimits, token_delay
from airflow_provider_sentinelhub.client.http.problems import Problem, Reply
from airflow_provider_sentinelhub.client.http.request_flow import Exchange, Throttle, Wait
from airflow_provider_sentinelhub.client.http.transport import (
    drive,
    drive_async,
    exchange,
    exchange_async,
    open_async_session,
    open_session,
)

_PATIENCE_S = 30.0
_TOTAL_S = 60.0
_MAX_BYTES = 64 * 1024
_EARLY_S = 120.0
_DEFAULT_TTL_S = 600.0
# Characters allowed in a header.
_TOKEN = re.compile(r"[!-~]+")
# Answers of a token endpoint about the client; any other comes from something else.
_OF_THE_CLIENT = frozenset({400, 401, 403})


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """
    The credentials of a client, and its token endpoint.

    :param client_id: OAuth2 client id.
    :param client_secret: OAuth2 client secret; never shown.
    :param token_url: Token endpoint.
    :param name: Their name in messages, e.g. the id of the connection.
    """

    client_id: str
    client_secret: str = field(repr=False)
    token_url: str
    name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    renew_at: float


_Outcome = _Token | Reply | Broken
_Asking = Generator[Exchange | Wait, Reply | Broken | None, _Outcome]


class TokenSource:
    """
    Keeps one valid token and renews it before it expires; safe to share between threads and event loops.

    Callers that need a token while one is being fetched wait for that fetch and share its outcome, even an error: if
    the token endpoint is down, a hundred waiting tasks do not send a hundred requests.

    If the service tells one sender of this client to wait, all of them wait: see ``throttle``.

    :param credentials: The client's credentials.
    :param limits: How long a failing token endpoint is worth trying.
    """

    def __init__(self, credentials: ClientCredentials, limits: RetryLimits | None = None) -> None:
        self.credentials = credentials
        self._limits = limits or RetryLimits()
        self._token: _Token | None = None
        self._lock = threading.Lock()
        self._latest: _Outcome | None = None
        self._fetching: dict[asyncio.AbstractEventLoop, asyncio.Task[_Outcome]] = {}
        self.throttle = Throttle()

    def live(self, *, refused: str | None = None) -> str | None:
        """
        Return the token if there is a valid one, without waiting.

        :param refused: A token the service has just refused; it is not valid, whatever its expiry.
        """
        token = self._token
        if token is None or token.value == refused or time.monotonic() >= token.renew_at:
            return None
        return token.value

    def get(self, *, refused: str | None = None) -> str:
        """
        Return a valid token, fetching one if needed; blocking.

        :param refused: A token the service has just refused.
        :raises AuthenticationError: The client id or secret is wrong.
        :raises ServiceUnavailable: The token endpoint kept failing.
        """
        latest = self._latest
        if (live := self.live(refused=refused)) is not None:
            return live
        with self._lock:
            if (live := self.live(refused=refused)) is not None:
                return live
            if (outcome := self._latest) is None or outcome is latest:
                with open_session() as session:
                    outcome = self._keep(drive(self._asking(), partial(exchange, session)))
            return self._taken(outcome)

    async def aget(self, *, refused: str | None = None) -> str:
        """
        Return a valid token, fetching one if needed, without blocking the event loop and without a thread.

        The fetch does not belong to a caller: if the caller is cancelled or times out, it continues for the others.

        :param refused: A token the service has just refused.
        :raises AuthenticationError: The client id or secret is wrong.
        :raises ServiceUnavailable: The token endpoint kept failing.
        """
        if (live := self.live(refused=refused)) is not None:
            return live
        loop = asyncio.get_running_loop()
        fetching = self._fetching.get(loop)
        if fetching is None:
            fetching = self._fetching[loop] = loop.create_task(self._fetch())
            # Runs before the waiting callers continue, so that none of them gets the same outcome twice.
            fetching.add_done_callback(lambda _: self._fetching.pop(loop))
        return self._taken(await asyncio.shield(fetching))

    async def _fetch(self) -> _Outcome:
        # Not the session of a caller, which may be closed before this ends.
        async with open_async_session(self.credentials.token_url) as session:
            return self._keep(await drive_async(self._asking(), partial(exchange_async, session)))

    def _asking(self) -> _Asking:
        return _ask(self.credentials, self._limits)

    def _keep(self, outcome: _Outcome) -> _Outcome:
        self._latest = outcome
        if isinstance(outcome, _Token):
            self._token = outcome
        return outcome

    def _taken(self, outcome: _Outcome) -> str:
        if isinstance(outcome, _Token):
            return outcome.value
        # One exception for each caller: raised in several places, it would collect all their tracebacks.
        raise self._refusal(outcome)

    def _refusal(self, answer: Reply | Broken) -> errors.ApiError:
        # Not the whole URL: if it comes from a connection, Airflow masks it in its logs.
        host = urlsplit(self.credentials.token_url).netloc
        whose = f"Connection {self.credentials.name!r}: could" if self.credentials.name else "Could"
        where = f"{whose} not get a token from {host}"
        if isinstance(answer, Broken):
            return errors.ServiceUnavailable(f"{where}: {answer.reason}. Check the token URL, or try again later.")
        if answer.status < 300:  # noqa: PLR2004 - HTTP
            # The body is not quoted: it may contain a token under another name.
            return errors.UnexpectedAnswer(
                f"{where}: it answered {answer.status} without a token. Check the token URL in the connection.",
                status=answer.status,
            )
        problem = Problem.of(answer, (self.credentials.client_secret,))
        said = f"{where}: it answered {answer.status}: {problem.message}"
        if answer.status >= 500 or answer.status == 429:  # noqa: PLR2004 - HTTP
            return errors.ServiceUnavailable(f"{said}. Try again later.", status=answer.status, code=problem.code)
        check = "the client id and the client secret in the connection, and that they belong to this deployment"
        if answer.status not in _OF_THE_CLIENT:
            check = "the token URL in the connection"
        return errors.AuthenticationError(
            f"{said}. Check {check}.",
            status=answer.status,
            code=problem.code,
        )


_sources: dict[ClientCredentials, TokenSource] = {}
_sources_lock = threading.Lock()


def token_source(credentials: ClientCredentials) -> TokenSource:
    """
    Return this process's only token source for a client.

    :param credentials: The client's credentials.
    """
    with _sources_lock:
        return _sources.setdefault(credentials, TokenSource(credentials))


def _ask(credentials: ClientCredentials, limits: RetryLimits) -> _Asking:
    check_address("token URL", credentials.token_url)
    form = {
        "grant_type": "client_credentials",
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    asking = Exchange(
        "POST", credentials.token_url, {}, headers, urlencode(form).encode(), _PATIENCE_S, _TOTAL_S, _MAX_BYTES
    )
    started, number = time.monotonic(), 1
    while True:
        answer = yield asking
        if not isinstance(answer, (Reply, Broken)):
            raise TypeError(f"a sender answered an exchange with {type(answer).__name__}")
        if (token := _token_in(answer)) is not None:
            return token
        delay = token_delay(Attempt(number, time.monotonic() - started), answer, limits)
        if delay is None:
            return answer
        yield Wait(delay)
        number += 1


def _token_in(answer: Reply | Broken) -> _Token | None:
    if isinstance(answer, Broken) or answer.status >= 300:  # noqa: PLR2004 - HTTP
        return None
    try:
        decoded = json.loads(answer.body)
        value, given = decoded["access_token"], decoded.get("expires_in")
        ttl = _DEFAULT_TTL_S if given is None else float(given)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
    if not isinstance(value, str) or not _TOKEN.fullmatch(value) or not math.isfinite(ttl):
        return None
    ttl = ttl if ttl > 0 else _DEFAULT_TTL_S
    return _Token(value, time.monotonic() + ttl - min(_EARLY_S, ttl / 5))
