"""The output of the demo: lines, and on a terminal a status line that is redrawn."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_sentinelhub.client.costs.amounts import pu_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLEAR_LINE = "\r\x1b[K"


def duration(seconds: float) -> str:
    """
    Return minutes and seconds, e.g. ``1:05``.

    :param seconds: How long.
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def progress_text(waiting_for: str, progress: Mapping[str, Any] | None) -> str:
    """
    Return the progress of a task in one line.

    :param waiting_for: Text before the first progress report of the task.
    :param progress: Its latest progress report.
    """
    if not progress:
        return waiting_for
    text = f"{progress['status']:<14}"
    if features := progress.get("features"):
        done = features["total"] - features.get("pending", 0)
        text += f" {done:>4} of {features['total']} features processed"
        text += f": {features['delivered']} delivered, {features['no_data']} no data, {features['failed']} failed"
    elif progress.get("completion_percentage"):
        text += f" {progress['completion_percentage']:>5.1f} %"
    if progress.get("cost_pu"):
        text += f", {pu_text(progress['cost_pu'])}"
    return text


class Screen:
    """Writes to stdout, without buffering also through a pipe."""

    def __init__(self) -> None:
        self._redraws = sys.stdout.isatty()
        self._drawn = False
        self._last = ""
        self._began = time.monotonic()

    def say(self, text: str = "") -> None:
        """
        Write lines that stay.

        :param text: The lines.
        """
        if self._drawn:
            print(_CLEAR_LINE, end="")
            self._drawn = False
        print(text, flush=True)

    def begin(self, text: str) -> TimedStep:
        """
        Announce a step, and report after the ``with`` block how long it took.

        :param text: The step.
        """
        self.say(f"{text} ...")
        return TimedStep(self)

    def progress(self, text: str) -> None:
        """
        Show progress: in place on a terminal, else as a line whenever it changes.

        :param text: The progress.
        """
        changed, self._last = text != self._last, text
        if self._redraws:
            line = f"  {duration(time.monotonic() - self._began):>5}  {text}"
            print(f"{_CLEAR_LINE}{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
            self._drawn = True
        elif changed:
            self.say(f"  {duration(time.monotonic() - self._began):>5}  {text}")


class TimedStep:
    """
    Reports how long its block took.

    :param screen: Where to report it.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._screen.say(f"  ready after {time.monotonic() - self._began:.0f} s")
