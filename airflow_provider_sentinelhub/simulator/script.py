"""
The script of a simulation: how long things take, and what goes wrong.

A script is a JSON document of five parts, all optional; ``docs/simulator.md`` describes every key. Rules with a
``count`` are used up: the document read back through the admin interface shows what is left.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from airflow_provider_sentinelhub.simulator.rules import FeatureRule, IntervalRule, Part, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_sentinelhub.simulator.intervals import Interval


class Timing(Part):
    """
    Durations in simulated seconds, unless said otherwise.

    :param pickup_seconds: From a START or ANALYSE to ANALYSING.
    :param analysis_seconds: Length of ANALYSING.
    :param queue_seconds: From ANALYSIS_DONE to PROCESSING, once started.
    :param feature_seconds: Processing of one feature.
    :param parallel: How many features are processed at a time (a number, not seconds).
    :param finalising_seconds: PROCESSING at 100 % before DONE.
    :param stop_seconds: From a STOP to STOPPED.
    :param execution_seconds: Between two uploads of the execution database.
    :param billing_seconds: Between two updates of ``costPU``.
    :param restart_lock_seconds: How long a stopped task cannot be started again.
    :param out_of_pu_lock_seconds: The same, after a stop for lack of processing units.
    :param visible_after_seconds: How long a new task is answered with 404.
    :param status_lag_seconds: How old the status is that GET shows.
    :param token_ttl_seconds: Lifetime of an access token in REAL seconds.
    """

    pickup_seconds: NonNegativeFloat = 15
    analysis_seconds: NonNegativeFloat = 60
    queue_seconds: NonNegativeFloat = 15
    feature_seconds: NonNegativeFloat = 60
    parallel: PositiveInt = 4
    finalising_seconds: NonNegativeFloat = 30
    stop_seconds: NonNegativeFloat = 15
    execution_seconds: PositiveFloat = 60
    billing_seconds: PositiveFloat = 60
    restart_lock_seconds: NonNegativeFloat = 1800
    out_of_pu_lock_seconds: NonNegativeFloat = 3600
    visible_after_seconds: NonNegativeFloat = 0
    status_lag_seconds: NonNegativeFloat = 0
    token_ttl_seconds: PositiveFloat = 3600


class StopRule(Part):
    """
    The service itself stops a task.

    :param reason: ``UNHEALTHY`` or ``OUT_OF_PU``.
    :param after_fraction: Share of features processed before, 0..1.
    """

    reason: Literal["UNHEALTHY", "OUT_OF_PU"] = "UNHEALTHY"
    after_fraction: float = Field(default=0.5, ge=0, le=1)


class ExecutionDatabaseRule(Part):
    """
    What is wrong with the execution database in the bucket.

    :param mode: ``missing`` (never uploaded), ``late`` (the final state comes ``seconds`` after the task's end),
        ``truncated`` (half of the file) or ``other_schema`` (other columns than documented).
    :param seconds: For ``late``: simulated seconds.
    :param uploads: Only the first so many uploads; all of them when ``None``.
    """

    mode: Literal["missing", "late", "truncated", "other_schema"]
    seconds: NonNegativeFloat = 300
    uploads: NonNegativeInt | None = None


class TaskRule(Part):
    """
    What becomes of a whole task. Decided when the task is created: the first rule that fits and is not used up.

    :param match: Regular expression searched for in what the user wrote into the task: its description, or for
        statistics the evalscript or the URL of one. Any task when ``None``.
    :param count: For how many tasks; all when ``None``.
    :param analysis_error: The analysis ends FAILED with this text.
    :param stop: The service stops the task once; a later START runs through.
    :param execution_database: See :class:`ExecutionDatabaseRule`.
    """

    match: str | None = None
    count: NonNegativeInt | None = None
    analysis_error: str | None = None
    stop: StopRule | None = None
    execution_database: ExecutionDatabaseRule | None = None


class EndpointRule(Part):
    """
    What goes wrong with calls. The first rule that fits a call and is not used up decides.

    :param path: Regular expression searched for in the path; token endpoint included, admin interface never.
    :param method: HTTP method; any when ``None``.
    :param count: How many calls it hits; all when ``None``.
    :param skip: How many fitting calls pass before it begins.
    :param action: ``answer`` (``status`` and ``body`` instead of acting), ``drop_before`` (connection cut, nothing
        done), ``drop_after`` (done, then the connection is cut), ``delay`` (``delay_seconds``, then as usual).
    :param status: For ``answer``: HTTP status.
    :param body: For ``answer``: JSON, or text sent as it is; the service's usual body for the status when absent.
    :param headers: For ``answer``: additional headers.
    :param retry_after_ms: For ``answer``: ``Retry-After``, which the service counts in milliseconds.
    :param delay_seconds: REAL seconds; for every action, before anything else happens.
    """

    path: str = ".*"
    method: str | None = None
    count: NonNegativeInt | None = None
    skip: NonNegativeInt = 0
    action: Literal["answer", "drop_before", "drop_after", "delay"] = "answer"
    status: int = Field(default=503, ge=400, le=599)
    body: Any = None
    headers: dict[str, str] = Field(default_factory=dict)
    retry_after_ms: NonNegativeInt | None = None
    delay_seconds: NonNegativeFloat = 0

    def fits(self, method: str, path: str) -> bool:
        """
        Say whether the rule is about this call.

        :param method: HTTP method.
        :param path: Path of the URL, without the query.
        """
        return (self.method is None or self.method.upper() == method) and re.search(self.path, path) is not None


class Script(Part):
    """
    The whole script.

    :param timing: Durations.
    :param features: Fates of single features.
    :param intervals: Fates of single intervals of features' statistics.
    :param tasks: Fates of whole tasks.
    :param endpoints: Fates of calls.
    """

    timing: Timing = Field(default_factory=Timing)
    features: list[FeatureRule] = Field(default_factory=list)
    intervals: list[IntervalRule] = Field(default_factory=list)
    tasks: list[TaskRule] = Field(default_factory=list)
    endpoints: list[EndpointRule] = Field(default_factory=list)

    def take_endpoint_rule(self, method: str, path: str) -> EndpointRule | None:
        """
        Return the rule for a call, using up one of its ``count``.

        :param method: HTTP method.
        :param path: Path of the URL.
        """
        for rule in self.endpoints:
            if not rule.fits(method, path) or rule.count == 0:
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            if rule.count is not None:
                rule.count -= 1
            return rule
        return None

    def take_task_rule(self, words: str) -> TaskRule | None:
        """
        Return the rule for a new task, using up one of its ``count``.

        :param words: What the user wrote into the task.
        """
        for rule in self.tasks:
            if rule.count == 0 or (rule.match is not None and not re.search(rule.match, words)):
                continue
            if rule.count is not None:
                rule.count -= 1
            return rule
        return None

    def feature_rule(self, subject: Subject) -> FeatureRule | None:
        """
        Return the rule for a feature; ``None`` when it is simply delivered.

        :param subject: The feature.
        """
        return next((rule for rule in self.features if rule.in_time(subject.earlier) and rule.fits(subject)), None)

    def interval_outcomes(
        self, subject: Subject, intervals: Sequence[Interval], earlier: Sequence[int]
    ) -> list[str | None]:
        """
        Return what becomes of each interval; ``None`` where all goes well.

        :param subject: The feature.
        :param intervals: Its intervals.
        :param earlier: How often each was processed before.
        """
        rules = [rule for rule in self.intervals if rule.fits(subject)]
        return [
            next((rule.outcome for rule in rules if rule.in_time(before) and rule.fits_interval(number, each)), None)
            for number, (each, before) in enumerate(zip(intervals, earlier, strict=True))
        ]
