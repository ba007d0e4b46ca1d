"""Makes all requests of one client wait when the service told one of them to (429)."""

from __future__ import annotations

import random
import time

_SPREAD = 0.1


class Throttle:
    """Applies the wait of a 429 to all callers of the same client in this process."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def delay(self) -> float:
        """Return the seconds to wait before the next request, with some jitter."""
        held = max(0.0, self._free_at - time.monotonic())
        return held * random.uniform(1.0, 1.0 + _SPREAD)

    def hold(self, seconds: float) -> None:
        """
        Make all callers wait.

        :param seconds: How long.
        """
        self._free_at = max(self._free_at, time.monotonic() + seconds)
