"""
The inputs and outputs of an evalscript, as far as they can be read without running it.

Evalscripts are JavaScript; only the object that ``setup()`` returns is read. If it is a plain literal, everything is
known. Computed values (a helper function, a variable, a conditional) stay unknown, and a note says so. No script raises
an error here, and no script is run.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Evalscript/V3.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_provider_sentinelhub.client.evalscript.javascript import (
    ANY_KEY,
    UNKNOWN,
    Token,
    depth_change,
    literal_at,
    tokens,
)

_MAX_BANDS = 65535  # TIFF counts them with 16 bits


@dataclass(frozen=True, slots=True)
class Input:
    """
    One input of ``setup()``.

    :param datasource: The ``id`` of its data source; ``None`` if the order decides.
    :param bands: Names of its bands, including ``dataMask``; ``None`` if they cannot be read.
    :param mosaicking: SIMPLE, ORBIT or TILE, or an unknown value; ``None`` if it cannot be read.
    """

    datasource: str | None
    bands: tuple[str, ...] | None
    mosaicking: str | None


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
    """

    inputs: tuple[Input, ...] | None
    outputs: tuple[Output, ...] | None
    notes: tuple[str, ...] = ()


def read_setup(evalscript: str) -> Setup:
    """
    Read what ``setup()`` returns.

    :param evalscript: The whole script; any text.
    :returns: What can be read without running it; ``notes`` says what cannot.
    """
    script = tokens(evalscript)
    start = _returned_by_setup(script)
    found = literal_at(script, start) if start is not None else None
    if not isinstance(found, dict):
        return Setup(None, None, ("evalscript: no setup() was found that does nothing but return an object literal",))
    inputs, outputs = _inputs(_get(found, "input"), _get(found, "mosaicking")), _outputs(_get(found, "output"))
    notes = []
    if inputs is None or any(None in {each.bands, each.mosaicking} for each in inputs):
        notes.append("evalscript: the input of setup() is computed or unusual, not all of it can be read")
    if outputs is None or any(None in {each.id, each.bands, each.sample_type} for each in outputs):
        notes.append("evalscript: the output of setup() is computed or unusual, not all of it can be read")
    return Setup(inputs, outputs, tuple(notes))


def _returned_by_setup(script: list[Token]) -> int | None:
    """Find the start of the object; only a setup() that consists of a single return is supported."""
    texts = [text for _, text in script]
    starts = [i for i, text in enumerate(texts) if text == "setup" and texts[i - 1 : i] != ["."]]
    # Of several declarations the last one counts.
    declared = [i for i in starts if texts[i - 1 : i] == ["function"] or texts[i + 1 : i + 2] == ["="]]
    depth = 0
    for i in range(declared[-1] + 1, len(script)) if declared else ():
        depth += depth_change(script[i])
        if texts[i] == "=>" and texts[i + 1 : i + 3] == ["(", "{"] and depth == 0:
            return i + 2
        if texts[i] == "return":
            # In a block or after a condition it may not be reached.
            certain = depth == 1 and texts[i - 1] not in {")", "else"}
            start = i + 1 + (texts[i + 1 : i + 2] == ["("])
            return start if certain and texts[start : start + 1] == ["{"] else None
        if texts[i] == "}" and depth == 0:
            break
    return None


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
    return Input(_word(_get(given, "datasource"), None), names, _word(common if own is None else own, "SIMPLE"))


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
