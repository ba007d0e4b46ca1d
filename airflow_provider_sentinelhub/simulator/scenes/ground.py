"""
What imagery shows: a function of place, day and band, so that anybody can recompute a pixel.

At ``lon``, ``lat`` (degrees), seen on the day ``d`` of the year (1 to 366, UTC). Divisions of whole numbers are rounded
down, and sums and products of them are modulo ``2**32``.

**Fields.** The land is cut into fields, each with a number of its own::

    i, j = round(1e7 lon) // 30000, round(1e7 lat) // 20000
    h    = 374761393 i + 668265263 j
    h    = 1274126177 (h xor (h >> 13))
    h    = h xor (h >> 16)
    u, v = h / 2**32, (2654435761 h) / 2**32

**Cover** of a field, with the three numbers of its vegetation::

    water   where sin(2 pi (1.3 lon + 0.4 lat)) cos(2 pi (1.1 lat - 0.3 lon)) + 0.3 sin(22 pi lon) cos(26 pi lat) > 0.8
    town    where u < 0.05   base 0.05  swing 0.10  shape 1
    crops   where u < 0.60   base 0.08  swing 0.85  shape 1 + 2 v
    grass   where u < 0.80   base 0.35  swing 0.40  shape 1
    forest  elsewhere        base 0.55  swing 0.35  shape 1

**Reflectance** in a band, with :data:`SPECTRA` at the band's wavelength (linear in between) and the probability of
clouds ``p`` of :mod:`~airflow_provider_sentinelhub.simulator.scenes.clouds`::

    season  = 0.5 - 0.5 cos(2 pi (d - 15) / 365), and 1 minus that south of the equator
    green   = base + swing season ** shape
    texture = 1 + 0.03 sin(1800 pi lon) cos(1800 pi lat)
    bare    = soil (0.8 + 0.4 v), or town in a town
    ground  = texture ((1 - green) bare + green vegetation), or texture water on water
    haze    = 0, or the atmosphere's share in Level-1 products
    c       = 2 (p - 0.3), from 0 to 1
    DN      = round(10000 ((1 - c) (ground + haze) + c cloud))
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from airflow_provider_sentinelhub.simulator.scenes import clouds

if TYPE_CHECKING:
    import datetime as dt

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TURN = 2 * math.pi
WAVELENGTHS = (443, 490, 560, 665, 705, 740, 783, 842, 865, 945, 1375, 1610, 2190)
"""In nanometres: those of Sentinel-2's bands."""
SPECTRA = {
    "soil": (0.08, 0.10, 0.13, 0.17, 0.19, 0.21, 0.23, 0.25, 0.26, 0.27, 0.02, 0.32, 0.29),
    "town": (0.13, 0.15, 0.17, 0.19, 0.20, 0.21, 0.22, 0.23, 0.24, 0.24, 0.02, 0.27, 0.25),
    "vegetation": (0.02, 0.03, 0.07, 0.03, 0.11, 0.33, 0.42, 0.44, 0.46, 0.45, 0.01, 0.22, 0.10),
    "water": (0.05, 0.05, 0.04, 0.02, 0.02, 0.015, 0.015, 0.01, 0.01, 0.01, 0.001, 0.005, 0.003),
    "cloud": (0.72, 0.70, 0.68, 0.67, 0.67, 0.67, 0.67, 0.67, 0.67, 0.55, 0.05, 0.50, 0.40),
    "haze": (0.09, 0.06, 0.035, 0.02, 0.018, 0.015, 0.012, 0.01, 0.01, 0.008, 0.002, 0.002, 0.001),
}
TOP = 10_000
# Where a pixel is called vegetation, and where a cloud is called a thick one.
GREEN = 0.3
THICK = 0.8
DOUBTFUL = 0.3
_M = 0xFFFFFFFF


@dataclass(frozen=True)
class Ground:
    """
    The ground at some places: everything that does not depend on the day.

    :param lon: Longitudes, in degrees.
    :param lat: Latitudes.
    """

    lon: Floats
    lat: Floats

    @cached_property
    def _numbers(self) -> tuple[Floats, Floats]:
        i = (np.rint(self.lon * 1e7).astype(np.int64) // 30_000 & _M).astype(np.uint32)
        j = (np.rint(self.lat * 1e7).astype(np.int64) // 20_000 & _M).astype(np.uint32)
        # Unsigned numbers of 32 bits wrap around, as they shall.
        h = i * np.uint32(374_761_393) + j * np.uint32(668_265_263)
        h = (h ^ (h >> np.uint32(13))) * np.uint32(1_274_126_177)
        h ^= h >> np.uint32(16)
        return h / 2.0**32, (h * np.uint32(2_654_435_761)) / 2.0**32

    @cached_property
    def water(self) -> NDArray[np.bool_]:
        """Where there is water."""
        lon, lat = self.lon, self.lat
        level = np.sin(TURN * (1.3 * lon + 0.4 * lat)) * np.cos(TURN * (1.1 * lat - 0.3 * lon))
        level += 0.3 * np.sin(11 * TURN * lon) * np.cos(13 * TURN * lat)
        found: NDArray[np.bool_] = level > 0.8  # noqa: PLR2004 - see the module
        return found

    @cached_property
    def _vegetation(self) -> tuple[Floats, Floats, Floats]:
        u, v = self._numbers
        kind = np.searchsorted((0.05, 0.60, 0.80), u, side="right")
        base = np.array((0.05, 0.08, 0.35, 0.55))[kind]
        swing = np.array((0.10, 0.85, 0.40, 0.35))[kind]
        return base, swing, np.where(kind == 1, 1 + 2 * v, 1.0)

    @cached_property
    def texture(self) -> Floats:
        """Small differences within a field."""
        found: Floats = 1 + 0.03 * np.sin(900 * TURN * self.lon) * np.cos(900 * TURN * self.lat)
        return found

    @cached_property
    def height(self) -> Floats:
        """
        Height above the sea, in metres.

        It is ``400 + 300 sin(2 pi (0.9 lon + 0.3 lat)) + 100 sin(14 pi lon) cos(12 pi lat)``.
        """
        hills = 100 * np.sin(7 * TURN * self.lon) * np.cos(6 * TURN * self.lat)
        found: Floats = 400 + 300 * np.sin(TURN * (0.9 * self.lon + 0.3 * self.lat)) + hills
        return found

    def season(self, day: dt.date) -> Floats:
        """
        Return the season: 0 in the middle of winter, 1 in the middle of summer.

        :param day: The day.
        """
        north = 0.5 - 0.5 * math.cos(TURN * (day.timetuple().tm_yday - 15) / 365)
        return np.where(self.lat >= 0, north, 1 - north)

    def at(self, day: dt.date) -> View:
        """
        Return what is seen on a day.

        :param day: The day, in UTC.
        """
        return View(self, day)

    def bare(self, wavelength: float) -> Floats:
        """
        Return the reflectance where nothing grows.

        :param wavelength: In nanometres.
        """
        u, v = self._numbers
        soil, town = spectrum("soil", wavelength), spectrum("town", wavelength)
        found: Floats = np.where(u < 0.05, town, soil * (0.8 + 0.4 * v))  # noqa: PLR2004 - see the module
        return found


@dataclass(frozen=True)
class View:
    """
    The ground on one day.

    :param ground: The ground.
    :param day: The day.
    """

    ground: Ground
    day: dt.date

    @cached_property
    def green(self) -> Floats:
        """Share of vegetation."""
        base, swing, shape = self.ground._vegetation  # noqa: SLF001 - both are one thing, cut by what depends on the day
        found: Floats = base + swing * self.ground.season(self.day) ** shape
        return found

    @cached_property
    def clouds(self) -> Floats:
        """Probability of clouds."""
        return clouds.probability(self.ground.lon, self.ground.lat, self.day)

    def reflectance(self, wavelength: float, *, hazy: bool, cloudy: bool = True) -> NDArray[np.uint16]:
        """
        Return digital numbers, 10,000 for a reflectance of 1.

        :param wavelength: Of the band, in nanometres.
        :param hazy: Whether the atmosphere is part of it.
        :param cloudy: Whether clouds are.
        """
        ground = (1 - self.green) * self.ground.bare(wavelength) + self.green * spectrum("vegetation", wavelength)
        ground = self.ground.texture * np.where(self.ground.water, spectrum("water", wavelength), ground)
        if hazy:
            ground += spectrum("haze", wavelength)
        if cloudy:
            cover = np.clip(2 * (self.clouds - DOUBTFUL), 0, 1)
            ground = (1 - cover) * ground + cover * spectrum("cloud", wavelength)
        return np.rint(TOP * ground).astype(np.uint16)

    @cached_property
    def classes(self) -> NDArray[np.uint8]:
        """
        Classes of the scene classification.

        9 thick cloud, 8 cloud, 7 in doubt, 6 water, 4 vegetation, 5 bare soil.
        """
        ground = np.where(self.ground.water, 6, np.where(self.green >= GREEN, 4, 5))
        cloud = np.select(
            [self.clouds >= THICK, self.clouds >= clouds.CLOUD, self.clouds >= DOUBTFUL], [9, 8, 7], ground
        )
        return cloud.astype(np.uint8)

    def other(self, name: str) -> NDArray[np.float32]:
        """
        Return a quantity that nothing is known about: ``0.05 + 0.20 h + 0.10 season + 0.04 (texture - 1) / 0.03``.

        :param name: Its name; ``h`` is ``crc32(name) / 2**32``.
        """
        offset = zlib.crc32(name.encode()) / 2**32
        small = (self.ground.texture - 1) / 0.03
        values = 0.05 + 0.20 * offset + 0.10 * self.ground.season(self.day) + 0.04 * small
        return np.asarray(values, np.float32)


def spectrum(name: str, wavelength: float) -> float:
    """
    Return a reflectance.

    :param name: Of a spectrum.
    :param wavelength: In nanometres.
    """
    return float(np.interp(wavelength, WAVELENGTHS, SPECTRA[name]))
