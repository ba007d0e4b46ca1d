"""
Batch Processing V1: batch collections, to which tasks add their results.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html
"""

from __future__ import annotations

from typing import Final

from airflow_provider_sentinelhub.client.apis.batch_v1.answers import BatchCollection, CollectionPage
from airflow_provider_sentinelhub.client.apis.batch_v1.calls import SERVICE, check_id, counted, query
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.call import Call, Repeat, nothing

_PATH: Final = "/collections"


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
    return Call("DELETE", SERVICE, _path_of(collection_id), nothing, f"delete batch collection {collection_id}")


def _path_of(collection_id: str) -> str:
    return f"{_PATH}/{check_id('collection_id', collection_id)}"


def _filled(field: str, text: str) -> str:
    if not text or not text.strip():
        raise InvalidParameter(field, text, "is required", "Give a text that is not empty.")
    return text
