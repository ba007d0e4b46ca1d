"""
Senders: they run request flows over HTTP, one blocking, one async.

The time and the size of every answer are limited here. The limit is on decompressed bytes: 1.5 MB of gzip can hold
4.6 GB.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, TypeVar

from airflow_provider_sentinelhub.client.errors import ApiError
from airflow_provider_sentinelhub.client.http.policy import Broken, RetryLimits
from airflow_provider_sentinelhub.client.http.problems import ERROR_BYTES, Reply
from airflow_provider_sentinelhub.client.http.request_flow import (
    Answer,
    Exchange,
    FlowStep,
    NeedToken,
    Throttle,
    Wait,
    call_flow,
    procedure_flow,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable

    import aiohttp
    import requests

    from airflow_provider_sentinelhub.client.http.call import Call, Procedure
    from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress

T = TypeVar("T")
S = TypeVar("S")
A = TypeVar("A")

CONNECT_TIMEOUT_S = 10.0
_CHUNK = 64 * 1024


class Tokens(Protocol):
    """What a sender needs of the token source: fetching a token takes an exchange, so the source depends on us."""

    throttle: Throttle

    def get(self, *, refused: str | None = None) -> str:
        """Return a valid token, blocking."""

    async def aget(self, *, refused: str | None = None) -> str:
        """Return a valid token."""


class Sender:
    """
    Sends Calls and runs procedures, blocking; for hooks and operators.

    :param address: The service's address.
    :param tokens: Source of tokens.
    :param limits: How often and how long to retry a call.
    """

    def __init__(self, address: ServiceAddress, tokens: Tokens, limits: RetryLimits | None = None) -> None:
        self.address = address
        self._tokens = tokens
        self._limits = limits or RetryLimits()
        self._session = open_session()

    def send(self, call: Call[T]) -> T:
        """
        Send a call and return its result.

        :param call: The call.
        :raises ApiError: The service refused the request, or retries did not help.
        """
        return drive(call_flow(call, self.address, self._limits, self._tokens.throttle), self._carry_out)

    def run(self, procedure: Procedure[T]) -> T:
        """
        Run a procedure and return its result.

        :param procedure: The procedure.
        :raises ApiError: A Call failed, and the procedure did not handle the error.
        """
        return drive(procedure_flow(procedure, self.address, self._limits, self._tokens.throttle), self._carry_out)

    def _carry_out(self, step: FlowStep) -> Answer | ApiError:
        if not isinstance(step, NeedToken):
            return exchange(self._session, step)
        try:
            return self._tokens.get(refused=step.refused)
        except ApiError as e:
            return e

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class AsyncSender:
    """
    Sends Calls and runs procedures without blocking the event loop; for triggers.

    :param address: The service's address.
    :param tokens: Source of tokens.
    :param session: An open session, owned by the caller.
    :param limits: How often and how long to retry a call.
    """

    def __init__(
        self,
        address: ServiceAddress,
        tokens: Tokens,
        session: aiohttp.ClientSession,
        limits: RetryLimits | None = None,
    ) -> None:
        self.address = address
        self._tokens = tokens
        self._session = session
        self._limits = limits or RetryLimits()

    async def send(self, call: Call[T]) -> T:
        """
        Send a call and return its result.

        :param call: The call.
        :raises ApiError: The service refused the request, or retries did not help.
        """
        return await drive_async(call_flow(call, self.address, self._limits, self._tokens.throttle), self._carry_out)

    async def run(self, procedure: Procedure[T]) -> T:
        """
        Run a procedure and return its result.

        :param procedure: The procedure.
        :raises ApiError: A Call failed, and the procedure did not handle the error.
        """
        flow = procedure_flow(procedure, self.address, self._limits, self._tokens.throttle)
        return await drive_async(flow, self._carry_out)

    async def _carry_out(self, step: FlowStep) -> Answer | ApiError:
        if not isinstance(step, NeedToken):
            return await exchange_async(self._session, step)
        try:
            return await self._tokens.aget(refused=step.refused)
        except ApiError as e:
            return e


def drive(flow: Generator[S, A, T], carry_out: Callable[[S], A | ApiError]) -> T:
    """
    Run a request flow, blocking; return its result.

    :param flow: Yields steps.
    :param carry_out: Carries out one step; an error it returns is raised in the flow.
    """
    # A generator that has not started accepts nothing but None.
    answer: A | ApiError = None  # type: ignore[assignment]
    while True:
        try:
            step = flow.throw(answer) if isinstance(answer, ApiError) else flow.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = carry_out(step)


async def drive_async(flow: Generator[S, A, T], carry_out: Callable[[S], Awaitable[A | ApiError]]) -> T:
    """
    Run a request flow without blocking the event loop; return its result.

    :param flow: Yields steps.
    :param carry_out: Carries out one step; an error it returns is raised in the flow.
    """
    answer: A | ApiError = None  # type: ignore[assignment]  # as above
    while True:
        try:
            step = flow.throw(answer) if isinstance(answer, ApiError) else flow.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = await carry_out(step)


def open_session() -> requests.Session:
    """Open a session for :func:`exchange`."""
    import requests

    session = requests.Session()
    # Without this, requests would replace the token with the credentials for the host in ~/.netrc.
    session.auth = lambda request: request
    return session


def open_async_session(url: str, *, limit_per_host: int = 0) -> aiohttp.ClientSession:
    """
    Open a session for :func:`exchange_async`.

    :param url: URL of the host it is used for; the environment may name a proxy for it.
    :param limit_per_host: Maximum number of connections; 0 for no limit.
    """
    import aiohttp
    from requests.utils import get_environ_proxies, select_proxy

    # Not trust_env: aiohttp would look up the host in ~/.netrc for every request, and then reject our token.
    proxy = select_proxy(url, get_environ_proxies(url))
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit_per_host=limit_per_host), proxy=proxy)


def exchange(session: requests.Session, step: Exchange | Wait) -> Reply | Broken | None:
    """
    Send a request and read its answer, or wait.

    :param session: From :func:`open_session`.
    :param step: The step.
    """
    import requests
    from urllib3.exceptions import HTTPError

    if isinstance(step, Wait):
        time.sleep(step.seconds)
        return None
    ends = time.monotonic() + step.total_s
    try:
        with session.request(
            step.method,
            step.url,
            params=step.query,
            headers=step.headers,
            data=step.body,
            timeout=(CONNECT_TIMEOUT_S, step.patience_s),
            allow_redirects=False,
            stream=True,
        ) as response:
            body = _Body(step, response.status_code)
            # Not iter_content, which waits for a whole chunk, however slowly it arrives.
            while not body.is_cut and (chunk := response.raw.read1(_CHUNK, decode_content=True)):
                body.take(chunk)
                if time.monotonic() > ends:
                    return Broken(f"the answer was not complete after {step.total_s:.0f} s", sent=True)
            return body.reply(response.headers.items())
    except requests.RequestException as e:
        # The text of a requests error contains the URL with its query; the class name says enough.
        return Broken(type(e).__name__, sent=not _never_left(e))
    except HTTPError as e:
        return Broken(type(e).__name__, sent=True)


async def exchange_async(session: aiohttp.ClientSession, step: Exchange | Wait) -> Reply | Broken | None:
    """
    Send a request and read its answer, or wait, without blocking the event loop.

    :param session: From :func:`open_async_session`.
    :param step: The step.
    """
    import aiohttp

    if isinstance(step, Wait):
        await asyncio.sleep(step.seconds)
        return None
    try:
        async with session.request(
            step.method,
            step.url,
            params=step.query,
            headers=step.headers,
            data=step.body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=step.total_s, sock_connect=CONNECT_TIMEOUT_S, sock_read=step.patience_s
            ),
        ) as response:
            body = _Body(step, response.status)
            async for chunk in response.content.iter_chunked(_CHUNK):
                body.take(chunk)
                if body.is_cut:
                    break
            return body.reply(response.headers.items())
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as e:
        return Broken(type(e).__name__, sent=False)
    except (aiohttp.ClientError, TimeoutError) as e:
        return Broken(type(e).__name__, sent=True)


class _Body:
    """The body of an answer as it arrives: up to a limit, in memory or in the sink of the call."""

    def __init__(self, step: Exchange, status: int) -> None:
        is_success = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
        self._status = status
        self._limit = step.max_bytes if is_success else min(step.max_bytes, ERROR_BYTES)
        self._sink = step.sink if is_success else None
        self._kept = bytearray()
        self._size = 0
        if self._sink is not None:
            self._sink.seek(0)
            self._sink.truncate()

    @property
    def is_cut(self) -> bool:
        return self._size > self._limit

    def take(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._sink is None:
            self._kept += chunk
        elif not self.is_cut:
            self._sink.write(chunk)

    def reply(self, headers: Iterable[tuple[str, str]]) -> Reply:
        named = {name.lower(): value for name, value in headers}
        cut_at = self._limit if self.is_cut else None
        written = 0 if self._sink is None else self._size
        return Reply(self._status, named, bytes(self._kept[: self._limit]), cut_at, written)


def _never_left(error: requests.RequestException) -> bool:
    import requests
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)
