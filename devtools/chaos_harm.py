"""Harm to the processes of an Airflow and to the network, one at a time, and whom a call comes from."""

from __future__ import annotations

import re
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

from devtools.chaos_airflow import TAKEN_OVER_AFTER_S
from devtools.processes import command_line, process_table, send

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from devtools.airflow_stack import Component
    from devtools.chaos_airflow import ChaosAirflow
    from devtools.chaos_gate import Call, Gate

_TAKE_OVER_S = 40.0
_WORKER_TITLE = "airflow worker -- LocalExecutor"
_TASK_TITLE = re.compile(r"^airflow worker -- [0-9a-f-]{36}$")


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who makes a call.

    :param task: The task's process; ``None`` where it is the triggerer.
    :param supervisor: The process that watches it.
    """

    task: int | None
    supervisor: int | None


class Harmer:
    """
    Does harm to an Airflow.

    :param airflow: The Airflow.
    """

    def __init__(self, airflow: ChaosAirflow) -> None:
        self.airflow = airflow
        self._surgery = threading.Lock()

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
            time.sleep(TAKEN_OVER_AFTER_S)
            self.airflow.drop_first_triggerer()
        return True


def _has_port(pid: int, port: int) -> bool:
    try:
        return any(entry.laddr.port == port for entry in psutil.Process(pid).net_connections("tcp4") if entry.laddr)
    except psutil.Error:
        return False
