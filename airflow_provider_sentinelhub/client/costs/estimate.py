"""
The estimated cost of a request.

The published rules multiply factors, see :mod:`airflow_provider_sentinelhub.client.costs.factors`. If they can be
interpreted in several ways, ``pu`` follows their wording, and ``low_pu`` and ``high_pu`` are the lowest and the highest
cost.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.costs import factors as factors_of
from airflow_provider_sentinelhub.client.costs import surcharge as surcharges
from airflow_provider_sentinelhub.client.costs.factors import Factor
from airflow_provider_sentinelhub.client.costs.surcharge import Delivery, Surcharge
from airflow_provider_sentinelhub.client.evalscript import Setup, read_setup
from airflow_provider_sentinelhub.client.requests.findings import mapping, objects
from airflow_provider_sentinelhub.client.text import printable

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.deployments import Deployment

PixelCounts = Iterable[tuple[int, int, int]]
"""Groups of features of one size: width and height in pixels, and the number of features."""

MINIMUM_PU: Final = 100.0
BASE_PIXELS: Final = 512 * 512
LEAST_AREA: Final = 0.01
DISCOUNT: Final = 1 / 3
DISCOUNT_FROM_PIXELS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """
    The expected cost of a request, in processing units (PU).

    :param pu: Cost by the wording of the published rules.
    :param low_pu: Minimum cost if every feature is processed; 0 if features may be skipped.
    :param high_pu: Maximum cost; ``None`` if no bound is known.
    :param features: Number of features.
    :param pixels: Total number of pixels of all features, each output counted once.
    :param factors: Their product, or the minimum for a task if that is higher, and the surcharge make ``pu``.
    :param surcharge: What delivery adds.
    :param assumptions: The assumptions of the estimate, most important first.
    """

    pu: float
    low_pu: float
    high_pu: float | None
    features: int
    pixels: int
    factors: tuple[Factor, ...]
    surcharge: Surcharge
    assumptions: tuple[str, ...]

    def text(self) -> str:
        """Describe the cost, its range and the factors, in a few lines."""
        most = "without a known upper bound" if self.high_pu is None else f"at most {_pu(self.high_pu)}"
        lines = [
            f"Estimated cost: {_pu(self.pu)}; at least {_pu(self.low_pu)}, {most}.",
            f"{self.features:,} features, {self.pixels:,} pixels:",
        ]
        lines += [f"  x {factor.value:,.4g} {factor.name}{_spread(factor)}: {factor.why}" for factor in self.factors]
        if self.surcharge.pu:
            extra = self.surcharge
            most = "?" if extra.high_pu is None else _pu(extra.high_pu)
            lines.append(f"  + {_pu(extra.pu)} for delivery ({extra.low_pu:,.3g} to {most}): {extra.why}")
        return printable("\n".join([*lines, *(f"- {assumption}" for assumption in self.assumptions)]), keep="\n")


def estimate_cost(priced: Price, pixels: PixelCounts, deployment: Deployment | None = None) -> Estimate:
    """
    Estimate the cost of a task, or the total cost of requests for several geometries.

    :param priced: What the request says about its cost.
    :param pixels: The features by size, as in the manifest; iterated once.
    :param deployment: Where the request is sent. Default ``None``: not known.
    """
    discount = priced.discount if priced.discounted else None
    area = _Area.of(pixels, discount)
    factors = (*area.factors(discount), *priced.factors)
    highs = [factor.high for factor in factors]
    known = [high for high in highs if high is not None]
    pu = prod(factor.value for factor in factors)
    minimum = priced.minimum * (area.features if priced.each_answered else bool(area.features))
    what = "The requests cost" if priced.each_answered else "A task costs"
    extra = Surcharge(0.0, "")
    if priced.delivery is not None and area.features:
        extra = priced.delivery.surcharge(area.features, area.pixels, deployment)
    is_bounded = (len(known) == len(highs) or not area.features) and extra.high_pu is not None
    return Estimate(
        pu=max(minimum, pu) + extra.pu,
        low_pu=0.0 if priced.may_skip else max(minimum, prod(factor.low for factor in factors)) + extra.low_pu,
        high_pu=max(minimum, prod(known)) + (extra.high_pu or 0.0) if is_bounded else None,
        features=area.features,
        pixels=area.pixels,
        factors=factors,
        surcharge=extra,
        assumptions=(
            *([f"{what} at least {minimum:g} PU: that is more than this one's {pu:,.4g}."] * (pu < minimum)),
            *factors_of.about_samples(factors),
            *(f"{note[0].upper()}{note[1:]}." for note in priced.setup.notes),
            *(["Existing results are skipped and cost nothing."] * priced.may_skip),
            *area.assumptions(),
            *priced.assumptions(extra),
        ),
    )


@dataclass(frozen=True, slots=True)
class Price:
    """
    What a request says about its cost, before any feature is read.

    :param setup: What its evalscript says about itself.
    :param factors: All factors except those of the area.
    :param minimum: Minimum cost, in processing units.
    :param discounted: Whether large features are cheaper.
    :param discount: By which factor, if they are.
    :param may_skip: Whether features may be skipped at no cost.
    :param each_answered: Whether each feature is a request of its own, and nothing is delivered.
    :param delivery: What is delivered, and where; ``None`` if nothing is.
    """

    setup: Setup
    factors: tuple[Factor, ...]
    minimum: float = MINIMUM_PU
    discounted: bool = True
    discount: float = DISCOUNT
    may_skip: bool = False
    each_answered: bool = False
    delivery: Delivery | None = None

    def assumptions(self, extra: Surcharge) -> list[str]:
        """
        Return the assumptions of an estimate.

        :param extra: What delivery adds.
        """
        if self.each_answered:
            return ["All requests succeed; a failed request is not charged."]
        all_processed = "All features are processed; a feature that fails or has no data is not charged."
        if extra.pu:
            return [all_processed, "How far the files can be compressed is not known: delivery is counted without it."]
        how = "is counted as free" if extra.high_pu != 0 else "is free"
        return [all_processed, f"Delivery {how}: {extra.why}."] if extra.why else [all_processed]


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
    def of(cls, groups: PixelCounts, discount: float | None) -> _Area:
        area = cls()
        for width, height, count in groups:
            pixels = width * height
            exact = pixels / BASE_PIXELS
            least = max(LEAST_AREA, exact)
            # "At least 10,000" in the rules for version 1, "bigger than 10,000" in those for version 2.
            cheaper = discount if discount is not None and pixels >= DISCOUNT_FROM_PIXELS else 1.0
            dearest = discount if discount is not None and pixels > DISCOUNT_FROM_PIXELS else 1.0
            area.features += count
            area.pixels += count * pixels
            area.units += count * least
            area.charged += count * least * cheaper
            area.low += count * exact * cheaper
            area.high += count * least * dearest
            area.small += count * (exact < LEAST_AREA)
            area.full_price += count * (pixels < DISCOUNT_FROM_PIXELS)
        return area

    def factors(self, discount: float | None) -> tuple[Factor, Factor]:
        why = f"{BASE_PIXELS:,} pixels count 1, a feature never less than {LEAST_AREA}"
        cheap = "only images of batches and Async Process have a discount"
        if discount is not None:
            share = Fraction(discount).limit_denominator(9)
            cheap = f"{share} for features of {DISCOUNT_FROM_PIXELS:,} pixels or more; {self.full_price:,} are smaller"
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


def _spread(factor: Factor) -> str:
    if factor.low == factor.value == factor.high:
        return ""
    return f" ({factor.low:,.4g} to {'?' if factor.high is None else f'{factor.high:,.4g}'})"


def _pu(value: float) -> str:
    return f"{value:,.0f} PU" if value >= MINIMUM_PU else f"{value:,.3g} PU"


def of_image(request: Mapping[str, Any], *, minimum_pu: float) -> Price:
    """
    Return what a request for images of single areas, which are in the answers, says about its cost.

    :param request: The request, as JSON of any shape; each response has its format.
    :param minimum_pu: Minimum cost of each answer, in processing units.
    """
    priced = of_images(request, {})
    return replace(priced, minimum=minimum_pu, discounted=False, each_answered=True, delivery=None)


def of_images(process: Mapping[str, Any], output: Mapping[str, Any]) -> Price:
    """
    Return what a request for images says about its cost.

    :param process: What is read, computed and written for each feature, as JSON of any shape.
    :param output: Where and how it is delivered, as JSON of any shape.
    """
    setup, sources = _setup(process), objects(process, "input", "data")
    written = objects(process, "output", "responses") or [{"identifier": "default"}]
    return Price(
        setup,
        (
            factors_of.bands(setup, len(sources)),
            factors_of.image_format(setup, written),
            factors_of.samples(setup, sources),
            factors_of.fusion(sources),
            factors_of.sentinel_1(sources),
        ),
        may_skip=output.get("skipExisting") is True,
        delivery=Delivery(
            mapping(output, "delivery"),
            factors_of.bytes_of(setup, written),
            files=len(written),
            has_overviews=output.get("cogOutput") is True,
        ),
    )


def of_statistics(body: Mapping[str, Any], *, minimum_pu: float = MINIMUM_PU, each_answered: bool = False) -> Price:
    """
    Return what a request for statistics says about its cost.

    :param body: The request, as JSON of any shape.
    :param minimum_pu: Minimum cost, in processing units.
    :param each_answered: Whether each geometry is a request of its own.
    """
    aggregation = mapping(body, "aggregation")
    setup, sources = _setup(aggregation), objects(body, "input", "data")
    cut = factors_of.intervals_of(aggregation)
    delivery = surcharges.of_statistics(mapping(body, "output"), setup, body, len(cut or ()))
    return Price(
        setup,
        (
            factors_of.bands(setup, len(sources)),
            factors_of.statistics_format(setup),
            factors_of.statistics_samples(setup, cut),
            factors_of.fusion(sources, remote=each_answered),
            factors_of.sentinel_1(sources),
        ),
        minimum=minimum_pu,
        # By the rules this discount is for images only.
        discounted=False,
        each_answered=each_answered,
        delivery=None if each_answered else delivery,
    )


def _setup(holder: Mapping[str, Any]) -> Setup:
    script = holder.get("evalscript")
    return read_setup(script if isinstance(script, str) else "")
