"""
An HTTP proxy between Airflow and what it calls: it can hold a call, lose it, answer it itself, or be cut.

A held call marks an exact step of its sender: before the receiver gets the call, or after the receiver has answered and
before the sender knows. A sender that is killed then is killed at exactly that step.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import urllib.parse
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HOLD_S = 180.0
_UPSTREAM_S = 120.0
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
# Answers have to be read here, so they must not be compressed.
_NOT_PASSED_ON = frozenset({"connection", "keep-alive", "accept-encoding"})


@dataclass(frozen=True, slots=True)
class Reply:
    """
    An HTTP answer.

    :param status: Its status.
    :param headers: Its headers.
    :param body: Its body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Call:
    """
    A call.

    :param method: HTTP method.
    :param path: Path, without the query.
    :param body: Body of the request.
    :param port: The sender's TCP port, which tells its process.
    :param reply: The answer of the receiver; ``None`` before the receiver gets the call.
    """

    method: str
    path: str
    body: bytes
    port: int
    reply: Reply | None = None


class FailureMode(StrEnum):
    """What happens to calls during an outage."""

    BUSY = "answers 503"
    RESET = "cuts connections"
    SILENT = "does not answer"


_BUSY = Reply(503, {"Content-Type": "application/json"}, b'{"error": {"status": 503, "message": "out of order"}}')


class Interceptor:
    """
    Waits for a call and holds it.

    :param wanted: Whether to hold a call; asked before the receiver gets it, and again with the answer.
    """

    def __init__(self, wanted: Callable[[Call], bool]) -> None:
        self.wanted = wanted
        self.caught = threading.Event()
        self.call: Call | None = None
        self._released = threading.Event()
        self._verdict: Reply | bool = True

    def release(self, verdict: Reply | bool) -> None:
        """
        Let the call go.

        :param verdict: True to let it pass, False to lose it, or an answer in place of the receiver's.
        """
        self._verdict = verdict
        self._released.set()

    def hold(self, call: Call) -> Reply | bool:
        """
        Hold a call until it is released, and return the verdict.

        :param call: The call.
        """
        self.call = call
        self.caught.set()
        self._released.wait(_HOLD_S)
        return self._verdict


class Proxy:
    """
    Forwards calls to one address.

    :param address: Where to, ``http://host:port``.
    """

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        self.upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.observers: list[Callable[[Call], None]] = []
        self._lock = threading.Lock()
        self._interceptors: list[Interceptor] = []
        self._answers: list[tuple[Callable[[Call], bool], Reply]] = []
        self._cut = threading.Event()
        self._outage: tuple[Callable[[Call], bool], FailureMode] | None = None
        self._works = threading.Event()
        self._works.set()
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def is_cut(self) -> bool:
        """Whether all calls are lost now."""
        return self._cut.is_set()

    def cut(self) -> None:
        """Lose all calls."""
        self._cut.set()

    def restore(self) -> None:
        """End the cut, the outage and all answers of its own."""
        self._cut.clear()
        with self._lock:
            self._answers.clear()
            self._outage = None
        self._works.set()

    def begin_outage(self, wanted: Callable[[Call], bool], mode: FailureMode) -> None:
        """
        Begin an outage, until :meth:`restore`.

        :param wanted: Which calls it affects.
        :param mode: What happens to them.
        """
        self._works.clear()
        with self._lock:
            self._outage = (wanted, mode)

    def add_interceptor(self, interceptor: Interceptor) -> None:
        """
        Hold the next call that an interceptor wants.

        :param interceptor: The interceptor.
        """
        with self._lock:
            self._interceptors.append(interceptor)

    def remove_interceptor(self, interceptor: Interceptor) -> None:
        """
        Remove an interceptor that has not caught a call yet.

        :param interceptor: The interceptor.
        """
        with self._lock:
            if interceptor in self._interceptors:
                self._interceptors.remove(interceptor)

    def answer_next(self, count: int, wanted: Callable[[Call], bool], reply: Reply) -> None:
        """
        Answer calls in place of the receiver.

        :param count: How many.
        :param wanted: Which calls.
        :param reply: The answer.
        """
        with self._lock:
            self._answers += [(wanted, reply)] * count

    def decide(self, call: Call) -> Reply | bool:
        """
        Return what happens to a call, after holding it where an interceptor wants it.

        :param call: The call.
        """
        if self.is_cut:
            return False
        outage = self._outage
        if outage is not None and call.reply is None and outage[0](call):
            return self._out_of_order(outage[1])
        with self._lock:
            interceptor = next((interceptor for interceptor in self._interceptors if interceptor.wanted(call)), None)
            if interceptor is not None:
                self._interceptors.remove(interceptor)
            elif call.reply is None:
                for entry in self._answers:
                    if entry[0](call):
                        self._answers.remove(entry)
                        return entry[1]
        return True if interceptor is None else interceptor.hold(call)

    def _out_of_order(self, mode: FailureMode) -> Reply | bool:
        if mode is FailureMode.SILENT:
            self._works.wait()
        return _BUSY if mode is FailureMode.BUSY else False

    def close(self) -> None:
        """Stop listening."""
        self._works.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the base's signature
        if self.proxy.is_cut:
            _reset(request)
            return False
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: callers that were killed do not wait for their answers."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Log nothing."""

    def _serve(self) -> None:
        self.close_connection = True
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = Call(self.command, urllib.parse.urlsplit(self.path).path, body, self.client_address[1])
        verdict = proxy.decide(call)
        if verdict is True:
            reply = self._pass_on(body)
            if reply is not None:
                call = Call(call.method, call.path, call.body, call.port, reply)
                for observe in proxy.observers:
                    observe(call)
                verdict = proxy.decide(call)
                verdict = reply if verdict is True else verdict
            else:
                verdict = False
        if isinstance(verdict, Reply):
            self._answer(verdict)
        else:
            _reset(self.connection)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base's names

    def _pass_on(self, body: bytes) -> Reply | None:
        connection = http.client.HTTPConnection(*self.server.proxy.upstream, timeout=_UPSTREAM_S)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _NOT_PASSED_ON:
                    connection.putheader(name, value)
            connection.putheader("Connection", "close")
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _answer(self, reply: Reply) -> None:
        headers = {name.lower(): value for name, value in reply.headers.items()}
        length = headers.get("content-length", "0") if self.command == "HEAD" else str(len(reply.body))
        self.send_response_only(reply.status)
        for name, value in headers.items():
            if name not in _HOP_BY_HOP:
                self.send_header(name, value)
        if reply.status != http.HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", length)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)


def _reset(connection: socket.socket) -> None:
    # With this a close sends a reset, as when a connection breaks, and no orderly end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
