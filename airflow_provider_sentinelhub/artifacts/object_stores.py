"""The client library's stores, opened with timeouts and exactly the credentials that were given."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from obstore.store import ClientConfig, GCSStore, ObjectStore, RetryConfig, S3Store

    from airflow_provider_sentinelhub.artifacts.location import Location
    from airflow_provider_sentinelhub.artifacts.storage import StorageOptions

_NEEDED = {"client_email", "private_key", "private_key_id"}


def open_store(location: Location, options: StorageOptions) -> ObjectStore:
    """
    Open the store of a bucket, or the local disk; nothing is sent yet.

    :param location: Anything in the bucket.
    :param options: How to reach it.
    """
    from obstore.store import LocalStore

    if location.scheme == "s3":
        return _s3(location.bucket, options)
    return _gcs(location.bucket, options) if location.scheme == "gs" else LocalStore()


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
    if options.access_key_id:
        # Given through a provider, keys are not completed with a session token of somebody else's environment.
        given["credential_provider"] = lambda: {
            "access_key_id": options.access_key_id,
            "secret_access_key": options.secret_access_key,
            "token": options.session_token,
            "expires_at": None,
        }
    # The tenant's colon must be encoded in the path, or the signature differs from the server's.
    return S3Store(
        quote(bucket),
        client_options=_client(options, options.endpoint_url or ""),
        retry_config=_retry(options),
        **given,
    )


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
    return {"max_retries": 4, "retry_timeout": timedelta(seconds=options.read_timeout)}
