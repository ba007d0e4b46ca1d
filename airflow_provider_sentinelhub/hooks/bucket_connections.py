"""Opens the buckets that URLs name, each with the credentials of the connection for its scheme."""

from __future__ import annotations

import json
import logging
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.storage.errors import BUSY
from airflow_provider_sentinelhub.artifacts.storage.object_stores import (
    Shared,
    StorageKeys,
    StorageOptions,
    fingerprint,
)
from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, StorageUnavailable
from airflow_provider_sentinelhub.client.text import one_line
from airflow_provider_sentinelhub.hooks import connections, credentials

if TYPE_CHECKING:
    from botocore.credentials import Credentials, RefreshableCredentials
    from botocore.exceptions import ClientError

    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.hooks.connections import ConnectionFacts

log = logging.getLogger(__name__)

# Keys are refreshed this many seconds before they expire: the largest value below half of their lifetime.
_AHEAD_S = (300, 120, 60, 30, 10, 5, 2, 1)
_PARAMETERS = {"s3": "aws_conn_id", "gs": "gcp_conn_id"}
# Shared, so that all who need a role at the same moment assume it once.
_AWS: Shared[StorageOptions] = Shared(32)


def open_buckets(aws_conn_id: str | None, gcp_conn_id: str | None) -> Storage:
    """
    Return what reads and writes ``s3://``, ``gs://`` and ``file://`` URLs.

    A connection is read when the first URL needs it.

    :param aws_conn_id: The AWS connection, for ``s3://``.
    :param gcp_conn_id: The Google Cloud connection, for ``gs://``.
    """
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage

    conn_ids = {"s3": aws_conn_id, "gs": gcp_conn_id}

    @cache
    def options_for(scheme: str) -> StorageOptions:
        if scheme not in conn_ids:
            return StorageOptions()
        conn_id = credentials.needed(conn_ids[scheme], _PARAMETERS[scheme])
        return storage_options(scheme, connections.ConnectionFacts.read(conn_id))

    return Storage(options_for)


def storage_options(scheme: str, facts: ConnectionFacts) -> StorageOptions:
    """
    Return how this process reaches the buckets of a scheme.

    May call AWS to assume a role, so not for the event loop.

    :param scheme: ``s3`` or ``gs``.
    :param facts: The ``aws`` or ``google_cloud_platform`` connection.
    :raises InvalidConfiguration: The connection gives no credentials, or Airflow may not use them.
    :raises StorageUnavailable: AWS could not be asked for credentials; that may pass.
    """
    if scheme == "gs":
        return StorageOptions(service_account_key=json.dumps(connections.gcs_key(facts)))
    known = fingerprint(facts.conn_id, facts.login, facts.password, json.dumps(facts.extra, sort_keys=True))
    options = _AWS.get(known, lambda: _aws_options(facts, known))
    if isinstance(options.keys, StorageKeys):
        # They may be replaced at their source, e.g. in a credentials file, so the next caller looks there again.
        _AWS.forget(known)
    return options


def _aws_options(facts: ConnectionFacts, identity: str) -> StorageOptions:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
    from botocore.credentials import RefreshableCredentials
    from botocore.exceptions import BotoCoreError, ClientError

    hook: AwsGenericHook[Any] = AwsGenericHook(facts.conn_id, client_type="s3")
    # Otherwise the hook reads the connection itself, which blocks; a trigger has read it already.
    hook.conn_config = connections.aws_connection(facts)
    try:
        session = hook.get_session()
        found = session.get_credentials()
        if found is None:
            raise InvalidConfiguration(
                f"AWS connection {facts.conn_id!r} gives no credentials. Enter an access key and its secret, or a role."
            )
        keys = RefreshedKeys(identity, found) if isinstance(found, RefreshableCredentials) else _frozen(found)
        if isinstance(keys, RefreshedKeys):
            # Here, where the reason can be told, and not in a thread of the client library.
            keys()
    except ClientError as e:
        if _is_passing(e):
            raise _no_answer(facts, e) from e
        raise InvalidConfiguration(
            f"AWS connection {facts.conn_id!r}: Airflow cannot use it to look at the bucket ({one_line(e)}). Let the "
            "connection's own identity assume its role, and give the connection in assume_role_kwargs what the role's "
            "trust policy requires, e.g. ExternalId."
        ) from e
    except BotoCoreError as e:
        raise _no_answer(facts, e) from e
    endpoint_url = hook.conn_config.get_service_endpoint_url("s3")
    return StorageOptions(keys, region=session.region_name, endpoint_url=endpoint_url)


def _is_passing(error: ClientError) -> bool:
    said = error.response
    return said.get("ResponseMetadata", {}).get("HTTPStatusCode") in BUSY or "Throttl" in said["Error"].get("Code", "")


def _no_answer(facts: ConnectionFacts, error: Exception) -> StorageUnavailable:
    return StorageUnavailable(
        f"AWS connection {facts.conn_id!r}: AWS could not be asked for credentials ({one_line(error)}). "
        "Try again later."
    )


class RefreshedKeys:
    """
    Keys that are refreshed before they expire: those of an assumed role, or of this machine's.

    :param identity: The same for the same connection; not a secret.
    :param credentials: Refreshes them.
    """

    def __init__(self, identity: str, credentials: RefreshableCredentials) -> None:
        self.identity = identity
        self._credentials = credentials
        self._lock = threading.Lock()
        self._keys: StorageKeys | None = None
        self._ahead_s = 0

    def __call__(self) -> StorageKeys:
        """
        Return keys that have not expired.

        If AWS cannot refresh them, the present keys are used until they expire.
        """
        with self._lock:
            # botocore itself would refresh keys with a lifetime of 15 minutes or less before each request.
            if self._keys is None or self._credentials.refresh_needed(self._ahead_s):
                self._keys = self._refreshed(self._keys)
            return self._keys

    def _refreshed(self, known: StorageKeys | None) -> StorageKeys:
        try:
            keys = _frozen(self._credentials)
        except Exception as e:
            if known is None or self._credentials.refresh_needed(0):
                raise
            # The next attempt comes later, so that AWS is not asked before each request.
            self._ahead_s //= 2
            log.warning("Could not refresh AWS credentials, which are still valid: %s", one_line(e))
            return known
        self._ahead_s = next((ahead for ahead in _AHEAD_S if not self._credentials.refresh_needed(2 * ahead)), 0)
        return keys


def _frozen(credentials: Credentials) -> StorageKeys:
    found = credentials.get_frozen_credentials()
    return StorageKeys(found.access_key, found.secret_key, found.token)
