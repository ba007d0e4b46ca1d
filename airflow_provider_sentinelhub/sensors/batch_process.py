"""
Sensor for Batch Processing V2.

Source: https://docs.planet.com/develop/apis/batch-processing/
"""

from __future__ import annotations

from airflow_provider_sentinelhub.sensors.waiting import BatchTaskSensor


class SentinelHubBatchProcessSensor(BatchTaskSensor):
    """
    Wait for a batch task that somebody else started, then answer for every feature as the operator does.

    The task is somebody else's: killing the sensor does not stop it.

    .. seealso:: ``docs/howto/batch_sensor.md``
    """

    api = "batch-v2"
