"""Faults: killed and stalled processes, a cut network, and outages that last longer than any retry."""

from __future__ import annotations

import re
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import psutil

from devtools.chaos.airflow import TAKEN_OVER_AFTER_S
from devtools.processes import command_line, process_table, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from airflow_provider_sentinelhub.simulator.process import Simulator
    from devtools.airflow_stack import Component
    from devtools.chaos.airflow import ChaosAirflow
    from devtools.chaos.proxy import Call, FailureMode, Proxy
    from devtools.chaos.stack import Lane

_TAKE_OVER_S = 40.0
_WORKER_TITLE = "airflow worker -- LocalExecutor"
_TASK_TITLE = re.compile(r"^airflow worker -- [0-9a-f-]{36}$")
_TOKEN_PATH = re.compile(r"/token$")
OUTAGE_S, LONG_OUTAGE_S = 200.0, 300.0


class Fault(StrEnum):
    """What is injected while a call is held."""

    KILL = "kill -9 the caller"
    KILL_THEN_ARRIVE = "kill -9 the caller, its call still arrives"
    LOSE_WORKER = "kill -9 worker and supervisor"
    KILL_TRIGGERER = "kill -9 the triggerer"
    KILL_SCHEDULER = "kill -9 the scheduler and all workers"
    KILL_API_SERVER = "kill -9 the API server"
    STALL = "suspend the triggerer for 4 s"
    TAKE_OVER = "suspend the triggerer until another has taken over"
    CUT = "cut the network for 3 s"
    LOSE = "lose this call, or its answer"
    LATE = "let this call arrive long after its repeat"
    BURST = "answer 503 four times"
    THROTTLE = "answer 429 four times"
    UNKNOWN = "answer 404 three times"


KILLS = frozenset(
    {
        Fault.KILL,
        Fault.KILL_THEN_ARRIVE,
        Fault.LOSE_WORKER,
        Fault.KILL_TRIGGERER,
        Fault.KILL_SCHEDULER,
        Fault.KILL_API_SERVER,
        Fault.TAKE_OVER,
    }
)


@dataclass(frozen=True, slots=True)
class Caller:
    """
    The process that makes a call.

    :param task: The task's process; ``None`` where it is the triggerer.
    :param supervisor: Its supervisor.
    """

    task: int | None
    supervisor: int | None


class FaultInjector:
    """
    Injects faults into an Airflow.

    :param airflow: The Airflow.
    """

    def __init__(self, airflow: ChaosAirflow) -> None:
        self.airflow = airflow
        self._one_at_a_time = threading.Lock()

    def caller(self, call: Call) -> Caller | None:
        """
        Return the process that makes a call; ``None`` if it is gone, e.g. because another fault has killed it.

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
                # A task talks to Airflow through its supervisor.
                children = [child for child, process in table.items() if process.parent == pid]
                return Caller(children[0], pid) if children else None
        return None

    def restart_dead(self) -> list[str]:
        """Restart the components that have ended by themselves, as a supervisor would, and return their names."""
        if not self._one_at_a_time.acquire(blocking=False):
            return []
        try:
            return self.airflow.restart_dead()
        finally:
            self._one_at_a_time.release()

    def kill_caller(self, call: Call, verdict: Callable[[], None]) -> bool:
        """
        Kill the process that makes a call; return whether there was one.

        :param call: The call.
        :param verdict: Decides on the call itself, after the kill.
        """
        with self._one_at_a_time:
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
        Kill a task's process and its supervisor, so that Airflow notices only when the heartbeat is late.

        :param call: The call.
        :param verdict: Decides on the call itself, after the kill.
        """
        with self._one_at_a_time:
            caller = self.caller(call)
            if caller is None or caller.task is None or caller.supervisor is None:
                return False
            send([caller.supervisor, caller.task], signal.SIGKILL)
            verdict()
        return True

    def kill_component(self, name: Component, verdict: Callable[[], None], down: float = 0.0) -> bool:
        """
        Kill a component with all its processes and restart it.

        :param name: The component.
        :param verdict: Decides on the held call, after the kill.
        :param down: Seconds before it is restarted.
        """
        with self._one_at_a_time:
            self.airflow.kill(name)
            verdict()
            time.sleep(down)
            self.airflow.restart(name)
        return True

    def kill_api_server(self, verdict: Callable[[], None]) -> bool:
        """
        Kill the API server that tasks talk to, and restart it.

        :param verdict: Decides on the held call, after the kill.
        """
        with self._one_at_a_time:
            self.airflow.kill_execution()
            verdict()
            self.airflow.restart_execution()
        return True

    def stall_triggerer(self, verdict: Callable[[], None], seconds: float) -> bool:
        """
        Suspend the triggerer for a while.

        :param verdict: Decides on the held call, meanwhile.
        :param seconds: How long.
        """
        with self._one_at_a_time:
            self.airflow.pause("triggerer")
            verdict()
            time.sleep(seconds)
            self.airflow.resume("triggerer")
        return True

    def cut(self, proxies: Sequence[Proxy], verdict: Callable[[], None], seconds: float) -> bool:
        """
        Cut the network for a while.

        :param proxies: Where.
        :param verdict: Decides on the held call, meanwhile.
        :param seconds: How long.
        """
        for proxy in proxies:
            proxy.cut()
        verdict()
        time.sleep(seconds)
        for proxy in proxies:
            proxy.restore()
        return True

    def take_over(self, verdict: Callable[[], None]) -> bool:
        """
        Suspend the triggerer until a second one has taken over its triggers; resume it, and kill it seconds later.

        :param verdict: Decides on the held call, meanwhile.
        """
        with self._one_at_a_time:
            self.airflow.pause("triggerer")
            self.airflow.add_triggerer()
            verdict()
            give_up_at = time.monotonic() + _TAKE_OVER_S
            while not self.airflow.has_taken_over() and time.monotonic() < give_up_at:
                time.sleep(0.2)
            self.airflow.resume("triggerer")
            time.sleep(TAKEN_OVER_AFTER_S)
            self.airflow.drop_first_triggerer()
        return True


def _has_port(pid: int, port: int) -> bool:
    try:
        return any(entry.laddr.port == port for entry in psutil.Process(pid).net_connections("tcp4"))
    except psutil.Error:
        return False


class Target(StrEnum):
    """What an outage is of."""

    TOKENS = "token endpoint"
    API = "API"
    BUCKET = "bucket"


@dataclass(frozen=True, slots=True)
class Outage:
    """
    An outage.

    :param target: What is down.
    :param mode: What happens to calls meanwhile.
    :param seconds: For how long.
    """

    target: Target
    mode: FailureMode
    seconds: float = OUTAGE_S

    def __str__(self) -> str:
        return f"the {self.target} {self.mode} for {self.seconds:.0f} s"

    @contextmanager
    def over(self, lane: Lane, sim: Simulator) -> Iterator[None]:
        """
        Cause it for one lane, until the end of the ``with`` block.

        :param lane: The lane.
        :param sim: The service.
        """
        proxy = lane.bucket if self.target is Target.BUCKET else lane.service
        proxy.begin_outage(self._concerns, self.mode)
        if self.target is Target.TOKENS:
            # Every process has a token that is valid for an hour.
            sim.revoke_tokens()
        try:
            yield
        finally:
            proxy.restore()

    def _concerns(self, call: Call) -> bool:
        if self.target is Target.BUCKET:
            return True
        return (_TOKEN_PATH.search(call.path) is not None) is (self.target is Target.TOKENS)
