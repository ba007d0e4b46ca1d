"""
Sensor for Batch Statistical.

Source: https://docs.planet.com/develop/apis/statistical/batch/
"""

from __future__ import annotations

from airflow_provider_sentinelhub.sensors.waiting import BatchTaskSensor


class SentinelHubBatchStatisticalSensor(BatchTaskSensor):
    """
    Wait for a task that somebody else started, then read its statistics as the operator does.

    The task is somebody else's: killing the sensor does not stop it.

    .. seealso:: ``docs/howto/batch_statistical.md``
    """

    api = "batch-statistical"
