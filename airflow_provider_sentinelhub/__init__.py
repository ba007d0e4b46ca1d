"""Airflow provider for Sentinel Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.exports import lazy

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.hooks import (
        SentinelHubBatchHook,
        SentinelHubBatchV1Hook,
        SentinelHubByocHook,
        SentinelHubHook,
        SentinelHubProcessHook,
        SentinelHubStatisticalHook,
    )
    from airflow_provider_sentinelhub.operators import (
        SentinelHubAnalyseBatchProcessOperator,
        SentinelHubAnalyseBatchProcessV1Operator,
        SentinelHubAnalyseBatchStatisticalOperator,
        SentinelHubBatchProcessOperator,
        SentinelHubBatchProcessV1Operator,
        SentinelHubBatchProcessV1ReportOperator,
        SentinelHubBatchReportOperator,
        SentinelHubBatchStatisticalOperator,
        SentinelHubBatchStatisticalReportOperator,
        SentinelHubByocIngestOperator,
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
        SentinelHubByocSensor,
    )
    from airflow_provider_sentinelhub.triggers import SentinelHubBatchTrigger, SentinelHubByocTrigger

__all__ = [
    "SentinelHubAnalyseBatchProcessOperator",
    "SentinelHubAnalyseBatchProcessV1Operator",
    "SentinelHubAnalyseBatchStatisticalOperator",
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
    "SentinelHubByocHook",
    "SentinelHubByocIngestOperator",
    "SentinelHubByocSensor",
    "SentinelHubByocTrigger",
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
