"""The simulator as a child process, for tests and scripts."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_sentinelhub.client.errors import ServiceUnavailable
from airflow_provider_sentinelhub.simulator.caller import Answer, call
from airflow_provider_sentinelhub.simulator.ready import Ready

if TYPE_CHECKING:
    from types import TracebackType

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


class Simulator:
    """
    A running simulator.

    ::

        with Simulator.start(speed=600) as sim:
            print(sim.ready.base_url)

    It ends with the ``with`` block, and also when the process that started it dies.

    :param process: The child process.
    :param ready: Its URLs and credentials.
    :param log: File of its log; removed by :meth:`stop` unless it is in the caller's ``home``.
    """

    def __init__(self, process: subprocess.Popen[bytes], ready: Ready, log: Path) -> None:
        self._process = process
        self.ready = ready
        self.log = log
        self._token: str | None = None

    @classmethod
    def start(
        cls,
        home: Path | None = None,
        speed: float = 60,
        script: dict[str, Any] | None = None,
        options: tuple[str, ...] = (),
    ) -> Simulator:
        """
        Start a simulator and wait until it is up.

        :param home: Folder of the state, so that a later start continues it; a temporary one when ``None``.
        :param speed: Simulated seconds per real second.
        :param script: Durations and failures, see ``docs/simulator.md``.
        :param options: Further options of its command line, e.g. ``("--port", "8080")``.
        :raises ServiceUnavailable: It does not start; the text quotes its log.
        """
        command = [sys.executable, "-m", "airflow_provider_sentinelhub.simulator", "--exit-with-stdin"]
        command += ["--speed", str(speed), *options]
        if home is not None:
            home.mkdir(parents=True, exist_ok=True)
            command += ["--home", str(home)]
        descriptor, log = tempfile.mkstemp(prefix="sentinelhub-simulator-", suffix=".log", dir=home)
        folder = tempfile.TemporaryDirectory() if script is not None else None
        if folder is not None:
            path = Path(folder.name) / "script.json"
            path.write_text(json.dumps(script), encoding="utf-8")
            command += ["--script", str(path)]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=descriptor)
            try:
                return cls(process, _ready(process, Path(log)), Path(log))
            except BaseException:
                process.kill()
                process.wait()
                _close(process)
                raise
        finally:
            os.close(descriptor)
            if folder is not None:
                folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it and wait until it is gone."""
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        _close(self._process)
        if Path(self.ready.home).resolve() not in self.log.resolve().parents:
            self.log.unlink(missing_ok=True)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        _close(self._process)

    @property
    def bucket_folder(self) -> Path:
        """Local folder that holds the bucket's files."""
        return Path(self.ready.home) / "buckets" / self.ready.bucket

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """
        Call the admin interface.

        :param method: HTTP method.
        :param path: Path below ``/simulator``, e.g. ``/clock``.
        :param body: Sent as JSON, unless ``None``.
        :raises ServiceUnavailable: The answer is an error.
        """
        answer = call(method, self.ready.admin_url + path, body)
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise ServiceUnavailable(f"{method} {path}: {answer.body}", status=answer.status)
        return answer.body

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """
        Call the simulated service as a client, with a token fetched at the first call.

        :param method: HTTP method.
        :param path: Path with query, e.g. ``/batch/v2/process?count=1``.
        :param body: Sent as JSON, unless ``None``.
        :returns: The answer, also where it is an error.
        """
        if self._token is None:
            self._token = self.fetch_token()
        return call(method, self.ready.base_url + path, body, {"Authorization": f"Bearer {self._token}"})

    def fetch_token(self) -> str:
        """Get a new access token."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.ready.client_id,
            "client_secret": self.ready.client_secret,
        }
        return str(call("POST", self.ready.token_url, form=form).body["access_token"])

    def set_script(self, script: dict[str, Any]) -> None:
        """
        Replace the script.

        :param script: See ``docs/simulator.md``; with ``{}`` nothing goes wrong.
        """
        self.admin("PUT", "/script", script)

    def tasks(self) -> list[dict[str, Any]]:
        """Return all tasks with their histories."""
        tasks: list[dict[str, Any]] = self.admin("GET", "/tasks")["tasks"]
        return tasks

    def task(self, task_id: str) -> dict[str, Any]:
        """
        Return one task with its history and features.

        :param task_id: Its id.
        """
        task: dict[str, Any] = self.admin("GET", f"/tasks/{task_id}")
        return task

    def async_requests(self) -> list[dict[str, Any]]:
        """Return all Async Process requests with their histories, in the order in which they were accepted."""
        found: list[dict[str, Any]] = self.admin("GET", "/requests/async-process")["requests"]
        return found

    def requests(self) -> dict[str, Any]:
        """Return the log of requests: ``total``, ``counts`` by endpoint and the last ``requests``."""
        log: dict[str, Any] = self.admin("GET", "/requests")
        return log

    def advance_clock(self, seconds: float) -> None:
        """
        Move the clock forward.

        :param seconds: Simulated seconds.
        """
        self.admin("POST", "/clock", {"advance_seconds": seconds})

    def stop_clock(self) -> None:
        """Stop simulated time."""
        self.admin("POST", "/clock", {"running": False})

    def run_clock(self, speed: float | None = None) -> None:
        """
        Start simulated time again.

        :param speed: Simulated seconds per real second; unchanged when ``None``.
        """
        self.admin("POST", "/clock", {"running": True, "speed": speed})

    def revoke_tokens(self) -> None:
        """Make all tokens issued so far invalid, also the one of :meth:`call`."""
        self.admin("POST", "/tokens/revoke")
        self._token = None

    def tokens_issued(self) -> int:
        """Return how many tokens were ever issued."""
        return int(self.admin("GET", "/tokens")["issued"])

    def set_balance(self, pu: float) -> None:
        """
        Set the balance of the account.

        :param pu: Processing units.
        """
        self.admin("PUT", "/account", {"pu_balance": pu})


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _ready(process: subprocess.Popen[bytes], log: Path) -> Ready:
    lines: queue.Queue[bytes] = queue.Queue()
    stream = process.stdout
    if stream is None:
        raise ServiceUnavailable("The simulator has no standard output.")
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    deadline = time.monotonic() + START_TIMEOUT_S
    try:
        line = lines.get(timeout=deadline - time.monotonic())
    except queue.Empty:
        line = b""
    if not line:
        raise ServiceUnavailable(f"The simulator did not start: {log.read_text(errors='replace')[-2000:]}")
    return Ready(**json.loads(line))
