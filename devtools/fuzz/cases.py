"""What is sent: valid requests of each API, odd ones made of them, and bodies that are no requests at all."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.apis.registry import APIS
from airflow_provider_sentinelhub.simulator.sample import (
    STATISTICS_EVALSCRIPT,
    sample_parcels,
    sample_request,
    sample_statistical,
    sample_statistics,
    sample_tiles,
    upload,
)
from devtools.fuzz.mutations import Mutator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec
    from airflow_provider_sentinelhub.simulator.process import Simulator
    from airflow_provider_sentinelhub.simulator.ready import Ready

PATHS = {
    "batch-v1": "/api/v1/batch/process",
    "batch-v2": "/batch/v2/process",
    "batch-statistical": "/statistics/batch/v1",
    "statistical": "/statistics/v1",
    "process": "/process/v1",
}
_SECRETS = ("accessKey", "secretAccessKey")
_IMAGES = """//VERSION=3
function setup() {
  return {
    input: ["B04", "dataMask"],
    output: [{id: "default", bands: 3}, {id: "small", bands: 1, sampleType: "UINT16"}]
  };
}
function evaluatePixel(sample) { return {default: [sample.B04, 0.5, 0], small: [sample.dataMask]}; }
"""
_HISTOGRAMS = {
    "ndvi": {
        "histograms": {"default": {"nBins": 5, "lowEdge": 0.0, "highEdge": 1.0}},
        "statistics": {"default": {"percentiles": {"k": [50]}}},
    },
    "default": {"histograms": {"B0": {"bins": [0.0, 0.5, 1.0]}, "default": {"binWidth": 0.1}}},
}


@dataclass(frozen=True, slots=True)
class Case:
    """
    One call.

    :param number: Its number.
    :param method: HTTP method.
    :param path: Path of the API.
    :param changes: What is odd about it.
    :param body: What is sent: JSON, or bytes.
    :param api: The API whose preflight it can be compared with; ``None`` where it has none.
    :param request: The request as its author writes it, without credentials.
    """

    number: int
    method: str
    path: str
    changes: tuple[str, ...]
    body: Any
    api: ApiSpec | None = None
    request: Any = None


def cases(simulator: Simulator, count: int, seed: int) -> Iterator[Case]:
    """
    Make calls; preflight can judge nine in ten of them.

    :param simulator: Takes the files that the requests name, and a task to update.
    :param count: How many.
    :param seed: The same seed makes the same calls.
    """
    choice = random.Random(seed)
    mutator = Mutator(choice, simulator.ready.bucket)
    folder = f"fuzz-{seed}"
    samples = [(key, _without(request)) for key, request in _samples(simulator, folder)]
    target = simulator.call("POST", PATHS["batch-v2"], sample_request(simulator.ready, f"{folder}-updated")).body
    for number in range(count):
        key, sample = choice.choice(samples)
        request = _moved(sample, folder, f"{folder}-{number}")
        chance = choice.random()
        if chance < 0.03:  # noqa: PLR2004 - three in a hundred
            yield Case(number, "POST", PATHS[key], ("not JSON",), mutator.body(request))
        elif chance < 0.06:  # noqa: PLR2004 - the next three
            odd, changes = mutator.mutate({"description": "other"}, folder)
            yield Case(number, "PUT", f"{PATHS['batch-v2']}/{target['id']}", tuple(changes), odd)
        elif chance < 0.1:  # noqa: PLR2004 - the next four
            # Credentials come from connections, so preflight refuses every request that has some.
            odd, changes = mutator.mutate(with_credentials(key, request, simulator), folder)
            yield Case(number, "POST", PATHS[key], tuple(changes), odd)
        else:
            odd, changes = mutator.mutate(request, f"{folder}-{number}")
            body = with_credentials(key, odd, simulator)
            yield Case(number, "POST", PATHS[key], tuple(changes), body, APIS[key], odd)


def with_credentials(key: str, request: Any, simulator: Simulator) -> Any:
    """
    Return a request with the credentials that the provider adds when it sends one.

    :param key: The API.
    :param request: The request; not changed.
    :param simulator: Has the credentials.
    """
    complete = copy.deepcopy(request)
    for path in getattr(APIS[key], "storages", ()):
        part = complete
        for step in (*path, "s3"):
            part = part.get(step) if isinstance(part, dict) else None
        if isinstance(part, dict):
            values = (simulator.ready.access_key_id, simulator.ready.secret_access_key)
            part.update(zip(_SECRETS, values, strict=True))
    return complete


def _samples(simulator: Simulator, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    ready = simulator.ready
    upload(ready, f"{folder}/parcels.gpkg", sample_parcels(["a", "b"]))
    upload(ready, f"{folder}/script.js", STATISTICS_EVALSCRIPT.encode())
    at = f"s3://{ready.bucket}/{folder}"
    tiff = {"identifier": "default", "format": {"type": "image/tiff"}}
    square = {
        "type": "Polygon",
        "coordinates": [[[9.21, 42.07], [9.27, 42.07], [9.27, 42.11], [9.21, 42.11], [9.21, 42.07]]],
    }
    yield "batch-v2", sample_request(ready, folder)
    cog = {"cogOutput": True, "cogParameters": {"blockxsize": 512, "blockysize": 512, "resamplingAlgorithm": "mode"}}
    request = sample_request(ready, folder, input__bufferX=5, input__bufferY=5, processRequest__output={})
    request["output"] |= {**cog, "createCollection": True}
    yield "batch-v2", request
    files = {"type": "geopackage", "features": {"s3": {"url": f"{at}/parcels.gpkg"}}, "defaults": {"resolution": 50}}
    yield "batch-v2", sample_request(ready, folder, input=files, processRequest__input__bounds=...)
    request = sample_request(ready, folder, processRequest__input__bounds={"geometry": square}, instanceType="normal")
    request["output"] |= {"overwrite": True, "skipExisting": False}
    request["output"]["delivery"]["s3"]["url"] = f"{at}/<tileName>/<outputId>.<format>"
    userdata = {"identifier": "userdata", "format": {"type": "application/json"}}
    request["processRequest"]["output"]["responses"] = [tiff, userdata]
    yield "batch-v2", request
    zarr = {"type": "tiling-grid", "id": 6, "resolution": 100}
    request = sample_request(ready, folder, input=zarr)
    array = {"dtype": "<u2", "order": "C", "chunks": [1, 500, 500], "fill_value": 0}
    request["output"] |= {"type": "zarr", "group": {"zarr_format": 2}, "arrayParameters": array}
    request["output"]["arrayOverrides"] = {"default": {"fill_value": 1}}
    # What preflight made of a request is sent as well.
    request["output"]["delivery"]["s3"]["url"] += "/<requestId>"
    request["processRequest"]["evalscript"] = request["processRequest"]["evalscript"].replace("bands: 2", "bands: 1")
    request["processRequest"]["output"]["responses"] = [{"identifier": "default", "format": {"type": "zarr/array"}}]
    yield "batch-v2", request
    yield from (("batch-v1", request) for request in _of_tiles(ready, folder, at))
    yield "batch-statistical", sample_statistics(ready, folder)
    request = sample_statistics(ready, folder, calculations=_HISTOGRAMS, output__s3__url=f"{at}/<REQUEST_ID>/<ID>.json")
    request["aggregation"] |= {"evalscriptReference": {"s3": {"url": f"{at}/script.js"}}}
    del request["aggregation"]["evalscript"]
    yield "batch-statistical", request
    yield "statistical", sample_statistical()
    bounds = {"geometry": square, "properties": {"crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}}
    request = sample_statistical(input__bounds=bounds, calculations=_HISTOGRAMS)
    for name in ("resx", "resy"):
        del request["aggregation"][name]
    request["aggregation"] |= {"width": 100, "height": 100}
    yield "statistical", request
    yield from (("process", request) for request in _of_images(square))


def _of_images(square: dict[str, Any]) -> Iterator[dict[str, Any]]:
    source = sample_statistical()["input"]
    png = {"identifier": "small", "format": {"type": "image/png"}}
    output = {"resx": 10, "resy": 10, "responses": [{"identifier": "default", "format": {"type": "image/tiff"}}]}
    yield {"input": source, "output": output, "evalscript": _IMAGES}
    bounds: dict[str, Any] = {"geometry": square}
    output = {"width": 50, "height": 60, "responses": [png]}
    yield {"input": {**source, "bounds": bounds}, "output": output, "evalscript": _IMAGES}
    bounds = {"geometry": square, "bbox": [9.2, 42.0, 9.25, 42.1]}
    output = {"responses": [{"format": {"type": "image/jpeg", "quality": 50}}]}
    yield {"input": {**source, "bounds": bounds}, "output": output, "evalscript": _IMAGES}


def _of_tiles(ready: Ready, folder: str, at: str) -> Iterator[dict[str, Any]]:
    request = sample_tiles(ready, folder)
    yield request
    older = {name: value for name, value in request.items() if name != "tilingGrid"}
    yield {**older, "tilingGridId": 0, "resolution": 60}
    path = f"{at}/<requestId>/<tileId>-<tileName>/<outputId>.<format>"
    own = [{"identifier": "default", "tilePath": path}]
    output = {"defaultTilePath": path, "cogOutput": True, "cogParameters": {"resamplingAlgorithm": "mode"}}
    yield {**request, "output": {**output, "overwrite": True, "skipExisting": False, "responses": own}}
    group = {"group": {"zarr_format": 2}, "arrayParameters": {"dtype": "<u2", "order": "C", "fill_value": 0}}
    yield {**{name: each for name, each in request.items() if name != "output"}, "zarrOutput": {"path": at, **group}}


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(each) for key, each in value.items() if key not in _SECRETS}
    return [_without(each) for each in value] if isinstance(value, list) else value


def _moved(value: Any, old: str, new: str) -> Any:
    """Return a request that delivers to a folder of its own: files of another would fail its analysis."""
    if isinstance(value, dict):
        return {key: each if key == "features" else _moved(each, old, new) for key, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, old, new) for each in value]
    return value if not isinstance(value, str) or value.endswith(".js") else value.replace(old, new)
