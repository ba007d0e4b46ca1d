"""The life of a remote task in steps: the call that marks each step, and the faults that can be injected there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from airflow_provider_sentinelhub.client.apis.async_process.spec import ASYNC_PROCESS
from airflow_provider_sentinelhub.client.apis.batch_statistical.spec import BATCH_STATISTICAL
from airflow_provider_sentinelhub.client.apis.batch_v1.spec import BATCH_V1
from airflow_provider_sentinelhub.client.apis.batch_v2.spec import BATCH_V2
from airflow_provider_sentinelhub.client.apis.registry import TASK_APIS
from airflow_provider_sentinelhub.client.http.deployments import PathLayout
from devtools.chaos.faults import Fault

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.lifecycle.spec import ApiSpec, TaskApiSpec
    from devtools.chaos.proxy import Call


MAX_RESTARTS = 2
"""``max_restarts`` of the DAGs whose features fail once, twice, or every time."""

# A part of the names of their DAGs. Without one: Batch Processing V2.
_APIS = {"_statistical": BATCH_STATISTICAL, "_v1": BATCH_V1}


def api_of(variant: str) -> TaskApiSpec:
    """
    Return the API of a DAG.

    :param variant: Its name, without ``chaos_``.
    """
    return next((api for name, api in _APIS.items() if name in variant), BATCH_V2)


class Variant(StrEnum):
    """A way to run a batch; the DAG is named after it."""

    DEFERRED = "deferred"
    BLOCKING = "blocking"
    DEFERRED_MAPPED = "deferred_mapped"
    BLOCKING_MAPPED = "blocking_mapped"
    DEFERRED_ANALYSE = "deferred_analyse"
    BLOCKING_ANALYSE = "blocking_analyse"
    DEFERRED_RERUN = "deferred_rerun"
    BLOCKING_RERUN = "blocking_rerun"
    DEFERRED_STATISTICAL = "deferred_statistical"
    BLOCKING_STATISTICAL = "blocking_statistical"
    DEFERRED_STATISTICAL_LONG = "deferred_statistical_long"
    DEFERRED_STATISTICAL_RERUN = "deferred_statistical_rerun"
    BLOCKING_STATISTICAL_RERUN = "blocking_statistical_rerun"
    DEFERRED_V1 = "deferred_v1"
    BLOCKING_V1 = "blocking_v1"
    DEFERRED_V1_MAPPED = "deferred_v1_mapped"
    BLOCKING_V1_MAPPED = "blocking_v1_mapped"
    DEFERRED_V1_ANALYSE = "deferred_v1_analyse"
    DEFERRED_V1_RESTART = "deferred_v1_restart"
    BLOCKING_V1_RESTART = "blocking_v1_restart"
    DEFERRED_V1_RESTART_HOPELESS = "deferred_v1_restart_hopeless"
    BLOCKING_V1_RESTART_HOPELESS = "blocking_v1_restart_hopeless"
    DEFERRED_ASYNC = "deferred_async"
    BLOCKING_ASYNC = "blocking_async"

    @property
    def dag_id(self) -> str:
        """The DAG."""
        return f"chaos_{self.value}"

    @property
    def api(self) -> ApiSpec:
        """The API."""
        return ASYNC_PROCESS if self.is_async else api_of(self.value)

    @property
    def is_async(self) -> bool:
        """Whether it is a request of Async Process, which is no task."""
        return self.value.endswith("_async")

    @property
    def is_statistical(self) -> bool:
        """Whether the batch is of Batch Statistical."""
        return self.api is BATCH_STATISTICAL

    @property
    def restarts(self) -> int:
        """How often the service has to run failed features again, in the same remote task."""
        return MAX_RESTARTS if "_restart" in self.value else 0

    @property
    def outcome(self) -> str:
        """The outcome of the run: features that fail every time leave it PARTIAL."""
        return "PARTIAL" if self.value.endswith("hopeless") else "DONE"

    @property
    def is_long(self) -> bool:
        """Whether the evalscript is too long for the request."""
        return self.value.endswith("long")

    @property
    def deferred(self) -> bool:
        """Whether the operator is deferred."""
        return self.value.startswith("deferred")

    @property
    def analyses(self) -> bool:
        """Whether the analysis is requested before the start."""
        return self.value.endswith("analyse")

    @property
    def reruns(self) -> tuple[int, ...]:
        """The numbers of the original task and of its reruns."""
        return (0, 1) if self.value.endswith("rerun") else (0,)

    @property
    def map_indexes(self) -> tuple[int, ...]:
        """Map indexes of the task instances."""
        return (0, 1) if self.value.endswith("mapped") else (-1,)


def _tasks_path(api: TaskApiSpec) -> str:
    page = api.calls.page(None)
    return f"{page.service.prefix(PathLayout.NEW)}{page.path}"


_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_TASKS = "|".join(_tasks_path(api) for api in TASK_APIS.values())
_LIST = re.compile(rf"^({_TASKS})$")
_ONE = re.compile(rf"^({_TASKS})/{_ID}$")
_ANALYSE = re.compile(rf"^({_TASKS})/{_ID}/analyse$")
_START = re.compile(rf"^({_TASKS})/{_ID}/start$")
_TILES = re.compile(rf"^({_TASKS})/{_ID}/tiles$")
_RESTART = re.compile(rf"^({_TASKS})/{_ID}/restartpartial$")
_STORE = re.compile(r"/store/ti/[^/]+/sentinelhub_(batch|async)$")
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

_ASYNC = f"{ASYNC_PROCESS.service.prefix(PathLayout.NEW)}/process"
_SUBMIT = re.compile(rf"^{_ASYNC}$")
_REQUEST = re.compile(rf"^{_ASYNC}/{_ID}$")
_REQUEST_NOTE = re.compile(r"/airflow-[0-9a-f]+-\d+/airflow-request\.json$")
_COPY = re.compile(r"/request-[^/]+\.json$")

Receiver = Literal["service", "bucket", "airflow"]
Held = Literal["before", "after"]
Condition = Callable[["Call"], bool]


def _words(*words: str) -> Condition:
    def condition(call: Call) -> bool:
        text = call.body + (call.reply.body if call.reply else b"")
        return all(word.encode() in text for word in words)

    return condition


def _status(status: str, *more: str) -> Condition:
    return _words(f'"status":"{status}"', *more)


def _answered(call: Call) -> bool:
    return any(_status(status)(call) for status in ("DONE", "PARTIAL"))


def _of_another_task(call: Call) -> bool:
    """Whether a file named after a task contains results of another one, its rerun."""
    return bool({found.decode() for found in re.findall(_ID.encode(), call.body)} - set(re.findall(_ID, call.path)))


def _is_gone(call: Call) -> bool:
    return call.reply is not None and call.reply.status == HTTPStatus.NOT_FOUND


def _not_yet(call: Call) -> bool:
    return b'"succeeded": false' in call.body


_ANYTHING = _words()
# The tag of a rerun names its number and its original.
_RERUN = "^1:"


@dataclass(frozen=True, slots=True)
class ChaosStep:
    """
    A point in the life of a remote task.

    :param number: Its number.
    :param name: Its name in the report.
    :param receiver: Who receives the call that marks it.
    :param method: Its method.
    :param path: Pattern of its path.
    :param held: Before the receiver gets it, or after the receiver has answered.
    :param condition: What the request and its answer have to say.
    :param only: The APIs it occurs with. Default: any.
    :param long: Whether it occurs only when the evalscript is too long for the request.
    :param deferred: Whether it occurs when the operator is deferred.
    :param blocking: Whether it occurs when the operator blocks.
    :param analyse: Whether it occurs only (True), or never (False), when the analysis comes first.
    :param rerun: Whether it occurs only in reruns of failed features.
    :param restart: Whether it occurs only where the service runs failed features again, in the same remote task.
    :param follows: Pattern of the path of an earlier call of the same run, without which it does not occur.
    :param in_trigger: Whether the trigger makes the call, where there is one.
    :param fresh: Whether the service may not find the new task yet.
    :param after: Number of the step it comes after, if that is not the one before.
    """

    number: int
    name: str
    receiver: Receiver
    method: str
    path: re.Pattern[str]
    held: Held
    condition: Condition = _ANYTHING
    only: tuple[TaskApiSpec, ...] = ()
    long: bool = False
    deferred: bool = True
    blocking: bool = True
    analyse: bool | None = None
    rerun: bool = False
    restart: bool = False
    follows: re.Pattern[str] | None = None
    in_trigger: bool = False
    fresh: bool = False
    after: float = 0.0

    @property
    def place(self) -> float:
        """Its place among all steps."""
        return self.after or self.number

    def occurs(self, variant: Variant) -> bool:
        """
        Whether this step occurs.

        :param variant: How the batch is run.
        """
        if self.analyse is not None and self.analyse is not variant.analyses:
            return False
        if variant.api not in (self.only or TASK_APIS.values()) or (self.long and not variant.is_long):
            return False
        if (self.rerun and len(variant.reruns) == 1) or (self.restart and not variant.restarts):
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
            and self.condition(call)
        )

    def faults(self, variant: Variant) -> Iterator[Fault]:
        """
        Return the faults that can be injected here.

        :param variant: How the batch is run.
        """
        by_trigger = self.in_trigger and variant.deferred
        yield Fault.KILL
        if self.held == "before" and self.receiver != "airflow":
            yield Fault.KILL_THEN_ARRIVE
        if self.held == "before" and self.path is _STORE:
            yield Fault.LATE
        yield from (Fault.CUT, Fault.LOSE, Fault.KILL_SCHEDULER, Fault.KILL_API_SERVER)
        if by_trigger:
            yield from (Fault.STALL, Fault.TAKE_OVER)
        else:
            yield Fault.LOSE_WORKER
            if variant.deferred:
                yield Fault.KILL_TRIGGERER
        if self.receiver == "service":
            yield Fault.BURST
            if self.held == "before":
                yield Fault.THROTTLE
            if self.fresh:
                yield Fault.UNKNOWN


_NEW = _status("CREATED", '"userAction":"NONE"')
_RERUN_CREATED = _words('["')
_REPROCESSING, _REDONE = _status("PROCESSING", _RERUN), _status("DONE", _RERUN)
_RESTARTING, _RESTARTED = _words('"is_restarting":true'), _words('"is_restarting":false', '"resumes":1')

_ALL = (*TASK_APIS.values(), ASYNC_PROCESS)
_UNSENT = _words('"request_id": ""')


def _noted(call: Call) -> bool:
    return not _UNSENT(call) and _not_yet(call)


_of_all = partial(ChaosStep, only=_ALL)
_of_request = partial(ChaosStep, only=(ASYNC_PROCESS,))
# A start of a task of these APIs has it analysed.
_of_analysed = partial(ChaosStep, only=(BATCH_V2, BATCH_STATISTICAL), analyse=False)
_of_statistics = partial(ChaosStep, only=(BATCH_STATISTICAL,))
_of_rerun = partial(_of_statistics, rerun=True)
_of_restart = partial(ChaosStep, restart=True)
_after_restart = partial(_of_restart, follows=_RESTART, in_trigger=True)

STEPS = (
    ChaosStep(1, "looking for an earlier task", "service", "GET", _LIST, "before"),
    ChaosStep(2, "long script on its way", "bucket", "PUT", _SCRIPT, "before", long=True),
    ChaosStep(3, "create on its way", "service", "POST", _LIST, "before"),
    ChaosStep(4, "created, answer on its way", "service", "POST", _LIST, "after"),
    _of_all(5, "created, before the record", "airflow", "PUT", _STORE, "before"),
    _of_all(6, "recorded", "airflow", "PUT", _STORE, "after"),
    _of_all(7, "before the deferral", "airflow", "PATCH", _STATE, "before", _words('"deferred"'), blocking=False),
    _of_all(8, "deferred, not yet taken", "airflow", "PATCH", _STATE, "after", _words('"deferred"'), blocking=False),
    ChaosStep(9, "first look", "service", "GET", _ONE, "after", _NEW, in_trigger=True, fresh=True),
    ChaosStep(10, "analyse on its way", "service", "POST", _ANALYSE, "before", analyse=True, in_trigger=True),
    ChaosStep(11, "analysing, answer on its way", "service", "POST", _ANALYSE, "after", analyse=True, in_trigger=True),
    ChaosStep(12, "start on its way", "service", "POST", _START, "before", in_trigger=True, fresh=True),
    ChaosStep(13, "started, answer on its way", "service", "POST", _START, "after", in_trigger=True),
    _of_analysed(14, "analysing", "service", "GET", _ONE, "after", _status("ANALYSING"), in_trigger=True),
    ChaosStep(15, "processing", "service", "GET", _ONE, "after", _status("PROCESSING"), in_trigger=True),
    ChaosStep(16, "ended, before the event", "service", "GET", _ONE, "after", _answered, in_trigger=True),
    _of_all(17, "woken up", "airflow", "PATCH", _RUN, "after", _words('"execute_complete"'), blocking=False),
    ChaosStep(18, "reading the report", "bucket", "GET", _DATABASE, "before", only=(BATCH_V2,)),
    _of_statistics(19, "reading the results", "bucket", "GET", _ANSWER, "before"),
    _of_statistics(20, "results read, on their way", "bucket", "PUT", _PART, "before"),
    _of_statistics(21, "results kept, before their ledger", "bucket", "PUT", _LEDGER, "before"),
    _of_statistics(22, "ledger kept, before the table", "bucket", "PUT", _LEDGER, "after"),
    _of_statistics(23, "statistics on their way", "bucket", "PUT", _STATISTICS, "before"),
    _of_statistics(24, "statistics published, before the note", "bucket", "PUT", _NOTE, "before"),
    ChaosStep(25, "lost features on their way", "bucket", "PUT", _FEATURES, "before", rerun=True),
    ChaosStep(26, "rerun: create on its way", "service", "POST", _LIST, "before", _words(_RERUN), rerun=True),
    ChaosStep(27, "rerun: created, answer on its way", "service", "POST", _LIST, "after", _words(_RERUN), rerun=True),
    ChaosStep(28, "rerun: created, before the record", "airflow", "PUT", _STORE, "before", _RERUN_CREATED, rerun=True),
    ChaosStep(29, "rerun: processing", "service", "GET", _ONE, "after", _REPROCESSING, rerun=True, in_trigger=True),
    ChaosStep(
        30, "rerun: ended, before the event", "service", "GET", _ONE, "after", _REDONE, rerun=True, in_trigger=True
    ),
    _of_rerun(31, "rerun: reading the results", "bucket", "GET", _ANSWER_AGAIN, "before"),
    _of_rerun(32, "rerun: results kept, before their ledger", "bucket", "PUT", _LEDGER, "before", _of_another_task),
    _of_rerun(33, "rerun: statistics on their way", "bucket", "PUT", _STATISTICS, "before", _of_another_task),
    _of_rerun(34, "rerun: statistics published", "bucket", "PUT", _STATISTICS, "after", _of_another_task),
    _of_restart(35, "restart: counting what failed", "service", "GET", _TILES, "before"),
    _of_restart(36, "restart: before its record", "airflow", "PUT", _STORE, "before", _RESTARTING),
    _of_restart(37, "restart: on its way", "service", "POST", _RESTART, "before"),
    _of_restart(38, "restart: accepted, answer on its way", "service", "POST", _RESTART, "after"),
    _of_restart(39, "restart: before the record that it was sent", "airflow", "PUT", _STORE, "before", _RESTARTED),
    _after_restart(40, "restart: processing", "service", "GET", _ONE, "after", _status("PROCESSING")),
    _after_restart(41, "restart: ended, before the event", "service", "GET", _ONE, "after", _answered),
    ChaosStep(42, "report written", "bucket", "PUT", _REPORT, "after"),
    _of_all(43, "success on its way", "airflow", "PATCH", _STATE, "before", _words('"success"')),
    _of_all(44, "success, answer on its way", "airflow", "PATCH", _STATE, "after", _words('"success"')),
    _of_request(45, "looking for a note", "bucket", "GET", _REQUEST_NOTE, "before", after=1.1),
    _of_request(46, "note on its way", "bucket", "PUT", _REQUEST_NOTE, "before", _UNSENT, after=2.1),
    _of_request(47, "noted, before the submission", "bucket", "PUT", _REQUEST_NOTE, "after", _UNSENT, after=2.2),
    _of_request(48, "submission on its way", "service", "POST", _SUBMIT, "before", after=3.1),
    _of_request(49, "accepted, answer on its way", "service", "POST", _SUBMIT, "after", after=3.2),
    _of_request(50, "accepted, before its id is noted", "bucket", "PUT", _REQUEST_NOTE, "before", _noted, after=4.1),
    _of_request(51, "id noted, before the record", "bucket", "PUT", _REQUEST_NOTE, "after", _noted, after=4.2),
    _of_request(
        52, "running", "service", "GET", _REQUEST, "after", _status("RUNNING"), in_trigger=True, fresh=True, after=9.1
    ),
    _of_request(
        53, "ended, before the look", "service", "GET", _REQUEST, "after", _is_gone, in_trigger=True, after=15.1
    ),
    _of_request(54, "reading the cost", "bucket", "GET", _COPY, "before", in_trigger=True, after=16.1),
    _of_request(55, "success noted", "bucket", "PUT", _REQUEST_NOTE, "after", _words('"succeeded": true'), after=42.1),
)
