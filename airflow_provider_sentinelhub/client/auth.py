"""
OAuth2 client credentials: one live token per client in a process, whoever asks.

Source: https://docs.planet.com/develop/authentication/
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.deployments import LOOPBACK
from airflow_provider_sentinelhub.client.policy import Attempt, Broken, RetryLimits, token_delay
from airflow_provider_sentinelhub.client.problems import Problem, Reply
from airflow_provider_sentinelhub.client.throttle import Throttle

if TYPE_CHECKING:
    import requests

_TIMEOUT_S = (10, 30)
_EARLY_S = 120.0
# What a token endpoint answers about who asks; anything else is no token endpoint's answer.
_OF_THE_CLIENT = frozenset({400, 401, 403})
_DEFAULT_TTL_S = 600.0

# At DEBUG it writes the client secret and the token into the log.
logging.getLogger("requests_oauthlib.oauth2_session").setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """
    Who asks for a token, and where.

    :param client_id: OAuth2 client id.
    :param client_secret: OAuth2 client secret; never shown.
    :param token_url: Token endpoint.
    :param name: What messages call them, e.g. the connection they come from.
    """

    client_id: str
    client_secret: str = field(repr=False)
    token_url: str
    name: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    renew_at: float


class TokenSource:
    """
    Keeps one live token, renewed before it expires; safe to share between threads.

    What the service told one sender of this client, to wait, holds for all of them: see ``throttle``.

    :param credentials: Who asks.
    :param limits: How long a failing token endpoint is worth trying.
    """

    def __init__(self, credentials: ClientCredentials, limits: RetryLimits | None = None) -> None:
        self.credentials = credentials
        self._limits = limits or RetryLimits()
        self._lock = threading.Lock()
        self._token: _Token | None = None
        self.throttle = Throttle()

    def live(self, *, refused: str | None = None) -> str | None:
        """
        Return the token if one is live, without any waiting.

        :param refused: A token the service has just refused; it is not live, whatever its expiry says.
        """
        token = self._token
        if token is None or token.value == refused or time.monotonic() >= token.renew_at:
            return None
        return token.value

    def get(self, *, refused: str | None = None) -> str:
        """
        Return a live token, fetching one where needed; many callers cause one fetch.

        :param refused: A token the service has just refused.
        :raises AuthenticationError: The client id or secret is wrong.
        :raises ServiceUnavailable: The token endpoint kept failing.
        """
        with self._lock:
            live = self.live(refused=refused)
            if live is None:
                self._token = self._fetch()
                live = self._token.value
            return live

    def _fetch(self) -> _Token:
        started, number = time.monotonic(), 1
        while True:
            answer = self._ask()
            if isinstance(answer, _Token):
                return answer
            delay = token_delay(Attempt(number, time.monotonic() - started), answer, self._limits)
            if delay is None:
                raise self._refusal(answer)
            time.sleep(delay)
            number += 1

    def _ask(self) -> _Token | Reply | Broken:
        import requests
        from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
        from requests_oauthlib import OAuth2Session

        answers: list[requests.Response] = []

        def keep(response: requests.Response) -> requests.Response:
            answers.append(response)
            return response

        client_id = self.credentials.client_id
        with OAuth2Session(client=BackendApplicationClient(client_id=client_id)) as session:
            session.register_compliance_hook("access_token_response", keep)
            # A redirected request would carry the secret to wherever the redirect points.
            session.max_redirects = 0
            try:
                with _loopback_without_tls(self.credentials.token_url):
                    token: dict[str, Any] = session.fetch_token(
                        self.credentials.token_url,
                        client_id=client_id,
                        client_secret=self.credentials.client_secret,
                        include_client_id=True,
                        timeout=_TIMEOUT_S,
                    )
            except requests.RequestException as e:
                return Broken(type(e).__name__, sent=True)
            except (OAuth2Error, ValueError, TypeError, AttributeError):
                answer = answers[-1] if answers else None
                if answer is None:
                    return Broken("no answer", sent=True)
                return Reply(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.content)
        ttl = float(token.get("expires_in") or _DEFAULT_TTL_S)
        return _Token(str(token["access_token"]), time.monotonic() + ttl - min(_EARLY_S, ttl / 5))

    def _refusal(self, answer: Reply | Broken) -> errors.ApiError:
        # Not the whole address: where it comes from a connection, Airflow masks it in its logs.
        host = urlsplit(self.credentials.token_url).netloc
        whose = f"Connection {self.credentials.name!r}: could" if self.credentials.name else "Could"
        where = f"{whose} not get a token from {host}"
        if isinstance(answer, Broken):
            return errors.ServiceUnavailable(f"{where}: {answer.reason}. Check the token URL, or try again later.")
        if answer.status < 300:  # noqa: PLR2004 - HTTP
            # The body is not quoted: it may hold a token under another name.
            return errors.UnexpectedAnswer(
                f"{where}: it answered {answer.status} without a token. Check the token URL in the connection.",
                status=answer.status,
            )
        problem = Problem.of(answer, (self.credentials.client_secret,))
        said = f"{where}: it answered {answer.status}: {problem.message}"
        if answer.status >= 500 or answer.status == 429:  # noqa: PLR2004 - HTTP
            return errors.ServiceUnavailable(f"{said}. Try again later.", status=answer.status, code=problem.code)
        check = "the client id and the client secret in the connection, and that they belong to this deployment"
        if answer.status not in _OF_THE_CLIENT:
            check = "the token URL in the connection"
        return errors.AuthenticationError(
            f"{said}. Check {check}.",
            status=answer.status,
            code=problem.code,
        )


_sources: dict[ClientCredentials, TokenSource] = {}
_sources_lock = threading.Lock()
_environment_lock = threading.Lock()


def token_source(credentials: ClientCredentials) -> TokenSource:
    """
    Return this process's only token source for a client.

    :param credentials: Who asks.
    """
    with _sources_lock:
        return _sources.setdefault(credentials, TokenSource(credentials))


@contextlib.contextmanager
def _loopback_without_tls(url: str) -> Iterator[None]:
    # oauthlib refuses http altogether and offers no switch but this variable; a simulator on this machine has
    # no certificate, and ServiceAddress has already refused http to anywhere else.
    parts = urlsplit(url)
    name = "OAUTHLIB_INSECURE_TRANSPORT"
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        yield
        return
    # One at a time: the first to end would take the variable away from the others.
    with _environment_lock:
        before = os.environ.get(name)
        os.environ[name] = "1"
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = before
