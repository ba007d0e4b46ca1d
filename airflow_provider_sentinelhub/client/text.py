"""
Foreign text, made fit to be shown.

What a service, a bucket or a file says may hold anything: sequences that steer a terminal, line ends that forge lines
of a log, characters that turn the direction of writing. None of it may reach a log, a message or a report.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LINE = 500
"""Characters of a line of foreign text."""

_END = "..."
# How terminals are steered (ECMA-48): a control sequence, a string up to its end, or a single character.
_STEERING = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[PX^_\\]]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\\\|\x9c)"
    "|\x1b[ -/]*[0-~]?"
)


def printable(text: str, *, keep: str = "") -> str:
    """
    Take out of a text what cannot be printed; letters of all languages stay.

    Sequences that steer a terminal go, and so do characters without a shape of their own: directions of writing,
    joiners of zero width. Line ends and other control characters become spaces.

    :param text: Any text.
    :param keep: Characters to leave as they are. Default: none.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else "" if unicodedata.category(c) == "Cf" else " "
        for c in _STEERING.sub("", text)
    )


def one_line(text: object, most: int = MAX_LINE) -> str:
    """
    Make one line of bounded length of a foreign text.

    :param text: Any text, or what :class:`str` makes one of.
    :param most: Characters it may have. Default :data:`MAX_LINE`.
    """
    # What is cut off here is not looked at: a message may have megabytes.
    line = " ".join(printable(str(text)[: 10 * most]).split())
    return line if len(line) <= most else f"{line[: most - len(_END)]}{_END}"
