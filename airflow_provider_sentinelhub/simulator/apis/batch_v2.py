"""
Batch Processing V2: images of many places.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchV2.html
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from rasterio.errors import RasterioError

from airflow_provider_sentinelhub.simulator.bucket.delivery import EXTENSIONS, BucketFailed, Template
from airflow_provider_sentinelhub.simulator.features.features import (
    MAX_PIXELS,
    area_of,
    from_geopackage,
    from_grid,
    input_file,
)
from airflow_provider_sentinelhub.simulator.http.bodies import masked
from airflow_provider_sentinelhub.simulator.http.routes import Paths, add_grids, add_tasks, add_update
from airflow_provider_sentinelhub.simulator.http.tasks import ACCOUNT, Tasks
from airflow_provider_sentinelhub.simulator.imagery.images import Images
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed, RenderingFailed, bad_payload, violations
from airflow_provider_sentinelhub.simulator.tasks.api import Analysis, Collected, TaskApi
from airflow_provider_sentinelhub.simulator.tasks.collections import BYOC, Collections, bands_of
from airflow_provider_sentinelhub.simulator.tasks.cost import feature_pu
from airflow_provider_sentinelhub.simulator.tasks.store import FeatureRow
from airflow_provider_sentinelhub.simulator.validation.findings import Findings, check_access, check_body, check_variant
from airflow_provider_sentinelhub.simulator.validation.images import (
    check_collection,
    check_grid,
    check_process_request,
    check_template,
    fill_process_request,
)
from airflow_provider_sentinelhub.simulator.validation.shapes import (
    CogShape,
    Json,
    ProcessRequestShape,
    Shape,
    StorageShape,
    Uuid,
)
from airflow_provider_sentinelhub.simulator.validation.zarr import (
    ArrayShape,
    GroupShape,
    NamedArrayShape,
    check_zarr,
    check_zarr_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.tasks.api import Work
    from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

FEATURES = "input->features"
NO_DATA = "No data"
OF_V1 = frozenset({"tilingGrid", "tilingGridId", "bucketName", "zarrOutput"})


class BatchV2(TaskApi):
    """Images of many places. See :class:`~airflow_provider_sentinelhub.simulator.tasks.api.TaskApi`."""

    name = "batch-v2"

    def routers(self, service: Service) -> Iterator[APIRouter]:
        """Build the routes: the legacy layout and the new one."""
        tasks = _Tasks(service, self)
        for prefix in ("/api/v2/batch", "/batch/v2"):
            router = APIRouter()
            paths = Paths(f"{prefix}/process", "/batch/v2/process")
            add_tasks(router, tasks, paths, evalscript_in="processRequest")
            add_update(router, tasks, paths)
            add_grids(router, Paths(f"{prefix}/tilinggrids", "/batch/v2/tilinggrids"))
            yield router

    def check(self, payload: Any) -> dict[str, Any]:
        """Check a request."""
        if isinstance(payload, dict) and (named := sorted(OF_V1 & payload.keys())):
            raise bad_payload(f"{', '.join(named)}: this is a request of Batch Processing V1.")
        check_body(payload, _Request, _check_parts)
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
        return {_request_key(task): content}

    def analyse(self, task: Task, bucket: Bucket, sources: dict[str, Bucket]) -> Analysis:
        """Find tiles or polygons, and every reason not to process them."""
        found = _features(task.request, sources)
        if not found:
            raise AnalysisFailed("There are no features to process: none intersects the area of interest.")
        images = _images(task)
        images.check()
        remaining = images.remaining(found, bucket, own={_request_key(task)})
        manifest = {images.template.beside(f"featureManifest-{task.id}.gpkg"): images.manifest(found)}
        return Analysis(remaining, images.before(found) | manifest)

    def process(self, work: Work) -> tuple[FeatureRow, float]:
        """Write the images of one feature."""
        feature = work.feature
        rule = work.script.feature_rule(work.subject)
        outcome = rule.outcome if rule is not None else "delivered"
        if outcome == "stuck":
            outcome = "fatal"
        error = rule.error if rule is not None and outcome in {"fatal", "failed"} else None
        images = _images(work.task)
        if outcome == "delivered":
            try:
                if not images.deliver(feature, work.bucket, work.script.pixels):
                    outcome = "no_data"
            except RenderingFailed as failure:
                outcome, error = "fatal", str(failure)
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
        return row, self.price(work.task, feature)

    def collected(self, task: Task, feature: Feature) -> Collected | None:
        """Return the tile of a BYOC collection."""
        collection_id = task.request["output"].get("collectionId")
        return Collected(BYOC, collection_id, *_images(task).collected(feature)) if collection_id else None

    def price(self, task: Task, feature: Feature) -> float:
        """Return what the images of one feature cost."""
        images = _images(task)
        return feature_pu(feature.width, feature.height, images.setup, images.process_request)

    def execution_key(self, task: Task) -> str:
        """Return where the execution database goes."""
        return _template(task).beside(f"execution-{task.id}.sqlite")


class _Tasks(Tasks):
    def _complete(self, task: Task) -> None:
        output = task.request["output"]
        if output["type"] == "zarr" or not (output.get("createCollection") or output.get("collectionId")):
            return
        with self._service.lock:
            collections = Collections(self._service, BYOC)
            if not output.get("collectionId"):
                bucket = _template(task).bucket
                output["collectionId"] = collections.create(str(ACCOUNT), f"Batch task {task.id}", bucket)["id"]
            if problem := _not_linked(task, output["collectionId"], collections):
                raise violations([{"parameter": "output->collectionId", "violation": problem}])


def _not_linked(task: Task, collection_id: str, collections: Collections) -> str | None:
    found = collections.all().get(collection_id)
    if found is None:
        return f"Collection with id {collection_id} does not exist."
    bucket = _template(task).bucket
    if bucket != str(found["s3Bucket"]).rpartition(":")[2]:
        return f"Collection {collection_id} is in the bucket {found['s3Bucket']}, not {bucket}."
    try:
        images = _images(task)
        images.check()
        outputs = [images.setup.outputs[name] for name, media_type in images.responses if media_type == "image/tiff"]
        return collections.link(collection_id, None, bands_of(outputs))
    except AnalysisFailed:
        # The analysis will say so.
        return None


def _located(part: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    kind = "gs" if "gs" in part else "s3"
    return kind, part[kind]


def _template(task: Task) -> Template:
    output = task.request["output"]
    return Template.of(_located(output["delivery"])[1]["url"], task.id, zarr=output["type"] == "zarr")


def _request_key(task: Task) -> str:
    return _template(task).beside(f"request-{task.id}.json")


def _images(task: Task) -> Images:
    return Images(task.request["processRequest"], task.request["output"], _template(task))


def _features(request: dict[str, Any], sources: dict[str, Bucket]) -> list[Feature]:
    given = request["input"]
    area = area_of(request["processRequest"]["input"].get("bounds", {}))
    if given["type"] == "geopackage":
        kind, access = _located(given["features"])
        with input_file(sources[f"{FEATURES}->{kind}"], access["url"]) as path:
            return from_geopackage(path, given.get("defaults", {}), area)
    if area is None:
        raise AnalysisFailed("A tiling grid needs an area of interest.")
    return from_grid(given, area)


class _Request(Shape):
    process_request: ProcessRequestShape
    input: Json
    output: Json
    description: str = ""
    instance_type: Literal["normal", "large"] = "normal"


Buffer = Annotated[int, Field(ge=0, lt=1 << 15)]
Side = Annotated[int, Field(ge=1, le=MAX_PIXELS)]


class _Grid(Shape):
    type: str
    id: int
    resolution: float
    buffer_x: Buffer = 0
    buffer_y: Buffer = 0


class _Defaults(Shape):
    width: Side = 1
    height: Side = 1
    resolution: float = 1


class _GeoPackage(Shape):
    type: str
    features: StorageShape
    defaults: _Defaults | None = None


class _Raster(Shape):
    type: str
    delivery: StorageShape
    overwrite: bool = False
    skip_existing: bool = False
    cog_output: bool = False
    cog_parameters: CogShape | None = None
    create_collection: bool = False
    collection_id: Uuid = ""


class _Zarr(Shape):
    type: str
    delivery: StorageShape
    group: GroupShape
    array_parameters: ArrayShape | None = None
    array_overrides: dict[str, NamedArrayShape] | None = None


INPUTS: Mapping[str, type[Shape]] = {"tiling-grid": _Grid, "geopackage": _GeoPackage}
OUTPUTS: Mapping[str, type[Shape]] = {"raster": _Raster, "zarr": _Zarr}


def _check_parts(request: dict[str, Any], findings: Findings) -> None:
    check_variant(request, "input", INPUTS, findings)
    check_variant(request, "output", OUTPUTS, findings)
    if findings.found:
        return
    source, output = request["input"], request["output"]
    zarr, on_grid = output["type"] == "zarr", source["type"] == "tiling-grid"
    formats = {"zarr/array"} if zarr else set(EXTENSIONS)
    check_process_request(request["processRequest"], findings, formats=formats, on_grid=on_grid)
    if on_grid:
        check_grid(source, "input", findings)
    else:
        check_access(source["features"], FEATURES, findings, takes_gcs=True)
        _check_defaults(source.get("defaults", {}), findings)
    check_access(output["delivery"], "output->delivery", findings, takes_gcs=True)
    if findings.found:
        return
    responses = request["processRequest"].get("output", {}).get("responses", [])
    kind, access = _located(output["delivery"])
    if zarr:
        names = [each.get("identifier", "default") for each in responses] or ["default"]
        check_zarr_path(access["url"], f"output->delivery->{kind}->url", findings)
        check_zarr(output, "output", ("input", source if on_grid else None), names, findings)
    else:
        check_template(access["url"], f"output->delivery->{kind}->url", max(1, len(responses)), findings)
        check_collection(output, {each["format"]["type"] for each in responses} or {"image/tiff"}, findings)


def _check_defaults(defaults: dict[str, Any], findings: Findings) -> None:
    # A resolution is ignored beside a size, and half a size beside a resolution.
    size = {"width", "height"} & defaults.keys()
    if len(size) == 1 and "resolution" not in defaults:
        findings.add("input->defaults", "width and height must be set together")
    if len(size) < 2 and defaults.get("resolution", 1) <= 0:  # noqa: PLR2004 - both of them
        findings.add("input->defaults->resolution", "resolution must be greater than 0")


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
