"""
Batch Processing V1: images of the tiles of a grid.

The service has announced its end: it is gone from the AWS deployments, and was last seen on Copernicus Data Space
Ecosystem, deprecated, in March 2025.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html
"""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

import copy
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field
from rasterio.errors import RasterioError

from airflow_provider_sentinelhub.simulator import evalscript
from airflow_provider_sentinelhub.simulator.bucket.delivery import EXTENSIONS, Bucket, BucketFailed, Template
from airflow_provider_sentinelhub.simulator.features.features import Feature, area_of, from_grid
from airflow_provider_sentinelhub.simulator.features.grids import GRIDS
from airflow_provider_sentinelhub.simulator.http.bodies import parse_json
from airflow_provider_sentinelhub.simulator.http.paging import matches, page
from airflow_provider_sentinelhub.simulator.http.routes import Paths, add_grids, add_tasks
from airflow_provider_sentinelhub.simulator.http.tasks import ACCOUNT, USER, Tasks
from airflow_provider_sentinelhub.simulator.http.tiles import Tiles
from airflow_provider_sentinelhub.simulator.imagery.images import Images
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed, conflict, violations
from airflow_provider_sentinelhub.simulator.tasks.api import Analysis, TaskApi, Work
from airflow_provider_sentinelhub.simulator.tasks.collections import Collections, bands_of
from airflow_provider_sentinelhub.simulator.tasks.cost import feature_pu
from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Lifecycle, Task
from airflow_provider_sentinelhub.simulator.tasks.service import Service
from airflow_provider_sentinelhub.simulator.tasks.store import FeatureRow, Store
from airflow_provider_sentinelhub.simulator.validation.findings import Findings, check_body, check_shape, check_url
from airflow_provider_sentinelhub.simulator.validation.images import (
    check_grid,
    check_process_request,
    check_template,
    fill_process_request,
)
from airflow_provider_sentinelhub.simulator.validation.shapes import (
    CogShape,
    Filled,
    Json,
    ProcessRequestShape,
    Shape,
    Uuid,
)
from airflow_provider_sentinelhub.simulator.validation.zarr import (
    ArrayShape,
    GroupShape,
    NamedArrayShape,
    check_zarr,
    check_zarr_path,
)

BASE = "/api/v1/batch"
# Existing files are only looked for below this number of files.
MAX_CHECKED_FILES = 5000
MAX_STUCK = 2
DELIVERIES = ("bucketName", "output", "zarrOutput")
ENDED = frozenset({"FAILED", "CANCELED"})

LIFECYCLE = Lifecycle(
    accepted={
        ("CREATED", "NONE"): frozenset({"ANALYSE", "START", "CANCEL"}),
        ("CREATED", "ANALYSE"): frozenset({"CANCEL"}),
        ("CREATED", "START"): frozenset({"CANCEL"}),
        ("ANALYSING", "ANALYSE"): frozenset({"START", "CANCEL"}),
        ("ANALYSING", "START"): frozenset({"CANCEL"}),
        ("ANALYSIS_DONE", "ANALYSE"): frozenset({"START", "CANCEL"}),
        ("ANALYSIS_DONE", "START"): frozenset({"CANCEL"}),
        ("PROCESSING", "START"): frozenset({"CANCEL"}),
        ("PARTIAL", "START"): frozenset({"RESTART"}),
        ("PARTIAL", "RESTART"): frozenset({"CANCEL"}),
    },
    following={
        ("CREATED", "ANALYSE"): ("ANALYSING", "pickup_seconds"),
        ("CREATED", "START"): ("PROCESSING", "queue_seconds"),
        ("ANALYSIS_DONE", "START"): ("PROCESSING", "queue_seconds"),
        ("PARTIAL", "RESTART"): ("PROCESSING", "restart_seconds"),
    },
    stop_action="CANCEL",
    stopped="CANCELED",
    retries=frozenset({"RESTART"}),
    # RESTART is no userAction that the service documents.
    settled={"RESTART": "START"},
    # The service documents no 400 for it.
    ignored=frozenset({"CANCEL"}),
    refusals={"RESTART": "Only requests with status PARTIAL can be restarted."},
)


class BatchV1(TaskApi):
    """Images of tiles. See :class:`~airflow_provider_sentinelhub.simulator.tasks.api.TaskApi`."""

    name = "batch-v1"
    lifecycle = LIFECYCLE
    reserves = True
    actions: ClassVar[Mapping[str, str]] = {
        "analyse": "ANALYSE",
        "start": "START",
        "cancel": "CANCEL",
        "restartpartial": "RESTART",
    }

    def routers(self, service: Service) -> Iterator[APIRouter]:
        """Build the routes. There is the legacy layout only."""
        router = APIRouter()
        tasks = _Tasks(service, self)
        paths = Paths(f"{BASE}/process", f"{BASE}/process")
        filters = ("collectionId", "userid")
        add_tasks(router, tasks, paths, evalscript_in="processRequest", actions=self.actions, filters=filters)
        _add_changes(router, tasks, paths)
        _add_tiles(router, Tiles(service, tasks), paths)
        _add_collections(router, _Linked(service, self.name), Paths(f"{BASE}/collections", f"{BASE}/collections"))
        add_grids(router, Paths(f"{BASE}/tilinggrids", f"{BASE}/tilinggrids"))
        yield router

    def check(self, payload: Any) -> dict[str, Any]:
        """Check a request."""
        request = copy.deepcopy(payload)
        if isinstance(request, dict) and isinstance(request.get("output"), dict):
            _drop_null(request["output"], "collectionId")
        check_body(request, _Request, _check_parts)
        return _with_defaults(request)

    def user_text(self, request: dict[str, Any]) -> str:
        """Return the description."""
        return str(request.get("description") or "")

    def evalscript(self, request: dict[str, Any]) -> str:
        """Return the evalscript."""
        return str(request["processRequest"]["evalscript"])

    def delivery(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return where results go. The bucket has a policy: there are no credentials."""
        parameter, url = _place(request)
        return parameter, {"url": url}

    def listed(self, task: Task, query: Mapping[str, str]) -> bool:
        """Filter by collection and user."""
        collection = task.request.get("output", {}).get("collectionId")
        return query.get("collectionId", collection) == collection and query.get("userid", str(USER)) == str(USER)

    def reserve(self, task: Task, action: str, store: Store) -> float:
        """Return the estimate; for a restart that of the failed tiles."""
        if action == "START":
            return float(task.facts["estimate"])
        if action == "RESTART":
            failed = [row.number for row in store.features(task.id) if row.status == "FATAL"]
            return _estimate(task, [*store.located(task.id, failed).values()])
        return 0.0

    def analyse(self, task: Task, bucket: Bucket, _sources: dict[str, Bucket]) -> Analysis:
        """Find the tiles, and every reason not to process them."""
        found = _tiles(task.request)
        if not found:
            raise AnalysisFailed("There are no tiles to process: none intersects the area of interest.")
        images = _images(task)
        images.check()
        if task.request.get("output", {}).get("collectionId"):
            _single_bands(images)
        remaining = images.remaining(found, bucket)
        names = {each.name for each in remaining}
        return Analysis(remaining, skipped=[each for each in found if each.name not in names])

    def process(self, work: Work) -> tuple[FeatureRow, float]:
        """Write the images of one tile."""
        rule = work.script.feature_rule(work.subject)
        outcome = rule.outcome if rule is not None else "delivered"
        stuck = outcome == "stuck" and work.stuck < MAX_STUCK
        failed = outcome in {"fatal", "failed"} or (outcome == "stuck" and not stuck)
        error = rule.error if rule is not None and failed else None
        if outcome == "delivered":
            try:
                _images(work.task).deliver(work.feature, work.bucket)
            except (BucketFailed, RasterioError) as failure:
                failed, error = True, f"Writing failed: {failure}"
        row = FeatureRow(
            number=work.number,
            name=work.feature.name,
            status="FATAL" if failed else "PENDING" if stuck or outcome == "pending" else "DONE",
            error=error,
            delivered=not failed and outcome in {"delivered", "missing_file"},
            handled=not stuck,
        )
        # Only what was processed is billed.
        billed = not failed and outcome in {"delivered", "missing_file", "undelivered"}
        return row, _price(work.task, work.feature) if billed else 0.0

    def final_status(self, task: Task, store: Store) -> tuple[str, str | None]:
        """Return DONE, PARTIAL or FAILED, by the tiles that failed."""
        failed = [row for row in store.features(task.id) if row.status == "FATAL"]
        if not failed:
            return "DONE", None
        status = "FAILED" if len(failed) == task.facts["tiles"] else "PARTIAL"
        return status, f"{len(failed)} tile{'s' * (len(failed) > 1)} failed: {failed[0].error}"

    def view(self, task: Task, common: dict[str, Any]) -> dict[str, Any]:
        """Return a task with its request at the top level."""
        grid = task.request["tilingGrid"]
        pixels = round(GRIDS[grid["id"]].size / grid["resolution"])
        # Once it may have been analysed: everything but CREATED, and what was canceled before.
        estimated = common["status"] != "CREATED" or common["userAction"] == "START"
        return {
            **common["request"],
            **{name: common[name] for name in ("id", "created", "userAction", "userActionUpdated", "status")},
            "userId": str(USER),
            "accountId": str(ACCOUNT),
            "tileCount": task.facts["tiles"],
            "tileWidthPx": pixels,
            "tileHeightPx": pixels,
            "valueEstimate": task.facts["estimate"] if estimated else None,
            "error": task.error if common["status"] in {"FAILED", "PARTIAL"} else None,
        }


class _Tasks(Tasks):
    def _complete(self, task: Task) -> None:
        found = _tiles(task.request)
        task.facts = {"tiles": len(found), "estimate": _estimate(task, found)}
        _check_files(task, len(found))
        output = task.request.get("output", {})
        with self._service.lock:
            collections = Collections(self._service)
            if output.get("createCollection"):
                bucket = Template.of(_place(task.request)[1], task.id).bucket
                made = collections.create(str(ACCOUNT), f"Batch request {task.id}", bucket)
                output["collectionId"] = made["id"]
            if output.get("collectionId"):
                _link(task, output["collectionId"], collections)

    def update(self, task_id: str, payload: Any) -> dict[str, Any]:
        """Change the description or the collection; the answer is the task."""
        findings = Findings()
        changes = copy.deepcopy(payload) if isinstance(payload, dict) else payload
        if isinstance(changes, dict) and isinstance(changes.get("output"), dict):
            _drop_null(changes["output"], "collectionId")
        check_shape(_Update, changes, "", findings)
        if findings.found:
            raise violations(findings.found)
        with self._service.lock:
            task = self.find(task_id)
            if not LIFECYCLE.updatable(task):
                raise conflict(f"Request {task.id} cannot be updated with status {task.status}.")
            if "output" in changes:
                self._relink(task, changes["output"].get("collectionId"))
            if "description" in changes:
                task.request["description"] = changes["description"]
            task.last_updated = self._service.clock.now()
            task.note(task.last_updated, "user UPDATE")
            self._service.store.save(task)
            return self._view(task)

    def _relink(self, task: Task, collection_id: str | None) -> None:
        output = task.request.get("output")
        if collection_id is None:
            if output is not None:
                output.pop("collectionId", None)
            return
        if output is None or not output["cogOutput"]:
            raise _violation("output->collectionId", "cogOutput must be true for a collection")
        _link(task, collection_id, Collections(self._service))
        output["collectionId"] = collection_id

    def delete(self, task_id: str) -> None:
        """Delete a task that neither runs nor has processed tiles."""
        with self._service.lock:
            task = self.find(task_id)
            if not LIFECYCLE.updatable(task):
                raise conflict(f"Request {task.id} cannot be deleted with status {task.status}: cancel it first.")
            if any(row.status == "DONE" for row in self._service.store.features(task.id)):
                raise conflict(f"Request {task.id} cannot be deleted: it has processed tiles.")
            task.deleted = True
            task.note(self._service.clock.now(), "user DELETE")
            self._service.store.save(task)


class _Linked:
    """The collections, and the tasks that use them."""

    def __init__(self, service: Service, api: str) -> None:
        self._service = service
        self._api = api
        self._collections = Collections(service)

    def create(self, payload: Any) -> dict[str, Any]:
        given = _checked_collection(payload, {"name", "s3Bucket"})
        with self._service.lock:
            return {"data": self._collections.create(str(ACCOUNT), given["name"], given["s3Bucket"])}

    def list(self, count: int | None, viewtoken: str | None, search: str | None, url: str) -> dict[str, Any]:
        found = [each for each in self._collections.all().values() if matches(f"{each['id']} {each['name']}", search)]
        chosen, links = page(found, count, viewtoken, url, search=search)
        return {"data": chosen, "links": links}

    def get(self, collection_id: str) -> dict[str, Any]:
        return {"data": self._collections.get(collection_id)}

    def update(self, collection_id: str, payload: Any) -> None:
        given = _checked_collection(payload, set())
        with self._service.lock:
            collection = self._collections.get(collection_id)
            self._collections.save({**collection, "name": given.get("name", collection["name"])})

    def delete(self, collection_id: str) -> None:
        with self._service.lock:
            self._collections.get(collection_id)
            for task in self._service.store.tasks.values():
                if task.api != self._api or task.deleted or task.status in ENDED:
                    continue
                if task.request.get("output", {}).get("collectionId") == collection_id:
                    raise conflict(f"Collection {collection_id} is used by request {task.id}.")
            self._collections.delete(collection_id)


def _add_changes(router: APIRouter, tasks: _Tasks, paths: Paths) -> None:
    @router.put(f"{paths.base}/{{task_id}}")
    async def update(task_id: str, request: Request) -> dict[str, Any]:
        return await run_in_threadpool(tasks.update, task_id, parse_json(await request.body()))

    @router.delete(f"{paths.base}/{{task_id}}", status_code=204)
    def delete(task_id: str) -> Response:
        tasks.delete(task_id)
        return Response(status_code=204)


def _add_tiles(router: APIRouter, tiles: Tiles, paths: Paths) -> None:
    @router.get(f"{paths.base}/{{task_id}}/tiles")
    def list_tiles(
        request: Request,
        task_id: str,
        status: Annotated[str | None, Query()] = None,
        count: Annotated[int | None, Query()] = None,
        viewtoken: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        return tiles.page(task_id, status, count, viewtoken, f"{paths.link(request)}/{task_id}/tiles")

    @router.get(f"{paths.base}/{{task_id}}/tiles/{{number}}")
    def get_tile(task_id: str, number: str) -> dict[str, Any]:
        return tiles.get(task_id, number)


def _add_collections(router: APIRouter, collections: _Linked, paths: Paths) -> None:
    @router.post(paths.base, status_code=201)
    async def create(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(collections.create, parse_json(await request.body()))

    @router.get(paths.base)
    def list_collections(
        request: Request,
        count: Annotated[int | None, Query()] = None,
        viewtoken: Annotated[str | None, Query()] = None,
        search: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        return collections.list(count, viewtoken, search, paths.link(request))

    @router.get(f"{paths.base}/{{collection_id}}")
    def get(collection_id: str) -> dict[str, Any]:
        return collections.get(collection_id)

    @router.put(f"{paths.base}/{{collection_id}}", status_code=204)
    async def update(collection_id: str, request: Request) -> Response:
        await run_in_threadpool(collections.update, collection_id, parse_json(await request.body()))
        return Response(status_code=204)

    @router.delete(f"{paths.base}/{{collection_id}}", status_code=204)
    def delete(collection_id: str) -> Response:
        collections.delete(collection_id)
        return Response(status_code=204)


Buffer = Annotated[int, Field(ge=0, lt=1 << 15)]


class _Grid(Shape):
    id: int
    resolution: float
    buffer_x: Buffer = 0
    buffer_y: Buffer = 0


class _Path(Shape):
    identifier: Filled = "default"
    tile_path: str


class _Output(Shape):
    default_tile_path: str = ""
    overwrite: bool = False
    skip_existing: bool = False
    cog_output: bool = False
    cog_parameters: CogShape | None = None
    create_collection: bool = False
    collection_id: Uuid = ""
    responses: list[_Path] | None = None


class _Zarr(Shape):
    path: str
    group: GroupShape
    array_parameters: ArrayShape | None = None
    array_overrides: dict[str, NamedArrayShape] | None = None


class _Request(Shape):
    process_request: ProcessRequestShape
    tiling_grid: _Grid | None = None
    tiling_grid_id: int = 0
    resolution: float = 0
    bucket_name: str = ""
    output: _Output | None = None
    zarr_output: _Zarr | None = None
    description: str = ""


class _Link(Shape):
    collection_id: Uuid = ""


class _Update(Shape):
    description: str = ""
    output: _Link | None = None


class _Collection(Shape):
    name: Filled = "-"
    s3_bucket: Annotated[Filled, Field(alias="s3Bucket")] = "-"
    # What the service itself answers with comes back from clients.
    id: Any = None
    user_id: Any = None
    account_id: Any = None
    created: Any = None
    batch_data: Any = None
    additional_data: Any = None
    no_data: Any = None


def _checked_collection(payload: Any, required: set[str]) -> Json:
    findings = Findings()
    check_shape(_Collection, payload, "", findings)
    if not findings.found:
        for name in sorted(required - payload.keys()):
            findings.add(name, f"{name} must not be null")
    if findings.found:
        raise violations(findings.found)
    checked: Json = payload
    return checked


def _check_parts(request: dict[str, Any], findings: Findings) -> None:
    grid = _grid(request, findings)
    given = [name for name in DELIVERIES if name in request]
    if len(given) != 1:
        findings.add("output", f"exactly one of {', '.join(DELIVERIES)} must be set")
    zarr = "zarrOutput" in request
    formats = {"zarr/array"} if zarr else set(EXTENSIONS)
    check_process_request(request["processRequest"], findings, formats=formats, on_grid=True)
    if findings.found:
        return
    responses = request["processRequest"].get("output", {}).get("responses", [])
    names = [each.get("identifier", "default") for each in responses] or ["default"]
    parameter, url = _place(request)
    check_url(url, parameter, findings)
    if zarr:
        check_zarr_path(url, parameter, findings)
        check_zarr(request["zarrOutput"], "zarrOutput", ("tilingGrid", grid), names, findings)
    else:
        check_template(url, parameter, len(names), findings)
        _check_output(request.get("output", {}), names, findings)
        _check_cog(request.get("output", {}), {each["format"]["type"] for each in responses}, findings)


def _grid(request: dict[str, Any], findings: Findings) -> dict[str, Any]:
    older = {"tilingGridId", "resolution"} & request.keys()
    if "tilingGrid" in request:
        if older:
            findings.add("tilingGrid", f"{', '.join(sorted(older))} must not be set beside tilingGrid")
        grid: dict[str, Any] = request["tilingGrid"]
        check_grid(grid, "tilingGrid", findings)
        return grid
    if len(older) < 2:  # noqa: PLR2004 - both of them
        findings.add("tilingGrid", "tilingGrid must not be null")
        return {}
    grid = {"id": request["tilingGridId"], "resolution": request["resolution"]}
    check_grid(grid, "tilingGrid", findings)
    return grid


def _check_output(output: dict[str, Any], names: list[str], findings: Findings) -> None:
    paths = output.get("responses", [])
    for number, each in enumerate(paths):
        where = f"output->responses[{number}]"
        if each.get("identifier", "default") not in names:
            findings.add(f"{where}->identifier", f"there is no output {each.get('identifier', 'default')}")
        check_url(each["tilePath"], f"{where}->tilePath", findings)
        check_template(each["tilePath"], f"{where}->tilePath", 1, findings)
        if Template.of(each["tilePath"], "").bucket != Template.of(output["defaultTilePath"], "").bucket:
            findings.add(f"{where}->tilePath", "the simulator delivers to one bucket only: that of defaultTilePath")


def _check_cog(output: dict[str, Any], formats: set[str], findings: Findings) -> None:
    if output.get("cogOutput") and formats - {"image/tiff"}:
        findings.add("output->cogOutput", "all outputs must have the format image/tiff")
    wanted = [name for name in ("createCollection", "collectionId") if output.get(name)]
    if len(wanted) > 1:
        findings.add("output", "only one of createCollection and collectionId may be set")
    for name in wanted:
        if not output.get("cogOutput"):
            findings.add(f"output->{name}", "cogOutput must be true for a collection")
        for parameter in output.get("cogParameters", {}).keys() - {"resamplingAlgorithm"}:
            findings.add(f"output->cogParameters->{parameter}", f"{parameter} must not be set for a collection")


def _check_files(task: Task, tiles: int) -> None:
    request = task.request
    output = request.get("output")
    files = tiles * len(request["processRequest"]["output"]["responses"])
    if output is None or files < MAX_CHECKED_FILES or (output["overwrite"] and not output["skipExisting"]):
        return
    paths = [output["defaultTilePath"], *(each["tilePath"] for each in output.get("responses", []))]
    if any("<" in path and "<requestId>" not in path for path in paths):
        raise _violation(
            "output",
            f"{files} files are too many to look for existing ones: the paths must contain <requestId>, or overwrite "
            "must be true and skipExisting false",
        )


def _violation(parameter: str, text: str) -> Exception:
    return violations([{"parameter": parameter, "violation": text}])


def _drop_null(part: dict[str, Any], name: str) -> None:
    if part.get(name, "") is None:
        del part[name]


def _with_defaults(request: dict[str, Any]) -> dict[str, Any]:
    filled = {name: each for name, each in request.items() if name not in {"tilingGridId", "resolution"}}
    fill_process_request(filled["processRequest"], "zarr/array" if "zarrOutput" in filled else "image/tiff")
    grid = filled.setdefault("tilingGrid", {"id": request.get("tilingGridId"), "resolution": request.get("resolution")})
    grid["resolution"] = float(grid["resolution"])
    if "output" in filled:
        for name in ("overwrite", "skipExisting", "cogOutput", "createCollection"):
            filled["output"].setdefault(name, False)
    return filled


def _place(request: dict[str, Any]) -> tuple[str, str]:
    """Return the parameter that says where results go, and their URL."""
    if "bucketName" in request:
        return "bucketName", f"s3://{request['bucketName']}"
    if "zarrOutput" in request:
        return "zarrOutput->path", request["zarrOutput"]["path"]
    return "output->defaultTilePath", request["output"].get("defaultTilePath", "")


def _tiles(request: dict[str, Any]) -> list[Feature]:
    area = area_of(request["processRequest"]["input"]["bounds"])
    # check() refuses a request without an area.
    return [] if area is None else from_grid(request["tilingGrid"], area)


def _images(task: Task) -> Images:
    _, url = _place(task.request)
    delivery = {"s3": {"url": url}}
    if "zarrOutput" in task.request:
        parts = {name: each for name, each in task.request["zarrOutput"].items() if name != "path"}
        output = {"type": "zarr", "delivery": delivery, **parts}
    else:
        usual = {"overwrite": False, "skipExisting": False, "cogOutput": False}
        output = {"type": "raster", "delivery": delivery, **usual, **task.request.get("output", {})}
    return Images(task.request["processRequest"], output, Template.of(url, task.id))


def _estimate(task: Task, tiles: list[Feature]) -> float:
    return sum(_price(task, each, discounted=False) for each in tiles)


def _price(task: Task, tile: Feature, *, discounted: bool = True) -> float:
    process_request = task.request["processRequest"]
    try:
        setup = evalscript.parse(process_request["evalscript"])
    except AnalysisFailed:
        # The analysis refuses it, so nothing is processed.
        return 0.0
    return feature_pu(tile.width, tile.height, setup, process_request, discounted=discounted)


def _single_bands(images: Images) -> list[evalscript.Output]:
    outputs = [images.setup.outputs[identifier] for identifier, _ in images.responses]
    for each in outputs:
        if each.bands != 1:
            raise AnalysisFailed(f"Output {each.id}: the outputs for a collection must have one band.")
    return outputs


def _link(task: Task, collection_id: str, collections: Collections) -> None:
    try:
        images = _images(task)
        images.check()
        bands = bands_of(_single_bands(images))
    except AnalysisFailed:
        # The analysis says so as well; until then there is nothing to compare.
        bands = None
    if bands is None:
        problem = None if collection_id in collections.all() else f"Collection with id {collection_id} does not exist."
    else:
        problem = collections.link(collection_id, task.request["tilingGrid"]["id"], bands)
    if problem is not None:
        raise _violation("output->collectionId", problem)
