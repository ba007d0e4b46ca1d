"""Senders that run request flows: one blocking, one async."""

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
from airflow_provider_sentinelhub.client.http.request_flow import Answer, FlowStep, NeedToken, call_flow, procedure_flow

if TYPE_CHECKING:
    import aiohttp

    from airflow_provider_sentinelhub.client.http.auth import TokenSource
    from airflow_provider_sentinelhub.client.http.call import Call, Procedure
    from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress

T = TypeVar("T")


class Sender:
    """
    Sends Calls and runs procedures, blocking; for hooks and operators.

    :param address: The service's address.
    :param tokens: Source of tokens.
    :param limits: How often and how long to retry a call.
    """

    def __init__(self, address: ServiceAddress, tokens: TokenSource, limits: RetryLimits | None = None) -> None:
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
