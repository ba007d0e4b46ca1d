"""
What requests of Statistical and Batch Statistical have in common.

Sources: https://docs.planet.com/develop/apis/statistical/reference/ and
https://docs.planet.com/develop/apis/batch-statistical/reference/
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from airflow_provider_sentinelhub.client.models import Real, Request, RequestModel, Text, Whole, broken
from airflow_provider_sentinelhub.client.requests.calculations import Calculations
from airflow_provider_sentinelhub.client.requests.data import TimeRange
from airflow_provider_sentinelhub.client.requests.intervals import Period

MAX_PX = 2500

Pixels = Annotated[Whole, Field(ge=1, le=MAX_PX)]
Resolution = Annotated[Real, Field(gt=0)]


class AggregationRange(TimeRange):
    """
    The period of the statistics.

    :param start: Its start, and that of the first interval; without a time zone it is in UTC.
    :param end: Its end.
    """

    @model_validator(mode="after")
    def _both_ends(self) -> AggregationRange:
        if not self.start or not self.end:
            broken("needs from and to", 'Write {"from": "2024-04-01T00:00:00Z", "to": "2024-10-01T00:00:00Z"}.')
        return self


class AggregationInterval(RequestModel):
    """
    The intervals the period is divided into.

    :param of: Length of an interval, an ISO 8601 duration of at least a day: ``P7D``, ``P1M`` or ``PT36H``.
    :param last_interval_behavior: What to do with a last interval that is too short: ``SKIP`` (default) leaves it out,
        ``SHORTEN`` ends it with the period, ``EXTEND`` lets it end after the period.
    """

    of: str
    last_interval_behavior: Literal["SKIP", "SHORTEN", "EXTEND"] | None = None

    @field_validator("of")
    @classmethod
    def _period(cls, of: str) -> str:
        try:
            period = Period.parse(of)
        except ValueError:
            broken(
                "is not a duration this API accepts: whole numbers with Y, M, W, D or, after a T, with H, M, S",
                "Write e.g. P1D, P7D, P1M or PT36H.",
            )
        if not period.is_a_day:
            broken("is less than a day, the shortest interval allowed", "Write P1D or more.")
        return of.strip().upper()


class Aggregation(RequestModel):
    """
    What is computed for each geometry: the period, the resolution and the script.

    :param time_range: The period.
    :param aggregation_interval: The intervals it is divided into.
    :param width: Width of a geometry's bounding box in pixels. Default: 256, if no size is given.
    :param height: Height of a geometry's bounding box in pixels. Default: 256, if no size is given.
    :param resx: Width of a pixel in units of the CRS; instead of ``width``.
    :param resy: Height of a pixel in units of the CRS; instead of ``height``.
    """

    time_range: Annotated[AggregationRange, Text]
    aggregation_interval: Annotated[AggregationInterval, Text]
    width: Pixels | None = None
    height: Pixels | None = None
    resx: Resolution | None = None
    resy: Resolution | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Aggregation:
        if not (self.width is self.height is None) and not (self.resx is self.resy is None):
            broken("holds both a size in pixels and a resolution", "Give width and height, or resx and resy.")
        if (self.resx is None) != (self.resy is None):
            broken("resx and resy must be given together", "Give both.")
        return self


class StatisticsRequest(Request):
    """
    What requests for statistics have in common.

    :param calculations: Histograms and percentiles, by output of the evalscript; ``default`` applies to all others.
    """

    calculations: Calculations | None = None
