"""
Batch Processing V1: its Calls, and its requests: check, delivery. Nothing here does I/O.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow_provider_sentinelhub.client.apis.batch_v1.answers import (
    TILE_ID,
    BatchV1Task,
    BatchV1TaskPage,
    Tile,
    TilePage,
)
from airflow_provider_sentinelhub.client.apis.batch_v1.models import BatchV1Request
from airflow_provider_sentinelhub.client.errors import InvalidParameter
from airflow_provider_sentinelhub.client.http.call import MIB, Call, Procedure, nothing
from airflow_provider_sentinelhub.client.http.deployments import Service
from airflow_provider_sentinelhub.client.lifecycle import tiling_grids as grids
from airflow_provider_sentinelhub.client.lifecycle.pages import read_pages
from airflow_provider_sentinelhub.client.lifecycle.tasks import ID, TaskCalls
from airflow_provider_sentinelhub.client.models import from_text, validated
from airflow_provider_sentinelhub.client.requests.findings import each_of, part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_sentinelhub.client.lifecycle.spec import Rerun
    from airflow_provider_sentinelhub.client.lifecycle.tiling_grids import GridDescription, GridPage

SERVICE: Final = Service.BATCH_V1
TASKS: Final = TaskCalls(
    SERVICE,
    "/process",
    task=BatchV1Task,
    listed=BatchV1TaskPage,
    stop_action="cancel",
    restart_action="restartpartial",
)
_CREDENTIALS: Final = frozenset({"accessKey", "secretAccessKey", "iamRoleARN", "credentials"})


class TileStatus(StrEnum):
    """The status of a tile."""

    PENDING = "PENDING"
    SCHEDULED = "SCHEDULED"
    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    PROCESSED = "PROCESSED"
    FAILED = "FAILED"


class Sort(StrEnum):
    """The order of a list of tasks."""

    CREATED = "created"
    NEWEST = "created:desc"
    STATUS = "status"
    STATUS_DESCENDING = "status:desc"


# ---------------------------------------------------------------------------------------------------------- requests


def check(request: Any) -> dict[str, Any]:
    """
    Check a request against the models, and return the JSON to send.

    Further checks are in :mod:`airflow_provider_sentinelhub.client.preflight` and in the API's ``rules``.

    :param request: The service's own request as a dict, or as the JSON text of one.
    :raises InvalidParameter: Names each field that is wrong, its value, its rule and its fix.
    """
    given = from_text(request)
    secret = [
        InvalidParameter(
            field,
            "***",
            "must not be in a request of Batch Processing V1, which sends no credentials: the policy of the bucket "
            "gives the service access",
            "Remove it, and add the service's account to the bucket policy.",
        )
        for field in _credentials_in(given)
    ]
    try:
        body = validated(BatchV1Request, given).body()
    except InvalidParameter as e:
        named = {each.field for each in secret}
        secret += [each for each in each_of(e) if each.field not in named]
    if secret:
        raise secret[0].with_others(secret[1:])
    return body


def _credentials_in(request: Any) -> Iterator[str]:
    waiting: list[tuple[str, Any]] = [("", request)]
    while waiting:
        path, value = waiting.pop()
        items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        for name, item in items:
            inner = f"{path}.{name}" if path else str(name)
            if name in _CREDENTIALS:
                yield inner
            elif isinstance(item, (Mapping, list)):
                waiting.append((inner, item))


def delivery_url(request: Mapping[str, Any]) -> str:
    """
    Return the URL that results are delivered to; empty if there is none.

    :param request: The request, also as the service returns it.
    """
    bucket = part(request, "bucketName")
    paths = (
        f"s3://{bucket}/" if isinstance(bucket, str) and bucket else None,
        part(request, "output", "defaultTilePath"),
        part(request, "zarrOutput", "path"),
        part(request, "output", "responses", 0, "tilePath"),
    )
    return next((path for path in paths if isinstance(path, str) and path), "")


def by_policy(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """
    Return the fields of a request that name a bucket, and the URLs in them.

    The service reads and writes these buckets because their policies let it: no credentials are sent.

    :param request: The request, also as the service returns it.
    """
    bucket = part(request, "bucketName")
    if isinstance(bucket, str) and bucket:
        yield "bucketName", f"s3://{bucket}/"
    responses = part(request, "output", "responses")
    paths = [("output.defaultTilePath", part(request, "output", "defaultTilePath"))]
    paths.append(("zarrOutput.path", part(request, "zarrOutput", "path")))
    for number, response in enumerate(responses if isinstance(responses, list) else ()):
        paths.append((f"output.responses.{number}.tilePath", part(response, "tilePath")))
    for field, path in paths:
        if isinstance(path, str) and path:
            yield field, path


def check_rerun(body: Mapping[str, Any]) -> NoReturn:  # noqa: ARG001 - as in every spec
    """
    Refuse to rerun single features: requests of this API read no GeoPackage.

    :param body: The request.
    :raises InvalidParameter: Always.
    """
    raise InvalidParameter(
        "on_partial",
        "rerun",
        "needs a request that reads its features from a GeoPackage, and Batch Processing V1 has none",
        "Use on_partial='restart': the service then processes the failed tiles again, in the same task.",
    )


def rerun(body: Mapping[str, Any], what: Rerun) -> NoReturn:  # noqa: ARG001 - as in every spec
    """
    Refuse to write the request of a rerun, see :func:`check_rerun`.

    :param body: The request.
    :param what: The features.
    :raises InvalidParameter: Always.
    """
    check_rerun(body)


def features_url(_: Mapping[str, Any]) -> None:
    """Return the URL of the GeoPackage that a request reads its features from: there is none."""


# ------------------------------------------------------------------------------------------------------------- tasks


def listed(
    *,
    collection_id: str | None = None,
    count: int | None = None,
    search: str | None = None,
    sort: Sort | str | None = None,
    user_id: str | None = None,
    token: str | None = None,
) -> Call[BatchV1TaskPage]:
    """
    List the account's tasks, one page at a time.

    :param collection_id: Only tasks that add their results to this batch collection.
    :param count: How many to a page; the service has an upper limit. Default: that limit.
    :param search: Only tasks that fit this text; the service does not document how.
    :param sort: The order. Default: the service's.
    :param user_id: Only tasks of this user. The reference does not have it; the service's Python client did.
    :param token: ``links.next_token`` of the page before; ``None`` for the first page.
    :raises InvalidParameter: A value is not valid; nothing is sent.
    """
    if collection_id is not None:
        check_id("collection_id", collection_id)
    return Call(
        "GET",
        SERVICE,
        TASKS.path,
        BatchV1TaskPage.model_validate,
        "list the batch tasks",
        query=query(
            collectionId=collection_id,
            count=counted(count),
            search=search,
            sort=None if sort is None else _one_of("sort", sort, Sort),
            userid=user_id,
            viewtoken=token,
        ),
        # Each of a hundred tasks contains its request, including geometries.
        max_bytes=64 * MIB,
    )


def update(
    task_id: str, *, description: str | None = None, collection_id: str | None = None, unlink: bool = False
) -> Call[BatchV1Task]:
    """
    Change the description of a task, or the batch collection that its results are in.

    The service refuses this with 409 while a task is processed or waits for it. A task is found again by the tag in
    its description: a description without it loses the task.

    :param task_id: Its id.
    :param description: The description. Default: it stays.
    :param collection_id: The batch collection. Default: it stays.
    :param unlink: Take the task out of its batch collection. Default: it stays there.
    :raises InvalidParameter: An id is not valid, or no change was given. No request is sent.
    """
    body: dict[str, Any] = {} if description is None else {"description": description}
    if collection_id is not None:
        if unlink:
            raise InvalidParameter("unlink", unlink, "contradicts collection_id", "Give one of them.")
        body["output"] = {"collectionId": check_id("collection_id", collection_id)}
    elif unlink:
        # By the reference, output without a collectionId unlinks the task.
        body["output"] = {}
    if not body:
        fix = "Give a description or a collection_id, or unlink=True."
        raise InvalidParameter("description", None, "is required where nothing else is changed", fix)
    path = TASKS.path_of(task_id)
    return Call("PUT", SERVICE, path, BatchV1Task.model_validate, f"update batch task {task_id}", body=body)


def delete(task_id: str) -> Call[None]:
    """
    Delete a task that is not running and has no processed tiles; the service refuses others with 409.

    If an answer is lost the call is sent again, and 404 may then mean that the first one has deleted it.

    :param task_id: Its id.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    conflict = "Cancel the task first if it is running; one that has processed tiles cannot be deleted"
    path, what = TASKS.path_of(task_id), f"delete batch task {task_id}"
    return Call("DELETE", SERVICE, path, nothing, what, conflict=conflict)


# ------------------------------------------------------------------------------------------------------------- tiles


def tiles(
    task_id: str, status: TileStatus | str | None = None, count: int | None = 100, token: str | None = None
) -> Call[TilePage]:
    """
    List the tiles of a task, one page at a time.

    :param task_id: Its id.
    :param status: Only tiles with this status. Default: all.
    :param count: How many to a page; the service has an upper limit, and ``None`` means that limit.
    :param token: ``links.next_token`` of the page before; ``None`` for the first page.
    :raises InvalidParameter: A value is not valid; nothing is sent.
    """
    return Call(
        "GET",
        SERVICE,
        f"{TASKS.path_of(task_id)}/tiles",
        TilePage.model_validate,
        f"list the tiles of batch task {task_id}",
        query=query(
            status=None if status is None else _one_of("status", status, TileStatus),
            count=counted(count),
            viewtoken=token,
        ),
    )


def has_failed(task_id: str) -> Call[bool]:
    """
    Ask whether a task has failed tiles.

    :param task_id: Its id.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    page = tiles(task_id, TileStatus.FAILED, 1)
    return Call(
        page.method, page.service, page.path, lambda answer: bool(page.parse(answer).data), page.what, page.query
    )


def tile(task_id: str, tile_id: int) -> Call[Tile]:
    """
    Read a tile of a task.

    :param task_id: Its id.
    :param tile_id: Id of the tile.
    :raises InvalidParameter: An id is not valid; nothing is sent.
    """
    if not re.fullmatch(TILE_ID, str(tile_id)) or isinstance(tile_id, bool):
        fix = "Give the id as in the list of tiles, e.g. 1234567."
        raise InvalidParameter("tile_id", tile_id, "is not the id of a tile, which is a whole number", fix)
    path = f"{TASKS.path_of(task_id)}/tiles/{tile_id}"
    return Call("GET", SERVICE, path, Tile.model_validate, f"read tile {tile_id} of batch task {task_id}")


def read_tiles(
    task_id: str, take: Callable[[TilePage], None], status: TileStatus | str | None = None
) -> Procedure[int]:
    """
    Read all tiles of a task page by page, see :func:`~airflow_provider_sentinelhub.client.lifecycle.pages.read_pages`.

    :param task_id: Its id.
    :param take: Gets each page.
    :param status: Only tiles with this status. Default: all.
    :returns: Number of pages.
    :raises InvalidParameter: A value is not valid; nothing is sent.
    :raises ServiceUnavailable: The list has no end.
    """
    return read_pages(lambda token: tiles(task_id, status, token=token), take)


# ------------------------------------------------------------------------------------------------------------- grids


def tiling_grids(count: int | None = None, token: str | None = None) -> Call[GridPage]:
    """
    List the tiling grids, one page at a time.

    :param count: How many to a page. Default: as many as the service likes.
    :param token: ``links.next_token`` of the page before; ``None`` for the first page.
    :raises InvalidParameter: The count is not valid; nothing is sent.
    """
    return grids.tiling_grids(SERVICE, counted(count), token)


def tiling_grid(grid_id: int) -> Call[GridDescription]:
    """
    Read a tiling grid.

    :param grid_id: Its id; 0 is one.
    :raises InvalidParameter: The id is not valid; nothing is sent.
    """
    return grids.tiling_grid(SERVICE, grid_id)


# ------------------------------------------------------------------------------------------------------------ values


def query(**given: object) -> dict[str, str]:
    """
    Return query parameters, without those that are ``None``.

    :param given: By name.
    """
    return {name: str(value) for name, value in given.items() if value is not None}


def counted(count: int | None) -> int | None:
    """
    Return how many to a page.

    :param count: The number; ``None`` for the service's limit.
    :raises InvalidParameter: It is not a number of 1 or more.
    """
    if count is not None and not re.fullmatch(r"[1-9][0-9]{0,8}", str(count)):
        raise InvalidParameter("count", count, "is not a number of 1 or more", "Give e.g. 100, or leave it out.")
    return count


def _one_of(field: str, value: str, known: type[StrEnum]) -> str:
    if value not in set(known):
        rule = f"is not a known {field}"
        raise InvalidParameter(field, value, rule, f"Choose one of {', '.join(known)}.")
    return str(value)


def check_id(field: str, given: str) -> str:
    """
    Return an id, which becomes part of a URL.

    :param field: Name of the parameter.
    :param given: The id, possibly rendered from a template.
    :raises InvalidParameter: It is not a valid id.
    """
    if not re.fullmatch(ID, str(given)) or str(given) == "None":
        rule = "is not an id, which consists of letters, digits and hyphens"
        raise InvalidParameter(field, given, rule, "Give the id as the service shows it.")
    return given


def data_type(request: Mapping[str, Any]) -> str:
    """
    Return the ``type`` of a data source that reads the collection which results are added to; empty if there is none.

    :param request: The request as the service returns it.
    """
    number = part(request, "output", "collectionId")
    return f"batch-{number}" if isinstance(number, str) and re.fullmatch(ID, number) else ""
