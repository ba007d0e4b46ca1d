"""The environment of an Airflow that runs for a few minutes, isolated and offline."""

from __future__ import annotations

import base64
import getpass
import json
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Below the range from which the kernel takes the ports of outgoing connections: one of those could occupy the port
# in the seconds between choosing it and listening on it.
_PORTS = range(15_000, 32_000)

_SETTINGS = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    # The default asks a name server, which is slow to fail on a machine without network.
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
    "AIRFLOW__API__HOST": "127.0.0.1",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    "AIRFLOW__OPENLINEAGE__DISABLED": "True",
    # Every poll of a state would be a line in the API server's log.
    "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "http.access=WARNING",
    # A task's supervisor stays this long after its task; meanwhile Airflow may mistake an early event of the task's
    # trigger for the end of the task.
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    # How long the task of a lost worker, or of a killed scheduler, counts as running.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    # How long the triggers of a killed triggerer wait for another one.
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    # DAG files do not change meanwhile; a parse every half minute would only use CPU.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "7200",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
}


def free_port() -> int:
    """Return a free port."""
    # Not the shared generator: tests seed it with the same value.
    for port in secrets.SystemRandom().sample(_PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"No free port among 100 tried in {_PORTS}")


def _bundles(folders: Sequence[Path]) -> str:
    names = [folder.name for folder in folders]
    if len(set(names)) != len(names):
        raise ValueError(f"DAG folders need different names, because Airflow knows them by name: {names}")
    return json.dumps(
        [
            {
                "name": folder.name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(folder)},
            }
            for folder in folders
        ]
    )


def _inherited(home: Path) -> dict[str, str]:
    """Return our environment without settings that differ between machines."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    # Without bytecode every import of Airflow takes two to five times as long.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    # Tasks reach the API server through httpx, which would send them through a proxy.
    for name in ("NO_PROXY", "no_proxy"):
        env[name] = ",".join(filter(None, [env.get(name), "127.0.0.1", "localhost"]))
    if not Path(env.get("HOME") or os.devnull).is_dir():
        env["HOME"] = str(home)
    try:
        getpass.getuser()
    except (KeyError, OSError):
        # Airflow records who started a component, and a user id need not have a name.
        env["LOGNAME"] = "airflow"
    return env


def airflow_environment(
    home: Path, port: int, dag_folders: Sequence[Path], parallelism: int, extra: Mapping[str, str]
) -> dict[str, str]:
    """
    Return the environment all components share.

    :param home: ``AIRFLOW_HOME``.
    :param port: Where the API server listens.
    :param dag_folders: Folders with DAG files.
    :param parallelism: How many tasks run at once; so many processes are started.
    :param extra: Added last, so it may override any setting and carry connections.
    """
    url = f"http://127.0.0.1:{port}"
    return {
        **_inherited(home),
        **_SETTINGS,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dag_folders[0]),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__PARALLELISM": str(parallelism),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": _bundles(dag_folders),
        **extra,
    }
