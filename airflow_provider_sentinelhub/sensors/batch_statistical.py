"""
Sensor for Batch Statistical.

Source: https://docs.planet.com/develop/apis/batch-statistical/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_sentinelhub.sensors.waiting import BatchTaskSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_sentinelhub.client.lifecycle.answers import BatchTask


class SentinelHubBatchStatisticalSensor(BatchTaskSensor):
    """
    Wait for a task that somebody else started, then read its statistics as the operator does.

    The task is somebody else's: killing the sensor does not stop it.

    .. seealso:: ``docs/howto/batch_statistical.md``

    :param delivery_url: Where the task delivered to, ``output.s3.url`` of its request. Needed only where the service
        has deleted the task; then what lies in the bucket is read. Templated.
    :param features_url: Its GeoPackage, ``input.features.s3.url`` of its request: tells features without a file. Needed
        only with ``delivery_url``. Templated.
    """

    template_fields: Sequence[str] = (*BatchTaskSensor.template_fields, "delivery_url", "features_url")
    api = "batch-statistical"

    def __init__(self, *, delivery_url: str | None = None, features_url: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.delivery_url = delivery_url
        self.features_url = features_url

    def look(self) -> BatchTask:
        """Return the remote task as it is now, or what stands for it where the service has deleted it."""
        from airflow_provider_sentinelhub.hooks.outcome import get_even_deleted

        return get_even_deleted(self.hook, self.batch_task_id, self.delivery_url, self.features_url)
