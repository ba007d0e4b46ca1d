"""What callers can do: create tasks, look at them, and act on them."""

from __future__ import annotations

import json
import threading
import uuid
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.simulator import machine
from airflow_provider_sentinelhub.simulator.analysis import summary, template
from airflow_provider_sentinelhub.simulator.clock import iso
from airflow_provider_sentinelhub.simulator.cost import MINIMUM_BALANCE_PU
from airflow_provider_sentinelhub.simulator.delivery import Bucket, BucketFailed, cannot_access
from airflow_provider_sentinelhub.simulator.grids import GRIDS
from airflow_provider_sentinelhub.simulator.machine import Task
from airflow_provider_sentinelhub.simulator.paging import matches, page
from airflow_provider_sentinelhub.simulator.problems import (
    bad_payload,
    conflict,
    no_processing_units,
    not_found,
    violations,
)
from airflow_provider_sentinelhub.simulator.script import Script
from airflow_provider_sentinelhub.simulator.validation import check

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.clock import Clock
    from airflow_provider_sentinelhub.simulator.delivery import Keys
    from airflow_provider_sentinelhub.simulator.store import Store

ACCOUNT = uuid.uuid5(uuid.NAMESPACE_URL, "sentinelhub-simulator/account")
WORKSPACE = uuid.uuid5(uuid.NAMESPACE_URL, "sentinelhub-simulator/workspace")
INITIAL_PU = 1_000_000.0


class Service:
    """
    The service's state and rules.

    Everything that reads or changes a task holds ``lock``; time's own work is done by the engine.

    :param store: State on disk.
    :param clock: Simulated time.
    :param keys: Bucket keys and where the S3 server is.
    :param script: Replaces the remembered script; ``None`` keeps that.
    """

    def __init__(self, store: Store, clock: Clock, keys: Keys, script: Script | None = None) -> None:
        self.store = store
        self.clock = clock
        self.keys = keys
        self.lock = threading.RLock()
        remembered = store.setting("script")
        self._script = script or (Script.model_validate(remembered) if remembered else Script())
        self.save_script()

    @property
    def script(self) -> Script:
        """The script in force."""
        return self._script

    def set_script(self, script: Script) -> None:
        """
        Put another script in force.

        :param script: The new one.
        """
        with self.lock:
            self._script = script
            self.save_script()

    def save_script(self) -> None:
        """Remember the script with what is left of its counts."""
        self.store.remember("script", self._script.model_dump())

    @property
    def balance(self) -> float:
        """Processing units left in the account."""
        balance = self.store.setting("pu_balance")
        return INITIAL_PU if balance is None else float(balance)

    @balance.setter
    def balance(self, value: float) -> None:
        self.store.remember("pu_balance", value)

    def create(self, payload: Any) -> dict[str, Any]:
        """
        Create a task.

        :param payload: Parsed body.
        :raises Problem: 400 or 403.
        """
        request = check(payload)
        if self.balance < MINIMUM_BALANCE_PU:
            raise no_processing_units()
        with self.lock:
            now = self.clock.now()
            rule = self._script.take_task_rule(str(request.get("description", "")))
            self.save_script()
        task = Task(id=str(uuid.uuid4()), request=request, created=now, since=now, rule=rule)
        self._leave_request(task, payload)
        task.note(now, "created")
        with self.lock:
            self.store.save(task)
            return self._view(task)

    def _leave_request(self, task: Task, payload: Any) -> None:
        content = json.dumps(summary(payload), indent=1).encode()
        try:
            bucket = Bucket.open(task.request["output"]["delivery"]["s3"], self.keys)
            bucket.put(template(task).beside(f"request-{task.id}.json"), content)
        except BucketFailed as error:
            raise cannot_access("output->delivery->s3", str(error)) from error
        try:
            source = self.source(task)
            if source is not None:
                source.keys(task.id)
        except BucketFailed as error:
            raise cannot_access("input->features->s3", str(error)) from error

    def source(self, task: Task) -> Bucket | None:
        """
        Open the bucket a task's features come from.

        :param task: The task.
        :returns: ``None`` for a tiling grid.
        """
        given = task.request["input"]
        if given["type"] != "geopackage":
            return None
        return Bucket.open(given["features"]["s3"], self.keys)

    def get(self, task_id: str) -> dict[str, Any]:
        """
        Return a task.

        :param task_id: Its id.
        :raises Problem: 404.
        """
        with self.lock:
            return self._view(self._visible(task_id))

    def act(self, task_id: str, action: str) -> None:
        """
        Take an action.

        :param task_id: Id of the task.
        :param action: ANALYSE, START or STOP.
        :raises Problem: 400 or 404.
        """
        with self.lock:
            task = self._visible(task_id)
            machine.act(task, action, self.clock.now(), self._script.timing)
            self.store.save(task)

    def update(self, task_id: str, payload: Any) -> dict[str, Any]:
        """
        Change a task's description.

        :param task_id: Its id.
        :param payload: Parsed body.
        :returns: The request, not the task, as the service does.
        :raises Problem: 400, 404 or 409.
        """
        with self.lock:
            task = self._visible(task_id)
            if not isinstance(payload, dict) or not isinstance(payload.get("description", ""), str):
                raise violations([{"parameter": "description", "violation": "description must be a string"}])
            if not machine.updatable(task):
                raise conflict(f"Request {task.id} cannot be updated with status {task.status}.")
            if "description" in payload:
                task.request["description"] = payload["description"]
                task.last_updated = self.clock.now()
                task.note(task.last_updated, "user UPDATE")
                self.store.save(task)
            return summary(task.request)

    def list(
        self, count: int | None, viewtoken: str | None, sort: str | None, search: str | None, url: str
    ) -> dict[str, Any]:
        """
        Return one page of tasks.

        :param count: Size of the page; at most, and by default, 100.
        :param viewtoken: Which page; the first when ``None``.
        :param sort: ``created``, ``created:desc``, ``status`` or ``status:desc``.
        :param search: Words joined by ``|`` or ``&``, looked for in descriptions; all tasks when empty.
        :param url: The caller's URL without the query, for the links.
        :raises Problem: 400.
        """
        field, _, direction = (sort or "created").partition(":")
        if field not in {"created", "status"} or direction not in {"", "desc"}:
            raise violations([{"parameter": "sort", "violation": f"sort by {sort} is not supported"}])
        with self.lock:
            now = self.clock.now()
            tasks = [
                task
                for task in self.store.tasks.values()
                if now >= task.created + self._script.timing.visible_after_seconds
                and matches(f"{task.id} {task.description}", search)
            ]
            # Newest last, and equal ones in the order of their creation: pages stay put while tasks are added.
            tasks.sort(key=lambda task: (getattr(task, field), task.created), reverse=direction == "desc")
            chosen, links = page(tasks, count, viewtoken, url)
            return {"data": [self._view(task) for task in chosen], "links": links}

    def grids(self, count: int | None, viewtoken: str | None, url: str) -> dict[str, Any]:
        """
        Return one page of tiling grids.

        :param count: Size of the page.
        :param viewtoken: Which page.
        :param url: The caller's URL without the query.
        """
        chosen, links = page(list(GRIDS.values()), count, viewtoken, url)
        return {"data": [grid.describe() for grid in chosen], "links": links}

    def grid(self, grid_id: str) -> dict[str, Any]:
        """
        Return one tiling grid.

        :param grid_id: Its number, as text.
        :raises Problem: 400, where others would say 404.
        """
        grid = GRIDS.get(int(grid_id)) if grid_id.isdecimal() else None
        if grid is None:
            raise bad_payload(f"Tiling grid with id {grid_id} does not exist.")
        return grid.describe()

    def _visible(self, task_id: str) -> Task:
        task = self.store.tasks.get(task_id)
        hidden = self._script.timing.visible_after_seconds
        if task is None or self.clock.now() < task.created + hidden:
            raise not_found(f"Batch request with id {task_id}")
        return task

    def _view(self, task: Task) -> dict[str, Any]:
        shown = self._snapshot(task)
        view: dict[str, Any] = {
            "id": task.id,
            "request": summary(task.request),
            "domainAccountId": str(ACCOUNT),
            "projectId": str(ACCOUNT),
            "workspaceId": str(WORKSPACE),
            "status": shown["status"],
            "error": task.error if shown["status"] == "FAILED" else None,
            "userAction": shown["user_action"],
            "userActionUpdated": _time(shown["user_action_updated"]),
            "created": iso(task.created),
            "completionPercentage": task.completion,
            "lastUpdated": _time(shown["last_updated"]),
            "costPU": task.cost_pu,
            "stoppedStatusReason": task.stopped_reason if shown["status"] == "STOPPED" else None,
        }
        return {name: value for name, value in view.items() if value is not None}

    def _snapshot(self, task: Task) -> dict[str, Any]:
        lag = self._script.timing.status_lag_seconds
        if lag == 0:
            return {
                name: getattr(task, name) for name in ("status", "user_action", "user_action_updated", "last_updated")
            }
        past = self.clock.now() - lag
        seen = [entry for entry in task.history if entry["at"] <= past]
        return seen[-1] if seen else task.history[0]


def _time(moment: float | None) -> str | None:
    return None if moment is None else iso(moment)
