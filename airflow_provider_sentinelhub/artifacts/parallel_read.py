"""Many small objects, read at the same time: one after the other a bucket's distance is paid for each of them."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import ArtifactMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from airflow_provider_sentinelhub.artifacts.storage import ObjectMeta, Storage

IN_FLIGHT = 32
"""Requests at a time."""

_WAITING = 2 * IN_FLIGHT
Found = tuple[str, tuple[bytes, "ObjectMeta"] | None]


def read_many(storage: Storage, urls: Iterable[str]) -> Iterator[Found]:
    """
    Read objects in the order they are asked for: URL, and content with what the bucket knows about it.

    In place of both stands ``None`` for an object that is not there. No more is asked for than is taken, so memory does
    not grow with the number of objects.

    :param storage: Where the bucket is.
    :param urls: Their URLs.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    # Imported by several threads at once for the first time, it may be found half made.
    import obstore.store  # noqa: F401 - see above

    waiting: deque[Future[Found]] = deque()

    def read(url: str) -> Found:
        try:
            return url, storage.read_with_meta(url)
        except ArtifactMissing:
            return url, None

    with ThreadPoolExecutor(IN_FLIGHT, "sentinelhub-read") as pool:
        try:
            for url in urls:
                waiting.append(pool.submit(read, url))
                if len(waiting) >= _WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
