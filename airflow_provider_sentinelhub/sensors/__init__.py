"""Sensors for Sentinel Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_sentinelhub.exports import lazy

if TYPE_CHECKING:
    from airflow_provider_sentinelhub.sensors.batch_process import SentinelHubBatchProcessSensor
    from airflow_provider_sentinelhub.sensors.batch_process_v1 import SentinelHubBatchProcessV1Sensor
    from airflow_provider_sentinelhub.sensors.batch_statistical import SentinelHubBatchStatisticalSensor
    from airflow_provider_sentinelhub.sensors.byoc import SentinelHubByocSensor

__all__ = [
    "SentinelHubBatchProcessSensor",
    "SentinelHubBatchProcessV1Sensor",
    "SentinelHubBatchStatisticalSensor",
    "SentinelHubByocSensor",
]

if not TYPE_CHECKING:
    __getattr__ = lazy(
        __name__,
        {
            "batch_process": ("SentinelHubBatchProcessSensor",),
            "batch_process_v1": ("SentinelHubBatchProcessV1Sensor",),
            "batch_statistical": ("SentinelHubBatchStatisticalSensor",),
            "byoc": ("SentinelHubByocSensor",),
        },
    )
