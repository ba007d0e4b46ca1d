"""The HTTP interface of the simulated service, in both of its path layouts."""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

import json
import re
from email.parser import BytesParser
from email.policy import HTTP
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from airflow_provider_sentinelhub.simulator.admin import admin_router
from airflow_provider_sentinelhub.simulator.problems import Problem, bad_payload, violations
from airflow_provider_sentinelhub.simulator.service import Service
from airflow_provider_sentinelhub.simulator.tokens import Refused, Tokens

LAYOUTS = ("/api/v2/batch", "/batch/v2")
TOKEN_PATHS = ("/auth/realms/main/protocol/openid-connect/token", "/oauth/token")


def build(service: Service, tokens: Tokens) -> FastAPI:
    """
    Assemble the application.

    :param service: What it is about.
    :param tokens: Who may call it.
    """
    app = FastAPI(title="sentinelhub-simulator", docs_url="/simulator/docs", openapi_url="/simulator/openapi.json")
    for layout in LAYOUTS:
        app.include_router(_batch_router(service, tokens), prefix=layout)
    app.include_router(_token_router(tokens))
    app.include_router(admin_router(service), prefix="/simulator")
    _add_error_handlers(app)
    return app


def _batch_router(service: Service, tokens: Tokens) -> APIRouter:
    def authorized(authorization: Annotated[str | None, Header()] = None) -> None:
        tokens.check(authorization)

    router = APIRouter(dependencies=[Depends(authorized)])
    _add_tasks(router, service)
    _add_actions(router, service)
    _add_grids(router, service)
    return router


def _add_tasks(router: APIRouter, service: Service) -> None:
    @router.post("/process", status_code=201)
    async def create(request: Request) -> dict[str, Any]:
        payload = parse_body(await request.body(), request.headers.get("content-type", ""))
        return await run_in_threadpool(service.create, payload)

    @router.get("/process")
    def list_tasks(
        request: Request,
        count: Annotated[int | None, Query()] = None,
        viewtoken: Annotated[str | None, Query()] = None,
        sort: Annotated[str | None, Query()] = None,
        search: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        return service.list(count, viewtoken, sort, search, _url(request))

    @router.get("/process/{task_id}")
    def get(task_id: str) -> dict[str, Any]:
        return service.get(task_id)

    @router.put("/process/{task_id}")
    async def update(task_id: str, request: Request) -> dict[str, Any]:
        return await run_in_threadpool(service.update, task_id, parse_json(await request.body()))


def _add_actions(router: APIRouter, service: Service) -> None:
    @router.post("/process/{task_id}/analyse", status_code=204)
    def analyse(task_id: str) -> Response:
        service.act(task_id, "ANALYSE")
        return Response(status_code=204)

    @router.post("/process/{task_id}/start", status_code=204)
    def start(task_id: str) -> Response:
        service.act(task_id, "START")
        return Response(status_code=204)

    @router.post("/process/{task_id}/stop", status_code=204)
    def stop(task_id: str) -> Response:
        service.act(task_id, "STOP")
        return Response(status_code=204)


def _add_grids(router: APIRouter, service: Service) -> None:
    @router.get("/tilinggrids")
    def grids(
        request: Request,
        count: Annotated[int | None, Query()] = None,
        viewtoken: Annotated[str | None, Query()] = None,
    ) -> dict[str, Any]:
        return service.grids(count, viewtoken, _url(request))

    @router.get("/tilinggrids/{grid_id}")
    def grid(grid_id: str) -> dict[str, Any]:
        return service.grid(grid_id)


def _url(request: Request) -> str:
    # Links use the new layout whatever the caller used, as the service's have done since 2026.
    path = re.sub(r"^/api/v2/batch", "/batch/v2", request.url.path)
    return f"{request.url.scheme}://{request.url.netloc}{path}"


def _token_router(tokens: Tokens) -> APIRouter:
    router = APIRouter()

    async def token(request: Request) -> dict[str, Any]:
        body = (await request.body()).decode(errors="replace")
        return await run_in_threadpool(tokens.issue, body, request.headers.get("authorization"))

    for path in TOKEN_PATHS:
        router.add_api_route(path, token, methods=["POST"])
    return router


def parse_json(body: bytes) -> Any:
    """
    Read a JSON body.

    :param body: The bytes; an empty body is an empty document.
    :raises Problem: 400.
    """
    if not body.strip():
        return {}
    try:
        return json.loads(body)
    except ValueError as error:
        raise bad_payload(f"Failed to parse the request body: {error}") from error


def parse_body(body: bytes, content_type: str) -> Any:
    """
    Read the body of a create call: JSON, or multipart with the parts ``request`` and ``evalscript``.

    :param body: The bytes.
    :param content_type: The header.
    :raises Problem: 400 or 415.
    """
    if content_type.startswith("multipart/form-data"):
        return _parse_multipart(body, content_type)
    if content_type and not content_type.startswith("application/json"):
        raise Problem(415, "COMMON_UNSUPPORTED_MEDIA_TYPE", f"Content-Type {content_type} is not supported.")
    return parse_json(body)


def _parse_multipart(body: bytes, content_type: str) -> Any:
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts: dict[str, bytes] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            parts[name] = content
    if "request" not in parts:
        raise violations([{"parameter": "request", "violation": "part request must be present"}])
    payload = parse_json(parts["request"])
    if "evalscript" in parts and isinstance(payload, dict) and isinstance(payload.get("processRequest"), dict):
        payload["processRequest"]["evalscript"] = parts["evalscript"].decode()
    return payload


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    def problem(_request: Request, error: Problem) -> JSONResponse:
        return JSONResponse(error.body(), error.status)

    @app.exception_handler(Refused)
    def refused(_request: Request, error: Refused) -> JSONResponse:
        return JSONResponse(error.body, error.status)

    @app.exception_handler(RequestValidationError)
    def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        found = [
            {"parameter": "->".join(str(step) for step in each["loc"][1:]), "violation": str(each["msg"])}
            for each in error.errors()
        ]
        return JSONResponse(violations(found).body(), 400)

    @app.exception_handler(HTTPException)
    def http(_request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "COMMON_NOT_FOUND", 405: "COMMON_METHOD_NOT_ALLOWED"}.get(error.status_code, "COMMON_EXCEPTION")
        return JSONResponse(Problem(error.status_code, code, str(error.detail)).body(), error.status_code)

    @app.exception_handler(Exception)
    def broken(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(Problem(500, "COMMON_EXCEPTION", f"Error in the simulator: {error}").body(), 500)
