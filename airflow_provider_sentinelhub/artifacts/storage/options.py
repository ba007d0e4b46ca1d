"""How buckets are reached: credentials, which may be refreshed, addresses and timeouts."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_sentinelhub.artifacts.storage.location import without_secrets
from airflow_provider_sentinelhub.client.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Hashable

_ENDPOINT = re.compile(r"https?://[A-Za-z0-9\-._~\[\]:]+(?:/[\w\-.~/]*)?", re.ASCII)
_NEEDED = {"client_email", "private_key", "private_key_id"}
_SALT = os.urandom(16)


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
