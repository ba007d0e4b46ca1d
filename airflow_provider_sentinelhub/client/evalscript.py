"""
The inputs and outputs of an evalscript, as far as they can be read without running it.

Evalscripts are JavaScript; only the object that ``setup()`` returns is read. If it is a plain literal, everything is
known. Computed values (a helper function, a variable, a conditional) stay unknown, and a note says so. No script raises
an error here, and no script is run.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Evalscript/V3.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

# An unclosed token ends with its line or with the script: each alternative matches whatever starts like it, so that
# reading any script takes linear time.
_SKIP = r"(?P<skip>[\s\ufeff]+|//[^\n]*|/\*.*?(?:\*/|\Z))"
_REGEX = r"|(?P<regex>/(?:\\.|\[(?:\\.|[^\]\\\n])*\]?|[^/\\\n\[])+/?\w*)"
_REST = (
    r"""|(?P<string>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|`(?:\\.|[^`\\])*`?)"""
    r"""|(?P<number>0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"""
    r"""|(?P<name>(?:[^\W\d]|\$)[\w$]*)|(?P<sign>=>|\.\.\.|.)"""
)
_VALUE_NEXT = re.compile(_SKIP + _REGEX + _REST, re.DOTALL)
_OPERATOR_NEXT = re.compile(_SKIP + _REST, re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u\{0*([0-9a-fA-F]{1,5})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": "", "\r\n": ""}
_CONSTANTS = {"true": True, "false": False, "null": None, "undefined": None}
_OPENING, _CLOSING = ("{", "[", "("), ("}", "]", ")")
_ENDS_VALUE = (",", ";", *_CLOSING)
_MAX_DEPTH = 50
ANY_KEY: Final = "..."
"""Key of an object that may contain further keys, and whose values may be replaced."""

Token = tuple[str, str]
_END: Token = ("end", "")


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()


def literal_at(tokens: list[Token], start: int) -> Any:
    """
    Read the literal that begins at a token.

    :param tokens: All tokens.
    :param start: Position of its first one.
    :returns: Its value, with ``UNKNOWN`` for everything that is not a literal.
    """
    return _Literal(tokens, start).value()


def tokens(code: str) -> list[Token]:
    """
    Split a script into tokens: kind and text. Comments and spaces are left out.

    :param code: The script; any text.
    """
    found: list[Token] = []
    position = 0
    while position < len(code):
        kind, text = found[-1] if found else _END
        # A slash divides after a value and starts a regular expression elsewhere.
        value_before = kind in {"string", "number", "name", "regex"} and text not in {"return", "typeof", "case"}
        match = (_OPERATOR_NEXT if value_before or text in _CLOSING else _VALUE_NEXT).match(code, position)
        if match is None:
            break
        position = match.end()
        if match.lastgroup != "skip":
            found.append((str(match.lastgroup), match.group()))
    return found


def depth_change(token: Token) -> int:
    """
    Return the change of the bracket depth by a token: 1, 0 or -1.

    :param token: The token.
    """
    return 0 if token[0] != "sign" else (token[1] in _OPENING) - (token[1] in _CLOSING)


class _Literal:
    def __init__(self, tokens: list[Token], start: int) -> None:
        self._tokens = tokens
        self._at = start

    @property
    def _token(self) -> Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _sign(self, *texts: str) -> bool:
        return self._token == _END or (self._token[0] == "sign" and self._token[1] in texts)

    def value(self, depth: int = 0) -> Any:
        value = self._operand(depth)
        if self._sign(*_ENDS_VALUE):
            return value
        # An expression: the value is not that of its first part.
        nested = 0
        while self._token != _END and (nested or not self._sign(*_ENDS_VALUE)):
            nested += depth_change(self._token)
            self._at += 1
        return UNKNOWN

    def _operand(self, depth: int) -> Any:
        kind, text = self._token
        if text in {"{", "["} and depth < _MAX_DEPTH:
            self._at += 1
            return self._object(depth + 1) if text == "{" else self._array(depth + 1)
        if kind == "string" and "${" not in text:
            self._at += 1
            return _ESCAPE.sub(_unescaped, text[1:-1] if text[1:].endswith(text[0]) else text[1:])
        sign = {"-": -1, "+": 1}.get(text, 0)
        after = [*self._tokens[self._at : self._at + 3], _END, _END]
        if kind == "number" or (sign and after[1][0] == "number"):
            self._at += 2 if sign else 1
            return (sign or 1) * _number(after[1][1] if sign else text)
        if text in {"SampleType", "Mosaicking"} and after[1][1] == ".":
            # The two enumerations the service predefines.
            self._at += 3
            return after[2][1]
        if kind == "name" and text in _CONSTANTS:
            self._at += 1
            return _CONSTANTS[text]
        return UNKNOWN if not self._sign(*_ENDS_VALUE) else None

    def _array(self, depth: int) -> list[Any]:
        found = []
        while not self._sign("]"):
            before = self._at
            found.append(self.value(depth))
            self._at += self._sign(",") or self._at == before
        self._at += 1
        return found

    def _object(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._sign("}"):
            before = self._at
            key = self._operand(_MAX_DEPTH) if self._token[0] in {"string", "number"} else self._token[1]
            known = self._token[0] == "name" or self._at > before
            self._at += self._token[0] == "name"
            plain = self._sign(":")
            self._at += plain
            value = self.value(depth)
            if known:
                # Without a colon it is a method or a shorthand property.
                found[str(key)] = value if plain else UNKNOWN
            else:
                # Spread or computed keys may be any key, including earlier ones.
                found = dict.fromkeys([*found, ANY_KEY], UNKNOWN)
            self._at += self._sign(",") or self._at == before
        self._at += 1
        return found


def _unescaped(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    return chr(int(digits, 16)) if digits else _ESCAPED.get(match[4], match[4])


def _number(text: str) -> float:
    if text[:2] in {"0x", "0X"}:
        return int(text, 16)
    value = float(text)
    return int(value) if text.isdigit() and value.is_integer() else value


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
