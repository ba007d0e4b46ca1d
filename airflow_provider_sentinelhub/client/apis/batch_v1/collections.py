"""
Batch Processing V1: batch collections, to which tasks add their results.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from airflow_provider_sentinelhub.client.apis.batch_v1.answers import BatchCollection, CollectionPage
from airflow_provider_sentinelhub.client.apis.batch_v1.calls import SERVICE, check_id, counted, delivery_url, query
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.call import Call, Repeat, nothing
from airflow_provider_sentinelhub.client.lifecycle.tasks import ID
from airflow_provider_sentinelhub.client.requests.findings import Advice, Finding, Json, Lookup, part

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH: Final = "/collections"
_FIELD: Final = "output.collectionId"


def create(name: str, s3_bucket: str) -> Call[BatchCollection]:
    """
    Create a batch collection.

    :param name: Its name.
    :param s3_bucket: Name of the bucket of its files.
    :raises InvalidParameter: The name or the bucket is empty; nothing is sent.
    """
    body = {"name": _filled("name", name), "s3Bucket": _filled("s3_bucket", s3_bucket)}
    parse, what = BatchCollection.model_validate, "create a batch collection"
    return Call("POST", SERVICE, _PATH, parse, what, body=body, repeat=Repeat.NEVER)


def listed(count: int | None = None, search: str | None = None, token: str | None = None) -> Call[CollectionPage]:
    """
    List the batch collections, one page at a time.

    :param count: How many to a page; the service has an upper limit. Default: that limit.
    :param search: Only collections that fit this text; the service does not document how.
    :param token: ``links.next_token`` of the page before; ``None`` for the first page.
    :raises InvalidParameter: The count is not valid; nothing is sent.
    """
    asked = query(count=counted(count), search=search, viewtoken=token)
    return Call("GET", SERVICE, _PATH, CollectionPage.model_validate, "list the batch collections", query=asked)


def get(collection_id: str) -> Call[BatchCollection]:
    """
    Read a batch collection.

    :param collection_id: Its id.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    what = f"read batch collection {collection_id}"
    return Call("GET", SERVICE, _path_of(collection_id), BatchCollection.model_validate, what)


def update(collection_id: str, name: str) -> Call[None]:
    """
    Rename a batch collection.

    :param collection_id: Its id.
    :param name: Its new name.
    :raises InvalidParameter: The id is not valid, or the name is empty; nothing is sent.
    """
    what = f"update batch collection {collection_id}"
    return Call("PUT", SERVICE, _path_of(collection_id), nothing, what, body={"name": _filled("name", name)})


def delete(collection_id: str) -> Call[None]:
    """
    Delete a batch collection; the service refuses with 409 if a task uses it that is not FAILED or CANCELED.

    :param collection_id: Its id.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    what = f"delete batch collection {collection_id}"
    return Call(
        "DELETE", SERVICE, _path_of(collection_id), nothing, what, conflict="Delete the tasks that use it first"
    )


def lookups(body: Json) -> Iterator[Lookup]:
    """
    Return what a request refers to: the batch collection that its results are added to, if it names one.

    :param body: A checked request.
    """
    number = part(body, *_FIELD.split("."))
    if isinstance(number, str) and re.fullmatch(ID, number):
        yield Lookup(_FIELD, number, get(number), lambda found: compare(body, found))


def compare(body: Json, found: BatchCollection) -> Iterator[Finding]:
    """
    Find results that may not fit into a batch collection. What the service accepts is not documented.

    :param body: A checked request.
    :param found: The collection.
    """
    grid, other = part(body, "tilingGrid", "id"), found.batch_data.tiling_grid_id
    if other is not None and grid != other:
        fact = f"the tiles of the batch collection are those of tiling grid {other}, and this request has {grid}"
        yield Advice("tilingGrid.id", fact, "Use its tiling grid, or another collection.")
    path = delivery_url(body)
    bucket = path.partition("://")[2].partition("/")[0]
    if found.s3_bucket and bucket and bucket.rpartition(":")[2] != found.s3_bucket.rpartition(":")[2]:
        fact = f"the files of the batch collection are in the bucket {found.s3_bucket}, and this request names {bucket}"
        yield Advice(_FIELD, fact, "Deliver there, or use another collection.")


def _path_of(collection_id: str) -> str:
    return f"{_PATH}/{check_id('collection_id', collection_id)}"


def _filled(field: str, text: str) -> str:
    if not text or not text.strip():
        raise InvalidParameter(field, text, "is required", "Give a text that is not empty.")
    return text
