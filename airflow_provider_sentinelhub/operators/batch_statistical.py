"""
Operators for Batch Statistical: statistics of every feature of a GeoPackage, as one table.

Source: https://docs.planet.com/develop/apis/batch-statistical/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.operators.rerun_failed import RerunsFailedOfTask
from airflow_provider_sentinelhub.operators.running import RunsBatchTask
from airflow_provider_sentinelhub.operators.steps import (
    AnalysesBatchTask,
    CreatesOneBatchTask,
    EstimatesBatchTask,
    ReportsOnBatchTask,
    StartsBatchTask,
    StopsBatchTask,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask


class SentinelHubBatchStatisticalOperator(RunsBatchTask):
    """
    Create a task, start it, wait until it ends, run again what failed, and put all statistics into one table.

    Returns a small dict: ``statistics_url`` (the table of statistics, Parquet), ``task_id``, ``task_ids`` (with those
    of reruns), ``outcome`` (DONE or PARTIAL), ``status``, ``cost_pu`` of all of them, the number of features in
    ``total`` and by outcome (``delivered``, ``no_data``, ``failed``, ``pending``), ``error_groups``, ``failed_names``
    (some of them) and ``report_url`` (one row for every feature, Parquet).

    .. seealso:: ``docs/howto/batch_statistical.md``
    """

    api = "batch-statistical"


class SentinelHubCreateBatchStatisticalOperator(CreatesOneBatchTask):
    """
    Create a task and return its id; a retry returns the same task. It costs nothing until analysed or started.

    .. seealso:: ``docs/howto/batch_statistical.md``
    """

    api = "batch-statistical"


class SentinelHubAnalyseBatchStatisticalOperator(AnalysesBatchTask):
    """
    Have a task analysed, wait for that, and return the task's id. An analysed task is left as it is.

    .. seealso:: ``docs/howto/batch_statistical.md``
    """

    api = "batch-statistical"


class SentinelHubEstimateBatchStatisticalOperator(EstimatesBatchTask):
    """
    Have a task analysed, and return what starting it would cost, and how wrong that can be.

    Returns a small dict: ``task_id``, ``pu``, ``low_pu``, ``high_pu``, ``features``, ``pixels`` and ``assumptions``.

    .. seealso:: ``docs/cost.md``
    """

    api = "batch-statistical"


class SentinelHubStartBatchStatisticalOperator(StartsBatchTask):
    """
    Start a task and return its id, without waiting for it. Starting a started task is fine.

    .. seealso:: ``docs/howto/batch_statistical.md``
    """

    api = "batch-statistical"


class SentinelHubStopBatchStatisticalOperator(StopsBatchTask):
    """
    Stop a task and return its id. Features already processed, or being processed, are charged.

    An ended task and one that was never started are left as they are.

    .. seealso:: ``docs/howto/batch_statistical.md``
    """

    api = "batch-statistical"


class SentinelHubBatchStatisticalReportOperator(ReportsOnBatchTask):
    """
    Read the statistics of a task that has ended, or is still running; returns what the main operator does.

    .. seealso:: ``docs/howto/batch_statistical.md``

    :param delivery_url: Where the task delivered to, ``output.s3.url`` of its request. Needed only where the service
        has deleted the task; then what lies in the bucket is read. Templated.
    :param features_url: Its GeoPackage, ``input.features.s3.url`` of its request: tells features without a file. Needed
        only with ``delivery_url``. Templated.
    """

    template_fields: Sequence[str] = (*ReportsOnBatchTask.template_fields, "delivery_url", "features_url")
    api = "batch-statistical"

    def __init__(self, *, delivery_url: str | None = None, features_url: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.delivery_url = delivery_url
        self.features_url = features_url

    def look(self) -> BatchTask:
        """Return the remote task as it is now, or what stands for it where the service has deleted it."""
        from airflow_provider_sentinelhub.hooks.outcome import get_even_deleted

        return get_even_deleted(self.hook, self.batch_task_id, self.delivery_url, self.features_url)


class SentinelHubRerunFailedBatchStatisticalOperator(RerunsFailedOfTask):
    """
    Run again, alone, the features that failed in a task; start a stopped task again.

    The statistics of all tasks go into the table of the first one. Returns what
    :class:`SentinelHubBatchStatisticalOperator` returns, for the task and all its reruns together.

    .. seealso:: ``docs/howto/batch_statistical.md``
    """

    api = "batch-statistical"
