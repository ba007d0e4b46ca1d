"""An Airflow for fault injection: with an API server for tasks alone, and a second triggerer."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.airflow_environment import free_port
from devtools.airflow_stack import AirflowStack, StackError
from devtools.metadata_db import DATABASE

if TYPE_CHECKING:
    from collections.abc import Mapping

DAGS = Path(__file__).resolve().parent / "dags"
TAKEN_OVER_AFTER_S = 5
"""Seconds of silence after which another triggerer takes over the triggers of one."""

_SETTINGS = {
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(TAKEN_OVER_AFTER_S),
}
# A process must not fail because it waits for the write of one that is suspended.
_DATABASE_S = 60
_EXECUTION = "execution-api"
_SECOND = "second-triggerer"
_TRIGGERER = ("triggerer", "--skip-serve-logs")
_TRIGGER_STARTS = re.compile(rb"trigger \S+ .*starting")


class ChaosAirflow(AirflowStack):
    """
    An Airflow with an API server for tasks alone, whose triggerer a second one can take over from.

    :param env: Added to the environment of all components.
    :param parallelism: How many tasks run at once.
    :param dags: Folder with DAG files.
    """

    def __init__(self, env: Mapping[str, str], parallelism: int, dags: Path = DAGS) -> None:
        super().__init__([dags], env={**_SETTINGS, **env}, parallelism=parallelism)
        self.execution_port = free_port()
        self.env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"{self.execution_url}/execution/"
        self._log_size = 0

    def start(self, timeout: float = 180) -> None:
        """
        Start everything, and another API server for the tasks alone.

        Where one server serves users and tasks, a user's action and a task's can deadlock: the audit log writes in the
        event loop, which the task's write needs to finish, and SQLite allows one writer at a time.

        :param timeout: Seconds after which to give up.
        """
        self.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{self.home / DATABASE}?timeout={_DATABASE_S}"
        super().start(timeout)
        self.restart_execution()

    @property
    def execution_url(self) -> str:
        """The API server that tasks talk to."""
        return f"http://127.0.0.1:{self.execution_port}"

    def kill_execution(self) -> None:
        """Kill the API server that tasks talk to."""
        if self._guard is not None:
            self._guard.end(self._running[_EXECUTION])

    def restart_execution(self, timeout: float = 60) -> None:
        """
        Start the API server that tasks talk to.

        :param timeout: Seconds after which to give up.
        """
        self._spawn(_EXECUTION, ("api-server", "--apps", "execution", "--port", str(self.execution_port)))
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.execution_port)):
                return
            time.sleep(0.2)
        raise StackError(f"The API server of the tasks did not start\n{self.logs()}")

    def restart_dead(self) -> list[str]:
        """Restart what has ended, and return the names."""
        dead: list[str] = [name for name in self.components if not self.alive(name)]
        for name in self.components:
            if name in dead:
                self.restart(name)
        if self._running[_EXECUTION].poll() is not None:
            self.restart_execution()
            dead.append(_EXECUTION)
        return dead

    def triggerers(self) -> set[int]:
        """Return the sessions of all triggerers."""
        return {process.pid for name, process in dict(self._running).items() if name.endswith("triggerer")}

    def add_triggerer(self) -> None:
        """Start a second triggerer."""
        self._log_size = self._size()
        self._spawn(_SECOND, _TRIGGERER)

    def has_taken_over(self) -> bool:
        """Whether the second triggerer has taken over triggers."""
        with contextlib.suppress(OSError), (self.home / f"{_SECOND}.log").open("rb") as log:
            log.seek(self._log_size)
            return _TRIGGER_STARTS.search(log.read()) is not None
        return False

    def drop_first_triggerer(self) -> None:
        """Kill the first triggerer; the second one takes its name."""
        self.kill("triggerer")
        self._running["triggerer"] = self._running.pop(_SECOND)

    def _size(self) -> int:
        log = self.home / f"{_SECOND}.log"
        return log.stat().st_size if log.exists() else 0
