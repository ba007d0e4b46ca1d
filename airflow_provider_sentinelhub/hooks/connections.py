"""Airflow connections as plain data, read blocking or not, and what the service and its client need of them."""

from __future__ import annotations

import base64
import json
import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.storage.object_stores import Shared, fingerprint
from airflow_provider_sentinelhub.client.errors import InvalidConfiguration, InvalidParameter
from airflow_provider_sentinelhub.client.http.auth import ClientCredentials
from airflow_provider_sentinelhub.client.http.deployments import ServiceAddress
from airflow_provider_sentinelhub.hooks import checks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
    from airflow.sdk import Connection

    from airflow_provider_sentinelhub.client.http.deployments import Deployment

log = logging.getLogger(__name__)

EXTRAS = ("deployment", "token_url", "path_layout", "max_pu")
"""What is read from the extra of a ``sentinelhub`` connection."""

_AWS_CONNECTIONS: Shared[AwsConnectionWrapper] = Shared(32)
_FIELDS = {
    "login": "login (Client ID)",
    "clientid": "login (Client ID)",
    "password": "password (Client secret)",
    "clientsecret": "password (Client secret)",
    "secret": "password (Client secret)",
    "host": "host (Base URL)",
    "url": "host (Base URL)",
    "baseurl": "host (Base URL)",
}


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """
    A connection as plain data.

    :param conn_id: Its id.
    :param login: Its login.
    :param password: Its password; never shown.
    :param host: Its host, with scheme and port where given.
    :param extra: Its extra; may hold secrets, never shown.
    """

    conn_id: str
    login: str = ""
    password: str = field(default="", repr=False)
    host: str = ""
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, conn_id: str) -> ConnectionFacts:
        """
        Read a connection, blocking.

        :param conn_id: Its id.
        :raises InvalidConfiguration: There is none.
        :raises InvalidParameter: There is no id.
        """
        from airflow.sdk import BaseHook
        from airflow.sdk.exceptions import AirflowNotFoundException

        checks.id_of("sentinelhub_conn_id", conn_id, "connection")
        try:
            connection = BaseHook.get_connection(conn_id)
        except AirflowNotFoundException:
            raise _unknown(conn_id) from None
        return cls.of(connection, connection.extra_dejson)

    @classmethod
    async def aread(cls, conn_id: str) -> ConnectionFacts:
        """
        Read a connection in a trigger.

        :param conn_id: Its id.
        """
        from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
        from airflow.sdk.exceptions import AirflowNotFoundException

        try:
            connection = await get_async_connection(conn_id)
        except AirflowNotFoundException:
            raise _unknown(conn_id) from None
        return cls.of(connection, await get_async_extra_dejson(connection))

    @classmethod
    def of(cls, connection: Connection, extra: dict[str, Any]) -> ConnectionFacts:
        """
        Return a connection as plain data.

        :param connection: The connection.
        :param extra: Its decoded extra.
        :raises InvalidConfiguration: The extra is not a JSON object.
        """
        # Airflow takes an extra that is not JSON for an empty one: another deployment, another region, no limit.
        if not _is_object(connection.extra):
            raise InvalidConfiguration(
                f"Connection {connection.conn_id!r}: its extra is not a JSON object. Write it as "
                '{"name": "value"}, or leave it empty.'
            )
        host = (connection.host or "").rstrip("/")
        port = f":{connection.port}" if connection.port else ""
        if host and "://" not in host:
            # In a connection URI the host has no scheme, so it is taken from the connection's schema.
            host = f"{connection.schema or 'https'}://{host}"
        if host and not host.endswith(port):
            host += port
        return cls(connection.conn_id, connection.login or "", connection.password or "", host, extra or {})


def _is_object(extra: str | None) -> bool:
    """Say whether an extra is a JSON object, or none at all."""
    try:
        return isinstance(json.loads(extra), dict | None) if extra and extra.strip() else True
    except ValueError:
        return False


def _unknown(conn_id: str) -> InvalidConfiguration:
    return InvalidConfiguration(
        f"There is no connection {conn_id!r}. Create it under Admin, Connections, or set the environment variable "
        f"AIRFLOW_CONN_{conn_id.upper()}."
    )


def service_address(facts: ConnectionFacts) -> ServiceAddress:
    """
    Return where a ``sentinelhub`` connection's requests go.

    :param facts: The connection.
    :raises InvalidConfiguration: Something in it is wrong or missing.
    """
    with _naming(facts):
        _check_extras(facts)
        address = _address(facts)
    own = address.deployment.base_url
    if own and address.base_url != own:
        _warn_once(
            f"Connection {facts.conn_id!r}: requests go to {address.base_url}, and are checked by the rules of "
            f"deployment {address.deployment.key!r}, which is {own}. If it is not a proxy in front of that one, choose "
            "deployment 'custom'."
        )
    return address


def _check_extras(facts: ConnectionFacts) -> None:
    """
    Refuse extras that are misspelt or belong elsewhere, and warn of others that nothing reads.

    :raises InvalidConfiguration: An ignored limit or address would cost money, or send the secret elsewhere.
    """
    plain = {_plain(name): name for name in EXTRAS}
    for name in facts.extra:
        if name in EXTRAS:
            continue
        if _plain(name) in _FIELDS:
            raise InvalidConfiguration(
                f"extra {name!r}: unknown extra. It is a field of the connection itself: {_FIELDS[_plain(name)]}."
            )
        if meant := get_close_matches(_plain(name), plain, n=1, cutoff=0.75):
            raise InvalidConfiguration(f"extra {name!r}: unknown extra. Did you mean {plain[meant[0]]!r}?")
        _warn_once(
            f"Connection {facts.conn_id!r}: extra {name!r} is unknown and ignored. Known extras: {', '.join(EXTRAS)}."
        )


def _plain(name: str) -> str:
    # Long ago the fields of a form were stored with a prefix.
    return "".join(each for each in name.lower().removeprefix("extra__sentinelhub__") if each.isalnum())


@lru_cache(256)
def _warn_once(text: str) -> None:
    log.warning("%s", text)


def _address(facts: ConnectionFacts) -> ServiceAddress:
    return ServiceAddress.of(
        deployment=str(facts.extra.get("deployment") or ""),
        base_url=facts.host,
        token_url=str(facts.extra.get("token_url") or ""),
        layout=str(facts.extra.get("path_layout") or ""),
    )


def max_pu(facts: ConnectionFacts) -> float | None:
    """
    Return the maximum processing units of a task whose operator has no limit; ``None`` for no limit.

    :param facts: A ``sentinelhub`` connection.
    :raises InvalidConfiguration: It is no number of at least 1.
    """
    given = facts.extra.get("max_pu")
    if given is None or given == "":
        return None
    try:
        return float(checks.number("max_pu", given, at_least=1, finite=False))
    except InvalidParameter as e:
        raise InvalidConfiguration(
            f"Connection {facts.conn_id!r}: max_pu = {given!r}: {e.rule}. Leave it empty for the default limit."
        ) from None


@contextmanager
def _naming(facts: ConnectionFacts) -> Iterator[None]:
    try:
        yield
    except InvalidConfiguration as e:
        raise InvalidConfiguration(f"Connection {facts.conn_id!r}: {e}") from None


def client_credentials(facts: ConnectionFacts, address: ServiceAddress) -> ClientCredentials:
    """
    Return the OAuth2 client of a ``sentinelhub`` connection.

    :param facts: The connection.
    :param address: Where its requests go.
    :raises InvalidConfiguration: The client id or the client secret is missing.
    """
    for name, value in (("client id (login)", facts.login), ("client secret (password)", facts.password)):
        if not value:
            raise InvalidConfiguration(
                f"Connection {facts.conn_id!r} has no {name}. Create an OAuth client in the dashboard of "
                f"{address.deployment.title} and enter its id and secret in the connection."
            )
    return ClientCredentials(facts.login, facts.password, address.token_url, facts.conn_id)


def aws_connection(facts: ConnectionFacts) -> AwsConnectionWrapper:
    """
    Return an ``aws`` connection as Airflow's hooks understand it; the same for everybody in this process.

    Making one logs where its credentials come from, which is worth one line, not one for each use.

    :param facts: The connection.
    """
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    known = fingerprint(facts.conn_id, facts.login, facts.password, json.dumps(facts.extra, sort_keys=True))
    login, password = facts.login or None, facts.password or None
    return _AWS_CONNECTIONS.get(
        known, lambda: AwsConnectionWrapper.from_connection_metadata(facts.conn_id, login, password, facts.extra)
    )


def s3_delivery_credentials(facts: ConnectionFacts, deployment: Deployment) -> dict[str, str]:
    """
    Return what the service needs to reach an S3 bucket: a role to assume, or a pair of keys.

    :param facts: An ``aws`` connection. Its ``role_arn`` wins over its keys where the deployment can assume roles.
    :param deployment: Where the request goes.
    :raises InvalidConfiguration: The connection holds nothing that the service could use.
    """
    connection = aws_connection(facts)
    if connection.role_arn and deployment.delivers_by_role:
        return {"iamRoleARN": connection.role_arn}
    if connection.aws_session_token:
        raise InvalidConfiguration(
            f"AWS connection {facts.conn_id!r} holds temporary keys, which expire before the batch ends and which the "
            "service does not take. Enter a permanent access key, or a role_arn the service may assume."
        )
    if connection.aws_access_key_id and connection.aws_secret_access_key:
        return {"accessKey": connection.aws_access_key_id, "secretAccessKey": connection.aws_secret_access_key}
    choice = "a role_arn, or an access key and its secret" if deployment.delivers_by_role else "an access key"
    raise InvalidConfiguration(
        f"AWS connection {facts.conn_id!r} holds nothing that {deployment.title} could reach a bucket with. "
        f"Enter {choice}; the service cannot use credentials of this machine."
    )


def gcs_key(facts: ConnectionFacts) -> dict[str, Any]:
    """
    Return the service account key of a ``google_cloud_platform`` connection.

    :param facts: The connection; its ``keyfile_dict`` is read.
    :raises InvalidConfiguration: It holds no key.
    """
    key = facts.extra.get("keyfile_dict") or facts.extra.get("extra__google_cloud_platform__keyfile_dict")
    if isinstance(key, str):
        key = json.loads(key)
    if not isinstance(key, dict):
        raise InvalidConfiguration(
            f"Google Cloud connection {facts.conn_id!r} holds no keyfile_dict. Enter the service account's JSON key."
        )
    return key


def gcs_delivery_credentials(facts: ConnectionFacts, deployment: Deployment) -> dict[str, str]:
    """
    Return what the service needs to reach a bucket on Google Cloud Storage.

    :param facts: A ``google_cloud_platform`` connection.
    :param deployment: Where the request goes.
    :raises InvalidConfiguration: The deployment cannot, or the connection holds no key.
    """
    if not deployment.delivers_to_gcs:
        raise InvalidConfiguration(f"{deployment.title} does not deliver to Google Cloud Storage. Use an S3 bucket.")
    return {"credentials": base64.b64encode(json.dumps(gcs_key(facts)).encode()).decode()}
