"""
The script of a simulation: how long things take, and what goes wrong.

A script is a JSON document of four parts, all optional; ``docs/simulator.md`` describes every key. Rules with a
``count`` are used up: the document read back through the admin interface shows what is left.
"""

from __future__ import annotations

import random
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Timing(_Part):
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


class FeatureRule(_Part):
    """
    What becomes of some features. The first rule that fits a feature decides; a feature no rule fits is delivered.

    :param outcome: ``fatal``, ``no_data`` (DONE without a file), ``undelivered`` (DONE, not delivered, no file),
        ``pending`` (never processed, although the task ends DONE) or ``missing_file`` (DONE and delivered as far
        as the database says, but no file).
    :param names: Names it applies to.
    :param pattern: Regular expression the whole name must match.
    :param indexes: Positions in the task's list of features, from 0.
    :param fraction: This share of all features, 0..1, chosen by name and ``seed``: the same in every task.
    :param seed: Changes which features ``fraction`` picks.
    :param task: Regular expression searched for in the task's description.
    :param first_tasks: Only in the first so many tasks that contain the feature; always when ``None``.
    :param error: Text for the execution database.
    """

    outcome: Literal["fatal", "no_data", "undelivered", "pending", "missing_file"]
    names: list[str] | None = None
    pattern: str | None = None
    indexes: list[NonNegativeInt] | None = None
    fraction: float | None = Field(default=None, ge=0, le=1)
    seed: int = 0
    task: str | None = None
    first_tasks: NonNegativeInt | None = None
    error: str = "Internal error: rendering of the feature failed repeatedly."

    def fits(self, name: str, index: int, description: str, earlier_tasks: int) -> bool:
        """
        Say whether the rule applies to a feature; every condition given must hold.

        :param name: The feature's name.
        :param index: Its position in the task, from 0.
        :param description: The task's description.
        :param earlier_tasks: In how many earlier tasks a feature of this name was processed.
        """
        return (
            (self.names is None or name in self.names)
            and (self.pattern is None or re.fullmatch(self.pattern, name) is not None)
            and (self.indexes is None or index in self.indexes)
            and (self.fraction is None or random.Random(f"{self.seed}:{name}").random() < self.fraction)
            and (self.task is None or re.search(self.task, description) is not None)
            and (self.first_tasks is None or earlier_tasks < self.first_tasks)
        )


class StopRule(_Part):
    """
    The service itself stops a task.

    :param reason: ``UNHEALTHY`` or ``OUT_OF_PU``.
    :param after_fraction: Share of features processed before, 0..1.
    """

    reason: Literal["UNHEALTHY", "OUT_OF_PU"] = "UNHEALTHY"
    after_fraction: float = Field(default=0.5, ge=0, le=1)


class ExecutionDatabaseRule(_Part):
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


class TaskRule(_Part):
    """
    What becomes of a whole task. Decided when the task is created: the first rule that fits and is not used up.

    :param match: Regular expression searched for in the description; any task when ``None``.
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


class EndpointRule(_Part):
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


class Script(_Part):
    """
    The whole script.

    :param timing: Durations.
    :param features: Fates of single features.
    :param tasks: Fates of whole tasks.
    :param endpoints: Fates of calls.
    """

    timing: Timing = Field(default_factory=Timing)
    features: list[FeatureRule] = Field(default_factory=list)
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

    def take_task_rule(self, description: str) -> TaskRule | None:
        """
        Return the rule for a new task, using up one of its ``count``.

        :param description: The task's description.
        """
        for rule in self.tasks:
            if rule.count == 0 or (rule.match is not None and not re.search(rule.match, description)):
                continue
            if rule.count is not None:
                rule.count -= 1
            return rule
        return None

    def feature_rule(self, name: str, index: int, description: str, earlier_tasks: int) -> FeatureRule | None:
        """
        Return the rule for a feature; ``None`` when it is simply delivered.

        :param name: The feature's name.
        :param index: Its position in the task, from 0.
        :param description: The task's description.
        :param earlier_tasks: In how many earlier tasks a feature of this name was processed.
        """
        return next((rule for rule in self.features if rule.fits(name, index, description, earlier_tasks)), None)
