"""One body of scenarios for both senders: whatever happens on the wire, they agree."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import logging
import socket
import threading
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import pytest

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.apis.batch_v2 import calls as batch_v2
from airflow_provider_sentinelhub.client.http import transport
from airflow_provider_sentinelhub.client.http.auth import ClientCredentials, TokenSource
from airflow_provider_sentinelhub.client.http.call import Call, Sink
from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress
from airflow_provider_sentinelhub.client.http.policy import RetryLimits
from airflow_provider_sentinelhub.client.http.problems import Reply
from airflow_provider_sentinelhub.client.http.request_flow import NeedToken, Throttle, Wait, call_flow
from airflow_provider_sentinelhub.client.http.transport import AsyncSender, Sender
from airflow_provider_sentinelhub.simulator.process import Simulator
from airflow_provider_sentinelhub.simulator.ready import Ready
from tests.client.client_harness import (
    CREATE,
    Plan,
    Seen,
    build_document,
    describe_call,
    everything_said,
    grid_call,
    serving,
)

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

T = TypeVar("T")
Send = Callable[[Call[Any]], Awaitable[Any]]
Sending = Callable[[ServiceAddress, TokenSource, RetryLimits], contextlib.AbstractAsyncContextManager[Send]]

# The alphabet of real keys and tokens.
PLAIN = "aB3/cD4+eF5-gH6_iJ7=="
PROCESS = "/batch/v2/process"
GRID = grid_call(2)


@contextlib.asynccontextmanager
async def blocking(address: ServiceAddress, tokens: TokenSource, limits: RetryLimits) -> Any:
    sender = Sender(address, tokens, limits)
    yield lambda call: asyncio.to_thread(sender.send, call)
    sender.close()


@contextlib.asynccontextmanager
async def asynchronous(address: ServiceAddress, tokens: TokenSource, limits: RetryLimits) -> Any:
    async with aiohttp.ClientSession() as session:
        yield AsyncSender(address, tokens, session, limits).send


@pytest.fixture(params=[blocking, asynchronous])
def sending(request: pytest.FixtureRequest) -> Sending:
    sending: Sending = request.param
    return sending


def create(ready: Ready) -> Call[Any]:
    access = {"accessKey": ready.access_key_id, "secretAccessKey": ready.secret_access_key}
    # A path that makes the bucket's owner nothing but a name: a task that is never started writes one small object.
    delivery = {"s3": {"url": f"s3://{ready.bucket}/transport", **access}}
    return batch_v2.TASKS.create(build_document(output__delivery=delivery), (ready.secret_access_key,))


def endpoint(method: str, path: str, **fault: Any) -> dict[str, Any]:
    return {"method": method, "path": path, **fault}


GET_GRID = r"/tilinggrids/2$"
POST = PROCESS + "$"

# (what goes wrong, the call, the error or None, how often the service was called, tokens fetched)
SCENARIOS: list[tuple[str, dict[str, Any], str, type[errors.ApiError] | None, int, int]] = [
    ("nothing", {}, "grid", None, 1, 1),
    ("nothing", {}, "create", None, 1, 1),
    ("dropped before, twice", endpoint("GET", GET_GRID, action="drop_before", count=2), "grid", None, 3, 1),
    ("dropped after, twice", endpoint("GET", GET_GRID, action="drop_after", count=2), "grid", None, 3, 1),
    # An action, for aiohttp sends what only reads a second time by itself.
    ("dropped for ever", endpoint("POST", "/start$", action="drop_before"), "start", errors.ServiceUnavailable, 5, 1),
    ("started, answer lost", endpoint("POST", "/start$", action="drop_after", count=1), "start", errors.NotFound, 2, 1),
    ("429 twice", endpoint("GET", GET_GRID, status=429, retry_after_ms=20, count=2), "grid", None, 3, 1),
    ("429 for ever", endpoint("GET", GET_GRID, status=429, retry_after_ms=1), "grid", errors.RateLimited, 5, 1),
    ("500 twice", endpoint("GET", GET_GRID, status=500, count=2), "grid", None, 3, 1),
    ("502 in HTML", endpoint("GET", GET_GRID, status=502, body="<html>", count=4), "grid", None, 5, 1),
    ("503 for ever", endpoint("GET", GET_GRID, status=503), "grid", errors.ServiceUnavailable, 5, 1),
    ("401 once", endpoint("GET", GET_GRID, status=401, count=1), "grid", None, 2, 2),
    ("401 for ever", endpoint("GET", GET_GRID, status=401), "grid", errors.AuthenticationError, 2, 2),
    ("403", endpoint("GET", GET_GRID, status=403), "grid", errors.PermissionDenied, 1, 1),
    ("unknown grid", {}, "unknown", errors.InvalidRequest, 1, 1),
    ("created, answer lost", endpoint("POST", POST, action="drop_after"), "create", errors.OutcomeUnknown, 1, 1),
    ("not created, but who knows", endpoint("POST", POST, action="drop_before"), "create", errors.OutcomeUnknown, 1, 1),
    ("500 on create", endpoint("POST", POST, status=500), "create", errors.OutcomeUnknown, 1, 1),
    ("429 on create", endpoint("POST", POST, status=429, count=2), "create", None, 3, 1),
    ("401 on create", endpoint("POST", POST, status=401, count=1), "create", None, 2, 2),
    ("spurious 400 on create", endpoint("POST", POST, status=400, count=1), "create", None, 2, 1),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: f"{scenario[2]}: {scenario[0]}")
async def test_both_senders_end_alike(
    *,
    scenario: tuple[str, dict[str, Any], str, type[errors.ApiError] | None, int, int],
    sending: Sending,
    sim: Simulator,
    address: ServiceAddress,
    tokens: TokenSource,
    limits: RetryLimits,
) -> None:
    _, fault, what, kind, calls, fetched = scenario
    calls_by_name: dict[str, Call[Any]] = {
        "grid": GRID,
        "unknown": grid_call(99),
        "start": batch_v2.TASKS.start("nobody"),
        "create": create(sim.ready),
    }
    call = calls_by_name[what]
    sim.set_script({"endpoints": [fault] if fault else []})
    async with sending(address, tokens, limits) as send:
        if kind is None:
            result = await send(call)
            assert (result.id == 2) if what == "grid" else (result.status == "CREATED")
        else:
            with pytest.raises(kind) as caught:
                await send(call)
            assert type(caught.value) is kind
            assert str(caught.value).startswith(f"Could not {call.what}: ")
    log = sim.requests()["requests"]
    asked = [entry for entry in log if not entry["path"].endswith("/token")]
    assert len(asked) == calls
    assert len(log) - len(asked) == fetched


async def test_a_token_that_is_revoked_underway_is_renewed(
    sending: Sending, sim: Simulator, address: ServiceAddress, tokens: TokenSource, limits: RetryLimits
) -> None:
    async with sending(address, tokens, limits) as send:
        await send(GRID)
        sim.revoke_tokens()
        before = sim.tokens_issued()
        await asyncio.gather(*(send(GRID) for _ in range(8)))
    assert sim.tokens_issued() == before + 1


async def test_a_task_that_is_not_visible_yet_is_asked_for_again(
    sending: Sending, sim: Simulator, address: ServiceAddress, tokens: TokenSource
) -> None:
    limits = RetryLimits(attempts=100, base=0.02, cap=0.02)
    sim.set_script({"timing": {"visible_after_seconds": 60}})
    async with sending(address, tokens, limits) as send:
        task = await send(create(sim.ready))
        with pytest.raises(errors.NotFound):
            await send(batch_v2.TASKS.get(task.id))
        assert (await send(batch_v2.TASKS.get(task.id).when_fresh())).id == task.id


async def test_nobody_listening(sending: Sending, limits: RetryLimits, tokens: TokenSource) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        address = ServiceAddress.of(deployment="custom", base_url=url, token_url=url, layout="new")
        async with sending(address, tokens, limits) as send:
            # Nothing was sent, so that even a creation is tried again.
            with pytest.raises(errors.ServiceUnavailable, match="Gave up after 5 attempts") as caught:
                await send(CREATE)
    assert type(caught.value) is errors.ServiceUnavailable


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address whose queue of connections is full, so that connecting takes for ever."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - the standard library's own parameter
            waiting.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_no_connection_in_time_means_nothing_was_sent(
    deaf: str, sending: Sending, tokens: TokenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.get()
    monkeypatch.setattr(transport, "CONNECT_TIMEOUT_S", 0.1)
    address = ServiceAddress.of(deployment="custom", base_url=deaf, token_url=deaf, layout="new")
    async with sending(address, tokens, RetryLimits(attempts=2, base=0.01)) as send:
        with pytest.raises(errors.ServiceUnavailable, match="Gave up after 2 attempts") as caught:
            await send(CREATE)
    assert type(caught.value) is errors.ServiceUnavailable


@contextlib.contextmanager
def service(answering: Any) -> Iterator[tuple[Plan, TokenSource]]:
    def with_token(seen: Seen, handler: BaseHTTPRequestHandler) -> Any:
        if seen.path == "/token":
            return 200, {}, json.dumps({"access_token": PLAIN, "expires_in": 3600}).encode()
        return answering(seen, handler)

    with serving(with_token) as plan:
        yield plan, TokenSource(ClientCredentials("id", "secret", f"{plan.base_url}/token"))


def api_calls(plan: Plan) -> list[Seen]:
    return [seen for seen in plan.seen if seen.path != "/token"]


async def test_a_slow_answer_is_not_waited_for(sending: Sending) -> None:
    over = threading.Event()

    def slow(_seen: Seen, _handler: object) -> None:
        over.wait(30)

    with service(slow) as (plan, tokens):
        async with sending(plan.address, tokens, RetryLimits(attempts=2, base=0.01)) as send:
            with pytest.raises(errors.ServiceUnavailable, match="Gave up after 2 attempts"):
                await send(replace(GRID, patience_s=0.1))
            assert len(api_calls(plan)) == 2
            with pytest.raises(errors.OutcomeUnknown):
                await send(CREATE)
            assert len(api_calls(plan)) == 3
        over.set()


def half(_seen: Seen, handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"id": 1')


def garbage(_seen: Seen, handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\x01 this is not HTTP\r\n\r\n")


def bad_gzip(_seen: Seen, _handler: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Encoding": "gzip"}, b"not gzip"


@pytest.mark.parametrize("answering", [half, garbage, bad_gzip])
async def test_an_answer_that_breaks_off_or_cannot_be_read(answering: Any, sending: Sending) -> None:
    with service(answering) as (plan, tokens):
        async with sending(plan.address, tokens, RetryLimits(attempts=3, base=0.01)) as send:
            with pytest.raises(errors.ServiceUnavailable):
                await send(GRID)
            assert len(api_calls(plan)) == 3
            with pytest.raises(errors.OutcomeUnknown):
                await send(CREATE)
            assert len(api_calls(plan)) == 4


async def test_a_redirect_is_not_followed(sending: Sending, limits: RetryLimits) -> None:
    def elsewhere(_seen: Seen, _handler: object) -> tuple[int, dict[str, str], bytes]:
        return 307, {"Location": "/elsewhere"}, b""

    with service(elsewhere) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            with pytest.raises(errors.UnexpectedAnswer, match="Check the base URL"):
                await send(CREATE)
        assert [seen.path for seen in api_calls(plan)] == [PROCESS]


async def test_what_goes_over_the_wire(sending: Sending, limits: RetryLimits) -> None:
    answer = json.dumps({"data": [], "links": {}}).encode()
    with service(lambda _seen, _handler: (200, {}, answer)) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            await send(batch_v2.TASKS.page("a+b/c="))
            await send(describe_call("a-1", "déjà vu"))
            await send(batch_v2.TASKS.page())
        listed, updated, _ = api_calls(plan)
    assert (listed.method, listed.body) == ("GET", b"")
    path, _, query = listed.path.partition("?")
    assert path == PROCESS
    assert sorted(query.replace("%3A", ":").replace("/", "%2F").split("&")) == [
        "sort=created:desc",
        "viewtoken=a%2Bb%2Fc%3D",
    ]
    assert listed.headers["authorization"] == f"Bearer {PLAIN}"
    assert (updated.method, updated.path) == ("PUT", f"{PROCESS}/a-1")
    assert json.loads(updated.body) == {"description": "déjà vu"}
    assert updated.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "task_id", ["", " ", "None", None, "../../oauth", "a/b", "a b", "a?b", "a%2Fb", "a\n", "{{ params.id }}"]
)
@pytest.mark.parametrize(
    "build",
    [
        batch_v2.TASKS.get,
        batch_v2.TASKS.analyse,
        batch_v2.TASKS.start,
        batch_v2.TASKS.stop,
    ],
    ids=["get", "analyse", "start", "stop"],
)
def test_what_cannot_be_an_id_is_refused_before_anything_is_sent(
    build: Callable[[str], Call[Any]], task_id: str
) -> None:
    with pytest.raises(errors.InvalidParameter) as caught:
        build(task_id)
    assert str(caught.value).startswith(f"batch_task_id = {task_id!r}: is not the id of a batch task")
    assert caught.value.fix


async def test_netrc_does_not_displace_the_token(
    sending: Sending, limits: RetryLimits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with service(lambda _seen, _handler: (200, {}, b'{"data": []}')) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            await send(batch_v2.TASKS.page())
        assert api_calls(plan)[0].headers["authorization"] == f"Bearer {PLAIN}"


@pytest.mark.parametrize("status", [200, 400, 403, 500])
async def test_an_answer_that_echoes_everything_shows_no_secret(
    status: int, sending: Sending, limits: RetryLimits, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def echo(seen: Seen, _handler: object) -> tuple[int, dict[str, str], bytes]:
        said = {"message": f"{seen.headers} {seen.body.decode()}", "headers": seen.headers}
        return status, {}, json.dumps({"error": said}).encode()

    with service(echo) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            for call in (batch_v2.TASKS.create({"secret": PLAIN}, (PLAIN,)), GRID):
                with pytest.raises(errors.ApiError) as caught:
                    await send(call)
                assert PLAIN not in everything_said(caught.value)
    assert PLAIN not in caplog.text


# --- the throttle ---------------------------------------------------------------------------------------------------


def test_what_one_caller_is_told_holds_for_all(address: ServiceAddress, limits: RetryLimits) -> None:
    throttle = Throttle()
    told, other = (call_flow(GRID, address, limits, throttle) for _ in range(2))
    assert isinstance(next(told), NeedToken)
    told.send("token")
    assert isinstance(told.send(Reply(429, {"retry-after": "60000"})), Wait)
    assert isinstance(next(other), Wait)
    # Woken too early, it waits on.
    assert isinstance(other.send(None), Wait)


async def test_both_senders_keep_the_throttle_they_were_told_about(
    sending: Sending, limits: RetryLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds: list[tuple[Throttle, float]] = []
    monkeypatch.setattr(Throttle, "hold", lambda self, seconds: holds.append((self, seconds)))
    replies = iter([429, 200, 429, 200])
    with service(lambda _seen, _handler: (next(replies), {"Retry-After": "60"}, b'{"data": []}')) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            await send(batch_v2.TASKS.page())
            await send(batch_v2.TASKS.page())
    assert len(holds) == 2
    assert holds[0][0] is holds[1][0]
    assert all(seconds >= 0.06 for _, seconds in holds)


def test_a_hold_is_never_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr("airflow_provider_sentinelhub.client.http.request_flow.time.monotonic", lambda: now)
    throttle = Throttle()
    assert throttle.delay() == 0
    throttle.hold(10)
    throttle.hold(2)
    assert 10 <= throttle.delay() <= 11
    now = 61.0
    assert throttle.delay() == 0


def test_nothing_is_sent_that_is_no_json(address: ServiceAddress, limits: RetryLimits) -> None:
    flow = call_flow(replace(GRID, body={"fill_value": float("nan")}), address, limits, Throttle())
    with pytest.raises(ValueError, match="not JSON compliant"):
        next(flow)


def test_a_sender_that_answers_nonsense_is_told_so(address: ServiceAddress, limits: RetryLimits) -> None:
    flow = call_flow(GRID, address, limits, Throttle())
    next(flow)
    flow.send("token")
    with pytest.raises(TypeError, match="answered an exchange with str"):
        flow.send("not a reply")


def test_many_threads_share_a_sender(
    sim: Simulator, address: ServiceAddress, tokens: TokenSource, limits: RetryLimits
) -> None:
    sender = Sender(address, tokens, limits)
    with ThreadPoolExecutor(8) as pool:
        assert {grid.id for grid in pool.map(lambda _: sender.send(GRID), range(24))} == {2}
    sender.close()
    assert sim.requests()["total"] == 25


# --- bounds ---------------------------------------------------------------------------------------------------------


def bomb(status: int, megabytes: int) -> Callable[[Seen, object], tuple[int, dict[str, str], bytes]]:
    """A JSON text of so many megabytes, and a thousandth of that on the wire."""
    packed = gzip.compress(b'{"error": {"message": "' + b"x" * (megabytes * 1_000_000) + b'"}}')
    return lambda _seen, _handler: (status, {"Content-Encoding": "gzip"}, packed)


async def test_a_bomb_is_not_unpacked(sending: Sending, limits: RetryLimits) -> None:
    with service(bomb(200, 100)) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            tracemalloc.start()
            with pytest.raises(errors.UnexpectedAnswer, match=r"200 with more than 8,388,608 bytes, and no more") as e:
                await send(GRID)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 40_000_000
            assert not e.value.retryable
            # It was carried out all the same.
            with pytest.raises(errors.OutcomeUnknown, match="with more than 8,388,608 bytes"):
                await send(CREATE)
    assert len(api_calls(plan)) == 2


async def test_the_bound_is_that_of_the_call(sending: Sending, limits: RetryLimits) -> None:
    body = json.dumps({"data": [], "x": "x" * 9_000_000}).encode()
    with service(lambda _seen, _handler: (200, {}, body)) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            assert (await send(batch_v2.TASKS.page())).data == []
            assert (await send(replace(batch_v2.TASKS.page(), max_bytes=len(body)))).data == []
            with pytest.raises(errors.UnexpectedAnswer):
                await send(replace(batch_v2.TASKS.page(), max_bytes=len(body) - 1))


@pytest.mark.parametrize(("status", "calls"), [(400, 1), (503, 5)])
async def test_a_long_error_is_the_error_it_is(status: int, calls: int, sending: Sending, limits: RetryLimits) -> None:
    with service(bomb(status, 20)) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            with pytest.raises(errors.ApiError, match=str(status)) as caught:
                await send(GRID)
    assert caught.value.retryable == (status == 503)
    assert len(str(caught.value)) < 1000
    assert len(api_calls(plan)) == calls


async def test_an_answer_that_trickles_is_given_up(sending: Sending) -> None:
    over = threading.Event()

    def trickle(_seen: Seen, handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not over.wait(0.02):
            handler.wfile.write(b" ")

    with service(trickle) as (plan, tokens):
        async with sending(plan.address, tokens, RetryLimits(attempts=2, base=0.01)) as send:
            with pytest.raises(errors.ServiceUnavailable, match="Gave up after 2 attempts"):
                await send(replace(GRID, total_s=0.3))
            with pytest.raises(errors.OutcomeUnknown):
                await send(replace(CREATE, total_s=0.3))
        over.set()
    assert len(api_calls(plan)) == 3


async def test_a_connection_is_used_again(sending: Sending, limits: RetryLimits) -> None:
    ports = set()

    def answer(_seen: Seen, handler: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        ports.add(handler.client_address[1])
        return 200, {}, b'{"data": []}'

    with service(answer) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            for _ in range(3):
                await send(batch_v2.TASKS.page())
    assert len(ports) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 5_000_000,
        b'{"id":' * 1_000_000,
        b'{"id": ' + b"1" * 5_000_000 + b"}",
        b'{"id": 1e' + b"9" * 1_000_000 + b"}",
        b'{"id": "' + b"\\u0000" * 1_000_000,
        b"\xff" * 5_000_000,
        b'{"id": "\\ud800"}',
    ],
    ids=["lists", "objects", "digits", "exponent", "no end", "no text", "half a character"],
)
async def test_hostile_json_is_an_error_like_any_other(body: bytes, sending: Sending, limits: RetryLimits) -> None:
    with service(lambda _seen, _handler: (200, {}, body)) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            with pytest.raises(errors.UnexpectedAnswer, match="a body that the API does not promise") as caught:
                await send(GRID)
    assert len(everything_said(caught.value)) < 10_000


PIXELS = bytes(range(256)) * 1024
SPENT = {"X-ProcessingUnits-Spent": "0.25", "Content-Type": "image/tiff"}


def image_call(sink: Sink, **changes: Any) -> Call[Any]:
    return replace(GRID, parse=lambda received: received, accept="image/tiff", sink=sink, **changes)


async def test_a_body_that_is_no_json_goes_to_the_sink(sending: Sending, limits: RetryLimits, tmp_path: Path) -> None:
    answers = iter(
        [
            # What broke off before leaves nothing.
            (200, {"Content-Length": str(2 * len(PIXELS))}, PIXELS[::-1]),
            (500, {}, b'{"error": {"message": "no"}}'),
            (200, {**SPENT, "Content-Encoding": "gzip"}, gzip.compress(PIXELS)),
        ]
    )

    def answering(_seen: Seen, handler: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        handler.close_connection = True
        return next(answers)

    path = tmp_path / "image"
    with service(answering) as (plan, tokens), path.open("wb") as file:
        async with sending(plan.address, tokens, limits) as send:
            received = await send(image_call(file, max_bytes=len(PIXELS)))
    assert received.size == len(PIXELS)
    assert received.headers["x-processingunits-spent"] == "0.25"
    assert path.read_bytes() == PIXELS
    assert [seen.headers["accept"] for seen in api_calls(plan)] == ["image/tiff"] * 3


async def test_a_sink_takes_no_more_than_the_bound(sending: Sending, limits: RetryLimits) -> None:
    sink = io.BytesIO()
    with service(lambda *_: (200, SPENT, PIXELS)) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            with pytest.raises(errors.UnexpectedAnswer, match="more than 100,000 bytes"):
                await send(image_call(sink, max_bytes=100_000))
    assert len(sink.getvalue()) <= 100_000


async def test_an_error_is_read_whatever_was_asked_for(sending: Sending, limits: RetryLimits) -> None:
    sink, body = io.BytesIO(b"before"), json.dumps({"error": {"message": "`width = 2624` is larger"}}).encode()
    with service(lambda *_: (400, {}, body)) as (plan, tokens):
        async with sending(plan.address, tokens, limits) as send:
            with pytest.raises(errors.InvalidRequest, match="2624"):
                await send(image_call(sink))
    assert sink.getvalue() == b"before"
