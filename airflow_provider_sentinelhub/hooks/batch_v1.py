"""The hook for Batch Processing V1: what the service's Python client did with it, under the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from airflow_provider_sentinelhub.client.errors import NotFound, UnexpectedAnswer
from airflow_provider_sentinelhub.hooks.batch import SentinelHubBatchHook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from airflow_provider_sentinelhub.client.apis.batch_v1.answers import BatchV1Task, Tile
    from airflow_provider_sentinelhub.client.apis.batch_v1.collections import Collection
    from airflow_provider_sentinelhub.client.http.call import Call
    from airflow_provider_sentinelhub.client.lifecycle.tasks import Links
    from airflow_provider_sentinelhub.client.lifecycle.tiling_grids import GridDescription

    Request = str | BatchV1Task

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

_PAGES = 1000


class _Page(Protocol[T_co]):
    @property
    def data(self) -> Sequence[T_co]: ...

    @property
    def links(self) -> Links: ...


class SentinelHubBatchV1Hook(SentinelHubBatchHook):
    """
    Interact with Batch Processing V1.

    The service has announced the end of this API. It is gone from the reference of the AWS deployments (2026). On the
    Copernicus Data Space Ecosystem it was last seen, deprecated, in March 2025. Use Batch Processing V2 for new work.

    Each method has a counterpart in the class ``SentinelHubBatch`` of sentinelhub-py 3.11.1, the last version with this
    API: see ``docs/batch_v1_operations.md``. Each sends its request once and waits for nothing. The operators submit
    a batch once for each intent, check its budget, and wait; prefer them where they do what you need.

    A ``request`` below is a batch request of the service: its id, or what a method here returned.

    .. seealso:: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html

    :param sentinelhub_conn_id: The Sentinel Hub connection.
    :param aws_conn_id: The AWS connection, to read and write the bucket here. Nothing of it is sent to the service,
        which needs a bucket policy instead.
    """

    def __init__(
        self,
        sentinelhub_conn_id: str = SentinelHubBatchHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__("batch-v1", sentinelhub_conn_id, aws_conn_id, **kwargs)

    # ------------------------------------------------------------------------------------------------- batch requests

    def create_request(
        self,
        process_request: Mapping[str, Any],
        tiling_grid: Mapping[str, Any],
        output: Mapping[str, Any] | None = None,
        bucket_name: str | None = None,
        description: str | None = None,
        **fields: Any,
    ) -> BatchV1Task:
        """
        Check a request and create it. Costs nothing until it is analysed or started.

        Each call creates another one.

        :param process_request: The request of the Process API, as a dict.
        :param tiling_grid: See :meth:`tiling_grid`.
        :param output: See :meth:`output`. Exactly one of it, ``bucket_name`` and ``zarrOutput`` is needed.
        :param bucket_name: Name of the bucket, for the default paths.
        :param description: Text to recognise it by.
        :param fields: Further fields as the service spells them, e.g. ``zarrOutput``.
        :raises InvalidParameter: Names each invalid field, its value, the rule and the fix; nothing was sent.
        """
        given = {
            "processRequest": process_request,
            "tilingGrid": tiling_grid,
            "output": output,
            "bucketName": bucket_name,
            "description": description,
            **fields,
        }
        return self.send(self.api.calls.create(self.prepare(_defined(given))))

    @staticmethod
    def tiling_grid(
        grid_id: int, resolution: float, buffer: tuple[int, int] | None = None, **fields: Any
    ) -> dict[str, Any]:
        """
        Return the ``tilingGrid`` of a request.

        :param grid_id: Id of the grid; 0 is one.
        :param resolution: In units of the grid: metres or degrees.
        :param buffer: Pixels added on each side of a tile, horizontally and vertically.
        :param fields: Further fields as the service spells them.
        """
        around = {} if buffer is None else {"bufferX": buffer[0], "bufferY": buffer[1]}
        return {"id": grid_id, "resolution": resolution, **fields, **around}

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
        responses: Sequence[Any] | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """
        Return the ``output`` of a request.

        :param default_tile_path: URL of a folder, or a template with ``<requestId>``, ``<tileName>``, ``<tileId>``,
            ``<outputId>`` and ``<format>``.
        :param overwrite: Whether existing files are overwritten; otherwise the request fails. Default: no.
        :param skip_existing: Whether tiles whose files all exist are skipped. Default: no.
        :param cog_output: Whether to write cloud optimised GeoTIFFs. Default: no.
        :param cog_parameters: How these are written.
        :param create_collection: Whether to create a batch collection of the results. Default: no.
        :param collection_id: Id of the batch collection to add the results to.
        :param responses: Path templates of single outputs.
        :param fields: Further fields as the service spells them.
        """
        return _defined(
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
    ) -> Iterator[BatchV1Task]:
        """
        Yield the account's batch requests, reading a page when it is needed.

        :param user_id: Only those of this user. Not in the service's OpenAPI document.
        :param search: Only those that match this text.
        :param sort: ``created``, ``created:desc``, ``status`` or ``status:desc``.
        :param collection_id: Only those of this batch collection.
        :param count: Requests to a page. Default: as the service likes.
        """

    def get_latest_request(self) -> BatchV1Task:
        """
        Return the batch request that was created last.

        :raises NotFound: There is none.
        """
        for latest in self.iter_requests(sort="created:desc", count=1):
            return latest
        raise NotFound("The account has no batch request.")

    def get_request(self, request: Request) -> BatchV1Task:
        """
        Read a batch request.

        :param request: The request.
        :raises NotFound: It does not exist.
        """

    def update_request(
        self, request: Request, output: Mapping[str, Any] | None = None, description: str | None = None, **fields: Any
    ) -> BatchV1Task:
        """
        Change the description of a batch request, or its collection.

        :param request: The request; not while it is being processed or waits for it.
        :param output: ``{"collectionId": ...}``; ``None`` there takes it out of its collection.
        :param description: The new text. The operators find their batch by what they wrote there.
        :param fields: Further fields as the service spells them.
        :raises Conflict: It is being processed.
        """

    def delete_request(self, request: Request) -> None:
        """
        Delete a batch request. This cannot be undone.

        :param request: The request; not while it is being analysed or processed, or if tiles were processed.
        :raises Conflict: Its state does not allow it.
        """
