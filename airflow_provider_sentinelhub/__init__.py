"""Airflow provider for Sentinel Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.exports import lazy

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.hooks import (
        SentinelHubBatchHook,
        SentinelHubBatchV1Hook,
        SentinelHubHook,
        SentinelHubStatisticalHook,
    )
    from airflow_provider_sentinelhub.operators import (
        SentinelHubAnalyseBatchProcessOperator,
        SentinelHubAnalyseBatchStatisticalOperator,
        SentinelHubBatchProcessOperator,
        SentinelHubBatchReportOperator,
        SentinelHubBatchStatisticalOperator,
        SentinelHubBatchStatisticalReportOperator,
        SentinelHubCreateBatchProcessOperator,
        SentinelHubCreateBatchStatisticalOperator,
        SentinelHubEstimateBatchProcessOperator,
        SentinelHubEstimateBatchStatisticalOperator,
        SentinelHubInputFeaturesOperator,
        SentinelHubRerunFailedBatchStatisticalOperator,
        SentinelHubRerunFailedOperator,
        SentinelHubStartBatchProcessOperator,
        SentinelHubStartBatchStatisticalOperator,
        SentinelHubStatisticalOperator,
        SentinelHubStatisticsTableOperator,
        SentinelHubStopBatchProcessOperator,
        SentinelHubStopBatchStatisticalOperator,
    )
    from airflow_provider_sentinelhub.sensors import SentinelHubBatchProcessSensor, SentinelHubBatchStatisticalSensor
    from airflow_provider_sentinelhub.triggers import SentinelHubBatchTrigger

__all__ = [
    "SentinelHubAnalyseBatchProcessOperator",
    "SentinelHubAnalyseBatchStatisticalOperator",
    "SentinelHubBatchHook",
    "SentinelHubBatchProcessOperator",
    "SentinelHubBatchProcessSensor",
    "SentinelHubBatchReportOperator",
    "SentinelHubBatchStatisticalOperator",
    "SentinelHubBatchStatisticalReportOperator",
    "SentinelHubBatchStatisticalSensor",
    "SentinelHubBatchTrigger",
    "SentinelHubBatchV1Hook",
    "SentinelHubCreateBatchProcessOperator",
    "SentinelHubCreateBatchStatisticalOperator",
    "SentinelHubEstimateBatchProcessOperator",
    "SentinelHubEstimateBatchStatisticalOperator",
    "SentinelHubHook",
    "SentinelHubInputFeaturesOperator",
    "SentinelHubRerunFailedBatchStatisticalOperator",
    "SentinelHubRerunFailedOperator",
    "SentinelHubStartBatchProcessOperator",
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
