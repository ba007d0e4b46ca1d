"""
What delivery to a bucket in another region or on another cloud adds to the cost.

The rules charge for each MB that is transferred, and files are compressed before. How far is not known before the run.

Sources: https://docs.planet.com/platform/processing-units/ and
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from airflow_provider_sentinelhub.client.costs.amounts import mb_text
from airflow_provider_sentinelhub.client.requests.findings import is_number, mapping, part

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.evalscript import Setup
    from airflow_provider_sentinelhub.client.http.deployments import Deployment

PU_PER_MB_TO_ANOTHER_REGION: Final = 0.03
PU_PER_MB_TO_ANOTHER_CLOUD: Final = 0.1
_MB: Final = 1e6
# Not published: what a file has besides its pixels, e.g. where its blocks begin.
_HEADER_BYTES: Final = 4096
# Each overview has a quarter of the pixels of the one before.
_OVERVIEWS: Final = 1 / 3
# Assumed where the request does not say it.
_USUAL_PIXEL_BYTES: Final = 4
_USUAL_FILE_BYTES: Final = 10_000
# Generous sizes of the parts of an answer, as text.
_FEATURE_BYTES, _INTERVAL_BYTES, _BAND_BYTES, _PERCENTILE_BYTES, _BIN_BYTES = 200, 150, 250, 35, 80
_MOST_BINS: Final = 100_000


class Surcharge(NamedTuple):
    """
    What is added to the cost.

    :param pu: Processing units if nothing is compressed.
    :param why: How they were computed.
    :param low_pu: The least.
    :param high_pu: The most; ``None`` if no bound is known.
    """

    pu: float
    why: str
    low_pu: float = 0.0
    high_pu: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """
    Where results are delivered, and how large they are before compression.

    :param place: ``s3`` or ``gs``, as JSON of any shape.
    :param pixel_bytes: Size of a pixel of all images; ``None`` if it is not known.
    :param files: Number of files for each feature.
    :param file_bytes: Size of each of these files without its pixels; ``None`` if it is not known.
    :param has_overviews: Whether smaller copies of each image are part of its file.
    """

    place: Mapping[str, Any]
    pixel_bytes: int | None = 0
    files: int = 1
    file_bytes: int | None = 0
    has_overviews: bool = False

    def surcharge(self, features: int, pixels: int, deployment: Deployment | None) -> Surcharge:
        """
        Return what delivery adds to the cost.

        :param features: Number of features.
        :param pixels: Total number of pixels of all features.
        :param deployment: Where the request is sent; ``None`` if that is not known.
        """
        rate, highest, where = _rate(self.place, deployment)
        if not highest:
            return Surcharge(0.0, where)
        pixel_bytes = _USUAL_PIXEL_BYTES * self.files if self.pixel_bytes is None else self.pixel_bytes
        file_bytes = _USUAL_FILE_BYTES if self.file_bytes is None else self.file_bytes
        megabytes = (pixels * pixel_bytes + features * self.files * file_bytes) / _MB
        why = f"{where}; {'' if rate else 'if not, '}{highest:g} PU per MB of {mb_text(megabytes)} before compression"
        if self.pixel_bytes is None:
            why += f", if a pixel has {pixel_bytes} bytes"
        if self.file_bytes is None:
            why += f", if a feature has {file_bytes:,} bytes"
        if self.pixel_bytes is None or self.file_bytes is None:
            return Surcharge(megabytes * rate, why, 0.0, None)
        overviews = pixels * pixel_bytes * _OVERVIEWS if self.has_overviews else 0.0
        most = megabytes + (overviews + features * self.files * _HEADER_BYTES) / _MB
        return Surcharge(megabytes * rate, why, 0.0, most * highest)


def of_statistics(place: Mapping[str, Any], setup: Setup, body: Mapping[str, Any], intervals: int) -> Delivery:
    """
    Return the delivery of statistics: a file of JSON for each feature.

    :param place: ``s3``, as JSON of any shape.
    :param setup: What the evalscript's ``setup()`` returns.
    :param body: The request.
    :param intervals: Number of intervals.
    """
    bands = [each.bands for each in setup.outputs or () if each.id != "dataMask"]
    if not bands or None in bands:
        return Delivery(place, file_bytes=None)
    percentiles, bins = 0, 0
    for calculation in mapping(body, "calculations").values():
        for definition in mapping(calculation, "statistics").values():
            k = part(definition, "percentiles", "k")
            percentiles = max(percentiles, len(k) if isinstance(k, (list, tuple)) else 0)
        for definition in mapping(calculation, "histograms").values():
            found = _bins(mapping(definition))
            if found is None:
                return Delivery(place, file_bytes=None)
            bins = max(bins, found)
    each = _BAND_BYTES + percentiles * _PERCENTILE_BYTES + bins * _BIN_BYTES
    count = sum(band for band in bands if band is not None)
    return Delivery(place, file_bytes=_FEATURE_BYTES + intervals * (_INTERVAL_BYTES + count * each))


def _bins(histogram: Mapping[str, Any]) -> int | None:
    edges, number = histogram.get("bins"), histogram.get("nBins")
    if isinstance(edges, (list, tuple)):
        return len(edges)
    if isinstance(number, int):
        return min(max(0, number), _MOST_BINS)
    given: list[Any] = [histogram.get(name) for name in ("binWidth", "lowEdge", "highEdge")]
    if not all(map(is_number, given)):
        return None
    try:
        width, low, high = map(float, given)
    except OverflowError:
        return None
    return math.ceil(min(max(0.0, (high - low) / width), _MOST_BINS)) if width > 0 else None


def _rate(place: Mapping[str, Any], deployment: Deployment | None) -> tuple[float, float, str]:
    """Return processing units per MB, the most they may be, and why."""
    region, own = part(place, "s3", "region"), deployment.region if deployment else ""
    if mapping(place, "gs"):
        rate = PU_PER_MB_TO_ANOTHER_CLOUD
        return rate, rate, "the bucket is on Google Cloud Storage"
    if deployment is not None and not deployment.charges_transfer:
        return 0.0, 0.0, f"{deployment.title} does not charge for delivery to another region yet"
    if not isinstance(region, str) or not region:
        return 0.0, 0.0, "the bucket is in the region of the deployment, because the request names no other"
    if not own:
        return 0.0, PU_PER_MB_TO_ANOTHER_REGION, f"the bucket is in {region}, which may be the region of the deployment"
    if region == own:
        return 0.0, 0.0, f"the bucket is in {region}, like the deployment"
    return PU_PER_MB_TO_ANOTHER_REGION, PU_PER_MB_TO_ANOTHER_REGION, f"the bucket is in {region}, not in {own}"
