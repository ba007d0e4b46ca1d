"""Take what is new in the results of all tasks into parts, and note in the catalog what all parts hold."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.statistics.answers import ResultReader, Unreadable, microseconds
from airflow_provider_sentinelhub.artifacts.statistics.builder import TableBuilder
from airflow_provider_sentinelhub.artifacts.statistics.catalog import Unread
from airflow_provider_sentinelhub.artifacts.statistics.layout import ResultNames, statistics_root
from airflow_provider_sentinelhub.artifacts.statistics.memory import give_back
from airflow_provider_sentinelhub.artifacts.statistics.parts import LEDGER_SUFFIX, PART_SUFFIX, PartWriter, read_ledger
from airflow_provider_sentinelhub.artifacts.storage.parallel_read import read_many
from airflow_provider_sentinelhub.artifacts.storage.storage import MAX_READ_BYTES
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.statistics.catalog import Catalog
    from airflow_provider_sentinelhub.artifacts.storage.storage import ObjectMeta, Storage

RESULTS_IN_PART = 2_000
"""Results in one part: no more are read again where a reader was killed."""

_RESULTS_IN_CHUNK = 500
_BYTES_IN_CHUNK = 32 * 1024 * 1024
_BETWEEN_NEWS = 10_000
_MAX_ERROR = 300


class Phase(StrEnum):
    """What a reader is doing."""

    LISTING = "LISTING"
    """Looking what the bucket holds; counted in results, the total is not known."""
    READING = "READING"
    """Reading what is new; counted in results."""
    PUBLISHING = "PUBLISHING"
    """Writing the table; counted in parts."""


@dataclass(frozen=True, slots=True)
class StatisticsProgress:
    """
    How far a reader is.

    :param phase: What it is doing.
    :param done: How much of it is done.
    :param total: How much there is; ``None`` where that is not known yet.
    """

    phase: Phase
    done: int
    total: int | None = None


@dataclass(frozen=True, slots=True)
class StatisticsTask:
    """
    One of the tasks about the same features: the original, or one that ran failed features again.

    :param delivery_url: Its output URL or template.
    :param task_id: Its id.
    :param intervals: Start and end of the intervals its request asks for; empty if they are not known.
    """

    delivery_url: str
    task_id: str
    intervals: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(slots=True)
class Loader:
    """
    Fills a catalog.

    :param storage: Where the bucket is.
    :param tasks: The tasks.
    :param parts_url: Folder of the parts.
    :param folder: Folder on this machine.
    :param catalog: The catalog.
    :param on_progress: Called now and then.
    :param task_ids: Afterwards, the tasks, in order: those named, then those of which there are parts.
    """

    storage: Storage
    tasks: Sequence[StatisticsTask]
    parts_url: str
    folder: Path
    catalog: Catalog
    on_progress: Callable[[StatisticsProgress], None]
    results: int = 0
    done: int = 0
    unreadable: int = 0
    task_ids: tuple[str, ...] = ()
    reader: ResultReader = field(default_factory=ResultReader)

    def load(self) -> None:
        """
        Take in what is new. Tasks that nobody names, but which were read earlier, come after those that are named.

        :raises InvalidParameter: A URL cannot be used.
        :raises StorageUnavailable: The bucket cannot be read, or not be written to.
        """
        listed = sorted((meta.last_modified, meta.url, meta.size) for meta in self.storage.list(self.parts_url))
        there = {url for _, url, _ in listed}
        ledgers = ((url, size) for _, url, size in listed if _part_of(url) in there and url.endswith(LEDGER_SUFFIX))
        known = [one.task_id for one in self.tasks]
        for url, content in read_many(self.storage, ledgers):
            try:
                found = read_ledger(content[0]) if isinstance(content, tuple) else None
            except ArtifactCorrupt:
                # What it held is read again from the results.
                continue
            if found:
                if found[0] not in known:
                    known.append(found[0])
                self.catalog.add_part(_part_of(url), known.index(found[0]), found[1])
        self.task_ids = tuple(known)
        for number, one in enumerate(self.tasks):
            spans = ((microseconds(start), microseconds(end)) for start, end in one.intervals)
            self.catalog.add_intervals(number, spans)
            self.results += self.catalog.add_listing(number, self._listed(one))
        total = self.catalog.list_unread()
        for number, one in enumerate(self.tasks):
            self._read(number, one, total)

    def local(self, url: str) -> Path:
        """
        Return the file of a part on this machine, fetched if it is not here yet.

        :param url: URL of the part.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        path = self.folder / url.rpartition("/")[2]
        if not path.exists():
            self.storage.download(url, path)
        return path

    def _listed(self, one: StatisticsTask) -> Iterator[Unread]:
        root, names = statistics_root(one.delivery_url, one.task_id), ResultNames(one.delivery_url, one.task_id)
        count = self.results
        for meta in self.storage.list(root):
            name = names.parse(meta.url)
            if name is not None:
                count += 1
                if count % _BETWEEN_NEWS == 0:
                    self.on_progress(StatisticsProgress(Phase.LISTING, count))
                below = meta.url.removeprefix(f"{root}/")
                yield Unread(below, name.feature_id, name.identifier, _version(meta))

    def _read(self, number: int, one: StatisticsTask, total: int) -> None:
        root = statistics_root(one.delivery_url, one.task_id)
        part = _Part(self, number)
        try:
            for unread, found in self._found(number, root):
                self.done += 1
                if found is None:
                    self.catalog.is_gone(number, unread.name)
                    continue
                self._take(number, unread, found, part)
                if self.done % _RESULTS_IN_CHUNK == 0:
                    self.on_progress(StatisticsProgress(Phase.READING, self.done, total))
            part.finish()
        finally:
            part.abandon()
        self.on_progress(StatisticsProgress(Phase.READING, self.done, total))

    def _take(
        self, number: int, unread: Unread, found: tuple[bytes, ObjectMeta] | ArtifactCorrupt, part: _Part
    ) -> None:
        if isinstance(found, ArtifactCorrupt):
            version = unread.version
            why = f"it has {unread.size:,} bytes, more than the {MAX_READ_BYTES:,} that are read of one result"
        else:
            version = _version(found[1])
            self.catalog.is_version(number, unread.name, version)
            try:
                part.add(unread, version, found[0])
            except Unreadable as error:
                why = str(error)[:_MAX_ERROR]
            else:
                return
        self.unreadable += 1
        self.catalog.is_unreadable(number, unread, version, why)

    def _found(
        self, number: int, root: str
    ) -> Iterator[tuple[Unread, tuple[bytes, ObjectMeta] | ArtifactCorrupt | None]]:
        asked: deque[Unread] = deque()

        def objects() -> Iterator[tuple[str, int]]:
            for unread in self.catalog.unread(number):
                asked.append(unread)
                yield f"{root}/{unread.name}", unread.size

        # Answers come in the order of the questions.
        for _, found in read_many(self.storage, objects()):
            yield asked.popleft(), found


class _Part:
    """The part being written; a new one is begun when it is full."""

    def __init__(self, loader: Loader, number: int) -> None:
        self._loader = loader
        self._number = number
        self._path = loader.folder / "new-part"
        self._writer: PartWriter | None = None
        self._builder = TableBuilder()
        self._ledger: list[tuple[Any, ...]] = []
        self._bytes = 0

    def add(self, unread: Unread, version: str, content: bytes) -> None:
        """Add a result; it is written with others."""
        result, answer = self._loader.reader.read(content)
        if unread.feature_id not in {None, result.id}:
            raise Unreadable(f"it says it is of feature {result.id}")
        added = self._builder.add(result.id, result.identifier, answer)
        counts = (added.rows, added.with_data, added.without_data, added.failed)
        self._ledger.append(
            (unread.name, version, result.id, result.identifier, *counts, answer.message(), *answer.failed_span())
        )
        self._bytes += len(content)
        if len(self._ledger) >= _RESULTS_IN_CHUNK or self._bytes >= _BYTES_IN_CHUNK:
            self._write()
            if self._writer and len(self._writer.ledger) >= RESULTS_IN_PART:
                self.finish()

    def finish(self) -> None:
        """Finish the part and put it into the bucket."""
        self._write()
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        name, ledger = writer.close()
        url = f"{self._loader.parts_url}/{name}"
        self._loader.storage.upload(self._path, url + PART_SUFFIX)
        self._loader.storage.upload(ledger, url + LEDGER_SUFFIX)
        self._path.replace(self._loader.folder / f"{name}{PART_SUFFIX}")
        self._loader.catalog.add_part(url + PART_SUFFIX, self._number, writer.ledger)
        del writer, ledger
        give_back()

    def abandon(self) -> None:
        """Forget a part that was not finished."""
        if self._writer is not None:
            self._writer.abandon()

    def _write(self) -> None:
        if self._ledger:
            if self._writer is None:
                self._writer = PartWriter(self._path, self._loader.tasks[self._number].task_id)
            self._writer.write(self._builder.take(), self._ledger)
            self._ledger, self._bytes = [], 0
            give_back()


def _part_of(ledger: str) -> str:
    return ledger.removesuffix(LEDGER_SUFFIX) + PART_SUFFIX


def _version(meta: ObjectMeta) -> str:
    return f"{meta.etag or meta.last_modified.isoformat()}:{meta.size}"
