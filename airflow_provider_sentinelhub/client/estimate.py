"""
What a batch will cost, told before it is started.

The published rules multiply factors; all but one are known once the analysis has listed the features. The number of
samples per pixel is not: with ORBIT and TILE mosaicking it is the number of acquisitions. It is assumed as the first
version of the batch API assumed it in its own estimates: one every three days. Where the rules can be read in more
than one way, ``pu`` follows their wording, and ``low_pu`` and ``high_pu`` the cheapest and dearest reading.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html (rules) and
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html#cost-estimate (samples).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import prod
from typing import Any, Final, NamedTuple

from airflow_provider_sentinelhub.client.evalscript import Input, Output, Setup, read_setup

PixelCounts = Iterable[tuple[int, int, int]]
"""Groups of features of one size: width and height in pixels, and how many features have them."""

MINIMUM_PU: Final = 100.0
BASE_PIXELS: Final = 512 * 512
BASE_BANDS: Final = 3
LEAST_AREA: Final = 0.01
DISCOUNT: Final = 1 / 3
DISCOUNT_FROM_PIXELS: Final = 10_000
DAYS_PER_SAMPLE: Final = 3
# Not a published bound: corners of Sentinel-2 tiles, where four overlap.
TILES_PER_DAY: Final = 4
PU_PER_MB_TO_ANOTHER_REGION: Final = 0.03
_BYTES = {"AUTO": 1, "INT8": 1, "UINT8": 1, "INT16": 2, "UINT16": 2, "FLOAT32": 4}


class Factor(NamedTuple):
    """
    One factor of the price.

    :param name: What it stands for.
    :param value: By the wording of the rules.
    :param why: What it was computed from.
    :param low: The least it may turn out to be.
    :param high: The most it may turn out to be; ``None`` where no bound is known.
    """

    name: str
    value: float
    why: str
    low: float
    high: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """
    What a batch is expected to cost, in processing units (PU).

    :param pu: By the wording of the published rules.
    :param low_pu: The least it costs if every feature is processed; 0 if features may be skipped.
    :param high_pu: The most it costs; ``None`` where no bound is known.
    :param features: How many features there are.
    :param pixels: How many pixels they have together, each output counted once.
    :param factors: Their product is ``pu``, unless the minimum for a task is more.
    :param assumptions: What the estimate takes for granted, most important first.
    """

    pu: float
    low_pu: float
    high_pu: float | None
    features: int
    pixels: int
    factors: tuple[Factor, ...]
    assumptions: tuple[str, ...]

    def text(self) -> str:
        """Say what it costs, how wrong that can be, and why, in a few lines."""
        most = "without a known upper bound" if self.high_pu is None else f"at most {_pu(self.high_pu)}"
        lines = [
            f"Estimated cost: {_pu(self.pu)}; at least {_pu(self.low_pu)}, {most}.",
            f"{self.features:,} features, {self.pixels:,} pixels:",
        ]
        lines += [f"  x {factor.value:,.4g} {factor.name}{_spread(factor)}: {factor.why}" for factor in self.factors]
        return "\n".join([*lines, *(f"- {assumption}" for assumption in self.assumptions)])


def estimate_cost(request_body: Mapping[str, Any], pixels: PixelCounts) -> Estimate:
    """
    Estimate what a batch costs.

    A pure function: nothing is asked of the service, no evalscript is run, and no request makes it raise.

    :param request_body: The body of the create call, as JSON; the answer's ``request`` will do as well.
    :param pixels: The features by size, as the manifest gives them; gone through once.
    """
    area = _Area.of(pixels)
    process = _mapping(request_body.get("processRequest"))
    script = process.get("evalscript")
    setup = read_setup(script if isinstance(script, str) else "")
    sources = [each for each in _list(_mapping(process.get("input")).get("data")) if isinstance(each, Mapping)]
    responses = _mapping(process.get("output")).get("responses")
    written = [_mapping(each) for each in _list(responses)] or [{"identifier": "default"}]
    factors = (
        *area.factors(),
        _bands(setup, len(sources)),
        _format(setup, written),
        _samples(setup, sources),
        _fusion(sources),
        _sentinel_1(sources),
    )
    highs = [factor.high for factor in factors]
    known = [high for high in highs if high is not None]
    minimum = MINIMUM_PU if area.features else 0.0
    may_skip = _mapping(request_body.get("output")).get("skipExisting") is True
    pu = prod(factor.value for factor in factors)
    return Estimate(
        pu=max(minimum, pu),
        low_pu=0.0 if may_skip else max(minimum, prod(factor.low for factor in factors)),
        high_pu=max(minimum, prod(known)) if len(known) == len(highs) or not area.features else None,
        features=area.features,
        pixels=area.pixels,
        factors=factors,
        assumptions=(
            *([f"A task costs at least {MINIMUM_PU:g} PU: that is more than this one's {pu:,.4g}."] * (pu < minimum)),
            *_about_samples(factors),
            *(f"{note[0].upper()}{note[1:]}." for note in setup.notes),
            *(["Results that exist already are skipped and cost nothing."] * may_skip),
            *area.assumptions(),
            "All features are processed: one that fails or has no data is not charged.",
            _transfer(setup, written, area.pixels),
        ),
    )


@dataclass(slots=True)
class _Area:
    features: int = 0
    pixels: int = 0
    units: float = 0.0
    charged: float = 0.0
    low: float = 0.0
    high: float = 0.0
    small: int = 0
    full_price: int = 0

    @classmethod
    def of(cls, groups: PixelCounts) -> _Area:
        area = cls()
        for width, height, count in groups:
            pixels = width * height
            exact = pixels / BASE_PIXELS
            least = max(LEAST_AREA, exact)
            # "At least 10,000" in the rules for version 1, "bigger than 10,000" in those for version 2.
            discount = DISCOUNT if pixels >= DISCOUNT_FROM_PIXELS else 1.0
            area.features += count
            area.pixels += count * pixels
            area.units += count * least
            area.charged += count * least * discount
            area.low += count * exact * discount
            area.high += count * least * (DISCOUNT if pixels > DISCOUNT_FROM_PIXELS else 1.0)
            area.small += count * (exact < LEAST_AREA)
            area.full_price += count * (pixels < DISCOUNT_FROM_PIXELS)
        return area

    def factors(self) -> tuple[Factor, Factor]:
        why = f"{BASE_PIXELS:,} pixels count 1, a feature never less than {LEAST_AREA}"
        cheap = f"1/3 for features of {DISCOUNT_FROM_PIXELS:,} pixels or more; {self.full_price:,} are smaller"
        area = self.units or 1.0
        return (
            Factor("area", self.units, why, self.units, self.units),
            Factor("batch", self.charged / area, cheap, self.low / area, self.high / area),
        )

    def assumptions(self) -> list[str]:
        text = (
            f"{self.small:,} features are so small that {LEAST_AREA} is charged for the area of each; the rules do not "
            "say that this minimum holds for each feature of a batch, so it may be less."
        )
        return [text] * bool(self.small)


def _bands(setup: Setup, sources: int) -> Factor:
    inputs = setup.inputs if setup.inputs is not None else (Input(None, None, None),) * max(1, sources)
    # dataMask is free, unless there is nothing else.
    paid = sum(len(set(each.bands) - {"dataMask"}) for each in inputs if each.bands is not None)
    unknown = sum(each.bands is None for each in inputs)
    if unknown:
        why = f"the evalscript does not tell the bands of {unknown} inputs: {BASE_BANDS} assumed for each"
        return Factor("bands", paid / BASE_BANDS + unknown, why, max(1, paid) / BASE_BANDS, None)
    value = max(1, paid) / BASE_BANDS
    return Factor("bands", value, f"{max(1, paid)} input bands of {BASE_BANDS}, dataMask not counted", value, value)


def _format(setup: Setup, written: list[Mapping[str, Any]]) -> Factor:
    kinds = {str(each.get("identifier", "default")): _kind(each) for each in written}
    outputs = {each.id: each.sample_type for each in setup.outputs or ()}
    tiff = [outputs.get(name) for name, kind in kinds.items() if kind == "image/tiff"]
    if "FLOAT32" in tiff:
        return Factor("format", 2, "an output is a 32-bit float TIFF", 2, 2)
    if None in tiff:
        return Factor("format", 2, "the evalscript does not tell whether a TIFF is 32-bit float: assumed", 1, 2)
    if "FLOAT32" in outputs.values():
        why = "no 32-bit float TIFF is requested; that another output is 32-bit float is taken not to count"
        return Factor("format", 1, why, 1, 2)
    return Factor("format", 1, "no output is a 32-bit float TIFF", 1, 1)


def _kind(response: Mapping[str, Any]) -> str:
    return str(_mapping(response.get("format")).get("type", "image/tiff"))


def _samples(setup: Setup, sources: list[Mapping[str, Any]]) -> Factor:
    inputs = setup.inputs if setup.inputs is not None else (Input(None, None, None),) * max(1, len(sources))
    by_id = {str(each["id"]): each for each in sources if each.get("id") is not None}
    found = []
    for number, each in enumerate(inputs):
        by_order = sources[number] if number < len(sources) else {}
        found.append(_samples_of(each.mosaicking, by_id.get(str(each.datasource), by_order)))
    # The rules do not say how inputs of different depth add up: at most like the deepest, at least like the shallowest.
    deepest = max(found, key=lambda factor: factor.value)
    highs = [factor.high for factor in found]
    high = None if None in highs else max(high for high in highs if high is not None)
    return deepest._replace(low=min(factor.low for factor in found), high=high)


def _samples_of(mosaicking: str | None, source: Mapping[str, Any]) -> Factor:
    if mosaicking == "SIMPLE":
        return Factor("samples per pixel", 1, "SIMPLE mosaicking", 1, 1)
    name = mosaicking or "unknown"
    period = _period(source)
    if period is None:
        return Factor("samples per pixel", 1, f"{name} mosaicking without a time range: 1 assumed", 0, None)
    start, end = period
    length = (end - start).total_seconds() / 86_400
    dates = (end.date() - start.date()).days + 1
    why = f"{name} mosaicking of {length:,.4g} days, one acquisition every {DAYS_PER_SAMPLE} days assumed"
    most = dates
    # ORBIT makes one sample of all acquisitions of a day.
    if mosaicking != "ORBIT":
        most *= TILES_PER_DAY
        why += f", never more than {TILES_PER_DAY} scenes a day"
    return Factor("samples per pixel", max(1.0, length / DAYS_PER_SAMPLE), why, 0, most)


def _period(source: Mapping[str, Any]) -> tuple[datetime, datetime] | None:
    given = _mapping(_mapping(source.get("dataFilter")).get("timeRange"))
    try:
        start, end = (datetime.fromisoformat(str(given.get(side))) for side in ("from", "to"))
        # A moment without a time zone is one in UTC; near the ends of the calendar not every zone exists.
        start, end = (each.replace(tzinfo=each.tzinfo or UTC).astimezone(UTC) for each in (start, end))
    except (ValueError, OverflowError):
        return None
    return (start, end) if start <= end else None


def _about_samples(factors: tuple[Factor, ...]) -> list[str]:
    samples = next(factor for factor in factors if factor.name == "samples per pixel")
    if samples.low == samples.high:
        return []
    most = "any number" if samples.high is None else f"{samples.high:,.4g}"
    text = (
        f"The number of acquisitions is not known before the run: {samples.value:,.4g} samples per pixel assumed, "
        f"0 to {most} possible, and the cost is proportional to it. Filters such as maxCloudCoverage, preProcessScenes "
        "in the evalscript and areas without data make it less; high latitudes and daily collections make it more."
    )
    return [text]


def _fusion(sources: list[Mapping[str, Any]]) -> Factor:
    count = max(1, len(sources))
    kinds = max(1, len({str(each.get("type")) for each in sources}))
    if count == 1:
        return Factor("data fusion", 1, "one data source", 1, 1)
    # Remote collections would count twice; a batch may only use those of its own deployment.
    return Factor("data fusion", count, f"{count} data sources of {kinds} collections", kinds, count)


def _sentinel_1(sources: list[Mapping[str, Any]]) -> Factor:
    each = [_sentinel_1_of(_mapping(source.get("processing"))) for source in sources] or [(1.0, "nothing to correct")]
    value, why = max(each)
    # Whether the factor of one data source is charged for the others as well is not said.
    return Factor("Sentinel-1", value, why, sum(factor for factor, _ in each) / len(each), value)


def _sentinel_1_of(processing: Mapping[str, Any]) -> tuple[float, str]:
    value, parts = 1.0, []
    if str(processing.get("backCoeff")).upper().endswith("_TERRAIN"):
        value, parts = 2.5, ["radiometric terrain correction 2.5"]
    elif str(processing.get("orthorectify")).lower() == "true":
        value, parts = 2.0, ["orthorectification 2"]
    if _mapping(processing.get("speckleFilter")).get("type", "NONE") != "NONE":
        value, parts = value * 2, [*parts, "speckle filter 2"]
    return value, ", ".join(parts) or "no such processing"


def _transfer(setup: Setup, written: list[Mapping[str, Any]], pixels: int) -> str:
    text = "Delivery to a bucket in another region or cloud is not included"
    names = {str(each.get("identifier", "default")) for each in written if _kind(each) != "application/json"}
    sizes = [_bytes(each) for each in setup.outputs or () if each.id in names]
    if not sizes or None in sizes:
        return f"{text}; where it is charged it costs {PU_PER_MB_TO_ANOTHER_REGION} PU per MB."
    megabytes = pixels * sum(size for size in sizes if size is not None) / 1e6
    return (
        f"{text}; where it is charged, {PU_PER_MB_TO_ANOTHER_REGION} PU per MB are up to "
        f"{_pu(megabytes * PU_PER_MB_TO_ANOTHER_REGION)} for {megabytes:,.0f} MB before compression."
    )


def _bytes(output: Output) -> int | None:
    size = _BYTES.get(output.sample_type or "")
    return None if size is None or output.bands is None else size * output.bands


def _spread(factor: Factor) -> str:
    if factor.low == factor.value == factor.high:
        return ""
    return f" ({factor.low:,.4g} to {'?' if factor.high is None else f'{factor.high:,.4g}'})"


def _pu(value: float) -> str:
    return f"{value:,.0f} PU" if value >= MINIMUM_PU else f"{value:,.3g} PU"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
