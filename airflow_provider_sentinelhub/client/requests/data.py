"""
The data sources of a request, their time ranges and filters. Dates may be what Airflow's templates make of them.

Source: https://docs.planet.com/develop/apis/processing/ (input.data)
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from airflow_provider_sentinelhub.client.models import Flag, Name, OpenRequestModel, RequestModel, Text, Whole, broken

_ORDERS = ("mostRecent", "leastRecent", "leastCC")
_MAX_PERCENT = 100
# The last two are in the service's specification, but not in its pages on collections.
Interpolation = Literal["NEAREST", "BILINEAR", "BICUBIC", "LANCZOS", "BOX"]
Window = Annotated[Whole, Field(ge=1, le=7)]
NO_INTERVAL = "If the schedule has no data interval, data_interval_start equals data_interval_end. Use another period."
_FIX = "Write it like 2019-04-01T00:00:00Z."
_NEXT_DAY = "Hours go from 00 to 23. For the end of a day, write T00:00:00Z of the next day."


def moment_text(value: Any) -> str | None:
    """
    Return a date and time as the service reads it, in UTC.

    :param value: A date and time, or its text; without a time zone it is in UTC. ``None`` stays ``None``.
    :raises PydanticCustomError: It is not one, or has no time: for use in validators.
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        if value != value:  # noqa: PLR0124 - as NaN, pandas' NaT is not equal to itself
            broken("is not a date and time", _FIX)
        moment = value
    elif isinstance(value, date):
        fix = f"Write datetime.combine(day, time(), UTC) for its beginning, which is {value.isoformat()}T00:00:00Z."
        broken("is a date without a time", fix)
    else:
        text = str(value).strip()
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            broken("is not a date and time", _NEXT_DAY if "T24" in text else _FIX)
        if len(text) <= len("2019-04-01"):
            broken("is a date without a time", _FIX)
    try:
        moment = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        broken("is outside of the calendar's years in UTC, 1 to 9999", _FIX)
    written = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return written.replace("+00:00", "Z")


def _percent(value: Any) -> Any:
    number = value
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = None
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    # NaN and infinity have an error of their own, see preflight/payload.py.
    # An integer may be larger than any float.
    is_finite = isinstance(number, int) or (is_number and math.isfinite(number))
    if not is_number or (is_finite and not 0 <= number <= _MAX_PERCENT):
        broken(f"must be a number from 0 to {_MAX_PERCENT}, in percent", "Write e.g. 30, or leave it out.")
    return number


def _order(value: Any) -> Any:
    if value not in _ORDERS:
        broken(f"must be one of {', '.join(_ORDERS)}", "Choose one, or leave it out: the default is mostRecent.")
    return value


class TimeRange(RequestModel):
    """
    A period.

    :param start: Its start; without a time zone it is in UTC.
    :param end: Its end.
    """

    start: Annotated[str | None, BeforeValidator(moment_text), Field(alias="from")] = None
    end: Annotated[str | None, BeforeValidator(moment_text), Field(alias="to")] = None

    @model_validator(mode="after")
    def _in_order(self) -> TimeRange:
        if self.start and self.end and datetime.fromisoformat(self.start) >= datetime.fromisoformat(self.end):
            broken("timeRange.from is not before timeRange.to", NO_INTERVAL)
        return self


class FilterRange(TimeRange):
    """
    The acquisition period of images; start and end may be equal.

    :param start: Its start; without a time zone it is in UTC.
    :param end: Its end.
    """

    @model_validator(mode="after")
    def _in_order(self) -> FilterRange:
        if self.start and self.end and datetime.fromisoformat(self.start) > datetime.fromisoformat(self.end):
            broken("timeRange.from is after timeRange.to", "Swap the two.")
        return self


class DataFilter(OpenRequestModel):
    """
    Which images are read.

    Collections may have further filters, so unknown ones are passed on.

    :param time_range: Acquisition period.
    :param max_cloud_coverage: Percent, 0 to 100.
    :param mosaicking_order: Which image is on top: ``mostRecent``, ``leastRecent`` or ``leastCC``.
    """

    time_range: Annotated[FilterRange, Text] | None = None
    max_cloud_coverage: Annotated[Any, BeforeValidator(_percent)] = None
    mosaicking_order: Annotated[Any, BeforeValidator(_order)] = None

    @model_validator(mode="before")
    @classmethod
    def _nulls_left_out(cls, given: Any) -> Any:
        # As in the rest of a request.
        return {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else given


class SpeckleFilter(RequestModel):
    """
    The speckle filter of Sentinel-1.

    :param type: ``NONE`` or ``LEE``.
    :param window_size_x: Pixels, 1 to 7.
    :param window_size_y: Pixels, 1 to 7.
    """

    type: Literal["NONE", "LEE"]
    window_size_x: Window | None = None
    window_size_y: Window | None = None


class Processing(OpenRequestModel):
    """
    How images are read; further fields of collections are passed on.

    :param upsampling: ``NEAREST``, ``BILINEAR``, ``BICUBIC``, ``LANCZOS`` or ``BOX``.
    :param downsampling: The same.
    :param orthorectify: Of Sentinel-1: whether images are orthorectified.
    :param back_coeff: Of Sentinel-1: the backscatter coefficient.
    :param speckle_filter: Of Sentinel-1.
    """

    upsampling: Interpolation | None = None
    downsampling: Interpolation | None = None
    orthorectify: Flag | None = None
    back_coeff: Literal["BETA0", "SIGMA0_ELLIPSOID", "GAMMA0_ELLIPSOID", "GAMMA0_TERRAIN"] | None = None
    speckle_filter: Annotated[SpeckleFilter, Text] | None = None


class InputData(OpenRequestModel):
    """
    One data source; further fields of collections are passed on.

    :param type: The collection, e.g. ``sentinel-2-l2a``.
    :param id: Name of the source in the evalscript.
    :param data_filter: Time range, cloud cover and the like.
    :param processing: Resampling, orthorectification and the like.
    """

    type: Name
    id: str | None = None
    data_filter: Annotated[DataFilter, Text] | None = None
    processing: Annotated[Processing, Text] | None = None


DataSources = Annotated[list[Annotated[InputData, Text]], Text, Field(min_length=1)]
