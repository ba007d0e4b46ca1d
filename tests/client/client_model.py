"""The service in memory: what procedures see when answers are lost, replicas lag and time passes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.call import Call, Pause

T = TypeVar("T")

START = datetime(2025, 1, 1, tzinfo=UTC)
LEGAL = {
    ("CREATED", "NONE"): {"ANALYSE", "START"},
    ("ANALYSING", "ANALYSE"): {"START", "STOP"},
    ("ANALYSING", "START"): {"STOP"},
    ("ANALYSIS_DONE", "ANALYSE"): {"START", "STOP"},
    ("ANALYSIS_DONE", "START"): {"STOP"},
    ("PROCESSING", "START"): {"STOP"},
    ("STOPPED", "START"): {"START"},
    ("STOPPED", "STOP"): {"START"},
}
RESTART_LOCK_S = 1800.0
FAULTS = ["none", "none", "none", "lost before", "lost after", "down", "down after"]


@dataclass
class Task:
    id: str
    description: str
    created: float
    status: str = "CREATED"
    action: str = "NONE"
    since: float = 0.0
    starts: int = 0
    seen: list[tuple[float, str, str]] = field(default_factory=list)


@dataclass
class Service:
    """
    Judges writes by the truth, answers reads as old as ``read_lag`` and lists as old as ``list_lag``.

    ``faults`` says what happens to the next calls, one after the other.
    """

    read_lag: float = 0.0
    list_lag: float = 0.0
    step_seconds: float = 3.0
    page_size: int = 2
    now: float = 0.0
    tasks: dict[str, Task] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    _number: Any = field(default_factory=lambda: itertools.count(1))

    # --- time --------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for task in self.tasks.values():
            while self._moves(task):
                pass

    def _moves(self, task: Task) -> bool:
        if self.now - task.since < self.step_seconds:
            return False
        after = {
            ("CREATED", "START"): "ANALYSING",
            ("CREATED", "ANALYSE"): "ANALYSING",
            ("ANALYSING", "START"): "ANALYSIS_DONE",
            ("ANALYSING", "ANALYSE"): "ANALYSIS_DONE",
            ("ANALYSING", "STOP"): "ANALYSIS_DONE",
            ("ANALYSIS_DONE", "STOP"): "STOPPED",
            ("ANALYSIS_DONE", "START"): "PROCESSING",
            ("PROCESSING", "STOP"): "STOPPED",
            ("PROCESSING", "START"): "DONE",
        }.get((task.status, task.action))
        if after is None:
            return False
        self._note(task, task.since + self.step_seconds, after, task.action)
        return True

    def _note(self, task: Task, at: float, status: str, action: str) -> None:
        if status != task.status or task.since == 0.0:
            task.since = at
        task.status, task.action = status, action
        task.seen.append((at, status, action))

    # --- calls ---------------------------------------------------------------------------------------------------

    def answer(self, call: Call[Any]) -> Any:
        self.log.append(f"{call.method} {call.path}")
        self.advance(0.05)
        fault = self.faults.pop(0) if self.faults else "none"
        if call.method == "GET":
            if fault in {"down", "down after"}:
                raise errors.ServiceUnavailable("down", status=503)
            return call.parse(self._read(call))
        if fault == "down":
            raise errors.ServiceUnavailable("down")
        if call.path == "/process":
            return self._create(call, fault)
        _, _, task_id, action = call.path.split("/")
        self._act(task_id, action.upper())
        if fault == "down after":
            raise errors.ServiceUnavailable("down")
        if fault == "lost after":
            # The sender sends an action again when its answer was lost.
            self._act(task_id, action.upper())
        return None

    def _read(self, call: Call[Any]) -> dict[str, Any]:
        if call.path == "/process":
            return self._page(call.query.get("viewtoken"))
        task = self.tasks.get(call.path.rsplit("/", 1)[1])
        if task is None:
            raise errors.NotFound("no such task", status=404)
        if self.now < task.created + self.read_lag:
            if not call.fresh:
                raise errors.NotFound("not yet", status=404)
            self.advance(task.created + self.read_lag - self.now)
        return self._view(task)

    def _view(self, task: Task) -> dict[str, Any]:
        seen = [entry for entry in task.seen if entry[0] <= self.now - self.read_lag]
        _, status, action = seen[-1] if seen else task.seen[0]
        return {
            "id": task.id,
            "status": status,
            "userAction": action,
            "created": (START + timedelta(seconds=task.created)).isoformat(),
            "request": {"description": task.description},
        }

    def _page(self, token: str | None) -> dict[str, Any]:
        first = int(token or 0)
        shown = [task for task in self.tasks.values() if task.created + self.list_lag <= self.now]
        shown.sort(key=lambda task: task.created, reverse=True)
        last = first + self.page_size
        links = {"nextToken": str(last)} if last < len(shown) else {}
        return {"data": [self._view(task) for task in shown[first:last]], "links": links}

    def _create(self, call: Call[Any], fault: str) -> Any:
        if fault == "lost before":
            raise errors.OutcomeUnknown("lost")
        json.dumps(call.body)
        task = self.add(str((call.body or {}).get("description", "")))
        if fault in {"lost after", "down after"}:
            raise errors.OutcomeUnknown("lost")
        return call.parse(self._view(task))

    def add(self, description: str) -> Task:
        task = Task(f"t{next(self._number)}", description, self.now)
        self.tasks[task.id] = task
        task.seen.append((self.now, "CREATED", "NONE"))
        return task

    def _act(self, task_id: str, action: str) -> None:
        task = self.tasks.get(task_id)
        if task is None:
            raise errors.NotFound("no such task", status=404)
        locked = task.status == "STOPPED" and self.now < task.since + RESTART_LOCK_S
        if locked or action not in LEGAL.get((task.status, task.action), set()):
            raise errors.IllegalAction(f"Illegal to change userAction from {task.action} to {action}", status=400)
        # Started again after a stop, it is paid for once more only because somebody wanted that.
        task.starts = (0 if task.status == "STOPPED" else task.starts) + (action == "START")
        task.since = self.now
        self._note(task, self.now, "ANALYSIS_DONE" if task.status == "STOPPED" else task.status, action)


def carry_out(service: Service, procedure: Generator[Call[Any] | Pause, Any, T], steps: int = 1000) -> T:
    """Carry a procedure out; fails when it takes more than ``steps``, so that it surely ends."""
    answer: Any = None
    error: errors.ApiError | None = None
    for _ in range(steps):
        try:
            step = procedure.throw(error) if error else procedure.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = error = None
        if isinstance(step, Pause):
            assert 0 <= step.seconds <= 10
            service.advance(step.seconds)
            continue
        try:
            answer = service.answer(step)
        except errors.ApiError as e:
            error = e
    raise AssertionError(f"not at an end after {steps} steps: {service.log[-20:]}")


def abandon(service: Service, procedure: Generator[Call[Any] | Pause, Any, Any], steps: int) -> None:
    """Carry out the first steps of a procedure only, as a worker does that is killed."""
    try:
        carry_out(service, procedure, steps)
    except (AssertionError, errors.ApiError):
        procedure.close()
