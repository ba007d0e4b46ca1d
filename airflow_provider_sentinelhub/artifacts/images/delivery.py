"""
Where images are written, and the record beside them of the request they were made from.

The record is written after the images. So if it is there and they are still those it names, the request was answered
and paid for, and need not be sent again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_sentinelhub.artifacts.storage.location import Location
from airflow_provider_sentinelhub.client.errors import ArtifactCorrupt, ArtifactMissing, InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

EXTENSIONS: Final = {"image/tiff": "tif", "image/png": "png", "image/jpeg": "jpg", "application/json": "json"}
FIELD: Final = "output_url"

_RECORD = "request.json"
_DIGEST_CHARS = 32


def digest_of(body: Mapping[str, Any], part_size: int | None = None) -> str:
    """
    Return a digest of what an image is made from.

    :param body: The request.
    :param part_size: Maximum size of its parts, if it is put together from some.
    """
    text = json.dumps([body, part_size], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]


@dataclass(frozen=True, slots=True)
class Destination:
    """
    Where the outputs of a request are written.

    :param url: What the user has given, without a slash at its end.
    :param files: URLs of the files, by identifier; one file, by an empty identifier, if the tar is kept as it is.
    :param record_url: URL of the record.
    """

    url: str
    files: Mapping[str, str]
    record_url: str

    @classmethod
    def of(cls, url: str, formats: Mapping[str, str]) -> Destination:
        """
        Return the destination that a URL stands for.

        One output is written to the URL itself. Several are written to ``<url>/<identifier>.<extension>``, and so is
        one if the URL ends with a slash. If it ends with ``.tar``, the service's tar is written as it is.

        :param url: The URL.
        :param formats: Media types of the outputs, by identifier.
        :raises InvalidParameter: It cannot be used.
        """
        is_tar = url.endswith(".tar")
        is_folder = not is_tar and (len(formats) > 1 or url.endswith("/"))
        found = str(Location.parse(url, field=FIELD, folder=is_folder))
        if not Location.parse(found, field=FIELD, folder=True).key:
            rule = "is a bucket without a path"
            raise InvalidParameter(FIELD, url, rule, "Write e.g. s3://bucket/folder/image.tif.")
        if not is_folder:
            return cls(found, {"" if is_tar else next(iter(formats)): found}, f"{found}.{_RECORD}")
        files = {name: f"{found}/{name}.{EXTENSIONS[kind]}" for name, kind in formats.items()}
        for name, each in files.items():
            if "/" in name or each == f"{found}/{_RECORD}":
                rule = "cannot be the name of a file, and each output is written to a file of that name"
                raise InvalidParameter("output.responses", name, rule, "Rename it, or write a .tar.")
            Location.parse(each, field="output.responses")
        return cls(found, files, f"{found}/{_RECORD}")

    @property
    def is_tar(self) -> bool:
        """Whether the tar of the service is written as it is."""
        return "" in self.files

    @property
    def names(self) -> list[str]:
        """The names of the files in the folder; none if there is only the one that the URL names."""
        begin = f"{self.url}/"
        return [each.removeprefix(begin) for each in self.files.values() if each.startswith(begin)]

    def parts_url(self, digest: str, only_of: str = "") -> str:
        """
        Return the folder for the parts of an image, until it is complete.

        :param digest: See :func:`digest_of`.
        :param only_of: The tag of the task instance that alone may use them. Default: whoever has the same request.
        """
        owner = f"-{hashlib.sha256(only_of.encode()).hexdigest()[:16]}" if only_of else ""
        return f"{self.url}.parts/{digest}{owner}"


@dataclass(frozen=True, slots=True)
class Record:
    """
    What images were made from, and what they were when they were written.

    :param digest: See :func:`digest_of`.
    :param written_by: The tag of the task instance that wrote them; empty if it was none.
    :param pu: Processing units they cost; ``None`` if the service did not say it.
    :param files: Size and ETag of each, by URL.
    :param request: The request.
    """

    digest: str
    written_by: str
    pu: float | None
    files: Mapping[str, tuple[int, str | None]]
    request: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for size, _ in self.files.values())

    @classmethod
    def read(cls, storage: Storage, destination: Destination) -> Record | None:
        """
        Return the record of the images that are at a destination now; ``None`` if there is none.

        :param storage: Reaches the bucket.
        :param destination: The destination.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        try:
            found = json.loads(storage.read(destination.record_url))
            files = {str(url): (int(size), etag) for url, (size, etag) in found["files"].items()}
            record = cls(str(found["digest"]), str(found["written_by"]), found["pu"], files, dict(found["request"]))
            is_same = set(files) == set(destination.files.values()) and files == _now(storage, destination)
        except (ArtifactMissing, ArtifactCorrupt, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return record if is_same and (record.pu is None or isinstance(record.pu, (int, float))) else None


def is_taken(storage: Storage, destination: Destination) -> str | None:
    """
    Return the URL of a file that is at a destination already; ``None`` if there is none.

    :param storage: Reaches the bucket.
    :param destination: The destination.
    :raises StorageUnavailable: The bucket cannot be read.
    """
    return next((url for url in destination.files.values() if storage.exists(url)), None)


def publish(
    storage: Storage,
    destination: Destination,
    files: Mapping[str, Path],
    *,
    digest: str,
    written_by: str,
    pu: float | None,
    request: Mapping[str, Any],
) -> Record:
    """
    Write the files, then the record. Each appears complete, and replaces an earlier one.

    :param storage: Reaches the bucket.
    :param destination: The destination.
    :param files: The files by identifier, as in ``destination.files``.
    :param digest: See :func:`digest_of`.
    :param written_by: The tag of the task instance; empty if it is none.
    :param pu: Processing units they cost.
    :param request: The request.
    :raises StorageUnavailable: The bucket cannot be written.
    """
    # A record of the files before must not outlive them.
    storage.delete(destination.record_url)
    written: dict[str, tuple[int, str | None]] = {}
    for name, path in files.items():
        url = destination.files[name]
        # What is there afterwards may be somebody else's.
        written[url] = (path.stat().st_size, storage.upload(path, url))
    record = Record(digest, written_by, pu, written, request)
    storage.upload(json.dumps(asdict(record)).encode(), destination.record_url)
    return record


def _now(storage: Storage, destination: Destination) -> dict[str, tuple[int, str | None]]:
    found = {url: storage.head(url) for url in destination.files.values()}
    return {url: (meta.size, meta.etag) for url, meta in found.items()}
