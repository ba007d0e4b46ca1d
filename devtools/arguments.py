"""Arguments of the programs in this package, checked while they are read."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def count(at_least: int) -> Callable[[str], int]:
    """
    Return what reads a whole number.

    :param at_least: The smallest.
    """

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) >= at_least):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {at_least}")
        return int(text)

    return read


def some_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """
    Return what reads names that are separated by commas.

    :param known: The names that exist.
    """

    def read(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",")]
        for name in names:
            if name not in known:
                meant = get_close_matches(name, known, n=1)
                hint = f"did you mean '{meant[0]}'?" if meant else f"choose from {', '.join([*known][:10])}"
                raise argparse.ArgumentTypeError(f"there is no {name!r}; {hint}")
        return names

    return read
