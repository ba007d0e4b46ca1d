"""The simulator's own interface under ``/simulator``: no OAuth, never affected by the script."""

# FastAPI reads annotations at run time: no postponed evaluation in this module.

import time
from dataclasses import asdict
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from airflow_provider_sentinelhub.client.http.deployments import LOOPBACK
from airflow_provider_sentinelhub.simulator.http.bodies import masked
from airflow_provider_sentinelhub.simulator.problems import bad_payload, forbidden, not_found
from airflow_provider_sentinelhub.simulator.tasks.clock import iso
from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
from airflow_provider_sentinelhub.simulator.tasks.script import Script
from airflow_provider_sentinelhub.simulator.tasks.service import Service

LAST_REQUESTS = 1000


class ClockCommand(BaseModel):
    """
    A change of the clock; every part is optional.

    :param advance_seconds: Simulated seconds to jump ahead.
    :param running: Whether it runs.
    :param speed: Simulated seconds per real second.
    """

    # Further, and the calendar would end.
    advance_seconds: Annotated[float, Field(ge=0, le=1e10)] = 0
    running: bool | None = None
    speed: Annotated[float, Field(gt=0, le=1e7)] | None = None


class Account(BaseModel):
    """
    The account.

    :param pu_balance: Processing units left.
    """

    pu_balance: float


class StopCommand(BaseModel):
    """
    The service stops a task.

    :param reason: Why.
    """

    reason: Literal["UNHEALTHY", "OUT_OF_PU"] = "UNHEALTHY"


def from_this_machine(request: Request) -> None:
    """
    Refuse calls that a web page of somebody else makes through a browser on this machine: there is no token to stop it.

    :param request: The call.
    :raises Problem: 403 if it is addressed to another host than this one, or comes from a page of another origin.
    """
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        name = None
    # A page whose host name suddenly means 127.0.0.1 sends that name.
    if name not in LOOPBACK:
        raise forbidden(f"The admin interface answers calls to {', '.join(sorted(LOOPBACK))} only.")
    if origin not in {None, f"{request.url.scheme}://{host}"}:
        raise forbidden("The admin interface does not answer web pages of another origin.")


def admin_router(service: Service) -> APIRouter:
    """
    Build the routes.

    :param service: The state they show and change.
    """
    router = APIRouter()
    _add_script(router, service)
    _add_tasks(router, service)
    _add_requests(router, service)
    _add_clock(router, service)
    _add_account(router, service)
    return router


def _add_script(router: APIRouter, service: Service) -> None:
    @router.get("/script")
    def get_script() -> Script:
        return service.script

    @router.put("/script")
    def put_script(script: Script) -> Script:
        service.set_script(script)
        return service.script


def _add_tasks(router: APIRouter, service: Service) -> None:
    @router.get("/tasks")
    def get_tasks() -> dict[str, Any]:
        with service.lock:
            return {"tasks": [_history(service, task) for task in service.store.tasks.values()]}

    @router.get("/requests/{kind}")
    def get_kept(kind: str) -> dict[str, Any]:
        return {"requests": [masked(each) for each in service.store.kept(kind).values()]}

    @router.get("/tasks/{task_id}")
    def get_task(task_id: str) -> dict[str, Any]:
        with service.lock:
            task = _known(service, task_id)
            store = service.store
            return {
                **_history(service, task),
                "features": [asdict(row) for row in store.features(task_id)],
                "attempts": [asdict(each) for each in store.attempts(task_id)],
            }

    @router.post("/tasks/{task_id}/stop")
    def stop_task(task_id: str, command: StopCommand) -> dict[str, Any]:
        with service.lock:
            task = _known(service, task_id)
            if task.status != "PROCESSING":
                raise bad_payload(f"Task {task_id} is {task.status}, not PROCESSING.")
            task.stop_asked = command.reason
            service.store.save(task)
            return _history(service, task)


def _known(service: Service, task_id: str) -> Task:
    task = service.store.tasks.get(task_id)
    if task is None:
        raise not_found(f"Task {task_id}")
    return task


def _history(service: Service, task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "api": task.api,
        "description": service.api_of(task).user_text(task.request),
        "status": task.status,
        "error": task.error,
        "cost_pu": task.cost_pu,
        "history": [{"at": iso(entry["at"]), "event": entry["event"]} for entry in task.history],
    }


def _add_requests(router: APIRouter, service: Service) -> None:
    @router.get("/requests")
    def get_requests() -> dict[str, Any]:
        counts = service.store.request_counts()
        return {"total": sum(counts.values()), "counts": counts, "requests": service.store.requests(LAST_REQUESTS)}

    @router.delete("/requests")
    def clear_requests() -> dict[str, Any]:
        service.store.clear_requests()
        return {"total": 0}


def _add_clock(router: APIRouter, service: Service) -> None:
    @router.get("/clock")
    def get_clock() -> dict[str, Any]:
        return service.clock.describe()

    @router.post("/clock")
    def set_clock(command: ClockCommand) -> dict[str, Any]:
        if command.running is False:
            service.clock.stop()
        elif command.running or command.speed is not None:
            service.clock.run(command.speed)
        if command.advance_seconds:
            service.clock.advance(command.advance_seconds)
        return service.clock.describe()


def _add_account(router: APIRouter, service: Service) -> None:
    @router.get("/tokens")
    def get_tokens() -> dict[str, int]:
        issued, valid = service.store.count_tokens(time.time())
        return {"issued": issued, "valid": valid}

    @router.post("/tokens/revoke")
    def revoke_tokens() -> dict[str, int]:
        service.store.revoke_tokens()
        return get_tokens()

    @router.get("/account")
    def get_account() -> Account:
        return Account(pu_balance=service.balance)

    @router.put("/account")
    def put_account(account: Account) -> Account:
        service.balance = account.pu_balance
        return Account(pu_balance=service.balance)
