"""
What a search costs.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.apis.catalog.models import OPEN, sides

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_PU: Final = 0.01
MOST_PU: Final = 1.0
_MONTH = timedelta(days=30)
_KM2 = 1e6
# The first images of Landsat 8.
_FIRST = datetime(2013, 2, 11, tzinfo=UTC)


def page_pu(body: Mapping[str, Any]) -> float:
    """
    Estimate what one page of a search costs, in processing units: by area and months, from 0.01 to 1.

    The documentation does not say whether each page is charged; this assumes it.

    :param body: The search, as :func:`~airflow_provider_sentinelhub.client.apis.catalog.calls.check` returns it.
    """
    import json

    import shapely

    from airflow_provider_sentinelhub.client.requests.crs import WGS84
    from airflow_provider_sentinelhub.client.requests.extent import area_km2

    if "datetime" not in body:
        return LEAST_PU
    start, slash, end = body["datetime"].partition("/")
    if not slash:
        return LEAST_PU
    first = _FIRST if start == OPEN else datetime.fromisoformat(start)
    last = datetime.now(UTC) if end == OPEN else datetime.fromisoformat(end)
    if "intersects" in body:
        shapes = [shapely.from_geojson(json.dumps(body["intersects"]))]
    else:
        shapes = [shapely.box(*each) for each in sides(body.get("bbox", [-180, -90, 180, 90]))]
    return min(MOST_PU, max(LEAST_PU, area_km2(shapes, WGS84) / _KM2 * ((last - first) / _MONTH)))
