"""Paths of the APIs, in both layouts."""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from airflow_provider_sentinelhub.simulator.bodies import parse_body, parse_json
from airflow_provider_sentinelhub.simulator.grids import GRIDS
from airflow_provider_sentinelhub.simulator.kinds import BATCH_STATISTICAL, BATCH_V2
from airflow_provider_sentinelhub.simulator.paging import page
from airflow_provider_sentinelhub.simulator.problems import bad_payload
from airflow_provider_sentinelhub.simulator.service import Service
from airflow_provider_sentinelhub.simulator.statistical import Statistical
from airflow_provider_sentinelhub.simulator.tasks import Tasks

# Legacy and new.
V2 = ("/api/v2/batch", "/batch/v2")
BATCH_STATISTICS = ("/api/v1/statistics/batch", "/statistics/batch/v1")
STATISTICS = ("/api/v1/statistics", "/statistics/v1")


def batch_routers(service: Service) -> Iterator[APIRouter]:
    """
    Build the routes of all batch APIs.

    :param service: What they are about.
    """
    tasks = Tasks(service, BATCH_V2)
    for prefix in V2:
        router = APIRouter()
        _add_tasks(router, tasks, f"{prefix}/process", f"{V2[1]}/process", "processRequest", searched=True)
        _add_update(router, tasks, f"{prefix}/process")
        _add_grids(router, f"{prefix}/tilinggrids", f"{V2[1]}/tilinggrids")
        yield router
    statistics = Tasks(service, BATCH_STATISTICAL)
    for prefix in BATCH_STATISTICS:
        router = APIRouter()
        _add_tasks(router, statistics, prefix, BATCH_STATISTICS[1], "aggregation", searched=False)
        _add_status(router, statistics, prefix)
        yield router


def statistical_router(service: Service) -> APIRouter:
    """
    Build the routes of the Statistical API.

    :param service: What they are about.
    """
    statistical = Statistical(service)
    router = APIRouter()

    async def statistics(request: Request) -> JSONResponse:
        payload = parse_body(await request.body(), request.headers.get("content-type", ""), "aggregation")
        answer, spent = await run_in_threadpool(statistical.answer, payload)
        return JSONResponse(answer, headers={"X-ProcessingUnits-Spent": str(spent)})

    for path in STATISTICS:
        router.add_api_route(path, statistics, methods=["POST"])
    return router


def _add_tasks(router: APIRouter, tasks: Tasks, base: str, linked: str, holder: str, *, searched: bool) -> None:
    @router.post(base, status_code=201)
    async def create(request: Request) -> dict[str, Any]:
        payload = parse_body(await request.body(), request.headers.get("content-type", ""), holder)
        return await run_in_threadpool(tasks.create, payload)

    @router.get(base)
    def list_tasks(
        request: Request,
        count: Annotated[int | None, Query()] = None,
        viewtoken: Annotated[str | None, Query()] = None,
        sort: Annotated[str | None, Query()] = None,
        search: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        return tasks.list(count, viewtoken, sort, search if searched else None, _url(request, linked))

    @router.get(f"{base}/{{task_id}}")
    def get(task_id: str) -> dict[str, Any]:
        return tasks.get(task_id)

    for name in ("analyse", "start", "stop"):
        _add_action(router, tasks, f"{base}/{{task_id}}/{name}", name.upper())


def _add_action(router: APIRouter, tasks: Tasks, path: str, action: str) -> None:
    @router.post(path, status_code=204)
    def act(task_id: str) -> Response:
        tasks.act(task_id, action)
        return Response(status_code=204)


def _add_update(router: APIRouter, tasks: Tasks, base: str) -> None:
    @router.put(f"{base}/{{task_id}}")
    async def update(task_id: str, request: Request) -> dict[str, Any]:
        return await run_in_threadpool(tasks.update, task_id, parse_json(await request.body()))


def _add_status(router: APIRouter, tasks: Tasks, base: str) -> None:
    @router.get(f"{base}/{{task_id}}/status")
    def status(task_id: str) -> dict[str, Any]:
        return tasks.status(task_id)

    # What STOP was called before 2023; callers of that time still use it.
    _add_action(router, tasks, f"{base}/{{task_id}}/cancel", "STOP")


def _add_grids(router: APIRouter, base: str, linked: str) -> None:
    @router.get(base)
    def grids(
        request: Request,
        count: Annotated[int | None, Query()] = None,
        viewtoken: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        chosen, links = page(list(GRIDS.values()), count, viewtoken, _url(request, linked))
        return {"data": [grid.describe() for grid in chosen], "links": links}

    @router.get(f"{base}/{{grid_id}}")
    def grid(grid_id: str) -> dict[str, Any]:
        known = GRIDS.get(int(grid_id)) if grid_id.isdecimal() else None
        if known is None:
            # Others would say 404.
            raise bad_payload(f"Tiling grid with id {grid_id} does not exist.")
        return known.describe()


def _url(request: Request, path: str) -> str:
    # Links use the new layout whatever the caller used, as the service's have done since 2026.
    return f"{request.url.scheme}://{request.url.netloc}{path}"
