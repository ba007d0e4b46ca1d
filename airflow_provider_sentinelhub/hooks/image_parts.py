"""An image in parts: requested in parallel, each kept in the bucket as soon as it has arrived."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.costs.amounts import pu_text
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.images.parts import KeptPart, Parts
    from airflow_provider_sentinelhub.client.http.transport import Sender
    from airflow_provider_sentinelhub.client.requests.raster import Cell, Raster

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_NEWS = 20


@contextmanager
def local_file(path: Path) -> Iterator[IO[bytes]]:
    """
    Open a local file for an answer.

    :param path: The file; replaced if it exists.
    :raises StorageUnavailable: It cannot be written, e.g. because the disk is full.
    """
    try:
        with path.open("wb") as file:
            yield file
    except OSError as e:
        raise StorageUnavailable(
            f"The answer cannot be written to {path.parent} ({e.strerror or type(e).__name__}). Free space on the disk "
            "of this worker."
        ) from e


@dataclass(frozen=True, slots=True)
class PartsRequest:
    """
    Requests the parts of an image, or takes those that were paid for before.

    :param sender: Sends the requests; shared by all threads, with one throttle.
    :param parts: Keeps the parts.
    :param folder: A local folder for their files.
    :param body: The request for the whole image.
    :param raster: Its pixels.
    """

    sender: Sender
    parts: Parts
    folder: Path
    body: Mapping[str, Any]
    raster: Raster

    def fetch(
        self,
        cells: Sequence[Cell],
        known: Mapping[tuple[int, int], KeptPart],
        *,
        concurrency: int,
        stop: threading.Event,
    ) -> tuple[dict[Cell, Path], float | None]:
        """
        Return the files of all parts, and what they have cost; fewer files if it was stopped.

        The first error ends it. Parts that arrive later are kept all the same.

        :param cells: The parts.
        :param known: Those that were paid for before.
        :param concurrency: Maximum number of requests at the same time.
        :param stop: Set to send no further requests.
        :raises ApiError: The service refused one.
        :raises ArtifactCorrupt: An answer is not the part.
        :raises StorageUnavailable: A part could not be kept, or not be read again.
        """
        done: dict[Cell, tuple[Path, float | None]] = {}
        waiting, running = iter(cells), dict[Future[tuple["Path", float | None]], "Cell"]()
        pool = ThreadPoolExecutor(concurrency, thread_name_prefix="image")
        try:
            while not stop.is_set():
                for cell in islice(waiting, concurrency - len(running)):
                    running[pool.submit(self._part, cell, known.get((cell.row, cell.column)))] = cell
                if not running:
                    break
                for each in wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED).done:
                    done[running.pop(each)] = each.result()
                    if len(done) % _NEWS == 0:
                        log.info("%d of %d parts", len(done), len(cells))
        finally:
            # A request that is under way is paid for: its part is kept before this task ends.
            pool.shutdown(wait=True, cancel_futures=True)
        costs = [pu for _, pu in done.values()]
        pu = None if None in costs else sum(cost for cost in costs if cost is not None)
        return {cell: path for cell, (path, _) in done.items()}, pu

    def _part(self, cell: Cell, kept: KeptPart | None) -> tuple[Path, float | None]:
        from airflow_provider_sentinelhub.artifacts.images.mosaic import read_part
        from airflow_provider_sentinelhub.client.apis.process.calls import MAX_ANSWER_BYTES, image, request_of

        path = self.folder / f"{cell.row}-{cell.column}.tif"
        if kept is not None:
            self.parts.storage.download(kept.url, path, max_bytes=MAX_ANSWER_BYTES)
            try:
                read_part(path, cell)
            except ArtifactCorrupt as e:
                log.warning("%s is requested again: %s", kept.url, e)
                self.parts.storage.delete(kept.url)
            else:
                return path, kept.pu
        with local_file(path) as file:
            answer = self.sender.send(image(request_of(self.body, self.raster, cell), file))
        read_part(path, cell)
        self.parts.keep(cell, answer.pu, path)
        log.debug("Part at row %d, column %d: %s", cell.row, cell.column, pu_text(answer.pu))
        return path, answer.pu
