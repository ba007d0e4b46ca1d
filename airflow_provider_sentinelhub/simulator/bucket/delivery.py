"""The user's bucket: templates of its keys, and a client with the credentials of the request."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import zlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
import requests
from obstore.exceptions import BaseError
from obstore.store import S3Store

from airflow_provider_sentinelhub.simulator.problems import Problem, violations

if TYPE_CHECKING:
    from collections.abc import Mapping

REGION = "eu-central-1"
"""Region of the simulated deployment."""

PLACEHOLDERS = ("requestId", "tileName", "tileId", "outputId", "format")
DEFAULT_TEMPLATE = "/<requestId>/<tileName>/<outputId>.<format>"
READ_BYTES = 64 * 1024
RETRY_TIMEOUT = timedelta(seconds=10)
SIGNED_FOR = timedelta(days=1)
EXTENSIONS = {"image/tiff": "tif", "application/json": "json"}


def tile_id(name: str) -> int:
    """
    Return the number of a tile.

    :param name: Its name.
    """
    # The service's numbers of tiles are not published: a number that the name decides.
    return zlib.crc32(name.encode())


@dataclass(frozen=True, slots=True)
class Template:
    """
    Where the files of a task go.

    :param bucket: Name of the bucket.
    :param key: Key with placeholders; for a Zarr its folder.
    :param root: Folder of the request, manifest and execution files, without a slash at its end; may be empty.
    :param scheme: ``s3`` or ``gs``.
    :param own: Keys of outputs that have one of their own, by identifier.
    """

    bucket: str
    key: str
    root: str
    scheme: str = "s3"
    own: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str, task_id: str, own: Mapping[str, str] | None = None, *, zarr: bool = False) -> Template:
        """
        Read a delivery URL.

        :param url: ``s3://bucket/path`` or ``gs://bucket/path``, with or without placeholders.
        :param task_id: Takes the place of ``<requestId>``.
        :param own: URLs in the same bucket, for outputs that have one of their own, by identifier.
        :param zarr: Whether a Zarr is delivered, which is written to the URL itself.
        """
        scheme, _, place = url.rstrip("/").partition("://")
        bucket, _, path = place.partition("/")
        full = path if "<" in path else path + DEFAULT_TEMPLATE
        full, folder = (each.replace("<requestId>", task_id).lstrip("/") for each in (full, path))
        root = re.sub(r"(^|/)[^/]*<.*$", "", full)
        others = {name: cls.of(each, task_id) for name, each in (own or {}).items()}
        for each in others.values():
            common = zip(root.split("/"), each.root.split("/"), strict=False)
            root = "/".join(ours for ours, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], common))
        return cls(bucket, folder if zarr else full, root, scheme, {name: each.key for name, each in others.items()})

    def output(self, feature: str, output: str, media_type: str) -> str:
        """
        Return the key of one output of one feature; for a Zarr that of the whole group.

        :param feature: Name of the feature.
        :param output: Identifier of the output.
        :param media_type: As in the request.
        """
        number = tile_id(feature)
        key = (
            self.own.get(output, self.key)
            .replace("<tileName>", feature)
            .replace("<tileId>", str(number))
            .replace("<outputId>", output)
        )
        return key.replace("<format>", EXTENSIONS.get(media_type, ""))

    def beside(self, name: str) -> str:
        """
        Return the key of a file in the root folder.

        :param name: Name of the file.
        """
        return f"{self.root}/{name}" if self.root else name

    def url(self, key: str) -> str:
        """
        Return the URL of a key.

        :param key: Key in the bucket.
        """
        return f"{self.scheme}://{self.bucket}/{key}"


@dataclass(frozen=True, slots=True)
class Keys:
    """
    The credentials of the only bucket owner.

    :param access_key_id: Of the S3 server.
    :param secret_access_key: Of the S3 server.
    :param role_arn: Role that may be given in place of the keys.
    :param endpoint: URL of the S3 server.
    :param region: Region of the deployment.
    """

    access_key_id: str
    secret_access_key: str
    role_arn: str
    endpoint: str
    region: str


class BucketFailed(Exception):
    """The bucket refused or did not answer; the text is the reason."""


class Bucket:
    """
    A bucket as the service sees it.

    :param store: Client with the credentials of the request.
    """

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self.written = 0
        """Bytes that were uploaded."""

    @classmethod
    def open(cls, access: dict[str, Any], keys: Keys) -> Bucket:
        """
        Connect with the credentials of a request. Wrong ones fail at the first use.

        A bucket on Google Cloud Storage is a bucket of the same name on the simulator's S3 server.

        :param access: ``s3`` or ``gs`` of a request: ``url`` and credentials; without any, the bucket has a policy
            that lets the service in.
        :param keys: The simulator's own keys and S3 server.
        :raises BucketFailed: The role is not the configured one, or the credentials are no key of a service account.
        """
        if access["url"].startswith("gs://"):
            _check_service_account(access.get("credentials"))
            access_key, secret = keys.access_key_id, keys.secret_access_key
        elif "iamRoleARN" in access:
            if access["iamRoleARN"] != keys.role_arn:
                raise BucketFailed(f"role {access['iamRoleARN']} cannot be assumed")
            access_key, secret = keys.access_key_id, keys.secret_access_key
        elif by_policy(access):
            access_key, secret = keys.access_key_id, keys.secret_access_key
        else:
            access_key, secret = access["accessKey"], access["secretAccessKey"]
        return cls(
            S3Store(
                Template.of(access["url"], "").bucket,
                endpoint=keys.endpoint,
                access_key_id=access_key,
                secret_access_key=secret,
                region=access.get("region", keys.region),
                client_options={"allow_http": True},
                retry_config={"max_retries": 2, "retry_timeout": RETRY_TIMEOUT},
            )
        )

    def put(self, key: str, content: bytes) -> None:
        """
        Upload a file.

        :param key: Where to.
        :param content: The bytes.
        :raises BucketFailed: It could not be written.
        """
        try:
            obstore.put(self._store, key, content)
        except (BaseError, OSError) as error:
            raise BucketFailed(_reason(error)) from error
        self.written += len(content)

    def get(self, key: str) -> bytes:
        """
        Download a file.

        :param key: Where from.
        :raises BucketFailed: It could not be read.
        """
        try:
            return bytes(obstore.get(self._store, key).bytes())
        except (BaseError, OSError) as error:
            raise BucketFailed(_reason(error)) from error

    def reader(self, key: str) -> RangeReader:
        """
        Open a file of which only parts are read.

        :param key: Where it is.
        :raises BucketFailed: It does not exist or cannot be read.
        """
        try:
            return RangeReader(self._store, key, obstore.head(self._store, key)["size"])
        except (BaseError, OSError) as error:
            raise BucketFailed(_reason(error)) from error

    def keys(self, prefix: str) -> set[str]:
        """
        Return all keys of a folder.

        :param prefix: The folder, without a slash at its end; everything when empty.
        :raises BucketFailed: It could not be listed.
        """
        try:
            return {item["path"] for chunk in obstore.list(self._store, prefix or None) for item in chunk}
        except (BaseError, OSError) as error:
            raise BucketFailed(_reason(error)) from error


class RangeReader(io.RawIOBase):
    """
    A file in a bucket. Each read returns all it is asked for, as GDAL expects.

    :param store: The bucket.
    :param key: The file.
    :param size: Its bytes.
    """

    def __init__(self, store: S3Store, key: str, size: int) -> None:
        super().__init__()
        self._url = obstore.sign(store, "GET", key, SIGNED_FOR)
        self._session = requests.Session()
        self._size = size
        self._at = self._start = 0
        self._buffer = b""

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it has places."""
        return True

    def tell(self) -> int:
        """Return the place in the file."""
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """
        Move to another place.

        :param offset: Bytes from ``whence``.
        :param whence: 0 for the start, 1 for the present place, 2 for the end.
        """
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def read(self, size: int = -1) -> bytes:
        """
        Read from the present place.

        :param size: How many bytes; all that follow when negative.
        """
        end = self._size if size < 0 else min(self._size, self._at + size)
        if end <= self._at:
            return b""
        if not self._start <= self._at <= end <= self._start + len(self._buffer):
            ahead = min(self._size, max(end, self._at + READ_BYTES))
            self._buffer = self._fetched(self._at, ahead)
            self._start = self._at
        found = self._buffer[self._at - self._start : end - self._start]
        self._at += len(found)
        return found

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
        super().close()

    def _fetched(self, start: int, end: int) -> bytes:
        # Not with obstore: it insists on the status 206, and rclone sends the right bytes with 200.
        asked = {"Range": f"bytes={start}-{end - 1}"}
        answer = self._session.get(self._url, headers=asked, timeout=RETRY_TIMEOUT.total_seconds())
        if not answer.ok or len(answer.content) != end - start:
            raise OSError(f"answered {answer.status_code} with {len(answer.content)} bytes")
        return answer.content


def by_policy(access: dict[str, Any]) -> bool:
    """
    Say whether a request has no credentials for a bucket.

    :param access: ``s3`` or ``gs`` of a request.
    """
    return not {"accessKey", "secretAccessKey", "iamRoleARN", "credentials"} & access.keys()


def _check_service_account(credentials: Any) -> None:
    try:
        key = json.loads(base64.b64decode(credentials, validate=True))
    except (TypeError, ValueError) as error:
        raise BucketFailed("credentials are not the Base64 of a service account's JSON key") from error
    if not isinstance(key, dict) or not {"client_email", "private_key"} <= set(key):
        raise BucketFailed("credentials are not the JSON key of a service account")


def _reason(error: Exception) -> str:
    known = re.search(r"<Code>(\w+)</Code>", str(error))
    return known.group(1) if known else type(error).__name__


def cannot_access(parameter: str, reason: str) -> Problem:
    """
    Return the 400 for a bucket that the service cannot use.

    :param parameter: Path in the request.
    :param reason: The reason of the failure.
    """
    text = f"Unable to access the {'GCS' if parameter.endswith('gs') else 'S3'} bucket: {reason}."
    return violations([{"parameter": parameter, "violation": text}])
