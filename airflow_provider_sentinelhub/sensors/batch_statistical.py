"""
Sensor for Batch Statistical.

Source: https://docs.planet.com/develop/apis/batch-statistical/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf

from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.sensors.base import DeletedTaskSensorBase

if TYPE_CHECKING:
    from airflow.sdk.definitions.xcom_arg import XComArg


class SentinelHubBatchStatisticalSensor(DeletedTaskSensorBase):
    """
    Wait for a Batch Statistical task that was started elsewhere, and read its statistics.

    Returns what
    :class:`~airflow_provider_sentinelhub.operators.batch_statistical.SentinelHubBatchStatisticalOperator` returns.
    Killing the sensor does not stop the remote task.

    .. seealso:: ``docs/howto/batch_statistical.md``

    :param batch_task_id: The id of the remote task. Templated.
    :param delivery_url: Where the remote task delivered to: ``output.s3.url`` of its request. Needed only if the
        service has deleted the task; the files in the bucket are then read. Templated.
    :param features_url: Its GeoPackage: ``input.features.s3.url`` of its request. Shows which features have no file.
        Needed only with ``delivery_url``. Templated.
    :param on_partial: What to do when the remote task has ended but some features failed: ``fail`` or ``warn``.
        Templated.
    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two checks of the remote task while deferred. Default:
        ``poke_interval``, which cannot be templated. Templated.
    :param progress_interval: Time in seconds between two counts of the features while deferred, pushed to the XCom
        ``sentinelhub_progress``; 0 for none. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-statistical"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        delivery_url: str | XComArg | None = None,
        features_url: str | XComArg | None = None,
        on_partial: str = "fail",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str | None = None,
        progress_interval: float | str = 300.0,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_task_id=batch_task_id,
            delivery_url=delivery_url,
            features_url=features_url,
            on_partial=on_partial,
            deferrable=deferrable,
            poll_interval=poll_interval,
            progress_interval=progress_interval,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )
