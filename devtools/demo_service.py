"""The service of the demo: the real one if the environment configures it, else one simulated on this machine."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.ready import Ready
from devtools.state_folder import state_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from devtools.processes import Guard

_NEEDED = {
    "SENTINELHUB_CLIENT_ID": "the id of an OAuth client of your Sentinel Hub account",
    "SENTINELHUB_CLIENT_SECRET": "the secret of that OAuth client",
    "SENTINELHUB_S3_URL": "where the results go, e.g. s3://my-bucket/demo",
    "AIRFLOW_CONN_AWS_DEFAULT": "an Airflow connection of type aws that may read and write that bucket",
}
_DEPLOYMENT = "SENTINELHUB_DEPLOYMENT"
_DEFAULT_DEPLOYMENT = "aws-eu-central-1"
_START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """
    A service that is ready to be used.

    :param env: Airflow's connections to it.
    :param delivery_url: Where results are delivered.
    :param poll_interval: Seconds between two polls of a task.
    :param buckets: Folder of the simulated buckets; ``None`` for the real service.
    """

    env: Mapping[str, str]
    delivery_url: str
    poll_interval: float
    buckets: Path | None = None

    def local(self, url: str) -> Path | None:
        """
        Return the file behind an object of a simulated bucket.

        :param url: Its ``s3://`` address.
        """
        return self.buckets / url.removeprefix("s3://") if self.buckets else None


def is_configured(environ: Mapping[str, str]) -> bool:
    """
    Return whether the environment configures the real service, completely or in part.

    :param environ: The environment.
    """
    # An AWS connection alone may belong to another Airflow, and does not count.
    return any(environ.get(name) for name in _NEEDED if name.startswith("SENTINELHUB"))


def complaints(environ: Mapping[str, str]) -> list[str]:
    """
    Return one sentence for everything that is wrong with the settings of the real service.

    :param environ: The environment.
    """
    from airflow_provider_sentinelhub.client.http.deployments import DEPLOYMENTS

    found = [f"{name} is not set: {what}." for name, what in _NEEDED.items() if not environ.get(name)]
    url = environ.get("SENTINELHUB_S3_URL")
    if url and not url.startswith("s3://"):
        found.append(f"SENTINELHUB_S3_URL is {url!r}, which does not start with s3://.")
    known = [key for key, deployment in DEPLOYMENTS.items() if deployment.base_url]
    if environ.get(_DEPLOYMENT, _DEFAULT_DEPLOYMENT) not in known:
        found.append(f"{_DEPLOYMENT} is {environ[_DEPLOYMENT]!r}, which is none of {', '.join(known)}.")
    return found


def real_service(environ: Mapping[str, str], folder: str) -> Service:
    """
    Return the real service as configured by the environment.

    :param environ: The environment, without complaints.
    :param folder: Folder of the results.
    """
    connection = {
        "conn_type": "sentinelhub",
        "login": environ["SENTINELHUB_CLIENT_ID"],
        "password": environ["SENTINELHUB_CLIENT_SECRET"],
        "extra": {"deployment": environ.get(_DEPLOYMENT, _DEFAULT_DEPLOYMENT)},
    }
    env = {
        "AIRFLOW_CONN_SENTINELHUB_DEFAULT": json.dumps(connection),
        "AIRFLOW_CONN_AWS_DEFAULT": environ["AIRFLOW_CONN_AWS_DEFAULT"],
    }
    return Service(env, f"{environ['SENTINELHUB_S3_URL'].rstrip('/')}/{folder}", poll_interval=60)


def simulated_service(guard: Guard, speed: float, instructions: Mapping[str, Any], folder: str) -> Service:
    """
    Start the simulator, and return it once it answers.

    :param guard: Ends it afterwards.
    :param speed: Simulated seconds per real second.
    :param instructions: Its script.
    :param folder: Folder of the results.
    """
    # The user's own AWS settings must neither reach nor break the simulated bucket.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    home = Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=state_folder()))
    (home / "script.json").write_text(json.dumps(instructions), encoding="utf-8")
    command = [sys.executable, "-m", "airflow_provider_sentinelhub.simulator", "--home", str(home), "--port", "0"]
    command += ["--speed", str(speed), "--script", str(home / "script.json"), "--pixels", "quick"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ready = _wait_until_ready(guard, command, env, home)
    connections = {
        **ready.airflow_connections(),
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    interval = max(0.5, 60 / speed)
    return Service(connections, f"s3://{ready.bucket}/{folder}", interval, Path(ready.home) / "buckets")


def _wait_until_ready(guard: Guard, command: Sequence[str], env: Mapping[str, str], home: Path) -> Ready:
    # In a session of its own: Ctrl-C in the terminal must not end the service before the batch on it is stopped.
    log = home / "simulator.log"
    process = guard.spawn(command, env=env, log=log)
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        text = log.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            # Its log and the line with its addresses go to the same file.
            if line.startswith('{"base_url"') and line.endswith("}"):
                return Ready(**json.loads(line))
        if ended:
            raise RuntimeError(f"The simulator has ended:\n{text[-2000:]}")
        time.sleep(0.05)
    raise RuntimeError(f"The simulator did not start within {_START_TIMEOUT_S:.0f} s:\n{text[-2000:]}")
