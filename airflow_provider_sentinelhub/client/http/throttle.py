"""Holds all requests of one client of the service back when one of them was told to wait."""

from __future__ import annotations

import random
import time

_SPREAD = 0.1


class Throttle:
    """What a 429 told one caller holds for all callers of the same client in this process."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def delay(self) -> float:
        """Return the seconds to wait before the next request; a little different for everybody who asks."""
        held = max(0.0, self._free_at - time.monotonic())
        return held * random.uniform(1.0, 1.0 + _SPREAD)

    def hold(self, seconds: float) -> None:
        """
        Let nobody send for a while.

        :param seconds: How long.
        """
        self._free_at = max(self._free_at, time.monotonic() + seconds)
