"""
The inputs and outputs of an evalscript, and its version.

Evalscripts are JavaScript. The extra ``evalscript`` installs an engine that runs ``setup()``, in a process of its own
and with limits. Without it the object that ``setup()`` returns is read if it is a plain literal. No script raises an
error here.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Evalscript/V3.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from airflow_provider_sentinelhub.client.javascript.engine import Trouble, not_installed, run_setup
from airflow_provider_sentinelhub.client.javascript.literals import ANY_KEY, UNKNOWN, returned_object

_MAX_BANDS = 65535  # TIFF counts them with 16 bits


@dataclass(frozen=True, slots=True)
class Input:
    """
    One input of ``setup()``.

    :param datasource: The ``id`` of its data source; ``None`` if the order decides.
    :param bands: Names of its bands, including ``dataMask``; ``None`` if they cannot be read.
    :param mosaicking: SIMPLE, ORBIT or TILE, or an unknown value; ``None`` if it cannot be read.
    :param units: The units of its bands, one for each, or one for all; empty if it names none, ``None`` if they cannot
        be read.
    """

    datasource: str | None
    bands: tuple[str, ...] | None
    mosaicking: str | None
    units: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Output:
    """
    One output of ``setup()``.

    :param id: Its identifier; ``None`` if it cannot be read.
    :param bands: How many bands it has; ``None`` if that cannot be read.
    :param sample_type: E.g. ``UINT16``; ``None`` if it cannot be read.
    :param names: Names the script gives its bands; empty if it gives none, ``None`` if they cannot be read.
    """

    id: str | None
    bands: int | None
    sample_type: str | None
    names: tuple[str, ...] | None = ()

    @property
    def band_names(self) -> tuple[str, ...] | None:
        """Names of its bands in statistics; ``None`` if they cannot be read."""
        if self.names is None or self.names:
            return self.names
        if self.bands is None:
            return None
        return tuple(f"B{number}" for number in range(self.bands))


@dataclass(frozen=True, slots=True)
class Setup:
    """
    What ``setup()`` returns.

    :param inputs: In the script's order; ``None`` if they cannot be read.
    :param outputs: In the script's order; ``None`` if they cannot be read.
    :param notes: What could not be read, and why.
    :param trouble: What is wrong with the script, or why it could not be read; ``None`` if all is well.
    :param resized: Whether ``updateOutput()`` sets the numbers of bands, which are unknown then.
    """

    inputs: tuple[Input, ...] | None
    outputs: tuple[Output, ...] | None
    notes: tuple[str, ...] = ()
    trouble: Trouble | None = None
    resized: bool = False

    @property
    def knows_outputs(self) -> bool:
        """Whether identifier and number of bands of every output could be read."""
        return self.outputs is not None and all(None not in {each.id, each.bands} for each in self.outputs)


def read_setup(evalscript: str) -> Setup:
    """
    Read what ``setup()`` returns.

    :param evalscript: The whole script; any text.
    :returns: What is known; ``notes`` and ``trouble`` say what is not.
    """
    if not evalscript.strip():
        return Setup(None, None, ("evalscript: the request does not contain it",))
    ran = run_setup(evalscript)
    if ran is None:
        return read_literal(evalscript)
    trouble, found = ran.trouble, ran.value
    if found is None and trouble is not None and not trouble.certain:
        found = returned_object(evalscript)
    if found is None:
        return Setup(None, None, ("evalscript: setup() returns nothing that can be read",), trouble)
    setup = _setup(found, trouble)
    if not ran.resizes or setup.outputs is None:
        return setup
    note = "evalscript: updateOutput() sets the numbers of bands, which depend on the scenes"
    outputs = tuple(replace(each, bands=None, names=None) for each in setup.outputs)
    return replace(setup, outputs=outputs, notes=(*setup.notes, note), resized=True)


def read_literal(evalscript: str) -> Setup:
    """
    Read what ``setup()`` returns without running it: what is known where the engine is not installed.

    :param evalscript: The whole script; any text.
    """
    fact = "setup() is computed, so its outputs cannot be compared with the request"
    found = returned_object(evalscript)
    if found is None:
        note = "evalscript: no setup() was found that does nothing but return an object literal"
        return Setup(None, None, (note,), not_installed(fact))
    setup = _setup(found)
    return replace(setup, trouble=not_installed(fact)) if setup.notes else setup


def _setup(found: dict[str, Any], trouble: Trouble | None = None) -> Setup:
    inputs, outputs = _inputs(_get(found, "input"), _get(found, "mosaicking")), _outputs(_get(found, "output"))
    notes = []
    if inputs is None or any(None in {each.bands, each.mosaicking} for each in inputs):
        notes.append("evalscript: the input of setup() is computed or unusual, not all of it can be read")
    if outputs is None or any(None in {each.id, each.bands, each.sample_type} for each in outputs):
        notes.append("evalscript: the output of setup() is computed or unusual, not all of it can be read")
    return Setup(inputs, outputs, tuple(notes), trouble)


def _get(found: dict[str, Any], key: str) -> Any:
    return found.get(key, UNKNOWN if ANY_KEY in found else None)


def _inputs(given: Any, mosaicking: Any) -> tuple[Input, ...] | None:
    listed = given if isinstance(given, list) else [given]
    if listed and all(isinstance(each, str) for each in listed):
        listed = [{"bands": listed}]
    if not listed or not all(isinstance(each, dict) for each in listed):
        return None
    return tuple(_input(each, mosaicking) for each in listed)


def _input(given: dict[str, Any], common: Any) -> Input:
    bands, own = _get(given, "bands"), _get(given, "mosaicking")
    names = tuple(bands) if isinstance(bands, list) and all(isinstance(each, str) for each in bands) else None
    mosaicking = _word(common if own is None else own, "SIMPLE")
    return Input(_word(_get(given, "datasource"), None), names, mosaicking, _units(_get(given, "units")))


def _units(given: Any) -> tuple[str, ...] | None:
    listed = given if isinstance(given, list) else [] if given is None else [given]
    return tuple(listed) if all(isinstance(each, str) for each in listed) else None


def _outputs(given: Any) -> tuple[Output, ...] | None:
    listed = given if isinstance(given, list) else [given]
    if not listed or not all(isinstance(each, dict) for each in listed):
        return None
    return tuple(_output(each) for each in listed)


def _output(given: dict[str, Any]) -> Output:
    bands = _get(given, "bands")
    count = len(bands) if isinstance(bands, list) else bands
    named = bands if isinstance(bands, list) else []
    sample_type = _word(_get(given, "sampleType"), "AUTO")
    return Output(
        _word(_get(given, "id"), "default"),
        count if type(count) is int and 0 < count <= _MAX_BANDS else None,
        sample_type.upper() if sample_type else None,
        tuple(named) if all(isinstance(each, str) for each in named) else None,
    )


def _word(given: Any, default: str | None) -> str | None:
    return default if given is None else given if isinstance(given, str) else None


_HEAD = re.compile(r"[\s\ufeff]+|//[^\n]*|/\*.*?\*/", re.DOTALL)
_VERSION = re.compile(r"//\s*VERSION\s*=\s*(\d+)\b", re.IGNORECASE)


class Version(NamedTuple):
    """
    The line that names the version of an evalscript's language.

    :param number: The version, e.g. ``3``; ``None`` if there is no such line before the code.
    :param first: Whether nothing but white space stands before it.
    """

    number: int | None
    first: bool = False


def read_version(evalscript: str) -> Version:
    """
    Find the line ``//VERSION=3`` among the comments before the code.

    :param evalscript: The whole script; any text.
    """
    position, first = 0, True
    while found := _HEAD.match(evalscript, position):
        if version := _VERSION.match(found.group()):
            # Longer numbers are no versions, and slow to convert.
            return Version(int(version[1][:9]), first)
        first = first and not found.group().startswith("/")
        position = found.end()
    return Version(None)
