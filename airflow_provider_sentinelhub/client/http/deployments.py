"""
The deployments of Sentinel Hub: hosts, token endpoints, path layouts and capabilities.

Sources: https://docs.planet.com/develop/apis/batch-processing/, https://docs.planet.com/develop/apis/batch-statistical/
and
https://documentation.dataspace.copernicus.eu/APIs/SentinelHub.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from airflow_provider_sentinelhub.client.errors import InvalidConfiguration

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

# Nothing else is allowed in an address: programs disagree on which part is the host otherwise.
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+)*/?"
)
_MAX_PORT = 65535


class PathLayout(StrEnum):
    """The two layouts of every path; the service supports both until the legacy one is removed."""

    LEGACY = "legacy"
    NEW = "new"


class Service(StrEnum):
    """One API of the service; its path in each layout is derived from the value."""

    BATCH_V1 = "batch/v1"
    BATCH_V2 = "batch/v2"
    BATCH_STATISTICAL = "statistics/batch/v1"
    STATISTICAL = "statistics/v1"
    PROCESS = "process/v1"
    ASYNC_PROCESS = "async/v1"
    CATALOG = "catalog/v1"
    BYOC = "byoc/v1"

    def prefix(self, layout: PathLayout) -> str:
        """
        Return the path prefix of this API.

        :param layout: ``legacy`` gives ``/api/v2/batch``, ``new`` gives ``/batch/v2``.
        """
        name, version = self.value.rsplit("/", 1)
        # It was deprecated before there was a new layout.
        is_legacy = layout is PathLayout.LEGACY or self is Service.BATCH_V1
        if self is Service.CATALOG and is_legacy:
            return "/api/v1/catalog/1.0.0"
        return f"/api/{version}/{name}" if is_legacy else f"/{name}/{version}"


@dataclass(frozen=True, slots=True)
class Deployment:
    """
    A deployment of Sentinel Hub.

    :param key: Its name in the connection.
    :param title: Its name for users.
    :param base_url: Base URL of the APIs; empty for a custom deployment.
    :param token_url: OAuth2 token endpoint; empty for a custom deployment.
    :param region: Region of buckets without transfer cost; empty if there are several or none.
    :param delivers_by_role: Whether the service can assume an IAM role to access a bucket.
    :param delivers_to_gcs: Whether it can deliver results to Google Cloud Storage.
    :param charges_transfer: Whether it charges for delivery to another region.
    :param account: Account that reads collections in users' buckets, and assumes their roles; empty if it is not
        known.
    :param lacks: APIs of this package that it does not offer.
    """

    key: str
    title: str
    base_url: str
    token_url: str
    region: str
    delivers_by_role: bool = True
    delivers_to_gcs: bool = True
    charges_transfer: bool = True
    account: str = ""
    lacks: frozenset[Service] = frozenset()


_MAIN_ACCOUNT = "614251495211"
_MAIN_TOKEN_URL = "https://services.sentinel-hub.com/auth/realms/main/protocol/openid-connect/token"  # noqa: S105 - an address

DEPLOYMENTS = {
    deployment.key: deployment
    for deployment in (
        Deployment(
            key="aws-eu-central-1",
            title="AWS EU (Frankfurt)",
            base_url="https://services.sentinel-hub.com",
            token_url=_MAIN_TOKEN_URL,
            region="eu-central-1",
            account=_MAIN_ACCOUNT,
        ),
        Deployment(
            key="aws-us-west-2",
            title="AWS US (Oregon)",
            base_url="https://services-uswest2.sentinel-hub.com",
            token_url=_MAIN_TOKEN_URL,
            region="us-west-2",
            account=_MAIN_ACCOUNT,
            lacks=frozenset({Service.BATCH_STATISTICAL}),
        ),
        Deployment(
            key="cdse",
            title="Copernicus Data Space Ecosystem",
            base_url="https://sh.dataspace.copernicus.eu",
            token_url="https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token",  # noqa: S106 - an address
            region="",
            delivers_by_role=False,
            delivers_to_gcs=False,
            # Its rules announce this and do not apply it yet.
            charges_transfer=False,
            account="ddf4c98b5e6647f0a246f0624c8341d9",
        ),
        Deployment(key="custom", title="Custom", base_url="", token_url="", region=""),
    )
}


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """
    The addresses of one connection.

    :param deployment: The deployment.
    :param base_url: Base URL of the APIs, without a trailing slash.
    :param token_url: OAuth2 token endpoint.
    :param layout: Path layout.
    """

    deployment: Deployment
    base_url: str
    token_url: str
    layout: PathLayout

    @classmethod
    def of(cls, *, deployment: str, base_url: str, token_url: str, layout: str) -> ServiceAddress:
        """
        Check and complete the settings of a connection.

        :param deployment: A key of :data:`DEPLOYMENTS`; empty means the one that has this base URL, ``custom`` for
            another base URL, and ``aws-eu-central-1`` without one.
        :param base_url: Overrides the deployment's base URL, e.g. by the address of a proxy; required for ``custom``.
        :param token_url: Overrides the deployment's token endpoint; required for ``custom``.
        :param layout: ``legacy`` or ``new``; empty means ``new``.
        :raises InvalidConfiguration: The deployment or layout is unknown, a URL is missing or is that of another
            deployment, or the secret would be sent unencrypted.
        """
        key = deployment or (_owner(base_url, "base_url") if base_url else "aws-eu-central-1") or "custom"
        if key not in DEPLOYMENTS:
            raise InvalidConfiguration(
                f"deployment = {key!r}: unknown deployment. Choose one of {', '.join(sorted(DEPLOYMENTS))} in the "
                "connection; custom needs a base URL and a token URL."
            )
        known = DEPLOYMENTS[key]
        base, token = (base_url or known.base_url).rstrip("/"), token_url or known.token_url
        for field, address in (("base URL", base), ("token URL", token)):
            if not address:
                raise InvalidConfiguration(
                    f"{field}: missing. Deployment {key!r} has none of its own: enter one in the connection."
                )
            check_address(field, address)
        if known.base_url:
            _check_owner(known, "base URL", base, _owner(base, "base_url"))
            _check_owner(known, "token URL", token, _owner(token, "token_url", known.key))
        if layout and layout not in set(PathLayout):
            raise InvalidConfiguration(
                f"path_layout = {layout!r}: unknown path layout. Choose legacy (/api/v2/batch) or new (/batch/v2)."
            )
        return cls(known, base, token, PathLayout(layout or PathLayout.NEW))

    def url(self, service: Service, path: str) -> str:
        """
        Return the full URL of a path.

        :param service: The API.
        :param path: The path below the API's prefix, e.g. ``/process``.
        """
        return f"{self.base_url}{service.prefix(self.layout)}{path}"


def _owner(address: str, name: str, first: str = "") -> str:
    """
    Return the key of the deployment that an address belongs to; empty if it belongs to none of them.

    :param address: The address.
    :param name: ``base_url`` or ``token_url``.
    :param first: The deployment to prefer where several have it.
    """
    host = _host(address)
    owners = [each.key for each in DEPLOYMENTS.values() if host and _host(getattr(each, name)) == host]
    return first if first in owners else "".join(owners[:1])


def _host(address: str) -> str:
    match = _ADDRESS.fullmatch(address)
    return match["host"].lower() if match else ""


def _check_owner(chosen: Deployment, field: str, address: str, owner: str) -> None:
    if owner not in {"", chosen.key}:
        raise InvalidConfiguration(
            f"deployment = {chosen.key!r} and {field} = {address!r} contradict each other: the address is that of "
            f"deployment {owner!r}. Leave the {field} empty, or choose {owner}."
        )


def check_address(field: str, address: str) -> None:
    """
    Check a URL that the secret or a token will be sent to.

    :param field: Name of the setting, for the message.
    :param address: The URL.
    :raises InvalidConfiguration: It is not made of scheme, host, port and path alone, or the secret would be sent
        unencrypted.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"] or 0) > _MAX_PORT:
        raise InvalidConfiguration(
            f"{field} = {_without_secrets(address)!r}: not an address of the form https://host[:port][/path]. Write it "
            "as https://services.example.com, without a user name, query or fragment; client id and secret have fields "
            "of their own."
        )
    if match["scheme"] == "http" and match["host"].strip("[]").lower() not in LOOPBACK:
        raise InvalidConfiguration(
            f"{field} = {address!r}: http would send the client secret unencrypted. Use https; http is for a "
            "simulator on this machine."
        )


def _without_secrets(address: str) -> str:
    # There may be a user name and a password before an @, and anything in a query or a fragment.
    shown = re.sub(r"^((?:https?://)?).*@", r"\1***@", address, flags=re.DOTALL)
    return re.sub(r"[?#;\s].*", "...", shown, flags=re.DOTALL)
