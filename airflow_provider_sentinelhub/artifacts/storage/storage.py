"""
Objects by URL: ``s3://``, ``gs://`` and ``file://`` behind one small interface.

All calls block, so an event loop calls them in a thread. A dead endpoint is reported within seconds, one that is in
trouble or limits the request rate (500, 503 SlowDown) after about ``read_timeout``, and one that accepts connections
and does not answer within about twice that.
"""

from __future__ import annotations

import random
import re
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_sentinelhub.artifacts.storage.errors import (
    StorageAnswer,
    storage_unavailable,
)
from airflow_provider_sentinelhub.artifacts.storage.listing import list_s3
from airflow_provider_sentinelhub.artifacts.storage.location import Location
from airflow_provider_sentinelhub.artifacts.storage.object_stores import StorageOptions, open_store
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from obstore import GetResult
    from obstore.store import ObjectStore

T = TypeVar("T")

MAX_DOWNLOAD_BYTES = 64 * 1024**3
"""Bytes that are copied to disk of one object, unless the caller gives another limit."""
MAX_READ_BYTES = 64 * 1024**2
"""Bytes that are read into memory of one object."""

_NO_RANGE = re.compile("non-partial response|InvalidRange|Range Not Satisfiable|invalid range", re.IGNORECASE)
_PAUSE_S = 0.5
_MAX_PAUSE_S = 8.0
_CHUNK = 1024 * 1024
# The minimum of S3; three parts are in memory at a time.
_PART = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """
    Metadata of an object.

    :param url: Its URL.
    :param size: Bytes.
    :param etag: Changes whenever the content does; without quotes; ``None`` where the storage has none.
    :param last_modified: When it was written.
    """

    url: str
    size: int
    etag: str | None
    last_modified: datetime


class Storage:
    """
    Read and write objects by URL.

    Connections are kept open between calls, and shared by all instances of a process that reach a bucket the same way.
    Threads may share an instance. Every method raises :class:`InvalidParameter` for a URL it cannot use and
    :class:`StorageUnavailable` when credentials, bucket or network fail.

    :param options: How to reach the buckets: the same for all, or what returns it for a scheme (``s3``, ``gs`` or
        ``file``), asked before each use. Default: everything from the environment.
    """

    def __init__(self, options: StorageOptions | Callable[[str], StorageOptions] | None = None) -> None:
        self._options = options or StorageOptions()

    def options_for(self, scheme: str) -> StorageOptions:
        """
        Return how it reaches the buckets of a scheme.

        :param scheme: ``s3``, ``gs`` or ``file``.
        """
        return self._options if isinstance(self._options, StorageOptions) else self._options(scheme)

    def head(self, url: str) -> ObjectMeta:
        """
        Return the metadata of an object.

        :param url: Its URL.
        :raises ArtifactMissing: It does not exist.
        """
        location = Location.parse(url)
        with _explaining("look at", location):
            try:
                return _meta(location, dict(self._ask(location, lambda store: store.head(location.key))))
            except FileNotFoundError:
                # The answer to HEAD has no body, so it cannot say whether the object or the whole bucket is missing.
                return _meta(location, dict(self._get(location).meta))

    def exists(self, url: str) -> bool:
        """
        Return whether an object exists.

        :param url: Its URL.
        """
        try:
            self.head(url)
        except ArtifactMissing:
            return False
        return True

    def read(self, url: str) -> bytes:
        """
        Read a small object into memory.

        :param url: Its URL.
        :raises ArtifactMissing: It does not exist.
        :raises ArtifactCorrupt: It has more than :data:`MAX_READ_BYTES`.
        """
        return self.read_with_meta(url)[0]

    def read_with_meta(self, url: str) -> tuple[bytes, ObjectMeta]:
        """
        Read a small object into memory, with the metadata of exactly these bytes.

        :param url: Its URL.
        :raises ArtifactMissing: It does not exist.
        :raises ArtifactCorrupt: It has more than :data:`MAX_READ_BYTES`.
        """
        location = Location.parse(url)
        with _explaining("read", location):
            answer = self._get(location)
            meta = _meta(location, dict(answer.meta))
            _check_size(meta, MAX_READ_BYTES)
            return bytes(answer.bytes()), meta

    def read_start(self, url: str, size: int) -> bytes:
        """
        Read the first bytes of an object.

        :param url: Its URL.
        :param size: How many bytes at most.
        :raises ArtifactMissing: It does not exist.
        """
        from obstore.exceptions import BaseError

        location = Location.parse(url)
        with _explaining("read", location):
            try:
                return bytes(self._ask(location, lambda store: store.get_range(location.key, start=0, length=size)))
            except BaseError as error:
                # rclone, the simulator's S3 server, sends the right bytes with a status that the client library
                # refuses; an empty object has no range.
                if not _NO_RANGE.search(str(error)):
                    raise
            found = bytearray()
            for chunk in self._get(location).stream(min_chunk_size=size):
                found += chunk
                if len(found) >= size:
                    break
            return bytes(found[:size])

    def download(self, url: str, target: Path, *, max_bytes: int = MAX_DOWNLOAD_BYTES) -> ObjectMeta:
        """
        Copy an object to disk in bounded memory; ``target`` appears only when it is complete.

        :param url: Its URL.
        :param target: File to write; replaced if it exists.
        :param max_bytes: What it may have at most. Default :data:`MAX_DOWNLOAD_BYTES`.
        :returns: What was read: size and ETag belong to the bytes on disk even if the object was replaced meanwhile.
        :raises ArtifactMissing: It does not exist.
        :raises ArtifactCorrupt: It has more than ``max_bytes``.
        :raises StorageUnavailable: Also where the disk has no room for it.
        """
        location = Location.parse(url)
        part = target.with_name(f"{target.name}.part")
        written = 0
        try:
            with part.open("wb") as file, _explaining("read", location):
                answer = self._get(location)
                meta = _meta(location, dict(answer.meta))
                _check_size(meta, max_bytes)
                _check_room(meta, target.parent)
                for chunk in answer.stream(min_chunk_size=_CHUNK):
                    written += file.write(chunk)
            if written != meta.size:
                raise StorageUnavailable(
                    f"Reading {location} ended after {written} of {meta.size} bytes. Try again later."
                )
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return meta

    def upload(self, source: Path | bytes, url: str) -> str | None:
        """
        Write an object; it appears complete or not at all, and replaces an existing one.

        :param source: Its content, or the file that holds it (sent in parts, in bounded memory).
        :param url: Where to write it.
        :returns: Its ETag, if the store says it.
        """
        location = Location.parse(url)
        if isinstance(source, Path):
            source.stat()
        with _explaining("write", location):
            try:
                # Few parts at a time: on a slow line many would each run into the read timeout.
                written = self._ask(
                    location, lambda store: store.put(location.key, source, chunk_size=_PART, max_concurrency=2)
                )
                return _plain(written["e_tag"])
            except FileNotFoundError as error:
                raise storage_unavailable("write", location, error) from StorageAnswer.of(error)

    def create(self, content: bytes, url: str) -> None:
        """
        Write a small object unless it exists.

        A store that knows no such condition replaces it. Where the answer was lost, the object may be there although
        nothing is raised: read it to know whose it is.

        :param content: Its content.
        :param url: Where to write it.
        """
        from obstore.exceptions import AlreadyExistsError, NotSupportedError

        location = Location.parse(url)
        with _explaining("write", location):
            try:
                self._ask(location, lambda store: store.put(location.key, content, mode="create", use_multipart=False))
            except AlreadyExistsError:
                return
            except NotSupportedError:
                self.upload(content, url)
            except FileNotFoundError as error:
                raise storage_unavailable("write", location, error) from StorageAnswer.of(error)

    def list(self, prefix_url: str) -> Iterator[ObjectMeta]:
        """
        List the objects below a folder, in the order of the storage; a folder that does not exist is empty.

        Objects of S3 that no URL can name are left out: their keys have an empty, ``.`` or ``..`` path segment, a
        control character, ``?`` or ``#``. So are those that only stand for a folder, whose keys end in a slash.

        :param prefix_url: The folder; ``s3://b/f`` lists ``f/x`` and ``f/g/y``, not ``fx``.
        :raises StorageUnavailable: Also where the server's pages get nowhere, or do not end.
        """
        location = Location.parse(prefix_url, folder=True)
        with _explaining("list", location):
            for item in self._listed(location):
                yield _meta(location.with_key(item["path"]), item)

    def _listed(self, location: Location) -> Iterator[Any]:
        options = self.options_for(location.scheme)
        if location.scheme == "s3":
            return list_s3(location, options)
        chunks = open_store(location.scheme, location.bucket, options).list(location.key or None, chunk_size=1000)
        return (item for chunk in chunks for item in chunk)

    def delete(self, url: str) -> None:
        """
        Delete an object, if it exists.

        :param url: Its URL.
        """
        location = Location.parse(url)
        with _explaining("delete", location):
            try:
                self._ask(location, lambda store: store.delete(location.key))
            except FileNotFoundError as error:
                if StorageAnswer.of(error).is_missing_bucket:
                    raise storage_unavailable("delete", location, error) from StorageAnswer.of(error)

    def _get(self, location: Location) -> GetResult:
        return self._ask(location, lambda store: store.get(location.key))

    def _ask(self, location: Location, ask: Callable[[ObjectStore], T]) -> T:
        """Send a request; retry with growing pauses while the bucket is in trouble or limits the request rate."""
        from obstore.exceptions import BaseError

        options = self.options_for(location.scheme)
        store = open_store(location.scheme, location.bucket, options)
        give_up_at, pause = time.monotonic() + options.read_timeout, _PAUSE_S
        while True:
            try:
                return ask(store)
            except BaseError as error:
                if not StorageAnswer.of(error).is_busy or time.monotonic() + pause > give_up_at:
                    raise
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, _MAX_PAUSE_S)


@contextmanager
def _explaining(action: str, location: Location) -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        if StorageAnswer.of(error).is_missing_bucket:
            raise storage_unavailable(action, location, error) from StorageAnswer.of(error)
        raise ArtifactMissing(
            f"There is no {location}. Check the path; while a task runs the object may still appear."
        ) from None
    except BaseError as error:
        # The client library has no class of its own for this one.
        if location.scheme == "file" and "NotADirectory" in str(error) and action != "write":
            raise ArtifactMissing(f"There is no {location}: a folder in its path is a file.") from None
        answer = StorageAnswer.of(error)
        if action == "delete" and answer.status == HTTPStatus.NOT_FOUND and not answer.is_missing_bucket:
            return
        raise storage_unavailable(action, location, error) from StorageAnswer.of(error)
    except (StorageAnswer, ValueError, PermissionError) as error:
        raise storage_unavailable(action, location, error) from StorageAnswer.of(error)


def _check_size(meta: ObjectMeta, max_bytes: int) -> None:
    if meta.size > max_bytes:
        raise ArtifactCorrupt(
            f"{meta.url} has {meta.size:,} bytes, more than the {max_bytes:,} that are read of such an object. Check "
            "what it is and who wrote it."
        )


def _check_room(meta: ObjectMeta, folder: Path) -> None:
    """Refuse an object that would fill the disk, which other processes need too."""
    free = shutil.disk_usage(folder).free
    if meta.size > free:
        raise StorageUnavailable(
            f"{meta.url} has {meta.size:,} bytes, and the disk of {folder} has {free:,} left. Free some "
            "space on this worker."
        )


def _meta(location: Location, found: dict[str, Any]) -> ObjectMeta:
    return ObjectMeta(str(location), found["size"], _plain(found["e_tag"]), found["last_modified"])


def _plain(etag: str | None) -> str | None:
    return etag.removeprefix("W/").strip('"') if etag else None
