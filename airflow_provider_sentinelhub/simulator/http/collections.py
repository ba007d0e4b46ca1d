"""Collections of images as callers see and change them."""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from airflow_provider_sentinelhub.simulator.http.bodies import parse_json
from airflow_provider_sentinelhub.simulator.http.paging import matches
from airflow_provider_sentinelhub.simulator.http.paging import page as page_of
from airflow_provider_sentinelhub.simulator.http.routes import Paths
from airflow_provider_sentinelhub.simulator.http.tasks import ACCOUNT
from airflow_provider_sentinelhub.simulator.problems import conflict, violations
from airflow_provider_sentinelhub.simulator.tasks.collections import BATCH, Collections
from airflow_provider_sentinelhub.simulator.tasks.service import Service
from airflow_provider_sentinelhub.simulator.validation.findings import Findings, check_shape
from airflow_provider_sentinelhub.simulator.validation.shapes import Filled, Json, Shape

# Requests that do not keep a collection from being deleted.
ENDED = frozenset({"FAILED", "CANCELED"})


class LinkedCollections:
    """
    The collections of the account, and the tasks of an API that use them.

    :param service: Has both.
    :param api: Name of the API.
    """

    def __init__(self, service: Service, api: str) -> None:
        self._service = service
        self._api = api
        self._collections = Collections(service, BATCH)

    def create(self, payload: Any) -> dict[str, Any]:
        """
        Create a collection.

        :param payload: Parsed body.
        :raises Problem: 400.
        """
        given = _checked(payload, {"name", "s3Bucket"})
        with self._service.lock:
            return {"data": self._collections.create(str(ACCOUNT), given["name"], given["s3Bucket"])}

    def page(self, count: int | None, viewtoken: str | None, search: str | None, url: str) -> dict[str, Any]:
        """
        Return one page of collections.

        :param count: Size of the page; at most, and by default, 100.
        :param viewtoken: Which page; the first when ``None``.
        :param search: As for tasks, in their names.
        :param url: The caller's URL without the query, for the links.
        :raises Problem: 400.
        """
        found = [each for each in self._collections.all().values() if matches(f"{each['id']} {each['name']}", search)]
        chosen, links = page_of(found, count, viewtoken, url, search=search)
        return {"data": chosen, "links": links}

    def get(self, collection_id: str) -> dict[str, Any]:
        """
        Return a collection.

        :param collection_id: Its id.
        :raises Problem: 404.
        """
        return {"data": self._collections.get(collection_id)}

    def update(self, collection_id: str, payload: Any) -> None:
        """
        Rename a collection.

        :param collection_id: Its id.
        :param payload: Parsed body.
        :raises Problem: 400 or 404.
        """
        given = _checked(payload, set())
        with self._service.lock:
            collection = self._collections.get(collection_id)
            self._collections.save({**collection, "name": given.get("name", collection["name"])})

    def delete(self, collection_id: str) -> None:
        """
        Delete a collection that is not in use.

        :param collection_id: Its id.
        :raises Problem: 404 or 409.
        """
        with self._service.lock:
            self._collections.get(collection_id)
            for task in self._service.store.tasks.values():
                if task.api != self._api or task.deleted or task.status in ENDED:
                    continue
                if task.request.get("output", {}).get("collectionId") == collection_id:
                    raise conflict(f"Collection {collection_id} is used by request {task.id}.")
            self._collections.delete(collection_id)


def add_collections(router: APIRouter, collections: LinkedCollections, paths: Paths) -> None:
    """
    Add the routes of the collections.

    :param router: Takes the routes.
    :param collections: The collections.
    :param paths: Where they are.
    """

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
        return collections.page(count, viewtoken, search, paths.link(request))

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


def _checked(payload: Any, required: set[str]) -> Json:
    findings = Findings()
    check_shape(_Collection, payload, "", findings)
    if not findings.found:
        for name in sorted(required - payload.keys()):
            findings.add(name, f"{name} must not be null")
    if findings.found:
        raise violations(findings.found)
    checked: Json = payload
    return checked
