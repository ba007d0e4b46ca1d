"""
The factors of the published rules.

All but one are known once the features are. The number of samples per pixel is not: with ORBIT and TILE mosaicking it
is the number of acquisitions. The assumption is that of the first version of the batch API in its own estimates: one
acquisition every three days.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html (rules) and
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html#cost-estimate (samples).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from airflow_provider_sentinelhub.client.evalscript import Input, Output, Setup
from airflow_provider_sentinelhub.client.requests.findings import mapping
from airflow_provider_sentinelhub.client.requests.intervals import DAY, Period, intervals, read_range

BASE_BANDS: Final = 3
DAYS_PER_SAMPLE: Final = 3
# Not a published bound: corners of Sentinel-2 tiles, where four overlap.
TILES_PER_DAY: Final = 4
SAMPLES: Final = "samples per pixel"
_BYTES = {"AUTO": 1, "INT8": 1, "UINT8": 1, "INT16": 2, "UINT16": 2, "FLOAT32": 4}


class Factor(NamedTuple):
    """
    One factor of the cost.

    :param name: Its name.
    :param value: Its value by the wording of the rules.
    :param why: How it was computed.
    :param low: Its lowest possible value.
    :param high: Its highest possible value; ``None`` if no bound is known.
    """

    name: str
    value: float
    why: str
    low: float
    high: float | None


def bands(setup: Setup, sources: int) -> Factor:
    """
    Return the factor of the bands that are read.

    :param setup: What the evalscript's ``setup()`` returns.
    :param sources: Number of data sources.
    """
    inputs = _inputs(setup, sources)
    # dataMask is free, unless there is nothing else.
    paid = sum(len(set(each.bands) - {"dataMask"}) for each in inputs if each.bands is not None)
    unknown = sum(each.bands is None for each in inputs)
    if unknown:
        why = f"the bands of {unknown} inputs cannot be read from the evalscript: {BASE_BANDS} assumed for each"
        return Factor("bands", paid / BASE_BANDS + unknown, why, max(1, paid) / BASE_BANDS, None)
    value = max(1, paid) / BASE_BANDS
    return Factor("bands", value, f"{max(1, paid)} input bands of {BASE_BANDS}, dataMask not counted", value, value)


def image_format(setup: Setup, written: Sequence[Mapping[str, Any]]) -> Factor:
    """
    Return the factor of the pixel type of images.

    :param setup: What the evalscript's ``setup()`` returns.
    :param written: The responses of the request.
    """
    kinds = {str(each.get("identifier", "default")): kind_of(each) for each in written}
    outputs = {each.id: each.sample_type for each in setup.outputs or ()}
    tiff = [outputs.get(name) for name, kind in kinds.items() if kind == "image/tiff"]
    if "FLOAT32" in tiff:
        return Factor("format", 2, "an output is a 32-bit float TIFF", 2, 2)
    if None in tiff:
        return Factor("format", 2, "the evalscript does not say whether a TIFF is 32-bit float: assumed", 1, 2)
    if "FLOAT32" in outputs.values():
        why = "no 32-bit float TIFF is requested; that another output is 32-bit float is assumed not to count"
        return Factor("format", 1, why, 1, 2)
    return Factor("format", 1, "no output is a 32-bit float TIFF", 1, 1)


def statistics_format(setup: Setup) -> Factor:
    """
    Return the factor of the pixel type where no image is written.

    :param setup: What the evalscript's ``setup()`` returns.
    """
    types = {each.sample_type for each in setup.outputs or () if each.id != "dataMask"}
    if types and types <= {"INT8", "UINT8", "INT16", "UINT16"}:
        return Factor("format", 1, "no output has 32-bit floats", 1, 1)
    return Factor(
        "format", 1, "no TIFF is written; that statistics are made of 32-bit floats is assumed not to count", 1, 2
    )


def kind_of(response: Mapping[str, Any]) -> str:
    """
    Return the format of a response.

    :param response: The response.
    """
    return str(mapping(response, "format").get("type", "image/tiff"))


def samples(setup: Setup, sources: Sequence[Mapping[str, Any]]) -> Factor:
    """
    Return the factor of the samples per pixel of images.

    :param setup: What the evalscript's ``setup()`` returns.
    :param sources: The data sources, with their time ranges.
    """
    by_id = {str(each["id"]): each for each in sources if each.get("id") is not None}
    found = []
    for number, each in enumerate(_inputs(setup, len(sources))):
        by_order = sources[number] if number < len(sources) else {}
        found.append(_samples_of(each.mosaicking, by_id.get(str(each.datasource), by_order)))
    return _deepest(found)


def intervals_of(aggregation: Mapping[str, Any]) -> list[tuple[datetime, datetime]] | None:
    """
    Return the intervals of statistics; ``None`` if they cannot be read.

    :param aggregation: Period and intervals.
    """
    given, span = mapping(aggregation, "aggregationInterval"), read_range(aggregation.get("timeRange"))
    try:
        period = Period.parse(str(given.get("of")))
    except ValueError:
        return None
    if span is None or not period.is_a_day:
        return None
    return list(intervals(*span, period, str(given.get("lastIntervalBehavior", "SKIP"))))


def statistics_samples(setup: Setup, cut: Sequence[tuple[datetime, datetime]] | None) -> Factor:
    """
    Return the factor of the samples per pixel of statistics: those of every interval.

    :param setup: What the evalscript's ``setup()`` returns.
    :param cut: The intervals; ``None`` if they cannot be read.
    """
    if cut is None:
        return Factor(SAMPLES, 1, "a period or intervals that cannot be read: 1 assumed", 0, None)
    return _deepest([_samples_of_intervals(each.mosaicking, cut) for each in _inputs(setup, 1)])


def about_samples(factors: Sequence[Factor]) -> list[str]:
    """
    Say what is assumed about the number of acquisitions, where that matters.

    :param factors: All factors.
    """
    found = next(factor for factor in factors if factor.name == SAMPLES)
    if found.low == found.high:
        return []
    most = "any number" if found.high is None else f"{found.high:,.4g}"
    text = (
        f"The number of acquisitions is not known before the run: {found.value:,.4g} samples per pixel assumed, "
        f"{found.low:,.4g} to {most} possible, and the cost is proportional to it. Filters such as maxCloudCoverage, "
        "preProcessScenes in the evalscript and areas without data make it less; high latitudes and daily collections "
        "make it more."
    )
    return [text]


def fusion(sources: Sequence[Mapping[str, Any]], *, remote: bool = False) -> Factor:
    """
    Return the factor of several data sources.

    :param sources: The data sources.
    :param remote: Whether some may be in another deployment: those count twice. Default ``False``.
    """
    count = max(1, len(sources))
    kinds = max(1, len({str(each.get("type")) for each in sources}))
    if count == 1:
        return Factor("data fusion", 1, "one data source", 1, 1)
    high = 2 * count if remote else count
    return Factor("data fusion", count, f"{count} data sources of {kinds} collections", kinds, high)


def sentinel_1(sources: Sequence[Mapping[str, Any]]) -> Factor:
    """
    Return the factor of the processing of Sentinel-1 data.

    :param sources: The data sources.
    """
    each = [_sentinel_1_of(mapping(source, "processing")) for source in sources] or [(1.0, "nothing to correct")]
    value, why = max(each)
    # The rules do not say whether the factor of one data source applies to the others.
    return Factor("Sentinel-1", value, why, sum(factor for factor, _ in each) / len(each), value)


def bytes_of(setup: Setup, written: Sequence[Mapping[str, Any]]) -> int | None:
    """
    Return the size of a pixel of all images in bytes, before compression; ``None`` if it cannot be read.

    :param setup: What the evalscript's ``setup()`` returns.
    :param written: The responses of the request.
    """
    names = {str(each.get("identifier", "default")) for each in written if kind_of(each) != "application/json"}
    sizes = [_bytes(each) for each in setup.outputs or () if each.id in names]
    return sum(size for size in sizes if size is not None) if sizes and None not in sizes else None


def _inputs(setup: Setup, sources: int) -> tuple[Input, ...]:
    return setup.inputs if setup.inputs is not None else (Input(None, None, None),) * max(1, sources)


def _deepest(found: list[Factor]) -> Factor:
    # The rules do not say how inputs with different numbers of samples add up: between the fewest and the most.
    deepest = max(found, key=lambda factor: factor.value)
    highs = [factor.high for factor in found]
    high = None if None in highs else max(high for high in highs if high is not None)
    return deepest._replace(low=min(factor.low for factor in found), high=high)


def _samples_of(mosaicking: str | None, source: Mapping[str, Any]) -> Factor:
    if mosaicking == "SIMPLE":
        return Factor(SAMPLES, 1, "SIMPLE mosaicking", 1, 1)
    name = mosaicking or "unknown"
    period = read_range(mapping(source, "dataFilter").get("timeRange"))
    if period is None:
        return Factor(SAMPLES, 1, f"{name} mosaicking without a time range: 1 assumed", 0, None)
    start, end = period
    return _acquisitions(mosaicking, (end - start) / DAY, (end.date() - start.date()).days + 1)


def _samples_of_intervals(mosaicking: str | None, cut: Sequence[tuple[datetime, datetime]]) -> Factor:
    if mosaicking == "SIMPLE":
        # An interval without any data may cost nothing.
        return Factor(SAMPLES, len(cut), f"SIMPLE mosaicking of {len(cut):,} intervals", 0, len(cut))
    days = sum(((end - start) / DAY for start, end in cut), start=0.0)
    # A day is in two intervals where one ends at noon.
    dates = sum(((end - timedelta(microseconds=1)).date() - start.date()).days + 1 for start, end in cut)
    return _acquisitions(mosaicking, days, dates)


def _acquisitions(mosaicking: str | None, days: float, dates: int) -> Factor:
    name = mosaicking or "unknown"
    why = f"{name} mosaicking of {days:,.4g} days, one acquisition every {DAYS_PER_SAMPLE} days assumed"
    most = dates
    # ORBIT makes one sample of all acquisitions of a day.
    if mosaicking != "ORBIT":
        most *= TILES_PER_DAY
        why += f", never more than {TILES_PER_DAY} scenes a day"
    return Factor(SAMPLES, max(1.0, days / DAYS_PER_SAMPLE), why, 0, most)


def _sentinel_1_of(processing: Mapping[str, Any]) -> tuple[float, str]:
    value, parts = 1.0, []
    if str(processing.get("backCoeff")).upper().endswith("_TERRAIN"):
        value, parts = 2.5, ["radiometric terrain correction 2.5"]
    elif str(processing.get("orthorectify")).lower() == "true":
        value, parts = 2.0, ["orthorectification 2"]
    if mapping(processing, "speckleFilter").get("type", "NONE") != "NONE":
        value, parts = value * 2, [*parts, "speckle filter 2"]
    return value, ", ".join(parts) or "no such processing"


def _bytes(output: Output) -> int | None:
    size = _BYTES.get(output.sample_type or "")
    return None if size is None or output.bands is None else size * output.bands
