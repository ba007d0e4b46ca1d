"""
An API as data: its requests, their cost and, if it has tasks, their lifecycle.

Everything that differs between the APIs is in a spec. All other code asks the spec and knows no API by name.

Source of the state machine: https://docs.planet.com/develop/apis/batch-processing/
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.lifecycle.intent import Intent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from airflow_provider_sentinelhub.client.costs.estimate import Estimate, PixelCounts, Price
    from airflow_provider_sentinelhub.client.http.call import Call
    from airflow_provider_sentinelhub.client.http.deployments import Deployment, Service
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask, TaskCalls
    from airflow_provider_sentinelhub.client.requests.findings import Lookup, Rule


@dataclass(frozen=True, slots=True)
class Rerun:
    """
    What to rerun.

    :param features_url: GeoPackage of the features, in the bucket of the delivery.
    :param delivery_url: Where the rerun delivers to: a folder, or a template.
    :param span: Start of the first and end of the last failed interval, if only single intervals of the features
        failed; ``None`` if all intervals are needed, or the API has none.
    :param features: Number of features.
    """

    features_url: str
    delivery_url: str
    span: tuple[datetime, datetime] | None = None
    features: int = 0


class Goal(StrEnum):
    """What a caller wants of a task."""

    RUN = "run"
    """Start the task and wait until it ends."""

    RUN_THROUGH = "run_through"
    """As RUN; also restart it after the service stopped it because the account ran out of processing units."""

    RESUME = "resume"
    """Restart a stopped task; the caller decides what comes next."""

    ANALYSE_THEN_RUN = "analyse_then_run"
    """Analyse the task first, so that its cost is known; then as RUN. Without an analysis: as RUN."""

    ANALYSE = "analyse"
    """Analyse the task and do not start it. Without an analysis: leave it as it is."""

    OBSERVE = "observe"
    """Wait until the task ends; somebody else acts on it."""


@dataclass(frozen=True, slots=True)
class LongScript:
    """
    How an API accepts an evalscript that is too long for a request: in a bucket, named by ``evalscriptReference``.

    :param max_bytes: A script in the request must be shorter than this.
    :param name: Returns the script's file name for the tag of an intent; the tag can be read back from the name.
    """

    max_bytes: int
    name: Callable[[str], str]


class NextStep(StrEnum):
    """What to do with a task next."""

    ANALYSE = "analyse"
    START = "start"
    WAIT = "wait"
    FINISH = "finish"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSpec:
    """
    One API.

    :param key: Its name in triggers, records and on the command line.
    :param title: Its name in the service's documentation.
    :param operator: The Airflow operator that takes its requests.
    :param service: Its name in deployments and in the paths of its Calls.
    :param check: Checks a request against the models and returns the JSON to send, without credentials.
    :param rules: Further checks of a request before it is sent.
    :param price: Returns what a request says about its cost.
    :param input: Path in a request to the object with ``data`` and, if the request has an area of interest, ``bounds``.
    :param storages: Paths in a request to the bucket locations that need credentials.
    :param script_holder: Field of a request that contains ``evalscript``; empty if the request itself does.
    :param or_else: What its users can do instead of using ``operator``, for a message; empty if there is nothing.
    """

    key: str
    title: str
    operator: str
    service: Service
    check: Callable[[Any], dict[str, Any]]
    rules: tuple[Rule, ...]
    price: Callable[[Mapping[str, Any]], Price]
    input: tuple[str, ...]
    script_holder: str
    storages: tuple[tuple[str, ...], ...] = ()
    or_else: str = ""

    @property
    def script_path(self) -> tuple[str, ...]:
        """Path of the evalscript in a request."""
        return (self.script_holder, "evalscript") if self.script_holder else ("evalscript",)

    def estimate(
        self, request: Mapping[str, Any], pixels: PixelCounts, deployment: Deployment | None = None
    ) -> Estimate:
        """
        Estimate the cost of a task, or the total cost of requests for several geometries.

        A pure function: it sends nothing, runs no evalscript, and raises for no request.

        :param request: The body of the request, as JSON; the ``request`` of an answer works as well.
        :param pixels: The features by size, as in the manifest; iterated once.
        :param deployment: Where the request is sent; decides what delivery to another region costs. Default ``None``:
            not known.
        """
        from airflow_provider_sentinelhub.client.costs.estimate import estimate_cost

        return estimate_cost(self.price(request), pixels, deployment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """
    What an API can do with a task.

    :param lists_tasks: It lists the account's tasks, so that a task whose id was lost can be found by its tag.
    :param analyse: It can analyse a task without starting it, so that its cost is known before.
    :param start: A created task waits until it is started; otherwise it runs as soon as it is created.
    :param stop: It can stop a task.
    :param resume: A stopped task can be started again.
    :param tells_cost: It tells what a running task has cost so far.
    """

    lists_tasks: bool = True
    analyse: bool = True
    start: bool = True
    stop: bool = True
    resume: bool = True
    tells_cost: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskApiSpec(ApiSpec):
    """
    An asynchronous API: its requests create tasks.

    Operators, triggers and sensors are written once for all of these APIs.

    :param start_operator: The Airflow operator that reruns failed features of a task or restarts it.
    :param calls: Builds the Calls for its tasks.
    :param can: What it can do with a task.
    :param tagged: Returns a request with the tag of an intent in a field that the service returns unchanged.
    :param tag_of: Returns the text of that field from a request as returned by the service; it may have no tag.
    :param untagged: Returns such a request without the tag.
    :param rerun: Returns the request that reruns some features of another request.
    :param check_rerun: Raises :class:`InvalidParameter` if single features of a request cannot be rerun.
    :param features_url: Returns the URL of the GeoPackage a request reads its features from, if it does.
    :param delivery_url: Returns the URL that results are delivered to, from a request as returned by the service.
    :param by_policy: Returns the fields of a request that name a bucket to which the service needs no credentials,
        because a policy of the bucket lets it in, and their URLs. Default: none.
    :param tiling_grid: Path in a request to the object with ``id`` and ``resolution`` of a tiling grid.
    :param estimate_of: Returns what the service itself has estimated for a task. Default: nothing.
    :param lookups: Returns what a checked request refers to, to be read and compared before a task is created.
        Default: nothing.
    :param data_type: Returns the ``type`` of a data source that reads the collection which the results of a request, as
        the service returns it, are added to; empty if there is none.
    :param long_script: How a long evalscript is sent; ``None`` if a request may contain one of any length.
    :param terminal: Statuses that a task does not leave by itself.
    :param answered: Terminal statuses in which every feature has a result, or an error.
    :param analysed: Statuses after the analysis.
    :param restartable: Statuses in which the service can run again, in the same task, what failed in it.
    :param has_failed: Builds the Call that tells whether a task has failed features now. Default: there is none.
    :param stopped: Status of a task that was stopped.
    :param stop_asked: ``userAction`` of a task that a user has stopped.
    """

    start_operator: str
    calls: TaskCalls
    can: Capabilities = Capabilities()
    tagged: Callable[[Mapping[str, Any], str], dict[str, Any]]
    tag_of: Callable[[Mapping[str, Any]], str]
    untagged: Callable[[Mapping[str, Any]], dict[str, Any]]
    rerun: Callable[[Mapping[str, Any], Rerun], dict[str, Any]]
    check_rerun: Callable[[Mapping[str, Any]], None]
    features_url: Callable[[Mapping[str, Any]], str | None]
    delivery_url: Callable[[Mapping[str, Any]], str]
    by_policy: Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]] = lambda _: ()
    tiling_grid: tuple[str, ...] = ("input",)
    estimate_of: Callable[[BatchTask], Estimate | None] = lambda _: None
    lookups: Callable[[Mapping[str, Any]], Iterable[Lookup]] = lambda _: ()
    data_type: Callable[[Mapping[str, Any]], str] = lambda _: ""
    long_script: LongScript | None = None
    terminal: frozenset[str]
    answered: frozenset[str]
    analysed: frozenset[str]
    restartable: frozenset[str] = frozenset()
    has_failed: Callable[[str], Call[bool]] | None = None
    stopped: str = "STOPPED"
    stop_asked: str = "STOP"

    def is_over(self, task: BatchTask) -> bool:
        """
        Whether a task has ended; a percentage of 100 does not mean that.

        :param task: The task.
        """
        return task.status in self.terminal

    def is_stopped(self, task: BatchTask) -> bool:
        """
        Whether a task was stopped before it was done, by a user or by the service.

        :param task: The task.
        """
        return task.status == self.stopped

    def may_resume(self, task: BatchTask) -> bool:
        """
        Whether a task was stopped and can be started again.

        :param task: The task.
        """
        return self.is_stopped(task) and self.can.resume

    def is_running(self, task: BatchTask) -> bool:
        """
        Whether a task spends processing units: it was started, and has not ended.

        :param task: The task.
        """
        is_started = not self.can.start or task.user_action == "START" or task.status == "PROCESSING"
        return is_started and not self.is_over(task)

    def intent_of(self, task: BatchTask) -> Intent | None:
        """
        Return what a task was created for; ``None`` if this package did not create it.

        :param task: The task.
        """
        return Intent.found_in(self.tag_of(task.request))

    def next_step(self, task: BatchTask, goal: Goal) -> NextStep:
        """
        Return what to do with a task next.

        With an unknown status the answer is to wait: the deadline ends the wait, not a guess.

        :param task: The task as the service returns it now.
        :param goal: What the caller wants.
        """
        out_of_pu = task.stopped_status_reason == "OUT_OF_PU"
        is_resumed = goal is Goal.RESUME or (goal is Goal.RUN_THROUGH and out_of_pu)
        if self.may_resume(task) and is_resumed and self.can.start:
            # The service refuses this while its lock lasts or units are missing; it is then repeated later.
            return NextStep.START
        if (
            self.is_over(task)
            or goal is Goal.RESUME
            or (goal is Goal.ANALYSE and (task.status in self.analysed or not self.can.analyse))
        ):
            return NextStep.FINISH
        if goal is Goal.OBSERVE or not self.can.start:
            return NextStep.WAIT
        if task.status == "CREATED" and task.user_action == "NONE":
            is_judged_first = goal not in {Goal.RUN, Goal.RUN_THROUGH} and self.can.analyse
            return NextStep.ANALYSE if is_judged_first else NextStep.START
        if task.status == "ANALYSIS_DONE" and task.user_action in {"ANALYSE", "NONE"}:
            return NextStep.START
        return NextStep.WAIT

    def can_stop(self, task: BatchTask) -> bool:
        """
        Whether a stop has any effect: not on a task that was never analysed or started, and not on an ended one.

        :param task: The task.
        """
        is_unstarted = self.can.start and task.status == "CREATED" and task.user_action == "NONE"
        return self.can.stop and not self.is_over(task) and not is_unstarted
