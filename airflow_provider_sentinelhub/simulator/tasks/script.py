"""
The script of a simulation: how long things take, and what goes wrong.

A script is a JSON document of eight parts, all optional; ``docs/simulator.md`` describes every key. Rules with a
``count`` are used up: the document read back through the admin interface shows what is left.
"""

from __future__ import annotations

import datetime as dt
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_sentinelhub.simulator.statistics.intervals import Interval


class Part(BaseModel):
    """A part of the script; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Subject:
    """
    The feature a rule is asked about.

    :param name: Its name.
    :param index: Its position in the task, from 0.
    :param text: The user's text in the request: description, or evalscript or its URL.
    :param earlier: In how many earlier tasks a feature of this name was processed.
    :param id: Its number in the GeoPackage; ``None`` when it does not come from one.
    :param place: Longitude and latitude of its centre.
    :param attempt: How often its own task has tried to process it before.
    """

    name: str
    index: int = 0
    text: str = ""
    earlier: int = 0
    id: int | None = None
    place: tuple[float, float] = (0.0, 0.0)
    attempt: int = 0


class Choice(Part):
    """
    The features a rule applies to; every condition that is given must hold.

    :param names: Names it applies to.
    :param ids: Numbers in the GeoPackage it applies to.
    :param pattern: Regular expression the whole name must match.
    :param indexes: Positions in the task's list of features, from 0.
    :param area: West, south, east and north in degrees; must contain the feature's centre.
    :param fraction: This share of all features, 0..1, chosen by name and ``seed``: the same in every task.
    :param seed: Changes which features ``fraction`` picks.
    :param task: Regular expression to find in the user's text: the description, or for statistics the evalscript or
        its URL.
    :param first_tasks: Only in the first N tasks that contain the feature; always when ``None``.
    """

    names: list[str] | None = None
    ids: list[int] | None = None
    pattern: str | None = None
    indexes: list[NonNegativeInt] | None = None
    area: tuple[float, float, float, float] | None = None
    fraction: float | None = Field(default=None, ge=0, le=1)
    seed: int = 0
    task: str | None = None
    first_tasks: NonNegativeInt | None = None

    def fits(self, subject: Subject) -> bool:
        """
        Say whether the rule applies to a feature, regardless of ``first_tasks``.

        :param subject: The feature.
        """
        return (
            (self.names is None or subject.name in self.names)
            and (self.ids is None or subject.id in self.ids)
            and (self.pattern is None or re.fullmatch(self.pattern, subject.name) is not None)
            and (self.indexes is None or subject.index in self.indexes)
            and (self.area is None or self._contains(subject.place))
            and (self.fraction is None or random.Random(f"{self.seed}:{subject.name}").random() < self.fraction)
            and (self.task is None or re.search(self.task, subject.text) is not None)
        )

    def in_time(self, earlier: int) -> bool:
        """
        Say whether the rule still applies, by ``first_tasks``.

        :param earlier: In how many earlier tasks it could have applied.
        """
        return self.first_tasks is None or earlier < self.first_tasks

    def _contains(self, place: tuple[float, float]) -> bool:
        west, south, east, north = self.area or (-180, -90, 180, 90)
        return west <= place[0] <= east and south <= place[1] <= north


class FeatureRule(Choice):
    """
    What becomes of some features. The first rule that fits decides; a feature without a rule is delivered.

    :param outcome: For images: ``fatal`` and ``failed`` (FATAL), ``no_data`` (DONE without a file), ``undelivered``
        (DONE, not delivered, no file), ``pending`` (never processed, although the task ends DONE),
        ``missing_file`` (DONE and delivered according to the database, but no file) or ``stuck`` (begun once more, but
        FATAL the third time). For statistics: ``fatal`` (a file with only an error), ``failed`` (a file whose response
        is FAILED), ``no_data`` (no interval has data), and no file with ``undelivered``, ``pending``, ``missing_file``
        and ``stuck``.
    :param error: Text for the execution database.
    :param first_attempts: Only at the first N attempts of a task to process the feature; always when ``None``.
    """

    outcome: Literal["fatal", "failed", "no_data", "undelivered", "pending", "missing_file", "stuck"]
    first_attempts: NonNegativeInt | None = None
    error: str = "Internal error: rendering of the feature failed repeatedly."

    def decides(self, subject: Subject) -> bool:
        """
        Say whether the rule applies to a feature now.

        :param subject: The feature.
        """
        again = self.first_attempts is not None and subject.attempt >= self.first_attempts
        return not again and self.in_time(subject.earlier) and self.fits(subject)


class IntervalRule(Choice):
    """
    What becomes of some intervals of some features' statistics. The first rule that fits decides.

    For requests that are answered at once, ``first_tasks`` counts those for the same interval of the same place.

    :param outcome: Type of the interval's error; or ``no_data``; or ``absent``: the answer leaves it out.
    :param intervals: Positions in the answer, from 0; all intervals when ``None``.
    :param dates: Intervals that contain one of these days; all intervals when ``None``.
    """

    outcome: Literal["EXECUTION_ERROR", "TIMEOUT", "BAD_REQUEST", "no_data", "absent"] = "EXECUTION_ERROR"
    intervals: list[NonNegativeInt] | None = None
    dates: list[dt.date] | None = None

    def fits_interval(self, number: int, interval: Interval) -> bool:
        """
        Say whether the rule applies to an interval.

        :param number: Its position, from 0.
        :param interval: Its beginning and end.
        """
        return (self.intervals is None or number in self.intervals) and (
            self.dates is None or any(interval.contains(day) for day in self.dates)
        )


class Timing(Part):
    """
    Durations in simulated seconds, unless stated otherwise.

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
    :param restart_seconds: From a restart of what failed to PROCESSING.
    :param visible_after_seconds: How long a new task is 404 and not listed.
    :param actions_after_seconds: How long every action on a new task is 404, also when it can be read.
    :param status_lag_seconds: Age of the status that GET shows.
    :param tile_seconds: How long a tile of a collection is WAITING, then QUEUED, then INGESTING: this long each.
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
    restart_seconds: NonNegativeFloat = 15
    visible_after_seconds: NonNegativeFloat = 0
    actions_after_seconds: NonNegativeFloat = 0
    status_lag_seconds: NonNegativeFloat = 0
    tile_seconds: NonNegativeFloat = 10
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
    :param uploads: Only the first N uploads; all when ``None``.
    """

    mode: Literal["missing", "late", "truncated", "other_schema"]
    seconds: NonNegativeFloat = 300
    uploads: NonNegativeInt | None = None


class TaskRule(Part):
    """
    What becomes of a whole task. The first rule that fits and is not used up when the task is created decides.

    :param match: Regular expression to find in the user's text: the description, or for statistics the evalscript or
        its URL. Any task when ``None``.
    :param count: For how many tasks; all when ``None``.
    :param analysis_error: The analysis ends FAILED with this text.
    :param stop: The service stops the task once; a later START completes it.
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

    :param path: Regular expression to find in the path; includes the token endpoint, never the admin interface.
    :param method: HTTP method; any when ``None``.
    :param count: To how many calls it applies; all when ``None``.
    :param skip: How many matching calls pass first.
    :param action: ``answer`` (``status`` and ``body`` instead of acting), ``drop_before`` (connection cut, nothing
        done), ``drop_after`` (done, then the connection is cut), ``delay`` (``delay_seconds``, then as usual).
    :param status: For ``answer``: HTTP status.
    :param body: For ``answer``: JSON, or text; the service's usual body for the status when absent.
    :param headers: For ``answer``: additional headers.
    :param retry_after_ms: For ``answer``: ``Retry-After``, in milliseconds as the service sends it.
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
        Say whether the rule applies to a call.

        :param method: HTTP method.
        :param path: Path of the URL, without the query.
        """
        return (self.method is None or self.method.upper() == method) and re.search(self.path, path) is not None


class Script(Part):
    """
    The whole script.

    :param timing: Durations.
    :param features: What becomes of single features.
    :param intervals: What becomes of single intervals of statistics.
    :param tasks: What becomes of whole tasks.
    :param endpoints: What goes wrong with calls.
    :param buckets_without_policy: Names of buckets that requests without credentials cannot use.
    :param strict: Whether an evalscript fails that does not begin with ``//VERSION=3``: one with comments before it, or
        without it.
    :param pixels: ``evalscript`` computes pixels by running the evalscript over synthetic scenes. ``quick`` does not
        run it: values depend on names, place and date only.
    """

    timing: Timing = Field(default_factory=Timing)
    features: list[FeatureRule] = Field(default_factory=list)
    intervals: list[IntervalRule] = Field(default_factory=list)
    tasks: list[TaskRule] = Field(default_factory=list)
    endpoints: list[EndpointRule] = Field(default_factory=list)
    buckets_without_policy: list[str] = Field(default_factory=list)
    strict: bool = False
    pixels: Literal["evalscript", "quick"] = "evalscript"

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

    def take_task_rule(self, text: str) -> TaskRule | None:
        """
        Return the rule for a new task, using up one of its ``count``.

        :param text: The user's text in the request.
        """
        for rule in self.tasks:
            if rule.count == 0 or (rule.match is not None and not re.search(rule.match, text)):
                continue
            if rule.count is not None:
                rule.count -= 1
            return rule
        return None

    def feature_rule(self, subject: Subject) -> FeatureRule | None:
        """
        Return the rule for a feature; ``None`` when it is delivered.

        :param subject: The feature.
        """
        return next((rule for rule in self.features if rule.decides(subject)), None)

    def interval_outcomes(
        self, subject: Subject, intervals: Sequence[Interval], earlier: Sequence[int]
    ) -> list[str | None]:
        """
        Return what becomes of each interval; ``None`` where nothing goes wrong.

        :param subject: The feature.
        :param intervals: Its intervals.
        :param earlier: How often each was processed before.
        """
        rules = [rule for rule in self.intervals if rule.fits(subject)]
        return [
            next((rule.outcome for rule in rules if rule.in_time(before) and rule.fits_interval(number, each)), None)
            for number, (each, before) in enumerate(zip(intervals, earlier, strict=True))
        ]
