"""What a batch API has of its own. The life of a task, the clock, the script and the books are the same for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_sentinelhub.simulator.delivery import Bucket
    from airflow_provider_sentinelhub.simulator.features import Feature
    from airflow_provider_sentinelhub.simulator.machine import Task
    from airflow_provider_sentinelhub.simulator.rules import Subject
    from airflow_provider_sentinelhub.simulator.script import Script
    from airflow_provider_sentinelhub.simulator.store import FeatureRow


@dataclass(frozen=True, slots=True)
class Analysis:
    """
    What an analysis found.

    :param features: To be processed, in this order.
    :param files: What the analysis leaves in the bucket, by key.
    :param evalscript: What a reference in the request points to.
    """

    features: list[Feature]
    files: dict[str, bytes] = field(default_factory=dict)
    evalscript: str | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """
    One feature to be dealt with.

    :param task: Its task.
    :param number: Its number in the task, from 1.
    :param feature: The feature.
    :param subject: The same for the script's rules.
    :param script: What may become of it.
    :param bucket: Where its files go.
    """

    task: Task
    number: int
    feature: Feature
    subject: Subject
    script: Script
    bucket: Bucket


class Kind(Protocol):
    """A batch API."""

    @property
    def name(self) -> str:
        """How tasks remember that they are of this API."""

    @property
    def guarded(self) -> frozenset[str]:
        """Actions refused to an account below the minimum balance; creating a task always is."""

    @property
    def kept_days(self) -> Mapping[str, int]:
        """After how many days without any activity tasks are deleted, by status."""

    def check(self, payload: Any) -> dict[str, Any]:
        """
        Check the body of a create call and fill in the defaults.

        :param payload: Parsed body.
        :raises Problem: 400 with all violations found.
        """

    def words(self, request: dict[str, Any]) -> str:
        """
        Return what the user wrote, for the script's rules to be matched with.

        :param request: A checked request.
        """

    def delivery(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """
        Return where results go: the parameter, for messages, and its ``s3``.

        :param request: A checked request.
        """

    def sources(self, request: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """
        Return what is read from buckets: ``s3`` by parameter.

        :param request: A checked request.
        """

    def created(self, task: Task, payload: Any, /) -> dict[str, bytes]:
        """
        Return the files a new task leaves in the bucket, by key.

        :param task: The task.
        :param payload: Body it was created with.
        """

    def analyse(self, task: Task, bucket: Bucket, sources: dict[str, Bucket], /) -> Analysis:
        """
        Analyse a task.

        :param task: The task; not changed.
        :param bucket: Where its files go.
        :param sources: Where it reads from, by parameter.
        :raises AnalysisFailed: The text becomes the task's ``error``.
        """

    def process(self, work: Work) -> tuple[FeatureRow, float]:
        """
        Deal with one feature.

        :param work: The feature and all about it.
        :returns: What became of it, and what it costs in processing units.
        """

    def execution_key(self, task: Task, /) -> str | None:
        """
        Return the key of the execution database; ``None`` when the API has none.

        :param task: The task.
        """
