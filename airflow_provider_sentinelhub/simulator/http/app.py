"""The HTTP interface of the simulated service, in both of its path layouts."""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from airflow_provider_sentinelhub.simulator.http.admin import admin_router, from_this_machine
from airflow_provider_sentinelhub.simulator.http.routes import AdministeredApi, Api, OpenApi
from airflow_provider_sentinelhub.simulator.http.tokens import Refused, Tokens
from airflow_provider_sentinelhub.simulator.problems import Problem, violations
from airflow_provider_sentinelhub.simulator.tasks.service import Service

ADMIN = "/simulator"
TOKEN_PATHS = ("/auth/realms/main/protocol/openid-connect/token", "/oauth/token")


def build(service: Service, tokens: Tokens, apis: Iterable[Api]) -> FastAPI:
    """
    Assemble the application.

    :param service: The simulated service.
    :param tokens: Issues and checks access tokens.
    :param apis: The APIs to serve.
    """

    def authorized(authorization: Annotated[str | None, Header()] = None) -> None:
        tokens.check(authorization)

    app = FastAPI(title="sentinelhub-simulator", docs_url="/simulator/docs", openapi_url="/simulator/openapi.json")
    for api in apis:
        for router in api.routers(service):
            app.include_router(router, dependencies=[Depends(authorized)])
        for router in api.open_routers(service) if isinstance(api, OpenApi) else ():
            app.include_router(router)
        for router in api.admin_routers(service) if isinstance(api, AdministeredApi) else ():
            app.include_router(router, prefix=ADMIN, dependencies=[Depends(from_this_machine)])
    app.include_router(_token_router(tokens))
    app.include_router(admin_router(service), prefix=ADMIN, dependencies=[Depends(from_this_machine)])
    _add_error_handlers(app)
    return app


def _token_router(tokens: Tokens) -> APIRouter:
    router = APIRouter()

    async def token(request: Request) -> dict[str, Any]:
        body = (await request.body()).decode(errors="replace")
        return await run_in_threadpool(tokens.issue, body, request.headers.get("authorization"))

    for path in TOKEN_PATHS:
        router.add_api_route(path, token, methods=["POST"])
    return router


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
