"""Reads many small objects in parallel: one after the other, each would cost a round trip."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from airflow_provider_sentinelhub.artifacts.storage.storage import ObjectMeta, Storage

IN_FLIGHT = 32
"""Parallel requests."""

MAX_BYTES_IN_FLIGHT = 64 * 1024 * 1024
"""Bytes requested, or read and not yet taken by the caller, at a time; a larger object is read alone."""

_WAITING = 2 * IN_FLIGHT
Found = tuple[str, "tuple[bytes, ObjectMeta] | ArtifactCorrupt | None"]


def read_many(storage: Storage, objects: Iterable[tuple[str, int]]) -> Iterator[Found]:
    """
    Read objects in the given order: URL, and content with metadata.

    Both are replaced by ``None`` for an object that does not exist, and by the error for one that is too large. Reading
    waits for the caller, so memory grows neither with the number of objects nor with their sizes.

    :param storage: Where the bucket is.
    :param objects: Their URLs, and the bytes they have as far as the listing knows.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    # Several threads importing it for the first time may see it half initialised.
    import obstore.store  # noqa: F401 - see above

    waiting: deque[tuple[int, Future[Found]]] = deque()
    in_flight = 0

    def read(url: str) -> Found:
        try:
            return url, storage.read_with_meta(url)
        except ArtifactMissing:
            return url, None
        except ArtifactCorrupt as error:
            return url, error

    def next_found() -> Found:
        nonlocal in_flight
        size, future = waiting.popleft()
        in_flight -= size
        return future.result()

    with ThreadPoolExecutor(IN_FLIGHT, "sentinelhub-read") as pool:
        try:
            for url, size in objects:
                while waiting and (len(waiting) >= _WAITING or in_flight + size > MAX_BYTES_IN_FLIGHT):
                    yield next_found()
                in_flight += size
                waiting.append((size, pool.submit(read, url)))
            while waiting:
                yield next_found()
        finally:
            for _, future in waiting:
                future.cancel()
