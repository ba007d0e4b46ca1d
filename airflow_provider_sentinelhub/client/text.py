"""
Make text from outside safe to show.

Text from a service, a bucket or a file may contain terminal control sequences, line breaks that forge log lines, or
characters that change the direction of writing. None of it may reach a log, a message or a report.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LINE = 500
"""Maximum length of a line of text from outside."""

_END = "..."
# Terminal control sequences (ECMA-48): a control sequence, a string up to its end, or a single character.
_STEERING = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|(?:\x1b[PX^_\\]]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f]*(?:\x07|\x1b\\\\|\x9c)"
    "|\x1b[ -/]*[0-~]?"
)


def printable(text: str, *, keep: str = "") -> str:
    """
    Remove from a text what cannot be printed; letters of all languages stay.

    Terminal control sequences and invisible formatting characters (direction marks, zero-width joiners) are removed.
    Line breaks and other control characters become spaces.

    :param text: Any text.
    :param keep: Characters to keep. Default: none.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else "" if unicodedata.category(c) == "Cf" else " "
        for c in _STEERING.sub("", text)
    )


def one_line(text: object, most: int = MAX_LINE) -> str:
    """
    Return a text from outside as one line of limited length.

    :param text: Any text, or an object that :class:`str` converts.
    :param most: Maximum length. Default :data:`MAX_LINE`.
    """
    # Only the beginning is processed: a message may have megabytes.
    line = " ".join(printable(str(text)[: 10 * most]).split())
    return line if len(line) <= most else f"{line[: most - len(_END)]}{_END}"
