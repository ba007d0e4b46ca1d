"""
Inputs and outputs of an evalscript.

Evalscripts are JavaScript, of which only the object that ``setup()`` returns is read. It is nearly always a plain
literal; any other object would need JavaScript to run, and is refused.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Evalscript/V3.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import json5

from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLE_TYPES = {
    "AUTO": "uint8",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT16": "int16",
    "UINT16": "uint16",
    "FLOAT32": "float32",
}
_OPENING = "{[("
_CLOSING = "}])"


@dataclass(frozen=True, slots=True)
class Output:
    """
    One output of an evalscript.

    :param id: Its identifier.
    :param names: Of its bands; ``B0``, ``B1`` and so on where the script does not name them.
    :param sample_type: The service's name of the pixel type, e.g. ``UINT16``.
    :param nodata: Value that stands for no data; ``None`` when not declared.
    """

    id: str
    names: tuple[str, ...]
    sample_type: str
    nodata: float | None

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self.names)

    @property
    def dtype(self) -> str:
        """The pixel type as numpy spells it."""
        return SAMPLE_TYPES[self.sample_type]


@dataclass(frozen=True, slots=True)
class Setup:
    """
    What ``setup()`` returns.

    :param bands: Input bands that are billed; the mask is free.
    :param outputs: By identifier.
    :param mosaicking: SIMPLE, ORBIT or TILE.
    """

    bands: int
    outputs: dict[str, Output]
    mosaicking: str


@lru_cache(maxsize=64)
def parse(evalscript: str) -> Setup:
    """
    Read the setup of an evalscript.

    :param evalscript: The whole script.
    :raises AnalysisFailed: It has no setup, or one that cannot be read; the text says why.
    """
    if not re.match(r"\s*//\s*VERSION\s*=\s*3", evalscript):
        raise AnalysisFailed("Evalscript must start with //VERSION=3.")
    code = blank_comments(evalscript)
    declared = re.search(r"function\s+setup\s*\(|\bsetup\s*=\s*(?:function\s*)?\(|\bsetup\s*=", code)
    if declared is None:
        raise AnalysisFailed("Evalscript error: function setup() is not defined.")
    if re.search(r"function\s+evaluatePixel\b|\bevaluatePixel\s*=", code) is None:
        raise AnalysisFailed("Evalscript error: function evaluatePixel() is not defined.")
    # The two enumerations that the service predefines are the only names that occur in practice.
    literal = re.sub(r"\b(?:SampleType|Mosaicking)\.(\w+)", r'"\1"', _returned_object(code, declared.end()))
    try:
        setup = json5.loads(literal)
    except (ValueError, RecursionError) as error:
        raise AnalysisFailed(f"Evalscript error: the object setup() returns cannot be read: {error}") from error
    return Setup(_input_bands(setup), _outputs(setup), str(setup.get("mosaicking", "SIMPLE")))


def blank_comments(code: str) -> str:
    """
    Replace comments with spaces; strings and positions stay the same.

    :param code: JavaScript.
    """
    parts = list(code)
    for start, end, kind in _tokens(code):
        if kind == "comment":
            parts[start:end] = [" " if char != "\n" else char for char in code[start:end]]
    return "".join(parts)


def _tokens(code: str) -> Iterator[tuple[int, int, str]]:
    pattern = re.compile(
        r"""(?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))"""
        r"""|(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`)""",
        re.DOTALL,
    )
    for match in pattern.finditer(code):
        yield match.start(), match.end(), str(match.lastgroup)


def _returned_object(code: str, position: int) -> str:
    returned = re.compile(r"\breturn\s*(?=\{)|=>\s*\(\s*(?=\{)").search(code, position)
    if returned is None:
        raise AnalysisFailed("Evalscript error: setup() must return an object.")
    return braced(code, returned.end())


def braced(code: str, start: int) -> str:
    """
    Return a bracketed expression, ignoring brackets in strings.

    :param code: JavaScript without comments.
    :param start: Position of the opening bracket.
    :raises AnalysisFailed: The bracket is never closed.
    """
    strings = [(begin, end) for begin, end, kind in _tokens(code) if kind == "string" and end > start]
    depth = 0
    position = start
    while position < len(code):
        if strings and strings[0][0] == position:
            position = strings.pop(0)[1]
            continue
        if code[position] in _OPENING:
            depth += 1
        elif code[position] in _CLOSING:
            depth -= 1
            if depth == 0:
                return code[start : position + 1]
        position += 1
    raise AnalysisFailed("Evalscript error: unexpected end of input in setup().")


def _input_bands(setup: dict[str, Any]) -> int:
    given = setup.get("input")
    if not isinstance(given, list) or not given:
        raise AnalysisFailed("Evalscript error: setup() must return a non-empty array 'input'.")
    names: set[str] = set()
    for number, each in enumerate(given):
        if isinstance(each, str):
            names.add(each)
        elif isinstance(each, dict) and isinstance(each.get("bands"), list):
            source = each.get("datasource", number)
            names |= {f"{source}:{band}" for band in each["bands"]}
        else:
            raise AnalysisFailed("Evalscript error: 'input' in setup() must list bands.")
    return sum(1 for name in names if name.rpartition(":")[2] != "dataMask")


def _outputs(setup: dict[str, Any]) -> dict[str, Output]:
    given = setup.get("output")
    listed = given if isinstance(given, list) else [given]
    outputs: dict[str, Output] = {}
    for each in listed:
        if not isinstance(each, dict):
            raise AnalysisFailed("Evalscript error: setup() must return an object or array 'output'.")
        output = _output(each)
        if output.id in outputs:
            raise AnalysisFailed(f"Evalscript error: output id '{output.id}' is used twice.")
        outputs[output.id] = output
    return outputs


def _output(given: dict[str, Any]) -> Output:
    bands = given.get("bands")
    names = bands if isinstance(bands, list) else [f"B{band}" for band in range(bands if isinstance(bands, int) else 0)]
    if not names:
        raise AnalysisFailed("Evalscript error: 'bands' of an output must be a positive number.")
    sample_type = str(given.get("sampleType", "AUTO")).upper()
    if sample_type not in SAMPLE_TYPES:
        raise AnalysisFailed(f"Evalscript error: unknown sampleType '{sample_type}'.")
    nodata = given.get("nodataValue")
    return Output(
        id=str(given.get("id", "default")),
        names=tuple(str(name) for name in names),
        sample_type=sample_type,
        nodata=float(nodata) if nodata is not None else None,
    )
