"""
What ``setup()`` returns, as far as it can be read without running the script: where the engine is not installed.

If it is a plain literal, everything is known. Computed values (a helper function, a variable, a conditional) stay
unknown. No script raises an error here.
"""

from __future__ import annotations

import re
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


def returned_object(script: str) -> dict[str, Any] | None:
    """
    Read the object that ``setup()`` returns.

    :param script: The script; any text.
    :returns: The object, with ``UNKNOWN`` for everything that is not a literal; ``None`` if ``setup()`` does anything
        but return an object literal.
    """
    found = tokens(script)
    start = _returned_by_setup(found)
    value = literal_at(found, start) if start is not None else None
    return value if isinstance(value, dict) else None


def _returned_by_setup(script: list[Token]) -> int | None:
    """Find the start of the object; only a setup() that consists of a single return is supported."""
    texts = [text for _, text in script]
    starts = [i for i, text in enumerate(texts) if text == "setup" and texts[i - 1 : i] != ["."]]
    # Of several declarations the last one counts.
    declared = [i for i in starts if texts[i - 1 : i] == ["function"] or texts[i + 1 : i + 2] == ["="]]
    if declared and "async" in texts[max(0, declared[-1] - 2) : declared[-1] + 3]:
        return None
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
