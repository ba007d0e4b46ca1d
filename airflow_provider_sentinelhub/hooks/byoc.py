"""The hook for BYOC: collections, tiles, and the registration of many of them."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.errors import InvalidRequest
from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from airflow_provider_sentinelhub.client.apis.byoc.answers import ByocTile, TilePage
    from airflow_provider_sentinelhub.client.http.call import Procedure
    from airflow_provider_sentinelhub.client.http.transport import Sender
    from airflow_provider_sentinelhub.client.lifecycle.collections import Collection

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_NEWS = 500


class SentinelHubByocHook(SentinelHubHook):
    """
    Interact with BYOC (Bring Your Own COG): collections of GeoTIFFs in your bucket, and the tiles in them.

    Each change costs one processing unit; reading costs nothing.

    .. seealso:: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Byoc.html

    :param sentinelhub_conn_id: The connection.
    """

    def collections(self, search: str | None = None) -> Iterator[Collection]:
        """
        Return the collections of the account, page by page.

        :param search: Only collections that fit these words, joined by ``|`` and ``&``.
        """
        from airflow_provider_sentinelhub.client.apis.byoc.calls import list_collections

        token = None
        while True:
            page = self.send(list_collections(search=search, token=token))
            yield from page.data
            token = page.links.next_token
            if not token or not page.data:
                return

    def create_collection(self, collection: Any) -> Collection:
        """
        Create a collection, a new one with each call. :meth:`obtain_collection` looks for it first.

        :param collection: ``name`` and ``s3Bucket``, optionally ``noData`` and ``additionalData``.
        :raises InvalidParameter: Names each invalid field; nothing is sent.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        return self.send(calls.create_collection(collection))

    def find_collection(self, name: str, bucket: str) -> Collection | None:
        """
        Find the collection with a name and a bucket, the oldest if there are several; ``None`` if there is none.

        :param name: Its name.
        :param bucket: Name of its bucket.
        :raises ApiError: The service refused the request.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        return self.sender.run(calls.find_collection(name, bucket))

    def obtain_collection(self, collection: Any) -> tuple[Collection, bool]:
        """
        Find the collection with a name and a bucket, or create it.

        :param collection: As for :meth:`create_collection`.
        :returns: The collection, and whether it was created now.
        :raises InvalidParameter: The collection is not valid; nothing is sent.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        return self.sender.run(calls.obtain_collection(collection))

    def get_collection(self, collection_id: str) -> Collection:
        """
        Read a collection.

        :param collection_id: Its id.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        return self.send(calls.get_collection(collection_id))

    def update_collection(self, collection_id: str, collection: Any) -> None:
        """
        Replace name, no-data value and bands of a collection.

        :param collection_id: Its id.
        :param collection: As for :meth:`create_collection`.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        self.send(calls.update_collection(collection_id, collection))

    def delete_collection(self, collection_id: str) -> None:
        """
        Delete a collection and its tiles; the files stay.

        :param collection_id: Its id.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        self.send(calls.delete_collection(collection_id))

    def copy_tiles(self, collection_id: str, to_collection: str) -> None:
        """
        Copy the ingested tiles of a collection into another one, except those whose path it has already.

        :param collection_id: Its id.
        :param to_collection: Id of the other one.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        self.send(calls.copy_tiles(collection_id, to_collection))

    def tiles(
        self, collection_id: str, *, sort: str | None = None, path: str | None = None, status: str | None = None
    ) -> Iterator[ByocTile]:
        """
        Return the tiles of a collection, page by page.

        :param collection_id: Its id.
        :param sort: ``created`` or ``path``, with ``:asc`` or ``:desc``.
        :param path: Only the tile with exactly this path.
        :param status: Only tiles with this status.
        """
        from airflow_provider_sentinelhub.client.apis.byoc.calls import list_tiles
        from airflow_provider_sentinelhub.client.lifecycle.pages import read_pages

        pages: list[TilePage] = []
        walk = read_pages(
            lambda token: list_tiles(collection_id, 100, token, sort=sort, path=path, status=status), pages.append
        )
        call = next(walk)
        while True:
            page = self.send(call)  # type: ignore[arg-type]  # a walk yields no pauses
            yield from page.data
            try:
                call = walk.send(page)
            except StopIteration:
                return
            pages.clear()

    def create_tile(self, collection_id: str, tile: Any) -> tuple[ByocTile, bool]:
        """
        Create a tile, or find the one with the same path.

        :param collection_id: Id of the collection.
        :param tile: ``path``, optionally ``sensingTime`` and ``coverGeometry``.
        :returns: The tile, and whether it was created now.
        :raises InvalidParameter: Names each invalid field; nothing is sent.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        return self.sender.run(calls.register_tile(collection_id, tile))

    def get_tile(self, collection_id: str, tile_id: str) -> ByocTile:
        """
        Read a tile.

        :param collection_id: Id of its collection.
        :param tile_id: Its id.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        return self.send(calls.get_tile(collection_id, tile_id))

    def update_tile(self, collection_id: str, tile_id: str, changes: Any) -> None:
        """
        Replace sensing time and cover geometry of a tile.

        :param collection_id: Id of its collection.
        :param tile_id: Its id.
        :param changes: ``sensingTime`` and ``coverGeometry``. What is missing is reset.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        self.send(calls.update_tile(collection_id, tile_id, changes))

    def delete_tile(self, collection_id: str, tile_id: str) -> None:
        """
        Delete a tile; its files stay.

        :param collection_id: Id of its collection.
        :param tile_id: Its id.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        self.send(calls.delete_tile(collection_id, tile_id))

    def reingest_tile(self, collection_id: str, tile_id: str) -> None:
        """
        Ingest a tile again, because its files have changed or were wrong.

        :param collection_id: Id of its collection.
        :param tile_id: Its id.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        self.send(calls.reingest_tile(collection_id, tile_id))

    def present(self, collection_id: str, paths: Container[str]) -> dict[str, ByocTile]:
        """
        Return the tiles of a collection that have certain paths, by path. Reads the list in pages.

        :param collection_id: Its id.
        :param paths: The paths.
        """
        return {tile.path: tile for tile in self.tiles(collection_id, sort="path:asc") if tile.path in paths}

    def why_unsettled(self, collection_id: str, prefix: str = "", at_least: int = 0) -> str:
        """
        Return why the ingestion of tiles has not ended; empty if it has.

        :param collection_id: Id of the collection.
        :param prefix: What the paths of the tiles begin with. Default: all tiles.
        :param at_least: How many such tiles there must be.
        """
        from airflow_provider_sentinelhub.client.apis.byoc.calls import first_unsettled

        return self.sender.run(first_unsettled(collection_id, prefix, at_least))

    def register(
        self,
        collection_id: str,
        new: Iterable[Mapping[str, Any]],
        again: Iterable[ByocTile] = (),
        *,
        concurrency: int,
        stop: threading.Event,
    ) -> int:
        """
        Create tiles and reingest others, in parallel; all wait together when the service limits the rate.

        :param collection_id: Id of the collection.
        :param new: Bodies of the tiles to create; those whose path exists are left as they are.
        :param again: Tiles to reingest.
        :param concurrency: Maximum number of parallel requests.
        :param stop: Set to send no further requests.
        :returns: How many changes the service made, each of which costs one processing unit.
        :raises ApiError: The service refused a tile; no further requests are sent.
        """
        from airflow_provider_sentinelhub.client.apis.byoc import calls

        def create(body: Mapping[str, Any]) -> Procedure[bool]:
            _, is_new = yield from calls.register_tile(collection_id, body)
            return is_new

        def repeat(tile: ByocTile) -> Procedure[bool]:
            try:
                yield calls.reingest_tile(collection_id, tile.id)
            except InvalidRequest as e:
                # Of a request that was sent again because its answer was lost. What became of the tile is read later.
                log.info("Tile %s is not reingested: %s", tile.path, e)
            return True

        def work() -> Iterator[Callable[[], Procedure[bool]]]:
            for body in new:
                yield lambda body=body: create(body)  # type: ignore[misc]  # bound now, not when it is called
            for tile in again:
                yield lambda tile=tile: repeat(tile)  # type: ignore[misc]  # as above

        return self._in_parallel(work(), concurrency, stop)

    def _in_parallel(
        self, work: Iterator[Callable[[], Procedure[bool]]], concurrency: int, stop: threading.Event
    ) -> int:
        new_sender, local = self._new_sender(), threading.local()

        def carry_out(one: Callable[[], Procedure[bool]]) -> bool:
            if not hasattr(local, "sender"):
                local.sender = new_sender()
            done: bool = local.sender.run(one())
            return done

        made = ended = 0
        running: set[Future[bool]] = set()
        pool = ThreadPoolExecutor(concurrency, "sentinelhub-byoc")
        try:
            while not stop.is_set():
                running |= {pool.submit(carry_out, one) for one in islice(work, concurrency - len(running))}
                if not running:
                    break
                done, running = wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                for each in done:
                    made += each.result()
                    ended += 1
                    if ended % _NEWS == 0:
                        log.info("%d tiles registered", ended)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return made

    def _new_sender(self) -> Callable[[], Sender]:
        """Read the connection in this thread, which can ask Airflow, and return a factory of senders for others."""
        from airflow_provider_sentinelhub.client.http.auth import token_source
        from airflow_provider_sentinelhub.client.http.transport import Sender
        from airflow_provider_sentinelhub.hooks.connections import client_credentials

        address = self.address
        tokens = token_source(client_credentials(self.facts, address))
        return lambda: Sender(address, tokens)
