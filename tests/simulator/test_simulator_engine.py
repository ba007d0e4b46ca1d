from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket, Keys
from airflow_provider_sentinelhub.simulator.tasks.api import Analysis, TaskApi, Work
from airflow_provider_sentinelhub.simulator.tasks.clock import Clock
from airflow_provider_sentinelhub.simulator.tasks.engine import WORKERS, Engine
from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
from airflow_provider_sentinelhub.simulator.tasks.service import Service
from airflow_provider_sentinelhub.simulator.tasks.store import FeatureRow, Store

DELIVERY = {"url": "s3://bucket/folder", "accessKey": "A" * 20, "secretAccessKey": "secret"}
PATIENCE_S = 20.0


class Slow(TaskApi):
    """An API whose analyses of large tasks take until they are told to end."""

    name = "slow"

    def __init__(self) -> None:
        self.begun: list[threading.Event] = [threading.Event() for _ in range(WORKERS - 1)]
        self.end, self.small = threading.Event(), threading.Event()

    def check(self, payload: Any) -> dict[str, Any]:
        return dict(payload)

    def user_text(self, request: dict[str, Any]) -> str:
        return str(request["name"])

    def delivery(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        return "output", DELIVERY

    def analyse(self, task: Task, _bucket: Bucket, _sources: dict[str, Bucket]) -> Analysis:
        if task.id.isdecimal():
            self.begun[int(task.id)].set()
            self.end.wait(PATIENCE_S)
        else:
            self.small.set()
        return Analysis([])

    def process(self, work: Work) -> tuple[FeatureRow, float]:
        raise NotImplementedError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "state.sqlite")) as opened:
        yield opened


def test_a_task_that_takes_long_holds_up_no_other(store: Store) -> None:
    api = Slow()
    service = Service(store, Clock(1e6), Keys("A" * 20, "secret", "role", "http://127.0.0.1:1", "region"), [api])
    for name in [*map(str, range(WORKERS - 1)), "small"]:
        task = Task(name, api.name, {"name": name}, 0.0, 0.0)
        api.lifecycle.act(task, "ANALYSE", 0.0, service.script.timing)
        store.save(task)
    engine = Engine(service)
    engine.start()
    try:
        assert all(each.wait(PATIENCE_S) for each in api.begun)
        assert api.small.wait(PATIENCE_S)
        assert {store.tasks[str(number)].status for number in range(WORKERS - 1)} == {"ANALYSING"}
    finally:
        api.end.set()
        engine.stop()
