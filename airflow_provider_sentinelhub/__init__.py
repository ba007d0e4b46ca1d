"""Airflow provider for Sentinel Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.exports import lazy

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.hooks import (
        SentinelHubAsyncProcessHook,
        SentinelHubBatchHook,
        SentinelHubBatchV1Hook,
        SentinelHubHook,
        SentinelHubProcessHook,
        SentinelHubStatisticalHook,
    )
    from airflow_provider_sentinelhub.operators import (
        SentinelHubAnalyseBatchProcessOperator,
        SentinelHubAnalyseBatchProcessV1Operator,
        SentinelHubAnalyseBatchStatisticalOperator,
        SentinelHubAsyncProcessOperator,
        SentinelHubBatchProcessOperator,
        SentinelHubBatchProcessV1Operator,
        SentinelHubBatchProcessV1ReportOperator,
        SentinelHubBatchReportOperator,
        SentinelHubBatchStatisticalOperator,
        SentinelHubBatchStatisticalReportOperator,
        SentinelHubCancelBatchProcessV1Operator,
        SentinelHubCreateBatchProcessOperator,
        SentinelHubCreateBatchProcessV1Operator,
        SentinelHubCreateBatchStatisticalOperator,
        SentinelHubEstimateBatchProcessOperator,
        SentinelHubEstimateBatchProcessV1Operator,
        SentinelHubEstimateBatchStatisticalOperator,
        SentinelHubInputFeaturesOperator,
        SentinelHubProcessOperator,
        SentinelHubRerunFailedBatchStatisticalOperator,
        SentinelHubRerunFailedOperator,
        SentinelHubRestartPartialBatchProcessV1Operator,
        SentinelHubStartBatchProcessOperator,
        SentinelHubStartBatchProcessV1Operator,
        SentinelHubStartBatchStatisticalOperator,
        SentinelHubStatisticalOperator,
        SentinelHubStatisticsTableOperator,
        SentinelHubStopBatchProcessOperator,
        SentinelHubStopBatchStatisticalOperator,
    )
    from airflow_provider_sentinelhub.sensors import (
        SentinelHubBatchProcessSensor,
        SentinelHubBatchProcessV1Sensor,
        SentinelHubBatchStatisticalSensor,
    )
    from airflow_provider_sentinelhub.triggers import SentinelHubAsyncProcessTrigger, SentinelHubBatchTrigger

__all__ = [
    "SentinelHubAnalyseBatchProcessOperator",
    "SentinelHubAnalyseBatchProcessV1Operator",
    "SentinelHubAnalyseBatchStatisticalOperator",
    "SentinelHubAsyncProcessHook",
    "SentinelHubAsyncProcessOperator",
    "SentinelHubAsyncProcessTrigger",
    "SentinelHubBatchHook",
    "SentinelHubBatchProcessOperator",
    "SentinelHubBatchProcessSensor",
    "SentinelHubBatchProcessV1Operator",
    "SentinelHubBatchProcessV1ReportOperator",
    "SentinelHubBatchProcessV1Sensor",
    "SentinelHubBatchReportOperator",
    "SentinelHubBatchStatisticalOperator",
    "SentinelHubBatchStatisticalReportOperator",
    "SentinelHubBatchStatisticalSensor",
    "SentinelHubBatchTrigger",
    "SentinelHubBatchV1Hook",
    "SentinelHubCancelBatchProcessV1Operator",
    "SentinelHubCreateBatchProcessOperator",
    "SentinelHubCreateBatchProcessV1Operator",
    "SentinelHubCreateBatchStatisticalOperator",
    "SentinelHubEstimateBatchProcessOperator",
    "SentinelHubEstimateBatchProcessV1Operator",
    "SentinelHubEstimateBatchStatisticalOperator",
    "SentinelHubHook",
    "SentinelHubInputFeaturesOperator",
    "SentinelHubProcessHook",
    "SentinelHubProcessOperator",
    "SentinelHubRerunFailedBatchStatisticalOperator",
    "SentinelHubRerunFailedOperator",
    "SentinelHubRestartPartialBatchProcessV1Operator",
    "SentinelHubStartBatchProcessOperator",
    "SentinelHubStartBatchProcessV1Operator",
    "SentinelHubStartBatchStatisticalOperator",
    "SentinelHubStatisticalHook",
    "SentinelHubStatisticalOperator",
    "SentinelHubStatisticsTableOperator",
    "SentinelHubStopBatchProcessOperator",
    "SentinelHubStopBatchStatisticalOperator",
    "__version__",
]

__version__ = "0.1.0"

if not TYPE_CHECKING:
    _LAYERS = {"Hook": "hooks", "Operator": "operators", "Sensor": "sensors", "Trigger": "triggers"}
    __getattr__ = lazy(
        __name__, {layer: tuple(name for name in __all__ if name.endswith(kind)) for kind, layer in _LAYERS.items()}
    )
