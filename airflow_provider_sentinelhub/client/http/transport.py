"""Carries conversations out: one blocking and one async sender."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from airflow_provider_sentinelhub.client.errors import ApiError
from airflow_provider_sentinelhub.client.http.exchanges import (
    drive,
    drive_async,
    exchange,
    exchange_async,
    open_session,
)
from airflow_provider_sentinelhub.client.http.policy import RetryLimits
from airflow_provider_sentinelhub.client.http.request_flow import Answer, NeedToken, Step, converse, perform

if TYPE_CHECKING:
    import aiohttp

    from airflow_provider_sentinelhub.client.http.auth import TokenSource
    from airflow_provider_sentinelhub.client.http.call import Call, Procedure
    from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress

T = TypeVar("T")


class Sender:
    """
    Sends Calls and carries procedures out, blocking; for hooks and operators.

    :param address: Where requests go.
    :param tokens: Whom to ask for a token.
    :param limits: How long a call is worth trying.
    """

    def __init__(self, address: ServiceAddress, tokens: TokenSource, limits: RetryLimits | None = None) -> None:
        self.address = address
        self._tokens = tokens
        self._limits = limits or RetryLimits()
        self._session = open_session()

    def send(self, call: Call[T]) -> T:
        """
        Carry a call out and return its result.

        :param call: What to do.
        :raises ApiError: The service said no.
        """
        return drive(converse(call, self.address, self._limits, self._tokens.throttle), self._carry_out)

    def run(self, procedure: Procedure[T]) -> T:
        """
        Carry a procedure out and return its result.

        :param procedure: What to do.
        :raises ApiError: The service said no, and the procedure had no use for that.
        """
        return drive(perform(procedure, self.address, self._limits, self._tokens.throttle), self._carry_out)

    def _carry_out(self, step: Step) -> Answer | ApiError:
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
        return await drive_async(converse(call, self.address, self._limits, self._tokens.throttle), self._carry_out)

    async def run(self, procedure: Procedure[T]) -> T:
        """
        Carry a procedure out and return its result.

        :param procedure: What to do.
        :raises ApiError: The service said no, and the procedure had no use for that.
        """
        return await drive_async(perform(procedure, self.address, self._limits, self._tokens.throttle), self._carry_out)

    async def _carry_out(self, step: Step) -> Answer | ApiError:
        if not isinstance(step, NeedToken):
            return await exchange_async(self._session, step)
        try:
            return await self._tokens.aget(refused=step.refused)
        except ApiError as e:
            return e
