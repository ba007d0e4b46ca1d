"""One HTTP call with the standard library, for tests and scripts that talk to the simulator."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An HTTP answer.

    :param status: HTTP status.
    :param headers: Names in lower case.
    :param body: Parsed JSON; text where it is not JSON; ``None`` where there is none.
    """

    status: int
    headers: dict[str, str]
    body: Any


def call(
    method: str,
    url: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    form: dict[str, str] | None = None,
) -> Answer:
    """
    Make a call. Error statuses are answers; only a broken connection raises.

    :param method: HTTP method.
    :param url: Full URL.
    :param body: Bytes as they are, anything else as JSON; none when ``None``.
    :param headers: Additional headers.
    :param form: Sent form-encoded, in place of ``body``.
    :raises OSError: The connection broke.
    """
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    kind = "application/json"
    if form is not None:
        data, kind = urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded"
    request = urllib.request.Request(url, data, {"Content-Type": kind, **(headers or {})}, method=method)  # noqa: S310 - http only
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http only
            return _answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.headers, error.read())


def _answer(status: int, headers: Any, content: bytes) -> Answer:
    body: Any = None
    if content:
        try:
            body = json.loads(content)
        except ValueError:
            body = content.decode(errors="replace")
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body)
