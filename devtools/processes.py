"""
Processes that never outlive the program that started them.

A program is started in a session of its own, because that is the only mark its descendants keep: Airflow gives every
task a process group of its own, and children of a killed process change parents.
:class:`Guard` owns such sessions and ends them; ``devtools.watchdog`` ends them when the guard no longer can.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_PROC = Path("/proc")
_DEFUNCT = "Z"
# The new session reports its id to the watchdog, through the pipe it has as stdin, before it becomes the program: so
# the watchdog knows of it before it runs.
_ANNOUNCE = 'echo "+$$" >&0; exec "$@" </dev/null'


@dataclass(frozen=True, slots=True)
class Process:
    """
    One row of the process table.

    :param pid: Its id.
    :param parent: Id of its parent.
    :param session: Id of its session; 0 where unknown.
    """

    pid: int
    parent: int
    session: int


def _from_proc(pid: int) -> Process | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name and may itself contain blanks and brackets.
    state, parent, _group, session = stat.rpartition(")")[2].split()[:4]
    return None if state == _DEFUNCT else Process(pid, int(parent), int(session))


def _from_ps() -> Iterable[Process]:
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        pid, parent, state = line.split()[:3]
        if state.startswith(_DEFUNCT):
            continue
        try:
            session = os.getsid(int(pid))
        except OSError:
            session = 0
        yield Process(int(pid), int(parent), session)


def process_table() -> dict[int, Process]:
    """Return all living processes, without zombies."""
    if (_PROC / "self" / "stat").exists():
        found = (_from_proc(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit())
        return {process.pid: process for process in found if process is not None}
    return {process.pid: process for process in _from_ps()}


def members(sessions: Iterable[int]) -> set[int]:
    """
    Return the ids of all processes of these sessions, and of their descendants that left for another session.

    :param sessions: Session ids.
    """
    wanted = set(sessions)
    table = process_table()
    found = {pid for pid, process in table.items() if process.session in wanted}
    grown = True
    while grown:
        children = {pid for pid, process in table.items() if process.parent in found} - found
        found |= children
        grown = bool(children)
    return found - {os.getpid()}


def command_line(pid: int) -> str:
    """
    Return the command line of a process, or the title it has set; empty if it does not exist.

    :param pid: Its id.
    """
    try:
        return (_PROC / str(pid) / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except OSError:
        pass
    listing = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listing.stdout.strip()


def send(pids: Iterable[int], signum: int) -> None:
    """
    Send a signal to every process that still exists.

    :param pids: Process ids.
    :param signum: Signal number.
    """
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


def end_sessions(sessions: Iterable[int], timeout: float = 10.0) -> set[int]:
    """
    Kill everything in these sessions and return what is still alive, which should be nothing.

    :param sessions: Session ids.
    :param timeout: Seconds after which to give up.
    """
    wanted = frozenset(sessions)
    deadline = time.monotonic() + timeout
    known: set[int] = set()
    # Processes fork while they are being killed, so one pass is not enough.
    while time.monotonic() < deadline:
        known = (known & process_table().keys()) | members(wanted)
        if not known:
            break
        send(known, signal.SIGKILL)
        time.sleep(0.02)
    return known


class Guard:
    """
    Starts programs, each in a session of its own, and ends them: with ``close()``, or when this process dies.

    If this process is killed, a second one notices that the pipe between them has closed, and kills the rest.
    """

    def __init__(self) -> None:
        self._sessions: dict[int, subprocess.Popen[bytes]] = {}
        reads, writes = os.pipe()
        self._pipe = os.fdopen(writes, "wb", buffering=0)
        self._watchdog = subprocess.Popen(
            [sys.executable, "-m", "devtools.watchdog"],
            stdin=reads,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            cwd=Path(__file__).resolve().parent.parent,
        )
        os.close(reads)

    def spawn(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """
        Start a program as leader of a new session; its process id is the session's id.

        :param command: Program and arguments.
        :param env: Its whole environment.
        :param log: File to which its output is appended.
        :param cwd: Its working directory.
        """
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _ANNOUNCE, "sh", *command],
                stdin=self._pipe,
                stdout=output,
                stderr=output,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        self._sessions[process.pid] = process
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """
        Kill a program with everything it started.

        :param process: What ``spawn`` returned.
        """
        left = end_sessions([process.pid])
        if left:
            raise RuntimeError(f"Processes {sorted(left)} could not be killed")
        process.wait()
        if self._sessions.pop(process.pid, None) is not None:
            # Its id may be reused from now on.
            self._pipe.write(f"-{process.pid}\n".encode())

    def close(self) -> None:
        """Kill everything that was started; raise if something cannot be killed."""
        left = end_sessions(self._sessions)
        for process in self._sessions.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
        self._sessions.clear()
        self._pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._watchdog.wait(timeout=15)
        if left:
            raise RuntimeError(f"Processes {sorted(left)} could not be killed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
