"""
Fields of requests and their types, as the service documents them; rules that compare fields are in other modules.

Types are strict: text is not a number, and a number is not text. A part takes no fields but these, unless it is an
:class:`OpenShape`.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/ApiReference.html
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from airflow_provider_sentinelhub.simulator.statistics.intervals import Step, moment
from airflow_provider_sentinelhub.simulator.statistics.parcels import MAX_PIXELS

# No limit is documented; this one keeps the simulator's memory.
MAX_BINS = 100_000
_INT32 = 1 << 31


class Shape(BaseModel):
    """A part of a request with these fields and no others."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, alias_generator=to_camel)


class OpenShape(Shape):
    """A part of a request to which data collections add fields."""

    model_config = ConfigDict(extra="allow")


def _time(text: str) -> str:
    # A date alone, and forms of ISO 8601 other than this one, are refused.
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?", text):
        raise ValueError(f"must be a date and time of ISO 8601, not {text!r}")
    try:
        moment(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"is not a valid time: {error}") from error
    return text


def _duration(text: str) -> str:
    Step.parse(text)
    return text


def _switch(value: Any) -> Any:
    # The documentation writes this one as text here and there.
    if not isinstance(value, bool) and value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value


Switch = Annotated[Any, AfterValidator(_switch)]
Int32 = Annotated[int, Field(ge=-_INT32, lt=_INT32)]
Positive = Annotated[float, Field(gt=0)]
Filled = Annotated[str, Field(pattern=r"\S")]
Time = Annotated[str, AfterValidator(_time)]
Duration = Annotated[str, AfterValidator(_duration)]
Pixels = Annotated[int, Field(ge=1, le=MAX_PIXELS)]
Json = dict[str, Any]
Uuid = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]


class S3Shape(Shape):
    """Location on S3."""

    url: str
    iam_role_arn: Annotated[str, Field(alias="iamRoleARN")] = ""
    access_key: str = ""
    secret_access_key: str = ""
    region: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = ""


class GcsShape(Shape):
    """Location on Google Cloud Storage."""

    url: str
    credentials: str = ""


class StorageShape(Shape):
    """Location in one of the object storages."""

    s3: S3Shape | None = None
    gs: GcsShape | None = None


class TimeRangeShape(Shape):
    """Period of acquisition; either end may be open."""

    start: Annotated[Time, Field(alias="from")] = ""
    end: Annotated[Time, Field(alias="to")] = ""


class DataFilterShape(OpenShape):
    """Filter of a data source."""

    time_range: TimeRangeShape | None = None
    max_cloud_coverage: Annotated[float, Field(ge=0, le=100)] = 100
    mosaicking_order: Literal["mostRecent", "leastRecent", "leastCC"] = "mostRecent"


class SpeckleFilterShape(Shape):
    """Speckle filter of Sentinel-1."""

    type: Literal["NONE", "LEE"]
    window_size_x: Annotated[int, Field(ge=1, le=7)] = 1
    window_size_y: Annotated[int, Field(ge=1, le=7)] = 1


Interpolation = Literal["NEAREST", "BILINEAR", "BICUBIC", "LANCZOS", "BOX"]


class ProcessingShape(OpenShape):
    """Processing of a data source."""

    upsampling: Interpolation = "NEAREST"
    downsampling: Interpolation = "NEAREST"
    orthorectify: Switch = False
    back_coeff: Literal["BETA0", "SIGMA0_ELLIPSOID", "GAMMA0_ELLIPSOID", "GAMMA0_TERRAIN"] = "GAMMA0_ELLIPSOID"
    speckle_filter: SpeckleFilterShape | None = None


class DataShape(Shape):
    """Data source."""

    type: Filled
    id: str = ""
    data_filter: DataFilterShape | None = None
    processing: ProcessingShape | None = None


Data = Annotated[list[DataShape], Field(min_length=1)]


class CrsShape(Shape):
    """Coordinate reference system of the bounds."""

    crs: str = ""


class GeometryShape(OpenShape):
    """Outline; its coordinates are read later."""

    type: Literal["Polygon", "MultiPolygon"]
    coordinates: Annotated[list[Any], Field(min_length=1)]


class BoundsShape(Shape):
    """Area of interest."""

    bbox: Annotated[list[float], Field(min_length=4, max_length=4)] | None = None
    geometry: GeometryShape | None = None
    properties: CrsShape | None = None


class FormatShape(Shape):
    """Format of an output."""

    type: str


class ResponseShape(Shape):
    """One output; ``logo`` is in the service's own answers."""

    identifier: Filled = "default"
    format: FormatShape
    logo: bool = False


class ImageOutputShape(Shape):
    """The outputs, without a size."""

    responses: list[ResponseShape] | None = None


class ImageInputShape(Shape):
    """Area and data of images, and of a single place."""

    bounds: BoundsShape | None = None
    data: Data


class ProcessRequestShape(Shape):
    """What is computed for each feature."""

    input: ImageInputShape
    output: ImageOutputShape | None = None
    evalscript: Filled


class CogShape(Shape):
    """How Cloud Optimized GeoTIFFs are written."""

    overview_levels: list[Annotated[Int32, Field(ge=1)]] | None = None
    overview_min_size: Annotated[Int32, Field(ge=1)] = 1
    resampling_algorithm: Literal[
        "nearest", "average", "gauss", "cubic", "cubicspline", "lanczos", "average_magphase", "mode"
    ] = "average"
    blockxsize: Annotated[Int32, Field(ge=16, multiple_of=16)] = 256
    blockysize: Annotated[Int32, Field(ge=16, multiple_of=16)] = 256
    use_predictor: bool = True


class PeriodShape(Shape):
    """Period of statistics."""

    start: Annotated[Time, Field(alias="from")]
    end: Annotated[Time, Field(alias="to")]


class IntervalShape(Shape):
    """How a period is split."""

    of: Duration
    last_interval_behavior: Literal["SKIP", "SHORTEN", "EXTEND"] = "SKIP"


class AggregationShape(Shape):
    """What is computed, when and how finely."""

    time_range: PeriodShape
    aggregation_interval: IntervalShape
    width: Pixels = 1
    height: Pixels = 1
    resx: Positive = 1
    resy: Positive = 1


class PercentilesShape(Shape):
    """Percentiles. 0 to 1 in the reference, 0 to 100 in all the examples: percentages are what is computed."""

    k: Annotated[list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=1)]
    interpolation: str = ""


class BandShape(Shape):
    """Further statistics of a band."""

    percentiles: PercentilesShape | None = None


class HistogramShape(Shape):
    """A histogram of a band."""

    bins: Annotated[list[float], Field(min_length=2)] | None = None
    bin_width: Positive | None = None
    n_bins: Annotated[float, Field(ge=1, le=MAX_BINS, multiple_of=1)] | None = None
    low_edge: float | None = None
    high_edge: float | None = None


class CalculationShape(Shape):
    """What is computed for an output."""

    histograms: dict[str, HistogramShape] | None = None
    statistics: dict[str, BandShape] | None = None


Calculations = dict[str, CalculationShape]
