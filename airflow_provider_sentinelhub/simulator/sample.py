"""
Small requests to try the simulator with. Their tasks take a second or two at ``--speed 600``.

Images of four tiles of Corsica, and statistics of a few square parcels north of the Alps.
"""

from __future__ import annotations

import copy
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pyproj import CRS
from shapely.geometry import box

from airflow_provider_sentinelhub.simulator.bucket import geopackage
from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket, Keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_sentinelhub.simulator.ready import Ready

EVALSCRIPT = """//VERSION=3
function setup() {
  return {
    input: [{ bands: ["B04", "B08", "dataMask"], units: "DN" }],
    output: [{ id: "default", bands: 2, sampleType: "UINT16", nodataValue: 0 }],
  };
}
function evaluatePixel(sample) { return [sample.B04, sample.B08]; }
"""
STATISTICS_EVALSCRIPT = """//VERSION=3
function setup() {
  return {
    input: [{ bands: ["B04", "B08", "dataMask"] }],
    output: [{ id: "ndvi", bands: 1, sampleType: "FLOAT32" }, { id: "dataMask", bands: 1 }],
  };
}
function evaluatePixel(sample) {
  return { ndvi: [index(sample.B08, sample.B04)], dataMask: [sample.dataMask] };
}
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
    return changed(request, changes)


def sample_tiles(ready: Ready, folder: str, **changes: Any) -> dict[str, Any]:
    """
    Build the body of a create call of Batch Processing V1: the same images.

    :param ready: The simulator it is for.
    :param folder: Folder in the bucket, and the description.
    :param changes: See :func:`changed`.
    """
    request = {
        "processRequest": sample_request(ready, folder)["processRequest"],
        "tilingGrid": {"id": 0, "resolution": 60.0},
        "output": {"defaultTilePath": f"s3://{ready.bucket}/{folder}"},
        "description": folder,
    }
    return changed(request, changes)


def changed(request: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """
    Change a request.

    :param request: The request; changed in place.
    :param changes: ``a__b=value`` sets ``request["a"]["b"]``; the value ``...`` removes it.
    """
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


def upload(ready: Ready, key: str, content: bytes) -> str:
    """
    Put a file into the simulator's bucket.

    :param ready: The simulator.
    :param key: Where to.
    :param content: The bytes.
    :returns: Its URL.
    """
    keys = Keys(ready.access_key_id, ready.secret_access_key, ready.role_arn, ready.s3_endpoint, ready.region)
    url = f"s3://{ready.bucket}/{key}"
    Bucket.open({"url": url, "iamRoleARN": ready.role_arn}, keys).put(key, content)
    return url


def sample_parcels(names: Sequence[str | None], side: float = 200) -> bytes:
    """
    Return a GeoPackage of square parcels side by side, numbered from 1, in UTM zone 32.

    :param names: Their identifiers.
    :param side: Length of their sides, in metres.
    """
    crs = 32632
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(geopackage.manifest([]))
        known = CRS.from_epsg(crs)
        database.execute(
            "INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, 'EPSG', ?, ?, NULL)", (known.name, crs, crs, known.to_wkt())
        )
        database.execute("CREATE TABLE parcels (id INTEGER PRIMARY KEY, identifier TEXT, geom POLYGON)")
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, srs_id) VALUES ('parcels', 'features', ?)", (crs,)
        )
        database.execute("INSERT INTO gpkg_geometry_columns VALUES ('parcels', 'geom', 'POLYGON', ?, 0, 0)", (crs,))
        for number, name in enumerate(names, 1):
            west = 600_000 + 1.5 * side * number
            outline = geopackage.blob(box(west, 5_330_000, west + side, 5_330_000 + side), crs)
            database.execute("INSERT INTO parcels VALUES (?, ?, ?)", (number, name, outline))
        database.commit()
        return bytes(database.serialize())


def statistics_wanted() -> dict[str, Any]:
    """Return what both samples of statistics have in common: weekly NDVI of six weeks, with percentiles."""
    return {
        "aggregation": {
            "timeRange": {"from": "2024-04-01T00:00:00Z", "to": "2024-05-13T00:00:00Z"},
            "aggregationInterval": {"of": "P7D"},
            "resx": 10,
            "resy": 10,
            "evalscript": STATISTICS_EVALSCRIPT,
        },
        "calculations": {"default": {"statistics": {"default": {"percentiles": {"k": [5, 50, 95]}}}}},
    }


def sample_statistics(ready: Ready, folder: str, **changes: Any) -> dict[str, Any]:
    """
    Build the body of a create call of the Batch Statistical API: weekly NDVI of six weeks.

    :param ready: The simulator it is for.
    :param folder: Folder in the bucket; holds the input as ``parcels.gpkg``.
    :param changes: See :func:`changed`.
    """
    access = {"accessKey": ready.access_key_id, "secretAccessKey": ready.secret_access_key}
    url = f"s3://{ready.bucket}/{folder}"
    request: dict[str, Any] = {
        "input": {
            "features": {"s3": {"url": f"{url}/parcels.gpkg", **access}},
            "data": [{"type": "sentinel-2-l2a"}],
        },
        **statistics_wanted(),
        "output": {"s3": {"url": url, **access}},
    }
    return changed(request, changes)


def sample_statistical(**changes: Any) -> dict[str, Any]:
    """
    Build the body of a call of the Statistical API: the same weeks, for one place.

    :param changes: See :func:`changed`.
    """
    request: dict[str, Any] = {
        "input": {
            "bounds": {
                "bbox": [600_000, 5_330_000, 600_200, 5_330_300],
                "properties": {"crs": "http://www.opengis.net/def/crs/EPSG/0/32632"},
            },
            "data": [{"type": "sentinel-2-l2a"}],
        },
        **statistics_wanted(),
    }
    return changed(request, changes)
