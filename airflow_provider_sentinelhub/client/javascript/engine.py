"""
What ``setup()`` of a script returns, found out by a JavaScript engine.

The engine is QuickJS, from the extra ``evalscript``. A script runs in a child process with limits of its own, never in
this one: the engine has functions that no time limit interrupts, and errors of memory that end its process.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from airflow_provider_sentinelhub.client.javascript import child
from airflow_provider_sentinelhub.client.text import one_line

MAX_CHARACTERS: Final = 1_000_000
"""Length of the longest script that is run."""
WAIT_S: Final = 30.0
"""How long to wait for the child: it is short of CPU time where the machine is, and does not wait for anything else."""

_EXTRA = "airflow-provider-sentinelhub[evalscript]"
_MESSAGE = 300
_SOURCE = 120
_SYNTAX = re.compile(r"\n    at <input>:(\d+):(\d+)")
_FRAME = re.compile(r"\n    at (?:(?!__describe).)* \(<input>:(\d+):(\d+)\)")
# Not the script's error, but the engine's limit: the service's own may be higher.
_LIMIT = re.compile(r"InternalError|RangeError: Maximum call stack|null\s*$|\w*MemoryError")
_NOT_READ = "SyntaxError: "
# Outside of setup() it may be one of the service's own functions that is not known here.
_UNKNOWN_NAME = re.compile(r"ReferenceError: \S+ is not defined")
# Names that other engines define and this one does not.
_OF_OTHER_ENGINES = re.compile(r"ReferenceError: (Intl|WebAssembly|console|structuredClone) is not defined")


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    What is wrong with a script, or why it could not be read.

    :param fact: What was found.
    :param fix: What can be done about it.
    :param certain: Whether the service fails on it, too.
    :param line: Line of the script, from 1; ``None`` if it is not known.
    :param column: Column in that line, from 1.
    :param source: The line, or the first one.
    """

    fact: str
    fix: str
    certain: bool
    line: int | None = None
    column: int | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Ran:
    """
    What came of running a script.

    :param value: What ``setup()`` returned, as JSON; ``None`` if it returned nothing that can be read.
    :param trouble: What is wrong; there may be a value nevertheless.
    :param resizes: Whether there is a function ``updateOutput()``, which sets the number of bands of the outputs.
    """

    value: dict[str, Any] | None
    trouble: Trouble | None = None
    resizes: bool = False


class _Unanswered(Exception):
    """The child said nothing; another time it may."""


def run_setup(script: str) -> Ran | None:
    """
    Run a script and its ``setup()``. The last scripts are remembered.

    :param script: The script; any text.
    :returns: What came of it; ``None`` if the engine is not installed.
    """
    folder = engine_folder()
    if folder is None:
        return None
    if len(script) > MAX_CHARACTERS or "\0" in script:
        fact = f"is not run, because it has NUL characters or more than {MAX_CHARACTERS:,} characters"
        return Ran(None, Trouble(fact, "Check its outputs yourself.", certain=False))
    try:
        return _ran(script, folder)
    except _Unanswered as error:
        fact = f"could not be run: {error}"
        return Ran(None, Trouble(fact, "Check its outputs yourself.", certain=False))


def not_installed(fact: str) -> Trouble:
    """
    Return what is wrong where the engine would have known more.

    :param fact: What is not known without it.
    """
    return Trouble(fact, f"Install {_EXTRA}, which runs setup(), or check them yourself.", certain=False)


@cache
def engine_folder() -> str | None:
    """Return where the engine is; ``None`` if it is not installed."""
    # Only looked for: the engine is never imported into this process.
    spec = find_spec("_quickjs")
    return str(Path(spec.origin).parent) if spec is not None and spec.origin and sys.executable else None


@lru_cache(maxsize=32)
def _ran(script: str, folder: str) -> Ran:
    answer = _answer(script, folder)
    if answer is None:
        seconds, megabytes = child.SECONDS, child.MEMORY_MB
        fact = f"takes more than {seconds} s of CPU time or {megabytes} MB, so what setup() returns is not known"
        return Ran(None, Trouble(fact, "Make it do less before it returns from setup().", certain=False))
    thrown, types, failed, value = answer
    trouble = _trouble(script, "", thrown) if thrown else None
    if trouble is not None and (trouble.certain or not value):
        return Ran(None, trouble)
    if failed:
        return Ran(None, _trouble(script, " in setup()", failed))
    return _returned(script, types, value, trouble)


def _returned(script: str, types: str, value: str, trouble: Trouble | None) -> Ran:
    setup, pixel, update = types.split()
    if setup != "function":
        return Ran(None, _wrong(script, "has no function setup()", "Write a function setup."))
    try:
        found = json.loads(value)
    except RecursionError:
        return Ran(None, _trouble(script, " in setup()", "InternalError: the object it returns is too deep"))
    if not isinstance(found, dict):
        return Ran(None, _wrong(script, "has a setup() that does not return an object", "Return input and output."))
    if pixel != "function" and trouble is None:
        trouble = _wrong(script, "has no function evaluatePixel()", "Write a function evaluatePixel.")
    return Ran(found, trouble, update == "function")


def _answer(script: str, folder: str) -> list[str] | None:
    """Run the child; ``None`` if it was ended by one of its limits."""
    # Without the environment, where Airflow keeps secrets; but an interpreter may need these to start.
    libraries = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    command = [sys.executable, "-I", "-S", child.__file__, folder]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, with a file of this package
            command,
            input=script.encode(errors="replace"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=libraries,
            timeout=WAIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Unanswered(one_line(error, _MESSAGE)) from error
    if done.returncode in {-signal.SIGXCPU, -signal.SIGKILL}:
        return None
    if done.returncode:
        raise _Unanswered(f"the JavaScript engine ended with status {done.returncode}")
    return done.stdout.decode(errors="replace").split("\0")


def _wrong(script: str, fact: str, fix: str) -> Trouble:
    return Trouble(fact, fix, certain=True, source=_source(script, 1))


def _trouble(script: str, place: str, thrown: str) -> Trouble:
    """
    Say what was thrown.

    :param script: The script.
    :param place: Where: empty for its top level.
    :param thrown: The engine's text: a message, and the calls that led to it.
    """
    message = one_line(thrown.partition("\n    at ")[0].removesuffix("\nundefined"), _MESSAGE)
    syntax = not place and thrown.startswith(_NOT_READ) and "<eval>" not in thrown
    found = (_SYNTAX if syntax else _FRAME).search(thrown)
    line, column = (int(found[1]), int(found[2])) if found else (None, None)
    where = f"{place} (line {line}, column {column})" if found else place
    known = not (_OF_OTHER_ENGINES if place else _UNKNOWN_NAME).match(thrown)
    certain, fact, fix = known, f"fails{where}: {message}", "Correct the script."
    if syntax:
        fact = f"is not JavaScript{where}: {message.removeprefix(_NOT_READ)}"
    elif _LIMIT.match(thrown):
        certain, fact, fix = False, f"exceeds a limit of this check{where}: {message}", "Check its outputs yourself."
    elif not known:
        fix = "Define it, unless it is one of the service's own functions."
    return Trouble(fact, fix, certain, line, column, _source(script, line or 1))


def _source(script: str, line: int) -> str:
    lines = script.split("\n")
    return one_line(lines[min(line, len(lines)) - 1], _SOURCE)
