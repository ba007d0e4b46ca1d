"""A further API is one class: statuses, actions and routes that no other API has, on the same engine."""

from __future__ import annotations

import ast
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvicorn
from fastapi import APIRouter

from airflow_provider_sentinelhub import simulator
from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket, Keys
from airflow_provider_sentinelhub.simulator.bucket.s3server import S3Server
from airflow_provider_sentinelhub.simulator.caller import Answer, call
from airflow_provider_sentinelhub.simulator.features.features import Feature
from airflow_provider_sentinelhub.simulator.http.app import build
from airflow_provider_sentinelhub.simulator.http.faults import Faults
from airflow_provider_sentinelhub.simulator.http.routes import Paths, add_tasks
from airflow_provider_sentinelhub.simulator.http.tasks import Tasks
from airflow_provider_sentinelhub.simulator.http.tokens import Tokens
from airflow_provider_sentinelhub.simulator.problems import bad_payload
from airflow_provider_sentinelhub.simulator.tasks.api import Analysis, TaskApi, Work
from airflow_provider_sentinelhub.simulator.tasks.clock import Clock
from airflow_provider_sentinelhub.simulator.tasks.engine import Engine
from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Lifecycle, Task
from airflow_provider_sentinelhub.simulator.tasks.script import Script
from airflow_provider_sentinelhub.simulator.tasks.service import Service
from airflow_provider_sentinelhub.simulator.tasks.store import FeatureRow, Store

KEYS = ("AKIASIMULATOR0000001", "secret")
BASE = "/tiles/v0"


class Tiles(TaskApi):
    """Started without an analysis, canceled, PARTIAL where tiles failed, and restarted for just those."""

    name = "tiles"
    lifecycle = Lifecycle(
        accepted={
            ("CREATED", "NONE"): frozenset({"START", "CANCEL"}),
            ("PROCESSING", "START"): frozenset({"CANCEL"}),
            ("PARTIAL", "START"): frozenset({"RESTART"}),
            ("PARTIAL", "RESTART"): frozenset({"RESTART"}),
        },
        following={("CREATED", "START"): ("PROCESSING", "queue_seconds")},
        restarted={"PARTIAL": "PROCESSING"},
        stop_action="CANCEL",
        stopped="CANCELED",
    )
    actions: ClassVar[Mapping[str, str]] = {"start": "START", "cancel": "CANCEL"}

    def routers(self, service: Service) -> Iterator[APIRouter]:
        tasks, router = Tasks(service, self), APIRouter()
        add_tasks(router, tasks, Paths(BASE, BASE), "request", actions=self.actions)

        @router.get(f"{BASE}/{{task_id}}/tiles")
        def tiles(task_id: str) -> dict[str, str]:
            return {row.name: row.status for row in service.store.features(tasks.find(task_id).id)}

        @router.post(f"{BASE}/{{task_id}}/restartpartial", status_code=204)
        def restart(task_id: str) -> None:
            with service.lock:
                if tasks.find(task_id).status != "PARTIAL":
                    raise bad_payload("Only requests with status PARTIAL can be restarted.")
                for row in service.store.features(task_id):
                    if row.status == "FATAL":
                        service.store.handle_feature(task_id, replace(row, status="PENDING", handled=False))
                tasks.act(task_id, "RESTART")

        yield router

    def check(self, payload: Any) -> dict[str, Any]:
        return dict(payload)

    def user_text(self, request: dict[str, Any]) -> str:
        return str(request["names"])

    def delivery(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return "url", {"url": request["url"], "accessKey": KEYS[0], "secretAccessKey": KEYS[1]}

    def analyse(self, task: Task, _bucket: Bucket, _sources: dict[str, Bucket]) -> Analysis:
        return Analysis([Feature(name, 32632, 1, 1, 0, 0, 1, 1) for name in task.request["names"]])

    def process(self, work: Work) -> tuple[FeatureRow, float]:
        failed = work.script.feature_rule(work.subject) is not None
        work.bucket.put(f"out/{work.feature.name}", b"failed" if failed else b"fine")
        status = "FATAL" if failed else "DONE"
        return FeatureRow(work.number, work.feature.name, status, None, delivered=not failed, handled=True), 1.0

    def final_status(self, task: Task, store: Store) -> tuple[str, str | None]:
        failed = [row.name for row in store.features(task.id) if row.status == "FATAL"]
        return ("PARTIAL", "Too many failed tiles") if failed else ("DONE", None)

    def view(self, task: Task, common: dict[str, Any]) -> dict[str, Any]:
        return {"id": task.id, "status": common["status"], "error": task.error, "tileCount": len(task.request["names"])}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "buckets" / "bucket").mkdir(parents=True)
    s3 = S3Server(tmp_path / "buckets", tmp_path / "s3.log", 0, *KEYS)
    s3.start()
    store = Store(tmp_path / "state.sqlite")
    service = Service(store, Clock(600), Keys(*KEYS, "", s3.endpoint, "eu-central-1"), [Tiles()])
    engine = Engine(service)
    engine.start()
    yield service
    engine.stop()
    store.close()
    s3.stop()


Client = Callable[..., Answer]


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    tokens = Tokens(service, "id", "secret")
    token = tokens.issue("grant_type=client_credentials&client_id=id&client_secret=secret", None)["access_token"]
    application = Faults(build(service, tokens, [Tiles()]), service)
    server = uvicorn.Server(uvicorn.Config(application, log_config=None, lifespan="off", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield lambda method, path, body=None: call(method, base_url + path, body, {"Authorization": f"Bearer {token}"})
        server.should_exit = True
        thread.join(timeout=10)


def create(client: Client) -> str:
    return str(client("POST", BASE, {"names": ["a", "b"], "url": "s3://bucket/out"}).body["id"])


def wait(client: Client, task_id: str, status: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while True:
        task: dict[str, Any] = client("GET", f"{BASE}/{task_id}").body
        if task["status"] == status:
            return task
        assert time.monotonic() < deadline, task
        time.sleep(0.05)


def test_a_partial_task_is_restarted_for_what_failed(client: Client, service: Service) -> None:
    service.set_script(Script.model_validate({"features": [{"names": ["b"], "outcome": "fatal"}]}))
    task_id = create(client)
    refused = client("POST", f"{BASE}/{task_id}/restartpartial")
    assert (refused.status, refused.body["error"]["message"]) == (
        400, "Only requests with status PARTIAL can be restarted.",
    )  # fmt: skip
    assert client("POST", f"{BASE}/{task_id}/start").status == 204
    expected = {"id": task_id, "status": "PARTIAL", "error": "Too many failed tiles", "tileCount": 2}
    assert wait(client, task_id, "PARTIAL") == expected
    assert client("GET", f"{BASE}/{task_id}/tiles").body == {"a": "DONE", "b": "FATAL"}

    # Fails once more: a task that is PARTIAL again waits for another restart.
    for script, status, tile in (
        ({"features": [{"names": ["b"], "outcome": "fatal"}]}, "PARTIAL", "FATAL"),
        ({}, "DONE", "DONE"),
    ):
        service.set_script(Script.model_validate(script))
        assert client("POST", f"{BASE}/{task_id}/restartpartial").status == 204
        wait(client, task_id, status)
        assert client("GET", f"{BASE}/{task_id}/tiles").body == {"a": "DONE", "b": tile}
    events = [entry["event"] for entry in client("GET", f"/simulator/tasks/{task_id}").body["history"]]
    assert events == [
        "created", "user START", "status PROCESSING", "status PARTIAL",
        "user RESTART", "status PROCESSING", "status PARTIAL",
        "user RESTART", "status PROCESSING", "status DONE",
    ]  # fmt: skip
    assert client("GET", "/simulator/requests").body["counts"]["POST /tiles/v0/{id}/restartpartial"] == 3


@pytest.mark.parametrize("started", [False, True])
def test_a_canceled_task_stays_canceled(client: Client, service: Service, *, started: bool) -> None:
    service.set_script(Script.model_validate({"timing": {"feature_seconds": 1e6}}))
    task_id = create(client)
    if started:
        client("POST", f"{BASE}/{task_id}/start")
        wait(client, task_id, "PROCESSING")
    assert client("POST", f"{BASE}/{task_id}/cancel").status == 204
    wait(client, task_id, "CANCELED")
    refused = client("POST", f"{BASE}/{task_id}/start")
    message = "Illegal to change userAction from CANCEL to START with task status CANCELED"
    assert (refused.status, refused.body["error"]["message"]) == (400, message)


def test_only_the_apis_know_an_api_by_name() -> None:
    # Sample requests are requests of an API; nothing in the simulator uses them.
    folder = Path(simulator.__file__).parent
    files = [file for file in folder.rglob("*.py") if file.parent.name != "apis" and file.name != "sample.py"]
    assert len(files) > 30
    names = re.compile(r"batch[-_ /]?v\d|v\d/batch|batch[-_ ]?statistical|\bstatistical|statistics/", re.IGNORECASE)
    found = []
    for file in files:
        tree = ast.parse(file.read_text())
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            words = [value for _, value in ast.iter_fields(node) if isinstance(value, str)]
            if id(node) not in docs and names.search(" ".join(words)):
                found.append((file.name, words))
    assert found == []
