"""
Operators for Batch Processing V2.

Source: https://docs.planet.com/develop/apis/batch-processing/
"""

from __future__ import annotations

from airflow_provider_sentinelhub.operators.running import RunsBatchTask
from airflow_provider_sentinelhub.operators.steps import (
    AnalysesBatchTask,
    CreatesOneBatchTask,
    EstimatesBatchTask,
    ReportsOnBatchTask,
    StartsBatchTask,
    StopsBatchTask,
)


class SentinelHubBatchProcessOperator(RunsBatchTask):
    """
    Create a batch task, start it, wait until it ends, run again what failed, and answer for every feature.

    Returns a small dict: ``task_id``, ``task_ids`` (with those of reruns), ``outcome`` (DONE or PARTIAL),
    ``status``, ``cost_pu`` of all of them, the number of features in ``total`` and by outcome (``delivered``,
    ``no_data``, ``undelivered``, ``failed``, ``pending``, ``unknown``), ``error_groups``, ``failed_names`` (some of
    them) and ``report_url`` (the full table, Parquet).

    .. seealso:: ``docs/howto/batch_process.md``
    """

    api = "batch-v2"


class SentinelHubCreateBatchProcessOperator(CreatesOneBatchTask):
    """
    Create a batch task and return its id; a retry returns the same task. It costs nothing until analysed or started.

    .. seealso:: ``docs/howto/batch_steps.md``
    """

    api = "batch-v2"


class SentinelHubAnalyseBatchProcessOperator(AnalysesBatchTask):
    """
    Have a batch task analysed, wait for that, and return the task's id. An analysed task is left as it is.

    .. seealso:: ``docs/howto/batch_steps.md``
    """

    api = "batch-v2"


class SentinelHubEstimateBatchProcessOperator(EstimatesBatchTask):
    """
    Have a batch task analysed, and return what starting it would cost, and how wrong that can be.

    Returns a small dict: ``task_id``, ``pu``, ``low_pu``, ``high_pu``, ``features``, ``pixels`` and ``assumptions``.

    .. seealso:: ``docs/cost.md``
    """

    api = "batch-v2"


class SentinelHubStartBatchProcessOperator(StartsBatchTask):
    """
    Start a batch task and return its id, without waiting for it. Starting a started task is fine.

    .. seealso:: ``docs/howto/batch_steps.md``
    """

    api = "batch-v2"


class SentinelHubStopBatchProcessOperator(StopsBatchTask):
    """
    Stop a batch task and return its id. Features already processed, or being processed, are charged.

    An ended task and one that was never started are left as they are.

    .. seealso:: ``docs/howto/batch_steps.md``
    """

    api = "batch-v2"


class SentinelHubBatchReportOperator(ReportsOnBatchTask):
    """
    Answer for every feature of a batch task that has ended, or is still running; returns what the main operator does.

    .. seealso:: ``docs/howto/batch_report.md``
    """

    api = "batch-v2"
