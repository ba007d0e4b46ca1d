"""Ten requests of Batch Processing V1 of all kinds, for four small tiles in Corsica."""

from __future__ import annotations

from typing import Any

AREA = [9.21, 42.07, 9.27, 42.11]
SCRIPT = """//VERSION=3
function setup() {{ return {{input: ["B04", "B08"], output: {output}}}; }}
function evaluatePixel(sample) {{ return {{ {result} }}; }}
"""
ONE = SCRIPT.format(output='{id: "default", bands: 1, sampleType: "UINT16"}', result="default: [sample.B04]")
TWO = SCRIPT.format(
    output='[{id: "red", bands: 1, sampleType: "UINT16"}, {id: "nir", bands: 1, sampleType: "UINT16"}]',
    result="red: [sample.B04], nir: [sample.B08]",
)
PERIOD = {"from": "2024-07-01T00:00:00Z", "to": "2024-07-31T00:00:00Z"}
COLLECTION = "0f8fad5b-d9cb-469f-a165-70867728950e"
LAEA = {"id": 6, "resolution": 100}
DONE_ANSWER: dict[str, Any] = {
    "id": "d7fcd4c8-ecd8-4f6f-8b5f-6bde9b2b4cbb",
    "userId": "c6bdb57e-3f6f-4b1a-8e4c-0c4d2a3d9a11",
    "accountId": "4e56fdd9-5f43-4a1d-9b2e-0d8e8c0a7b22",
    "created": "2024-08-01T10:00:00.000Z",
    "valueEstimate": 12.5,
    "tileCount": 4,
    "tileWidthPx": 334,
    "tileHeightPx": 334,
    "userAction": "START",
    "userActionUpdated": "2024-08-01T10:05:00.000Z",
    "status": "PARTIAL",
    "error": "Too many failed tiles",
}


def v1_request(script: str = ONE, names: tuple[str, ...] = ("default",), **fields: Any) -> dict[str, Any]:
    """A request on the 20 km grid at 60 m, with the fields given besides."""
    kind = "zarr/array" if "zarrOutput" in fields else "image/tiff"
    grid = {} if "tilingGridId" in fields else {"tilingGrid": {"id": 0, "resolution": 60}}
    return {
        "processRequest": {
            "input": {
                "bounds": {"bbox": AREA, "properties": {"crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}},
                "data": [{"type": "sentinel-2-l2a", "dataFilter": {"timeRange": PERIOD}}],
            },
            "output": {"responses": [{"identifier": name, "format": {"type": kind}} for name in names]},
            "evalscript": script,
        },
        **grid,
        **fields,
    }


def v1_requests(bucket: str = "my-bucket", folder: str = "v1") -> dict[str, dict[str, Any]]:
    """
    All ten, by what is special about each.

    :param bucket: The bucket they deliver to.
    :param folder: Its folder they deliver to, but for the first.
    """

    def to(path: str = "", **fields: Any) -> dict[str, Any]:
        return {"defaultTilePath": f"s3://{bucket}/{folder}{path}", **fields}

    array = {"dtype": "<u2", "order": "C", "chunks": [1, 500, 500], "fill_value": 0}
    group = {"zarr_format": 2, "coordinates": {"origin": "topLeft"}}
    zarr = {"path": f"s3://{bucket}/{folder}/zarr/<requestId>", "group": group, "arrayParameters": array}
    return {
        "bucket name": v1_request(bucketName=bucket, description="NDVI"),
        "template": v1_request(TWO, ("red", "nir"), output=to("/a/<requestId>/<tileName>/<outputId>.<format>")),
        "zarr": v1_request(TWO, ("red", "nir"), tilingGrid=LAEA, zarrOutput={**zarr, "arrayOverrides": {"red": array}}),
        "numbers of tiles": v1_request(output=to("/b/<requestId>/<tileId>.tif")),
        "former grid": v1_request(tilingGridId=0, resolution=60, output=to("/c")),
        "buffers": v1_request(tilingGrid={"id": 0, "resolution": 60, "bufferX": 10, "bufferY": 5}, output=to("/d")),
        "cog": v1_request(output=to("/e", cogOutput=True, cogParameters={"blockxsize": 512, "blockysize": 512})),
        "collection": v1_request(output=to("/f", cogOutput=True, createCollection=True)),
        "skipped": v1_request(output=to("/g/<tileName>.tif", overwrite=True, skipExisting=True)),
        "answer": v1_request(output=to("/h", overwrite=False), **DONE_ANSWER),
    }
