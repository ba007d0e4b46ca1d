"""Buckets that say no: the S3 server the simulator runs, and a tiny one that answers what it is told to."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    from pathlib import Path

KEY = "an-access-key-of-somebody"
SECRET = "the-secret-of-that-key"
BUCKET = "my-bucket"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
NOT_DELETED = (
    b"<DeleteResult><Error><Key>ndvi/write-check/request-write-check.json</Key><Code>AccessDenied</Code>"
    b"<Message>Access Denied</Message></Error></DeleteResult>"
)
Answers = Mapping[str, tuple[int, dict[str, str], bytes]]


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Run the simulator's S3 server with one bucket in it; yields its address."""
    from airflow_provider_sentinelhub.simulator.bucket.s3server import S3Server

    (folder / "buckets" / BUCKET).mkdir(parents=True)
    server = S3Server(folder / "buckets", folder / "log", 0, KEY, SECRET)
    server.start()
    try:
        yield server.endpoint
    finally:
        server.stop()


@contextlib.contextmanager
def tiny_s3(answers: Answers) -> Iterator[tuple[str, list[str]]]:
    """
    Run a server that answers each method as told, 200 otherwise; yields its address and what it was asked.

    A list is a GET as well; here its method is LIST.
    """
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_any(self) -> None:
            asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append(f"{self.command} {self.path}")
            # S3's way to delete is a POST that lists keys.
            deleted = b"".join(b"<Deleted>%b</Deleted>" % key for key in re.findall(rb"<Key>.*?</Key>", asked))
            usual = b"<DeleteResult>%b</DeleteResult>" % deleted if self.command == "POST" else b""
            method = "LIST" if "list-type=" in self.path else self.command
            usual = b"<ListBucketResult></ListBucketResult>" if method == "LIST" else usual
            about = {"ETag": '"1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
            status, headers, body = answers.get(method, (200, about, usual))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = do_any  # noqa: N815 - named by the standard library

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named by the standard library
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def connections(endpoint: str, *, key: str = KEY, secret: str = SECRET, deployment: str = "custom") -> Iterator[None]:
    """Have both connections in the environment; the service itself is at an address where nobody answers."""
    sentinelhub = {
        "conn_type": "sentinelhub",
        "login": "id",
        "password": "secret",
        "host": "http://127.0.0.1:9",
        "extra": {"deployment": deployment, "token_url": "http://127.0.0.1:9/token"},
    }
    aws = {
        "conn_type": "aws",
        "login": key,
        "password": secret,
        "extra": {"region_name": "eu-central-1", "endpoint_url": endpoint},
    }
    found = {"AIRFLOW_CONN_SENTINELHUB_DEFAULT": json.dumps(sentinelhub), "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws)}
    with patch.dict(os.environ, found):
        yield


def check_buckets(request: Mapping[str, Any]) -> None:
    """Do what an operator does before it creates a task."""
    from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

    hook = SentinelHubBatchHook()
    hook.check_buckets(hook.prepare(request))
