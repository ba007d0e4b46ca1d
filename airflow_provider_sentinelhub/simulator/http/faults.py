"""The outermost layer of the server: normalises paths, logs requests and makes calls fail as the script says."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from airflow_provider_sentinelhub.simulator.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from fastapi import FastAPI

    from airflow_provider_sentinelhub.simulator.tasks.script import EndpointRule
    from airflow_provider_sentinelhub.simulator.tasks.service import Service

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

ADMIN = "/simulator"
USUAL = {
    400: ("COMMON_BAD_PAYLOAD", "Request body should be non-empty."),
    401: ("COMMON_UNAUTHORIZED", "You are not authorized!"),
    403: ("COMMON_INSUFFICIENT_PERMISSIONS", "You are not authorized to perform this action."),
    404: ("COMMON_NOT_FOUND", "Not found."),
    429: ("RATE_LIMIT_EXCEEDED", "You have exceeded your rate limit"),
}


class Faults:
    """
    ASGI application around the service's own.

    :param application: The service's.
    :param service: Has the script and the log.
    """

    def __init__(self, application: FastAPI, service: Service) -> None:
        self._application = application
        self._service = service
        self._endpoints = [
            (route.path_regex, re.sub(r"\{[^}]*\}", "{id}", route.path))
            for route in application.routes
            if isinstance(route, Route)
        ]

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
            # Log before the caller has the answer: a caller that then reads the log finds the call in it.
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
                await self._application(scope, receive, _drop)
            self._log(scope, None, rule)
            await _cut(receive, send)

    def _log(self, scope: MutableMapping[str, Any], status: int | None, rule: EndpointRule | None) -> None:
        method, path = scope["method"], scope["path"]
        endpoint = next((name for pattern, name in self._endpoints if pattern.match(path)), path)
        self._service.store.log_request(
            {
                "at": time.time(),
                "simulated": self._service.clock.now(),
                "method": method,
                "path": path,
                "endpoint": f"{method} {endpoint}",
                "status": status,
                "fault": rule.action if rule else None,
            }
        )


async def _drop(_message: Message) -> None:
    """Drop an answer."""


async def _cut(receive: Receive, send: Send) -> None:
    # ASGI has no message for a broken connection; uvicorn's send is a method of the object that has the transport.
    cycle: Any = getattr(send, "__self__", None)
    cycle.transport.abort()
    # Returning before the server has noticed would make it answer 500.
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
