"""``sentinelhub-simulator``: the service on this machine. See ``docs/simulator.md``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from pydantic import ValidationError

from airflow_provider_sentinelhub.client.errors import SentinelHubError
from airflow_provider_sentinelhub.simulator.apis.registry import APIS, TASK_APIS
from airflow_provider_sentinelhub.simulator.bucket.delivery import REGION, Keys
from airflow_provider_sentinelhub.simulator.bucket.s3server import S3Server
from airflow_provider_sentinelhub.simulator.http.app import TOKEN_PATHS, build
from airflow_provider_sentinelhub.simulator.http.faults import Faults
from airflow_provider_sentinelhub.simulator.http.tokens import Tokens
from airflow_provider_sentinelhub.simulator.ready import Ready
from airflow_provider_sentinelhub.simulator.tasks.clock import Clock
from airflow_provider_sentinelhub.simulator.tasks.engine import Engine
from airflow_provider_sentinelhub.simulator.tasks.script import Script
from airflow_provider_sentinelhub.simulator.tasks.service import Service
from airflow_provider_sentinelhub.simulator.tasks.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

_LOG = logging.getLogger(__name__)
MINIMUM_KEY_CHARACTERS = 16
ROLE_ARN = "arn:aws:iam::123456789012:role/sentinelhub-simulator"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """
    Read the command line.

    :param given: Words; those of the process when ``None``.
    """
    parser = argparse.ArgumentParser(prog="sentinelhub-simulator", description="Sentinel Hub on this machine.")
    parser.add_argument("--home", type=Path, help="folder of the state; by default a temporary one, removed at exit")
    parser.add_argument("--port", type=int, default=0, help="port of the API; 0 takes any free one")
    parser.add_argument("--s3-port", type=int, default=0, help="port of the S3 server; 0 takes any free one")
    parser.add_argument("--speed", type=float, default=60, help="simulated seconds per real second (default: 60)")
    parser.add_argument("--client-id", default="simulator", help="OAuth client id (default: simulator)")
    parser.add_argument("--client-secret", default="simulator-secret", help="OAuth client secret")
    parser.add_argument("--access-key-id", default="AKIASIMULATOR0000001", help="S3 key, at least 16 characters")
    parser.add_argument("--secret-access-key", default="simulator-secret-access-key", help="S3 secret")
    parser.add_argument("--role-arn", default=ROLE_ARN, help="role that may be given in place of the S3 key")
    parser.add_argument("--bucket", default="sentinelhub", help="bucket to create (default: sentinelhub)")
    parser.add_argument("--script", type=Path, help="JSON file of durations and failures")
    parser.add_argument("--exit-with-stdin", action="store_true", help="exit when standard input ends")
    options = parser.parse_args(given)
    if options.speed <= 0:
        parser.error("--speed must be greater than 0")
    if len(options.access_key_id) < MINIMUM_KEY_CHARACTERS:
        parser.error(f"--access-key-id must have at least {MINIMUM_KEY_CHARACTERS} characters")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """
    Run the simulator until a signal stops it.

    :param given: Command line; that of the process when ``None``.
    :returns: Exit status.
    """
    options = arguments(given)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    _on_signal(lambda *_: sys.exit(0))
    try:
        script = Script.model_validate_json(options.script.read_bytes()) if options.script else None
        with tempfile.TemporaryDirectory(prefix="sentinelhub-simulator-") as temporary:
            run(options, options.home or Path(temporary), script)
    except (SentinelHubError, ValidationError, OSError) as error:
        _LOG.error("%s", error)
        return 1
    return 0


def run(options: argparse.Namespace, home: Path, script: Script | None) -> None:
    """
    Start all parts, serve, and stop all parts.

    :param options: Command line.
    :param home: Folder of the state.
    :param script: Durations and failures; those stored in ``home`` when ``None``.
    """
    (home / "buckets" / options.bucket).mkdir(parents=True, exist_ok=True)
    listener = socket.create_server(("127.0.0.1", options.port))
    s3 = S3Server(home / "buckets", home / "s3.log", options.s3_port, options.access_key_id, options.secret_access_key)
    s3.start()
    store = Store(home / "state.sqlite")
    try:
        clock = Clock(options.speed, store.setting("clock"))
        keys = Keys(options.access_key_id, options.secret_access_key, options.role_arn, s3.endpoint, REGION)
        service = Service(store, clock, keys, TASK_APIS, script)
        tokens = Tokens(service, options.client_id, options.client_secret)
        application = Faults(build(service, tokens, APIS), service)
        engine = Engine(service)
        engine.start()
        try:
            _serve(application, listener, options, _ready(options, home, listener, s3))
        finally:
            engine.stop()
    finally:
        store.close()
        s3.stop()


def _serve(application: Faults, listener: socket.socket, options: argparse.Namespace, ready: Ready) -> None:
    config = uvicorn.Config(
        application, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1, ws="none"
    )
    server = uvicorn.Server(config)
    if options.exit_with_stdin:
        threading.Thread(target=_exit_with_stdin, args=(server,), daemon=True).start()
    # While it serves, uvicorn has its own handlers; afterwards it raises the signal that ended it again.
    _on_signal(lambda *_: setattr(server, "should_exit", True))
    # The socket listens already: calls that come before the server is up wait.
    sys.stdout.write(ready.line() + "\n")
    sys.stdout.flush()
    server.run(sockets=[listener])


def _on_signal(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _exit_with_stdin(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


def _ready(options: argparse.Namespace, home: Path, listener: socket.socket, s3: S3Server) -> Ready:
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return Ready(
        base_url=base_url,
        token_url=base_url + TOKEN_PATHS[0],
        client_id=options.client_id,
        client_secret=options.client_secret,
        s3_endpoint=s3.endpoint,
        access_key_id=options.access_key_id,
        secret_access_key=options.secret_access_key,
        role_arn=options.role_arn,
        region=REGION,
        bucket=options.bucket,
        admin_url=f"{base_url}/simulator",
        home=str(home.resolve()),
        pid=os.getpid(),
    )


if __name__ == "__main__":
    sys.exit(main())
