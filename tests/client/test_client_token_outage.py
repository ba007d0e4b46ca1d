"""Many wait for one token while the token endpoint is down: nobody else notices, and a time limit holds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.http.auth import ClientCredentials, TokenSource
from airflow_provider_sentinelhub.client.http.policy import RetryLimits
from airflow_provider_sentinelhub.client.http.transport import AsyncSender
from airflow_provider_sentinelhub.client.lifecycle.procedures import stop
from tests.client.client_harness import Plan, Seen, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from http.server import BaseHTTPRequestHandler

WAITING = 50
READ = BATCH_V2.calls.get("t-1")
STATE = {"status": "PROCESSING", "userAction": "START"}


class Outage:
    """A service whose token endpoint is silent, or answers 503, until the outage is over."""

    def __init__(self) -> None:
        self.is_silent = False
        self.over = threading.Event()
        self.asked = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._now = 0
        self.at_once = 0
        self.stopped = False

    def answer(self, seen: Seen, _handler: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        if seen.path == "/token":
            return self._token()
        if seen.path.endswith("/stop"):
            self.stopped = True
            return 204, {}, b""
        task = {"id": "t-1", **STATE, **({"userAction": "STOP"} if self.stopped else {})}
        return 200, {}, json.dumps(task).encode()

    def _token(self) -> tuple[int, dict[str, str], bytes]:
        with self._lock:
            self._now += 1
            self.at_once = max(self.at_once, self._now)
        self.asked.release()
        if self.is_silent:
            self.over.wait(30)
        with self._lock:
            self._now -= 1
        if not self.over.is_set():
            return 503, {}, b""
        return 200, {}, json.dumps({"access_token": "tok", "expires_in": 3600}).encode()


@pytest.fixture
def outage() -> Outage:
    return Outage()


@pytest.fixture
def plan(outage: Outage) -> Iterator[Plan]:
    with serving(outage.answer) as plan:
        yield plan
        outage.over.set()


@contextlib.asynccontextmanager
async def sender(plan: Plan, limits: RetryLimits) -> AsyncIterator[AsyncSender]:
    tokens = TokenSource(ClientCredentials("id", "secret", f"{plan.base_url}/token"), limits)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit_per_host=4)) as session:
        yield AsyncSender(plan.address, tokens, session, limits)


def token_calls(plan: Plan) -> int:
    return sum(seen.path == "/token" for seen in plan.seen)


PATIENT = RetryLimits(attempts=100_000, base=0.01, cap=0.02)


@pytest.mark.parametrize("is_silent", [True, False])
async def test_many_wait_and_nobody_else_notices(outage: Outage, plan: Plan, is_silent: bool) -> None:
    outage.is_silent = is_silent
    async with sender(plan, PATIENT) as shared:
        looks = [asyncio.create_task(shared.send(READ)) for _ in range(WAITING)]
        stops = [asyncio.create_task(shared.run(stop(BATCH_V2, "t-1")))]
        # While all of them wait, threads are free: this would not come back before the outage is over.
        await asyncio.to_thread(outage.asked.acquire)
        for _ in range(20):
            await asyncio.to_thread(lambda: None)
            await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)
        assert not any(task.done() for task in looks + stops)
        # One whose time is up, and one that is cancelled: the others have what they wait for all the same.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await shared.send(READ)
        looks.pop().cancel()
        outage.over.set()
        assert [task.id for task in await asyncio.gather(*looks)] == ["t-1"] * (WAITING - 1)
        assert [task and task.user_action for task in await asyncio.gather(*stops)] == ["STOP"]
    assert outage.at_once == 1


async def test_the_first_who_asked_may_go(outage: Outage, plan: Plan) -> None:
    outage.is_silent = True
    async with sender(plan, PATIENT) as shared:
        first = asyncio.create_task(shared.send(READ))
        await asyncio.to_thread(outage.asked.acquire)
        other = asyncio.create_task(shared.send(READ))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        outage.over.set()
        assert (await other).id == "t-1"
    assert token_calls(plan) == 1


async def test_all_share_a_failure_and_then_one_new_fetch(plan: Plan) -> None:
    async with sender(plan, RetryLimits(attempts=3, base=0.01, cap=0.01)) as shared:
        for rounds in (1, 2):
            ended: list[Any] = await asyncio.gather(
                *(shared.send(READ) for _ in range(WAITING)), return_exceptions=True
            )
            assert {type(error) for error in ended} == {errors.ServiceUnavailable}
            # Each has an error of its own, for a trace is added to an error wherever it is raised.
            assert len({id(error) for error in ended}) == WAITING
            assert token_calls(plan) == 3 * rounds


async def test_a_procedure_is_told_that_there_is_no_token(plan: Plan) -> None:
    def persistent() -> Any:
        for _ in range(2):
            try:
                return (yield READ)
            except errors.ServiceUnavailable:
                told.append("no token")
        return None

    told: list[str] = []
    async with sender(plan, RetryLimits(attempts=1)) as shared:
        assert await shared.run(persistent()) is None
    assert told == ["no token"] * 2
