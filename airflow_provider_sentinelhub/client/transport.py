"""Carries conversations out: one blocking and one async sender."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_sentinelhub.client.conversation import (
    Answer,
    Exchange,
    NeedToken,
    Step,
    Wait,
    converse,
    perform,
)
from airflow_provider_sentinelhub.client.policy import Broken, RetryLimits
from airflow_provider_sentinelhub.client.problems import Reply

if TYPE_CHECKING:
    import aiohttp
    import requests

    from airflow_provider_sentinelhub.client.auth import TokenSource
    from airflow_provider_sentinelhub.client.call import Call, Procedure
    from airflow_provider_sentinelhub.client.deployments import ServiceAddress

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10.0
TOTAL_TIMEOUT_S = 600.0


class Sender:
    """
    Sends Calls and carries procedures out, blocking; for hooks and operators.

    :param address: Where requests go.
    :param tokens: Whom to ask for a token.
    :param limits: How long a call is worth trying.
    """

    def __init__(self, address: ServiceAddress, tokens: TokenSource, limits: RetryLimits | None = None) -> None:
        import requests

        self.address = address
        self._tokens = tokens
        self._limits = limits or RetryLimits()
        self._session = requests.Session()
        # Without this, requests would put what ~/.netrc says about the host in place of the token.
        self._session.auth = lambda request: request

    def send(self, call: Call[T]) -> T:
        """
        Carry a call out and return its result.

        :param call: What to do.
        :raises ApiError: The service said no.
        """
        return self._drive(converse(call, self.address, self._limits, self._tokens.throttle))

    def run(self, procedure: Procedure[T]) -> T:
        """
        Carry a procedure out and return its result.

        :param procedure: What to do.
        :raises ApiError: The service said no, and the procedure had no use for that.
        """
        return self._drive(perform(procedure, self.address, self._limits, self._tokens.throttle))

    def _drive(self, conversation: Generator[Step, Answer, T]) -> T:
        answer: Answer = None
        while True:
            try:
                step = conversation.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            match step:
                case NeedToken(refused):
                    answer = self._tokens.get(refused=refused)
                case Wait(seconds):
                    time.sleep(seconds)
                    answer = None
                case Exchange():
                    answer = self._exchange(step)

    def _exchange(self, step: Exchange) -> Reply | Broken:
        import requests

        try:
            response = self._session.request(
                step.method,
                step.url,
                params=step.query,
                headers=step.headers,
                data=step.body,
                timeout=(CONNECT_TIMEOUT_S, step.patience_s),
                allow_redirects=False,
            )
        except requests.RequestException as e:
            return Broken(_reason(e), sent=not _never_left(e))
        return Reply(response.status_code, {k.lower(): v for k, v in response.headers.items()}, response.content)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class AsyncSender:
    """
    Sends Calls and carries procedures out without blocking the event loop; for triggers.

    :param address: Where requests go.
    :param tokens: Whom to ask for a token.
    :param session: An open session, owned by the caller.
    :param limits: How long a call is worth trying.
    """

    def __init__(
        self,
        address: ServiceAddress,
        tokens: TokenSource,
        session: aiohttp.ClientSession,
        limits: RetryLimits | None = None,
    ) -> None:
        self.address = address
        self._tokens = tokens
        self._session = session
        self._limits = limits or RetryLimits()

    async def send(self, call: Call[T]) -> T:
        """
        Carry a call out and return its result.

        :param call: What to do.
        :raises ApiError: The service said no.
        """
        return await self._drive(converse(call, self.address, self._limits, self._tokens.throttle))

    async def run(self, procedure: Procedure[T]) -> T:
        """
        Carry a procedure out and return its result.

        :param procedure: What to do.
        :raises ApiError: The service said no, and the procedure had no use for that.
        """
        return await self._drive(perform(procedure, self.address, self._limits, self._tokens.throttle))

    async def _drive(self, conversation: Generator[Step, Answer, T]) -> T:
        answer: Answer = None
        while True:
            try:
                step = conversation.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            match step:
                case NeedToken(refused):
                    # Fetching blocks, but happens once an hour: a thread for that, nothing for the other times.
                    answer = self._tokens.live(refused=refused) or await asyncio.to_thread(
                        self._tokens.get, refused=refused
                    )
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                    answer = None
                case Exchange():
                    answer = await self._exchange(step)

    async def _exchange(self, step: Exchange) -> Reply | Broken:
        import aiohttp

        try:
            async with self._session.request(
                step.method,
                step.url,
                params=step.query,
                headers=step.headers,
                data=step.body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=TOTAL_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S, sock_read=step.patience_s
                ),
            ) as response:
                body = await response.read()
                return Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as e:
            return Broken(type(e).__name__, sent=False)
        except (aiohttp.ClientError, TimeoutError) as e:
            return Broken(type(e).__name__, sent=True)


def _never_left(error: requests.RequestException) -> bool:
    import requests
    from urllib3.exceptions import NewConnectionError

    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", None), NewConnectionError)


def _reason(error: requests.RequestException) -> str:
    # The text of a requests error holds the address with its query; its kind says enough.
    return type(error).__name__
