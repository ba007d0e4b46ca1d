"""
What the Statistical APIs compute for each output and band, besides minimum, maximum, mean and standard deviation.

Source: https://docs.planet.com/develop/apis/statistical/reference/
"""

from __future__ import annotations

import itertools
import sys
from typing import Annotated, Any

from pydantic import Field, PlainValidator, field_validator, model_validator

from airflow_provider_sentinelhub.client.models import Numbers, OpenRequestModel, RequestModel, Text, Whole, broken

_MAX_PERCENTILE = 100
_LEAST_EDGES = 2


def _number(given: Any) -> float:
    value = given
    if isinstance(given, str):
        try:
            value = int(given) if given.strip().lstrip("+-").isdecimal() else float(given)
        except ValueError:
            value = None
    # An integer may be larger than any float.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        broken("must be a number", "Write e.g. 0.2, or a whole number where the band holds whole numbers.")
    return value


# Integers are sent as integers: the service computes with integers if all edges are.
Number = Annotated[int | float, PlainValidator(_number)]


class Percentiles(OpenRequestModel):
    """
    Percentiles of a band's values; further fields are passed on.

    :param k: The percentiles, in percent.
    """

    k: Numbers

    @field_validator("k")
    @classmethod
    def _percent(cls, k: list[float]) -> list[float]:
        if not k or not all(0 <= each <= _MAX_PERCENTILE for each in k):
            broken(f"must be numbers from 0 to {_MAX_PERCENTILE}, in percent", "Write e.g. [5, 50, 95].")
        return k


class BandStatistics(RequestModel):
    """
    What is computed for one band besides minimum, maximum, mean and standard deviation.

    :param percentiles: Percentiles.
    """

    percentiles: Annotated[Percentiles, Text] | None = None


class Histogram(RequestModel):
    """
    A histogram of one band: by its bins, their width, or their number.

    :param bins: Edges of the bins, one more than there are bins.
    :param bin_width: Width of a bin.
    :param n_bins: How many bins there are.
    :param low_edge: Values below it are counted separately. Default: the smallest value.
    :param high_edge: Values above it are counted separately. Default: the largest value.
    """

    bins: Annotated[list[Number], Text] | None = None
    bin_width: Number | None = None
    n_bins: Annotated[Whole, Field(ge=1)] | None = None
    low_edge: Number | None = None
    high_edge: Number | None = None

    @field_validator("bins")
    @classmethod
    def _ascending(cls, bins: list[float] | None) -> list[float] | None:
        if bins is not None and (len(bins) < _LEAST_EDGES or any(a >= b for a, b in itertools.pairwise(bins))):
            broken("must be two edges or more, in ascending order", "Write e.g. [0, 0.2, 0.4, 1].")
        return bins

    @field_validator("bin_width")
    @classmethod
    def _positive(cls, width: float | None) -> float | None:
        if width is not None and width <= 0:
            broken("must be more than 0", "Write e.g. 0.05.")
        return width

    @model_validator(mode="after")
    def _one_way(self) -> Histogram:
        ways = [name for name, way in _WAYS.items() if getattr(self, way) is not None]
        if len(ways) != 1:
            given = f"holds {' and '.join(ways)}" if ways else "does not define its bins"
            broken(f"{given}, and takes exactly one of {', '.join(_WAYS)}", "Choose one.")
        if self.low_edge is not None and self.high_edge is not None and self.low_edge >= self.high_edge:
            broken("lowEdge is not below highEdge", "Swap the two, or correct them.")
        return self


_WAYS = {"bins": "bins", "binWidth": "bin_width", "nBins": "n_bins"}


class Calculation(RequestModel):
    """
    What is computed for one output, by band; ``default`` applies to all other bands.

    :param histograms: Histograms.
    :param statistics: Further statistics.
    """

    histograms: Annotated[dict[str, Annotated[Histogram, Text]], Text] | None = None
    statistics: Annotated[dict[str, Annotated[BandStatistics, Text]], Text] | None = None


Calculations = Annotated[dict[str, Annotated[Calculation, Text]], Text]
