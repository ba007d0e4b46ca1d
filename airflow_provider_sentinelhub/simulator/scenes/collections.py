"""
The public collections as data: who sees a place, how often, and how the imagery is cut into scenes.

Identifiers of products, platforms and their dates follow the missions' own pages. Orbits are simplified, see
:mod:`~airflow_provider_sentinelhub.simulator.scenes.scenes`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from airflow_provider_sentinelhub.client.preflight.bands import BANDS

DAY = dt.timedelta(days=1)
FOREVER = dt.date.max


class Cut(StrEnum):
    """
    How a strip is cut into scenes.

    ``MGRS``: squares of 109.8 km on the tiles of the 100 km grid, as Sentinel-2 products. ``SLAB``: two degrees of
    latitude. ``STATIC``: not at all; the data has no date.
    """

    MGRS = "mgrs"
    SLAB = "slab"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class Platform:
    """
    A satellite in service.

    :param name: As the catalog has it, e.g. ``sentinel-2a``.
    :param short: As it is in identifiers of products, e.g. ``S2A``.
    :param since: First day.
    :param until: First day on which another one has taken its place.
    """

    name: str
    short: str
    since: dt.date
    until: dt.date = FOREVER


@dataclass(frozen=True, slots=True)
class Collection:
    """
    A public collection.

    :param type: ``data.type`` of a request, and its identifier in the catalog.
    :param title: Its name.
    :param product: Kind of product, as in identifiers.
    :param cut: How it is cut into scenes.
    :param slots: Platforms that take turns; of each, those that came one after another.
    :param revisit_days: Days between two visits of a place, by whatever platform.
    :param hour: Local time of the visits, in hours.
    :param orbits: Number of relative orbits.
    :param has_clouds: Whether clouds hide the ground.
    :param ascends: Whether every other round of visits is in an ascending orbit.
    :param resolution: Of the finest band, in metres.
    """

    type: str
    title: str
    product: str
    cut: Cut
    slots: tuple[tuple[Platform, ...], ...] = ()
    revisit_days: int = 0
    hour: float = 10.5
    orbits: int = 0
    has_clouds: bool = False
    ascends: bool = False
    resolution: float = 10.0

    @property
    def bands(self) -> dict[str, tuple[str, ...]]:
        """Its bands with the units each can be read in, the default first; ``dataMask`` is one of them."""
        return {name: tuple(sorted(units, key=_late)) for name, units in BANDS[self.type].items()}

    def platform(self, visit: int, day: dt.date) -> Platform | None:
        """
        Return who sees a place; ``None`` where nobody is in service.

        :param visit: Number of the visit.
        :param day: The day.
        """
        slot = self.slots[visit % len(self.slots)]
        return next((each for each in slot if each.since <= day < each.until), None)


def _late(unit: str) -> tuple[bool, str]:
    # Digital numbers are the default only where there is nothing else.
    return unit == "DN", unit


_S1 = (
    (Platform("sentinel-1a", "S1A", dt.date(2014, 10, 3)),),
    (
        Platform("sentinel-1b", "S1B", dt.date(2016, 9, 26), dt.date(2021, 12, 23)),
        Platform("sentinel-1c", "S1C", dt.date(2025, 3, 26)),
    ),
)
_S2 = (
    (
        Platform("sentinel-2a", "S2A", dt.date(2015, 7, 4), dt.date(2025, 1, 21)),
        Platform("sentinel-2c", "S2C", dt.date(2025, 1, 21)),
    ),
    (Platform("sentinel-2b", "S2B", dt.date(2017, 7, 6)),),
)
_S3 = (
    (Platform("sentinel-3a", "S3A", dt.date(2016, 4, 25)),),
    (Platform("sentinel-3b", "S3B", dt.date(2018, 5, 15)),),
)
_S5P = ((Platform("sentinel-5p", "S5P", dt.date(2018, 4, 30)),),)
_L89 = (
    (Platform("landsat-8", "LC08", dt.date(2013, 4, 11)),),
    (Platform("landsat-9", "LC09", dt.date(2021, 11, 1)),),
)

_S2_ORBITS = (Cut.MGRS, _S2, 5, 10.5, 143)
_S3_ORBITS = (Cut.SLAB, _S3, 1, 10.0, 385)
_L89_ORBITS = (Cut.SLAB, _L89, 8, 10.2, 233)

COLLECTIONS = {
    each.type: each
    for each in (
        Collection("sentinel-2-l2a", "Sentinel 2 L2A", "MSIL2A", *_S2_ORBITS, has_clouds=True),
        Collection("sentinel-2-l1c", "Sentinel 2 L1C", "MSIL1C", *_S2_ORBITS, has_clouds=True),
        Collection("sentinel-1-grd", "Sentinel 1 GRD", "IW_GRDH_1SDV", Cut.SLAB, _S1, 6, 17.5, 175, ascends=True),
        Collection("sentinel-3-olci", "Sentinel 3 OLCI", "OL_1_EFR", *_S3_ORBITS, has_clouds=True, resolution=300),
        Collection("sentinel-3-slstr", "Sentinel 3 SLSTR", "SL_1_RBT", *_S3_ORBITS, has_clouds=True, resolution=500),
        Collection("sentinel-5p-l2", "Sentinel 5P", "OFFL_L2", Cut.SLAB, _S5P, 1, 13.5, 227, resolution=5500),
        Collection("landsat-ot-l1", "Landsat 8-9 L1", "L1TP", *_L89_ORBITS, has_clouds=True, resolution=30),
        Collection("landsat-ot-l2", "Landsat 8-9 L2", "L2SP", *_L89_ORBITS, has_clouds=True, resolution=30),
        Collection("dem", "Digital Elevation Model", "DEM", Cut.STATIC, resolution=30),
    )
}
"""The collections that have scenes here, by ``data.type``."""
