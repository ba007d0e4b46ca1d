"""JSON over HTTP to Airflow's API server: one token, no proxy, one kind of error."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_FOUND = 404
_SERVER_ERROR = 500
_POLL_S = 0.2
T = TypeVar("T")


class AirflowApiError(Exception):
    """
    Airflow answered with an error.

    :param status: HTTP status.
    :param detail: Its answer.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"HTTP {status}: {detail}")
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed a moment later, e.g. because the database was busy."""
        return self.status >= _SERVER_ERROR


class AirflowHttp:
    """
    Calls one API server.

    :param base_url: Where it listens, without ``/api/v2``.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._token: str | None = None
        # A proxy of the environment cannot reach our loopback address.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method: str, path: str, body: object = None, **query: object) -> Any:
        """
        Call a path below ``/api/v2`` and return the JSON answer, ``None`` if it is empty.

        :param method: HTTP method.
        :param path: Path, quoted.
        :param body: JSON body.
        :param query: Query parameters.
        """
        if self._token is None:
            self._token = self._send("GET", "/auth/token")["access_token"]
        suffix = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self._send(method, f"/api/v2{path}{suffix}", body)

    def get(self, path: str, **query: object) -> Any:
        """
        Read a path below ``/api/v2``; ``None`` if there is no such thing.

        :param path: Path, quoted.
        :param query: Query parameters.
        """
        try:
            return self.call("GET", path, **query)
        except AirflowApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    def health(self) -> dict[str, dict[str, str | None]]:
        """Return the health of Airflow's components; this needs no token."""
        answer: dict[str, dict[str, str | None]] = self._send("GET", "/api/v2/monitor/health")
        return answer

    def _send(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base_url}{path}", data=data, headers=headers, method=method)
        try:
            with self._opener.open(request, timeout=30) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            with error:
                detail = error.read().decode(errors="replace")
            raise AirflowApiError(error.code, f"{method} {path}: {detail}") from None
        return json.loads(text) if text else None

    def until(self, look: Callable[[], T], enough: Callable[[T], bool], timeout: float, what: str) -> T:
        """
        Poll until a condition holds, and return the last answer; the API server may be down meanwhile.

        :param look: Asks the API server.
        :param enough: The condition.
        :param timeout: Seconds after which to give up.
        :param what: What is waited for, for the error message.
        """
        deadline = time.monotonic() + timeout
        seen: T | str = "no answer"
        while time.monotonic() < deadline:
            try:
                seen = answer = look()
            except OSError as error:
                # The API server may be the component that was killed.
                seen = f"no answer: {error}"
            except AirflowApiError as error:
                if not error.passing:
                    raise
                seen = str(error)
            else:
                if enough(answer):
                    return answer
            time.sleep(_POLL_S)
        raise TimeoutError(f"{what}: not within {timeout:.0f} s, last seen: {seen}")
