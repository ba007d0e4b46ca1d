"""The Sentinel Hub connection: sends requests with it, and tests it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook

from airflow_provider_sentinelhub.client.errors import NotFound, SentinelHubError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp
    from requests_oauthlib import OAuth2Session

    from airflow_provider_sentinelhub.client.http.call import Call
    from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress
    from airflow_provider_sentinelhub.client.http.transport import AsyncSender, Sender
    from airflow_provider_sentinelhub.hooks.connections import ConnectionFacts

T = TypeVar("T")

_ATTEMPTS_IN_A_HURRY = 4
_SECONDS_IN_A_HURRY = 15.0


class SentinelHubHook(BaseHook):
    """
    Interact with Sentinel Hub, with the credentials of a connection.

    .. seealso:: ``docs/connection.md`` for the connection's fields.

    :param sentinelhub_conn_id: The connection.
    """

    conn_name_attr = "sentinelhub_conn_id"
    default_conn_name = "sentinelhub_default"
    conn_type = "sentinelhub"
    hook_name = "Sentinel Hub"

    def __init__(self, sentinelhub_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sentinelhub_conn_id = sentinelhub_conn_id
        self._is_in_a_hurry = False

    @cached_property
    def facts(self) -> ConnectionFacts:
        """The connection's fields."""
        from airflow_provider_sentinelhub.hooks.connections import ConnectionFacts

        return ConnectionFacts.read(self.sentinelhub_conn_id)

    @cached_property
    def address(self) -> ServiceAddress:
        """Address of the service."""
        from airflow_provider_sentinelhub.hooks.connections import service_address

        return service_address(self.facts)

    @cached_property
    def max_pu(self) -> float | None:
        """Default maximum cost of a task in processing units; ``None`` for no limit."""
        from airflow_provider_sentinelhub.hooks.connections import max_pu

        return max_pu(self.facts)

    @cached_property
    def sender(self) -> Sender:
        """The blocking sender."""
        from airflow_provider_sentinelhub.client.http.auth import TokenSource, token_source
        from airflow_provider_sentinelhub.client.http.policy import RetryLimits
        from airflow_provider_sentinelhub.client.http.transport import Sender
        from airflow_provider_sentinelhub.hooks.connections import client_credentials

        tokens = token_source(client_credentials(self.facts, self.address))
        if not self._is_in_a_hurry:
            return Sender(self.address, tokens)
        limits = RetryLimits(attempts=_ATTEMPTS_IN_A_HURRY, max_elapsed=_SECONDS_IN_A_HURRY)
        if tokens.live() is None:
            tokens = TokenSource(tokens.credentials, limits)
        return Sender(self.address, tokens, limits)

    def hurry(self) -> None:
        """Give up after seconds from now on if the service does not answer: this process may soon be killed."""
        self._is_in_a_hurry = True
        self.__dict__.pop("sender", None)

    def get_conn(self) -> OAuth2Session:
        """
        Return an authorised session, for calls this package has no function for.

        ::

            hook = SentinelHubHook()
            hook.get_conn().get(f"{hook.address.base_url}/api/v1/catalog/1.0.0/collections").json()

        The token is the one that all requests of this process share, and is renewed before it expires. Requests are
        sent again after a 429, and after a 5xx or a broken connection where that is safe. Every address you call is
        sent the token, so call no other service with it.

        oauthlib refuses plain ``http://`` addresses, such as the simulator's, unless the environment variable
        ``OAUTHLIB_INSECURE_TRANSPORT`` is set. This package never sets it, because it holds for the whole process.

        :raises InvalidConfiguration: The connection is wrong.
        """
        from airflow.sdk.log import mask_secret

        from airflow_provider_sentinelhub.client.http.auth import token_source
        from airflow_provider_sentinelhub.client.http.oauth_session import authorised_session
        from airflow_provider_sentinelhub.hooks.connections import client_credentials

        return authorised_session(token_source(client_credentials(self.facts, self.address)), mask_secret)

    def send(self, call: Call[T]) -> T:
        """
        Send a Call and return its result, e.g. ``hook.send(tiling_grids(Service.BATCH_V2, 10))``.

        :param call: Made by a function in :mod:`airflow_provider_sentinelhub.client.apis`.
        :raises SentinelHubError: The connection is invalid, or the service refused the request.
        """
        return self.sender.send(call)

    def test_connection(self) -> tuple[bool, str]:
        """Get a token and list the tiling grids; say which step failed and how to fix it."""
        from airflow_provider_sentinelhub.client.apis.registry import harmless_call
        from airflow_provider_sentinelhub.client.http.auth import TokenSource
        from airflow_provider_sentinelhub.client.http.policy import RetryLimits
        from airflow_provider_sentinelhub.client.http.transport import Sender
        from airflow_provider_sentinelhub.hooks.connections import client_credentials

        # A user is waiting for the answer: one quick retry, no more.
        limits = RetryLimits(attempts=2, max_elapsed=10.0)
        step = "Step 1 of 3, reading the connection"
        try:
            # Not the shared token: it may have been issued before the client's secret was changed.
            tokens = TokenSource(client_credentials(self.facts, self.address), limits)
            _ = self.max_pu
            step = "Step 2 of 3, getting a token"
            tokens.get()
            step = "Step 3 of 3, listing the tiling grids"
            Sender(self.address, tokens, limits).send(harmless_call())
        except NotFound as e:
            return False, f"{step}, failed. {e} Check the base URL and the path layout."
        except SentinelHubError as e:
            # If nothing answered, the message has no address.
            asked = f" The URL was {self.address.base_url}." if step.startswith("Step 3") else ""
            return False, f"{step}, failed. {e}{asked}"
        return True, f"Connected to {self.address.deployment.title} at {self.address.base_url}"


@dataclass(slots=True)
class _Shared:
    session: aiohttp.ClientSession
    sender: AsyncSender
    users: int = 0


_shared: dict[tuple[int, str], _Shared] = {}


@asynccontextmanager
async def shared_async_sender(sentinelhub_conn_id: str) -> AsyncIterator[AsyncSender]:
    """
    Share one async sender per connection and event loop; the last user closes it.

    So a thousand waiting triggers need one token, one look-up of the connection and a few sockets.

    :param sentinelhub_conn_id: The connection.
    """
    import asyncio

    key = (id(asyncio.get_running_loop()), sentinelhub_conn_id)
    shared = _shared.get(key)
    if shared is None:
        opened = await _open(sentinelhub_conn_id)
        # Another trigger may have opened one meanwhile.
        shared = _shared.setdefault(key, opened)
        if shared is not opened:
            await opened.session.close()
    shared.users += 1
    try:
        yield shared.sender
    finally:
        shared.users -= 1
        if shared.users == 0:
            if _shared.get(key) is shared:
                del _shared[key]
            await shared.session.close()


async def _open(sentinelhub_conn_id: str) -> _Shared:
    import asyncio

    from airflow_provider_sentinelhub.client.http.auth import token_source
    from airflow_provider_sentinelhub.client.http.transport import AsyncSender, open_async_session
    from airflow_provider_sentinelhub.hooks.connections import ConnectionFacts, client_credentials, service_address

    # The first import is slow enough to block other triggers.
    await asyncio.to_thread(_import_aiohttp)
    facts = await ConnectionFacts.aread(sentinelhub_conn_id)
    address = service_address(facts)
    tokens = token_source(client_credentials(facts, address))
    session = open_async_session(address.base_url, limit_per_host=4)
    return _Shared(session, AsyncSender(address, tokens, session))


def _import_aiohttp() -> None:
    import aiohttp  # noqa: F401 - imported for the modules that import it again


def forget_shared_sender(sentinelhub_conn_id: str) -> None:
    """
    Read the connection again for the next user; current users keep the old sender.

    :param sentinelhub_conn_id: The connection.
    """
    for key in [key for key in _shared if key[1] == sentinelhub_conn_id]:
        del _shared[key]
