"""
An authorised session of requests-oauthlib, for calls that this package has no function for.

Imports requests at module level, so it is imported only where somebody asks for such a session.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from oauthlib.oauth2 import BackendApplicationClient
from requests.adapters import HTTPAdapter  # noqa: TID253 - see above
from requests_oauthlib import OAuth2Session
from urllib3.util import Retry

from airflow_provider_sentinelhub.client.http import policy
from airflow_provider_sentinelhub.client.http.transport import CONNECT_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from airflow_provider_sentinelhub.client.http.auth import TokenSource

_READ_TIMEOUT_S = 60.0
_RETRIES = 5
_TRANSIENT = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


def authorised_session(tokens: TokenSource, mask: Callable[[str], None]) -> OAuth2Session:
    """
    Open a session whose requests carry the client's token.

    :param tokens: Asked for the token before each request.
    :param mask: Told each token before it is used: requests-oauthlib writes it to its debug log.
    """
    session = _AuthorisedSession(tokens, mask)
    adapter = _PatientAdapter(max_retries=_Retry(total=_RETRIES, status_forcelist=_TRANSIENT))
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _AuthorisedSession(OAuth2Session):
    """Takes the token from the shared token source: oauthlib's own renewal needs a refresh token, and there is none."""

    def __init__(self, tokens: TokenSource, mask: Callable[[str], None]) -> None:
        super().__init__(client=BackendApplicationClient(client_id=tokens.credentials.client_id))
        # Without this, requests would put what ~/.netrc says about the host in place of the token.
        self.auth = lambda request: request
        self._tokens = tokens
        self._mask = mask
        self._used = ""
        self._refused: str | None = None

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """
        Send a request with a live token.

        :param method: HTTP method.
        :param url: Full address.
        """
        value = self._tokens.get(refused=self._refused)
        if value != self._used:
            self._mask(value)
            self.token, self._used = {"access_token": value, "token_type": "Bearer"}, value
        response: requests.Response = super().request(method, url, *args, **kwargs)
        # Revoked before its time: the next request asks for another one.
        self._refused = value if response.status_code == HTTPStatus.UNAUTHORIZED else None
        return response


class _PatientAdapter(HTTPAdapter):
    """Waits for a silent server for a while, and not for ever, where the caller says nothing."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """
        Send a request.

        :param request: The request.
        """
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = (CONNECT_TIMEOUT_S, _READ_TIMEOUT_S)
        return super().send(request, *args, **kwargs)


class _Retry(Retry):
    """urllib3's retries, with the service's ``Retry-After``: in milliseconds, and of any method."""

    def __init__(self, total: int, **kwargs: Any) -> None:
        kwargs = {"backoff_factor": 1.0, "backoff_jitter": 1.0, "raise_on_status": False} | kwargs
        super().__init__(total, **kwargs)

    def parse_retry_after(self, retry_after: str) -> float:
        """
        Return the seconds to wait.

        :param retry_after: The header's value.
        """
        return policy.retry_after({"retry-after": retry_after}, policy.RetryLimits()) or 0.0

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """
        Whether a request is sent again: after a 429 any, for the service did nothing; else one that does no harm.

        :param method: HTTP method.
        :param status_code: HTTP status of the answer.
        :param has_retry_after: Whether the answer says how long to wait.
        """
        if status_code == HTTPStatus.TOO_MANY_REQUESTS:
            return bool(self.total)
        return super().is_retry(method, status_code, has_retry_after)
