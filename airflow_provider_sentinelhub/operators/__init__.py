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
    from airflow_provider_sentinelhub.operators.input_features import SentinelHubInputFeaturesOperator
    from airflow_provider_sentinelhub.operators.rerun_failed import SentinelHubRerunFailedOperator
    from airflow_provider_sentinelhub.operators.statistical import SentinelHubStatisticalOperator
    from airflow_provider_sentinelhub.operators.statistics_table import SentinelHubStatisticsTableOperator

__all__ = [
    "SentinelHubAnalyseBatchProcessOperator",
    "SentinelHubAnalyseBatchStatisticalOperator",
    "SentinelHubBatchProcessOperator",
    "SentinelHubBatchReportOperator",
    "SentinelHubBatchStatisticalOperator",
    "SentinelHubBatchStatisticalReportOperator",
    "SentinelHubCreateBatchProcessOperator",
    "SentinelHubCreateBatchStatisticalOperator",
    "SentinelHubEstimateBatchProcessOperator",
    "SentinelHubEstimateBatchStatisticalOperator",
    "SentinelHubInputFeaturesOperator",
    "SentinelHubRerunFailedBatchStatisticalOperator",
    "SentinelHubRerunFailedOperator",
    "SentinelHubStartBatchProcessOperator",
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
            "input_features": ("SentinelHubInputFeaturesOperator",),
            "rerun_failed": ("SentinelHubRerunFailedOperator",),
            "statistical": ("SentinelHubStatisticalOperator",),
            "statistics_table": ("SentinelHubStatisticsTableOperator",),
        },
    )
