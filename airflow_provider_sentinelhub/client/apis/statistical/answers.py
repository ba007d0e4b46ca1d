"""
What the Statistical API answers, and what a result file of Batch Statistical holds as its response.

Source: https://docs.planet.com/develop/apis/statistical/reference/
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field

from airflow_provider_sentinelhub.client.models import AnswerModel


class _Part(AnswerModel):
    # Written as the service writes it: JSON has no word for what is not a number, and what is kept is read again.
    model_config = ConfigDict(ser_json_inf_nan="strings")


def _error(given: Any) -> Any:
    return {"type": given} if isinstance(given, str) else given


# Null means the same as nothing.
_NoDict = BeforeValidator(lambda given: {} if given is None else given)
_NoList = BeforeValidator(lambda given: [] if given is None else given)


class StatisticsError(_Part):
    """
    Why statistics are missing.

    :param type: BAD_REQUEST, EXECUTION_ERROR, TIMEOUT, or what comes later.
    """

    type: str = "UNKNOWN"


# The service writes an error as an object; files of earlier versions hold its type alone.
Failure = Annotated[StatisticsError | None, BeforeValidator(_error)]


class Interval(_Part):
    """
    A period of time.

    :param start: Its first moment.
    :param end: The first moment after it.
    """

    start: Annotated[datetime, Field(alias="from")]
    end: Annotated[datetime, Field(alias="to")]


class Stats(_Part):
    """
    Statistics of one band; what cannot be computed is not a number (NaN).

    :param minimum: The smallest value.
    :param maximum: The largest value.
    :param mean: Their mean.
    :param st_dev: Their standard deviation.
    :param sample_count: How many pixels there are, those without data included.
    :param no_data_count: How many of them have no data.
    :param percentiles: Percentiles, by percent as text, e.g. ``50.0``.
    """

    minimum: Annotated[float | None, Field(alias="min")] = None
    maximum: Annotated[float | None, Field(alias="max")] = None
    mean: float | None = None
    st_dev: float | None = None
    sample_count: int | None = None
    no_data_count: int | None = None
    percentiles: Annotated[dict[str, float], _NoDict] = Field(default_factory=dict)


class Bin(_Part):
    """
    One bin of a histogram.

    :param low_edge: Its smallest value.
    :param high_edge: The first value above it; in the last bin, its largest value.
    :param count: How many values lie in it.
    """

    low_edge: float
    high_edge: float
    count: int


class HistogramAnswer(_Part):
    """
    A histogram of one band.

    :param bins: Its bins.
    :param overflow_count: How many values lie above.
    :param underflow_count: How many values lie below.
    """

    bins: Annotated[list[Bin], _NoList] = Field(default_factory=list)
    # The document says overflow and underflow, the service what is below.
    overflow_count: Annotated[
        int | None, Field(validation_alias=AliasChoices("overflowCount", "overflow", "overflow_count"))
    ] = None
    underflow_count: Annotated[
        int | None, Field(validation_alias=AliasChoices("underflowCount", "underflow", "underflow_count"))
    ] = None


class BandAnswer(_Part):
    """
    What was computed of one band.

    :param stats: Statistics.
    :param histogram: The histogram, where one was asked for.
    """

    stats: Stats | None = None
    histogram: HistogramAnswer | None = None


class OutputAnswer(_Part):
    """
    What was computed of one output.

    :param bands: By name of the band.
    """

    bands: Annotated[dict[str, BandAnswer], _NoDict] = Field(default_factory=dict)


class IntervalAnswer(_Part):
    """
    What was computed of one interval.

    :param interval: The interval; ``None`` where the service does not say in which one something failed.
    :param outputs: By name of the output; empty where the interval failed.
    :param error: Why it failed.
    """

    interval: Interval | None = None
    outputs: Annotated[dict[str, OutputAnswer], _NoDict] = Field(default_factory=dict)
    error: Failure = None


class StatisticalAnswer(_Part):
    """
    Statistics of one geometry.

    :param data: The intervals; those for which there is no data may be absent.
    :param status: OK, PARTIAL or FAILED.
    :param error: Why all of it failed.
    """

    data: list[IntervalAnswer] | None = None
    status: str | None = None
    error: Failure = None

    @property
    def failed(self) -> tuple[IntervalAnswer, ...]:
        """The intervals that failed: an answer with 200 may hold some."""
        return tuple(each for each in self.data or () if each.error is not None)
