"""
What the asynchronous APIs have in common: one lifecycle, described as data.

Operators, triggers and sensors are written once against :class:`BatchApi`; a further API is one more instance.

Source of the state machine: https://docs.planet.com/develop/apis/batch-processing/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.client.api import batch_statistical, batch_v2
from airflow_provider_sentinelhub.client.intent import Intent

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.client.call import Call
    from airflow_provider_sentinelhub.client.models.answers import BatchTask, TaskPage
    from airflow_provider_sentinelhub.client.retry import Retry


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
    How an API takes an evalscript that is too long to stand in the request.

    :param holder: The field of the request that holds ``evalscript``, or ``evalscriptReference`` instead.
    :param max_bytes: What stands in the request must be shorter than this.
    :param name: Returns the name it gets in the bucket, from the tag of an intent, which must be found in it again.
    """

    holder: str
    max_bytes: int
    name: Callable[[str], str]


class Step(StrEnum):
    """What to do next with a task."""

    ANALYSE = "analyse"
    START = "start"
    WAIT = "wait"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class BatchApi:
    """
    One asynchronous API.

    :param key: What triggers and records store.
    :param title: What messages call a task of it.
    :param check: Checks what a user wrote and returns the JSON to send, without credentials.
    :param tagged: Returns a request with the tag of an intent in it, at a place that the service gives back.
    :param tag_of: Returns the text in which that tag stands, if it does, from a request as the service describes it.
    :param untagged: Returns such a request without the tag.
    :param retry: Returns the request that runs some features of another one again.
    :param check_retry: Raises :class:`InvalidParameter` where features of a request cannot be run again alone.
    :param features_url: Returns where the GeoPackage lies that a request takes its features from, if there is one.
    :param delivery_url: Returns where results go, from a request as the service describes it.
    :param long_script: How a long evalscript is taken; ``None`` where the request takes one of any length.
    :param storages: Paths in that JSON of the places that need credentials.
    :param create: Builds the Call that creates a task from a body and the secrets in it.
    :param get: Builds the Call that reads a task.
    :param page: Builds the Call that lists tasks, newest first, from a page token.
    :param analyse: Builds the Call that has a task analysed.
    :param start: Builds the Call that starts a task.
    :param stop: Builds the Call that stops a task.
    :param terminal: Statuses from which the task does not move by itself.
    :param answered: Those of them in which the service has an answer for every feature, failed ones included.
    :param analysed: Statuses that come after the analysis.
    """

    key: str
    title: str
    check: Callable[[Any], dict[str, Any]]
    tagged: Callable[[Mapping[str, Any], str], dict[str, Any]]
    tag_of: Callable[[Mapping[str, Any]], str]
    untagged: Callable[[Mapping[str, Any]], dict[str, Any]]
    retry: Callable[[Mapping[str, Any], Retry], dict[str, Any]]
    check_retry: Callable[[Mapping[str, Any]], None]
    features_url: Callable[[Mapping[str, Any]], str | None]
    delivery_url: Callable[[Mapping[str, Any]], str]
    long_script: LongScript | None
    storages: tuple[tuple[str, ...], ...]
    create: Callable[[Mapping[str, Any], tuple[str, ...]], Call[BatchTask]]
    get: Callable[[str], Call[BatchTask]]
    page: Callable[[str | None], Call[TaskPage]]
    analyse: Callable[[str], Call[None]]
    start: Callable[[str], Call[None]]
    stop: Callable[[str], Call[None]]
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
        Whether a task costs something as time goes by: it was started, and has not ended.

        :param task: The task.
        """
        return not self.is_over(task) and (task.user_action == "START" or task.status == "PROCESSING")

    def intent_of(self, task: BatchTask) -> Intent | None:
        """
        Say what a task was created for; ``None`` if it was not created by this package.

        :param task: The task.
        """
        return Intent.found_in(self.tag_of(task.request))

    def next_step(self, task: BatchTask, goal: Goal) -> Step:
        """
        Say what to do next with a task.

        A status this package does not know is waited out: the deadline ends the wait, not a guess.

        :param task: The task as the service describes it now.
        :param goal: What the caller wants.
        """
        out_of_pu = task.stopped_status_reason == "OUT_OF_PU"
        if task.status == "STOPPED" and (goal is Goal.RESUME or (goal is Goal.RUN_THROUGH and out_of_pu)):
            # Refused until the service's lock is over and units are back; then it is not.
            return Step.START
        if self.is_over(task) or goal is Goal.RESUME or (goal is Goal.ANALYSE and task.status in self.analysed):
            return Step.FINISH
        if goal is Goal.OBSERVE:
            return Step.WAIT
        if task.status == "CREATED" and task.user_action == "NONE":
            return Step.START if goal in {Goal.RUN, Goal.RUN_THROUGH} else Step.ANALYSE
        if task.status == "ANALYSIS_DONE" and task.user_action in {"ANALYSE", "NONE"}:
            return Step.START
        return Step.WAIT

    def can_stop(self, task: BatchTask) -> bool:
        """
        Whether a stop can do anything: a task that was never analysed has nothing to stop, nor has an ended one.

        :param task: The task.
        """
        return not self.is_over(task) and not (task.status == "CREATED" and task.user_action == "NONE")


BATCH_V2 = BatchApi(
    key="batch-v2",
    title="batch task",
    check=batch_v2.check,
    tagged=batch_v2.tagged,
    tag_of=batch_v2.tag_of,
    untagged=batch_v2.untagged,
    retry=batch_v2.retry,
    check_retry=batch_v2.check_retry,
    features_url=batch_v2.features_url,
    delivery_url=batch_v2.delivery_url,
    long_script=None,
    storages=(("output", "delivery"), ("input", "features")),
    create=batch_v2.create,
    get=batch_v2.get,
    page=batch_v2.page,
    analyse=batch_v2.analyse,
    start=batch_v2.start,
    stop=batch_v2.stop,
    terminal=frozenset({"DONE", "FAILED", "STOPPED"}),
    answered=frozenset({"DONE"}),
    analysed=frozenset({"ANALYSIS_DONE", "PROCESSING", "DONE", "FAILED", "STOPPED"}),
)

BATCH_STATISTICAL = BatchApi(
    key="batch-statistical",
    title="batch statistical task",
    check=batch_statistical.check,
    tagged=batch_statistical.tagged,
    tag_of=batch_statistical.tag_of,
    untagged=batch_statistical.untagged,
    retry=batch_statistical.retry,
    check_retry=batch_statistical.check_retry,
    features_url=batch_statistical.features_url,
    delivery_url=batch_statistical.delivery_url,
    long_script=LongScript("aggregation", 32 * 1024, batch_statistical.script_name),
    storages=(("output",), ("input", "features"), ("aggregation", "evalscriptReference")),
    create=batch_statistical.create,
    get=batch_statistical.get,
    page=batch_statistical.page,
    analyse=batch_statistical.analyse,
    start=batch_statistical.start,
    stop=batch_statistical.stop,
    # PARTIAL stands in the service's specification, and no page says when it comes. DELETED is our own word.
    terminal=frozenset({"DONE", "PARTIAL", "FAILED", "STOPPED", "DELETED"}),
    answered=frozenset({"DONE", "PARTIAL", "DELETED"}),
    analysed=frozenset({"ANALYSIS_DONE", "PROCESSING", "DONE", "PARTIAL", "FAILED", "STOPPED"}),
)

APIS = {api.key: api for api in (BATCH_V2, BATCH_STATISTICAL)}
