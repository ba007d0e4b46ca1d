"""
Clouds: a function of place and day.

At ``lon``, ``lat`` (degrees), on the day ``YYYY-MM-DD`` (UTC), with ``p1`` to ``p6`` =
``crc32("YYYY-MM-DD/<1 to 6>") / 2**32``::

    system  = sin(2 pi (lon / 7.3 + p1)) * cos(2 pi (lat / 5.1 + p2))
    fields  = sin(2 pi (9 lon + 3 lat + p3)) * cos(2 pi (7 lat - 4 lon + p4))
    puffs   = sin(2 pi (55 lon + p5)) * cos(2 pi (61 lat + p6))
    density = system + 0.5 fields + 0.25 puffs

There is a cloud where ``density`` is at least 0.35. Its probability is ``0.4 + 0.8 (density - 0.35)``, from 0 to 1.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import datetime as dt

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TURN = 2 * math.pi
CLOUD = 0.4
"""Probability from which on a pixel counts as a cloud."""


def probability(lon: Floats, lat: Floats, day: dt.date) -> Floats:
    """
    Return the probability of clouds, from 0 to 1.

    :param lon: Longitudes, in degrees.
    :param lat: Latitudes.
    :param day: Day of the visit, in UTC.
    """
    p1, p2, p3, p4, p5, p6 = _phases(day)
    density = np.sin(TURN * (lon / 7.3 + p1)) * np.cos(TURN * (lat / 5.1 + p2))
    density += 0.5 * np.sin(TURN * (9 * lon + 3 * lat + p3)) * np.cos(TURN * (7 * lat - 4 * lon + p4))
    density += 0.25 * np.sin(TURN * (55 * lon + p5)) * np.cos(TURN * (61 * lat + p6))
    found: Floats = np.clip(CLOUD + 0.8 * (density - 0.35), 0.0, 1.0)
    return found


@lru_cache(maxsize=4096)
def _phases(day: dt.date) -> tuple[float, ...]:
    return tuple(zlib.crc32(f"{day.isoformat()}/{number}".encode()) / 2**32 for number in range(1, 7))
