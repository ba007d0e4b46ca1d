"""What an API of tasks decides for itself. Engine, script, clock, store and billing are the same for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_sentinelhub.simulator.tasks.lifecycle import ANALYSE_START_STOP, Lifecycle

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.simulator.bucket.delivery import Bucket
    from airflow_provider_sentinelhub.simulator.features.features import Feature
    from airflow_provider_sentinelhub.simulator.tasks.lifecycle import Task
    from airflow_provider_sentinelhub.simulator.tasks.script import Script, Subject
    from airflow_provider_sentinelhub.simulator.tasks.store import FeatureRow, Store


@dataclass(frozen=True, slots=True)
class Analysis:
    """
    What an analysis found.

    :param features: To be processed, in this order.
    :param files: Files that the analysis writes into the bucket, by key.
    :param evalscript: Content of the evalscript that the request refers to.
    :param skipped: Features whose files exist already, where they belong to the task even so.
    """

    features: list[Feature]
    files: dict[str, bytes] = field(default_factory=dict)
    evalscript: str | None = None
    skipped: list[Feature] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Work:
    """
    One feature to process.

    :param task: Its task.
    :param number: Its number in the task, from 1.
    :param feature: The feature.
    :param subject: The same for the script's rules.
    :param script: Decides what becomes of it.
    :param bucket: Where its files go.
    :param stuck: How often in a row it got stuck before.
    """

    task: Task
    number: int
    feature: Feature
    subject: Subject
    script: Script
    bucket: Bucket
    stuck: int = 0


@dataclass(frozen=True, slots=True)
class Collected:
    """
    A tile that a feature adds to a collection.

    :param kind: Kind of the collection, see :mod:`.collections`.
    :param collection_id: Its id.
    :param keys: Keys of the files, by source of their bands.
    :param sensed: Sensing time of the tile.
    """

    kind: str
    collection_id: str
    keys: Mapping[str, str]
    sensed: str | None = None


class TaskApi(ABC):
    """
    An API of tasks.

    :cvar name: Stored with its tasks.
    :cvar lifecycle: Statuses and actions of its tasks.
    :cvar needs_balance: Actions refused to an account below the minimum balance, besides creating a task.
    :cvar reserves: Whether the price of a task is set aside when it is started. Then there is no minimum balance and
        no minimum price.
    :cvar kept_days: After how many days without any activity a task is deleted, by status.
    """

    name: ClassVar[str]
    lifecycle: ClassVar[Lifecycle] = ANALYSE_START_STOP
    needs_balance: ClassVar[frozenset[str]] = frozenset()
    reserves: ClassVar[bool] = False
    kept_days: ClassVar[Mapping[str, int]] = {}

    @abstractmethod
    def check(self, payload: Any) -> dict[str, Any]:
        """
        Check the body of a create call and fill in the defaults.

        :param payload: Parsed body.
        :returns: A copy with defaults.
        :raises Problem: 400 with all violations found.
        """

    @abstractmethod
    def user_text(self, request: dict[str, Any]) -> str:
        """
        Return the text of a request that searches and the script's rules look at.

        :param request: A checked request.
        """

    def evalscript(self, request: dict[str, Any]) -> str:  # noqa: ARG002 - for those who override it
        """
        Return the evalscript of a request; empty if it has none, or refers to one in a bucket.

        :param request: A checked request.
        """
        return ""

    @abstractmethod
    def delivery(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """
        Return where results go: the parameter, for messages, and its ``s3``.

        :param request: A checked request.
        """

    def sources(self, request: dict[str, Any]) -> dict[str, dict[str, Any]]:  # noqa: ARG002 - for those who override it
        """
        Return what is read from buckets: ``s3`` by parameter.

        :param request: A checked request.
        """
        return {}

    def files_at_create(self, task: Task, payload: Any) -> dict[str, bytes]:  # noqa: ARG002 - for those who override it
        """
        Return the files that are written when a task is created, by key.

        :param task: The task.
        :param payload: Body it was created with.
        """
        return {}

    def listed(self, task: Task, query: Mapping[str, str]) -> bool:  # noqa: ARG002 - for those who override it
        """
        Say whether a task is in a list.

        :param task: The task.
        :param query: The caller's filters that only this API has, by name.
        """
        return True

    def reserve(self, task: Task, action: str, store: Store) -> float:  # noqa: ARG002 - for those who override it
        """
        Return what an action sets aside of the account, in processing units.

        :param task: The task.
        :param action: The action.
        :param store: Has its features.
        """
        return 0.0

    @abstractmethod
    def analyse(self, task: Task, bucket: Bucket, sources: dict[str, Bucket], /) -> Analysis:
        """
        Analyse a task.

        :param task: The task; not changed.
        :param bucket: Where its files go.
        :param sources: Buckets it reads from, by parameter.
        :raises AnalysisFailed: The text becomes the task's ``error``.
        """

    @abstractmethod
    def process(self, work: Work) -> tuple[FeatureRow, float]:
        """
        Process one feature.

        :param work: The feature, its task and the script.
        :returns: What became of it, and its cost in processing units.
        """

    def collected(self, task: Task, feature: Feature) -> Collected | None:  # noqa: ARG002 - for those who override it
        """
        Return what a delivered feature adds to a collection; ``None`` when it adds nothing.

        :param task: Its task.
        :param feature: The feature.
        """
        return None

    def price(self, task: Task, feature: Feature) -> float:  # noqa: ARG002 - for those who override it
        """
        Return what a feature costs that is being processed when its task is stopped, in processing units.

        :param task: Its task.
        :param feature: The feature.
        """
        return 0.0

    def execution_key(self, task: Task) -> str | None:  # noqa: ARG002 - for those who override it
        """
        Return the key of the execution database; ``None`` when the API has none.

        :param task: The task.
        """
        return None

    def final_status(self, task: Task, store: Store) -> tuple[str, str | None]:  # noqa: ARG002 - for those who override it
        """
        Return the status, and the error if there is one, of a task whose features are all processed.

        :param task: The task.
        :param store: Has its features.
        """
        return "DONE", None

    def view(self, task: Task, common: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - for those who override it
        """
        Return a task as callers see it.

        :param task: The task.
        :param common: What most APIs show; entries that are ``None`` are left out of the answer.
        """
        return common
