"""
Runs evalscripts for many pixels, in a process that has nothing to lose: no files, no environment, little memory.

``engine.py`` starts this file by its path and speaks with it through pipes. It imports only what an interpreter without
``site`` loads in a moment. A message is a line of JSON and the arrays of which it tells the lengths.
"""

import json
import resource
import signal
import sys
from binascii import a2b_base64, b2a_base64
from typing import Any

SECONDS = 5
"""CPU time that each step of a script may take: its top level, and every block of pixels."""
WAIT_S = 600
"""Time that a step may take, on however busy a machine."""
MEMORY_MB = 512
"""Memory that a script may take."""

_MAX_THROWN = 10_000
# Some functions of the engine do not look at the clock, and a library may have errors: the kernel has the last word.
_LIMITS = (
    (resource.RLIMIT_AS, 1536 << 20),
    (resource.RLIMIT_NOFILE, 0),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CORE, 0),
)
_NAMES = "evaluatePixel", "updateOutput", "preProcessScenes", "updateOutputMetadata"
_FUNCTIONS = "({" + ",".join(f"{each}: typeof {each} === 'function' ? {each} : undefined" for each in _NAMES) + "})"


class Script:
    """
    A script with a world of its own.

    :param context: Makes such a world.
    :param prelude: What the service predefines, and what runs ``evaluatePixel()``.
    :param script: The script.
    :param lines: How many lines it has. The prelude is on those after them, so that errors tell which is which.
    """

    def __init__(self, context: Any, prelude: str, script: str, lines: int) -> None:
        self._context = context()
        self._context.set_memory_limit(MEMORY_MB << 20)
        self._context.set_time_limit(SECONDS)
        driver = self._context.eval("\n" * lines + prelude)
        part = self._context.eval("(object, name) => object[name]")
        self._call = {name: part(driver, name) for name in ("open", "begin", "put", "run", "take", "end")}
        self._context.eval(script)
        self._call["open"](self._context.eval(_FUNCTIONS))

    def answer(self, message: dict[str, Any], arrays: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
        """
        Do one step.

        ``begin`` chooses scenes and resizes outputs, ``block`` runs ``evaluatePixel()`` for some pixels, and ``end``
        returns what the script leaves as metadata.

        :param message: Names the step, and has what it needs.
        :param arrays: What goes with it.
        """
        if message["step"] == "begin":
            return {"found": self._call["begin"](message["plan"])}, []
        if message["step"] == "end":
            return {"userdata": self._call["end"]()}, []
        for slot, (dtype, content) in enumerate(zip(message["types"], arrays, strict=True)):
            self._call["put"](slot, dtype, b2a_base64(content, newline=False).decode())
        self._call["run"](message["size"])
        return {}, [a2b_base64(self._call["take"](number)) for number in message["wanted"]]


def main(folder: str, prelude_path: str) -> None:
    """
    Answer messages until there are no more.

    :param folder: Where the engine is.
    :param prelude_path: Where the prelude is.
    """
    sys.path.append(folder)
    # The module behind the package quickjs, which imports seven times as much.
    from _quickjs import Context

    with open(prelude_path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib would take longer to import than to run
        prelude = file.read()
    for limit, most in _LIMITS:
        try:
            resource.setrlimit(limit, (most, most))
        except (ValueError, OSError):
            # The limit is lower already, or this system has none.
            continue
    script: Script | None = None
    answer: dict[str, Any]
    while line := sys.stdin.buffer.readline():
        message = json.loads(line)
        arrays = [sys.stdin.buffer.read(size) for size in message["sizes"]]
        _allow_more_time()
        signal.alarm(WAIT_S)
        results: list[bytes] = []
        try:
            if message["step"] == "open":
                # The one before is freed first.
                script, answer = None, {}
                script = Script(Context, prelude, message["script"], message["lines"])
            elif script is not None:
                answer, results = script.answer(message, arrays)
        except Exception as error:  # noqa: BLE001 - the engine's errors, and those of the conversion to Python
            answer = {"thrown": (str(error) or type(error).__name__)[:_MAX_THROWN]}
        signal.alarm(0)
        answer["sizes"] = [len(each) for each in results]
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        for each in results:
            sys.stdout.buffer.write(each)
        sys.stdout.buffer.flush()


def _allow_more_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The memory of a large array is moved and freed by this process, too.
    allowed = int(used.ru_utime + used.ru_stime) + 2 * SECONDS
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    except (ValueError, OSError):
        return


if __name__ == "__main__":
    main(*sys.argv[1:])
