"""
What the package knows of an API, as data: its requests, its cost, and, where it has tasks, their lifecycle.

Everything that differs between the APIs is in a spec; what comes after it asks the spec, and no API by its name.

Source of the state machine: https://docs.planet.com/develop/apis/batch-processing/
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.lifecycle.intent import Intent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_sentinelhub.client.costs.estimate import Estimate, PixelCounts, Price
    from airflow_provider_sentinelhub.client.http.deployments import Service
    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask
    from airflow_provider_sentinelhub.client.lifecycle.rerun import Rerun
    from airflow_provider_sentinelhub.client.lifecycle.task_calls import TaskCalls
    from airflow_provider_sentinelhub.client.requests.findings import Rule


class Goal(StrEnum):
    """What a caller wants of a task."""

    RUN = "run"
    """Started, and waited for until it ends."""

    RUN_THROUGH = "run_through"
    """As RUN; and started again where the service stopped it for lack of processing units."""

    RESUME = "resume"
    """Started again after a stop; what comes then is for the caller to decide."""

    ANALYSE_THEN_RUN = "analyse_then_run"
    """Analysed first, so that its cost can be judged; then as RUN."""

    ANALYSE = "analyse"
    """Analysed, and not started."""

    OBSERVE = "observe"
    """Waited for until it ends; somebody else acts on it."""


@dataclass(frozen=True, slots=True)
class LongScript:
    """
    How an API takes an evalscript that is too long for a request: in a bucket, named by ``evalscriptReference``.

    :param max_bytes: What stands in the request must be shorter than this.
    :param name: Returns the name it gets in the bucket, from the tag of an intent, which must be found in it again.
    """

    max_bytes: int
    name: Callable[[str], str]


class NextStep(StrEnum):
    """What to do next with a task."""

    ANALYSE = "analyse"
    START = "start"
    WAIT = "wait"
    FINISH = "finish"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSpec:
    """
    One API.

    :param key: What triggers, records and the command line call it.
    :param title: Its name in the service's documentation.
    :param operator: The Airflow operator that takes its requests.
    :param service: What deployments and the paths of its Calls know it by.
    :param check: Checks the shape of what a user wrote, and returns the JSON to send, without credentials.
    :param rules: What else can be known about a request before it is sent.
    :param price: Returns what a request says about its cost.
    :param input: Path in a request of what is read: the area of interest, if it names one, and the data.
    :param storages: Paths in a request of the places that need credentials.
    :param script_holder: Path in a request of the object that holds ``evalscript``.
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

    def estimate(self, request: Mapping[str, Any], pixels: PixelCounts) -> Estimate:
        """
        Estimate what a task costs, or what requests for some geometries cost together.

        A pure function: nothing is asked of the service, no evalscript is run, and no request makes it raise.

        :param request: The body of the request, as JSON; the answer's ``request`` will do as well.
        :param pixels: The features by size, as the manifest gives them; gone through once.
        """
        from airflow_provider_sentinelhub.client.costs.estimate import estimate_cost

        return estimate_cost(self.price(request), pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """
    What an API lets one do with a task.

    :param lists_tasks: The account's tasks can be listed, so that one whose id was lost is found by its tag.
    :param analyse: A task can be analysed without being started, so that its cost can be judged.
    :param start: A created task waits to be started; otherwise it runs as soon as it is created.
    :param stop: A task can be stopped.
    """

    lists_tasks: bool = True
    analyse: bool = True
    start: bool = True
    stop: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskApiSpec(ApiSpec):
    """
    An asynchronous API: its requests make tasks.

    Operators, triggers and sensors are written once for all of them.

    :param start_operator: The Airflow operator that starts a task again.
    :param calls: Builds the Calls about its tasks.
    :param can: What it lets one do with a task.
    :param tagged: Returns a request with the tag of an intent in it, at a place that the service gives back.
    :param tag_of: Returns the text in which that tag stands, if it does, from a request as the service describes it.
    :param untagged: Returns such a request without the tag.
    :param rerun: Returns the request that runs some features of another one again.
    :param check_rerun: Raises :class:`InvalidParameter` where features of a request cannot be run again alone.
    :param features_url: Returns where the GeoPackage lies that a request takes its features from, if there is one.
    :param delivery_url: Returns where results go, from a request as the service describes it.
    :param long_script: How a long evalscript is taken; ``None`` where the request takes one of any length.
    :param terminal: Statuses from which the task does not move by itself.
    :param answered: Those of them in which the service has an answer for every feature, failed ones included.
    :param analysed: Statuses that come after the analysis.
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
    long_script: LongScript | None = None
    terminal: frozenset[str]
    answered: frozenset[str]
    analysed: frozenset[str]

    def is_over(self, task: BatchTask) -> bool:
        """
        Whether a task has ended; its percentage says nothing about that.

        :param task: The task.
        """
        return task.status in self.terminal

    def is_running(self, task: BatchTask) -> bool:
        """
        Whether a task spends processing units: it was started, and has not ended.

        :param task: The task.
        """
        is_started = not self.can.start or task.user_action == "START" or task.status == "PROCESSING"
        return is_started and not self.is_over(task)

    def intent_of(self, task: BatchTask) -> Intent | None:
        """
        Say what a task was created for; ``None`` if it was not created by this package.

        :param task: The task.
        """
        return Intent.found_in(self.tag_of(task.request))

    def next_step(self, task: BatchTask, goal: Goal) -> NextStep:
        """
        Say what to do next with a task.

        A status this package does not know is waited out: the deadline ends the wait, not a guess.

        :param task: The task as the service describes it now.
        :param goal: What the caller wants.
        """
        out_of_pu = task.stopped_status_reason == "OUT_OF_PU"
        is_resumed = goal is Goal.RESUME or (goal is Goal.RUN_THROUGH and out_of_pu)
        if task.status == "STOPPED" and is_resumed and self.can.start:
            # Refused until the service's lock is over and units are back; then it is not.
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
        Whether a stop can do anything: a task that was never analysed has nothing to stop, nor has an ended one.

        :param task: The task.
        """
        is_unstarted = self.can.start and task.status == "CREATED" and task.user_action == "NONE"
        return self.can.stop and not self.is_over(task) and not is_unstarted
