"""The service in memory, as procedures see it: answers get lost, calls come late or twice, replicas lag behind."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_sentinelhub.client import errors
from airflow_provider_sentinelhub.client.http.call import Call, Pause

if TYPE_CHECKING:
    from collections.abc import Generator

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
RERUN_LOCK_S = 1800.0
LOST = ["lost before", "lost after", "down", "down after"]
LATE = ["late", "late and down"]
TWICE = ["twice", "twice, answered by the second", "twice, the second late"]
DISORDER = ["none"] * 12 + [*LOST, *LATE, *TWICE]


@dataclass
class Task:
    id: str
    description: str
    created: float
    status: str = "CREATED"
    action: str = "NONE"
    since: float = 0.0
    starts: int = 0
    """How often a start was accepted, ever; after a stop it may be once more, for that is the same task."""
    seen: list[tuple[float, str, str]] = field(default_factory=list)


@dataclass
class Service:
    """
    Judges writes by the truth, answers reads as old as ``read_lag`` and lists as old as ``list_lag``.

    :param read_lag: Seconds after which every replica knows of a write.
    :param replicas: Shares of that lag, one for each read in turn: answers then contradict each other, and a later one
        may be the older.
    :param list_lag: Seconds after which the list shows a new task.
    :param is_listing: Whether it shows any at all.
    :param is_orderly: Whether no call ever arrives late or twice.
    :param runs_at_once: Whether a task runs as soon as it is created, as in an API without a start.
    :param delays: Seconds by which late calls come late, in turn.
    :param faults: What happens to the next calls, one after the other.
    """

    read_lag: float = 0.0
    replicas: list[float] = field(default_factory=lambda: [1.0])
    list_lag: float = 0.0
    is_listing: bool = True
    is_orderly: bool = False
    runs_at_once: bool = False
    delays: list[float] = field(default_factory=lambda: [30.0])
    step_seconds: float = 3.0
    page_size: int = 2
    now: float = 0.0
    tasks: dict[str, Task] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    on_their_way: list[tuple[float, Call[Any]]] = field(default_factory=list)
    """Calls that nobody waits for any more, and when they arrive."""
    late_starts: set[str] = field(default_factory=set)
    """Tasks that were started by one of them."""
    _number: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self._replica, self._delay = itertools.cycle(self.replicas), itertools.cycle(self.delays)

    # --- time --------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [sent for sent in self.on_their_way if sent[0] <= end]:
            first = min(due, key=lambda sent: sent[0])
            self.on_their_way.remove(first)
            arrives, call = first
            self._pass_until(max(self.now, arrives))
            outcome = self._carried_out(call)
            if call.path.endswith("/start") and not isinstance(outcome, errors.ApiError):
                self.late_starts.add(call.path.split("/")[2])
        self._pass_until(end)

    def _pass_until(self, moment: float) -> None:
        self.now = moment
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
        if self.is_orderly and fault in {*LATE, *TWICE}:
            fault = "none"
        if call.method == "GET":
            if fault in {"down", "down after"}:
                raise errors.ServiceUnavailable("down", status=503)
            return call.parse(self._read(call))
        return self._answer_write(call, fault)

    def _answer_write(self, call: Call[Any], fault: str) -> Any:
        if fault == "down":
            raise errors.ServiceUnavailable("down")
        is_create = call.path == "/process"
        lost = errors.OutcomeUnknown("lost") if is_create else errors.ServiceUnavailable("down")
        # The sender sends an action again when its answer was lost, and never a create.
        unheard = {"lost before", "lost after", "down after", "late"} if is_create else {"down after"}
        if fault in {*LATE, "twice, the second late"}:
            self.send_late(call)
        if fault == "late and down" or fault in unheard & {"lost before", "late"}:
            raise lost
        copies = 2 if fault.startswith("twice, answered") or fault in {"twice", "lost after"} - unheard else 1
        answers = [self._carried_out(call)]
        if copies > 1:
            self.advance(0.05)
            answers.append(self._carried_out(call))
        if fault in unheard:
            raise lost
        answer = answers[0 if fault == "twice" else -1]
        if isinstance(answer, errors.ApiError):
            raise answer
        return answer

    def _carried_out(self, call: Call[Any]) -> Any:
        try:
            return self._write(call)
        except errors.ApiError as e:
            return e

    def send_late(self, call: Call[Any]) -> None:
        """Have a call arrive some time from now, whatever becomes of those who sent it."""
        if not self.is_orderly:
            self.on_their_way.append((self.now + next(self._delay), call))

    def _write(self, call: Call[Any]) -> Any:
        if call.path == "/process":
            json.dumps(call.body)
            return call.parse(self._view(self.add(str((call.body or {}).get("description", ""))), 0.0))
        _, _, task_id, action = call.path.split("/")
        self._act(task_id, action.upper())
        return None

    def _read(self, call: Call[Any]) -> dict[str, Any]:
        if call.path == "/process":
            return self._page(call.query.get("viewtoken"))
        task = self.tasks.get(call.path.rsplit("/", 1)[1])
        if task is None:
            raise errors.NotFound("no such task", status=404)
        lag = self.read_lag * next(self._replica)
        if self.now < task.created + lag:
            if not call.fresh:
                raise errors.NotFound("not yet", status=404)
            self.advance(task.created + lag - self.now)
        return self._view(task, lag)

    def _view(self, task: Task, lag: float) -> dict[str, Any]:
        seen = [entry for entry in task.seen if entry[0] <= self.now - lag]
        _, status, action = seen[-1] if seen else task.seen[0]
        return {
            "id": task.id,
            "status": status,
            "userAction": "NONE" if self.runs_at_once else action,
            "created": (START + timedelta(seconds=task.created)).isoformat(),
            "request": {"description": task.description},
        }

    def _page(self, token: str | None) -> dict[str, Any]:
        first = int(token or 0)
        shown = [task for task in self.tasks.values() if self.is_listing and task.created + self.list_lag <= self.now]
        shown.sort(key=lambda task: task.created, reverse=True)
        last = first + self.page_size
        links = {"nextToken": str(last)} if last < len(shown) else {}
        return {
            "data": [self._view(task, self.read_lag * next(self._replica)) for task in shown[first:last]],
            "links": links,
        }

    def add(self, description: str) -> Task:
        task = Task(f"t{next(self._number)}", description, self.now)
        self.tasks[task.id] = task
        if self.runs_at_once:
            task.action, task.starts = "START", 1
        task.seen.append((self.now, task.status, task.action))
        return task

    def _act(self, task_id: str, action: str) -> None:
        task = self.tasks.get(task_id)
        if task is None:
            raise errors.NotFound("no such task", status=404)
        locked = task.status == "STOPPED" and self.now < task.since + RERUN_LOCK_S
        if locked or action not in LEGAL.get((task.status, task.action), set()):
            raise errors.IllegalAction(f"Illegal to change userAction from {task.action} to {action}", status=400)
        task.starts += action == "START"
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
    """
    Carry out the first steps of a procedure only, as a worker does that is killed.

    What it was about to send then is on its way: it arrives when nobody waits for it any more.
    """
    answer: Any = None
    error: errors.ApiError | None = None
    for number in range(steps + 1):
        try:
            step = procedure.throw(error) if error else procedure.send(answer)
        except (StopIteration, errors.ApiError):
            return
        answer = error = None
        if number == steps:
            if isinstance(step, Call) and step.method == "POST":
                service.send_late(step)
        elif isinstance(step, Pause):
            service.advance(step.seconds)
        else:
            try:
                answer = service.answer(step)
            except errors.ApiError as e:
                error = e
    procedure.close()
