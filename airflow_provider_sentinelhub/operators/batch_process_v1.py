"""
Operators for Batch Processing V1, which the service has announced to remove: see ``docs/migration_v1_to_v2.md``.

Source: https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Batch.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk.configuration import conf

from airflow_provider_sentinelhub.hooks.sentinel_hub import SentinelHubHook
from airflow_provider_sentinelhub.operators.restarting import RestartFailedOperatorBase
from airflow_provider_sentinelhub.operators.running import RunningWithRestartsOperatorBase
from airflow_provider_sentinelhub.operators.steps import (
    AnalyseOperatorBase,
    CreateOperatorBase,
    EstimateOperatorBase,
    ReportOperatorBase,
    StartOperatorBase,
    StopOperatorBase,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from airflow.sdk.definitions.xcom_arg import XComArg


class SentinelHubBatchProcessV1Operator(RunningWithRestartsOperatorBase):
    """
    Run a Batch Processing V1 task: create it, start it, wait until it ends, and report the outcome of every tile.

    The service can process failed tiles again in the same task. A retry of the Airflow task continues with the same
    remote task. The service has announced the end of this API: convert requests with ``airflow sentinelhub convert``.

    Returns a small dict: ``task_id``, ``task_ids``, ``outcome`` (DONE or PARTIAL), ``status``, ``cost_pu`` of its
    tiles, the number of tiles in ``total`` and by outcome (``delivered``, ``no_data``, ``undelivered``, ``failed``,
    ``pending``, ``unknown``), ``error_groups``, ``failed_names`` (some of them), ``report_url`` (the full table,
    Parquet) and ``restarts``, the number of times failed tiles were restarted.

    .. seealso:: ``docs/howto/batch_process_v1.md``

    :param request: The service's own request, as a dict, its JSON text, or the path of a ``.json`` file. It holds no
        credentials: the policy of the bucket lets the service deliver. An ``evalscript`` may be the path of a ``.js``
        file; its text is sent as it is. Templated.
    :param analyse_first: Have the remote task analysed first, and start it only then.
    :param on_clear: What to do with the remote task of earlier attempts after a user has cleared the Airflow task.
        ``resume``: continue with it, unless the Airflow task succeeded or the request has changed. A running task is
        waited for; of one that is PARTIAL, only failed features are restarted; one that is FAILED or CANCELED is
        replaced by a new one. ``new``: cancel it and create a new one. ``adopt``: like ``resume``, also after a
        success.
    :param check_bucket: Check the bucket before a task is created: that Airflow can use it (a small object is written,
        read, listed and deleted). Whether its policy lets the service in is known only then.
    :param check_features: Not used: requests of this API read no GeoPackage.
    :param max_restarts: How many times failed features are restarted at most. Templated.
    :param on_partial: What to do when the remote task is PARTIAL, because some features failed: ``fail``, ``warn``,
        ``restart`` (have the service run them again, then ``fail`` if some are still missing) or
        ``restart_then_warn``. With ``fail``, a clear restarts them once. Templated.
    :param max_pu: Maximum processing units the remote task may cost, restarts included. Before a start, the task is
        analysed, and not started if the service estimates that it would cost more: the service reserves what it has
        estimated. Default: the limit of the connection; without one, a task of more than 10,000 PU or 1,000,000 km2 is
        not started. Templated.
    :param deferrable: Run in deferrable mode: wait in the triggerer instead of holding a worker slot.
    :param poll_interval: Time in seconds between two checks of the remote task; the service asks for 60 or more.
        Templated.
    :param timeout: How long the remote task may take, over all retries of the Airflow task, as a ``timedelta`` or in
        seconds. After that it is cancelled for good, and the Airflow task fails. ``None`` for no limit. Airflow's
        ``execution_timeout`` counts in the same way, also while deferred; the shorter one applies.
    :param stop_on_kill: Whether to cancel the remote task when the Airflow task is killed: marked failed or success,
        or ended with its DAG run. A cancelled task cannot be started again. A clear leaves it running for the next
        attempt.
    :param progress_interval: Time in seconds between two counts of the features while waiting, pushed to the XCom
        ``sentinelhub_progress``; 0 for none. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: Not used: results are delivered to Amazon S3. Templated.
    """

    api = "batch-v1"

    def __init__(
        self,
        *,
        request: Mapping[str, Any] | str | XComArg,
        analyse_first: bool = False,
        on_clear: Literal["resume", "new", "adopt"] = "resume",
        check_bucket: bool = True,
        check_features: bool = True,
        max_restarts: int | str = 3,
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
            request=request,
            analyse_first=analyse_first,
            on_clear=on_clear,
            check_bucket=check_bucket,
            check_features=check_features,
            max_restarts=max_restarts,
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


class SentinelHubCreateBatchProcessV1Operator(CreateOperatorBase):
    """
    Create a Batch Processing V1 task and return its id.

    A retry returns the id of the same task. A task costs nothing until it is analysed or started.

    .. seealso:: ``docs/howto/batch_process_v1.md``

    :param request: The service's own request, as a dict, its JSON text, or the path of a ``.json`` file. It holds no
        credentials: those are taken from the connections when it is sent. An ``evalscript`` may be the path of a
        ``.js`` file; its text is sent as it is. Templated.
    :param on_clear: What to do with the remote task after a user has cleared the Airflow task. ``adopt``: return it
        again, unless it is FAILED, cannot be started again or the request has changed, so that clearing a whole DAG run
        pays for nothing twice. ``resume``: the same, unless it was analysed or started. ``new``: stop it and create a
        new one.
    :param check_bucket: Check the bucket before a task is created: that it can be used (a small object is written,
        read, listed and deleted), that it holds the features, and in which region it is.
    :param check_features: Download the GeoPackage that a request names as its input, before a task is created, and
        refuse what the service would refuse.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v1"

    def __init__(
        self,
        *,
        request: Mapping[str, Any] | str | XComArg,
        on_clear: Literal["resume", "new", "adopt"] = "adopt",
        check_bucket: bool = True,
        check_features: bool = True,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            request=request,
            on_clear=on_clear,
            check_bucket=check_bucket,
            check_features=check_features,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )


class SentinelHubAnalyseBatchProcessV1Operator(AnalyseOperatorBase):
    """
    Have a Batch Processing V1 task analysed, wait until it is, and return its id.

    A task that is already analysed is left as it is.

    .. seealso:: ``docs/howto/batch_process_v1.md``

    :param batch_task_id: The id of the remote task, e.g. the output of the operator that created it. Templated.
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

    api = "batch-v1"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
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


class SentinelHubEstimateBatchProcessV1Operator(EstimateOperatorBase):
    """
    Have a Batch Processing V1 task analysed, and return what the service estimates that it will cost.

    Returns a small dict: ``task_id``, ``pu`` (``valueEstimate``, which is reserved when the task is started),
    ``low_pu``, ``high_pu``, ``features``, ``pixels`` and ``assumptions``.

    .. seealso:: ``docs/howto/batch_process_v1.md``

    :param batch_task_id: The id of the remote task, e.g. the output of the operator that created it. Templated.
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

    api = "batch-v1"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
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


class SentinelHubStartBatchProcessV1Operator(StartOperatorBase):
    """
    Start a Batch Processing V1 task and return its id, without waiting for it.

    A task that is already started is left as it is. The service reserves what it has estimated, and returns the rest
    at the end.

    .. seealso:: ``docs/howto/batch_process_v1.md``

    :param batch_task_id: The id of the remote task, e.g. the output of the operator that created it. Templated.
    :param max_pu: Maximum processing units the remote task may cost, as estimated from its analysed features. A task
        that would cost more, or is not analysed yet, is not started. Default: the limit of the connection; without
        one, a task of more than 10,000 PU or 1,000,000 km2 is not started. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v1"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        max_pu: float | str | None = None,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_task_id=batch_task_id,
            max_pu=max_pu,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )


class SentinelHubCancelBatchProcessV1Operator(StopOperatorBase):
    """
    Cancel a Batch Processing V1 task and return its id.

    What was reserved and not spent is returned. A task that has ended is left as it is. A cancelled task cannot be
    started again.

    .. seealso:: ``docs/howto/batch_process_v1.md``

    :param batch_task_id: The id of the remote task, e.g. the output of the operator that created it. Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v1"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_task_id=batch_task_id,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )


class SentinelHubRestartPartialBatchProcessV1Operator(RestartFailedOperatorBase):
    """
    Have the service process the failed tiles of a Batch Processing V1 task again, and wait for them.

    A task that is DONE is only reported on. Returns what :class:`SentinelHubBatchProcessV1Operator` returns.

    .. seealso:: ``docs/howto/batch_process_v1.md``

    :param batch_task_id: The id of the remote task. Templated.
    :param max_restarts: How many times failed features are restarted at most. Templated.
    :param on_partial: What to do when features are still missing after the restarts: ``fail`` or ``warn``. Templated.
    :param max_pu: Maximum processing units the remote task may cost, restarts included. It is not started or restarted
        if the service estimates that it would cost more. A running task is not stopped for its cost, because the
        service does not tell it. Default: the limit of the connection; without one, a task of more than 10,000 PU or
        1,000,000 km2 is not started. Templated.
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

    api = "batch-v1"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        max_restarts: int | str = 3,
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
            max_restarts=max_restarts,
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


class SentinelHubBatchProcessV1ReportOperator(ReportOperatorBase):
    """
    Report the outcome of every tile of a Batch Processing V1 task that has ended, or is still running.

    Returns what :class:`SentinelHubBatchProcessV1Operator` returns, without ``restarts``.

    .. seealso:: ``docs/howto/batch_process_v1.md``

    :param batch_task_id: The id of the remote task, e.g. the output of the operator that created it. Templated.
    :param on_partial: What to do when the remote task has ended but some features failed: ``fail`` or ``warn``.
        Templated.
    :param sentinelhub_conn_id: The Sentinel Hub connection. Templated.
    :param aws_conn_id: The AWS connection, for buckets on Amazon S3. Templated.
    :param gcp_conn_id: The Google Cloud connection, for buckets on Google Cloud Storage. Templated.
    """

    api = "batch-v1"

    def __init__(
        self,
        *,
        batch_task_id: str | XComArg,
        on_partial: str = "fail",
        sentinelhub_conn_id: str = SentinelHubHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        gcp_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            batch_task_id=batch_task_id,
            on_partial=on_partial,
            sentinelhub_conn_id=sentinelhub_conn_id,
            aws_conn_id=aws_conn_id,
            gcp_conn_id=gcp_conn_id,
            **kwargs,
        )
