"""
A gate between Airflow and somebody it talks to over HTTP: it can hold a call, lose it, answer it itself, or be cut.

A call that is held stands at an exact point of its sender's life: before the other side has heard of it, or after
it has acted and before the sender knows. Whoever is killed then is killed at that very step.
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
    A call on its way.

    :param method: HTTP method.
    :param path: Path, without the query.
    :param body: Body of the request.
    :param port: The sender's TCP port, which tells its process.
    :param reply: What the other side answered; ``None`` while it has not heard of the call.
    """

    method: str
    path: str
    body: bytes
    port: int
    reply: Reply | None = None

    def says(self, *words: str) -> bool:
        """
        Whether all these words are in the answer, or before there is one in the request.

        :param words: The words.
        """
        text = self.body if self.reply is None else self.reply.body
        return all(word.encode() in text for word in words)


class Manner(StrEnum):
    """How somebody who is out of order deals with calls."""

    BUSY = "answers 503"
    RESET = "cuts connections"
    SILENT = "does not answer"


_BUSY = Reply(503, {"Content-Type": "application/json"}, b'{"error": {"status": 503, "message": "out of order"}}')


class Trap:
    """
    Waits for a call and holds it.

    :param wanted: Judges a call, once before the other side has heard of it and once with its answer.
    """

    def __init__(self, wanted: Callable[[Call], bool]) -> None:
        self.wanted = wanted
        self.sprung = threading.Event()
        self.call: Call | None = None
        self._released = threading.Event()
        self._verdict: Reply | bool = True

    def release(self, verdict: Reply | bool) -> None:
        """
        Let the call go.

        :param verdict: True to let it pass, False to lose it, or what to answer in place of the other side.
        """
        self._verdict = verdict
        self._released.set()

    def hold(self, call: Call) -> Reply | bool:
        """
        Hold a call until it is released, and return the verdict.

        :param call: The call.
        """
        self.call = call
        self.sprung.set()
        self._released.wait(_HOLD_S)
        return self._verdict


class Gate:
    """
    Passes calls on to one address.

    :param address: Where to, ``http://host:port``.
    """

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        self.upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.observers: list[Callable[[Call], None]] = []
        self._lock = threading.Lock()
        self._traps: list[Trap] = []
        self._answers: list[tuple[Callable[[Call], bool], Reply]] = []
        self._cut = threading.Event()
        self._outage: tuple[Callable[[Call], bool], Manner] | None = None
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
        """Whether nothing passes now."""
        return self._cut.is_set()

    def cut(self) -> None:
        """Let nothing pass."""
        self._cut.set()

    def mend(self) -> None:
        """Undo the cut and everything else."""
        self._cut.clear()
        with self._lock:
            self._answers.clear()
            self._outage = None
        self._works.set()

    def break_down(self, wanted: Callable[[Call], bool], manner: Manner) -> None:
        """
        Keep calls from the other side until :meth:`mend`.

        :param wanted: Which.
        :param manner: What becomes of them.
        """
        self._works.clear()
        with self._lock:
            self._outage = (wanted, manner)

    def set_trap(self, trap: Trap) -> None:
        """
        Set a trap, for one call.

        :param trap: The trap.
        """
        with self._lock:
            self._traps.append(trap)

    def remove_trap(self, trap: Trap) -> None:
        """
        Take a trap away if it is still empty.

        :param trap: The trap.
        """
        with self._lock:
            if trap in self._traps:
                self._traps.remove(trap)

    def answer_next(self, count: int, wanted: Callable[[Call], bool], reply: Reply) -> None:
        """
        Answer calls in place of the other side, which does not hear of them.

        :param count: How many.
        :param wanted: Which.
        :param reply: The answer.
        """
        with self._lock:
            self._answers += [(wanted, reply)] * count

    def judge(self, call: Call) -> Reply | bool:
        """
        Say what becomes of a call; this is where it is held.

        :param call: The call.
        """
        if self.is_cut:
            return False
        outage = self._outage
        if outage is not None and call.reply is None and outage[0](call):
            return self._out_of_order(outage[1])
        with self._lock:
            trap = next((trap for trap in self._traps if trap.wanted(call)), None)
            if trap is not None:
                self._traps.remove(trap)
            elif call.reply is None:
                for entry in self._answers:
                    if entry[0](call):
                        self._answers.remove(entry)
                        return entry[1]
        return True if trap is None else trap.hold(call)

    def _out_of_order(self, manner: Manner) -> Reply | bool:
        if manner is Manner.SILENT:
            self._works.wait()
        return _BUSY if manner is Manner.BUSY else False

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

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        super().__init__(("127.0.0.1", 0), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the base's signature
        if self.gate.is_cut:
            _reset(request)
            return False
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: callers that were killed do not wait for their answers."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def _serve(self) -> None:
        self.close_connection = True
        gate = self.server.gate
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = Call(self.command, urllib.parse.urlsplit(self.path).path, body, self.client_address[1])
        verdict = gate.judge(call)
        if verdict is True:
            reply = self._pass_on(body)
            if reply is not None:
                call = Call(call.method, call.path, call.body, call.port, reply)
                for observe in gate.observers:
                    observe(call)
                verdict = gate.judge(call)
                verdict = reply if verdict is True else verdict
            else:
                verdict = False
        if isinstance(verdict, Reply):
            self._answer(verdict)
        else:
            _reset(self.connection)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the base's names

    def _pass_on(self, body: bytes) -> Reply | None:
        connection = http.client.HTTPConnection(*self.server.gate.upstream, timeout=_UPSTREAM_S)
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
    # With this a close is a reset, as when a line is cut, and not an orderly end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
