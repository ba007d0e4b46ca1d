"""The Airflow and the simulated service that are harmed, with gates between them and whatever they talk to."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psutil  # type: ignore[import-untyped]

from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.airflow_environment import free_port
from devtools.airflow_stack import AirflowStack, Component, StackError
from devtools.chaos_gate import Call, Gate, Trap
from devtools.metadata_db import DATABASE
from devtools.processes import command_line, process_table, send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from devtools.airflow_api import AirflowApi
    from devtools.chaos_steps import Step

T = TypeVar("T")
DAGS = Path(__file__).resolve().parent / "chaos_dags"
NAIVE = "SENTINELHUB_CHAOS_NAIVE"
SPEED = 60
# Six seconds of analysis and sixteen of processing: long enough for whoever replaces a killed one to see them.
# What was just created is unknown for most of a second, and a status is shown half a second late.
TIMING: dict[str, Any] = {
    "analysis_seconds": 360,
    "feature_seconds": 960,
    "visible_after_seconds": 45,
    "status_lag_seconds": 30,
}
# In the tasks themselves, and not in the restarts, whose tag goes on.
FAILS_ONCE = {"outcome": "fatal", "indexes": [0], "task": r"_restart/.*~\d+$"}
SCRIPT = {"timing": TIMING, "features": [FAILS_ONCE]}
_TAKEN_OVER_AFTER_S = 5
_SETTINGS = {
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": str(_TAKEN_OVER_AFTER_S),
}
_TAKE_OVER_S = 40.0
# Who waits for a write of a process that is stalled must not be the one to die.
_DATABASE_S = 60
_EXECUTION = "execution-api"
_SECOND = "second-triggerer"
_TRIGGERER = ("triggerer", "--skip-serve-logs")
_TRIGGER_STARTS = re.compile(rb"trigger \S+ .*starting")
_WORKER_TITLE = "airflow worker -- LocalExecutor"
_TASK_TITLE = re.compile(r"^airflow worker -- [0-9a-f-]{36}$")
_RUN_CALL = re.compile(r"^/execution/task-instances/([0-9a-f-]{36})/run$")


class Lane:
    """
    One run after the other goes along a lane, with connections of its own to the service and to the bucket.

    :param number: Its number.
    :param service: The gate to the service.
    :param bucket: The gate to the bucket.
    """

    def __init__(self, number: int, service: Gate, bucket: Gate) -> None:
        self.number = number
        self.service = service
        self.bucket = bucket

    @property
    def gates(self) -> list[Gate]:
        """Both gates."""
        return [self.service, self.bucket]

    def mend(self) -> None:
        """Undo all harm."""
        for gate in self.gates:
            gate.mend()


class _Airflow(AirflowStack):
    """
    An Airflow with an API server for tasks alone, and whose triggerer a second one can replace while it is stalled.

    :param env: Added to the environment of all components.
    :param parallelism: How many tasks run at once.
    """

    def __init__(self, env: Mapping[str, str], parallelism: int) -> None:
        super().__init__([DAGS], env=env, parallelism=parallelism)
        self.execution_port = free_port()
        self._log_size = 0

    def start(self, timeout: float = 180) -> None:
        """
        Start everything, and one more API server for the tasks alone.

        Where one server serves users and tasks, a user's action and a task's can wait for each other for ever: the
        audit log writes in the event loop, which the task's write needs to end, and SQLite lets in one at a time.

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

    def revive(self) -> list[str]:
        """Start again what has ended, and name it."""
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
        """Whether the second triggerer has got triggers."""
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


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who makes a call.

    :param task: The task's process; ``None`` where it is the triggerer.
    :param supervisor: The process that watches it.
    """

    task: int | None
    supervisor: int | None


class ChaosStack:
    """
    Everything that takes part, as a context manager.

    :param lanes: How many runs go on at the same time.
    :param naive: Run the batches without record and search.
    """

    def __init__(self, lanes: int, *, naive: bool = False) -> None:
        self._count = lanes
        self._naive = naive
        self._exits = ExitStack()
        self._run_of: dict[str, str] = {}
        self._surgery = threading.Lock()
        self._writing = threading.Lock()
        self.lanes: list[Lane] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._exits.__exit__(kind, error, tb)

    def _start(self) -> None:
        self.sim = self._exits.enter_context(Simulator.start(speed=SPEED, script=SCRIPT))
        env = dict(_SETTINGS)
        for number in range(self._count):
            lane = Lane(number, self._gate(self.sim.ready.base_url), self._gate(self.sim.ready.s3_endpoint))
            self.lanes.append(lane)
            env.update(self._connections(lane))
        if self._naive:
            env[NAIVE] = "1"
        self.airflow = _Airflow(env, 2 * self._count)
        # Also what tasks say to Airflow itself goes through a gate.
        self.execution = self._gate(self.airflow.execution_url)
        self.execution.observers.append(self._learn)
        self.airflow.env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = f"{self.execution.url}/execution/"
        self._exits.enter_context(self.airflow)

    def _gate(self, address: str) -> Gate:
        return self._exits.enter_context(Gate(address))

    def _connections(self, lane: Lane) -> Mapping[str, str]:
        known = self.sim.ready.airflow_connections()
        service = json.loads(known["AIRFLOW_CONN_SENTINELHUB_DEFAULT"])
        service["host"] = lane.service.url
        service["extra"]["token_url"] = service["extra"]["token_url"].replace(self.sim.ready.base_url, lane.service.url)
        bucket = json.loads(known["AIRFLOW_CONN_AWS_DEFAULT"])
        bucket["extra"]["endpoint_url"] = lane.bucket.url
        return {
            f"AIRFLOW_CONN_LANE{lane.number}": json.dumps(service),
            f"AIRFLOW_CONN_BUCKET{lane.number}": json.dumps(bucket),
        }

    def _learn(self, call: Call) -> None:
        started = _RUN_CALL.match(call.path)
        if started and call.reply is not None:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._run_of[started[1]] = json.loads(call.reply.body)["dag_run"]["run_id"]

    def run_of(self, call: Call) -> str | None:
        """
        Return the run whose task makes a call to Airflow's own API.

        :param call: The call.
        """
        return next((self._run_of[part] for part in call.path.split("/") if part in self._run_of), None)

    def trap(self, lane: Lane, run_id: str, step: Step) -> Trap:
        """
        Set a trap for the call by which a run's task takes a step.

        :param lane: The run's lane.
        :param run_id: The run.
        :param step: The step.
        """
        gate = self.gate_of(lane, step)

        def wanted(call: Call) -> bool:
            # A lane's own gates see this run alone.
            return step.marks(call) and (gate is not self.execution or self.run_of(call) == run_id)

        trap = Trap(wanted)
        gate.set_trap(trap)
        return trap

    def drop_trap(self, lane: Lane, trap: Trap) -> None:
        """
        Take a trap away, and let go what is in it.

        :param lane: The lane it was set for.
        :param trap: The trap.
        """
        for gate in (*lane.gates, self.execution):
            gate.remove_trap(trap)
        trap.release(verdict=True)

    def gate_of(self, lane: Lane, step: Step) -> Gate:
        """
        Return the gate through which the call goes that marks a step.

        :param lane: The run's lane.
        :param step: The step.
        """
        return {"service": lane.service, "bucket": lane.bucket, "airflow": self.execution}[step.place]

    def act(self, action: Callable[[AirflowApi], T]) -> T:
        """
        Do what a user does; one at a time, see :class:`_Airflow`.

        :param action: What to do.
        """
        with self._writing:
            return action(self.airflow.api)

    # ---------------------------------------------------------------------------------------------- who makes a call

    def caller(self, call: Call) -> Caller | None:
        """
        Return who makes a call; ``None`` if that process is gone, e.g. because somebody else was killed with it.

        :param call: The call.
        """
        table = process_table()
        for pid in self.airflow.processes():
            if pid not in table or not _has_port(pid, call.port):
                continue
            if table[pid].session in self.airflow.triggerers():
                return Caller(None, None)
            if _TASK_TITLE.match(command_line(pid)):
                return Caller(pid, table[pid].parent)
            if command_line(pid).startswith(_WORKER_TITLE):
                # A task talks to Airflow through the process that watches it.
                children = [child for child, process in table.items() if process.parent == pid]
                return Caller(children[0], pid) if children else None
        return None

    def revive(self) -> list[str]:
        """Start again what has died by itself, as whatever runs an Airflow does, and name it."""
        if not self._surgery.acquire(blocking=False):
            return []
        try:
            return self.airflow.revive()
        finally:
            self._surgery.release()

    # ---------------------------------------------------------------------------------------------------------- harm

    def kill_caller(self, call: Call, verdict: Callable[[], None]) -> bool:
        """
        Kill who makes a call; say whether there was somebody to kill.

        :param call: The call.
        :param verdict: What becomes of the call itself, after the kill.
        """
        with self._surgery:
            caller = self.caller(call)
            if caller is None:
                return False
            if caller.task is None:
                self.airflow.kill("triggerer")
                verdict()
                self.airflow.restart("triggerer")
            else:
                send([caller.task], signal.SIGKILL)
                verdict()
        return True

    def lose_worker(self, call: Call, verdict: Callable[[], None]) -> bool:
        """
        Kill a task's process and the one that watches it, so that Airflow learns nothing until the heartbeat is late.

        :param call: The call.
        :param verdict: What becomes of the call itself, after the kill.
        """
        with self._surgery:
            caller = self.caller(call)
            if caller is None or caller.task is None or caller.supervisor is None:
                return False
            send([caller.supervisor, caller.task], signal.SIGKILL)
            verdict()
        return True

    def kill_component(self, name: Component, verdict: Callable[[], None], away: float = 0.0) -> bool:
        """
        Kill a component with all its processes and start it again.

        :param name: The component.
        :param verdict: What becomes of the call that is held, after the kill.
        :param away: Seconds for which it stays away.
        """
        with self._surgery:
            self.airflow.kill(name)
            verdict()
            time.sleep(away)
            self.airflow.restart(name)
        return True

    def kill_api_server(self, verdict: Callable[[], None]) -> bool:
        """
        Kill the API server that tasks talk to, and start it again.

        :param verdict: What becomes of the call that is held, after the kill.
        """
        with self._surgery:
            self.airflow.kill_execution()
            verdict()
            self.airflow.restart_execution()
        return True

    def stall_triggerer(self, verdict: Callable[[], None], seconds: float) -> bool:
        """
        Stop the triggerer where it stands, and let it go on after a while.

        :param verdict: What becomes of the call that is held, meanwhile.
        :param seconds: How long.
        """
        with self._surgery:
            self.airflow.pause("triggerer")
            verdict()
            time.sleep(seconds)
            self.airflow.resume("triggerer")
        return True

    def cut(self, gates: Sequence[Gate], verdict: Callable[[], None], seconds: float) -> bool:
        """
        Cut the network for a while.

        :param gates: Where.
        :param verdict: What becomes of the call that is held, meanwhile.
        :param seconds: How long.
        """
        for gate in gates:
            gate.cut()
        verdict()
        time.sleep(seconds)
        for gate in gates:
            gate.mend()
        return True

    def take_over(self, verdict: Callable[[], None]) -> bool:
        """
        Stall the triggerer until a second one has its triggers; then wake it up, and kill it some seconds later.

        :param verdict: What becomes of the call that is held, meanwhile.
        """
        with self._surgery:
            self.airflow.pause("triggerer")
            self.airflow.add_triggerer()
            verdict()
            give_up_at = time.monotonic() + _TAKE_OVER_S
            while not self.airflow.has_taken_over() and time.monotonic() < give_up_at:
                time.sleep(0.2)
            self.airflow.resume("triggerer")
            time.sleep(_TAKEN_OVER_AFTER_S)
            self.airflow.drop_first_triggerer()
        return True


def _has_port(pid: int, port: int) -> bool:
    try:
        return any(entry.laddr.port == port for entry in psutil.Process(pid).net_connections("tcp4") if entry.laddr)
    except psutil.Error:
        return False
