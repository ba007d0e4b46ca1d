"""
Rules on statistics: period, intervals and pixels, outputs and calculations.

Sources: https://docs.planet.com/develop/apis/statistical/ and
https://docs.planet.com/develop/apis/statistical/reference/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.evalscript import Output, Setup, read_setup
from airflow_provider_sentinelhub.client.preflight.outputs import (
    check_setup,
    check_sources,
    check_text,
    is_readable,
)
from airflow_provider_sentinelhub.client.requests.findings import (
    Advice,
    Finding,
    Json,
    is_number,
    mapping,
    objects,
    part,
)
from airflow_provider_sentinelhub.client.requests.intervals import DAY, Period, intervals, read_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.http.deployments import Deployment


def check_sampling(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find intervals that do not fit into the period, and sizes left to the service's defaults.

    :param body: The request.
    :param deployment: Not used.
    """
    aggregation = mapping(body, "aggregation")
    if not aggregation:
        return
    yield from _check_size(aggregation)
    yield from _check_intervals(aggregation)


def _check_size(aggregation: Json) -> Iterator[Finding]:
    given = [name for name in ("width", "height", "resx", "resy") if aggregation.get(name) is not None]
    if not given:
        fact = (
            "has neither resx and resy nor width and height: each geometry is sampled with 256 x 256 pixels, "
            "whatever its size"
        )
        yield Advice("aggregation", fact, "Give resx and resy, in units of the CRS.")
    for one, other in (("width", "height"), ("height", "width")):
        if one in given and other not in given:
            yield Advice(
                f"aggregation.{other}", f"is missing and defaults to 256, although {one} is given", "Give both."
            )


def _check_intervals(aggregation: Json) -> Iterator[Finding]:
    field, of = "aggregation.aggregationInterval.of", str(part(aggregation, "aggregationInterval", "of"))
    span = read_range(part(aggregation, "timeRange"))
    try:
        period = Period.parse(of)
    except ValueError:
        return
    if (
        span is None
        or not period.is_a_day
        or part(aggregation, "aggregationInterval", "lastIntervalBehavior")
        not in {
            None,
            "SKIP",
        }
    ):
        return
    start, end = span
    covered = max((finish for _, finish in intervals(start, end, period)), default=start)
    if covered == start < end:
        rule = (
            f"is longer than timeRange, {_length(end - start)}: the only interval would be skipped because it is too "
            "short"
        )
        fix = "Set lastIntervalBehavior to SHORTEN or EXTEND, or choose shorter intervals."
        yield InvalidParameter(field, of, rule, fix)
    elif covered < end:
        fact = f"leaves {_length(end - covered)} at the end of timeRange, which are skipped"
        fix = "Set lastIntervalBehavior to SHORTEN or EXTEND, or end timeRange where an interval ends."
        yield Advice(field, fact, fix)


def _length(length: timedelta) -> str:
    text = f"{length / DAY:,.4g} days" if length >= DAY else f"{length / timedelta(hours=1):,.3g} hours"
    return text.removesuffix("s") if text.startswith("1 ") else text


EVALSCRIPT = "aggregation.evalscript"
MASK = "dataMask"
DEFAULT = "default"
_WHOLE = frozenset({"INT8", "UINT8", "INT16", "UINT16"})


@dataclass(frozen=True)
class Offered:
    """
    The outputs of a request's evalscript.

    :param body: The request.
    """

    body: Json

    @cached_property
    def evalscript(self) -> str:
        """The script's text; empty if it is in a bucket."""
        found = part(self.body, "aggregation", "evalscript")
        return found if isinstance(found, str) else ""

    @cached_property
    def setup(self) -> Setup:
        """What the script's ``setup()`` returns."""
        return read_setup(self.evalscript)

    @cached_property
    def outputs(self) -> dict[str, Output] | None:
        """The outputs that statistics are computed for, by id; ``None`` if they cannot all be read."""
        listed = self.setup.outputs
        if listed is None or any(each.id is None for each in listed):
            return None
        return {str(each.id): each for each in listed if each.id != MASK}

    @cached_property
    def has_mask(self) -> bool:
        """Whether there is an output ``dataMask``."""
        return any(each.id == MASK for each in self.setup.outputs or ())


def check_statistics(body: Json, deployment: Deployment | None) -> Iterator[Finding]:  # noqa: ARG001 - a Rule
    """
    Find an evalscript and calculations that the service would refuse, or that do not match.

    :param body: The request.
    :param deployment: Not used.
    """
    offered = Offered(body)
    if offered.evalscript.strip():
        yield from check_text(EVALSCRIPT, offered.evalscript)
        if is_readable(offered.evalscript):
            yield from _check_script(offered)
    for name, calculation in mapping(body, "calculations").items():
        yield from _check_calculation(offered, f"calculations.{name}", name, mapping(calculation))


def _check_script(offered: Offered) -> Iterator[Finding]:
    setup = offered.setup
    yield from check_setup(EVALSCRIPT, setup)
    yield from check_sources(EVALSCRIPT, setup, "input.data", objects(offered.body, "input", "data"))
    if offered.outputs is None:
        if setup.trouble is None:
            fact = f"not all outputs of setup() can be read, so it is not known whether it has the required {MASK}"
            yield Advice(EVALSCRIPT, fact, "Give each of them a text as id.")
        return
    names = ", ".join(offered.outputs)
    if not offered.has_mask:
        rule = f"has no output {MASK}, which the service requires to know which pixels are valid"
        fix = (
            f'Add {{id: "{MASK}", bands: 1}} to the outputs of setup(), and {MASK}: [...] to what evaluatePixel() '
            f"returns."
        )
        yield InvalidParameter(EVALSCRIPT, f"output: {names}", rule, fix)
    elif not offered.outputs:
        rule = f"has no output besides {MASK}, so there is nothing to compute statistics of"
        yield InvalidParameter(EVALSCRIPT, f"output: {MASK}", rule, "Add an output to setup().")
    inputs = setup.inputs or ()
    if inputs and all(each.bands is not None and MASK not in each.bands for each in inputs):
        fact = (
            f"does not read the band {MASK}: pixels without data, and pixels outside of the polygon, are counted "
            "like any other"
        )
        yield Advice(EVALSCRIPT, fact, f"Add {MASK} to the input bands, and return it as the output {MASK}.")


def _check_calculation(offered: Offered, field: str, name: str, calculation: Json) -> Iterator[Finding]:
    outputs = offered.outputs
    if name == MASK:
        yield Advice(field, f"names {MASK}, for which no statistics are computed", "Name another output.")
        return
    if outputs and name not in {DEFAULT, *outputs}:
        rule = f"is not an output of the evalscript that statistics are computed of; there is {', '.join(outputs)}"
        meant = get_close_matches(name, outputs, n=1) or [*outputs][:1]
        yield InvalidParameter(field, name, rule, f"Write {meant[0]}, or {DEFAULT} for all others.")
        return
    chosen = [] if not outputs else [outputs[name]] if name in outputs else list(outputs.values())
    for kind in ("histograms", "statistics"):
        for band, definition in mapping(calculation, kind).items():
            place = f"{field}.{kind}.{band}"
            yield from _check_band(place, band, chosen)
            if kind == "histograms":
                yield from _check_numbers(place, mapping(definition), chosen)
            else:
                yield from _check_percentiles(f"{place}.percentiles.k", part(definition, "percentiles", "k"))


def _check_band(field: str, band: str, outputs: list[Output]) -> Iterator[Finding]:
    names = [each.band_names for each in outputs]
    known = [band for each in names if each is not None for band in each]
    if not names or None in names or band in {DEFAULT, *known}:
        return
    rule = (
        f"is not a band of {' or '.join(str(each.id) for each in outputs)}; there is {', '.join(dict.fromkeys(known))}"
    )
    fix = f"Write {(get_close_matches(band, known, n=1) or known)[0]}, or {DEFAULT} for all others."
    yield InvalidParameter(field, band, rule, fix)


def _check_numbers(field: str, histogram: Json, outputs: list[Output]) -> Iterator[Finding]:
    """Compare the type of the numbers with the sample type; for statistics AUTO means FLOAT32."""
    ways = (
        histogram.get("bins"),
        [histogram.get("binWidth")],
        [histogram.get("lowEdge"), histogram.get("highEdge")],
    )
    numbers = next((each for each in ways if isinstance(each, list) and each and all(map(is_number, each))), [])
    types = {each.sample_type or "unknown" for each in outputs}
    if not numbers or not types:
        return
    if all(isinstance(each, int) for each in numbers):
        if types <= {"FLOAT32", "AUTO"}:
            fact = "uses whole numbers, which are meant for integer outputs; this one is FLOAT32"
            yield Advice(field, fact, f"Write e.g. {float(numbers[0])} instead of {numbers[0]}.")
    elif types <= _WHOLE:
        fact = f"does not use whole numbers, but the output is {', '.join(sorted(types))}"
        yield Advice(field, fact, "Write whole numbers, or make the output FLOAT32.")


def _check_percentiles(field: str, k: Any) -> Iterator[Finding]:
    numbers = [each for each in k if is_number(each)] if isinstance(k, (list, tuple)) else []
    if numbers and max(numbers) < 1 and max(numbers) > 0:
        fact = f"{numbers} are in percent: {max(numbers):g} is a percentile near the minimum"
        yield Advice(field, fact, f"Write {[round(100 * each, 6) for each in numbers]}.")
