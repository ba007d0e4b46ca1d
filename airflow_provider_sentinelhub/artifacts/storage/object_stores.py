"""The client library's stores, opened with timeouts and exactly the credentials that were given."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSStore, ObjectStore, RetryConfig, S3Credential, S3Store

    from airflow_provider_sentinelhub.artifacts.storage.storage import StorageKeys, StorageOptions

# The client library asks for keys again five minutes before their end. What gives them renews them ten minutes before.
_KEYS_LAST = timedelta(minutes=10)
_NEEDED = {"client_email", "private_key", "private_key_id"}


# Each has connections of its own, so those who reach a bucket the same way share one. The same way means with the same
# credentials: the bound is for processes that live long and see many of them.
@lru_cache(maxsize=64)
def open_store(scheme: str, bucket: str, options: StorageOptions) -> ObjectStore:
    """
    Return the store of a bucket, or the local disk, the same for everybody in this process; nothing is sent yet.

    :param scheme: ``s3``, ``gs`` or ``file``.
    :param bucket: Its name; empty for ``file``.
    :param options: How to reach it.
    """
    from obstore.store import LocalStore

    if scheme == "s3":
        return _s3(bucket, options)
    return _gcs(bucket, options) if scheme == "gs" else LocalStore()


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


def _s3(bucket: str, options: StorageOptions) -> S3Store:
    from obstore.store import S3Store

    given: dict[str, Any] = {"region": options.region} if options.region else {}
    if options.endpoint_url:
        given |= {"endpoint": options.endpoint_url.rstrip("/"), "virtual_hosted_style_request": False}
    if options.access_key_id or options.renewed_keys:
        # Given through a provider, keys are not completed with a session token of somebody else's environment.
        given["credential_provider"] = lambda: _credential(options)
    # The tenant's colon must be encoded in the path, or the signature differs from the server's.
    return S3Store(
        quote(bucket),
        client_options=_client(options, options.endpoint_url or ""),
        retry_config=_retry(options),
        **given,
    )


def _credential(options: StorageOptions) -> S3Credential:
    keys = cast("StorageKeys", options.keys())
    return {
        "access_key_id": keys.access_key_id,
        "secret_access_key": keys.secret_access_key,
        "token": keys.session_token,
        "expires_at": datetime.now(UTC) + _KEYS_LAST if options.renewed_keys else None,
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
        # The whole of a request, body included: an hour for an object that keeps coming.
        "timeout": timedelta(hours=1),
    }


def _retry(options: StorageOptions) -> RetryConfig:
    # For connections that break. A bucket that is in trouble is given more time, see Storage.
    return {
        "max_retries": 3,
        "retry_timeout": timedelta(seconds=options.read_timeout),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "base": 3},
    }
