"""
BYOC: its 12 operations, and how a collection or a tile is created once.

Each change costs one processing unit; reading costs nothing, and so does a change that the service refuses.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.client.apis.byoc.answers import (
    PENDING,
    ByocTile,
    CollectionPage,
    TilePage,
    TileStatus,
    tile_of,
)
from airflow_provider_sentinelhub.client.apis.byoc.models import CollectionRequest, TileChanges, TileRequest
from airflow_provider_sentinelhub.client.errors import (
    Conflict,
    InvalidParameter,
    OutcomeUnknown,
    UnexpectedAnswer,
)
from airflow_provider_sentinelhub.client.http.call import Call, Repeat, nothing
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle.collections import Collection, CollectionAnswer
from airflow_provider_sentinelhub.client.lifecycle.collections import collection as read_collection
from airflow_provider_sentinelhub.client.lifecycle.pages import read_pages
from airflow_provider_sentinelhub.client.models import from_text, validated

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.http.call import Procedure

PU_PER_CHANGE: Final = 1
"""Processing units that the service charges for each change."""

SORTS: Final = ("created:asc", "created:desc", "path:asc", "path:desc")
_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WORD = re.compile(r"[\w\-]+")
_MOST_PER_PAGE = 100
_TYPE = "byoc-"


def checked_id(field: str, value: str) -> str:
    """
    Return an id as the service spells it in paths.

    :param field: Its name, for the message.
    :param value: The id; that of a collection may have ``byoc-`` before it.
    :raises InvalidParameter: It is not one.
    """
    found = str(value).removeprefix(_TYPE)
    if not _ID.fullmatch(found):
        raise InvalidParameter(field, value, "is not an id (UUID)", "Give the id that the service returned.")
    return found


# ------------------------------------------------------------------------------------------------------- collections


def list_collections(
    count: int | None = None, search: str | None = None, token: str | None = None
) -> Call[CollectionPage]:
    """
    List the collections, one page at a time.

    :param count: How many to a page, 1 to 100. Default: the service's limit.
    :param search: Only collections that fit these words, joined by ``|`` and ``&``.
    :param token: ``links.next_token`` of the page before; ``None`` for the first page.
    :raises InvalidParameter: The count is not valid; nothing is sent.
    """
    query = _query(count=_counted(count), search=search, viewtoken=token)
    return Call("GET", Service.BYOC, "/collections", CollectionPage.model_validate, "list collections", query=query)


def create_collection(collection: Any) -> Call[Collection]:
    """
    Create a collection; each request creates another one.

    :param collection: ``name`` and ``s3Bucket``, optionally ``noData`` and ``additionalData``.
    :raises InvalidParameter: Names each invalid field; nothing is sent.
    """
    body = validated(CollectionRequest, from_text(collection)).body()
    return Call(
        "POST", Service.BYOC, "/collections", _collection_of, "create a collection", body=body, repeat=Repeat.NEVER
    )


def get_collection(collection_id: str) -> Call[Collection]:
    """
    Read a collection.

    :param collection_id: Its id.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    return read_collection(checked_id("collection_id", collection_id))


def update_collection(collection_id: str, collection: Any) -> Call[None]:
    """
    Replace name, no-data value and bands of a collection.

    :param collection_id: Its id.
    :param collection: As for :func:`create_collection`. Without ``noData`` it has none afterwards; without
        ``additionalData`` its bands stay.
    :raises InvalidParameter: Names each invalid field; nothing is sent.
    """
    body = validated(CollectionRequest, from_text(collection)).body()
    path, what = _collection(collection_id), f"update collection {collection_id}"
    conflict = "Keep the bucket while the collection has tiles"
    return Call("PUT", Service.BYOC, path, nothing, what, body=body, conflict=conflict)


def delete_collection(collection_id: str) -> Call[None]:
    """
    Delete a collection and its tiles; the files stay.

    :param collection_id: Its id.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    return Call("DELETE", Service.BYOC, _collection(collection_id), nothing, f"delete collection {collection_id}")


def copy_tiles(collection_id: str, to_collection: str) -> Call[None]:
    """
    Copy the ingested tiles of a collection into another one, except those whose path it has already.

    :param collection_id: Its id.
    :param to_collection: Id of the other one. It has the same bands, or none.
    :raises InvalidParameter: An id is not valid; nothing is sent.
    """
    query = {"toCollection": checked_id("to_collection", to_collection)}
    what = f"copy the tiles of collection {collection_id}"
    return Call("POST", Service.BYOC, f"{_collection(collection_id)}/copyTiles", nothing, what, query=query)


# ------------------------------------------------------------------------------------------------------------- tiles


def list_tiles(
    collection_id: str,
    count: int | None = None,
    token: str | None = None,
    *,
    sort: str | None = None,
    path: str | None = None,
    status: str | None = None,
) -> Call[TilePage]:
    """
    List the tiles of a collection, one page at a time.

    :param collection_id: Its id.
    :param count: How many to a page, 1 to 100. Default: the service's limit.
    :param token: ``links.next_token`` of the page before; ``None`` for the first page.
    :param sort: One of :data:`SORTS`.
    :param path: Only the tile with exactly this path.
    :param status: Only tiles with this status.
    :raises InvalidParameter: A parameter is not valid; nothing is sent.
    """
    if sort is not None and sort not in SORTS:
        raise InvalidParameter("sort", sort, f"must be one of {', '.join(SORTS)}", "Choose one.")
    if status is not None and status not in set(TileStatus):
        raise InvalidParameter("status", status, f"must be one of {', '.join(TileStatus)}", "Choose one.")
    query = _query(count=_counted(count), viewtoken=token, sort=sort, path=path, status=status)
    what = f"list the tiles of collection {collection_id}"
    return Call("GET", Service.BYOC, _tiles(collection_id), TilePage.model_validate, what, query=query)


def create_tile(collection_id: str, tile: Any) -> Call[ByocTile]:
    """
    Create a tile, which the service ingests then.

    The service has each path once and refuses it the second time, so the request may be repeated.

    :param collection_id: Id of the collection.
    :param tile: ``path``, optionally ``sensingTime`` and ``coverGeometry``.
    :raises InvalidParameter: Names each invalid field; nothing is sent.
    """
    body = validated(TileRequest, from_text(tile)).body()
    what = f"create tile {body['path']}"
    conflict = "The collection has a tile with this path: list it by its path"
    return Call("POST", Service.BYOC, _tiles(collection_id), tile_of, what, body=body, conflict=conflict)


def get_tile(collection_id: str, tile_id: str) -> Call[ByocTile]:
    """
    Read a tile.

    :param collection_id: Id of its collection.
    :param tile_id: Its id.
    :raises InvalidParameter: An id is not valid; nothing is sent.
    """
    return Call("GET", Service.BYOC, _tile(collection_id, tile_id), tile_of, f"read tile {tile_id}")


def update_tile(collection_id: str, tile_id: str, changes: Any) -> Call[None]:
    """
    Replace sensing time and cover geometry of a tile.

    :param collection_id: Id of its collection.
    :param tile_id: Its id.
    :param changes: ``sensingTime`` and ``coverGeometry``. What is missing is reset.
    :raises InvalidParameter: Names each invalid field; nothing is sent.
    """
    body = validated(TileChanges, from_text(changes)).body()
    path, what = _tile(collection_id, tile_id), f"update tile {tile_id}"
    return Call("PUT", Service.BYOC, path, nothing, what, body=body, conflict="Wait until the tile is ingested")


def delete_tile(collection_id: str, tile_id: str) -> Call[None]:
    """
    Delete a tile; its files stay.

    :param collection_id: Id of its collection.
    :param tile_id: Its id.
    :raises InvalidParameter: An id is not valid; nothing is sent.
    """
    return Call("DELETE", Service.BYOC, _tile(collection_id, tile_id), nothing, f"delete tile {tile_id}")


def reingest_tile(collection_id: str, tile_id: str) -> Call[None]:
    """
    Ingest a tile again, because its files have changed or were wrong.

    :param collection_id: Id of its collection.
    :param tile_id: Its id.
    :raises InvalidParameter: An id is not valid; nothing is sent.
    """
    path, what = f"{_tile(collection_id, tile_id)}/reingest", f"reingest tile {tile_id}"
    return Call("POST", Service.BYOC, path, nothing, what)


# -------------------------------------------------------------------------------------------------------- procedures


def obtain_collection(collection: Any) -> Procedure[tuple[Collection, bool]]:
    """
    Find the collection with a name and a bucket, or create it.

    When the answer to the request that creates it is lost, it is looked for by its name before anything else. If others
    create it at the same time, all of them take the oldest, and each deletes its own, which is empty.

    :param collection: As for :func:`create_collection`.
    :returns: The collection, and whether it was created now.
    :raises InvalidParameter: The collection is not valid.
    :raises OutcomeUnknown: The answer was lost, and there is no such collection yet. The next attempt looks again.
    """
    create = create_collection(collection)
    body = create.body or {}
    found = yield from find_collection(body["name"], body["s3Bucket"])
    if found is not None:
        return found, False
    try:
        made: Collection = yield create
    except OutcomeUnknown:
        found = yield from find_collection(body["name"], body["s3Bucket"])
        if found is None:
            raise
        return found, True
    found = yield from find_collection(body["name"], body["s3Bucket"])
    if found is None or found.id == made.id:
        return made, True
    tiles: TilePage = yield list_tiles(made.id, 1)
    if not tiles.data:
        yield delete_collection(made.id)
    return found, False


def find_collection(name: str, bucket: str) -> Procedure[Collection | None]:
    """
    Find the collection with a name and a bucket, the oldest if there are several; ``None`` if there is none.

    :param name: Its name.
    :param bucket: Name of its bucket.
    """
    found: list[Collection] = []
    # The search knows words; a name that is more than one word could be misread.
    search = name if _WORD.fullmatch(name) else None

    def take(page: CollectionPage) -> None:
        found.extend(each for each in page.data if each.name == name and _plain(each.s3_bucket or "") == _plain(bucket))

    yield from read_pages(lambda token: list_collections(_MOST_PER_PAGE, search, token), take)
    # Whoever looks has to find the same one.
    return min(found, key=lambda each: (each.created or datetime.max.replace(tzinfo=UTC), each.id), default=None)


def register_tile(collection_id: str, tile: Any) -> Procedure[tuple[ByocTile, bool]]:
    """
    Create a tile, or find the one that has its path already.

    :param collection_id: Id of the collection.
    :param tile: As for :func:`create_tile`.
    :returns: The tile, and whether it was created now.
    :raises UnexpectedAnswer: The service says that there is one, and lists none.
    """
    create = create_tile(collection_id, tile)
    try:
        made: ByocTile = yield create
    except Conflict:
        path = (create.body or {})["path"]
        page: TilePage = yield list_tiles(collection_id, path=path)
        for each in page.data:
            if each.path == path:
                return each, False
        raise UnexpectedAnswer(
            f"Could not {create.what}: the service says that there is one with this path, and lists none."
        ) from None
    return made, True


def _plain(bucket: str) -> str:
    # A bucket may be written with its tenant before it.
    return bucket.rpartition(":")[2]


def _collection_of(answer: Any) -> Collection:
    return CollectionAnswer.model_validate(answer).data


def _query(**given: object) -> dict[str, str]:
    return {name: str(value) for name, value in given.items() if value is not None}


def _counted(count: int | None) -> int | None:
    if count is not None and not 1 <= count <= _MOST_PER_PAGE:
        raise InvalidParameter("count", count, f"must be 1 to {_MOST_PER_PAGE}", "Read the list in pages.")
    return count


def _collection(collection_id: str) -> str:
    return f"/collections/{checked_id('collection_id', collection_id)}"


def _tiles(collection_id: str) -> str:
    return f"{_collection(collection_id)}/tiles"


def _tile(collection_id: str, tile_id: str) -> str:
    return f"{_tiles(collection_id)}/{checked_id('tile_id', tile_id)}"


def first_unsettled(collection_id: str, prefix: str, at_least: int) -> Procedure[str]:
    """
    Look whether the service has ended the ingestion of tiles; a few pages, not one request for each tile.

    :param collection_id: Id of the collection.
    :param prefix: What the paths of the tiles begin with; empty for all tiles.
    :param at_least: How many such tiles there must be.
    :returns: Why it has not ended; empty if it has.
    """
    for status in PENDING:
        found = yield from _count(collection_id, prefix, 1, status)
        if found:
            return f"some tiles are {status}"
    found = yield from _count(collection_id, prefix, at_least, None)
    return "" if found >= at_least else f"there are {found} of at least {at_least} tiles"


def _count(collection_id: str, prefix: str, enough: int, status: str | None) -> Procedure[int]:
    """Count tiles, up to a number."""
    found = 0
    per_page = min(enough, _MOST_PER_PAGE) if not prefix else _MOST_PER_PAGE
    walk = read_pages(lambda token: list_tiles(collection_id, max(1, per_page), token, status=status), lambda _: None)
    try:
        asked = next(walk)
        while found < enough:
            page: TilePage = yield asked
            found += sum(each.path.startswith(prefix) for each in page.data)
            asked = walk.send(page)
    except StopIteration:
        pass
    return found
