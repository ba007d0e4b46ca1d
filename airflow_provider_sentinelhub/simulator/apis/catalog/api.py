"""
The Catalog API (STAC 1.0): nine operations, in both path layouts. Links have the new layout.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Catalog.html
"""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

import datetime as dt
import json
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from airflow_provider_sentinelhub.simulator.apis.catalog.problems import CatalogProblem, invalid, missing
from airflow_provider_sentinelhub.simulator.apis.catalog.published import Published, View
from airflow_provider_sentinelhub.simulator.apis.catalog.search import Finder, Search, distinct_values, with_fields
from airflow_provider_sentinelhub.simulator.apis.catalog.stac import (
    CONFORMS_TO,
    Json,
    collection_of,
    item_links,
    landing_page,
    queryables_of,
    written,
)
from airflow_provider_sentinelhub.simulator.http.bodies import parse_json
from airflow_provider_sentinelhub.simulator.problems import Problem
from airflow_provider_sentinelhub.simulator.scenes.collections import COLLECTIONS, Cut
from airflow_provider_sentinelhub.simulator.tasks.service import Service

LINKED = "/catalog/v1"
BASES = ("/api/v1/catalog/1.0.0", LINKED)
GEOJSON = "application/geo+json"
PUBLIC = [key for key, each in COLLECTIONS.items() if each.cut is not Cut.STATIC]
OWN = ("byoc-", "batch-", "zarr-")


class ViewCommand(BaseModel):
    """
    A change of what the catalog shows; every part is optional.

    :param delay_seconds: Simulated seconds after the acquisition at which a synthetic scene appears.
    :param synthetic: Whether there are synthetic scenes at all.
    :param hidden: Ids of items that are not shown.
    """

    delay_seconds: Annotated[float, Field(ge=0, le=1e10)] | None = None
    synthetic: bool | None = None
    hidden: list[str] | None = None


class Catalog:
    """The Catalog API, which has no tasks."""

    def __init__(self) -> None:
        self._shared: dict[Service, _Answers] = {}

    def routers(self, service: Service) -> Iterator[APIRouter]:
        """Build the routes that need a token."""
        router, answers = APIRouter(), self._answers(service)
        for base in BASES:
            _add_collections(router, answers, base)
            _add_items(router, answers, base)
            _add_search(router, answers, base)
        yield router

    def open_routers(self, service: Service) -> Iterator[APIRouter]:
        """Build the landing page and the conformance classes."""
        router, answers = APIRouter(), self._answers(service)
        for base in BASES:
            _add_entrance(router, answers, base)
        yield router

    def admin_routers(self, service: Service) -> Iterator[APIRouter]:
        """Build the routes that publish and hide items."""
        router, published = APIRouter(), self._answers(service).published

        @router.post("/catalog/items")
        async def publish(request: Request) -> Json:
            given = parse_json(await request.body())
            items = given.get("items", given.get("features")) if isinstance(given, dict) else given
            if not isinstance(items, list):
                raise invalid("Send a list of items, or an object with items.")
            return {"items": await run_in_threadpool(published.add, items)}

        @router.delete("/catalog/items")
        def clear() -> Json:
            published.clear()
            return {"items": 0}

        @router.get("/catalog")
        def get_view() -> Json:
            view = published.view
            return {
                "delay_seconds": view.delay_seconds,
                "synthetic": view.synthetic,
                "hidden": sorted(view.hidden),
            }

        @router.put("/catalog")
        def put_view(command: ViewCommand) -> Json:
            old = published.view
            published.set_view(
                View(
                    old.delay_seconds if command.delay_seconds is None else command.delay_seconds,
                    old.synthetic if command.synthetic is None else command.synthetic,
                    old.hidden if command.hidden is None else frozenset(command.hidden),
                )
            )
            return get_view()

        yield router

    def _answers(self, service: Service) -> "_Answers":
        return self._shared.setdefault(service, _Answers(service))


class _Answers:
    def __init__(self, service: Service) -> None:
        self._service = service
        self.published = Published(service)
        self._finder = Finder(self.published)

    def collection_ids(self) -> list[str]:
        return [*PUBLIC, *(each for each in self.published.collections() if each not in PUBLIC)]

    def known(self, collection_id: str) -> str:
        if collection_id not in self.collection_ids() and not collection_id.startswith(OWN):
            raise missing(f"Collection {collection_id}")
        return collection_id

    def find(self, given: Any, root: str, query: dict[str, str] | None) -> tuple[Json, float]:
        """Answer a search by POST, or by GET with this query."""
        search = Search.read(given)
        if search.collection not in self.collection_ids() and not search.collection.startswith(OWN):
            raise invalid(f"Illegal collection {search.collection}.")
        features, following, spent = self._page(search, root)
        context: Json = {"limit": search.limit, "returned": len(features)}
        if following is not None:
            context = {"next": following, **context}
        links = _search_links(f"{root}/search", following, query)
        return {"type": "FeatureCollection", "features": features, "links": links, "context": context}, spent

    def listed(self, collection_id: str, query: dict[str, str], root: str) -> tuple[Json, float]:
        """Answer a list of items."""
        given = {key: each for key, each in _of_query(query).items() if key in {"bbox", "datetime", "limit", "next"}}
        search = Search.read({"collections": [self.known(collection_id)], **given}, is_dated=False)
        features, following, spent = self._page(search, root)
        own = f"{root}/collections/{collection_id}"
        links = [
            {"href": f"{root}/", "rel": "root", "type": "application/json"},
            {"href": own, "rel": "parent", "type": "application/json"},
            *_search_links(f"{own}/items", following, query),
        ]
        stamp = written(dt.datetime.fromtimestamp(self._service.clock.now(), dt.UTC))
        return {
            "type": "FeatureCollection",
            "features": features,
            "links": links,
            "timeStamp": stamp,
            "numberReturned": len(features),
        }, spent

    def item(self, collection_id: str, item_id: str, root: str) -> Json:
        """Answer with one item."""
        search = Search.read({"collections": [self.known(collection_id)], "ids": [item_id]})
        found = self._finder.find(search, self._service.clock.now())
        if not found:
            raise missing(f"Item {item_id}")
        made = found[0].make()
        return {**made, "links": item_links(made, root)}

    def _page(self, search: Search, root: str) -> tuple[list[Any], int | None, float]:
        hits = self._finder.find(search, self._service.clock.now())
        features: list[Any]
        if search.distinct is not None:
            values = distinct_values(hits, search.distinct)
            total, features = len(values), values[search.begin : search.begin + search.limit]
        else:
            total, chosen = len(hits), hits[search.begin : search.begin + search.limit]
            made = [each.make() for each in chosen]
            features = [with_fields({**each, "links": item_links(each, root)}, search.fields) for each in made]
        end = search.begin + search.limit
        return features, end if end < total else None, self._charge(search.price)

    def _charge(self, price: float) -> float:
        with self._service.lock:
            if self._service.balance < price:
                raise CatalogProblem(403, "Insufficient processing units or requests available in your account.")
            self._service.balance -= price
        return price


def _search_links(url: str, following: int | None, query: dict[str, str] | None) -> list[Json]:
    own = url if query is None else f"{url}?{urlencode(query)}" if query else url
    links: list[Json] = [{"href": own, "rel": "self", "type": GEOJSON}]
    if following is None:
        return links
    to: Json = {"rel": "next", "type": GEOJSON, "title": "Next set of results"}
    if query is None:
        return [*links, {"href": url, **to, "method": "POST", "body": {"next": following}, "merge": True}]
    return [*links, {"href": f"{url}?{urlencode({**query, 'next': following})}", **to}]


def _of_query(query: dict[str, str]) -> Json:
    """Return query parameters as the body of a search."""
    given: Json = dict(query)
    try:
        for name in ("limit", "next"):
            if name in given:
                given[name] = int(given[name])
        if "bbox" in given:
            given["bbox"] = [float(each) for each in given["bbox"].split(",")]
        if "intersects" in given:
            given["intersects"] = json.loads(given["intersects"])
    except ValueError as error:
        raise invalid(f"A parameter is not valid: {error}.") from error
    for name in ("collections", "ids"):
        if name in given:
            given[name] = given[name].split(",")
    if "fields" in given:
        names = [each.strip() for each in given["fields"].split(",") if each.strip()]
        given["fields"] = {
            "include": [each.removeprefix("+") for each in names if not each.startswith("-")],
            "exclude": [each[1:] for each in names if each.startswith("-")],
        }
    return given


def _root(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}{LINKED}"


def _add_entrance(router: APIRouter, answers: _Answers, base: str) -> None:
    @router.get(base)
    def landing(request: Request) -> Json:
        return landing_page(_root(request), answers.collection_ids())

    @router.get(f"{base}/conformance")
    def conformance() -> Json:
        return {"conformsTo": CONFORMS_TO}


def _add_collections(router: APIRouter, answers: _Answers, base: str) -> None:
    @router.get(f"{base}/collections")
    def collections(request: Request) -> Json:
        root = _root(request)
        links = [
            {"href": f"{root}/", "rel": "root", "type": "application/json"},
            {"href": f"{root}/collections", "rel": "self", "type": "application/json"},
            {"href": f"{root}/", "rel": "parent", "type": "application/json"},
        ]
        return {"links": links, "collections": [collection_of(each, root) for each in answers.collection_ids()]}

    @router.get(f"{base}/collections/{{collection_id}}")
    def collection(request: Request, collection_id: str) -> Json:
        return collection_of(answers.known(collection_id), _root(request))

    @router.get(f"{base}/collections/{{collection_id}}/queryables")
    def queryables(request: Request, collection_id: str) -> JSONResponse:
        found = queryables_of(answers.known(collection_id), _root(request))
        return JSONResponse(found, media_type="application/schema+json")


def _add_items(router: APIRouter, answers: _Answers, base: str) -> None:
    @router.get(f"{base}/collections/{{collection_id}}/items")
    def items(request: Request, collection_id: str) -> JSONResponse:
        return _answer(*answers.listed(collection_id, dict(request.query_params), _root(request)))

    @router.get(f"{base}/collections/{{collection_id}}/items/{{item_id}}")
    def item(request: Request, collection_id: str, item_id: str) -> JSONResponse:
        return JSONResponse(answers.item(collection_id, item_id, _root(request)), media_type=GEOJSON)


def _add_search(router: APIRouter, answers: _Answers, base: str) -> None:
    @router.get(f"{base}/search")
    def get(request: Request) -> JSONResponse:
        query = dict(request.query_params)
        return _answer(*answers.find(_of_query(query), _root(request), query))

    @router.post(f"{base}/search")
    async def post(request: Request) -> JSONResponse:
        try:
            given = parse_json(await request.body())
        except Problem as error:
            raise invalid(error.message) from error
        return _answer(*await run_in_threadpool(answers.find, given, _root(request), None))


def _answer(body: Json, spent: float) -> JSONResponse:
    return JSONResponse(body, headers={"X-ProcessingUnits-Spent": f"{spent:.6g}"}, media_type=GEOJSON)
