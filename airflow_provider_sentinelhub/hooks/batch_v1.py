"""The hook for Batch Processing V1: what the service's Python client could do with it, under the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import NotFound
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow_provider_sentinelhub.client.apis.batch_v1.answers import (
        BatchCollection,
        BatchV1Task,
        ListedBatchV1Task,
        Tile,
    )
    from airflow_provider_sentinelhub.client.http.call import Call, Procedure
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask
    from airflow_provider_sentinelhub.client.lifecycle.tiling_grids import GridDescription


class SentinelHubBatchV1Hook(SentinelHubBatchHook):
    """
    Interact with Batch Processing V1.

    The service has announced the end of this API. It is gone from the reference of the AWS deployments (2026). On the
    Copernicus Data Space Ecosystem it was last seen, deprecated, in March 2025. Use Batch Processing V2 for new work.

    Each method of ``SentinelHubBatch`` in sentinelhub-py 3.11.1, the last version with this API, has a counterpart
    here; ``docs/batch_v1_operations.md`` has the table. A method sends its request and does not wait for what follows.
    The operators submit a batch once, keep to a budget and wait.

    Where a method takes a batch request of the service, give its id or what another method returned.

    .. seealso:: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html

    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection, for the bucket. Only used here: no credentials are sent to the service,
        which has access by the bucket's policy.
    """

    def __init__(
        self,
        sentinelhub_conn_id: str = SentinelHubBatchHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__("batch-v1", sentinelhub_conn_id, aws_conn_id, **kwargs)

    def create_request(
        self,
        process_request: Any,
        tiling_grid: Mapping[str, Any],
        output: Mapping[str, Any] | None = None,
        bucket_name: str | None = None,
        description: str | None = None,
        **fields: Any,
    ) -> BatchV1Task:
        """
        Check a batch request and create it, a new one with each call.

        It costs nothing until it is analysed or started.

        :param process_request: The Process API request as a dict, or a ``SentinelHubRequest`` of sentinelhub-py.
        :param tiling_grid: What :meth:`tiling_grid` returns.
        :param output: What :meth:`output` returns. Give exactly one of ``output``, ``bucket_name`` and ``zarrOutput``.
        :param bucket_name: Name of the bucket, if all else is as the service likes it.
        :param description: Text to find it by.
        :param fields: Other fields as the service spells them, e.g. ``zarrOutput``.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix; nothing is sent.
        """
        request = {
            "processRequest": process_request,
            "tilingGrid": tiling_grid,
            "output": output,
            "bucketName": bucket_name,
            "description": description,
            **fields,
        }
        created: BatchV1Task = self.send(self.api.calls.create(self.prepare(_given(request))))  # type: ignore[assignment]  # what its spec says
        return created

    @staticmethod
    def tiling_grid(
        grid_id: int, resolution: float, buffer: tuple[int, int] | None = None, **fields: Any
    ) -> dict[str, Any]:
        """
        Return the part ``tilingGrid`` of a request. Nothing is sent.

        :param grid_id: Id of the tiling grid; 0 is one.
        :param resolution: In units of the grid, metres or degrees.
        :param buffer: Pixels added to each tile: left and right, top and bottom.
        :param fields: Other fields as the service spells them.
        """
        buffers = {} if buffer is None else dict(zip(("bufferX", "bufferY"), buffer, strict=True))
        return {"id": grid_id, "resolution": resolution, **buffers, **fields}

    @staticmethod
    def output(
        *,
        default_tile_path: str | None = None,
        overwrite: bool | None = None,
        skip_existing: bool | None = None,
        cog_output: bool | None = None,
        cog_parameters: Mapping[str, Any] | None = None,
        create_collection: bool | None = None,
        collection_id: str | None = None,
        responses: Sequence[Mapping[str, Any]] | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """
        Return the part ``output`` of a request. Nothing is sent.

        :param default_tile_path: URL of a folder, or a template with ``<requestId>``, ``<tileName>``, ``<tileId>``,
            ``<outputId>`` and ``<format>``.
        :param overwrite: Overwrite existing files. Default: the batch request fails if there are any.
        :param skip_existing: Skip tiles whose files all exist.
        :param cog_output: Write cloud optimised GeoTIFFs.
        :param cog_parameters: How to write them.
        :param create_collection: Create a batch collection with the results.
        :param collection_id: Id of the batch collection that the results are added to.
        :param responses: Paths of single outputs.
        :param fields: Other fields as the service spells them.
        """
        return _given(
            {
                "defaultTilePath": default_tile_path,
                "overwrite": overwrite,
                "skipExisting": skip_existing,
                "cogOutput": cog_output,
                "cogParameters": cog_parameters,
                "createCollection": create_collection,
                "collectionId": collection_id,
                "responses": responses,
                **fields,
            }
        )

    def iter_requests(
        self,
        user_id: str | None = None,
        search: str | None = None,
        sort: str | None = None,
        *,
        collection_id: str | None = None,
        count: int | None = None,
    ) -> Iterator[ListedBatchV1Task]:
        """
        Iterate over the account's batch requests. Each page is read when its first row is needed.

        :param user_id: Only those of this user. The service's reference does not have this parameter.
        :param search: Only those that match this text; the service does not document how.
        :param sort: ``created``, ``created:desc``, ``status`` or ``status:desc``. Default: the service's.
        :param collection_id: Only those that add their results to this batch collection.
        :param count: How many to a page. Default: the service's limit.
        :raises InvalidParameter: A value is not valid; nothing is sent.
        :raises ServiceUnavailable: The list has no end.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import calls

        return self._rows(
            lambda token: calls.listed(
                user_id=user_id, search=search, sort=sort, collection_id=collection_id, count=count, token=token
            )
        )

    def get_latest_request(self) -> ListedBatchV1Task:
        """
        Return the batch request that was created last.

        :raises NotFound: The account has none.
        """
        latest = next(self.iter_requests(sort="created:desc", count=1), None)
        if latest is None:
            raise NotFound("The account has no batch request.")
        return latest

    def get_request(self, request: str | BatchTask) -> BatchV1Task:
        """
        Read a batch request.

        :param request: The batch request.
        :raises NotFound: It does not exist.
        """
        found: BatchV1Task = self.get(_id(request))  # type: ignore[assignment]  # what its spec says
        return found

    def update_request(
        self,
        request: str | BatchTask,
        *,
        description: str | None = None,
        collection_id: str | None = None,
        unlink: bool = False,
    ) -> BatchV1Task:
        """
        Change the description of a batch request, or the batch collection that its results are added to.

        The operators find their batch by the tag in its description: do not remove it.

        :param request: The batch request.
        :param description: The description. Default: it stays.
        :param collection_id: Id of the batch collection. Default: it stays.
        :param unlink: Whether to take it out of its batch collection.
        :raises Conflict: It is being processed, or waits for it.
        :raises InvalidParameter: No change was given. No request is sent.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import calls

        return self.send(
            calls.update(_id(request), description=description, collection_id=collection_id, unlink=unlink)
        )

    def delete_request(self, request: str | BatchTask) -> None:
        """
        Delete a batch request. This cannot be undone.

        :param request: The batch request. One that is being analysed or processed has to be cancelled first.
        :raises Conflict: It is being analysed or processed, or tiles were processed.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import calls

        self.send(calls.delete(_id(request)))

    def start_analysis(self, request: str | BatchTask) -> None:
        """
        Analyse a batch request: the service checks it, finds its tiles and estimates its cost. Costs nothing.

        :param request: The batch request.
        :raises InvalidRequest: It is in another state than CREATED.
        """
        self._act(request, self.api.calls.analyse(_id(request)))

    def start_job(self, request: str | BatchTask) -> None:
        """
        Start a batch request. This costs processing units: the service reserves its own estimate at once.

        No budget is checked.

        :param request: The batch request.
        :raises InvalidRequest: It cannot be started in its state.
        :raises InsufficientProcessingUnits: The account has not enough processing units.
        """
        self._act(request, self.api.calls.start(_id(request)))

    def cancel_job(self, request: str | BatchTask) -> None:
        """
        Cancel a batch request. It cannot be started again, and tiles that were processed are paid for.

        :param request: The batch request.
        """
        self._act(request, self.api.calls.stop(_id(request)))

    def restart_job(self, request: str | BatchTask) -> None:
        """
        Process the failed tiles of a batch request again. This costs processing units.

        No budget is checked.

        :param request: The batch request.
        :raises InvalidRequest: Its status is not PARTIAL. It may be running already, after an earlier restart.
        """
        self._act(request, self.api.calls.restart(_id(request)))

    def iter_tiles(
        self, request: str | BatchTask, status: str | None = None, *, count: int | None = 100
    ) -> Iterator[Tile]:
        """
        Iterate over the tiles of an analysed batch request. Each page is read when its first row is needed.

        :param request: The batch request.
        :param status: Only tiles that are PENDING, SCHEDULED, QUEUED, PROCESSING, PROCESSED or FAILED. Default: all.
        :param count: How many to a page; ``None`` for the service's limit.
        :raises InvalidParameter: A value is not valid; nothing is sent.
        :raises ServiceUnavailable: The list has no end.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import calls

        request_id = _id(request)
        return self._rows(lambda token: calls.tiles(request_id, status, count, token))

    def get_tile(self, request: str | BatchTask, tile_id: int) -> Tile:
        """
        Read a tile of a batch request.

        :param request: The batch request.
        :param tile_id: Id of the tile.
        :raises NotFound: It does not exist.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import calls

        return self.send(calls.tile(_id(request), tile_id))

    def iter_collections(self, search: str | None = None, *, count: int | None = None) -> Iterator[BatchCollection]:
        """
        Iterate over the account's batch collections. Each page is read when its first row is needed.

        :param search: Only those that match this text; the service does not document how.
        :param count: How many to a page. Default: the service's limit.
        :raises ServiceUnavailable: The list has no end.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import collections

        return self._rows(lambda token: collections.listed(count, search, token))

    def get_collection(self, collection_id: str) -> BatchCollection:
        """
        Read a batch collection.

        :param collection_id: Its id.
        :raises NotFound: It does not exist.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import collections

        return self.send(collections.get(collection_id))

    def create_collection(self, name: str, s3_bucket: str) -> BatchCollection:
        """
        Create a batch collection, a new one with each call.

        :param name: Its name.
        :param s3_bucket: Name of the bucket of its files; it cannot be changed.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import collections

        return self.send(collections.create(name, s3_bucket))

    def update_collection(self, collection_id: str, name: str) -> None:
        """
        Rename a batch collection.

        :param collection_id: Its id.
        :param name: Its new name.
        :raises NotFound: It does not exist.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import collections

        self.send(collections.update(collection_id, name))

    def delete_collection(self, collection_id: str) -> None:
        """
        Delete a batch collection. This cannot be undone.

        :param collection_id: Its id.
        :raises Conflict: A batch request that is not FAILED or CANCELED adds its results to it.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import collections

        self.send(collections.delete(collection_id))

    def iter_tiling_grids(self) -> Iterator[GridDescription]:
        """
        Iterate over the tiling grids.

        :raises ServiceUnavailable: The list has no end.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import calls

        return self._rows(lambda token: calls.tiling_grids(token=token))

    def get_tiling_grid(self, grid_id: int) -> GridDescription:
        """
        Read a tiling grid.

        :param grid_id: Its id; 0 is one.
        :raises InvalidRequest: It does not exist.
        """
        from airflow_provider_sentinelhub.client.apis.batch_v1 import calls

        return self.send(calls.tiling_grid(grid_id))

    def _act(self, request: str | BatchTask, call: Call[None]) -> None:
        # For a while the service answers 404 to actions on a batch request that it has just created.
        is_new = not isinstance(request, str) and request.status == "CREATED"
        self.send(call.when_fresh() if is_new else call)

    def _rows(self, call: Callable[[str | None], Call[Any]]) -> Iterator[Any]:
        from airflow_provider_sentinelhub.client.lifecycle.pages import read_pages

        walk = read_pages(call, lambda _: None)
        # Not in a generator: what is wrong with the values is said before the first row is asked for.
        return self._walked(walk, next(walk))

    def _walked(self, walk: Procedure[int], asked: Any) -> Iterator[Any]:
        while True:
            page = self.send(asked)
            yield from page.data
            try:
                asked = walk.send(page)
            except StopIteration:
                return


def _id(request: str | BatchTask) -> str:
    return request if isinstance(request, str) else request.id


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
