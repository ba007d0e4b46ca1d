"""Bad inputs as data: what is wrong, the message a user sees, and a way to provoke it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class BadInput:
    """
    One bad input.

    :param title: What is wrong, in a few words.
    :param message: All that the user is told.
    :param provoke: Raises the error with that message; is given an empty folder to work in.
    """

    title: str
    message: str
    provoke: Callable[[Path], None]
