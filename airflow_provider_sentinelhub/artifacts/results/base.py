"""What the tasks of an asynchronous API take from a bucket and leave in it: one interface, implemented for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.artifacts.storage.layout import success_url
from airflow_provider_sentinelhub.client.errors import ArtifactMissing

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_sentinelhub.artifacts.features.problems import Problem
    from airflow_provider_sentinelhub.artifacts.features.size import InputSize
    from airflow_provider_sentinelhub.artifacts.report.report import FeatureReport
    from airflow_provider_sentinelhub.artifacts.storage.storage import Storage
    from airflow_provider_sentinelhub.client.costs.estimate import PixelCounts
    from airflow_provider_sentinelhub.client.http.call import Procedure
    from airflow_provider_sentinelhub.client.lifecycle.spec import Rerun, TaskApiSpec
    from airflow_provider_sentinelhub.client.lifecycle.tasks import BatchTask

Ask = Callable[["Procedure[Any]"], Any]
"""Runs a procedure, i.e. sends its Calls, and returns its result."""

Counter = Callable[[], "FeatureReport | None"]
"""Counts features while a task runs: without errors and names; ``None`` before there is anything to count."""


class BatchResults(ABC):
    """
    What the tasks of one API leave in the bucket. All methods block.

    Where several tasks are named, they are about the same features: the original first, then those that ran again what
    was lost, in the order in which they ran.

    :param api: The API.
    :param storage: Where the bucket is.
    :param ask: Runs a procedure, for what the service tells only when it is asked.
    :param identifier_column: Column of the input GeoPackage with the names of the features, for statistics. Default:
        ``identifier``, which is the only one that the service reads.
    """

    def __init__(self, api: TaskApiSpec, storage: Storage, ask: Ask, identifier_column: str | None = None) -> None:
        self.api = api
        self.storage = storage
        self.ask = ask
        self.identifier_column = identifier_column

    @abstractmethod
    def root(self, task: BatchTask) -> str:
        """
        Return the folder of the files about a task.

        :param task: The task.
        """

    @staticmethod
    @abstractmethod
    def check_delivery_url(body: Mapping[str, Any], field: str, url: str) -> None:
        """
        Check the form of the URL of the results.

        :param body: The request, of any shape.
        :param field: Where in the request the URL stands.
        :param url: The URL.
        :raises InvalidParameter: Results cannot be delivered there, or could not be found again.
        """

    @staticmethod
    def check_features(path: Path, body: Mapping[str, Any]) -> tuple[Problem, ...]:
        """
        Find everything that is wrong with the GeoPackage a request takes its features from.

        :param path: The file.
        :param body: The request.
        :returns: What is wrong; empty where the service will take it.
        :raises StorageUnavailable: This machine has no room to read it.
        :raises NotImplementedError: Requests of this API read no GeoPackage.
        """
        raise NotImplementedError

    @staticmethod
    def measure_features(path: Path, body: Mapping[str, Any]) -> InputSize:
        """
        Measure the features a request takes from a GeoPackage.

        :param path: The file, in which nothing is wrong.
        :param body: The request.
        :raises NotImplementedError: Requests of this API read no GeoPackage.
        """
        raise NotImplementedError

    @staticmethod
    def check_names(path: Path, identifier_column: str | None) -> None:
        """
        Check the column with the names of features; without one, log a warning with those that could be it.

        :param path: The file, in which nothing is wrong.
        :param identifier_column: The column with the names. ``None`` for ``identifier``.
        :raises InvalidParameter: There is no such column, or it has text that is not UTF-8.
        :raises NotImplementedError: Requests of this API read no GeoPackage.
        """
        raise NotImplementedError

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
        Return the URL of what a task delivers: the URI of its asset.

        :param original: The original task.
        """

    @abstractmethod
    def report(self, tasks: Sequence[BatchTask]) -> FeatureReport:
        """
        Answer for every feature, and write the full table beside the results.

        Files the service uploads now and then may be older than a task's end: then this waits for them.

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

    def counts(self, task: BatchTask) -> FeatureReport:
        """
        Count the features of a task that has ended, without names and errors.

        :param task: The task.
        :raises ArtifactMissing: The features cannot be counted.
        """
        counter = self.counter(task)
        found = counter() if counter is not None else None
        if found is None:
            raise ArtifactMissing(f"The features of task {task.id} cannot be counted.")
        return found

    @abstractmethod
    def pixel_counts(self, task: BatchTask) -> PixelCounts:
        """
        Return the sizes of an analysed task's features.

        :param task: The task.
        :raises ArtifactMissing: They are not known yet.
        """

    @abstractmethod
    def prepare_rerun(self, tasks: Sequence[BatchTask], *, only_after_progress: bool) -> Rerun | None:
        """
        Write the features that the last of the tasks lost where a further task can take them from.

        The same tasks give the same features, so doing this twice is doing it once.

        :param tasks: The tasks; the last one has ended with an answer.
        :param only_after_progress: Whether the last task must have delivered something that was lost before.
        :returns: ``None`` if a further task would not help.
        :raises ArtifactMissing: What lies in the bucket is older than the task's end.
        :raises StorageUnavailable: The bucket cannot be read or written.
        """
