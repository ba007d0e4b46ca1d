"""Starts all parts of the simulator, serves, and stops them again."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

import uvicorn

from airflow_provider_sentinelhub.simulator.apis.registry import APIS, TASK_APIS
from airflow_provider_sentinelhub.simulator.bucket.delivery import REGION, Keys
from airflow_provider_sentinelhub.simulator.bucket.s3server import S3Server
from airflow_provider_sentinelhub.simulator.http.app import TOKEN_PATHS, build
from airflow_provider_sentinelhub.simulator.http.faults import Faults
from airflow_provider_sentinelhub.simulator.http.tokens import Tokens
from airflow_provider_sentinelhub.simulator.imagery.evaluation.engine import end_children
from airflow_provider_sentinelhub.simulator.ready import Ready
from airflow_provider_sentinelhub.simulator.tasks.clock import Clock
from airflow_provider_sentinelhub.simulator.tasks.engine import Engine
from airflow_provider_sentinelhub.simulator.tasks.ingestion import Ingestion
from airflow_provider_sentinelhub.simulator.tasks.samples import register_collections
from airflow_provider_sentinelhub.simulator.tasks.service import Service
from airflow_provider_sentinelhub.simulator.tasks.store import Store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from airflow_provider_sentinelhub.simulator.tasks.script import Script


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
        service = Service(store, clock, keys, TASK_APIS, script, pixels=options.pixels)
        register_collections(service)
        tokens = Tokens(service, options.client_id, options.client_secret)
        application = Faults(build(service, tokens, APIS), service)
        engine = Engine(service)
        ingestion = Ingestion(service)
        engine.start()
        ingestion.start()
        try:
            _serve(application, listener, options, _ready(options, home, listener, s3))
        finally:
            ingestion.stop()
            engine.stop()
    finally:
        end_children()
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
    on_signal(lambda *_: setattr(server, "should_exit", True))
    # The socket listens already: calls that come before the server is up wait.
    sys.stdout.write(ready.line() + "\n")
    sys.stdout.flush()
    server.run(sockets=[listener])


def on_signal(handler: Callable[[int, FrameType | None], None]) -> None:
    """
    Handle the signals that end the simulator.

    :param handler: What to do then.
    """
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
