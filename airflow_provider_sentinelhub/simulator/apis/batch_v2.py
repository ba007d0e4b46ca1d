"""
Batch Processing V2: images of many places.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/BatchV2.html
"""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, Field
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
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed, bad_payload
from airflow_provider_sentinelhub.simulator.tasks.api import Analysis, TaskApi
from airflow_provider_sentinelhub.simulator.tasks.cost import feature_pu
from airflow_provider_sentinelhub.simulator.tasks.store import FeatureRow
from airflow_provider_sentinelhub.simulator.validation.findings import Findings, check_access, check_body, check_variant
from airflow_provider_sentinelhub.simulator.validation.images import (
    check_collection,
    check_grid,
    check_process_request,
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
        return row, self.price(work.task, feature)

    def price(self, task: Task, feature: Feature) -> float:
        """Return what the images of one feature cost."""
        images = _images(task)
        return feature_pu(feature.width, feature.height, images.setup, images.process_request)

    def execution_key(self, task: Task) -> str:
        """Return where the execution database goes."""
        return _template(task).beside(f"execution-{task.id}.sqlite")


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


class _Coordinates(Shape):
    origin: Literal["topLeft", "bottomLeft"] = "topLeft"


class _Group(Shape):
    zarr_format: Annotated[Literal[2], Field(alias="zarr_format")]
    coordinates: _Coordinates | None = None
    custom_attributes: Json | None = None


def _fill_value(value: Any) -> Any:
    if isinstance(value, bool) or not (isinstance(value, int | float) or value in NO_NUMBERS):
        raise ValueError(f"must be a number or one of {', '.join(NO_NUMBERS)}")
    return value


class _Array(Shape):
    dtype: Literal["|u1", "|i1", "<u2", ">u2", "<i2", ">i2", "<f4", ">f4", "<f8", ">f8"] = "<f4"
    order: Literal["C"] = "C"
    chunks: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=3, max_length=3)] | None = None
    fill_value: Annotated[Any, AfterValidator(_fill_value), Field(alias="fill_value")] = 0
    compressor: Json | None = None


class _OneArray(_Array):
    custom_attributes: Json | None = None


class _Zarr(Shape):
    type: str
    delivery: StorageShape
    group: _Group
    array_parameters: _Array | None = None
    array_overrides: dict[str, _OneArray] | None = None


INPUTS: Mapping[str, type[Shape]] = {"tiling-grid": _Grid, "geopackage": _GeoPackage}
OUTPUTS: Mapping[str, type[Shape]] = {"raster": _Raster, "zarr": _Zarr}
INTEGERS = {
    "|u1": (0, 255), "|i1": (-128, 127), "<u2": (0, 65_535), ">u2": (0, 65_535), "<i2": (-32_768, 32_767),
    ">i2": (-32_768, 32_767),
}  # fmt: skip
REQUIRED_OF_ARRAYS = frozenset({"dtype", "order", "chunks", "fill_value"})
NO_NUMBERS = ("NaN", "Infinity", "-Infinity")


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
    if zarr:
        names = [each.get("identifier", "default") for each in responses] or ["default"]
        _check_zarr(output, source, names, findings)
    else:
        _check_template(output["delivery"], max(1, len(responses)), findings)
        check_collection(output, {each["format"]["type"] for each in responses} or {"image/tiff"}, findings)


def _check_defaults(defaults: dict[str, Any], findings: Findings) -> None:
    # A resolution is ignored beside a size, and half a size beside a resolution.
    size = {"width", "height"} & defaults.keys()
    if len(size) == 1 and "resolution" not in defaults:
        findings.add("input->defaults", "width and height must be set together")
    if len(size) < 2 and defaults.get("resolution", 1) <= 0:  # noqa: PLR2004 - both of them
        findings.add("input->defaults->resolution", "resolution must be greater than 0")


def _check_template(delivery: dict[str, Any], outputs: int, findings: Findings) -> None:
    kind, access = _located(delivery)
    url, path = access["url"], f"output->delivery->{kind}->url"
    if "<" not in url and ">" not in url:
        return
    names = re.findall(r"<([^<>]*)>", url)
    for name in names:
        if name not in PLACEHOLDERS:
            findings.add(path, f"unknown placeholder <{name}>")
    if 2 * len(names) != len(re.findall("[<>]", url)):
        findings.add(path, "the template has a < or > that is not of a placeholder")
    if not {"tileName", "tileId"} & set(names):
        findings.add(path, "the template must contain <tileName> or <tileId>")
    if outputs > 1 and "outputId" not in names:
        findings.add(path, "the template must contain <outputId> when there are several outputs")


def _check_zarr(part: dict[str, Any], source: dict[str, Any], outputs: list[str], findings: Findings) -> None:
    kind, access = _located(part["delivery"])
    url = access["url"]
    if set(re.findall(r"<([^<>]*)>", url)) - {"requestId"} or set("<>") & set(url.replace("<requestId>", "")):
        findings.add(f"output->delivery->{kind}->url", "the path of a Zarr may contain <requestId> only")
    grid = GRIDS[source["id"]] if source["type"] == "tiling-grid" else None
    if grid is None or grid.crs is None:
        findings.add("input", "Zarr output is supported for WGS84 and LAEA tiling grids only")
    usual, own = part.get("arrayParameters", {}), part.get("arrayOverrides", {})
    for name in own.keys() - set(outputs):
        findings.add(f"output->arrayOverrides->{name}", f"there is no output {name}")
    for output in outputs:
        if missing := REQUIRED_OF_ARRAYS - usual.keys() - own.get(output, {}).keys():
            findings.add("output->arrayParameters", f"{', '.join(sorted(missing))} must be set for output {output}")
    for name, array in (("arrayParameters", usual), *((f"arrayOverrides->{each}", own[each]) for each in own)):
        chunks = array.get("chunks", [1, 1, 1])
        # Nothing is documented about a tile that is wider by a buffer.
        buffered = source.get("bufferX") or source.get("bufferY")
        pixels = 0 if grid is None or buffered else round(grid.size / source["resolution"])
        stored = INTEGERS.get(array.get("dtype", usual.get("dtype", "")))
        fill = array.get("fill_value", 0)
        if stored is not None and (fill in NO_NUMBERS or fill != int(fill) or not stored[0] <= fill <= stored[1]):
            findings.add(f"output->{name}->fill_value", f"fill_value {fill} is not a value of the dtype")
        if chunks[0] != 1:
            findings.add(f"output->{name}->chunks", "chunks must be three numbers, the first of them 1")
        elif any(pixels % each for each in chunks[1:]):
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
