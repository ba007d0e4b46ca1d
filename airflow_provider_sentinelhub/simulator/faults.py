"""The outermost layer of the server: tidies paths, keeps the log of requests and lets calls go wrong."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from airflow_provider_sentinelhub.simulator.script import EndpointRule
    from airflow_provider_sentinelhub.simulator.service import Service

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

ADMIN = "/simulator"
USUAL = {
    400: ("COMMON_BAD_PAYLOAD", "Request body should be non-empty."),
    401: ("COMMON_UNAUTHORIZED", "You are not authorized!"),
    403: ("COMMON_INSUFFICIENT_PERMISSIONS", "You are not authorized to perform this action."),
    404: ("COMMON_NOT_FOUND", "Not found."),
    429: ("RATE_LIMIT_EXCEEDED", "You have exceeded your rate limit"),
}
_ID = re.compile(
    r"(?<=/process/)[^/]+|(?<=/tilinggrids/)[^/]+|(?<=^/api/v1/statistics/batch/)[^/]+|(?<=^/statistics/batch/v1/)[^/]+"
)


class Faults:
    """
    ASGI application around the real one.

    :param application: The real one.
    :param service: Knows the script and keeps the log.
    """

    def __init__(self, application: Application, service: Service) -> None:
        self._application = application
        self._service = service

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        path = scope["path"].rstrip("/") or "/"
        scope = {**scope, "path": path, "raw_path": path.encode()}
        if path.startswith(ADMIN):
            await self._application(scope, receive, send)
            return
        with self._service.lock:
            rule = self._service.script.take_endpoint_rule(scope["method"], path)
            if rule is not None:
                self._service.save_script()
        await self._serve(rule, scope, receive, send)

    async def _serve(
        self, rule: EndpointRule | None, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        async def logged(message: Message) -> None:
            # Before the caller has the answer: who looks at the log then finds the call in it.
            if message["type"] == "http.response.start":
                self._log(scope, message["status"], rule)
            await send(message)

        if rule is None:
            await self._application(scope, receive, logged)
            return
        await asyncio.sleep(rule.delay_seconds)
        if rule.action == "delay":
            await self._application(scope, receive, logged)
        elif rule.action == "answer":
            await _answer(rule, logged)
        else:
            if rule.action == "drop_after":
                await self._application(scope, receive, _nowhere)
            self._log(scope, None, rule)
            await _cut(receive, send)

    def _log(self, scope: MutableMapping[str, Any], status: int | None, rule: EndpointRule | None) -> None:
        method, path = scope["method"], scope["path"]
        self._service.store.log_request(
            {
                "at": time.time(),
                "simulated": self._service.clock.now(),
                "method": method,
                "path": path,
                "endpoint": f"{method} {_ID.sub('{id}', path)}",
                "status": status,
                "fault": rule.action if rule else None,
            }
        )


async def _nowhere(_message: Message) -> None:
    """Lose an answer."""


async def _cut(receive: Receive, send: Send) -> None:
    # ASGI has no message for a broken connection; uvicorn's send is a method of the object that knows the transport.
    cycle: Any = getattr(send, "__self__", None)
    cycle.transport.abort()
    # Until the server has noticed, it would still answer 500 on its own.
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(rule: EndpointRule, send: Send) -> None:
    code, message = USUAL.get(rule.status, ("COMMON_EXCEPTION", "Internal server error"))
    body = Problem(rule.status, code, message).body() if rule.body is None else rule.body
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/plain" if isinstance(body, str) else "application/json"
    headers = {"content-type": kind, "content-length": str(len(content)), **rule.headers}
    if rule.retry_after_ms is not None:
        headers["retry-after"] = str(rule.retry_after_ms)
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": rule.status, "headers": encoded})
    await send({"type": "http.response.body", "body": content})
