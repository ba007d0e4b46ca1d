"""
A real Airflow, as processes: API server, scheduler with LocalExecutor, triggerer, and a DAG processor if wanted.

::

    with AirflowStack([Path("dags")], env={"AIRFLOW_CONN_X": "..."}) as airflow:
        run = airflow.api.trigger("my_dag", {"size": 3})
        airflow.kill("triggerer")
        airflow.restart("triggerer")
        assert airflow.api.wait_for_run(run) == "success"

It needs no network, no HOME and no rights, listens on loopback only, and leaves nothing running: neither after
``stop()`` nor after this Python was killed.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

from devtools.airflow_api import AirflowApi
from devtools.airflow_environment import airflow_environment, free_port
from devtools.airflow_http import AirflowApiError
from devtools.metadata_db import copy_database
from devtools.processes import Guard, command_line, members, process_table, send

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

    from devtools.airflow_names import Task

Component = Literal["api-server", "scheduler", "triggerer", "dag-processor"]

_COMMANDS: Final[dict[Component, tuple[str, ...]]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
}
_SERIALIZER = "reserialize"
_HEALTHY = "healthy"
_POLL = 0.1
_PROCESS_S = 15.0


def _in_health(name: Component) -> str:
    return name.replace("-", "_")


class StackError(Exception):
    """A component has failed; its log is in the message."""


class AirflowStack:
    """
    One Airflow in a temporary home.

    :param dag_folders: Folders with DAG files, each with a name of its own.
    :param env: Added to the environment of all components: connections, and settings to override.
    :param dag_processor: Parse the DAGs with a DAG processor, which notices new files; without, they are parsed once,
        and have been when ``start()`` returns.
    :param parallelism: How many tasks run at once.
    :param keep: Keep the home folder; it is always kept when an exception leaves the ``with`` block.
    """

    def __init__(
        self,
        dag_folders: Sequence[Path],
        *,
        env: Mapping[str, str] | None = None,
        dag_processor: bool = False,
        parallelism: int = 2,
        keep: bool = False,
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="airflow-stack-"))
        self.port = free_port()
        self.env = airflow_environment(
            self.home, self.port, [folder.resolve() for folder in dag_folders], parallelism, env or {}
        )
        self.api = AirflowApi(f"http://127.0.0.1:{self.port}")
        self.keep = keep
        self.components: tuple[Component, ...] = ("api-server", "scheduler", "triggerer")
        if dag_processor:
            self.components += ("dag-processor",)
        self._serialize = not dag_processor
        self._guard: Guard | None = None
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        failed = kind is not None and issubclass(kind, Exception)
        if failed:
            print(self.logs(), file=sys.stderr)
        self.keep = self.keep or failed
        self.stop()

    # ----------------------------------------------------------------------------------------------- start and stop

    def start(self, timeout: float = 180) -> None:
        """
        Start all components and return when they are healthy and the DAGs were read.

        :param timeout: Seconds after which to give up.
        """
        deadline = time.monotonic() + timeout
        try:
            (self.home / "airflow.cfg").touch()
            copy_database(self.home, self.env)
            self._guard = Guard()
            for name in self.components:
                self._spawn(name, _COMMANDS[name])
            if self._serialize:
                self._read_dags(deadline)
            self._wait(self._all_healthy, deadline, "the components to be healthy", self.components)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill everything; raise if something cannot be killed."""
        if self._guard is not None:
            self._guard.close()
        self._guard = None
        self._running.clear()
        if not self.keep:
            shutil.rmtree(self.home, ignore_errors=True)

    def reserialize(self, timeout: float = 60) -> None:
        """
        Read the DAG files again.

        :param timeout: Seconds after which to give up.
        """
        self._read_dags(time.monotonic() + timeout)

    def processes(self) -> set[int]:
        """Return the ids of all processes of this Airflow."""
        return members(process.pid for process in self._running.values())

    def logs(self, lines: int = 40) -> str:
        """
        Return the end of every component's log.

        :param lines: How many lines of each.
        """
        parts = []
        for log in sorted(self.home.glob("*.log")):
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"----- {log.stem} ({log})", *tail]))
        return "\n".join(parts)

    def _spawn(self, name: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        if self._guard is None:
            raise StackError("Airflow was not started")
        command = [sys.executable, "-m", "airflow", *arguments]
        process = self._guard.spawn(command, env=self.env, log=self.home / f"{name}.log", cwd=self.home)
        self._running[name] = process
        return process

    def _read_dags(self, deadline: float) -> None:
        process = self._spawn(_SERIALIZER, ("dags", "reserialize"))
        self._wait(lambda: process.poll() is not None, deadline, "the DAGs to be read")
        del self._running[_SERIALIZER]
        if process.returncode != 0:
            raise StackError(f"airflow dags reserialize ended with {process.returncode}\n{self.logs()}")

    def _all_healthy(self) -> bool:
        health = self.api.health()
        wanted = ("metadatabase", *(_in_health(name) for name in self.components if name != "api-server"))
        return all(health[name]["status"] == _HEALTHY for name in wanted)

    def _wait(self, done: Callable[[], bool], deadline: float, what: str, needed: Sequence[Component] = ()) -> None:
        while time.monotonic() < deadline:
            for name in needed:
                if not self.alive(name):
                    raise StackError(f"{name} has ended while waiting for {what}\n{self.logs()}")
            try:
                if done():
                    return
            except (OSError, AirflowApiError):
                # The API server does not listen yet, or the database is busy with another first write.
                pass
            time.sleep(_POLL)
        raise StackError(f"Gave up waiting for {what}\n{self.logs()}")

    # ---------------------------------------------------------------------------------------- faults, and recovery

    def alive(self, name: Component) -> bool:
        """
        Return whether a component's main process exists; a paused one does.

        :param name: The component.
        """
        process = self._running.get(name)
        return process is not None and process.poll() is None

    def kill(self, name: Component, signum: int = signal.SIGKILL, *, whole: bool = True) -> None:
        """
        Send a signal to a component; after SIGKILL to all its processes, return when it is gone.

        :param name: The component.
        :param signum: The signal.
        :param whole: Send it to all its processes, as when a container is lost: the tasks of the scheduler's
            LocalExecutor and the triggerer's event loop are among them. Else to its main process only.
        """
        process = self._running[name]
        if not whole:
            send([process.pid], signum)
        elif signum == signal.SIGKILL and self._guard is not None:
            self._guard.end(process)
        else:
            send(members([process.pid]), signum)

    def pause(self, name: Component) -> None:
        """
        Suspend a component, as on a machine that is out of memory or suspended.

        :param name: The component.
        """
        self.kill(name, signal.SIGSTOP)

    def resume(self, name: Component) -> None:
        """
        Resume a paused component.

        :param name: The component.
        """
        self.kill(name, signal.SIGCONT)

    def restart(self, name: Component, timeout: float = 60) -> None:
        """
        Restart a component, killing it first if it runs, and return when it works.

        :param name: The component.
        :param timeout: Seconds after which to give up.
        """
        if self.alive(name):
            self.kill(name)
        started = datetime.now(UTC)
        self._spawn(name, _COMMANDS[name])

        def beats() -> bool:
            if name == "api-server":
                return bool(self.api.health())
            # Its health says nothing: it stays "healthy" until the heartbeat of the killed process is late.
            key = _in_health(name)
            beat = self.api.health()[key][f"latest_{key}_heartbeat"]
            return beat is not None and datetime.fromisoformat(beat) > started

        self._wait(beats, time.monotonic() + timeout, f"{name} to be back", [name])

    def heal(self) -> None:
        """Resume all paused components, and restart those that have ended."""
        for name in self.components:
            if self.alive(name):
                self.resume(name)
            else:
                self.restart(name)

    def task_process(self, task: Task) -> int | None:
        """
        Return the id of the process that runs a task now.

        :param task: The task instance.
        """
        title = f"airflow worker -- {self.api.task_instance(task).id}"
        pids = members([self._running["scheduler"].pid])
        return next((pid for pid in pids if command_line(pid) == title), None)

    def kill_task(self, task: Task, signum: int = signal.SIGKILL, *, supervisor: bool = False) -> None:
        """
        Send a signal to the process that runs a task.

        :param task: The task instance.
        :param signum: The signal.
        :param supervisor: Also to the process that watches the task and reports to the scheduler, as when a worker is
            lost; then Airflow notices by the missing heartbeat only.
        """
        # The state becomes "running" before the process has its title.
        give_up_at = time.monotonic() + _PROCESS_S
        while (pid := self.task_process(task)) is None:
            if time.monotonic() > give_up_at:
                raise StackError(f"No process runs {task}")
            time.sleep(0.1)
        watched = process_table().get(pid)
        send([watched.parent, pid] if supervisor and watched is not None else [pid], signum)
