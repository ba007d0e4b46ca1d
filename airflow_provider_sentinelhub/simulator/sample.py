"""A small request to try the simulator with: four tiles of Corsica, done within a second at ``--speed 600``."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.ready import Ready

EVALSCRIPT = """//VERSION=3
function setup() {
  return {
    input: [{ bands: ["B04", "B08", "dataMask"] }],
    output: [{ id: "default", bands: 2, sampleType: "UINT16", nodataValue: 0 }],
  };
}
function evaluatePixel(sample) { return [sample.B04, sample.B08]; }
"""
# Around the corner that four tiles of the 20 km grid share: 32TNM_0_1, 32TNM_0_2, 32TNM_1_1 and 32TNM_1_2.
FOUR_TILES = (9.21, 42.07, 9.27, 42.11)


def sample_request(ready: Ready, folder: str, **changes: Any) -> dict[str, Any]:
    """
    Build the body of a create call.

    :param ready: The simulator it is for.
    :param folder: Folder in the bucket, and the description.
    :param changes: ``a__b=value`` sets ``request["a"]["b"]``; the value ``...`` removes it.
    """
    access = {"accessKey": ready.access_key_id, "secretAccessKey": ready.secret_access_key}
    request: dict[str, Any] = {
        "processRequest": {
            "input": {
                "bounds": {
                    "bbox": list(FOUR_TILES),
                    "properties": {"crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"},
                },
                "data": [
                    {
                        "type": "sentinel-2-l2a",
                        "dataFilter": {"timeRange": {"from": "2024-07-01T00:00:00Z", "to": "2024-07-31T00:00:00Z"}},
                    }
                ],
            },
            "output": {"responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]},
            "evalscript": EVALSCRIPT,
        },
        "input": {"type": "tiling-grid", "id": 0, "resolution": 60},
        "output": {"type": "raster", "delivery": {"s3": {"url": f"s3://{ready.bucket}/{folder}", **access}}},
        "description": folder,
    }
    for path, value in changes.items():
        target = request
        *steps, last = path.split("__")
        for step in steps:
            target = target[step]
        if value is ...:
            del target[last]
        else:
            target[last] = copy.deepcopy(value)
    return request
