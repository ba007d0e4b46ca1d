"""Building blocks for the routes of an API."""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, runtime_checkable

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from airflow_provider_sentinelhub.simulator.features.grids import GRIDS
from airflow_provider_sentinelhub.simulator.http.bodies import parse_body, parse_json
from airflow_provider_sentinelhub.simulator.http.paging import page
from airflow_provider_sentinelhub.simulator.http.tasks import Tasks
from airflow_provider_sentinelhub.simulator.problems import bad_payload
from airflow_provider_sentinelhub.simulator.tasks.service import Service

ACTIONS = {"analyse": "ANALYSE", "start": "START", "stop": "STOP"}


class Api(Protocol):
    """An API that the simulator serves."""

    def routers(self, service: Service) -> Iterable[APIRouter]:
        """
        Build the routes.

        :param service: The simulated service.
        """


@runtime_checkable
class OpenApi(Protocol):
    """An API with routes that need no token."""

    def open_routers(self, service: Service) -> Iterable[APIRouter]:
        """
        Build these routes.

        :param service: The simulated service.
        """


@runtime_checkable
class AdministeredApi(Protocol):
    """An API with routes of its own in the admin interface."""

    def admin_routers(self, service: Service) -> Iterable[APIRouter]:
        """
        Build these routes; their paths are those below ``/simulator``.

        :param service: The simulated service.
        """


@dataclass(frozen=True, slots=True)
class Paths:
    """
    Where a collection is in one of the two path layouts.

    :param base: Its path in this layout.
    :param linked: Its path in links. They use the new layout for all callers, as the service's have done since 2026.
    """

    base: str
    linked: str

    def link(self, request: Request) -> str:
        """
        Return the URL for links.

        :param request: The call that is answered.
        """
        return f"{request.url.scheme}://{request.url.netloc}{self.linked}"


def add_tasks(
    router: APIRouter,
    tasks: Tasks,
    paths: Paths,
    evalscript_in: str,
    *,
    searched: bool = True,
    actions: Mapping[str, str] = ACTIONS,
    filters: Iterable[str] = (),
) -> None:
    """
    Add routes to create, list, get and act on tasks.

    :param router: Takes the routes.
    :param tasks: The tasks.
    :param paths: Where they are.
    :param evalscript_in: The part of a request that has the evalscript.
    :param searched: Whether the list has the parameter ``search``.
    :param actions: Actions by their path.
    :param filters: Further parameters of the list, which the API understands.
    """

    @router.post(paths.base, status_code=201)
    async def create(request: Request) -> dict[str, Any]:
        payload = parse_body(await request.body(), request.headers.get("content-type", ""), evalscript_in)
        return await run_in_threadpool(tasks.create, payload)

    @router.get(paths.base)
    def list_tasks(
        request: Request,
        count: Annotated[int | None, Query()] = None,
        viewtoken: Annotated[str | None, Query()] = None,
        sort: Annotated[str | None, Query()] = None,
        search: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        query = {name: request.query_params[name] for name in filters if name in request.query_params}
        return tasks.list(count, viewtoken, sort, search if searched else None, paths.link(request), **query)

    @router.get(f"{paths.base}/{{task_id}}")
    def get(task_id: str) -> dict[str, Any]:
        return tasks.get(task_id)

    for name, action in actions.items():
        _add_action(router, tasks, f"{paths.base}/{{task_id}}/{name}", action)


def _add_action(router: APIRouter, tasks: Tasks, path: str, action: str) -> None:
    @router.post(path, status_code=204)
    def act(task_id: str) -> Response:
        tasks.act(task_id, action)
        return Response(status_code=204)


def add_update(router: APIRouter, tasks: Tasks, paths: Paths) -> None:
    """
    Add the route to change a task's description.

    :param router: Takes the route.
    :param tasks: The tasks.
    :param paths: Where they are.
    """

    @router.put(f"{paths.base}/{{task_id}}")
    async def update(task_id: str, request: Request) -> dict[str, Any]:
        return await run_in_threadpool(tasks.update, task_id, parse_json(await request.body()))


def add_status(router: APIRouter, tasks: Tasks, paths: Paths) -> None:
    """
    Add the route to get a task's status without its request.

    :param router: Takes the route.
    :param tasks: The tasks.
    :param paths: Where they are.
    """

    @router.get(f"{paths.base}/{{task_id}}/status")
    def status(task_id: str) -> dict[str, Any]:
        return tasks.status(task_id)


def add_grids(router: APIRouter, paths: Paths) -> None:
    """
    Add the routes of the tiling grids.

    :param router: Takes the routes.
    :param paths: Where they are.
    """

    @router.get(paths.base)
    def grids(
        request: Request,
        count: Annotated[int | None, Query()] = None,
        viewtoken: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        chosen, links = page(list(GRIDS.values()), count, viewtoken, paths.link(request))
        return {"data": [grid.describe() for grid in chosen], "links": links}

    @router.get(f"{paths.base}/{{grid_id}}")
    def grid(grid_id: str) -> dict[str, Any]:
        known = GRIDS.get(int(grid_id)) if grid_id.isdecimal() else None
        if known is None:
            # The service answers 400 here, not 404.
            raise bad_payload(f"Tiling grid with id {grid_id} does not exist.")
        return known.describe()


def add_answer(
    router: APIRouter, path: str, evalscript_in: str, answer: Callable[[Any], tuple[dict[str, Any], float]]
) -> None:
    """
    Add the route of an API that answers at once.

    :param router: Takes the route.
    :param path: Its path.
    :param evalscript_in: The part of a request that has the evalscript.
    :param answer: Turns a parsed body into the answer and the processing units spent.
    """

    @router.post(path)
    async def post(request: Request) -> JSONResponse:
        payload = parse_body(await request.body(), request.headers.get("content-type", ""), evalscript_in)
        body, spent = await run_in_threadpool(answer, payload)
        return JSONResponse(body, headers={"X-ProcessingUnits-Spent": str(spent)})
