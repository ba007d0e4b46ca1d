"""A clock that can run faster than real time, can be stopped, and survives a restart."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime


class Clock:
    """
    Simulated time.

    It starts at the real time and runs ``speed`` times as fast. Tokens do not use it: callers compare their lifetime
    with a real clock.

    :param speed: Simulated seconds per real second.
    :param start: Simulated POSIX time to start from, in seconds; the real time when ``None``.
    """

    def __init__(self, speed: float, start: float | None = None) -> None:
        self._lock = threading.Lock()
        self._speed = speed
        self._running = True
        self._base = time.time() if start is None else start
        self._since = time.monotonic()

    def now(self) -> float:
        """Return the simulated POSIX time in seconds."""
        with self._lock:
            return self._now()

    def _now(self) -> float:
        if not self._running:
            return self._base
        return self._base + (time.monotonic() - self._since) * self._speed

    def _rebase(self, ahead: float = 0.0) -> None:
        self._base = self._now() + ahead
        self._since = time.monotonic()

    def advance(self, seconds: float) -> None:
        """Jump ahead by this many simulated seconds."""
        with self._lock:
            self._rebase(seconds)

    def stop(self) -> None:
        """Stop simulated time until :meth:`run`."""
        with self._lock:
            self._rebase()
            self._running = False

    def run(self, speed: float | None = None) -> None:
        """
        Start simulated time again.

        :param speed: Simulated seconds per real second; unchanged when ``None``.
        """
        with self._lock:
            self._rebase()
            self._running = True
            if speed is not None:
                self._speed = speed

    def describe(self) -> dict[str, object]:
        """Return time, speed and whether it runs, for the admin interface."""
        with self._lock:
            return {"now": iso(self._now()), "speed": self._speed, "running": self._running}


def iso(moment: float) -> str:
    """
    Write a time as the service does: UTC, microseconds, ``Z``.

    :param moment: POSIX time in seconds.
    """
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
