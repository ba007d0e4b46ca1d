"""
Batch Processing V2: images of many places.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchV2.html
"""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from rasterio.errors import RasterioError

from airflow_provider_sentinelhub.simulator.bucket.delivery import EXTENSIONS, PLACEHOLDERS, BucketFailed, Template
from airflow_provider_sentinelhub.simulator.features.features import (
    MAX_PIXELS,
    area_of,
    from_geopackage,
    from_grid,
    input_file,
)
from airflow_provider_sentinelhub.simulator.features.grids import GRIDS
from airflow_provider_sentinelhub.simulator.http.bodies import masked
from airflow_provider_sentinelhub.simulator.http.routes import Paths, add_grids, add_tasks, add_update
from airflow_provider_sentinelhub.simulator.http.tasks import Tasks
from airflow_provider_sentinelhub.simulator.imagery.images import Images
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed
from airflow_provider_sentinelhub.simulator.tasks.api import Analysis, TaskApi
from airflow_provider_sentinelhub.simulator.tasks.cost import feature_pu
from airflow_provider_sentinelhub.simulator.tasks.store import FeatureRow
from airflow_provider_sentinelhub.simulator.validation.findings import Findings, check_access, check_body
from airflow_provider_sentinelhub.simulator.validation.images import (
    check_cog,
    check_grid,
    check_process_request,
    fill_process_request,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.tasks.api import Work
    from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

FEATURES = "input->features"
NO_DATA = "No data"
DTYPES = frozenset({"|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<f4", ">f4", "<f8", ">f8"})


class BatchV2(TaskApi):
    """Images of many places. See :class:`~airflow_provider_sentinelhub.simulator.tasks.api.TaskApi`."""

    name = "batch-v2"

    def routers(self, service: Service) -> Iterator[APIRouter]:
        """Build the routes: the legacy layout and the new one."""
        tasks = Tasks(service, self)
        for prefix in ("/api/v2/batch", "/batch/v2"):
            router = APIRouter()
            paths = Paths(f"{prefix}/process", "/batch/v2/process")
            add_tasks(router, tasks, paths, evalscript_in="processRequest")
            add_update(router, tasks, paths)
            add_grids(router, Paths(f"{prefix}/tilinggrids", "/batch/v2/tilinggrids"))
            yield router

    def check(self, payload: Any) -> dict[str, Any]:
        """Check a request."""
        check_body(payload, _check_parts)
        return _with_defaults(payload)

    def user_text(self, request: dict[str, Any]) -> str:
        """Return the description."""
        return str(request.get("description") or "")

    def evalscript(self, request: dict[str, Any]) -> str:
        """Return the evalscript."""
        return str(request["processRequest"]["evalscript"])

    def delivery(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the delivery."""
        kind, access = _located(request["output"]["delivery"])
        return f"output->delivery->{kind}", access

    def sources(self, request: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return where the GeoPackage is, if there is one."""
        given = request["input"]
        if given["type"] != "geopackage":
            return {}
        kind, access = _located(given["features"])
        return {f"{FEATURES}->{kind}": access}

    def files_at_create(self, task: Task, payload: Any) -> dict[str, bytes]:
        """Return the request, which the service keeps beside the results."""
        content = json.dumps(masked(payload), indent=1).encode()
        return {_template(task).beside(f"request-{task.id}.json"): content}

    def analyse(self, task: Task, bucket: Bucket, sources: dict[str, Bucket]) -> Analysis:
        """Find tiles or polygons, and every reason not to process them."""
        images = _images(task)
        images.check()
        found = _features(task.request, sources)
        if not found:
            raise AnalysisFailed("There are no features to process: none intersects the area of interest.")
        manifest = {images.template.beside(f"featureManifest-{task.id}.gpkg"): images.manifest(found)}
        return Analysis(images.remaining(found, bucket), manifest)

    def process(self, work: Work) -> tuple[FeatureRow, float]:
        """Write the images of one feature."""
        feature = work.feature
        rule = work.script.feature_rule(work.subject)
        outcome = rule.outcome if rule is not None else "delivered"
        error = rule.error if rule is not None and outcome in {"fatal", "failed"} else None
        images = _images(work.task)
        if outcome == "delivered":
            try:
                images.deliver(feature, work.bucket)
            except (BucketFailed, RasterioError) as failure:
                outcome, error = "fatal", f"Writing failed: {failure}"
        row = FeatureRow(
            number=work.number,
            name=feature.name,
            status={"fatal": "FATAL", "failed": "FATAL", "pending": "PENDING"}.get(outcome, "DONE"),
            error=NO_DATA if outcome == "no_data" else error,
            delivered=outcome in {"delivered", "missing_file"},
            handled=True,
        )
        if outcome not in {"delivered", "missing_file", "undelivered"}:
            # Only what was processed is billed.
            return row, 0.0
        return row, feature_pu(feature.width, feature.height, images.setup, images.process_request)

    def execution_key(self, task: Task) -> str:
        """Return where the execution database goes."""
        return _template(task).beside(f"execution-{task.id}.sqlite")


def _located(part: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    kind = "gs" if "gs" in part else "s3"
    return kind, part[kind]


def _template(task: Task) -> Template:
    return Template.of(_located(task.request["output"]["delivery"])[1]["url"], task.id)


def _images(task: Task) -> Images:
    return Images(task.request["processRequest"], task.request["output"], _template(task))


def _features(request: dict[str, Any], sources: dict[str, Bucket]) -> list[Feature]:
    given = request["input"]
    area = area_of(request["processRequest"]["input"].get("bounds"))
    if given["type"] == "geopackage":
        kind, access = _located(given["features"])
        with input_file(sources[f"{FEATURES}->{kind}"], access["url"]) as path:
            return from_geopackage(path, given.get("defaults", {}), area)
    if area is None:
        raise AnalysisFailed("A tiling grid needs an area of interest.")
    return from_grid(given, area)


def _check_parts(request: dict[str, Any], findings: Findings) -> None:
    kinds = {
        part: request[part].get("type") if isinstance(request.get(part), dict) else None for part in ("input", "output")
    }
    check_process_request(
        findings.part(request, "processRequest", ""),
        findings,
        formats={"zarr/array"} if kinds["output"] == "zarr" else set(EXTENSIONS),
        on_grid=kinds["input"] == "tiling-grid",
    )
    _check_input(findings.part(request, "input", ""), findings)
    _check_output(findings.part(request, "output", ""), request, findings)


def _check_input(part: dict[str, Any], findings: Findings) -> None:
    kind = part.get("type")
    if kind == "tiling-grid":
        check_grid(part, "input", findings)
    elif kind == "geopackage":
        check_access(findings.part(part, "features", "input"), FEATURES, findings, takes_gcs=True)
        _check_defaults(part.get("defaults", {}), findings)
    elif part:
        findings.add("input->type", "type must be one of tiling-grid, geopackage")


def _check_defaults(defaults: dict[str, Any], findings: Findings) -> None:
    for name in ("width", "height"):
        if name in defaults and not (isinstance(defaults[name], int) and 1 <= defaults[name] <= MAX_PIXELS):
            findings.add(f"input->defaults->{name}", f"{name} must be between 1 and {MAX_PIXELS}")
    has_size = {"width", "height"} <= defaults.keys()
    if "resolution" in defaults and not has_size and not defaults["resolution"] > 0:
        findings.add("input->defaults->resolution", "resolution must be greater than 0")


def _check_output(part: dict[str, Any], request: dict[str, Any], findings: Findings) -> None:
    if not part:
        return
    check_access(findings.part(part, "delivery", "output"), "output->delivery", findings, takes_gcs=True)
    if part.get("type") not in {"raster", "zarr"}:
        findings.add("output->type", "type must be one of raster, zarr")
        return
    if findings.found:
        return
    responses = request["processRequest"].get("output", {}).get("responses", [])
    if part["type"] == "raster":
        _check_template(part["delivery"], max(1, len(responses)), findings)
        check_cog(part, findings)
    else:
        _check_zarr(part, request["input"], findings)


def _check_template(delivery: dict[str, Any], outputs: int, findings: Findings) -> None:
    kind, access = _located(delivery)
    url, path = access["url"], f"output->delivery->{kind}->url"
    if "<" not in url:
        return
    for name in re.findall(r"<([^<>]*)>", url):
        if name not in PLACEHOLDERS:
            findings.add(path, f"unknown placeholder <{name}>")
    if "<tileName>" not in url:
        findings.add(path, "the template must contain <tileName>")
    if outputs > 1 and "<outputId>" not in url:
        findings.add(path, "the template must contain <outputId> when there are several outputs")


def _check_zarr(part: dict[str, Any], source: dict[str, Any], findings: Findings) -> None:
    if findings.part(part, "group", "output").get("zarr_format") != 2:  # noqa: PLR2004 - the only version there is
        findings.add("output->group->zarr_format", "zarr_format must be 2")
    kind, access = _located(part["delivery"])
    if set(re.findall(r"<([^<>]*)>", access["url"])) - {"requestId"}:
        findings.add(f"output->delivery->{kind}->url", "the path of a Zarr may contain <requestId> only")
    grid = GRIDS.get(source.get("id", -1)) if source.get("type") == "tiling-grid" else None
    if grid is None or grid.crs is None:
        findings.add("input", "Zarr output is supported for WGS84 and LAEA tiling grids only")
    arrays = {"arrayParameters": part.get("arrayParameters", {}), **part.get("arrayOverrides", {})}
    for name, array in arrays.items():
        if "dtype" in array and array["dtype"] not in DTYPES:
            findings.add(f"output->{name}->dtype", f"unknown dtype {array['dtype']}")
        chunks = array.get("chunks")
        if chunks is not None and (len(chunks) != 3 or chunks[0] != 1):  # noqa: PLR2004 - time, y, x
            findings.add(f"output->{name}->chunks", "chunks must be three numbers, the first of them 1")
        elif chunks and grid and any(round(grid.size / source["resolution"]) % each for each in chunks[1:]):
            findings.add(f"output->{name}->chunks", "chunks must divide the tile evenly")


def _with_defaults(request: dict[str, Any]) -> dict[str, Any]:
    filled = copy.deepcopy(request)
    zarr = filled["output"]["type"] == "zarr"
    fill_process_request(filled["processRequest"], "zarr/array" if zarr else "image/tiff")
    if "resolution" in filled["input"]:
        filled["input"]["resolution"] = float(filled["input"]["resolution"])
    if not zarr:
        for name in ("overwrite", "skipExisting", "cogOutput", "createCollection"):
            filled["output"].setdefault(name, False)
    filled.setdefault("instanceType", "normal")
    return filled
