"""
Runs an evalscript over many pixels, in a child process.

The engine is QuickJS. A script never runs in this process: the engine has functions that no time limit interrupts, and
errors of memory that end its process. A child is kept for the next script, which starts in a world of its own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from airflow_provider_sentinelhub.client.javascript.engine import engine_folder
from airflow_provider_sentinelhub.client.text import one_line
from airflow_provider_sentinelhub.simulator.imagery.evaluation import child
from airflow_provider_sentinelhub.simulator.problems import RenderingFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray

MOST_CHILDREN = max(2, os.cpu_count() or 1)
_FRAME = re.compile(r"\n    at (.*?) \(<input>:(\d+):(\d+)\)")
_SYNTAX = re.compile(r"\n    at <input>:(\d+):(\d+)")
_LINE = 300


class Evaluation:
    """
    A script that is being run. Use it in a ``with`` statement.

    :param script: The evalscript.
    :raises RenderingFailed: Its top level fails, or the engine is not installed.
    """

    def __init__(self, script: str) -> None:
        self._script = script
        self._lines = script.count("\n") + 1
        _FREE.acquire()
        self._open = True
        self._failed = False
        self._child: _Child | None = None
        try:
            self._child = _free_child()
            self._ask({"step": "open", "script": script, "lines": self._lines})
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self, plan: dict[str, Any]) -> tuple[list[list[int]], list[int]]:
        """
        Let the script choose scenes and set the number of bands.

        :param plan: Sources with their scenes and bands, and outputs; see ``prelude.js``.
        :returns: Of each source, which scenes are left; and of each output, how many bands it has.
        :raises RenderingFailed: The script fails.
        """
        answer, _ = self._ask({"step": "begin", "plan": json.dumps({**plan, "lines": self._lines})})
        found = json.loads(answer["found"])
        return found["kept"], found["bands"]

    def block(
        self, size: int, arrays: Sequence[NDArray[Any]], wanted: dict[int, int]
    ) -> dict[int, NDArray[np.float64]]:
        """
        Evaluate some pixels.

        :param size: How many.
        :param arrays: Digital numbers, in the order of the plan's bands: samples of pixels.
        :param wanted: Numbers of outputs, and how many bands each has.
        :returns: By output: bands of pixels.
        :raises RenderingFailed: The script fails.
        """
        message = {
            "step": "block",
            "size": size,
            "types": [each.dtype.name for each in arrays],
            "wanted": list(wanted),
        }
        _, results = self._ask(message, [each.tobytes() for each in arrays])
        return {
            number: np.frombuffer(content, np.float64).reshape(bands, size)
            for (number, bands), content in zip(wanted.items(), results, strict=True)
        }

    def end(self) -> str:
        """
        Return ``userData`` as JSON.

        :raises RenderingFailed: The script fails.
        """
        answer, _ = self._ask({"step": "end"})
        return str(answer["userdata"])

    def close(self) -> None:
        """Make the child free for the next script."""
        if not self._open:
            return
        held, self._child, self._open = self._child, None, False
        if held is not None and self._failed:
            # The script may have left it with little memory.
            held.end()
        elif held is not None:
            _IDLE.append(held)
        _FREE.release()

    def _ask(self, message: dict[str, Any], arrays: Sequence[bytes] = ()) -> tuple[dict[str, Any], list[bytes]]:
        if self._child is None:
            raise RenderingFailed("The script was closed.")
        self._failed = True
        answer, results = self._child.ask(message, arrays)
        if "thrown" in answer:
            raise RenderingFailed(_told(str(answer["thrown"]), self._script))
        self._failed = False
        return answer, results


class _Child:
    """A process that runs scripts."""

    def __init__(self) -> None:
        folder = engine_folder()
        if folder is None:
            raise RenderingFailed("Install airflow-provider-sentinelhub[simulator]: without it no evalscript is run.")
        libraries = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
        prelude = Path(child.__file__).with_name("prelude.js")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", child.__file__, folder, str(prelude)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=libraries,
            # A signal to the simulator's terminal is not meant for it; it ends with its input.
            start_new_session=True,
        )

    def ask(self, message: dict[str, Any], arrays: Sequence[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """
        Send a message and wait for the answer.

        :param message: The message.
        :param arrays: What goes with it.
        """
        line = json.dumps({**message, "sizes": [len(each) for each in arrays]}).encode() + b"\n"
        writer, reader = self._process.stdin, self._process.stdout
        if writer is None or reader is None:
            raise RenderingFailed("The child that runs scripts has no pipes.")
        try:
            writer.write(line)
            for each in arrays:
                writer.write(each)
            writer.flush()
            answered = reader.readline()
        except OSError:
            answered = b""
        if not answered:
            raise RenderingFailed(self._told())
        answer = json.loads(answered)
        return answer, [reader.read(size) for size in answer["sizes"]]

    def end(self) -> int:
        """End the process, and return its status."""
        self._process.kill()
        status = self._process.wait()
        for each in (self._process.stdin, self._process.stdout):
            if each is not None:
                try:
                    each.close()
                except OSError:
                    # What could not be written cannot be flushed.
                    continue
        return status

    def _told(self) -> str:
        status = self.end()
        if status in {-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGALRM}:
            return f"Script exceeds a limit: {child.SECONDS} s of CPU time for a block of pixels, or its memory."
        return f"Script ended its engine with status {status}."


_FREE = threading.BoundedSemaphore(MOST_CHILDREN)
_IDLE: list[_Child] = []


def _free_child() -> _Child:
    try:
        return _IDLE.pop()
    except IndexError:
        return _Child()


def end_children() -> None:
    """End the children that are free. The next script starts a new one."""
    while _IDLE:
        _IDLE.pop().end()


def _told(thrown: str, script: str) -> str:
    """
    Tell an error as the service does: file, line, message, and the line itself.

    :param thrown: The engine's text: a message, and the calls that led to it.
    :param script: The script.
    """
    message = one_line(thrown.partition("\n    at ")[0].removesuffix("\nundefined"), _LINE)
    if message.startswith("InternalError: interrupted"):
        return f"Script exceeds a limit: {child.SECONDS} s of CPU time for a block of pixels."
    frames = [(name, int(line), int(column)) for name, line, column in _FRAME.findall(thrown)]
    lines = script.split("\n")
    # What follows is the prelude.
    frames = [each for each in frames if each[1] <= len(lines)]
    syntax = _SYNTAX.search(thrown)
    if not frames and syntax and int(syntax[1]) <= len(lines):
        frames = [("evalscript", int(syntax[1]), int(syntax[2]))]
    if not frames:
        return f"Failed to evaluate script!\n{message}"
    _, line, column = frames[0]
    source = one_line(lines[line - 1], _LINE)
    calls = "".join(f"\n    at {one_line(name, _LINE)} (evalscript.js:{at}:{of})" for name, at, of in frames[:10])
    marker = " " * max(0, min(column - 1, _LINE)) + "^"
    return f"Failed to evaluate script!\nevalscript.js:{line}: {message}\n{source}\n{marker}\n{message}{calls}"
