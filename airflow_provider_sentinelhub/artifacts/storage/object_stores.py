"""The client library's stores, opened with timeouts and exactly the credentials that were given."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow_provider_sentinelhub.artifacts.storage.options import StorageKeys, parse_service_account
from airflow_provider_sentinelhub.artifacts.storage.shared import Shared

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSStore, ObjectStore, RetryConfig, S3Credential, S3Store

    from airflow_provider_sentinelhub.artifacts.storage.options import KeyProvider, StorageOptions

# The client library caches keys until shortly before they expire. It is told that these expire at once, so that it asks
# the provider before each request, at most ten times a second: only the provider knows when they must be refreshed.
_KEYS_LAST = timedelta(seconds=1)

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
