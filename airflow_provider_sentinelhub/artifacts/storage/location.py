"""
URLs of objects: ``s3://bucket/key``, ``gs://bucket/key`` and ``file:///absolute/path``.

Keys of ``s3://`` and ``gs://`` are taken literally, as every bucket tool does: ``a%20b`` is a key with a percent sign.
Paths of ``file://`` are percent-decoded, because :meth:`pathlib.Path.as_uri` encodes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from airflow_provider_sentinelhub.client.errors import InvalidParameter

# Deliberately wider than today's AWS rule: old AWS buckets have capitals and underscores, Google allows 222
# characters, and Ceph-based clouds write ``tenant:bucket``.
_BUCKET = re.compile(r"(?:[\w\-.]+:)?[A-Za-z0-9_][\w\-.]{1,220}[A-Za-z0-9_]", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SECRET_PART = re.compile(r"(?<=//)[^/\s]*@|[?#]\S*")
_EXAMPLE = "Write s3://bucket/folder/name, gs://bucket/folder/name or file:///folder/name."


def without_secrets(text: str) -> str:
    """
    Cut what must never be logged out of the URLs in a text.

    :param text: Anything that may hold URLs: query strings (presigned URLs carry their signature there) and
        ``user:password@`` are removed.
    """
    return _SECRET_PART.sub("", text)


@dataclass(frozen=True, slots=True)
class Location:
    """
    A parsed URL.

    :param scheme: ``s3``, ``gs`` or ``file``.
    :param bucket: Bucket name, with its tenant where it has one; empty for ``file``.
    :param key: Key inside the bucket, or the path below ``/``; never starts or ends with a slash.
    """

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str, *, field: str = "url", folder: bool = False) -> Location:
        """
        Split a URL, or say what is wrong with it.

        :param url: The URL.
        :param field: How the caller names it, for the error message.
        :param folder: Whether it names a folder: a trailing slash, or a bare bucket, is then fine. Default ``False``.
        :raises InvalidParameter: The URL does not name something in a bucket or on disk.
        """
        shown = without_secrets(url)
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in {"s3", "gs", "file"}:
            raise InvalidParameter(field, shown, "must start with s3://, gs:// or file:///", _EXAMPLE)
        if _CONTROL.search(url):
            raise InvalidParameter(field, shown, "must not contain control characters", "Remove them.")
        if "?" in rest or (scheme != "file" and "#" in rest):
            rule = "must not have a query or fragment; presigned URLs cannot be used"
            raise InvalidParameter(field, shown, rule, "Give the plain URL, and credentials through a connection.")
        bucket, _, key = rest.partition("/")
        if scheme == "file":
            if bucket:
                raise InvalidParameter(field, shown, "must be an absolute path", "Write file:/// and the path.")
            key = unquote(key)
        else:
            check_bucket(bucket, field=field, shown=shown)
        _check_key(key, field=field, shown=shown, folder=folder)
        return cls(scheme, bucket, key.rstrip("/") if folder else key)

    def with_key(self, key: str) -> Location:
        """
        Name another object of the same bucket.

        :param key: Its key.
        """
        return Location(self.scheme, self.bucket, key)

    def __str__(self) -> str:
        if self.scheme == "file":
            return f"file:///{quote(self.key)}"
        return f"{self.scheme}://{self.bucket}/{self.key}".rstrip("/")


def check_bucket(bucket: str, *, field: str, shown: str) -> None:
    """
    Refuse what cannot be a bucket name.

    :param bucket: Name, possibly ``tenant:name``.
    :param field: How the caller names the URL.
    :param shown: The URL, fit to be shown.
    :raises InvalidParameter: It is not a name.
    """
    if not _BUCKET.fullmatch(bucket):
        rule = "the bucket name needs at least 3 letters, digits, dots, hyphens or underscores"
        raise InvalidParameter(field, shown, rule, f"{_EXAMPLE} A tenant is written tenant:bucket.")


def _check_key(key: str, *, field: str, shown: str, folder: bool) -> None:
    if not folder and (not key or key.endswith("/")):
        raise InvalidParameter(field, shown, "must name an object, not a folder", _EXAMPLE)
    segments = key.rstrip("/").split("/") if key else []
    if key.startswith("/") or any(segment in {"", ".", ".."} for segment in segments):
        raise InvalidParameter(field, shown, "must not have empty, '.' or '..' path segments", "Remove them.")
