"""AWS on loopback: a token service whose keys soon expire, and before a real S3 server a gate that refuses those."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_sentinelhub.hooks.connections import ConnectionFacts
from tests.artifacts.artifact_s3 import start_s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The S3 server knows all keys from the start; which of them are valid is for the gate to say.
_KEYS = {f"short-lived-key-{number:03}": f"secret-{number:03}-of-mine" for number in range(200)}
_EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


class Aws:
    """
    A token service, and the gate.

    :param lifetime_s: Seconds for which keys are valid.
    :param s3_endpoint: The S3 server behind the gate, if there is one.
    """

    def __init__(self, lifetime_s: float, s3_endpoint: str = "") -> None:
        self.lifetime_s = lifetime_s
        self.delay_s = 0.0
        self.is_down = False
        self.asked = 0
        self.assumed: list[dict[str, str]] = []
        self.passed: list[str] = []
        self.refused = 0
        self._valid_until: dict[str, float] = {}
        self._upstream = urlsplit(s3_endpoint).netloc
        aws = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                given = {name.lower(): value for name, value in self.headers.items()}
                status, headers, said = aws.answer(self.command, self.path, given, body)
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if self.command != "HEAD" or "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any  # noqa: N815 - the base class's names

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def keys_used(self) -> int:
        """How many keys the S3 server was asked with."""
        return len(set(self.passed))

    def connection(self, conn_id: str = "aws_role") -> ConnectionFacts:
        """A connection whose role Airflow assumes."""
        return ConnectionFacts(conn_id, "AKIAEXAMPLE", "base-secret", "", self._extra())

    def as_json(self) -> str:
        """The same, as written in the environment."""
        return json.dumps(
            {"conn_type": "aws", "login": "AKIAEXAMPLE", "password": "base-secret", "extra": self._extra()}
        )

    def _extra(self) -> dict[str, object]:
        return {
            "role_arn": "arn:aws:iam::123456789012:role/reader",
            "region_name": "eu-central-1",
            "config_kwargs": {"retries": {"max_attempts": 0}},
            "service_config": {"sts": {"endpoint_url": self.endpoint}, "s3": {"endpoint_url": self.endpoint}},
        }

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Issue keys, or pass a request on."""
        if b"Action=AssumeRole" in body:
            self.assumed.append(dict(parse_qsl(body.decode())))
            return self._issue()
        key = re.search(r"Credential=([^/]+)/", headers.get("authorization", ""))
        name = key[1] if key else ""
        if time.time() > self._valid_until.get(name, 0):
            self.refused += 1
            return 400, {}, _EXPIRED
        self.passed.append(name)
        time.sleep(self.delay_s)
        upstream = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            # With the host the sender signed.
            upstream.request(method, path, body, headers)
            answer = upstream.getresponse()
            said = answer.read()
            hop = {"transfer-encoding", "connection"} | (set() if method == "HEAD" else {"content-length"})
            return answer.status, {n: v for n, v in answer.headers.items() if n.lower() not in hop}, said
        finally:
            upstream.close()

    def _issue(self) -> tuple[int, dict[str, str], bytes]:
        number, self.asked = self.asked, self.asked + 1
        if self.is_down:
            return 503, {}, b"<ErrorResponse><Error><Code>ServiceUnavailable</Code></Error></ErrorResponse>"
        name = f"short-lived-key-{number:03}"
        moment = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
        self._valid_until[name] = moment.timestamp()
        return (
            200,
            {},
            (
                '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
                f"<AccessKeyId>{name}</AccessKeyId><SecretAccessKey>{_KEYS[name]}</SecretAccessKey>"
                f"<SessionToken>token</SessionToken><Expiration>{moment.isoformat()}</Expiration>"
                "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
            ).encode(),
        )


@contextmanager
def short_lived_s3(buckets: Path, log: Path, lifetime_s: float) -> Iterator[Aws]:
    """A real S3 server over a folder of buckets, which takes keys for as long as they are valid."""
    auth = [word for name, secret in _KEYS.items() for word in ("--auth-key", f"{name},{secret}")]
    server = start_s3(buckets, log, *auth)
    try:
        with Aws(lifetime_s, server.endpoint) as aws:
            yield aws
    finally:
        server.process.kill()
        server.process.wait()
