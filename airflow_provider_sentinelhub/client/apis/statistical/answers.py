"""
The answers of the Statistical API; result files of Batch Statistical contain the same as their response.

Source: https://docs.planet.com/develop/apis/statistical/reference/
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, model_validator

from airflow_provider_sentinelhub.client.models import AnswerModel


class _Part(AnswerModel):
    # As the service writes them: JSON has no NaN, and what is stored must be readable again.
    model_config = ConfigDict(ser_json_inf_nan="strings")

    @model_validator(mode="before")
    @classmethod
    def _null_is_missing(cls, given: Any) -> Any:
        return _without_nulls(given)


def _without_nulls(given: Any) -> Any:
    if isinstance(given, dict):
        return {name: each for name, each in given.items() if each is not None}
    return [each for each in given if each is not None] if isinstance(given, list) else given


def _error(given: Any) -> Any:
    return {"type": given} if isinstance(given, str) else given


def _whole_interval(given: Any) -> Any:
    return None if isinstance(given, dict) and None in (given.get("from", 0), given.get("to", 0)) else given


_NoNulls = BeforeValidator(_without_nulls)


class StatisticsError(_Part):
    """
    Why statistics are missing.

    :param type: BAD_REQUEST, EXECUTION_ERROR, TIMEOUT, or an unknown one.
    """

    type: str = "UNKNOWN"


# The service writes an error as an object; files of earlier versions contain only its type.
Failure = Annotated[StatisticsError | None, BeforeValidator(_error)]


class Interval(_Part):
    """
    A period of time.

    :param start: Its start, inclusive.
    :param end: Its end, exclusive.
    """

    start: Annotated[datetime, Field(alias="from")]
    end: Annotated[datetime, Field(alias="to")]


class Stats(_Part):
    """
    Statistics of one band; NaN if they cannot be computed.

    :param minimum: The smallest value.
    :param maximum: The largest value.
    :param mean: The mean.
    :param st_dev: The standard deviation.
    :param sample_count: Number of pixels of the geometry's bounding box.
    :param no_data_count: Number of pixels without data, including those that do not overlap the geometry.
    :param percentiles: Percentiles, by percent as text, e.g. ``50.0``.
    """

    minimum: Annotated[float | None, Field(alias="min")] = None
    maximum: Annotated[float | None, Field(alias="max")] = None
    mean: float | None = None
    st_dev: float | None = None
    sample_count: int | None = None
    no_data_count: int | None = None
    percentiles: dict[str, float | None] = Field(default_factory=dict)


class Bin(_Part):
    """
    One bin of a histogram.

    :param low_edge: Its lower edge, inclusive; ``None`` if the service does not say it.
    :param high_edge: Its upper edge, exclusive except in the last bin; likewise.
    :param count: Number of values in it; likewise.
    """

    low_edge: float | None = None
    high_edge: float | None = None
    count: int | None = None


class HistogramAnswer(_Part):
    """
    A histogram of one band.

    :param bins: Its bins.
    :param overflow_count: Number of values above.
    :param underflow_count: Number of values below.
    """

    bins: Annotated[list[Bin], _NoNulls] = Field(default_factory=list)
    # The documentation says overflow and underflow; the service writes overflowCount and underflowCount.
    overflow_count: Annotated[
        int | None, Field(validation_alias=AliasChoices("overflowCount", "overflow", "overflow_count"))
    ] = None
    underflow_count: Annotated[
        int | None, Field(validation_alias=AliasChoices("underflowCount", "underflow", "underflow_count"))
    ] = None


class BandAnswer(_Part):
    """
    The results of one band.

    :param stats: Statistics.
    :param histogram: The histogram, if one was requested.
    """

    stats: Stats | None = None
    histogram: HistogramAnswer | None = None


class OutputAnswer(_Part):
    """
    The results of one output.

    :param bands: By name of the band.
    """

    bands: Annotated[dict[str, BandAnswer], _NoNulls] = Field(default_factory=dict)


class IntervalAnswer(_Part):
    """
    The results of one interval.

    :param interval: The interval; ``None`` if the service does not say which one failed.
    :param outputs: By name of the output; empty if the interval failed.
    :param error: Why it failed.
    """

    interval: Annotated[Interval | None, BeforeValidator(_whole_interval)] = None
    outputs: Annotated[dict[str, OutputAnswer], _NoNulls] = Field(default_factory=dict)
    error: Failure = None


class StatisticalAnswer(_Part):
    """
    Statistics of one geometry.

    :param data: The intervals; intervals without data may be missing.
    :param status: OK, PARTIAL or FAILED.
    :param error: Why the whole request failed.
    :param geometry_pixel_count: Number of pixels that overlap the geometry; ``None`` if there are no intervals, or if
        the service does not say it.
    """

    data: Annotated[list[IntervalAnswer] | None, _NoNulls] = None
    status: str | None = None
    error: Failure = None
    geometry_pixel_count: int | None = None

    @property
    def failed(self) -> tuple[IntervalAnswer, ...]:
        """The intervals that failed: an answer with status 200 may contain some."""
        return tuple(each for each in self.data or () if each.error is not None)
