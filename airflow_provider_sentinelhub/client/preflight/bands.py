"""
The bands and units of the public collections, and the rule that an evalscript names no others.

Sources: "Available Bands and Data" and "Units" on the page of each collection, at
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Data.html and https://docs.planet.com/data/public-data/,
and the collections of https://github.com/sentinel-hub/sentinelhub-py. Where they differ, all of them are taken.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_sentinelhub.client.evalscript import Input, Setup

Bands = dict[str, frozenset[str]]
MASK: Final = "dataMask"


def _bands(by_units: Mapping[str, str]) -> Bands:
    found = {name: frozenset(units.split()) for units, names in by_units.items() for name in names.split()}
    return {**found, MASK: frozenset({"DN"})}


def _numbered(first: int, last: int, *without: int) -> str:
    return " ".join(f"B{number:02}" for number in range(first, last + 1) if number not in without)


_ANGLES = {"DEGREES": "sunAzimuthAngles sunZenithAngles viewAzimuthMean viewZenithMean"}
_LANDSAT_L1 = {"DN": "BQA QA_RADSAT", "DEGREES": "VAA VZA SAA SZA"}
_SURFACE_TEMPERATURE = {
    "KELVIN": "ST_QA",
    "RADIANCE": "ST_TRAD ST_URAD ST_DRAD",
    "FRACTION": "ST_ATRAN ST_EMIS ST_EMSD",
    "KILOMETERS": "ST_CDIST",
}
_TM_L2 = {
    "REFLECTANCE": _numbered(1, 7, 6),
    "SURFACE_TEMPERATURE": "B06",
    **_SURFACE_TEMPERATURE,
    "FRACTION": f"{_SURFACE_TEMPERATURE['FRACTION']} SR_ATMOS_OPACITY",
    "DN": "BQA QA_RADSAT SR_CLOUD_QA",
}


def _vegetation(product: str) -> dict[str, str]:
    """Return the bands of a ten-day or daily product of Sentinel-3 Synergy."""
    names = {
        "REFLECTANCE": "B0 B2 B3 MIR",
        "INDEX": "NDVI",
        "ATMCM": "OG",
        "DEGREES": "SAA SZA VAA VZA",
        "GRAMS_CM2": "WVG",
        "OPTICAL_DEPTH": "AG",
    }
    return {units: " ".join(f"{name}_{product}" for name in each.split()) for units, each in names.items()}


BANDS: Final[Mapping[str, Bands]] = {
    "sentinel-1-grd": _bands({"LINEAR_POWER": "VV VH HV HH", "DN": "localIncidenceAngle scatteringArea shadowMask"}),
    "sentinel-2-l1c": _bands({"REFLECTANCE DN": f"{_numbered(1, 12)} B8A", "DN": "CLP CLM", **_ANGLES}),
    "sentinel-2-l2a": _bands(
        {
            "REFLECTANCE DN": f"{_numbered(1, 12, 10)} B8A",
            "OPTICAL_DEPTH DN": "AOT",
            "PERCENT": "SNW CLD",
            "DN": "SCL CLP CLM",
            **_ANGLES,
        }
    ),
    "sentinel-3-olci": _bands(
        {
            "REFLECTANCE": _numbered(1, 21),
            "DN": "QUALITY_FLAGS",
            "DEGREES": "SAA SZA VAA VZA",
            "PERCENT": "HUMIDITY",
            "HECTOPASCALS": "SEA_LEVEL_PRESSURE",
            "KG_M2": "TOTAL_COLUMN_OZONE TOTAL_COLUMN_WATER_VAPOUR",
        }
    ),
    "sentinel-3-olci-l2": _bands(
        {
            "REFLECTANCE": f"{_numbered(1, 21, 13, 14, 15, 19, 20)} RC681 RC865",
            "FRACTION": "GIFAPAR",
            "KG_M2": "IWV",
            "INDEX": "OTCI",
            "DN": "LQSF",
            "LOG10_MILLIGRAMS_M3": "CHL_OC4ME CHL_NN",
            "LOG10_GRAMS_M2": "TSM_NN",
            "MICROEINSTEINS_S_M2": "PAR",
            "LOG10_1_M": "KD490_M07 ADG443_NN",
            "ANGSTROM_EXPONENT": "A865",
            "OPTICAL_DEPTH": "T865",
        }
    ),
    "sentinel-3-slstr": _bands({"REFLECTANCE": "S1 S2 S3 S4 S5 S6", "BRIGHTNESS_TEMPERATURE": "S7 S8 S9 F1 F2"}),
    "sentinel-3-slstr-l2": _bands(
        {"KELVIN": "LST LST_uncertainty", "INDEX": "NDVI", "DN": "CLOUD BAYES POINTING CONFIDENCE"}
    ),
    "sentinel-3-synergy-l2": {
        **_bands({"REFLECTANCE": f"{_numbered(1, 21, 13, 14, 15, 19, 20)} S1 S2 S3 S5 S6"}),
        **_bands(_vegetation("V10")),
        **_bands({**_vegetation("VG1"), "INDEX": "NDVI_VG1 TOA_NDVI_VG1"}),
    },
    "sentinel-5p-l2": _bands(
        {
            "MOL_M2 DN": "CO HCHO NO2 O3 SO2",
            "PPB": "CH4",
            "INDEX": "AER_AI_340_380 AER_AI_354_388",
            "PASCALS": "CLOUD_BASE_PRESSURE CLOUD_TOP_PRESSURE",
            "METERS": "CLOUD_BASE_HEIGHT CLOUD_TOP_HEIGHT",
            "OPTICAL_DEPTH": "CLOUD_OPTICAL_THICKNESS",
            "FRACTION": "CLOUD_FRACTION",
        }
    ),
    "landsat-mss-l1": _bands({"REFLECTANCE": _numbered(1, 4), "DN": "BQA QA_RADSAT"}),
    "landsat-tm-l1": _bands({"REFLECTANCE": _numbered(1, 7, 6), "BRIGHTNESS_TEMPERATURE": "B06", **_LANDSAT_L1}),
    "landsat-tm-l2": _bands(_TM_L2),
    "landsat-etm-l1": _bands(
        {
            "REFLECTANCE": _numbered(1, 8, 6),
            "BRIGHTNESS_TEMPERATURE": "B06_VCID_1 B06_VCID_2",
            **_LANDSAT_L1,
        }
    ),
    "landsat-etm-l2": _bands(_TM_L2),
    "landsat-ot-l1": _bands({"REFLECTANCE": _numbered(1, 9), "BRIGHTNESS_TEMPERATURE": "B10 B11", **_LANDSAT_L1}),
    "landsat-ot-l2": _bands(
        {
            "REFLECTANCE": _numbered(1, 7),
            "SURFACE_TEMPERATURE": "B10",
            **_SURFACE_TEMPERATURE,
            "DN": "BQA QA_RADSAT SR_QA_AEROSOL",
        }
    ),
    "hls": _bands(
        {
            "REFLECTANCE DN": (
                "CoastalAerosol Blue Green Red RedEdge1 RedEdge2 RedEdge3 NIR_Broad NIR_Narrow SWIR1 SWIR2 WaterVapor "
                "Cirrus"
            ),
            "BRIGHTNESS_TEMPERATURE DN": "ThermalInfrared1 ThermalInfrared2",
            "DN": "QA",
            "DEGREES DN": "VAA VZA SAA SZA",
        }
    ),
    "modis": _bands({"REFLECTANCE": _numbered(1, 7)}),
    "dem": _bands({"METERS DN": "DEM"}),
}
"""The bands of public collections by their type, and the units each can be read in."""

_FORMER = {
    "s1grd": "sentinel-1-grd",
    "s2l1c": "sentinel-2-l1c",
    "s2l2a": "sentinel-2-l2a",
    "s3olci": "sentinel-3-olci",
    "s3slstr": "sentinel-3-slstr",
    "s5pl2": "sentinel-5p-l2",
}
_ZEROS = re.compile(r"0+(?=\d)")


def check_bands(field: str, setup: Setup, sources: Sequence[Json]) -> Iterator[Finding]:
    """
    Find bands and units that a script reads and its data source does not have.

    Users' own collections, and collections that are not listed here, may have any. So may a source that cannot be told.

    :param field: Path of the script in the request.
    :param setup: What the script's ``setup()`` returns.
    :param sources: The data sources.
    """
    inputs = setup.inputs or ()
    for number, each in enumerate(inputs):
        kind = kind_of(_source_of(each, number, len(inputs), sources))
        if each.bands is None or kind not in BANDS:
            continue
        known = BANDS[kind]
        for name in dict.fromkeys(each.bands):
            if name not in known:
                yield InvalidParameter(field, f"bands: {name}", f"is not a band of {kind}", _meant(name, known))
        yield from _check_units(field, each, kind)


def _source_of(each: Input, number: int, inputs: int, sources: Sequence[Json]) -> Json:
    """Return the data source of an input: the only one, that of its name, or the one in its place; or an empty one."""
    if len(sources) == 1:
        return sources[0]
    if each.datasource is not None:
        return next((source for source in sources if str(source.get("id")) == each.datasource), {})
    return sources[number] if len(sources) == inputs else {}


def kind_of(source: Json) -> str:
    """
    Return the type of a data source, also where it has its former name.

    :param source: Entry of ``input.data``.
    """
    kind = str(source.get("type")).lower()
    return _FORMER.get(kind, kind)


def _meant(name: str, known: Bands) -> str:
    # A band that another collection has is not misspelt.
    if not any(name in others for others in BANDS.values()):
        alike = {_plain(each): each for each in known}
        meant = get_close_matches(_plain(name), alike, n=1, cutoff=0.65)
        if meant:
            return f"Write {alike[meant[0]]}."
    return f"Choose from {', '.join(known)}."


def _plain(name: str) -> str:
    """Return a band's name without what is often written otherwise: case, and leading zeros."""
    return _ZEROS.sub("", name.lower())


def _check_units(field: str, each: Input, kind: str) -> Iterator[Finding]:
    bands, units = each.bands or (), each.units or ()
    if len(units) == 1:
        units = units * len(bands)
    elif units and len(units) != len(bands):
        fact = f"setup() has {len(units)} units for {len(bands)} bands of {kind}"
        yield Advice(field, fact, "Write one for each band, or a single one for all.")
        return
    wrong: dict[tuple[str, frozenset[str]], list[str]] = {}
    for band, unit in zip(bands, units, strict=False):
        offered = BANDS[kind].get(band)
        # The service reads the mask beside bands in any unit.
        if offered is not None and band != MASK and unit.upper() not in offered:
            wrong.setdefault((unit, offered), []).append(band)
    for (unit, offered), names in wrong.items():
        rule = f"is not a unit of {', '.join(names)} of {kind}; there is {', '.join(sorted(offered))}"
        meant = get_close_matches(unit.upper(), sorted(offered), n=1) or sorted(offered, reverse=True)
        others = BANDS[kind].keys() & set(bands).difference(names, {MASK})
        fix = f"Write {meant[0]}{', in a list with one unit for each band' if others else ''}."
        yield InvalidParameter(field, f"units: {unit}", rule, fix)
