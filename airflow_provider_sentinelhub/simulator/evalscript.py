"""
Inputs and outputs of an evalscript: what its ``setup()`` returns. Nothing else of it is run here.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Evalscript/V3.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from airflow_provider_sentinelhub.client.evalscript import read_version
from airflow_provider_sentinelhub.client.javascript.engine import run_setup
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed

VERSION = 3
MAX_BANDS = 65535  # TIFF counts them with 16 bits
SAMPLE_TYPES = {
    "AUTO": "uint8",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT16": "int16",
    "UINT16": "uint16",
    "FLOAT32": "float32",
}


@dataclass(frozen=True, slots=True)
class Output:
    """
    One output of an evalscript.

    :param id: Its identifier.
    :param names: Of its bands; ``B0``, ``B1`` and so on where the script does not name them.
    :param sample_type: The service's name of the pixel type, e.g. ``UINT16``.
    :param nodata: Value that stands for no data; ``None`` when not declared.
    """

    id: str
    names: tuple[str, ...]
    sample_type: str
    nodata: float | None

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self.names)

    @property
    def dtype(self) -> str:
        """The pixel type as numpy spells it."""
        return SAMPLE_TYPES[self.sample_type]

    def with_bands(self, number: int) -> Output:
        """
        Return the output with another number of bands.

        :param number: How many.
        """
        return self if number == self.bands else replace(self, names=tuple(f"B{band}" for band in range(number)))


@dataclass(frozen=True, slots=True)
class Input:
    """
    One input of an evalscript.

    :param bands: Names of its bands.
    :param units: One for each band, one for all, or none for the defaults; in upper case.
    :param datasource: Identifier of the data source; ``None`` where the order counts.
    :param mosaicking: SIMPLE, ORBIT or TILE.
    :param bounds: Whether the script asks for the geometry of tiles.
    """

    bands: tuple[str, ...]
    units: tuple[str, ...] = ()
    datasource: str | None = None
    mosaicking: str = "SIMPLE"
    bounds: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """
    What ``setup()`` returns.

    :param bands: Input bands that are billed; the mask is free.
    :param outputs: By identifier.
    :param mosaicking: SIMPLE, ORBIT or TILE.
    :param inputs: In the script's order.
    """

    bands: int
    outputs: dict[str, Output]
    mosaicking: str
    inputs: tuple[Input, ...] = ()


# Each task for statistics has a script of its own: its tag is a comment in it.
@lru_cache(maxsize=256)
def parse(evalscript: str) -> Setup:
    """
    Run the setup of an evalscript.

    :param evalscript: The whole script.
    :raises AnalysisFailed: It has no setup, or one that fails; the text says why.
    """
    version = read_version(evalscript)
    if version.number not in {None, VERSION}:
        raise AnalysisFailed(f"Evalscripts of version {version.number} are not supported.")
    ran = run_setup(evalscript)
    if ran is None:
        raise AnalysisFailed("Install airflow-provider-sentinelhub[simulator]: without it no evalscript is run.")
    if ran.value is None or (ran.trouble is not None and ran.trouble.certain):
        raise AnalysisFailed(f"Evalscript error: the script {ran.trouble.fact if ran.trouble else 'has no setup()'}.")
    bands = _input_bands(ran.value)
    return Setup(bands, _outputs(ran.value), str(ran.value.get("mosaicking") or "SIMPLE"), _inputs(ran.value))


def require_version_first(evalscript: str) -> None:
    """
    Refuse a script that does not begin with its version, as the documentation asks for.

    :param evalscript: The whole script.
    :raises AnalysisFailed: There are comments before ``//VERSION=3``, or it is missing.
    """
    if read_version(evalscript) != (VERSION, True):
        raise AnalysisFailed("Evalscript must start with //VERSION=3.")


def _input_bands(setup: dict[str, Any]) -> int:
    given = setup.get("input")
    if not isinstance(given, list) or not given:
        raise AnalysisFailed("Evalscript error: setup() must return a non-empty array 'input'.")
    names: set[str] = set()
    for number, each in enumerate(given):
        if isinstance(each, str):
            names.add(each)
        elif isinstance(each, dict) and isinstance(each.get("bands"), list):
            source = each.get("datasource", number)
            names |= {f"{source}:{band}" for band in each["bands"]}
        else:
            raise AnalysisFailed("Evalscript error: 'input' in setup() must list bands.")
    return sum(1 for name in names if name.rpartition(":")[2] != "dataMask")


def _inputs(setup: dict[str, Any]) -> tuple[Input, ...]:
    """Read the inputs of a setup whose bands have been counted, so their shape is right."""
    usual = str(setup.get("mosaicking") or "SIMPLE")
    plain = tuple(each for each in setup["input"] if isinstance(each, str))
    found = [Input(plain, mosaicking=usual.upper())] if plain else []
    for each in setup["input"]:
        if isinstance(each, str):
            continue
        units, metadata = each.get("units") or [], each.get("metadata") or []
        found.append(
            Input(
                bands=tuple(str(band) for band in each["bands"]),
                units=tuple(str(unit).upper() for unit in ([units] if isinstance(units, str) else units)),
                datasource=str(each["datasource"]) if each.get("datasource") is not None else None,
                mosaicking=str(each.get("mosaicking") or usual).upper(),
                bounds="bounds" in metadata,
            )
        )
    return tuple(found)


def _outputs(setup: dict[str, Any]) -> dict[str, Output]:
    given = setup.get("output")
    listed = given if isinstance(given, list) else [given]
    outputs: dict[str, Output] = {}
    for each in listed:
        if not isinstance(each, dict):
            raise AnalysisFailed("Evalscript error: setup() must return an object or array 'output'.")
        output = _output(each)
        if output.id in outputs:
            raise AnalysisFailed(f"Evalscript error: output id '{output.id}' is used twice.")
        outputs[output.id] = output
    return outputs


def _output(given: dict[str, Any]) -> Output:
    # A property that is null is one that is absent.
    given = {name: value for name, value in given.items() if value is not None}
    bands = given.get("bands")
    count = bands if type(bands) is int and bands <= MAX_BANDS else 0
    names = bands if isinstance(bands, list) else [f"B{band}" for band in range(count)]
    if not names:
        raise AnalysisFailed("Evalscript error: 'bands' of an output must be a positive number.")
    sample_type = str(given.get("sampleType", "AUTO")).upper()
    if sample_type not in SAMPLE_TYPES:
        raise AnalysisFailed(f"Evalscript error: unknown sampleType '{sample_type}'.")
    nodata = given.get("nodataValue")
    return Output(
        id=str(given.get("id", "default")),
        names=tuple(str(name) for name in names),
        sample_type=sample_type,
        nodata=float(nodata) if isinstance(nodata, int | float) else None,
    )
