"""
Batch Processing V1: what a request says about its cost, and what the service says after the analysis.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html#cost-estimate
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.batch_v1.answers import BatchV1Task
from airflow_provider_sentinelhub.client.costs import factors as factors_of
from airflow_provider_sentinelhub.client.costs.estimate import (
    DISCOUNT,
    DISCOUNT_FROM_PIXELS,
    Estimate,
    of_images,
)
from airflow_provider_sentinelhub.client.costs.factors import Factor
from airflow_provider_sentinelhub.client.costs.surcharge import Surcharge
from airflow_provider_sentinelhub.client.evalscript import read_setup
from airflow_provider_sentinelhub.client.requests.findings import is_number, mapping, objects, part

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.costs.estimate import Price
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

_MOST_BUFFER = 32767


def price(body: Mapping[str, Any]) -> Price:
    """
    Return what a request says about its cost, before any tile is read.

    Neither a minimum nor a surcharge for delivery to another region is documented for this API.

    :param body: The request, as JSON of any shape.
    """
    priced = of_images(mapping(body, "processRequest"), mapping(body, "output") or mapping(body, "zarrOutput"))
    return replace(priced, delivery=None, minimum=0.0)


def estimate_of(task: BatchTask) -> Estimate | None:
    """
    Return the cost as the service has estimated it in the analysis; ``None`` if it has not.

    :param task: The task.
    """
    if not isinstance(task, BatchV1Task) or task.value_estimate is None or task.value_estimate < 0:
        return None
    pu, tiles = task.value_estimate, max(0, task.tile_count or 0)
    width, height = max(0, task.tile_width_px or 0), max(0, task.tile_height_px or 0)
    if width and height:
        # The sizes in the answer are without the buffers of the request.
        width, height = width + 2 * _buffer(task, "bufferX"), height + 2 * _buffer(task, "bufferY")
    # Tiles of all grids are larger than that; a size that is not told makes no difference.
    is_cheap = not 0 < width * height < DISCOUNT_FROM_PIXELS
    process = task.request.get("processRequest")
    script = part(process, "evalscript")
    setup = read_setup(script if isinstance(script, str) else "")
    samples = factors_of.samples(setup, objects(process, "input", "data"))
    low = pu * (DISCOUNT if is_cheap else 1.0) * (samples.low / samples.value if samples.value else 1.0)
    high = None if samples.high is None or not samples.value else pu * samples.high / samples.value
    return Estimate(
        pu=pu,
        low_pu=0.0 if task.skips_existing else low,
        high_pu=high,
        features=tiles,
        pixels=tiles * width * height,
        factors=(Factor("valueEstimate", pu, "estimated by the service in its analysis", low, high),),
        surcharge=Surcharge(0.0, ""),
        assumptions=(
            f"All {pu:,.4g} PU are reserved when the task is started; what it does not use is returned.",
            *(["The service's estimate ignores the factor 1/3 for tiles of 10,000 pixels or more."] * is_cheap),
            "The service's estimate assumes one sample per pixel every 3 days with the mosaicking ORBIT or TILE.",
            *factors_of.about_samples([samples]),
            *(["Existing results are skipped and cost nothing."] * task.skips_existing),
        ),
    )


def _buffer(task: BatchTask, name: str) -> int:
    given = part(task.request, "tilingGrid", name)
    return int(min(max(0, given), _MOST_BUFFER)) if is_number(given) else 0
