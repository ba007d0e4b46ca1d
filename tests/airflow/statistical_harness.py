"""Parcels in the simulator's bucket, and requests for their statistics."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import Any

import shapely

from airflow_provider_sentinelhub.artifacts.geopackage.blobs import geometry_blob
from airflow_provider_sentinelhub.artifacts.geopackage.geopackage import add_layer, finish_layer, new_geopackage
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook
from airflow_provider_sentinelhub.simulator.process import Simulator

NDVI = """//VERSION=3
function setup() {
  return {
    input: ["B04", "B08", "dataMask"],
    output: [{id: "ndvi", bands: 1, sampleType: "FLOAT32"}, {id: "dataMask", bands: 1}],
  };
}
const T = [{b: {a: 1}}, `{{ ds }}`]; // {% raw %}
function evaluatePixel(s) {
  return {ndvi: [(s.B08 - s.B04) / (s.B08 + s.B04)], dataMask: [s.dataMask]};
}
"""


def write_parcels(path: Path, count: int, *, first: int = 1) -> Path:
    """Write square parcels of a hectare, ``parcel-1`` to ``parcel-<count>``, in rows of fifty."""
    shapes = [
        shapely.box(east, north, east + 100, north + 100)
        for number in range(count)
        for east, north in [(500_000 + 150 * (number % 50), 5_150_000 + 150 * (number // 50))]
    ]
    with new_geopackage(path) as connection:
        layer = add_layer(connection, 32632)
        for number, shape in enumerate(shapes, start=first):
            blob = geometry_blob(shape.wkb, 32632, shape.bounds)
            connection.execute(layer.insert, (number, f"parcel-{number}", None, None, None, blob))
        west, south, east, north = shapely.union_all(shapes).bounds
        finish_layer(connection, layer, (west, south, east, north))
    return path


def parcels(sim: Simulator, count: int = 4) -> str:
    """Put parcels into the bucket; returns their URL."""
    url = f"s3://{sim.ready.bucket}/{uuid.uuid4()}/parcels.gpkg"
    with tempfile.TemporaryDirectory() as folder:
        SentinelHubBatchHook().storage.upload(write_parcels(Path(folder) / "parcels.gpkg", count), url)
    return url


def statistical_request(sim: Simulator, features_url: str, **changes: Any) -> dict[str, Any]:
    """A request for four weeks; ``changes`` replace its parts by dotted path, ``__`` for the dot."""
    body: dict[str, Any] = {
        "input": {"features": {"s3": {"url": features_url}}, "data": [{"type": "sentinel-2-l2a"}]},
        "aggregation": {
            "timeRange": {"from": "2025-05-05T00:00:00Z", "to": "2025-06-02T00:00:00Z"},
            "aggregationInterval": {"of": "P7D"},
            "resx": 10,
            "resy": 10,
            "evalscript": NDVI,
        },
        "calculations": {"default": {"statistics": {"default": {"percentiles": {"k": [50]}}}}},
        "output": {"s3": {"url": f"s3://{sim.ready.bucket}/{uuid.uuid4()}"}},
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = body
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return body
