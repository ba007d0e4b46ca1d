"""
The Catalog API: the Calls of its nine operations, and searches of several pages. Nothing here does I/O.

Source: https://docs.planet.com/develop/apis/catalog/ and its reference
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from airflow_provider_sentinelhub.client.apis.catalog.answers import (
    Found,
    Item,
    ItemPage,
    collections_in,
    conformance_in,
    object_in,
)
from airflow_provider_sentinelhub.client.apis.catalog.models import MOST_TO_A_PAGE, SearchRequest
from airflow_provider_sentinelhub.client.as_json import as_json
from airflow_provider_sentinelhub.client.errors import InvalidParameter, ServiceUnavailable
from airflow_provider_sentinelhub.client.http.call import MIB, Call, Procedure
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.models import from_text, validated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SERVICE: Final = Service.CATALOG
MOST_ITEMS: Final = 10_000
"""How many items a search returns unless it is asked for more."""

_MOST_PAGES = 100_000
_MOST_EMPTY = 10
_COLLECTION = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
_LONGEST_ID = 500
# A hundred items with footprints of some thousand points each.
_PAGE_BYTES = 64 * MIB


def check(request: Any) -> dict[str, Any]:
    """
    Check a search against the models, and return the JSON to send.

    :param request: The service's own request as a dict, or as the JSON text of one; see
        :class:`~airflow_provider_sentinelhub.client.apis.catalog.models.SearchRequest`.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    return validated(SearchRequest, as_json(from_text(request))).body()


# -------------------------------------------------------------------------------------------- what the catalog holds


def landing_page() -> Call[Item]:
    """Read the landing page: what the catalog is called, and links to everything in it."""
    return Call("GET", SERVICE, "", object_in, "read the landing page of the catalog")


def conformance() -> Call[list[str]]:
    """Read the specifications that the catalog conforms to."""
    return Call("GET", SERVICE, "/conformance", conformance_in, "read what the catalog conforms to")


def collections() -> Call[list[Item]]:
    """List the collections that the account can read, including its own."""
    return Call(
        "GET", SERVICE, "/collections", collections_in, "list the collections of the catalog", max_bytes=_PAGE_BYTES
    )


def collection(collection_id: str) -> Call[Item]:
    """
    Read a collection.

    :param collection_id: Its id, e.g. ``sentinel-2-l2a`` or ``byoc-<id>``.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    return Call("GET", SERVICE, _path_of(collection_id), object_in, f"read collection {collection_id}")


def queryables(collection_id: str) -> Call[Item]:
    """
    Read what items of a collection can be filtered by, as a JSON Schema.

    :param collection_id: Its id.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    path = f"{_path_of(collection_id)}/queryables"
    return Call("GET", SERVICE, path, object_in, f"read the queryables of collection {collection_id}")


def items(
    collection_id: str,
    *,
    bbox: Any = None,
    datetime: Any = None,
    limit: int | None = None,
    next: int | None = None,  # noqa: A002 - as the service calls it
) -> Call[ItemPage]:
    """
    List items of a collection, one page at a time.

    :param collection_id: Its id.
    :param bbox: Only items in this box: west, south, east and north in degrees.
    :param datetime: Only items of this date and time, or of an interval.
    :param limit: How many to a page, 1 to 100. Default of the service: 10.
    :param next: :attr:`ItemPage.next` of the page before.
    :raises InvalidParameter: A value is not valid; nothing is sent.
    """
    path = f"{_path_of(collection_id)}/items"
    given = {"bbox": bbox, "datetime": datetime, "limit": limit, "next": next}
    # Where there is no datetime, ids stand in for it: here neither is required.
    given = {"collections": [collection_id], **given} | ({} if datetime is not None else {"ids": ["-"]})
    query = _query({key: each for key, each in check(given).items() if key not in {"collections", "ids"}})
    what = f"list items of collection {collection_id}"
    return Call("GET", SERVICE, path, ItemPage.parse, what, query=query, max_bytes=_PAGE_BYTES)


def item(collection_id: str, item_id: str) -> Call[Item]:
    """
    Read an item.

    :param collection_id: Id of its collection.
    :param item_id: Its id.
    :raises InvalidParameter: An id is not valid; nothing is sent.
    """
    path = f"{_path_of(collection_id)}/items/{_item_id(item_id)}"
    return Call("GET", SERVICE, path, object_in, f"read item {item_id} of collection {collection_id}")


# -------------------------------------------------------------------------------------------------------- the search


def search(request: Any) -> Call[ItemPage]:
    """
    Search items, one page at a time.

    :param request: The search, see :func:`check`.
    :raises InvalidParameter: A field is not valid; nothing is sent.
    """
    return _search(check(request))


def simple_search(request: Any) -> Call[ItemPage]:
    """
    Search items by GET; the service's reference calls it a shorthand of :func:`search`, which can do all of it.

    :param request: The search, see :func:`check`; a filter only as CQL2 text.
    :raises InvalidParameter: A field is not valid; nothing is sent.
    """
    body = check(request)
    if isinstance(body.get("filter"), dict):
        fix = "Write it as text, e.g. eo:cloud_cover <= 20, or search by POST."
        raise InvalidParameter("filter", body["filter"], "is CQL2 JSON, which a GET request cannot have", fix)
    return Call("GET", SERVICE, "/search", ItemPage.parse, _what(body), query=_query(body), max_bytes=_PAGE_BYTES)


def search_pages(request: Any, max_items: int = MOST_ITEMS) -> Procedure[Found]:
    """
    Search items, and read page after page.

    :param request: The search, see :func:`check`; without a limit, pages are as long as the service allows.
    :param max_items: Read no more than these; what was found then says that it is not complete.
    :raises InvalidParameter: A field is not valid; nothing is sent.
    :raises ServiceUnavailable: The pages have no end.
    """
    pages: list[ItemPage] = []
    is_complete = yield from read_search(request, pages.append, max_items)
    found = [each for page in pages for each in page.items][:max_items]
    return Found(found, [each for page in pages for each in page.values][:max_items], is_complete, len(pages))


def read_search(
    request: Any, take: Callable[[ItemPage], object], max_items: int | None = MOST_ITEMS, *, as_text: bool = False
) -> Procedure[bool]:
    """
    Search items, and read page after page; only one page is in memory at a time.

    The service counts where a page begins. What is published meanwhile may move items to another page: then one is
    read twice, or not at all.

    Code that wants each page when it asks for it sends the pages itself: ``walk = read_search(request, seen)``, then
    ``next(walk)`` and ``walk.send(page)`` return one Call after the other.

    :param request: The search, see :func:`check`; without a limit, pages are as long as the service allows.
    :param take: Gets each page; the last one may have more items than are asked for.
    :param max_items: Stop after the page with which there are this many; ``None`` to read all.
    :param as_text: Leave items the JSON texts that the service sent, as ``msgspec.Raw``: for code that passes them on.
    :returns: Whether everything was read.
    :raises InvalidParameter: A field is not valid; nothing is sent.
    :raises ServiceUnavailable: The pages have no end: one came twice, or does not lead any further.
    """
    body = check(request)
    _check_most(max_items)
    body.setdefault("limit", min(MOST_TO_A_PAGE, max_items or MOST_TO_A_PAGE))
    what, begin, count, empty = _what(body), body.get("next", 0), 0, 0
    before: ItemPage | None = None
    for _ in range(_MOST_PAGES):
        page: ItemPage = yield _search(body, as_text)
        size = len(page.items) + len(page.values)
        if size and before is not None and (page.items, page.values) == (before.items, before.values):
            raise _endless(what, f"the page at {begin:,} is the same as the one before")
        take(page)
        count, empty = count + size, 0 if size else empty + 1
        if page.next is None or (not size and page.next <= begin):
            return True
        if max_items is not None and count >= max_items:
            return False
        if page.next <= begin or empty > _MOST_EMPTY:
            raise _endless(what, f"the page at {begin:,} leads to {page.next:,}")
        before, begin = page, page.next
        body = {**body, "next": begin}
    raise _endless(what, f"there are more than {_MOST_PAGES:,} pages")


def _search(body: Mapping[str, Any], as_text: bool = False) -> Call[ItemPage]:
    call = Call("POST", SERVICE, "/search", ItemPage.parse, _what(body), body=body, max_bytes=_PAGE_BYTES)
    if not as_text:
        return call
    from msgspec import Raw

    return replace(call, parse=ItemPage.parse_texts, form=dict[str, Raw])


def _check_most(max_items: Any) -> None:
    if max_items is not None and not (type(max_items) is int and max_items >= 1):
        raise InvalidParameter("max_items", max_items, "is not a number of 1 or more", "Give e.g. 10000.")


def _what(body: Mapping[str, Any]) -> str:
    return f"search items of {body['collections'][0]}"


def _endless(what: str, why: str) -> ServiceUnavailable:
    return ServiceUnavailable(f"Cannot {what}: {why}. Try again later.")


def _query(body: Mapping[str, Any]) -> dict[str, str]:
    """Return a search as query parameters: lists with commas, excluded fields with a minus before them."""
    found: dict[str, str] = {}
    for name, value in body.items():
        if name == "fields":
            excluded = [f"-{each}" for each in value.get("exclude", ())]
            found[name] = ",".join([*value.get("include", ()), *excluded])
        elif isinstance(value, list):
            found[name] = ",".join(f"{each:.12g}" if isinstance(each, float) else str(each) for each in value)
        else:
            found[name] = json.dumps(value) if isinstance(value, dict) else str(value)
    return found


def _path_of(collection_id: Any) -> str:
    if not isinstance(collection_id, str) or not re.fullmatch(_COLLECTION, collection_id) or collection_id == "None":
        rule = "is not the id of a collection"
        raise InvalidParameter("collection", collection_id, rule, "Give it as the catalog lists it: sentinel-2-l2a.")
    return f"/collections/{collection_id}"


def _item_id(given: Any) -> str:
    is_text = isinstance(given, str) and given.isprintable() and 0 < len(given) <= _LONGEST_ID
    if not is_text or given.strip(".") == "" or given == "None":
        raise InvalidParameter("item", given, "is not the id of an item", "Give it as a search returns it.")
    return quote(given, safe="")
