"""OAuth2 client credentials: issues and checks bearer tokens. Their lifetime is in real time, as for the caller."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from airflow_provider_sentinelhub.simulator.problems import unauthorized

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.tasks.service import Service


class Refused(Exception):
    """
    The token endpoint refuses a call.

    :param status: HTTP status.
    :param error: OAuth error code.
    :param description: OAuth error description.
    """

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description}


class Tokens:
    """
    Issues and checks access tokens.

    :param service: Stores the tokens, and has their lifetime.
    :param client_id: The only client.
    :param client_secret: Its secret.
    """

    def __init__(self, service: Service, client_id: str, client_secret: str) -> None:
        self._service = service
        self._client = (client_id, client_secret)
        self._key = secrets.token_bytes(32)

    def issue(self, body: str, authorization: str | None) -> dict[str, Any]:
        """
        Answer a call of the token endpoint.

        :param body: Form-encoded.
        :param authorization: The header, when it has the client's credentials.
        :raises Refused: 400 or 401.
        """
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if "grant_type" not in form:
            raise Refused(400, "invalid_request", "Missing form parameter: grant_type")
        if form["grant_type"] != "client_credentials":
            raise Refused(400, "unsupported_grant_type", "Unsupported grant_type")
        given = _basic(authorization) or (form.get("client_id", ""), form.get("client_secret", ""))
        if given != self._client:
            raise Refused(401, "invalid_client", "Invalid client or Invalid client credentials")
        lifetime = self._service.script.timing.token_ttl_seconds
        now = time.time()
        token = self._token(now, lifetime)
        self._service.store.add_token(token, now + lifetime)
        return {
            "access_token": token,
            "expires_in": int(lifetime),
            "refresh_expires_in": 0,
            "token_type": "Bearer",
            "not-before-policy": 0,
            "scope": "email profile",
        }

    def _token(self, now: float, lifetime: float) -> str:
        header = {"alg": "HS256", "typ": "JWT"}
        claims = {
            "exp": int(now + lifetime),
            "iat": int(now),
            "jti": secrets.token_hex(16),
            "iss": "sentinelhub-simulator",
            "azp": self._client[0],
            "client_id": self._client[0],
        }
        signed = f"{_segment(json.dumps(header).encode())}.{_segment(json.dumps(claims).encode())}"
        return f"{signed}.{_segment(hmac.digest(self._key, signed.encode(), hashlib.sha256))}"

    def check(self, authorization: str | None) -> None:
        """
        Check the token of a call.

        :param authorization: The header.
        :raises Problem: 401.
        """
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not self._service.store.token_valid(token.strip(), time.time()):
            raise unauthorized()


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _basic(authorization: str | None) -> tuple[str, str] | None:
    kind, _, encoded = (authorization or "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded).decode().partition(":")
    except ValueError:
        return None
    return unquote(name), unquote(secret)
