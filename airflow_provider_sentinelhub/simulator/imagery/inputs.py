"""What a request and its evalscript read: scenes of each data source, and samples of each pixel made of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from airflow_provider_sentinelhub.simulator.features.grids import WGS84, project
from airflow_provider_sentinelhub.simulator.imagery.sources import source_of
from airflow_provider_sentinelhub.simulator.problems import RenderingFailed
from airflow_provider_sentinelhub.simulator.scenes.bands import MASK
from airflow_provider_sentinelhub.simulator.scenes.scenes import TooManyScenes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from airflow_provider_sentinelhub.simulator.evalscript import Input, Setup
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.imagery.sources import Block, Source
    from airflow_provider_sentinelhub.simulator.scenes.scenes import Scene

    Period = tuple[dt.datetime, dt.datetime]

SIMPLE, ORBIT, TILE = "SIMPLE", "ORBIT", "TILE"
# Before the first of the public collections.
BEGINNING = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# Vertices between corners of a raster, for its outline in degrees.
DENSIFY = 20
ISO = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True)
class ReadBand:
    """
    A band as the script reads it.

    :param name: Its name.
    :param dtype: Type of its digital numbers, as numpy spells it.
    :param divisor: Digital numbers are divided by it.
    """

    name: str
    dtype: str
    divisor: float


@dataclass(frozen=True, slots=True)
class Read:
    """
    What a script reads of one data source.

    :param key: Its name in ``samples``, where there are several.
    :param source: The source.
    :param mosaicking: SIMPLE, ORBIT or TILE.
    :param bands: The bands.
    :param bounds: Whether tiles have a geometry.
    :param period: Of the request.
    :param samples: For each sample, the scenes of which it is made. The first one that has data at a pixel counts.
    """

    key: str
    source: Source
    mosaicking: str
    bands: tuple[ReadBand, ...]
    bounds: bool
    period: Period
    samples: tuple[tuple[Scene, ...], ...]

    def during(self, period: Period) -> Read:
        """
        Return it with the scenes of a part of its time range.

        :param period: Beginning and end.
        """
        scenes = [each for sample in self.samples for each in sample if period[0] <= each.sensed <= period[1]]
        return replace(self, period=period, samples=_samples(self.mosaicking, scenes))

    def plan(self) -> dict[str, Any]:
        """Return what the script is told about it; see ``prelude.js``."""
        return {
            "key": self.key,
            "mosaicking": self.mosaicking,
            "from": self.period[0].strftime(ISO),
            "to": self.period[1].strftime(ISO),
            "known": list(self.source.bands),
            "bands": [{"name": each.name, "divisor": each.divisor} for each in self.bands],
            "scenes": self._told(),
        }

    def _told(self) -> list[dict[str, Any]]:
        if self.mosaicking != ORBIT:
            return [self._tile(scene) for sample in self.samples for scene in sample]
        found = []
        for sample in self.samples:
            day = f"{sample[0].sensed:%Y-%m-%d}"
            tiles = [self._tile(scene) for scene in sample]
            found.append({"dateFrom": f"{day}T00:00:00Z", "dateTo": f"{day}T23:59:59Z", "tiles": tiles})
        return found

    def _tile(self, scene: Scene) -> dict[str, Any]:
        told: dict[str, Any] = {
            "date": scene.sensed.strftime(ISO),
            "dataPath": scene.data_path,
            "shId": scene.number,
            "tileId": scene.number,
            "orbitId": scene.relative_orbit,
        }
        if scene.cloud_cover is not None:
            told["cloudCoverage"] = scene.cloud_cover
        if self.bounds:
            told["dataGeometry"] = shapely.geometry.mapping(scene.footprint)
            told["dataEnvelope"] = shapely.geometry.mapping(shapely.geometry.box(*scene.footprint.bounds))
        return told

    def count(self, kept: Sequence[int]) -> int:
        """
        Return how many samples a pixel has.

        :param kept: Which samples the script has kept.
        """
        return 1 if self.mosaicking == SIMPLE else len(kept)

    def arrays(self, kept: Sequence[int], block: Block) -> list[NDArray[Any]]:
        """
        Read digital numbers of all bands.

        :param kept: Which samples, in which order.
        :param block: For which pixels.
        :returns: For each band: samples of pixels. A SIMPLE source has one sample, without data where it has no scene.
        """
        samples = self.samples if self.mosaicking == SIMPLE else [self.samples[each] for each in kept]
        size = block.shape[0] * block.shape[1]
        found = [np.zeros((self.count(kept), size), each.dtype) for each in self.bands]
        names = [each.name for each in self.bands]
        for at, scenes in enumerate(samples):
            mosaic = _mosaic(self.source, scenes, names, block)
            for band, array in zip(names, found, strict=True):
                array[at] = mosaic[band].ravel()
        return found


def _mosaic(source: Source, scenes: Sequence[Scene], names: Sequence[str], block: Block) -> dict[str, NDArray[Any]]:
    first, *others = scenes
    found = source.read(first, names, block)
    for scene in others:
        holes = found[MASK] == 0
        if not holes.any():
            break
        part = source.read(scene, names, block)
        fills = holes & (part[MASK] != 0)
        if fills.any():
            found = {name: np.where(fills, part[name], found[name]) for name in found}
    return found


def reads_of(
    setup: Setup, data: Sequence[dict[str, Any]], feature: Feature, period: Period | None = None
) -> list[Read] | None:
    """
    Find the scenes of all data sources of a request.

    :param setup: Of the evalscript.
    :param data: ``input.data`` of a checked request.
    :param feature: The raster.
    :param period: In place of the time ranges of the request.
    :returns: What is read of each; ``None`` where there are no samples of one of them.
    :raises RenderingFailed: The script asks for what a source does not have.
    """
    sources = [source_of(each) for each in data]
    found: list[Read] = []
    for number, (each, given) in enumerate(_matched(setup.inputs, data)):
        source = sources[data.index(given)]
        if source is None:
            return None
        key = each.datasource if each.datasource is not None else str(number)
        span = period or _period(given)
        bands = tuple(_bands(each, source, str(given.get("type"))))
        samples = _samples(each.mosaicking, _scenes(source, given, feature, span))
        found.append(Read(key, source, each.mosaicking, bands, each.bounds, span, samples))
    return found


def _matched(inputs: Sequence[Input], data: Sequence[dict[str, Any]]) -> list[tuple[Input, dict[str, Any]]]:
    if len(data) == 1:
        # Several inputs of one source are read as one.
        first = inputs[0]
        bands = tuple(band for each in inputs for band in each.bands)
        units = tuple(unit for each in inputs for unit in _each_unit(each)) if any(i.units for i in inputs) else ()
        return [(type(first)(bands, units, None, first.mosaicking, any(each.bounds for each in inputs)), data[0])]
    found = []
    for number, each in enumerate(inputs):
        if each.datasource is None:
            fitting = list(data[number : number + 1])
        else:
            fitting = [given for given in data if str(given.get("id")) == each.datasource]
        if not fitting:
            raise RenderingFailed(f"Dataset with id: {each.datasource or number} not found.")
        found.append((each, fitting[0]))
    return found


def _each_unit(given: Input) -> tuple[str, ...]:
    if len(given.units) == len(given.bands):
        return given.units
    return (given.units[0] if given.units else "",) * len(given.bands)


def _bands(given: Input, source: Source, kind: str) -> list[ReadBand]:
    if len(given.units) > 1 and len(given.units) != len(given.bands):
        raise RenderingFailed(f"setup() has {len(given.units)} units for {len(given.bands)} bands.")
    found = []
    for name, unit in zip(given.bands, _each_unit(given), strict=True):
        known = source.bands.get(name)
        if known is None:
            raise RenderingFailed(f"Band {name} not found in {kind}.")
        units = {each.upper(): divisor for each, divisor in known.units.items()}
        # The mask is read beside bands in any unit.
        if unit and unit not in units and name != MASK:
            raise RenderingFailed(f"Unit {unit} is not available for band {name} of {kind}.")
        found.append(ReadBand(name, known.dtype, units.get(unit, next(iter(units.values())))))
    return found


def _period(data: dict[str, Any]) -> Period:
    given = data.get("dataFilter", {}).get("timeRange", {})
    start = _moment(given["from"]) if given.get("from") else BEGINNING
    return start, _moment(given["to"]) if given.get("to") else dt.datetime.now(dt.UTC)


def _moment(text: str) -> dt.datetime:
    found = dt.datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)


def _scenes(source: Source, data: dict[str, Any], feature: Feature, period: Period) -> list[Scene]:
    extent = feature.extent
    west, south, east, north = extent.bounds
    outline = project(shapely.segmentize(extent, max(east - west, north - south) / DENSIFY), feature.crs, WGS84)
    try:
        found = source.scenes(outline.bounds, *period)
    except TooManyScenes as error:
        raise RenderingFailed(f"The time range and the area are too large: {error}.") from error
    wanted = data.get("dataFilter", {})
    given = wanted.get("maxCloudCoverage")
    most = given if isinstance(given, int | float) else 100
    direction = str(wanted.get("orbitDirection", "")).lower()
    found = [
        each
        for each in found
        if (each.cloud_cover is None or each.cloud_cover <= most)
        and (not direction or each.direction == direction)
        and outline.intersects(each.footprint)
    ]
    order = wanted.get("mosaickingOrder", "mostRecent")
    if order == "leastCC":
        return sorted(found, key=lambda each: (each.cloud_cover or 0, -each.sensed.timestamp()))
    return found if order == "leastRecent" else found[::-1]


def _samples(mosaicking: str, scenes: Sequence[Scene]) -> tuple[tuple[Scene, ...], ...]:
    if mosaicking == TILE:
        return tuple((each,) for each in scenes)
    if mosaicking == SIMPLE:
        return (tuple(scenes),) if scenes else ()
    # As the service does, one for each day.
    days: dict[dt.date, list[Scene]] = {}
    for each in scenes:
        days.setdefault(each.sensed.date(), []).append(each)
    return tuple(tuple(each) for each in days.values())
