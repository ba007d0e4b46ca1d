"""Operators for Sentinel Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.exports import lazy

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.operators.batch_process import (
        SentinelHubAnalyseBatchProcessOperator,
        SentinelHubBatchProcessOperator,
        SentinelHubBatchReportOperator,
        SentinelHubCreateBatchProcessOperator,
        SentinelHubEstimateBatchProcessOperator,
        SentinelHubStartBatchProcessOperator,
        SentinelHubStopBatchProcessOperator,
    )
    from airflow_provider_sentinelhub.operators.batch_process_v1 import (
        SentinelHubAnalyseBatchProcessV1Operator,
        SentinelHubBatchProcessV1Operator,
        SentinelHubBatchProcessV1ReportOperator,
        SentinelHubCancelBatchProcessV1Operator,
        SentinelHubCreateBatchProcessV1Operator,
        SentinelHubEstimateBatchProcessV1Operator,
        SentinelHubRestartPartialBatchProcessV1Operator,
        SentinelHubStartBatchProcessV1Operator,
    )
    from airflow_provider_sentinelhub.operators.batch_statistical import (
        SentinelHubAnalyseBatchStatisticalOperator,
        SentinelHubBatchStatisticalOperator,
        SentinelHubBatchStatisticalReportOperator,
        SentinelHubCreateBatchStatisticalOperator,
        SentinelHubEstimateBatchStatisticalOperator,
        SentinelHubRerunFailedBatchStatisticalOperator,
        SentinelHubStartBatchStatisticalOperator,
        SentinelHubStopBatchStatisticalOperator,
    )
    from airflow_provider_sentinelhub.operators.byoc import SentinelHubByocIngestOperator
    from airflow_provider_sentinelhub.operators.input_features import SentinelHubInputFeaturesOperator
    from airflow_provider_sentinelhub.operators.process import SentinelHubProcessOperator
    from airflow_provider_sentinelhub.operators.rerun_failed import SentinelHubRerunFailedOperator
    from airflow_provider_sentinelhub.operators.statistical import SentinelHubStatisticalOperator
    from airflow_provider_sentinelhub.operators.statistics_table import SentinelHubStatisticsTableOperator

__all__ = [
    "SentinelHubAnalyseBatchProcessOperator",
    "SentinelHubAnalyseBatchProcessV1Operator",
    "SentinelHubAnalyseBatchStatisticalOperator",
    "SentinelHubBatchProcessOperator",
    "SentinelHubBatchProcessV1Operator",
    "SentinelHubBatchProcessV1ReportOperator",
    "SentinelHubBatchReportOperator",
    "SentinelHubBatchStatisticalOperator",
    "SentinelHubBatchStatisticalReportOperator",
    "SentinelHubByocIngestOperator",
    "SentinelHubCancelBatchProcessV1Operator",
    "SentinelHubCreateBatchProcessOperator",
    "SentinelHubCreateBatchProcessV1Operator",
    "SentinelHubCreateBatchStatisticalOperator",
    "SentinelHubEstimateBatchProcessOperator",
    "SentinelHubEstimateBatchProcessV1Operator",
    "SentinelHubEstimateBatchStatisticalOperator",
    "SentinelHubInputFeaturesOperator",
    "SentinelHubProcessOperator",
    "SentinelHubRerunFailedBatchStatisticalOperator",
    "SentinelHubRerunFailedOperator",
    "SentinelHubRestartPartialBatchProcessV1Operator",
    "SentinelHubStartBatchProcessOperator",
    "SentinelHubStartBatchProcessV1Operator",
    "SentinelHubStartBatchStatisticalOperator",
    "SentinelHubStatisticalOperator",
    "SentinelHubStatisticsTableOperator",
    "SentinelHubStopBatchProcessOperator",
    "SentinelHubStopBatchStatisticalOperator",
]

if not TYPE_CHECKING:
    __getattr__ = lazy(
        __name__,
        {
            "batch_process": (
                "SentinelHubAnalyseBatchProcessOperator",
                "SentinelHubBatchProcessOperator",
                "SentinelHubBatchReportOperator",
                "SentinelHubCreateBatchProcessOperator",
                "SentinelHubEstimateBatchProcessOperator",
                "SentinelHubStartBatchProcessOperator",
                "SentinelHubStopBatchProcessOperator",
            ),
            "batch_process_v1": (
                "SentinelHubAnalyseBatchProcessV1Operator",
                "SentinelHubBatchProcessV1Operator",
                "SentinelHubBatchProcessV1ReportOperator",
                "SentinelHubCancelBatchProcessV1Operator",
                "SentinelHubCreateBatchProcessV1Operator",
                "SentinelHubEstimateBatchProcessV1Operator",
                "SentinelHubRestartPartialBatchProcessV1Operator",
                "SentinelHubStartBatchProcessV1Operator",
            ),
            "batch_statistical": (
                "SentinelHubAnalyseBatchStatisticalOperator",
                "SentinelHubBatchStatisticalOperator",
                "SentinelHubBatchStatisticalReportOperator",
                "SentinelHubCreateBatchStatisticalOperator",
                "SentinelHubEstimateBatchStatisticalOperator",
                "SentinelHubRerunFailedBatchStatisticalOperator",
                "SentinelHubStartBatchStatisticalOperator",
                "SentinelHubStopBatchStatisticalOperator",
            ),
            "byoc": ("SentinelHubByocIngestOperator",),
            "input_features": ("SentinelHubInputFeaturesOperator",),
            "process": ("SentinelHubProcessOperator",),
            "rerun_failed": ("SentinelHubRerunFailedOperator",),
            "statistical": ("SentinelHubStatisticalOperator",),
            "statistics_table": ("SentinelHubStatisticsTableOperator",),
        },
    )
