"""
The bands of public collections: digital numbers of each, for some places on a day.

Bands of reflectance are known by their wavelength. Of the other bands, masks and angles are made up, and what is left
is a smooth field that differs from band to band.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from airflow_provider_sentinelhub.simulator.scenes import clouds
from airflow_provider_sentinelhub.simulator.scenes.ground import TURN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from airflow_provider_sentinelhub.simulator.scenes.collections import Collection
    from airflow_provider_sentinelhub.simulator.scenes.ground import View

MASK: Final = "dataMask"
_S2 = (443, 490, 560, 665, 705, 740, 783, 842, 945, 1375, 1610, 2190)
_OLI = (443, 482, 561, 655, 865, 1609, 2201, 590, 1373)
_OLCI = (400, 412, 443, 490, 510, 560, 620, 665, 674, 681, 709, 754, 761, 764, 768, 779, 865, 885, 900, 940, 1020)
_SLSTR = (555, 659, 865, 1375, 1610, 2250)


def _numbered(prefix: str, digits: int, wavelengths: tuple[int, ...]) -> dict[str, int]:
    return {f"{prefix}{number:0{digits}d}": each for number, each in enumerate(wavelengths, 1)}


WAVELENGTHS: Final[Mapping[str, Mapping[str, int]]] = {
    "sentinel-2": {**_numbered("B", 2, _S2), "B8A": 865},
    "landsat-ot": _numbered("B", 2, _OLI),
    "sentinel-3-olci": _numbered("B", 2, _OLCI),
    "sentinel-3-slstr": _numbered("S", 1, _SLSTR),
}
"""Wavelengths of bands of reflectance, in nanometres, by the beginning of the collection's type."""
AEROSOL = 120
"""Optical thickness, in thousandths: the same everywhere."""
QA_CLEAR, QA_CLOUD = 21_824, 22_280
"""Landsat's quality: clear, and a cloud of high confidence."""


def _sun_zenith(view: View) -> NDArray[np.float64]:
    """Return the sun's distance from the zenith at half past ten, in degrees."""
    tilt = math.radians(23.44) * math.sin(TURN * (view.day.timetuple().tm_yday - 81) / 365)
    lat = np.radians(view.ground.lat)
    height = np.sin(lat) * math.sin(tilt) + np.cos(lat) * math.cos(tilt) * math.cos(math.radians(22.5))
    return np.degrees(np.arccos(np.clip(height, -1, 1)))


def _backscatter(view: View, bare: float, green: float, water: float) -> NDArray[np.float64]:
    ground: NDArray[np.float64] = np.where(view.ground.water, water, bare + green * view.green)
    return ground * view.ground.texture


def _same(view: View, value: float) -> NDArray[np.float64]:
    return np.full(view.ground.lon.shape, value, np.float64)


_MADE_UP: Final[Mapping[str, tuple[str, Callable[[View], Any]]]] = {
    "SCL": ("uint8", lambda view: view.classes),
    "CLM": ("uint8", lambda view: view.clouds >= clouds.CLOUD),
    "CLP": ("uint8", lambda view: np.rint(255 * view.clouds)),
    "CLD": ("uint8", lambda view: np.rint(100 * view.clouds)),
    "SNW": ("uint8", lambda view: _same(view, 0)),
    "AOT": ("uint16", lambda view: _same(view, AEROSOL)),
    "BQA": ("uint16", lambda view: np.where(view.clouds >= clouds.CLOUD, QA_CLOUD, QA_CLEAR)),
    "QA_RADSAT": ("uint16", lambda view: _same(view, 0)),
    "sunZenithAngles": ("float32", _sun_zenith),
    "sunAzimuthAngles": ("float32", lambda view: _same(view, 155.0)),
    "viewZenithMean": ("float32", lambda view: _same(view, 5.0)),
    "viewAzimuthMean": ("float32", lambda view: _same(view, 105.0)),
    "VV": ("float32", lambda view: _backscatter(view, 0.10, 0.06, 0.010)),
    "VH": ("float32", lambda view: _backscatter(view, 0.015, 0.030, 0.002)),
    "HH": ("float32", lambda view: _same(view, 0)),
    "HV": ("float32", lambda view: _same(view, 0)),
    "localIncidenceAngle": ("float32", lambda view: _same(view, 38.0)),
    "scatteringArea": ("float32", lambda view: _same(view, 1)),
    "shadowMask": ("uint8", lambda view: _same(view, 0)),
    "DEM": ("float32", lambda view: view.ground.height),
}


@dataclass(frozen=True, slots=True)
class Band:
    """
    A band of a collection.

    :param collection: The collection.
    :param name: Its name.
    """

    collection: Collection
    name: str

    @property
    def wavelength(self) -> int | None:
        """Of a band of reflectance, in nanometres."""
        known = next((each for kind, each in WAVELENGTHS.items() if self.collection.type.startswith(kind)), {})
        return known.get(self.name)

    @property
    def dtype(self) -> str:
        """Type of its digital numbers, as numpy spells it."""
        if self.wavelength is not None:
            return "uint16"
        if self.name == MASK:
            return "uint8"
        return _MADE_UP[self.name][0] if self.name in _MADE_UP else "float32"

    @property
    def units(self) -> dict[str, float]:
        """By unit, the number by which digital numbers are divided; the default unit first."""
        divisors = {"REFLECTANCE": 10_000.0} if self.wavelength is not None else {"OPTICAL_DEPTH": 1000.0}
        return {unit: divisors.get(unit, 1.0) for unit in self.collection.bands.get(self.name, ("DN",))}

    def read(self, view: View) -> NDArray[Any]:
        """
        Return digital numbers.

        :param view: The places, on a day.
        """
        if (wavelength := self.wavelength) is not None:
            hazy = self.collection.type.endswith(("l1c", "l1")) or self.collection.type.startswith("sentinel-3")
            return view.reflectance(wavelength, hazy=hazy)
        if self.name in _MADE_UP:
            return np.asarray(_MADE_UP[self.name][1](view)).astype(self.dtype)
        if {"KELVIN", "BRIGHTNESS_TEMPERATURE", "SURFACE_TEMPERATURE"} & set(self.units):
            # Clouds are cold.
            return (270 + 25 * view.ground.season(view.day) - 40 * (view.clouds >= clouds.CLOUD)).astype(self.dtype)
        return view.other(self.name)
