"""
Operator that reruns the failed features of a Batch Processing V2 task.

Source: https://docs.planet.com/develop/apis/batch-processing/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf

from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.operators.rerunning import RerunFailedOperatorBase

if TYPE_CHECKING:
    from datetime import timedelta

    from airflow.sdk.definitions.xcom_arg import XComArg


class SentinelHubRerunFailedOperator(RerunFailedOperatorBase):
    """
    Rerun the failed features of a Batch Processing V2 task alone, or start a stopped task again.

    If the task is DONE, a new task is created for its failed features; it delivers to the same places as the original.
    If it is STOPPED, for whatever reason, it is started again as soon as the service allows it. Returns what
    :class:`~airflow_provider_sentinelhub.operators.batch_process.SentinelHubBatchProcessOperator` returns, for the task
    and all its reruns together.

    .. seealso:: ``docs/howto/reruns.md``

    :param batch_task_id: The id of the remote task. Templated.
    :param max_reruns: How many times failed features are rerun at most. There is no further rerun after one that
        recovered nothing, and features whose error is permanent are left out. Templated.
    :param on_partial: What to do when features are still missing after the reruns: ``fail`` or ``warn``. Templated.
    :param max_pu: Maximum processing units for everything that is started here, reruns included. Before a start, the
        cost is estimated from the analysed features, and a task that would cost more is not started. A running task
        that has spent more is stopped. Default: the limit of the connection; without one, nothing is stopped, but a
        task of more than 10,000 PU or 1,000,000 km2 is not started. Templated.
    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two checks of the remote task; the service asks for 60 or more.
        Templated.
    :param timeout: How long the remote task may take, over all retries of the Airflow task, as a ``timedelta`` or in
        seconds. After that it is stopped, and the Airflow task fails. ``None`` for no limit. Airflow's
        ``execution_timeout`` counts in the same way, also while deferred; the shorter one applies.
    :param stop_on_kill: Whether to stop the remote task when the Airflow task is killed: marked failed or success,
        or ended with its DAG run. A clear leaves it running for the next attempt.
    :param progress_interval: Time in seconds between two counts of the features while waiting, pushed to the XCom
        ``sentinelhub_progress``; 0 for none. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v2"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        max_reruns: int | str = 3,
        on_partial: str = "fail",
        max_pu: float | str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | str = 60.0,
        timeout: timedelta | float | None = None,
        stop_on_kill: bool = True,
        progress_interval: float | str = 300.0,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_task_id=batch_task_id,
            max_reruns=max_reruns,
            on_partial=on_partial,
            max_pu=max_pu,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            stop_on_kill=stop_on_kill,
            progress_interval=progress_interval,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )
