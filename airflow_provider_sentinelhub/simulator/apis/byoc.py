"""
Bring Your Own COG: collections of users' files, and the tiles in them.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html
"""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

from collections.abc import Callable, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from airflow_provider_sentinelhub.simulator.http.bodies import parse_json
from airflow_provider_sentinelhub.simulator.http.byoc_collections import ByocCollections
from airflow_provider_sentinelhub.simulator.http.byoc_tiles import ByocTiles
from airflow_provider_sentinelhub.simulator.http.routes import Paths
from airflow_provider_sentinelhub.simulator.problems import no_processing_units
from airflow_provider_sentinelhub.simulator.tasks.service import Service

CHANGE_PU = 1.0

Count = Annotated[int | None, Query(ge=1, le=100)]
Text = Annotated[str | None, Query()]


class Byoc:
    """The BYOC API, which has no tasks."""

    def routers(self, service: Service) -> Iterator[APIRouter]:
        """
        Build the routes: the legacy layout and the new one.

        :param service: Has the collections and the account.
        """
        collections = ByocCollections(service)
        tiles = ByocTiles(service)
        for prefix in ("/api/v1/byoc", "/byoc/v1"):
            router = APIRouter()
            paths = Paths(f"{prefix}/collections", "/byoc/v1/collections")
            _add_collections(router, collections, paths, service)
            _add_tiles(router, tiles, paths, service)
            yield router


async def _change(service: Service, change: Callable[..., Any], *given: Any) -> Any:
    """Carry out a change and charge it; a refused one costs nothing."""

    def paid() -> Any:
        with service.lock:
            if service.balance < CHANGE_PU:
                raise no_processing_units()
            answer = change(*given)
            service.balance -= CHANGE_PU
            return answer

    return await run_in_threadpool(paid)


def _add_collections(router: APIRouter, collections: ByocCollections, paths: Paths, service: Service) -> None:
    @router.post(paths.base, status_code=201)
    async def create(request: Request) -> Any:
        return await _change(service, collections.create, parse_json(await request.body()))

    @router.get(paths.base)
    def list_collections(request: Request, count: Count = None, viewtoken: Text = None, search: Text = None) -> Any:
        return collections.page(count, viewtoken, search, paths.link(request))

    @router.get(f"{paths.base}/{{collection_id}}")
    def get(collection_id: str) -> Any:
        return collections.get(collection_id)

    @router.put(f"{paths.base}/{{collection_id}}", status_code=204)
    async def update(collection_id: str, request: Request) -> Response:
        await _change(service, collections.update, collection_id, parse_json(await request.body()))
        return Response(status_code=204)

    @router.delete(f"{paths.base}/{{collection_id}}", status_code=204)
    async def delete(collection_id: str) -> Response:
        await _change(service, collections.delete, collection_id)
        return Response(status_code=204)

    @router.post(f"{paths.base}/{{collection_id}}/copyTiles", status_code=204)
    async def copy_tiles(collection_id: str, to_collection: Annotated[str, Query(alias="toCollection")]) -> Response:
        await _change(service, collections.copy_tiles, collection_id, to_collection)
        return Response(status_code=204)


def _add_tiles(router: APIRouter, tiles: ByocTiles, paths: Paths, service: Service) -> None:
    base = f"{paths.base}/{{collection_id}}/tiles"

    @router.post(base, status_code=201)
    async def create(collection_id: str, request: Request) -> Any:
        return await _change(service, tiles.create, collection_id, parse_json(await request.body()))

    @router.get(base)
    def list_tiles(  # noqa: PLR0917 - the parameters of a query have no order
        request: Request,
        collection_id: str,
        count: Count = None,
        viewtoken: Text = None,
        sort: Text = None,
        path: Text = None,
        status: Text = None,
    ) -> Any:
        url = f"{paths.link(request)}/{collection_id}/tiles"
        return tiles.page(collection_id, count, viewtoken, url, sort=sort, path=path, status=status)

    @router.get(f"{base}/{{tile_id}}")
    def get(collection_id: str, tile_id: str) -> Any:
        return tiles.get(collection_id, tile_id)

    @router.put(f"{base}/{{tile_id}}", status_code=204)
    async def update(collection_id: str, tile_id: str, request: Request) -> Response:
        await _change(service, tiles.update, collection_id, tile_id, parse_json(await request.body()))
        return Response(status_code=204)

    @router.delete(f"{base}/{{tile_id}}", status_code=204)
    async def delete(collection_id: str, tile_id: str) -> Response:
        await _change(service, tiles.delete, collection_id, tile_id)
        return Response(status_code=204)

    @router.post(f"{base}/{{tile_id}}/reingest", status_code=204)
    async def reingest(collection_id: str, tile_id: str) -> Response:
        await _change(service, tiles.reingest, collection_id, tile_id)
        return Response(status_code=204)
