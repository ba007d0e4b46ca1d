"""How buckets are reached (credentials, which may be refreshed, addresses, timeouts), and the stores opened with it."""

from __future__ import annotations

import json
import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from airflow_provider_sentinelhub.artifacts.storage.location import without_secrets
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from obstore.store import ClientConfig, GCSStore, ObjectStore, RetryConfig, S3Credential, S3Store

T = TypeVar("T")

_ENDPOINT = re.compile(r"https?://[A-Za-z0-9\-._~\[\]:]+(?:/[\w\-.~/]*)?", re.ASCII)
_NEEDED = {"client_email", "private_key", "private_key_id"}
_SALT = os.urandom(16)
# The client library caches keys until shortly before they expire. It is told that these expire at once, so that it asks
# the provider before each request, at most ten times a second: only the provider knows when they must be refreshed.
_KEYS_LAST = timedelta(seconds=1)


def fingerprint(*secrets: str | None) -> str:
    """
    Return text that tells secrets apart without revealing them; it differs between processes.

    :param secrets: The secrets.
    """
    return blake2b(json.dumps(secrets).encode(), key=_SALT, digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class StorageKeys:
    """
    S3 credentials.

    :param access_key_id: Access key.
    :param secret_access_key: Its secret.
    :param session_token: Session token of temporary credentials.
    """

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    @property
    def identity(self) -> str:
        """The same for the same credentials; not a secret."""
        return fingerprint(self.access_key_id, self.secret_access_key, self.session_token)


class KeyProvider(Protocol):
    """
    Returns S3 credentials that have not expired.

    Called from several threads and before nearly every request, so it should answer from memory while it can.
    """

    @property
    def identity(self) -> str:
        """The same for providers that share their connections to a bucket; not a secret."""

    def __call__(self) -> StorageKeys:
        """Return the credentials for the next request."""


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """
    How to reach the buckets. What is not given is taken from the environment, as the cloud's own tools do.

    :param keys: S3 credentials, or what provides them. Default: environment, then the machine's role.
    :param region: Region of the S3 buckets, e.g. ``eu-central-1``. Default: environment, then ``us-east-1``.
    :param endpoint_url: Other S3 endpoint than AWS, e.g. ``https://eodata.dataspace.copernicus.eu``; addressed by path.
    :param service_account_key: Google service account key, the JSON text itself. Default: environment.
    :param connect_timeout: Seconds to wait for a connection. Default 5.
    :param read_timeout: Seconds to wait for the next bytes of an answer. Default 30.
    :raises InvalidParameter: A value cannot be used; secrets are never shown.
    """

    keys: StorageKeys | KeyProvider | None = None
    region: str | None = None
    endpoint_url: str | None = None
    service_account_key: str | None = field(default=None, repr=False)
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    identity: tuple[Hashable, ...] = field(init=False, repr=False, compare=False)
    """The same for options that share their connections to a bucket; holds no secret."""

    def __post_init__(self) -> None:
        # The client library aborts with a panic on an endpoint that is no URL.
        if self.endpoint_url is not None and not _ENDPOINT.fullmatch(self.endpoint_url):
            shown = without_secrets(self.endpoint_url)
            rule = "must be an http(s) URL without credentials or query"
            raise InvalidParameter("endpoint_url", shown, rule, "Write https://host or https://host:port.")
        if self.service_account_key is not None:
            parse_service_account(self.service_account_key)
        identity = (
            self.keys.identity if self.keys else None,
            self.region,
            self.endpoint_url,
            fingerprint(self.service_account_key) if self.service_account_key else None,
            self.connect_timeout,
            self.read_timeout,
        )
        # Computed once: it is looked at with each request.
        object.__setattr__(self, "identity", identity)

    def current_keys(self) -> StorageKeys | None:
        """Return the S3 credentials for the next request; ``None`` where they are those of the environment."""
        return self.keys if self.keys is None or isinstance(self.keys, StorageKeys) else self.keys()


def parse_service_account(text: str) -> dict[str, Any]:
    """
    Read a Google service account key.

    :param text: The JSON text of the key file.
    :raises InvalidParameter: It is something else; it is not shown.
    """
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    if not isinstance(key, dict) or not key.keys() >= _NEEDED:
        rule = f"must be the JSON text of a Google service account key, with {', '.join(sorted(_NEEDED))}"
        raise InvalidParameter("service_account_key", "(not shown)", rule, "Paste the downloaded key file.") from None
    return key


class Shared(Generic[T]):
    """
    Keeps what was used last; the bound is for processes that live long and see many connections.

    :param most: How many it keeps.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, opened: Callable[[], T]) -> T:
        """
        Return what was opened for a key; those who ask at the same moment open it once.

        :param key: The key; must not hold secrets, which would be kept here.
        :param opened: Opens it.
        """
        with self._lock:
            if key not in self._kept:
                self._kept[key] = opened()
                if len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]

    def forget(self, key: Hashable) -> None:
        """
        Open it again for the next caller.

        :param key: The key.
        """
        with self._lock:
            self._kept.pop(key, None)


# Each has connections of its own.
_STORES: Shared[ObjectStore] = Shared(64)


def open_store(scheme: str, bucket: str, options: StorageOptions) -> ObjectStore:
    """
    Return the store of a bucket, or the local disk, the same for everybody in this process; nothing is sent yet.

    :param scheme: ``s3``, ``gs`` or ``file``.
    :param bucket: Its name; empty for ``file``.
    :param options: How to reach it.
    """
    return _STORES.get((scheme, bucket, options.identity), lambda: _opened(scheme, bucket, options))


def _opened(scheme: str, bucket: str, options: StorageOptions) -> ObjectStore:
    from obstore.store import LocalStore

    if scheme == "s3":
        return _s3(bucket, options)
    return _gcs(bucket, options) if scheme == "gs" else LocalStore()


def _s3(bucket: str, options: StorageOptions) -> S3Store:
    from obstore.store import S3Store

    given: dict[str, Any] = {"region": options.region} if options.region else {}
    if options.endpoint_url:
        given |= {"endpoint": options.endpoint_url.rstrip("/"), "virtual_hosted_style_request": False}
    if (keys := options.keys) is not None:
        # Through a provider, or the client library would combine the keys with AWS_SESSION_TOKEN of the environment.
        given["credential_provider"] = lambda: _credential(keys)
    # The tenant's colon must be encoded in the path, or the signature differs from the server's.
    return S3Store(
        quote(bucket),
        client_options=_client(options, options.endpoint_url or ""),
        retry_config=_retry(options),
        **given,
    )


def _credential(keys: StorageKeys | KeyProvider) -> S3Credential:
    is_fixed = isinstance(keys, StorageKeys)
    found = keys if isinstance(keys, StorageKeys) else keys()
    return {
        "access_key_id": found.access_key_id,
        "secret_access_key": found.secret_access_key,
        "token": found.session_token,
        "expires_at": None if is_fixed else datetime.now(UTC) + _KEYS_LAST,
    }


def _gcs(bucket: str, options: StorageOptions) -> GCSStore:
    from obstore.store import GCSStore

    key = options.service_account_key
    base_url = str(parse_service_account(key).get("gcs_base_url", "")) if key else ""
    given: dict[str, Any] = {"service_account_key": key} if key else {}
    return GCSStore(bucket, client_options=_client(options, base_url), retry_config=_retry(options), **given)


def _client(options: StorageOptions, endpoint: str) -> ClientConfig:
    return {
        "allow_http": urlsplit(endpoint).scheme == "http",
        "connect_timeout": timedelta(seconds=options.connect_timeout),
        "read_timeout": timedelta(seconds=options.read_timeout),
        # A whole request, body included: large objects on slow lines take long.
        "timeout": timedelta(hours=1),
    }


def _retry(options: StorageOptions) -> RetryConfig:
    # For broken connections. Storage retries longer where the bucket itself is in trouble.
    return {
        "max_retries": 3,
        "retry_timeout": timedelta(seconds=options.read_timeout),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "base": 3},
    }
