"""The life of a task, step by step: which call marks each step, and what can be done to it there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Literal

from airflow_provider_sentinelhub.client.apis.batch_statistical.spec import BATCH_STATISTICAL
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS
from airflow_provider_sentinelhub.client.http.deployments import PathLayout

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.lifecycle.spec import TaskApiSpec
    from devtools.chaos_gate import Call
    from devtools.chaos_variants import Variant


def _tasks_path(api: TaskApiSpec) -> str:
    page = api.calls.page(None)
    return f"{page.service.prefix(PathLayout.NEW)}{page.path}"


_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TASKS = "|".join(_tasks_path(api) for api in TASK_APIS.values())
_LIST = re.compile(rf"^({_TASKS})$")
_ONE = re.compile(rf"^({_TASKS})/{_ID}$")
_ANALYSE = re.compile(rf"^({_TASKS})/{_ID}/analyse$")
_START = re.compile(rf"^({_TASKS})/{_ID}/start$")
_STORE = re.compile(r"/store/ti/[^/]+/sentinelhub_batch$")
_STATE = re.compile(rf"/task-instances/{_ID}/state$")
_RUN = re.compile(rf"/task-instances/{_ID}/run$")
_DATABASE = re.compile(r"/execution-[^/]+\.sqlite$")
_FEATURES = re.compile(r"/rerun-[^/]+\.gpkg$")
_REPORT = re.compile(r"/report-[^/]+\.parquet$")
_SCRIPT = re.compile(r"/evalscripts/[^/]+\.js$")
_ANSWER = re.compile(r"/\d+\.json$")
_ANSWER_AGAIN = re.compile(rf"\.reruns/{_ID}/\d+\.json$")
_PART = re.compile(rf"/statistics-{_ID}\.parts/[^/]+\.parquet$")
_LEDGER = re.compile(rf"/statistics-{_ID}\.parts/[^/]+\.arrow$")
_NOTE = re.compile(rf"/statistics-{_ID}\.parts/published$")
_STATISTICS = re.compile(rf"/statistics-{_ID}\.parquet$")

Place = Literal["service", "bucket", "airflow"]
Held = Literal["before", "after"]


class Harm(StrEnum):
    """What is done while a call is held."""

    KILL = "kill -9 the caller"
    KILL_THEN_ARRIVE = "kill -9 the caller, its call still arrives"
    LOSE_WORKER = "kill -9 worker and supervisor"
    KILL_TRIGGERER = "kill -9 the triggerer"
    KILL_SCHEDULER = "kill -9 the scheduler and all workers"
    KILL_API_SERVER = "kill -9 the API server"
    STALL = "stop the triggerer for 4 s"
    TAKE_OVER = "stop the triggerer until another has taken over"
    CUT = "cut the network for 3 s"
    LOSE = "lose this call, or its answer"
    LATE = "let this call arrive long after its repeat"
    BURST = "answer 503 four times"
    THROTTLE = "answer 429 four times"
    UNKNOWN = "answer 404 three times"


KILLS = frozenset(
    {
        Harm.KILL,
        Harm.KILL_THEN_ARRIVE,
        Harm.LOSE_WORKER,
        Harm.KILL_TRIGGERER,
        Harm.KILL_SCHEDULER,
        Harm.KILL_API_SERVER,
        Harm.TAKE_OVER,
    }
)


Says = Callable[["Call"], bool]


def _words(*words: str) -> Says:
    def says(call: Call) -> bool:
        text = call.body + (call.reply.body if call.reply else b"")
        return all(word.encode() in text for word in words)

    return says


def _status(status: str, *more: str) -> Says:
    return _words(f'"status":"{status}"', *more)


def _of_another_task(call: Call) -> bool:
    """Whether a file named after a task holds something of another one, which ran its failed features again."""
    return bool({found.decode() for found in re.findall(_ID.encode(), call.body)} - set(re.findall(_ID, call.path)))


_ANYTHING = _words()
# The tag of a rerun names its number and its original.
_RERUN = "^1:"


@dataclass(frozen=True, slots=True)
class Step:
    """
    A point in the life of a task.

    :param number: Its number.
    :param name: What it is called in the tables.
    :param place: Whom the call that marks it is for.
    :param method: Its method.
    :param path: What its path looks like.
    :param held: Before the other side hears of it, or after it has acted.
    :param says: Judges what the request and its answer say.
    :param only: The API in which alone it occurs; ``None`` for any.
    :param long: Whether it occurs only when the evalscript is too long to stand in the request.
    :param deferred: Whether it occurs when the wait is deferred.
    :param blocking: Whether it occurs when it is not.
    :param analyse: Whether it occurs only (True), or never (False), when the analysis comes first.
    :param rerun: Whether it occurs only when failed features are run again.
    :param in_trigger: Whether the trigger makes the call, where there is one.
    :param fresh: Whether the service may not know the task's id yet.
    """

    number: int
    name: str
    place: Place
    method: str
    path: re.Pattern[str]
    held: Held
    says: Says = _ANYTHING
    only: TaskApiSpec | None = None
    long: bool = False
    deferred: bool = True
    blocking: bool = True
    analyse: bool | None = None
    rerun: bool = False
    in_trigger: bool = False
    fresh: bool = False

    def occurs(self, variant: Variant) -> bool:
        """
        Whether this step is in the life of a task.

        :param variant: How the task is run.
        """
        if self.analyse is not None and self.analyse is not variant.analyses:
            return False
        if self.only not in {None, variant.api} or (self.long and not variant.is_long):
            return False
        if self.rerun and len(variant.reruns) == 1:
            return False
        return self.deferred if variant.deferred else self.blocking

    def marks(self, call: Call) -> bool:
        """
        Whether a call marks this step.

        :param call: The call.
        """
        return (
            call.method == self.method
            and (call.reply is not None) is (self.held == "after")
            and self.path.search(call.path) is not None
            and self.says(call)
        )

    def harms(self, variant: Variant) -> Iterator[Harm]:
        """
        Give what can be done here.

        :param variant: How the task is run.
        """
        by_trigger = self.in_trigger and variant.deferred
        yield Harm.KILL
        if self.held == "before" and self.place != "airflow":
            yield Harm.KILL_THEN_ARRIVE
        if self.held == "before" and self.path is _STORE:
            yield Harm.LATE
        yield from (Harm.CUT, Harm.LOSE, Harm.KILL_SCHEDULER, Harm.KILL_API_SERVER)
        if by_trigger:
            yield from (Harm.STALL, Harm.TAKE_OVER)
        else:
            yield Harm.LOSE_WORKER
            if variant.deferred:
                yield Harm.KILL_TRIGGERER
        if self.place == "service":
            yield Harm.BURST
            if self.held == "before":
                yield Harm.THROTTLE
            if self.fresh:
                yield Harm.UNKNOWN


_NEW = _status("CREATED", '"userAction":"NONE"')
_RERUN_CREATED = _words('["')
_REPROCESSING, _REDONE = _status("PROCESSING", _RERUN), _status("DONE", _RERUN)

_of_statistics = partial(Step, only=BATCH_STATISTICAL)
_of_rerun = partial(_of_statistics, rerun=True)

STEPS = (
    Step(1, "looking for an earlier task", "service", "GET", _LIST, "before"),
    Step(2, "long script on its way", "bucket", "PUT", _SCRIPT, "before", long=True),
    Step(3, "create on its way", "service", "POST", _LIST, "before"),
    Step(4, "created, answer on its way", "service", "POST", _LIST, "after"),
    Step(5, "created, before the record", "airflow", "PUT", _STORE, "before"),
    Step(6, "recorded", "airflow", "PUT", _STORE, "after"),
    Step(7, "before the deferral", "airflow", "PATCH", _STATE, "before", _words('"deferred"'), blocking=False),
    Step(8, "deferred, not yet taken", "airflow", "PATCH", _STATE, "after", _words('"deferred"'), blocking=False),
    Step(9, "first look", "service", "GET", _ONE, "after", _NEW, in_trigger=True, fresh=True),
    Step(10, "analyse on its way", "service", "POST", _ANALYSE, "before", analyse=True, in_trigger=True),
    Step(11, "analysing, answer on its way", "service", "POST", _ANALYSE, "after", analyse=True, in_trigger=True),
    Step(12, "start on its way", "service", "POST", _START, "before", in_trigger=True, fresh=True),
    Step(13, "started, answer on its way", "service", "POST", _START, "after", in_trigger=True),
    Step(14, "analysing", "service", "GET", _ONE, "after", _status("ANALYSING"), analyse=False, in_trigger=True),
    Step(15, "processing", "service", "GET", _ONE, "after", _status("PROCESSING"), in_trigger=True),
    Step(16, "ended, before the event", "service", "GET", _ONE, "after", _status("DONE"), in_trigger=True),
    Step(17, "woken up", "airflow", "PATCH", _RUN, "after", _words('"execute_complete"'), blocking=False),
    Step(18, "reading the report", "bucket", "GET", _DATABASE, "before", only=BATCH_V2),
    _of_statistics(19, "reading the results", "bucket", "GET", _ANSWER, "before"),
    _of_statistics(20, "results read, on their way", "bucket", "PUT", _PART, "before"),
    _of_statistics(21, "results kept, before their ledger", "bucket", "PUT", _LEDGER, "before"),
    _of_statistics(22, "ledger kept, before the table", "bucket", "PUT", _LEDGER, "after"),
    _of_statistics(23, "statistics on their way", "bucket", "PUT", _STATISTICS, "before"),
    _of_statistics(24, "statistics published, before the note", "bucket", "PUT", _NOTE, "before"),
    Step(25, "lost features on their way", "bucket", "PUT", _FEATURES, "before", rerun=True),
    Step(26, "rerun: create on its way", "service", "POST", _LIST, "before", _words(_RERUN), rerun=True),
    Step(27, "rerun: created, answer on its way", "service", "POST", _LIST, "after", _words(_RERUN), rerun=True),
    Step(28, "rerun: created, before the record", "airflow", "PUT", _STORE, "before", _RERUN_CREATED, rerun=True),
    Step(29, "rerun: processing", "service", "GET", _ONE, "after", _REPROCESSING, rerun=True, in_trigger=True),
    Step(30, "rerun: ended, before the event", "service", "GET", _ONE, "after", _REDONE, rerun=True, in_trigger=True),
    _of_rerun(31, "rerun: reading the results", "bucket", "GET", _ANSWER_AGAIN, "before"),
    _of_rerun(32, "rerun: results kept, before their ledger", "bucket", "PUT", _LEDGER, "before", _of_another_task),
    _of_rerun(33, "rerun: statistics on their way", "bucket", "PUT", _STATISTICS, "before", _of_another_task),
    _of_rerun(34, "rerun: statistics published", "bucket", "PUT", _STATISTICS, "after", _of_another_task),
    Step(35, "report written", "bucket", "PUT", _REPORT, "after"),
    Step(36, "success on its way", "airflow", "PATCH", _STATE, "before", _words('"success"')),
    Step(37, "success, answer on its way", "airflow", "PATCH", _STATE, "after", _words('"success"')),
)
