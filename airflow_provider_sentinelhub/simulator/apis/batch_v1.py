"""
Batch Processing V1: images of the tiles of a grid.

The service has announced its end: it is gone from the AWS deployments, and was last seen on Copernicus Data Space
Ecosystem, deprecated, in March 2025.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html
"""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from rasterio.errors import RasterioError

from airflow_provider_sentinelhub.simulator import evalscript
from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket, BucketFailed, Template
from airflow_provider_sentinelhub.simulator.features.features import Feature, area_of, from_grid
from airflow_provider_sentinelhub.simulator.features.grids import GRIDS
from airflow_provider_sentinelhub.simulator.http.bodies import parse_json
from airflow_provider_sentinelhub.simulator.http.collections import LinkedCollections, add_collections
from airflow_provider_sentinelhub.simulator.http.routes import Paths, add_grids, add_tasks
from airflow_provider_sentinelhub.simulator.http.tasks import ACCOUNT, USER, Tasks
from airflow_provider_sentinelhub.simulator.http.tiles import Tiles
from airflow_provider_sentinelhub.simulator.imagery.images import Images
from airflow_provider_sentinelhub.simulator.problems import AnalysisFailed, RenderingFailed, conflict
from airflow_provider_sentinelhub.simulator.tasks.api import Analysis, Collected, TaskApi, Work
from airflow_provider_sentinelhub.simulator.tasks.collections import BATCH, Collections, bands_of
from airflow_provider_sentinelhub.simulator.tasks.cost import feature_pu
from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Lifecycle, Task
from airflow_provider_sentinelhub.simulator.tasks.service import Service
from airflow_provider_sentinelhub.simulator.tasks.store import FeatureRow, Store
from airflow_provider_sentinelhub.simulator.validation import tiles

BASE = "/api/v1/batch"
MAX_STUCK = 2

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
        collections = LinkedCollections(service, self.name)
        add_collections(router, collections, Paths(f"{BASE}/collections", f"{BASE}/collections"))
        add_grids(router, Paths(f"{BASE}/tilinggrids", f"{BASE}/tilinggrids"))
        yield router

    def check(self, payload: Any) -> dict[str, Any]:
        """Check a request."""
        return tiles.check(payload)

    def user_text(self, request: dict[str, Any]) -> str:
        """Return the description."""
        return str(request.get("description") or "")

    def evalscript(self, request: dict[str, Any]) -> str:
        """Return the evalscript."""
        return str(request["processRequest"]["evalscript"])

    def delivery(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return where results go. The bucket has a policy: there are no credentials."""
        parameter, url = tiles.place(request)
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
        return Analysis(remaining, images.before(found), skipped=[each for each in found if each.name not in names])

    def process(self, work: Work) -> tuple[FeatureRow, float]:
        """Write the images of one tile."""
        rule = work.script.feature_rule(work.subject)
        outcome = rule.outcome if rule is not None else "delivered"
        stuck = outcome == "stuck" and work.stuck < MAX_STUCK
        failed = outcome in {"fatal", "failed"} or (outcome == "stuck" and not stuck)
        error = rule.error if rule is not None and failed else None
        if outcome == "delivered":
            try:
                if not _images(work.task).deliver(work.feature, work.bucket, work.script.pixels):
                    outcome = "no_data"
            except RenderingFailed as failure:
                failed, error = True, str(failure)
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

    def collected(self, task: Task, feature: Feature) -> Collected | None:
        """Return the tile of a batch collection."""
        collection_id = task.request.get("output", {}).get("collectionId")
        return Collected(BATCH, collection_id, *_images(task).collected(feature)) if collection_id else None

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
        estimated = common["status"] not in {"CREATED", "ANALYSING"} or common["userAction"] == "START"
        return {
            **common["request"],
            **{name: common[name] for name in ("id", "created", "userAction", "userActionUpdated", "status")},
            "userId": str(USER),
            "accountId": str(ACCOUNT),
            "tileCount": task.facts["tiles"],
            "tileWidthPx": pixels,
            "tileHeightPx": pixels,
            # None where the evalscript cannot be read either.
            "valueEstimate": (task.facts["estimate"] or None) if estimated else None,
            "error": task.error if common["status"] in {"FAILED", "PARTIAL"} else None,
        }


class _Tasks(Tasks):
    def _complete(self, task: Task) -> None:
        found = _tiles(task.request)
        task.facts = {"tiles": len(found), "estimate": _estimate(task, found)}
        tiles.check_number_of_files(task.request, len(found))
        output = task.request.get("output", {})
        with self._service.lock:
            collections = Collections(self._service, BATCH)
            if output.get("createCollection"):
                bucket = Template.of(tiles.place(task.request)[1], task.id).bucket
                made = collections.create(str(ACCOUNT), f"Batch request {task.id}", bucket)
                output["collectionId"] = made["id"]
            if output.get("collectionId"):
                _link(task, output["collectionId"], collections)

    def update(self, task_id: str, payload: Any) -> dict[str, Any]:
        """Change the description or the collection; the answer is the task."""
        changes = tiles.check_update(payload)
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
            raise tiles.violation("output->collectionId", "cogOutput must be true for a collection")
        _link(task, collection_id, Collections(self._service, BATCH))
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


def _add_changes(router: APIRouter, tasks: _Tasks, paths: Paths) -> None:
    @router.put(f"{paths.base}/{{task_id}}")
    async def update(task_id: str, request: Request) -> dict[str, Any]:
        return await run_in_threadpool(tasks.update, task_id, parse_json(await request.body()))

    @router.delete(f"{paths.base}/{{task_id}}", status_code=204)
    def delete(task_id: str) -> Response:
        tasks.delete(task_id)
        return Response(status_code=204)


def _add_tiles(router: APIRouter, shown: Tiles, paths: Paths) -> None:
    @router.get(f"{paths.base}/{{task_id}}/tiles")
    def list_tiles(
        request: Request,
        task_id: str,
        status: Annotated[str | None, Query()] = None,
        count: Annotated[int | None, Query()] = None,
        viewtoken: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        return shown.page(task_id, status, count, viewtoken, f"{paths.link(request)}/{task_id}/tiles")

    @router.get(f"{paths.base}/{{task_id}}/tiles/{{number}}")
    def get_tile(task_id: str, number: str) -> dict[str, Any]:
        return shown.get(task_id, number)


def _tiles(request: dict[str, Any]) -> list[Feature]:
    area = area_of(request["processRequest"]["input"]["bounds"])
    # check() refuses a request without an area.
    return [] if area is None else from_grid(request["tilingGrid"], area)


def _images(task: Task) -> Images:
    _, url = tiles.place(task.request)
    delivery = {"s3": {"url": url}}
    if "zarrOutput" in task.request:
        parts = {name: each for name, each in task.request["zarrOutput"].items() if name != "path"}
        output = {"type": "zarr", "delivery": delivery, **parts}
    else:
        usual = {"overwrite": False, "skipExisting": False, "cogOutput": False}
        output = {"type": "raster", "delivery": delivery, **usual, **task.request.get("output", {})}
    own = {each.get("identifier", "default"): each["tilePath"] for each in output.get("responses", [])}
    template = Template.of(url, task.id, own, zarr=output["type"] == "zarr")
    return Images(task.request["processRequest"], output, template)


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
        # The analysis will report it. Without bands the collection cannot be compared yet.
        bands = None
    if bands is None:
        problem = None if collection_id in collections.all() else f"Collection with id {collection_id} does not exist."
    else:
        problem = collections.link(collection_id, task.request["tilingGrid"]["id"], bands)
    if problem is not None:
        raise tiles.violation("output->collectionId", problem)
