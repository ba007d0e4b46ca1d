"""What the tasks of each asynchronous API leave in the bucket: one interface to it, and who implements it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.artifacts.layout import success_url

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.artifacts.report import FeatureReport
    from airflow_provider_sentinelhub.artifacts.storage import Storage
    from airflow_provider_sentinelhub.client.batch import BatchApi
    from airflow_provider_sentinelhub.client.estimate import PixelCounts
    from airflow_provider_sentinelhub.client.models.answers import BatchTask
    from airflow_provider_sentinelhub.client.retry import Retry

Counter = Callable[[], "FeatureReport | None"]
"""Counts features while a task runs: without errors and names; ``None`` before there is anything to count."""


class BatchResults(ABC):
    """
    What the tasks of one API leave in the bucket. All methods block.

    Where several tasks are named, they are about the same features: the original first, then those that ran again what
    was lost, in the order in which they ran.

    :param api: The API.
    :param storage: Where the bucket is.
    """

    def __init__(self, api: BatchApi, storage: Storage) -> None:
        self.api = api
        self.storage = storage

    @abstractmethod
    def root(self, task: BatchTask) -> str:
        """
        Return the folder of the files about a task.

        :param task: The task.
        """

    def has_succeeded(self, original: BatchTask) -> bool:
        """
        Whether the Airflow task that created a task has succeeded with it.

        :param original: The original task.
        :raises StorageUnavailable: The bucket cannot be read.
        """
        return self.storage.exists(success_url(self.root(original), original.id))

    def mark_success(self, original: BatchTask) -> None:
        """
        Leave a mark in the bucket: Airflow 3.4 discards what it knows of a task that is cleared.

        :param original: The original task.
        :raises StorageUnavailable: The bucket cannot be written.
        """
        text = b"The Airflow task that created this task has succeeded: a clear makes a new one."
        self.storage.upload(text, success_url(self.root(original), original.id))

    @abstractmethod
    def delivered_url(self, original: BatchTask) -> str:
        """
        Return the address of what users want of a task: what an asset stands for.

        :param original: The original task.
        """

    @abstractmethod
    def report(self, tasks: Sequence[BatchTask]) -> FeatureReport:
        """
        Answer for every feature, and write the full table beside the results.

        What the service uploads now and then may be older than a task's end: then it is waited for.

        :param tasks: The tasks.
        :raises ArtifactMissing: The service left nothing to report on.
        :raises ArtifactCorrupt: It cannot be read.
        :raises StorageUnavailable: The bucket cannot be read or written.
        """

    @abstractmethod
    def counter(self, task: BatchTask) -> Counter | None:
        """
        Return what counts the features of a running task; ``None`` where that would cost too much.

        :param task: The task.
        """

    @abstractmethod
    def pixel_counts(self, task: BatchTask) -> PixelCounts:
        """
        Return the sizes of an analysed task's features.

        :param task: The task.
        :raises ArtifactMissing: They are not known yet.
        """

    @abstractmethod
    def prepare_retry(self, tasks: Sequence[BatchTask], *, only_after_progress: bool) -> Retry | None:
        """
        Write the features that the last of the tasks lost where a further task can take them from.

        The same tasks give the same features, so doing this twice is doing it once.

        :param tasks: The tasks; the last one has ended with an answer.
        :param only_after_progress: Whether the last task must have mended something, or no further one makes sense.
        :returns: ``None`` where there is nothing to gain by a further task.
        :raises ArtifactMissing: What lies in the bucket is older than the task's end.
        :raises StorageUnavailable: The bucket cannot be read or written.
        """


def results_of(api: BatchApi, storage: Storage) -> BatchResults:
    """
    Return what reads the results of an API.

    :param api: The API.
    :param storage: Where the bucket is.
    """
    from airflow_provider_sentinelhub.artifacts.batch_statistical_results import BatchStatisticalResults
    from airflow_provider_sentinelhub.artifacts.batch_v2_results import BatchV2Results

    return {"batch-v2": BatchV2Results, "batch-statistical": BatchStatisticalResults}[api.key](api, storage)
